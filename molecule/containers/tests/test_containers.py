"""A cluster whose other nodes are rented containers without systemd; the tests build on each other."""

from __future__ import annotations

import time

import pytest

from tests.integration.deploy import live
from tests.integration.deploy.live import on, status, wait_for

VOTERS = ("hetzner-cpu61", "hetzner-cpu62", "vultr-a100-61")
VAST, RUNPOD = "vast-28918761", "runpod-h100-61"
OTHERS = (VAST, RUNPOD)
HOOKS = {VAST: "/root/onstart.sh", RUNPOD: "/post_start.sh"}
ROOT = "/opt/p2p-cluster"
CONTROL = f"{ROOT}/current/venv/bin/supervisorctl -c {ROOT}/supervisor/p2p_orchestrator.conf"
# This machine may be five times slower than when it is idle.
PATIENCE_S = 120.0


def shell(node: str, script: str) -> str:
    """Return what a shell on a node prints; its exit code does not matter."""
    return on(node, "sh", "-c", f"{{ {script}; }} 2>&1 || true")


def processes(node: str, what: str = "-m p2p_orchestrator") -> list[tuple[int, int, str]]:
    """Return process id, parent and user of the processes whose command line holds a text."""
    lines = on(node, "ps", "-eo", "pid=,ppid=,user=,args=").splitlines()
    rows = [line.split(None, 3) for line in lines]
    return [(int(row[0]), int(row[1]), row[2]) for row in rows if what in row[3] and "ps -eo" not in row[3]]


def supervisors(node: str) -> list[int]:
    """Return the process ids of supervisord."""
    return [pid for pid, _, _ in processes(node, "/supervisord -c")]


def takes_part(node: str) -> bool:
    """Tell whether a node answers and follows a voter."""
    return status(node).get("leader_id") in VOTERS


def comes_back(node: str) -> float:
    """Wait until a node takes part, and return the seconds that it took."""
    began = time.monotonic()
    wait_for(
        lambda: takes_part(node),
        PATIENCE_S,
        lambda: shell(node, f"{CONTROL} status; tail {ROOT}/supervisor/*.log"),
    )
    return time.monotonic() - began


@pytest.mark.parametrize("node", OTHERS)
def test_supervisord_keeps_one_process_of_the_services_user(node: str) -> None:
    assert "supervisord" not in on(node, "cat", "/proc/1/cmdline")
    (keeper,) = supervisors(node)
    ((pid, parent, user),) = processes(node)
    assert (parent, user) == (keeper, "p2p")
    assert "RUNNING" in shell(node, f"{CONTROL} status")
    assert on(node, "stat", "-c", "%a %U", f"{ROOT}/supervisor/p2p_orchestrator.sock") == "600 root"
    assert live.module(node, "p2p_probe", {"log_lines": 1})["probe"]["manager"] == "supervisord"
    assert pid != keeper


def test_the_users_start_script_is_kept_and_one_is_made() -> None:
    mine = on(VAST, "cat", HOOKS[VAST]).splitlines()
    assert mine[0] == "#!/bin/bash"
    assert mine[1].startswith("# BEGIN p2p-cluster")
    assert mine[-1] == "sleep infinity"
    assert on(VAST, "stat", "-c", "%a", HOOKS[VAST]) == "700"
    assert on(RUNPOD, "head", "-n1", HOOKS[RUNPOD]) == "#!/bin/sh"
    assert on(RUNPOD, "stat", "-c", "%a", HOOKS[RUNPOD]) == "755"


def test_all_are_alive_though_one_refuses_what_comes_in() -> None:
    for node in OTHERS:
        comes_back(node)
    ask = "import socket; socket.create_connection(('{}', 8770), 3)"
    assert "timed out" in shell(VOTERS[0], f'python3 -c "{ask.format(VAST)}"')
    assert shell(VOTERS[0], f'python3 -c "{ask.format(RUNPOD)}"') == ""
    wait_for(
        lambda: all(status(VOTERS[0])["peers"].get(node, {}).get("is_alive") for node in OTHERS),
        PATIENCE_S,
        lambda: str(status(VOTERS[0])),
    )


def test_a_killed_process_is_started_again() -> None:
    ((killed, _, _),) = processes(RUNPOD)
    on(RUNPOD, "kill", "-9", str(killed))
    wait_for(lambda: [pid for pid, _, _ in processes(RUNPOD)] not in ([], [killed]), PATIENCE_S, str)
    comes_back(RUNPOD)


@pytest.mark.parametrize("node", OTHERS)
def test_a_container_that_restarts_comes_back_by_itself(node: str) -> None:
    live.docker("restart", "--time", "10", node)
    print(f"{node}: back {comes_back(node):.1f} s after the container's start")
    assert len(supervisors(node)) == 1
    # Run again by hand while all is well, the script starts nothing twice.
    shell(node, f"timeout 20 sh {HOOKS[node]}")
    assert len(supervisors(node)) == 1
    assert len(processes(node)) == 1
