"""A cluster whose other nodes are rented containers without systemd; the tests build on each other."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.deploy import live
from tests.integration.deploy.live import Run, on, release, wait_for
from tests.support.leaks import leaks
from tests.support.no_index import of_containers

VOTERS = ("hetzner-cpu61", "hetzner-cpu62", "vultr-a100-61")
VAST, RUNPOD = "vast-28918761", "runpod-h100-61"
OTHERS = (VAST, RUNPOD)
SHARED, HOME = "lambda-a10-61", "/srv/odd home/alice"
HOOKS = {VAST: "/root/onstart.sh", RUNPOD: "/post_start.sh"}
ROOT = "/opt/p2p-cluster"
PROGRAM = f"{ROOT}/current/venv/bin/python -I -m supervisor.supervisorctl"
CONTROL = f"{PROGRAM} -c {ROOT}/supervisor/p2p_orchestrator.conf"
# This machine may be five times slower than when it is idle.
PATIENCE_S = 120.0

Play = Callable[..., tuple[int, str]]


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """Return a function that runs a playbook to its end and returns exit code and output."""
    runs = iter(range(100))

    def play(*words: str, playbook: str = "deploy.yml") -> tuple[int, str]:
        return Run(["ansible-playbook", "-v", playbook, *words], tmp_path / f"{next(runs)}.log").wait()

    return play


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
    return [pid for pid, _, _ in processes(node, "supervisor.supervisord -c")]


def status(node: str) -> dict[str, Any]:
    """Return what a node itself answers on /status, {} if it does not; one refuses what comes in."""
    url = "http://127.0.0.1:8770/status"
    script = f"import urllib.request as r; print(r.urlopen('{url}', timeout=10).read().decode())"
    try:
        answer: dict[str, Any] = json.loads(on(node, "python3", "-c", script))
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired, ValueError):
        return {}
    return answer


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


def health(play: Play, folder: Path) -> dict[str, dict[str, Any]]:
    """Return the rows of a health report by node."""
    play("-e", f"p2p_health_report_dir={folder}", playbook="health.yml")
    report = json.loads((folder / "health.json").read_text())
    return {row["node_id"]: row for row in report["nodes"]}


def test_no_node_reaches_a_package_index() -> None:
    assert of_containers((*VOTERS, *OTHERS, SHARED)) == {}


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


def test_without_root_all_lies_in_the_users_folder_and_runs_as_the_user() -> None:
    ((_, parent, user),) = processes(SHARED)
    assert user == "alice"
    (keeper,) = supervisors(SHARED)
    assert parent == keeper
    assert on(SHARED, "stat", "-c", "%U", f"/proc/{keeper}") == "alice"
    # Beside the home: the table of cron, and what the image brings.
    theirs = "find / -xdev '(' -path /proc -o -path '{}' -o -path /tmp ')' -prune -o -user alice -print"
    assert shell(SHARED, theirs.format(HOME)).splitlines() == ["/var/spool/cron/crontabs/alice"]
    ours = "ls -d /opt/p2p-cluster /etc/ringrift /var/lib/p2p_orchestrator /root/onstart.sh; id p2p"
    assert all("no such" in line.lower() for line in shell(SHARED, ours).splitlines())
    key = f"{HOME}/p2p cluster/etc/tls/node.key"
    assert on(SHARED, "stat", "-c", "%a %U", key) == "600 alice"


@pytest.mark.parametrize("node", [VOTERS[0], *OTHERS, SHARED])
def test_a_private_key_stands_in_its_files_alone(node: str) -> None:
    keys = [f"{HOME}/p2p cluster/etc/tls/node.key"] if node == SHARED else ["/etc/ringrift/tls/node.key"]
    keys += ["/etc/p2p-etcd/tls/node.key"] if node in VOTERS else []
    assert leaks(node, keys) == []


def test_without_root_the_users_own_table_of_cron_is_looked_after() -> None:
    table = on(SHARED, "crontab", "-u", "alice", "-l").splitlines()
    assert "0 3 * * * true" in table
    assert "# set aside by p2p-cluster: * * * * * pgrep -f p2p_orchestrator.py || ~/start.sh" in table
    assert sum(line.startswith("@reboot ") for line in table) == 1


def test_without_root_cron_starts_it_with_the_machine(play: Play) -> None:
    live.docker("restart", "--time", "10", SHARED)
    assert processes(SHARED) == []
    # What a machine that boots does: it starts cron, whose note of an earlier start is gone.
    shell(SHARED, "rm -f /run/crond.reboot; cron")
    wait_for(lambda: takes_part(SHARED), PATIENCE_S, lambda: shell(SHARED, "crontab -u alice -l; ps -ef"))
    ((_, _, user),) = processes(SHARED)
    assert user == "alice"
    code, output = play("--check", "--limit", SHARED)
    assert code == 0, output[-4000:]
    assert "0 of 1 nodes would change" in output


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


def test_what_a_killed_supervisord_left_is_taken_under_a_new_one(play: Play) -> None:
    (killed,) = supervisors(RUNPOD)
    on(RUNPOD, "kill", "-9", str(killed))
    assert len(processes(RUNPOD)) == 1
    code, output = play("--limit", RUNPOD)
    assert code == 0, output[-4000:]
    (keeper,) = supervisors(RUNPOD)
    assert keeper != killed
    ((_, parent, _),) = processes(RUNPOD)
    assert parent == keeper
    comes_back(RUNPOD)


def test_a_crash_loop_is_seen_and_mended(play: Play, tmp_path: Path) -> None:
    on(RUNPOD, "sed", "-i", "s/^P2P_PORT=.*/P2P_PORT=none/", live.CONF)
    ((pid, _, _),) = processes(RUNPOD)
    on(RUNPOD, "kill", "-9", str(pid))
    log = f"{ROOT}/supervisor/p2p_orchestrator.supervisord.log"
    # From three on it is a loop also in the moment of a start.
    wait_for(
        lambda: shell(RUNPOD, f"cat {log}").count("exit status 2") >= 3,
        PATIENCE_S,
        lambda: shell(RUNPOD, f"{CONTROL} status"),
    )
    row = health(play, tmp_path)[RUNPOD]
    assert row["state"] == "crash_looping", row
    assert f"{CONTROL} status; tail -n 50 {ROOT}/supervisor/p2p_orchestrator.log" in row["remedy"]
    code, output = play()
    assert code == 0, output[-4000:]
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


def test_nothing_is_foretold_after_a_restart(play: Play) -> None:
    code, output = play("--check", "--diff")
    assert code == 0, output[-4000:]
    assert "0 of 6 nodes would change" in output


def test_a_new_release_and_back(play: Play, tmp_path: Path) -> None:
    lock = (live.ROOT / "requirements/node.txt").read_text() + "# version 2\n"
    path = tmp_path / "vars.json"
    path.write_text(json.dumps({"p2p_release_lock": lock}))
    older, before = release(VAST), {node: supervisors(node) for node in OTHERS}
    code, output = play("-e", f"@{path}")
    assert code == 0, output[-4000:]
    newer = release(VAST)
    assert newer != older
    for node in OTHERS:
        comes_back(node)
        # supervisord comes out of the release that it starts, and was started with it.
        (keeper,) = supervisors(node)
        assert [keeper] != before[node]
        assert [parent for _, parent, _ in processes(node)] == [keeper]
    code, output = play(playbook="rollback.yml")
    assert code == 0, output[-4000:]
    for node in OTHERS:
        assert release(node) == older
        comes_back(node)
        assert len(supervisors(node)) == len(processes(node)) == 1
    live.settled((*VOTERS, *OTHERS), VOTERS, ask=status)


def test_removed_containers_keep_no_trace(play: Play) -> None:
    words = ("--limit", ",".join((*OTHERS, SHARED)))
    code, output = play(*words, "--check", playbook="remove.yml")
    assert code == 0, output[-4000:]
    assert [len(processes(node)) for node in (*OTHERS, SHARED)] == [1, 1, 1]
    code, output = play(*words, playbook="remove.yml")
    assert code == 0, output[-4000:]
    # What is called p2p-lab* is the image's own.
    names = "! -name 'p2p-lab*' '(' -name 'p2p*' -o -name ringrift -o -name post_start.sh ')'"
    for node in OTHERS:
        assert shell(node, f"find / -xdev -path /proc -prune -o {names} -print") == ""
        assert processes(node) == []
        assert supervisors(node) == []
    assert processes(SHARED) == []
    assert supervisors(SHARED) == []
    table = on(SHARED, "crontab", "-u", "alice", "-l")
    assert "0 3 * * * true" in table
    assert "@reboot" not in table
    assert shell(SHARED, f"find '{HOME}' -name '*p2p*' -o -name ringrift") == ""
    assert on(VAST, "cat", HOOKS[VAST]).splitlines()[0::2] == ["#!/bin/bash", "sleep infinity"]
    assert on(VAST, "stat", "-c", "%a", HOOKS[VAST]) == "700"
