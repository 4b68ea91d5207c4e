"""One deploy over nodes that each lack something: what can be mended is, the rest is refused."""

from __future__ import annotations

from tests.integration.nodes.conftest import Fleet

ACTIVE = "systemctl is-active p2p_orchestrator"


def test_the_preview_says_what_would_be_done_and_does_nothing(fleet: Fleet) -> None:
    code, said = fleet.run("deploy.yml", "--check", "--diff")
    assert code != 0, said  # the full disk
    assert "no Python on vultr-bare: would install python3 with apt-get" in said, said
    assert "lambda-full (only" in said, said
    assert "MB are free below /opt and a release needs 500" in said
    assert "Nothing was written" in said
    assert fleet.sh("bare", "command -v python3", check=False) == ""
    for node in ("voter", "bare", "no-pip", "offline", "full"):
        assert fleet.sh(node, "ls -A /opt; ls -d /etc/ringrift", check=False) == "", node


def test_a_deploy_mends_what_can_be_mended(fleet: Fleet) -> None:
    code, said = fleet.run("deploy.yml")
    assert code != 0, said
    assert "no Python on vultr-bare: install python3 with apt-get, done" in said, said
    assert "Nothing was written" in said
    for node in ("voter", "bare", "no-pip", "offline"):
        assert fleet.sh(node, ACTIVE) == "active", said
    assert fleet.sh("full", "ls -A /opt; ls -d /etc/ringrift", check=False) == ""
    # Its wheels came from here, in one file.
    assert fleet.sh("offline", "ls /opt/p2p-cluster/wheels").endswith(".tar")
    # Pip came with the run: nothing of the distribution was installed for it.
    assert fleet.sh("no-pip", "ls /usr/lib/python3.11/ensurepip", check=False) == ""


def test_a_second_run_changes_nothing(fleet: Fleet) -> None:
    code, said = fleet.run("deploy.yml", "--limit", "!lambda-full")
    assert code == 0, said
    assert "0 of 4 nodes will change, 4 are as they should be" in said
