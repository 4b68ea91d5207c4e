"""One deploy over nodes that each lack something: what can be mended is, the rest is refused."""

from __future__ import annotations

from tests.integration.nodes.conftest import Fleet
from tests.support.no_index import of_containers

ACTIVE = "systemctl is-active p2p_orchestrator"
WELL = ("voter", "bare", "no-venv", "offline")
REFUSED = ("full", "old")
TOO_OLD = "its newest Python is 3.9, and the orchestrator needs 3.10 or newer: install one beside it"


def archives(fleet: Fleet) -> list[str]:
    """Return the artefacts that were built."""
    return [path.name for path in (fleet.folder / "cache/p2p-cluster/artifacts").glob("*.tar.xz")]


def test_the_preview_says_what_would_be_done_and_does_nothing(fleet: Fleet) -> None:
    code, said = fleet.run("deploy.yml", "--check", "--diff")
    assert code != 0, said  # the full disk, the old Python
    assert "no Python on vultr-bare: would install python3 with apt-get" in said, said
    assert "lambda-full (only" in said, said
    assert "MB are free below /opt and a release needs 500" in said
    assert f"runpod-old ({TOO_OLD}" in said, said
    assert "Nothing was written" in said
    assert fleet.sh("bare", "command -v python3", check=False) == ""
    for node in (*WELL, *REFUSED):
        assert fleet.sh(node, "ls -A /opt; ls -d /etc/ringrift", check=False) == "", node


def test_a_deploy_mends_what_can_be_mended(fleet: Fleet) -> None:
    code, said = fleet.run("deploy.yml")
    assert code != 0, said
    assert "no Python on vultr-bare: install python3 with apt-get, done" in said, said
    assert f"runpod-old ({TOO_OLD}" in said, said
    assert "Nothing was written" in said
    for node in WELL:
        assert fleet.sh(node, ACTIVE) == "active", said
    for node in REFUSED:
        assert fleet.sh(node, "ls -A /opt; ls -d /etc/ringrift", check=False) == ""
    # One for all of them.
    assert len(archives(fleet)) == 1
    # Nothing of the distribution was installed for it.
    assert fleet.sh("no-venv", "ls -d /usr/lib/python3*/ensurepip", check=False) == ""


def test_a_second_run_changes_nothing_and_no_node_reaches_an_index(fleet: Fleet) -> None:
    fleet.close()
    code, said = fleet.run("deploy.yml", "--limit", "!lambda-full,!runpod-old")
    assert code == 0, said
    assert "0 of 4 nodes will change, 4 are as they should be" in said
    assert of_containers(fleet.containers) == {}
    assert len(archives(fleet)) == 1
