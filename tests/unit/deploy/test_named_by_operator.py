"""Names and words that an operator gives to a run: a slip of the pen changes nothing, here or on a node."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.deploy.conftest import Playbook
from tests.unit.identity.controller import Controller, member


def asked(folder: Path) -> bool:
    """Return whether any node was asked."""
    return (folder / "asked").exists()


@pytest.mark.parametrize("name", ["deploy.yml", "voters.yml", "recover.yml", "health.yml"])
def test_a_stage_that_there_is_not_is_refused(
    fleet_file: Path, tmp_path: Path, name: str, playbook: Playbook
) -> None:
    code, output = playbook(name, fleet_file, "-e", "p2p_identity_rotate=strat")
    assert code != 0
    assert "p2p_identity_rotate is none, start (or true), switch or finish, not strat" in output
    assert not asked(tmp_path)


@pytest.mark.parametrize("word", ["True", "no", "switch"])
def test_the_stages_and_their_other_names_are_let_through(
    fleet_file: Path, word: str, playbook: Playbook
) -> None:
    _, output = playbook("deploy.yml", fleet_file, "--check", "-e", f"p2p_identity_rotate={word}")
    assert "p2p_identity_rotate is none" not in output


@pytest.mark.parametrize("mode", [(), ("--check",)])
def test_a_deploy_revokes_no_voter_and_no_name_that_there_is_not(
    fleet_file: Path, tmp_path: Path, mode: tuple[str, ...], playbook: Playbook
) -> None:
    controller = Controller(tmp_path / "state", nodes=[member("vast-9")], defaults={"cluster": "p2p"})
    controller.run()
    before = controller.files()
    for removed, said in (
        ("nebius-1", "p2p_identity_removed: nebius-1 votes, by"),
        ("vast-9,nebius-1", "p2p_identity_removed: nebius-1 votes, by"),
        ("vast-9,Vast-2", "is called 'Vast-2' (did you mean 'vast-2'?)"),
    ):
        code, output = playbook(
            "deploy.yml", fleet_file, "--limit", "vast-1", "-e", f"p2p_identity_removed={removed}", *mode
        )
        assert code != 0
        assert said in output
    assert not asked(tmp_path)
    assert controller.files() == before


@pytest.mark.parametrize("mode", [(), ("--check",)])
def test_a_stolen_voter_of_a_store_that_nobody_tells_of_is_not_denied(
    tmp_path: Path, mode: tuple[str, ...], playbook: Playbook
) -> None:
    voters, stolen = ("nebius-1", "nebius-2", "nebius-3"), "nebius-4"
    host = "{ssh_host: 127.0.0.%d, ssh_user: root, role: selfplay, status: %s, p2p_enabled: true}"
    states = dict.fromkeys(voters, "ready") | {stolen: "destroyed"}
    lines = [f"  {name}: {host % (place, state)}" for place, (name, state) in enumerate(states.items(), 2)]
    fleet = tmp_path / "distributed_hosts.yaml"
    fleet.write_text("\n".join(["hosts:", *lines, f"p2p_voters: [{', '.join(voters)}]", ""]))
    nodes = [member(name, server=True) for name in states]
    controller = Controller(tmp_path / "state", nodes=nodes, defaults={"cluster": "p2p"})
    controller.run()
    before = controller.files()
    code, output = playbook("voters.yml", fleet, "-e", f"p2p_identity_removed={stolen}", *mode)
    assert code != 0
    assert "no member of a living store answered" in output
    assert controller.files() == before
    # One that the file lets vote is told at once what to do.
    fleet.write_text(fleet.read_text().replace("nebius-3]", "nebius-4]"))
    code, output = playbook("voters.yml", fleet, "-e", f"p2p_identity_removed={stolen}", *mode)
    assert code != 0
    assert "p2p_identity_removed: nebius-4 votes, by" in output
    assert "run voters.yml with the same p2p_identity_removed" in output


@pytest.mark.parametrize("lost", ["all", "ca.pem"])
@pytest.mark.parametrize("mode", [(), ("--check",)])
def test_a_lost_authority_is_taken_over_from_no_voter_that_is_silent(
    fleet_file: Path, tmp_path: Path, mode: tuple[str, ...], lost: str, playbook: Playbook
) -> None:
    controller = Controller(tmp_path / "state", nodes=[member("vast-1")], defaults={"cluster": "p2p"})
    if lost != "all":
        controller.run()
        (controller.root / lost).unlink()
    before = controller.files()
    code, output = playbook("deploy.yml", fleet_file, "-e", "p2p_identity_rotate=true", *mode)
    assert code != 0
    assert "only where 1 of the 1 voters of the fleet file carry the same ca.crt" in output
    assert "nebius-1: no answer. Restore the directory of certificates from its backup" in output
    assert "Nothing was changed." in output
    assert controller.files() == before
