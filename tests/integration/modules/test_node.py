"""The modules on a real node in states that no deploy leaves: failures, take-overs, removal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.modules.conftest import ROOT, Fleet, Node

BROKEN_UNIT = """\
[Service]
Type=notify
ExecStart=/bin/sh -c 'echo the reason is this; exit 7'
"""

# An earlier life: an orchestrator as another service, one started by hand, a watchdog, a foreign listener.
EARLIER_LIFE = """
mkdir -p /root/scripts
printf 'import time\\ntime.sleep(600)\\n' > /root/scripts/p2p_orchestrator.py
printf '[Service]\\nExecStart=/usr/bin/python3 /root/scripts/p2p_orchestrator.py\\n' \\
  > /run/systemd/system/ringrift-p2p.service
systemctl daemon-reload
systemctl start ringrift-p2p
echo '* * * * * root pgrep -f p2p_orchestrator.py || /root/start_p2p_orchestrator.sh' > /etc/cron.d/watch
nohup python3 /root/scripts/p2p_orchestrator.py --node-id x >/dev/null 2>&1 & echo $! > /root/pids
systemctl stop p2p_orchestrator
cd /tmp
nohup python3 -m http.server 8770 >/dev/null 2>&1 & echo $! >> /root/pids
sleep 1
"""
EARLIER_LIFE_ENDS = """
systemctl stop ringrift-p2p
rm -f /run/systemd/system/ringrift-p2p.service /etc/cron.d/watch
systemctl daemon-reload
kill $(cat /root/pids)
sleep 0.5
systemctl start p2p_orchestrator
"""
UNREADABLE_LISTENER = """
systemd-run -q --unit irc-listener --uid irc --working-directory /tmp python3 -m http.server 9999
for i in $(seq 50); do (exec 3<>/dev/tcp/127.0.0.1/9999) 2>/dev/null && break; sleep 0.1; done
"""
LEGACY_UNIT = """
printf '[Service]\\nExecStart=/bin/sleep inf\\n[Install]\\nWantedBy=multi-user.target\\n' \\
  > /etc/systemd/system/ringrift-p2p.service
systemctl daemon-reload
systemctl enable -q --now ringrift-p2p
"""


@pytest.fixture
def other_root(node: Node) -> Iterator[str]:
    """A root of its own for a test that builds releases."""
    yield "/opt/p2p-other"
    node.sh("rm -rf /opt/p2p-other")


def test_a_service_that_does_not_come_up_says_why(node: Node) -> None:
    answer = node.module("p2p_service", name="p2p-broken", unit=BROKEN_UNIT, enabled=False, wait_seconds=10)
    assert answer["failed"]
    assert "p2p-broken.service did not come up: failed" in answer["msg"]
    assert "exit status 7" in answer["msg"]
    assert "the reason is this" in answer["msg"]
    assert node.module("p2p_service", name="p2p-broken", state="absent")["changed"]
    assert not node.module("p2p_service", name="p2p-broken", state="absent")["changed"]
    assert node.sh("ls /etc/systemd/system | grep broken", check=False) == ""


def test_a_service_that_crashes_again_and_again(node: Node) -> None:
    unit = "[Service]\nExecStart=/bin/sh -c 'sleep 0.2; echo again; exit 1'\nRestart=always\nRestartSec=0.2\n"
    unit = "[Unit]\nStartLimitIntervalSec=0\n" + unit
    answer = node.module("p2p_service", name="p2p-loop", unit=unit, wait_seconds=10)
    assert "p2p-loop.service did not come up" in answer["msg"]
    assert "again" in answer["msg"]
    node.module("p2p_service", name="p2p-loop", state="absent")


def test_an_owner_that_does_not_exist_stops_before_anything_is_written(node: Node) -> None:
    files = [
        {"path": "/etc/p2p-new/a", "content": "a"},
        {"path": "/etc/p2p-new/b", "content": "b", "owner": "no-such-user"},
    ]
    given: dict[str, Any] = {"name": "p2p-new", "unit": BROKEN_UNIT, "files": files, "enabled": True}
    assert node.module("p2p_service", check_mode=True, **given)["changed"]
    answer = node.module("p2p_service", **given)
    assert "/etc/p2p-new/b: the user no-such-user does not exist here: create it first" in answer["msg"]
    assert node.sh("ls -d /etc/p2p-new /etc/systemd/system/p2p-new.service", check=False) == ""


def test_a_legacy_unit_is_taken_over_and_kept_aside(node: Node) -> None:
    node.sh(LEGACY_UNIT)
    given: dict[str, Any] = {
        "name": "p2p-idle",
        "unit": "[Service]\nExecStart=/bin/sleep inf\n",
        "masked_units": ["ringrift-p2p"],
    }
    foretold = node.module("p2p_service", check_mode=True, **given)
    answer = node.module("p2p_service", **given)
    assert answer["actions"] == foretold["actions"]
    assert "stop, disable and mask ringrift-p2p.service" in answer["actions"]
    assert (
        node.sh("systemctl is-active ringrift-p2p || systemctl is-enabled ringrift-p2p || true")
        == "inactive\nmasked"
    )
    assert "sleep" in node.sh("cat /etc/systemd/system/ringrift-p2p.service.set-aside")
    assert not node.module("p2p_service", **given)["changed"]
    node.module("p2p_service", **{**given, "state": "absent", "unit": None})
    assert node.sh("systemctl is-enabled ringrift-p2p", check=False) == "disabled"
    node.sh("rm /etc/systemd/system/ringrift-p2p.service; systemctl daemon-reload")


def test_a_process_that_may_not_be_looked_into(node: Node) -> None:
    """Root without the right to trace sees neither environment nor folder of another user's process."""
    path = "/etc/p2p-other.conf"
    unit = "[Service]\nUser=nobody\nEnvironment=P2P_CONFIG_DIGEST=@config_digest@\nExecStart=/bin/sleep inf\n"
    given: dict[str, Any] = {"name": "p2p-other", "unit": unit, "settle_seconds": 0.2}
    given["files"] = [{"path": path, "content": "1"}]
    node.sh(UNREADABLE_LISTENER)
    try:
        found = node.module("p2p_probe", port=9999)["probe"]["listener"]
        assert (found["name"], found["owner"], found["orchestrator"]) == ("python3", "irc", False)
        assert node.module("p2p_service", **given)["changed"]
        assert not node.module("p2p_service", **given)["changed"]
        node.sh(f"chmod 0600 {path}")
        answer = node.module("p2p_service", **given)
        assert (answer["changed"], answer["restarted"]) == (True, False)
        assert not node.module("p2p_service", **given)["changed"]
        node.sh(f"echo 2 > {path}")
        assert node.module("p2p_service", **given)["restarted"]
        assert not node.module("p2p_service", **given)["changed"]
        node.sh(f"touch {path}")
        assert node.module("p2p_service", **given)["restarted"]
    finally:
        node.sh("systemctl stop irc-listener")
        node.module("p2p_service", **{**given, "state": "absent"})


def test_another_release_is_foretold_for_such_a_process(node: Node, other_root: str) -> None:
    unit = f"[Service]\nUser=nobody\nWorkingDirectory={other_root}/current\nExecStart=/bin/sleep inf\n"
    given: dict[str, Any] = {"name": "p2p-other", "unit": unit, "settle_seconds": 0.2}

    def build_one(content: str, *, check_mode: bool = False) -> str:
        files = [{"path": "a", "content": content}]
        name = f"1.0-{content}"
        answer = node.module("p2p_release", check_mode=check_mode, root=other_root, name=name, files=files)
        return str(answer["path"])

    try:
        assert node.module("p2p_service", **given, current=build_one("a"))["changed"]
        assert not node.module("p2p_service", **given, current=f"{other_root}/current")["changed"]
        foretold = build_one("b", check_mode=True)
        assert node.module("p2p_service", check_mode=True, **given, current=foretold)["restarted"]
        assert node.module("p2p_service", **given, current=build_one("b"))["restarted"]
        assert not node.module("p2p_service", **given, current=f"{other_root}/releases/1.0-b")["changed"]
    finally:
        node.module("p2p_service", **{**given, "state": "absent"})


def test_the_probe_sees_who_runs_and_who_listens(node: Node, deployed: dict[str, Any]) -> None:
    probe = node.module("p2p_probe")["probe"]
    ours = probe["processes"][0]
    assert (ours["kind"], ours["owner"], ours["unit"]) == ("ours", "root", "p2p_orchestrator.service")
    assert probe["listener"]["pid"] == ours["pid"] == probe["services"]["p2p_orchestrator"]["pid"]
    body = probe["http"]["status"]["body"]
    told = {key: body[key] for key in ("node_id", "leader_id", "term", "peers")}
    assert told == {
        "node_id": "a",
        "leader_id": "b",
        "term": 7,
        "peers": [{"name": "b", "alive": True}, {"name": "c", "alive": False}, {"name": "d", "alive": None}],
    }
    assert probe["platform"]["container"] == "docker"
    assert probe["manager"] == "systemd"
    assert probe["user"]["root"]
    assert probe["errors"] == {}
    assert probe["release"]["name"] == deployed["after"]["release"]["name"]


def test_the_probe_tells_legacy_manual_and_foreign_apart(node: Node, deployed: dict[str, Any]) -> None:
    assert deployed["after"]["drift"] == []
    node.sh(EARLIER_LIFE)
    try:
        probe = node.module("p2p_probe")["probe"]
        assert sorted(item["kind"] for item in probe["processes"]) == ["legacy", "manual"]
        assert probe["listener"]["name"] == "python3"
        assert "http.server" in probe["listener"]["cmdline"]
        assert not probe["listener"]["orchestrator"]
        assert probe["watchdogs"][0]["path"] == "/etc/cron.d/watch"
        assert probe["services"]["ringrift-p2p"]["active"] == "active"
        assert probe["services"]["p2p_orchestrator"]["active"] == "inactive"
    finally:
        node.sh(EARLIER_LIFE_ENDS)


def test_a_hung_endpoint_bounds_the_probe(node: Node, deployed: dict[str, Any]) -> None:
    assert deployed["after"]["drift"] == []
    node.sh("kill -STOP $(systemctl show -P MainPID p2p_orchestrator)")
    try:
        probe = node.module("p2p_probe", timeout=5)["probe"]
        assert probe["elapsed_ms"] < 60_000
        assert "timed out" in probe["http"]["health"]["error"]
        assert probe["services"]["p2p_orchestrator"]["active"] == "active"
    finally:
        node.sh("kill -CONT $(systemctl show -P MainPID p2p_orchestrator)")


def test_zz_removal_leaves_no_trace(node: Node, fleet: Fleet, deployed: dict[str, Any]) -> None:
    assert deployed["after"]["drift"] == []
    given: dict[str, Any] = {
        "name": "p2p_orchestrator",
        "files": fleet.service_files,
        "secrets": fleet.service_secrets,
        "directories": fleet.service_directories,
        "masked_units": ["etcd"],
        "state": "absent",
    }
    foretold = node.module("p2p_service", check_mode=True, **given)
    done = node.module("p2p_service", **given)
    assert (done["changed"], done["actions"]) == (True, foretold["actions"])
    assert node.module("p2p_release", check_mode=True, root=ROOT, state="absent")["changed"]
    assert node.module("p2p_release", root=ROOT, state="absent")["changed"]
    left = node.sh("ls -d /opt/p2p* /etc/p2p* /etc/systemd/system/*p2p* 2>/dev/null", check=False)
    assert [path for path in left.splitlines() if "lab" not in path] == []
    assert node.module("p2p_probe")["probe"]["processes"] == []
    assert not node.module("p2p_service", **given)["changed"]
    assert not node.module("p2p_release", root=ROOT, state="absent")["changed"]
