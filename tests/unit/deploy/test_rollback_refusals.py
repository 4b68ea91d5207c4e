"""Bad input to `rollback.yml`: one clear error and a non-zero exit."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.deploy.conftest import PROJECT, Playbook


def test_the_example_fleet_is_refused(playbook: Playbook) -> None:
    code, output = playbook("rollback.yml", PROJECT / "inventory/distributed_hosts.yaml")
    assert code != 0
    assert "reserved for documentation" in output
    assert "distributed_hosts.yaml rollback.yml" in output


def test_a_setting_that_is_no_word_of_its_own_is_refused(fleet_file: Path, playbook: Playbook) -> None:
    code, output = playbook("rollback.yml", fleet_file, "-e", "p2p_accept_outage=perhaps")
    assert code != 0
    assert "not perhaps" in output


@pytest.mark.parametrize(
    ("wish", "said"), [("", "has a release to go back to"), ("1.0-x", "has the release 1.0-x")]
)
def test_without_a_release_to_go_back_to_nothing_is_done(
    fleet_file: Path, wish: str, said: str, playbook: Playbook
) -> None:
    code, output = playbook("rollback.yml", fleet_file, "-e", f"p2p_rollback_to={wish}")
    assert code != 0
    assert f"Nothing was changed: no node that answered {said}; there are none." in output
    assert "not reached: nebius-1, vast-1" in output


def test_a_fleet_of_checkouts_is_refused(fleet_file: Path, playbook: Playbook) -> None:
    code, output = playbook("rollback.yml", fleet_file, "-e", "p2p_orchestrator_source=checkout")
    assert code != 0
    assert "this cannot bring back" in output
    assert "not reached" not in output
