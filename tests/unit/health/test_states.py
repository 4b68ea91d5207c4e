"""Every state of a node, from the probe that shows it, with its evidence and its remedy."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import pytest

from roles.p2p_health.report.build import report
from roles.p2p_health.report.model import STATES, Node
from roles.p2p_health.report.unreached import reason
from tests.unit.health.fleet_of_five import (
    LEADER,
    NOW,
    VOTERS,
    answering,
    answers,
    down,
    fleet,
    probe,
    status,
    store,
    unit,
    unreachable,
)

NODE = "vast-28918742"
CHANGED_KEY = (
    "@@@@@@@@@@\r\n@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\r\nHost key verification failed."
)


def _process(**given: Any) -> list[dict[str, Any]]:
    return [
        {"kind": "ours", "pid": 9, "cmdline": "p2p_orchestrator", "age_seconds": 900, "unit": None} | given
    ]


def _services(**given: Any) -> dict[str, Any]:
    return {"p2p_orchestrator": unit(**given)}


GONE = {"services": _services(load="not-found", active="inactive"), "release": {"name": None}}
BY_HAND = _process(kind="manual", cmdline="python scripts/p2p_orchestrator.py", age_seconds=864_000)
LOST = status(NODE, leader_id=None, effective_leader_id=None, alive_peers=0, voters_alive=0)
YOUNG = status(NODE, leader_id=None, effective_leader_id=None, uptime_seconds=4.0)
NGINX = {"pid": 80, "name": "nginx", "cmdline": "nginx: master", "orchestrator": False}
CRASHED = _services(active="activating", sub="auto-restart", restarts=14, exit_status=1, log=["Boom"])
MANAGED = [
    "--port: invalid int value: 'eighty'",
    "p2p_orchestrator.service: Main process exited, code=exited, status=2/INVALIDARGUMENT",
    "p2p_orchestrator.service: Failed with result 'exit-code'.",
    "Failed to start p2p_orchestrator.service - p2p orchestrator.",
    "Stopped p2p_orchestrator.service - p2p orchestrator.",
    "Starting p2p_orchestrator.service - p2p orchestrator...",
]
RESTARTED = _services(
    active="activating", sub="start", restarts=14, exit_status=0, started_at=None, log=MANAGED
)
NO_PSUTIL = ["Traceback", "ModuleNotFoundError: No module named 'psutil'"]


def of_package(name: str, why: str) -> dict[str, Any]:
    """Return how a package differs."""
    return {"part": "package", "name": name, "why": why, "restarts": []}


# State, what the node answers, and a part of its evidence and of its remedy.
CASES: dict[str, tuple[str, dict[str, Any], str, str | None]] = {
    "ssh times out": ("unreachable", unreachable(), "Connection timed out", "ssh root@192.0.2.15 true"),
    "ssh is refused": ("unreachable", unreachable("connect to host x: Connection refused"), "refused", "ssh"),
    "no key fits": ("auth_failed", unreachable("root@x: Permission denied (publickey)."), "denied", "ssh"),
    "sudo asks": ("auth_failed", {"failed": True, "msg": "Missing sudo password"}, "sudo", "ssh"),
    "key changed": ("host_key_changed", unreachable(CHANGED_KEY), "host key", "ssh-keygen -f"),
    "answer not believed": (
        "untrusted_answer",
        {"failed": True, "untrusted": True, "msg": "probe.clock.unix: Expected `float`, got `str`"},
        "nothing of it is believed: probe.clock.unix: Expected `float`, got `str`",
        "ssh root@192.0.2.15 'uptime; who; ps -ef' 2>&1 | cat -v",
    ),
    "no python": (
        "no_python",
        {"failed": True, "msg": "The module interpreter '/usr/bin/python3' was not found."},
        "Python 3.8",
        "apt-get install -y python3",
    ),
    "slow": (
        "not_responding",
        {"failed": True, "msg": "Task failed: Timed out after 60 second(s)."},
        "in time",
        "uptime",
    ),
    "probe broke": ("not_responding", {"failed": True, "msg": "kaboom"}, "kaboom", "uptime"),
    "blank": ("not_deployed", down(NODE, **GONE), "no release", "deploy.yml --limit vast-28918742"),
    "module missing": (
        "missing_dependencies",
        down(NODE, imports_missing=["psutil"]),
        "psutil",
        "deploy.yml",
    ),
    "module missing in the log": (
        "missing_dependencies",
        down(NODE, services=_services(active="failed", sub="failed", log=NO_PSUTIL)),
        "psutil",
        "deploy.yml",
    ),
    "package missing": (
        "missing_dependencies",
        down(NODE, drift=[{"part": "venv", "name": "PyYAML", "why": "missing", "restarts": []}]),
        "PyYAML",
        "deploy.yml",
    ),
    "package with a file that is gone": (
        "missing_dependencies",
        down(NODE, drift=[of_package("psutil", "psutil/_common.py is missing and 3 more")]),
        "missing or changed in its environment: psutil",
        "deploy.yml",
    ),
    "package with a file that was changed": (
        "missing_dependencies",
        probe(NODE, drift=[of_package("psutil", "psutil/_common.py differs from what was installed")]),
        "missing or changed in its environment: psutil",
        "deploy.yml",
    ),
    "package with another mode": (
        "drifted",
        probe(NODE, drift=[of_package("psutil", "psutil/_common.py has the mode 0600, not 0644")]),
        "package psutil: psutil/_common.py has the mode 0600, not 0644",
        "deploy.yml",
    ),
    "stopped": ("stopped", down(NODE), "inactive (dead)", "deploy.yml"),
    "failed": (
        "stopped",
        down(NODE, services=_services(active="failed", sub="failed", result="exit-code", log=["bye"])),
        "result exit-code, enabled; last line: bye",
        "deploy.yml",
    ),
    "no manager, no process": ("stopped", down(NODE, services={}), "no orchestrator runs", "deploy.yml"),
    "crash loop, in the moment of a start": (
        "crash_looping",
        down(NODE, services=RESTARTED),
        "14 times; last line: --port: invalid int value: 'eighty'",
        "journalctl",
    ),
    "crash loop": ("crash_looping", down(NODE, services=CRASHED), "14 times, exit status 1", "journalctl"),
    "port taken": ("port_conflict", down(NODE, listener=NGINX), "nginx (pid 80)", "sudo kill 80"),
    "hangs": ("not_responding", probe(NODE, http=answering(None)), "refused", "journalctl"),
    "cut off": ("isolated", probe(NODE, http=answering(LOST)), "sees 0 live peers, 0 of 5", "/live"),
    "other leader": (
        "wrong_leader",
        probe(NODE, http=answering(status(NODE, leader_id="x", effective_leader_id="x"))),
        f"names x as leader, the others name {LEADER}",
        "journalctl",
    ),
    "drift": (
        "drifted",
        probe(NODE, drift=[{"part": "file", "name": "node.conf", "why": "content differs", "restarts": []}]),
        "file node.conf: content differs",
        "deploy.yml",
    ),
    "wrong name": ("drifted", probe(NODE, http=answering(status(NODE, node_id="abc"))), "abc", "deploy.yml"),
    "name taken": ("drifted", probe(NODE, http=answering(status(NODE, name_conflict=True))), "another", None),
    "disk full": ("disk_full", probe(NODE, disk={"path": "/", "free_mb": 3}), "3 MB free", "df -h"),
    "no inodes": (
        "disk_full",
        probe(NODE, disk={"path": "/", "free_mb": 9000, "inodes_free": 0}),
        "0 inodes",
        "df -h",
    ),
    "clock behind": ("clock_skew", probe(NODE, clock={"unix": NOW - 906}), "15 min behind", "timedatectl"),
    "clock ahead": ("clock_skew", probe(NODE, clock={"unix": NOW + 90}), "90 s ahead", "timedatectl"),
    "by hand": ("legacy_service", probe(NODE, processes=BY_HAND), "hand or cron since 10 d", "deploy.yml"),
    "old unit": (
        "legacy_service",
        probe(NODE, services=_services() | {"ringrift-p2p": unit()}),
        "ringrift-p2p is active (running)",
        "deploy.yml",
    ),
    "cron would start one": (
        "legacy_service",
        probe(NODE, watchdogs=[{"path": "/etc/crontab", "line": "* * * * * p2p_orchestrator.py"}]),
        "/etc/crontab",
        "deploy.yml",
    ),
    "activating": (
        "starting",
        down(NODE, services=_services(active="activating", sub="start")),
        "start",
        None,
    ),
    "just started": (
        "starting",
        probe(NODE, http=answering(None), processes=_process(age_seconds=3)),
        "3 s",
        None,
    ),
    "has not heard": ("starting", probe(NODE, http=answering(YOUNG)), "not yet heard of a leader", None),
    "well": ("ok", probe(NODE), "", None),
}


def _node(name: str, answer: dict[str, Any], **settings: Any) -> Node:
    made = report(answers(**{name.replace("-", "_"): answer}), fleet(**settings))
    return next(node for node in made["nodes"] if node["node_id"] == name)


@pytest.mark.parametrize("case", CASES)
def test_a_node_gets_its_state_evidence_and_remedy(case: str) -> None:
    state, answer, evidence, remedy = CASES[case]
    node = _node(NODE, answer)
    assert node["state"] == state
    assert evidence in node["evidence"]
    assert node["remedy"] is None if remedy is None else remedy in str(node["remedy"])


def test_every_state_has_a_case() -> None:
    assert {state for state, *_ in CASES.values()} == set(STATES)


@pytest.mark.parametrize("case", CASES)
def test_no_remedy_carries_a_comment_or_spans_lines(case: str) -> None:
    remedy = _node(NODE, CASES[case][1])["remedy"] or ""
    assert "#" not in remedy
    assert "\n" not in remedy


@pytest.mark.parametrize(
    ("given", "state", "evidence"),
    [
        ({"etcd": {"error": "refused", "has_data": True}}, "not_responding", "does not answer: refused"),
        ({"etcd": store(VOTERS[0], leader=None)}, "isolated", "knows no leader"),
        ({"etcd": store(VOTERS[0], learner=True)}, "starting", "learner"),
    ],
)
def test_a_voters_store_counts(given: dict[str, Any], state: str, evidence: str) -> None:
    node = _node(VOTERS[0], probe(VOTERS[0], **given))
    assert (node["state"], evidence in node["evidence"]) == (state, True)


@pytest.mark.parametrize(
    ("etcd_unit", "state"),
    [
        (unit(active="failed", sub="failed"), "stopped"),
        (unit(load="not-found", active="inactive"), "not_deployed"),
        (unit(active="activating", sub="auto-restart", restarts=4), "crash_looping"),
    ],
)
def test_a_voters_store_service_counts(etcd_unit: dict[str, Any], state: str) -> None:
    silent = {"error": "refused", "has_data": True}
    services = {"p2p_orchestrator": unit(), "p2p-etcd": etcd_unit}
    assert _node(VOTERS[0], probe(VOTERS[0], etcd=silent, services=services))["state"] == state


def test_a_voter_with_data_of_a_lost_cluster_is_told_as_that_alone() -> None:
    line = '{"msg":"request sent was ignored by remote peer due to cluster ID mismatch"}'
    services = {
        "p2p_orchestrator": unit(active="inactive", sub="dead", started_at=None),
        "p2p-etcd": unit(active="activating", sub="start", log=["other", line]),
    }
    silent = {"error": "refused", "has_data": True, "data_dir": "/var/lib/p2p-etcd"}
    node = _node(VOTERS[0], down(VOTERS[0], etcd=silent, services=services))
    assert node["state"] == "isolated"
    assert "/var/lib/p2p-etcd holds the data of another cluster" in node["evidence"]
    assert node["remedy"] == (
        "ssh root@192.0.2.10 'sudo systemctl stop p2p-etcd;"
        " sudo mv /var/lib/p2p-etcd /var/lib/p2p-etcd.stale' && ansible-playbook voters.yml"
    )


def test_a_node_with_several_troubles_leads_with_the_gravest() -> None:
    drift = [{"part": "file", "name": "node.conf", "why": "content differs", "restarts": []}]
    node = _node(NODE, probe(NODE, drift=drift, clock={"unix": NOW + 90}, disk={"path": "/", "free_mb": 3}))
    assert [node["state"], *(item["state"] for item in node["also"])] == [
        "disk_full",
        "clock_skew",
        "drifted",
    ]


def test_what_follows_from_a_stop_is_not_told_as_drift() -> None:
    drift = [{"part": "state", "name": "p2p_orchestrator", "why": "is stopped", "restarts": []}]
    node = _node(NODE, down(NODE, drift=drift))
    assert (node["state"], node["also"]) == ("stopped", [])


def test_a_node_without_an_answer_is_a_row() -> None:
    given = answers()
    del given[NODE]
    made = report(given, fleet())
    assert made["nodes"][0]["node_id"] == NODE
    assert made["nodes"][0]["state"] == "unreachable"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "Task failed: Failed to connect to the host via ssh: ssh: connect to host x port 22: refused",
            "ssh: connect to host x port 22: refused",
        ),
        (
            'Task failed: Data could not be sent to remote host "x". Make sure this host can be reached'
            " over ssh: ssh: connect to host x port 22: No route to host",
            "ssh: connect to host x port 22: No route to host",
        ),
        (CHANGED_KEY, "Host key verification failed."),
        (
            "Warning: Permanently added 'x'\nroot@x: Permission denied (publickey).",
            "root@x: Permission denied (publickey).",
        ),
        ("(traceback unavailable)", "no answer"),
        ("", "no answer"),
        ("x" * 500, "x" * 159 + "…"),
    ],
)
def test_the_reason_is_read_out_of_what_ssh_says(text: str, told: str) -> None:
    assert reason(text) == told


def test_what_follows_from_an_earlier_deployment_is_not_told_as_drift() -> None:
    drift = [{"part": "release", "name": "1.0", "why": "not there", "restarts": []}]
    node = _node(NODE, probe(NODE, processes=BY_HAND, drift=drift))
    assert (node["state"], node["also"]) == ("legacy_service", [])


def test_what_is_gone_and_what_was_changed_are_named_once_and_together() -> None:
    drift = [
        of_package("psutil", "psutil/x.py differs from what was installed"),
        of_package("pyyaml", "missing"),
        of_package("yarl", "yarl/is missing has the mode 0600, not 0644"),
    ]
    node = _node(NODE, down(NODE, drift=drift, imports_missing=["psutil"]))
    assert node["evidence"] == "missing in its environment: psutil, pyyaml"
    node = _node(NODE, down(NODE, drift=drift))
    assert node["evidence"] == "missing or changed in its environment: pyyaml, psutil"


def test_remedies_without_root_take_no_sudo() -> None:
    hosts = dict(fleet().hosts)
    hosts[NODE] = dataclasses.replace(hosts[NODE], sudo="", ssh="ssh me@192.0.2.15")
    remedy = _node(NODE, down(NODE, listener=NGINX), hosts=hosts).get("remedy") or ""
    assert remedy.startswith("ssh me@192.0.2.15 'kill 80' && ")


@pytest.mark.parametrize(
    "line", ["ImportError: " * 50 + "a." * 600 + "!", "ImportError: a" + " " * 1900 + "!"]
)
def test_a_log_line_costs_no_time_however_it_is_written(line: str) -> None:
    told = down(NODE, services=_services(active="failed", sub="failed", log=[line] * 100))
    began = time.process_time()
    assert _node(NODE, told)["state"] in ("stopped", "missing_dependencies")
    assert time.process_time() - began < 2  # what tries every end for every beginning takes minutes
