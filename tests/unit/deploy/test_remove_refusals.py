"""`remove.yml` as a user runs it, with an ssh that reaches nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.deploy.conftest import PROJECT, Playbook
from tests.unit.identity.controller import Controller, member

REMOVED = '{"p2p_identity_removed": ["vast-9"]}'


def asked(folder: Path) -> str:
    """Return what the ssh was called with, empty if no node was asked."""
    path = folder / "asked"
    return path.read_text() if path.exists() else ""


def deployed(folder: Path, *names: str) -> Controller:
    """Return the controller's directory after a deploy to these nodes."""
    controller = Controller(
        folder / "state", nodes=[member(name) for name in names], defaults={"cluster": "p2p"}
    )
    controller.run()
    return controller


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "it has to be told which: --limit <node>"),
        (("--limit", "vast-1,vast-3"), "no node or group of the fleet file is called 'vast-3' (did you mean"),
        (("--limit", "nebius-1"), "nebius-1: among p2p_voters of"),
        (("--limit", "all"), "nebius-1: among p2p_voters of"),
        (("-e", '{"p2p_identity_removed": ["nebius-1"]}'), "nebius-1: among p2p_voters of"),
    ],
)
def test_what_may_not_leave_is_refused_before_any_node_is_asked(
    fleet_file: Path, tmp_path: Path, arguments: tuple[str, ...], said: str, playbook: Playbook
) -> None:
    code, output = playbook("remove.yml", fleet_file, *arguments)
    assert code != 0
    assert said in output
    assert "Nothing was changed." in output
    assert asked(tmp_path) == ""
    assert not (tmp_path / "state").exists()


def test_the_example_fleet_is_refused(playbook: Playbook) -> None:
    code, output = playbook(
        "remove.yml", PROJECT / "inventory/distributed_hosts.yaml", "--limit", "vast-28918742"
    )
    assert code != 0
    assert "reserved for documentation" in output


def test_a_node_that_does_not_answer_is_told_and_no_authority_is_made_for_it(
    fleet_file: Path, tmp_path: Path, playbook: Playbook
) -> None:
    code, output = playbook("remove.yml", fleet_file, "--limit", "vast-1")
    assert code != 0
    assert "What is on it stays: run this again when it answers" in output
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("arguments", [("--limit", "vast-2"), ("-e", REMOVED)])
def test_only_voters_are_asked_about_a_destroyed_or_an_unknown_node(
    fleet_file: Path, tmp_path: Path, arguments: tuple[str, ...], playbook: Playbook
) -> None:
    deployed(tmp_path, "vast-2", "vast-9")
    code, output = playbook("remove.yml", fleet_file, *arguments)
    assert code != 0
    assert "Still accepting the certificates: nebius-1 (it does not answer)" in output
    assert "127.0.0.3" in asked(tmp_path)
    assert "127.0.0.2" not in asked(tmp_path)
    assert "127.0.0.4" not in asked(tmp_path)


@pytest.mark.parametrize("mode", [(), ("--check",)])
@pytest.mark.parametrize("limit", [(), ("--limit", "vast-2")])
def test_a_slip_of_the_pen_ends_the_run_before_any_node_is_asked(
    fleet_file: Path, tmp_path: Path, mode: tuple[str, ...], limit: tuple[str, ...], playbook: Playbook
) -> None:
    controller = deployed(tmp_path, "nebius-1", "vast-1")
    before = controller.files()
    given = '{"p2p_identity_removed": ["Vast-1", "vast-2"]}'
    code, output = playbook("remove.yml", fleet_file, "-e", given, *limit, *mode)
    assert code != 0
    assert "p2p_identity_removed: no node of the fleet file, and none that" in output
    assert "is called 'Vast-1' (did you mean 'vast-1'?)" in output
    assert asked(tmp_path) == ""
    assert controller.files() == before


def test_without_a_directory_a_slip_of_the_pen_is_none_that_it_knows(
    fleet_file: Path, tmp_path: Path, playbook: Playbook
) -> None:
    code, output = playbook("remove.yml", fleet_file, "-e", REMOVED)
    assert code != 0
    assert "is called 'vast-9' (did you mean" in output
    assert asked(tmp_path) == ""
    assert not (tmp_path / "state").exists()


def test_all_that_were_named_are_denied_and_it_is_told_of_which(
    fleet_file: Path, tmp_path: Path, playbook: Playbook
) -> None:
    controller = deployed(tmp_path, "nebius-1", "vast-2", "vast-9")
    given = ("-e", "p2p_identity_removed=vast-9,vast-1", "--limit", "vast-2")
    before = controller.files()
    _, preview = playbook("remove.yml", fleet_file, *given, "--check")
    assert controller.files() == before
    _, output = playbook("remove.yml", fleet_file, *given)
    for name in ("vast-2", "vast-9"):
        assert f"{name}: 1 certificate would be denied by the voters" in preview
        assert f"{name}: 1 certificate would be revoked" in preview
        assert f"{name}: 1 certificate will be denied by the voters" in output
        assert f"{name}: 1 certificate was revoked" in output
    for said in (preview, output):
        assert "vast-1: no certificate of this controller is valid, so there is none to deny" in said
    names = [line.split(" # ")[1].strip() for line in denied(controller)]
    assert sorted(names) == ["vast-2", "vast-9"]
    before = controller.files()
    _, again = playbook("remove.yml", fleet_file, *given)
    assert "vast-9: denied already (1 certificate)" in again
    assert controller.files() == before


def denied(controller: Controller) -> list[str]:
    """Return the lines of the deny-list that the voters get."""
    text: str = controller.run(check_mode=True, nodes=[])["denied"]
    return text.splitlines()


def test_a_rotation_that_is_asked_for_beside_a_removal_is_not_begun(
    fleet_file: Path, tmp_path: Path, playbook: Playbook
) -> None:
    controller = deployed(tmp_path, "nebius-1", "vast-2")
    playbook("remove.yml", fleet_file, "--limit", "vast-2", "-e", "p2p_identity_rotate=start")
    assert controller.run(check_mode=True)["stage"] == "steady"
