"""`remove.yml` as a user runs it, with an ssh that reaches nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.deploy.conftest import PROJECT, Playbook

REMOVED = '{"p2p_identity_removed": ["vast-9"]}'


def asked(folder: Path) -> str:
    """Return what the ssh was called with, empty if no node was asked."""
    path = folder / "asked"
    return path.read_text() if path.exists() else ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "it has to be told which: --limit <node>"),
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
    assert "what is on it stays: run this again when it answers" in output
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("arguments", [("--limit", "vast-2"), ("-e", REMOVED)])
def test_only_voters_are_asked_about_a_destroyed_or_an_unknown_node(
    fleet_file: Path, tmp_path: Path, arguments: tuple[str, ...], playbook: Playbook
) -> None:
    code, output = playbook("remove.yml", fleet_file, *arguments)
    assert code != 0
    assert "Still accepting the certificates: nebius-1 (it does not answer)" in output
    assert "127.0.0.3" in asked(tmp_path)
    assert "127.0.0.2" not in asked(tmp_path)
    assert "127.0.0.4" not in asked(tmp_path)
