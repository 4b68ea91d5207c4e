"""Every managed thing changed in turn: found by the probe, foretold by a preview, mended by a run."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.modules.conftest import SECRET, Fleet, Node

SITE = "/opt/p2p-cluster/current/venv/lib/python3.*/site-packages"
PYTHON = "/opt/p2p-cluster/current/venv/bin/python"
PIP = f"PYTHONPATH=$(ls /usr/share/python-wheels/pip-*.whl) {PYTHON} -m pip"
INSTALL = f"{PIP} install -q --no-cache-dir --no-deps"

# What is done to the node, the parts of the drift that it makes, and whether the service restarts.
CHANGES = {
    "a byte more in a configuration file": ("echo '#' >> /etc/p2p-test/node.conf", {"file", "restart"}, True),
    "the mode of a configuration file": ("chmod o-r /etc/p2p-test/node.conf", {"file"}, False),
    "the owner of a configuration file": ("chown games /etc/p2p-test/node.conf", {"file"}, False),
    "no configuration file": ("rm /etc/p2p-test/node.conf", {"file", "restart"}, True),
    "a symlink in a file's place": (
        "mv /etc/p2p-test/node.conf /tmp/x; ln -s /tmp/x /etc/p2p-test/node.conf",
        {"file", "restart"},
        True,
    ),
    "another key": ("echo other > /etc/p2p-test/tls/node.key", {"file", "restart"}, True),
    "the mode of a key": ("chmod 0644 /etc/p2p-test/tls/node.key", {"file"}, False),
    "the mode of a directory": ("chmod 0755 /etc/p2p-test/tls", {"directory"}, False),
    "the group of a directory": ("chgrp root /etc/p2p-test/tls", {"directory"}, False),
    "a byte of the unit": (
        "sed -i 's/TimeoutStartSec=15/TimeoutStartSec=16/' /etc/systemd/system/p2p_orchestrator.service",
        {"unit", "restart"},
        True,
    ),
    "a unit loaded from an older file": (
        "cd /etc/systemd/system; cp -p p2p_orchestrator.service /tmp/u; echo '#' >> p2p_orchestrator.service;"
        "systemctl daemon-reload; cp /tmp/u p2p_orchestrator.service; touch p2p_orchestrator.service",
        {"reload"},
        False,
    ),
    "a disabled unit": ("systemctl disable -q p2p_orchestrator", {"enabled"}, False),
    "a stopped unit": ("systemctl stop p2p_orchestrator", {"state"}, False),
    "a masked unit": (
        "systemctl stop p2p_orchestrator; rm /etc/systemd/system/p2p_orchestrator.service;"
        "systemctl mask -q p2p_orchestrator",
        {"unit", "enabled", "state"},
        False,
    ),
    "a foreign unit that runs again": ("systemctl unmask -q etcd; systemctl start etcd", {"masked"}, False),
    "a process that was started with another configuration": (
        "cd /etc/systemd/system; cp -p p2p_orchestrator.service /tmp/u;"
        "sed -i 's/DIGEST=.*/DIGEST=0/' p2p_orchestrator.service; systemctl daemon-reload;"
        "systemctl restart p2p_orchestrator; cp -p /tmp/u p2p_orchestrator.service; systemctl daemon-reload",
        {"restart"},
        True,
    ),
    "a byte of a release's file": ("echo two > /opt/p2p-cluster/current/share/notes.txt", {"file"}, False),
    "the mode of a release's file": ("chmod 0600 /opt/p2p-cluster/current/share/notes.txt", {"file"}, False),
    "a byte of an installed module": (f"echo '#' >> {SITE}/idna/core.py", {"package"}, True),
    "the mode of an installed module": (f"chmod g+w {SITE}/idna/core.py", {"package"}, True),
    "a missing module": (f"rm {SITE}/psutil/_common.py", {"package"}, True),
    "a missing package": (
        f"{PIP} uninstall -qy psutil",
        {"package"},
        True,
    ),
    "another version of a package": (
        f"{INSTALL} idna==3.7",
        {"package"},
        True,
    ),
    "a package that does not belong": (
        f"{INSTALL} attrs==25.1.0",
        {"package"},
        True,
    ),
    "a module that belongs to no package": (f"echo > $(echo {SITE})/sitecustomize.py", {"venv"}, True),
    "an interpreter that is gone": (
        "ln -sfn /nowhere /opt/p2p-cluster/current/venv/bin/python3",
        {"venv"},
        True,
    ),
    "no manifest": ("rm /opt/p2p-cluster/current/manifest.json", {"release"}, True),
}


def same_answers(answers: dict[str, Any]) -> None:
    """Assert that the preview said what the run then did, and that a preview changes nothing."""
    for task in ("release", "service"):
        foretold, done = answers[task]["foretold"], answers[task]["done"]
        for key in (
            "changed",
            "diff",
            "actions",
            "release",
            "previous",
            "path",
            "packages",
            "restarted",
            "reasons",
        ):
            assert foretold.get(key) == done.get(key), (task, key)
    assert answers["before"]["drift"] == answers["untouched"]["drift"]


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_is_found_and_mended(
    node: Node, fleet: Fleet, deployed: dict[str, Any], change: str
) -> None:
    assert deployed["after"]["drift"] == []
    script, parts, restarts = CHANGES[change]
    node.sh(script)
    pid = node.sh("systemctl show -P MainPID p2p_orchestrator")
    answers = node.play("cycle.yml", **fleet.variables())
    found = answers["before"]["drift"]
    # An earlier build of that name may still lie there, with an earlier test's damage.
    implied = {"restart", "release"} | ({"venv", "package"} if "release" in parts else set())
    assert parts <= {item["part"] for item in found} <= parts | implied, found
    assert (
        bool([item for item in found if item["restarts"] and item["part"] != "state"]) == restarts
        or "state" in parts
    )
    assert answers["release"]["done"]["changed"] or answers["service"]["done"]["changed"]
    same_answers(answers)
    assert answers["after"]["drift"] == []
    assert answers["after"]["http"]["health"]["status"] == 200
    assert SECRET[:40] not in str(answers)
    if pid != "0":
        assert (node.sh("systemctl show -P MainPID p2p_orchestrator") != pid) == restarts


def test_an_older_release_is_found_and_mended(node: Node, fleet: Fleet, deployed: dict[str, Any]) -> None:
    older = Fleet()
    older.release_files = [{"path": "share/notes.txt", "content": "older\n", "mode": "0640"}]
    answers = node.play("cycle.yml", **older.variables())
    same_answers(answers)
    assert answers["after"]["release"]["name"] != deployed["after"]["release"]["name"]
    answers = node.play("cycle.yml", **fleet.variables())
    assert answers["before"]["drift"][0]["part"] == "release"
    assert answers["before"]["drift"][0]["restarts"] == ["p2p_orchestrator"]
    same_answers(answers)
    assert answers["after"]["drift"] == []
    assert answers["after"]["release"]["name"] == deployed["after"]["release"]["name"]


def test_a_node_as_wanted_is_left_alone(node: Node, fleet: Fleet, deployed: dict[str, Any]) -> None:
    assert deployed["after"]["drift"] == []
    pid = node.sh("systemctl show -P MainPID p2p_orchestrator")
    answers = node.play("cycle.yml", **fleet.variables())
    assert answers["before"]["drift"] == []
    assert not answers["release"]["done"]["changed"]
    assert not answers["service"]["done"]["changed"]
    same_answers(answers)
    assert node.sh("systemctl show -P MainPID p2p_orchestrator") == pid


def test_a_blank_node_is_foretold_exactly(deployed: dict[str, Any]) -> None:
    assert {item["part"] for item in deployed["before"]["drift"]} >= {
        "release",
        "file",
        "unit",
        "enabled",
        "state",
        "masked",
    }
    same_answers(deployed)
    packages = deployed["release"]["foretold"]["packages"]
    assert set(packages) == {"idna", "psutil", "p2p-orchestrator"}
    assert f"idna=={packages['idna']}" in deployed["release"]["foretold"]["diff"][0]["after"]
    assert deployed["after"]["imports_missing"] == []
    assert deployed["before"]["imports_missing"] is None
    assert SECRET[:40] not in str(deployed)
