"""Every managed thing changed in turn: found by the probe, foretold by a preview, mended by a run."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.modules.conftest import SECRET, Fleet, Node

CURRENT = "/opt/p2p-cluster/current"
SITE = f"{CURRENT}/venv/lib/python3.*/site-packages"
# Another byte in a module, where neither its size nor its times tell.
BYTE = f"""
cd {SITE}/idna; touch -r core.py /tmp/times
printf '#' | dd of=core.py bs=1 seek=$(($(stat -c %s core.py) - 1)) conv=notrunc status=none
touch -r /tmp/times core.py
"""

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
    "a byte of an installed module": (BYTE, {"package"}, True),
    "a byte more of an installed module": (f"echo '#' >> $(echo {SITE})/idna/core.py", {"package"}, True),
    "the mode of an installed module": (f"chmod g+w {SITE}/idna/core.py", {"package"}, True),
    "the mode of what tells of a package": (
        f"chmod 0600 {SITE}/idna-*.dist-info/METADATA",
        {"package"},
        True,
    ),
    "a missing module": (f"rm {SITE}/psutil/_common.py", {"package"}, True),
    "a library with other bytes": (f"echo >> $(echo {SITE}/psutil/_psutil_linux*.so)", {"package"}, True),
    "a symlink in a module's place": (
        f"cd {SITE}/idna; mv core.py /tmp/core.py; ln -s /tmp/core.py core.py",
        {"package"},
        True,
    ),
    "a byte of a compiled module": (
        f"printf x | dd of=$(echo {SITE}/idna/__pycache__/core.*.pyc) bs=1 seek=99 conv=notrunc status=none",
        {"venv"},
        True,
    ),
    "a compiled module that stands before its source": (
        f"echo > /tmp/extra.py; cd {SITE}/idna/__pycache__;"
        '/usr/bin/python3 -c \'import py_compile; py_compile.compile("/tmp/extra.py", "x.cpython-311.pyc")\'',
        {"venv"},
        True,
    ),
    "a missing package": (f"rm -r {SITE}/psutil {SITE}/psutil-*.dist-info", {"package"}, True),
    "a module that belongs to no package": (f"echo > $(echo {SITE})/sitecustomize.py", {"venv"}, True),
    "a package that does not belong": (
        f"mkdir $(echo {SITE})/attr; echo > $(echo {SITE})/attr/__init__.py",
        {"venv"},
        True,
    ),
    "a folder that is a symlink and does not belong": (f"ln -s /tmp $(echo {SITE})/attr", {"venv"}, True),
    "an interpreter that is gone": (f"ln -sfn /nowhere {CURRENT}/venv/bin/python", {"venv"}, True),
    "an interpreter by another name": (f"ln -sfn /usr/bin/python3 {CURRENT}/venv/bin/python", {"venv"}, True),
    "no interpreter": (f"rm {CURRENT}/venv/bin/python", {"venv"}, True),
    "a program in the environment's folder": (f"ln -s /bin/true {CURRENT}/venv/bin/pip", {"venv"}, True),
    "another pyvenv.cfg": (
        f"sed -i 's/^include-system.*/include-system-site-packages = true/' {CURRENT}/venv/pyvenv.cfg",
        {"venv"},
        True,
    ),
    "a byte of the artefact's description": (
        f'sed -i \'s/"target": "linux/"target": "linuy/\' {CURRENT}/artifact.json',
        {"release"},
        True,
    ),
    "no description of the artefact": (f"rm {CURRENT}/artifact.json", {"release"}, True),
    "a manifest of another artefact": (
        f'sed -i -E \'s/("artifact": ")..../\\10000/\' {CURRENT}/manifest.json',
        {"release"},
        True,
    ),
    "a manifest that cannot be read": (f"echo '{{' > {CURRENT}/manifest.json", {"release"}, True),
    "no manifest": (f"rm {CURRENT}/manifest.json", {"release"}, True),
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
