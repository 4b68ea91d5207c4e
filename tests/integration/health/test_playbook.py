"""health.yml itself, over a fleet none of whose nodes answers: nothing leaves this machine."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]
# Port 1 of loopback addresses refuses at once.
FLEET = """
hosts:
  hetzner-a: {{ssh_host: {first}, ssh_port: 1, ssh_user: root, role: cpu, status: ready, p2p_enabled: true}}
  hetzner-b: {{ssh_host: 127.0.0.2, ssh_port: 1, ssh_user: root, role: cpu, status: ready, p2p_enabled: true}}
  hetzner-c: {{ssh_host: 127.0.0.3, ssh_port: 1, ssh_user: root, role: cpu, status: ready, p2p_enabled: true}}
  vast-1: {{ssh_host: 127.0.0.4, ssh_port: 1, ssh_user: root, role: gpu, status: offline, p2p_enabled: true}}
p2p_voters: [hetzner-a, hetzner-b, hetzner-c]
"""

PATIENCE = 120.0  # seconds that an orchestrator may take on a busy machine
# Two nodes on this machine, without SSH; one votes.
PAIR = """
hosts:
  local-a: {{ssh_host: localhost, ssh_user: root, role: cpu, status: ready, p2p_enabled: true, p2p_port: {0}}}
  local-b: {{ssh_host: localhost, ssh_user: root, role: cpu, status: ready, p2p_enabled: true, p2p_port: {1}}}
p2p_voters: [local-a]
"""


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        return [
            stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in range(count)
        ]


@contextmanager
def _orchestrator(name: str, port: int, folder: Path) -> Iterator[None]:
    """Run an orchestrator that is the only voter of its cluster, until the block ends."""
    (folder / name).mkdir()
    environment = {
        **os.environ,
        "PYTHONPATH": str(PROJECT / "orchestrator" / "src"),
        "P2P_VOTERS": name,
        "P2P_DATA_DIR": str(folder / name),
        "P2P_HEARTBEAT_PORT": str(_free_ports(1)[0]),
    }
    peers = f"--peers=http://127.0.0.1:{port}"
    words = [f"--node-id={name}", "--host=127.0.0.1", f"--port={port}", peers, f"--ringrift-path={folder}"]
    process = subprocess.Popen([sys.executable, "-m", "p2p_orchestrator", *words], env=environment)
    try:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=10).close()  # loopback
                break
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait()


class Run:
    """Runs of the playbook in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.reports = folder / "reports"
        self.seconds = 0.0

    def __call__(
        self, *words: str, first: str = "127.0.0.1", fleet: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run health.yml on a fleet, or on the dead one whose first node has this address."""
        file = self.folder / "distributed_hosts.yaml"
        file.write_text(fleet or FLEET.format(first=first))
        began = time.monotonic()
        done = subprocess.run(
            [
                str(Path(sys.executable).with_name("ansible-playbook")),
                f"--inventory={file}",
                "health.yml",
                f"-ep2p_health_report_dir={self.reports}",
                f"-ep2p_identity_state_dir={self.folder / 'state'}",
                *words,
            ],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=False,
        )
        self.seconds = time.monotonic() - began
        return done


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


@pytest.mark.parametrize("mode", [[], ["--check"]])
def test_a_dead_fleet_is_critical_and_every_node_a_row(run: Run, mode: list[str]) -> None:
    done = run(*mode)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "CRITICAL: no leader, no quorum (0 of 3 voters, needs 2)" in done.stdout
    assert "hetzner-a  hetzner   voter  -           -  unreachable" in done.stdout
    made = json.loads((run.reports / "health.json").read_text())
    assert made["cluster"]["by_state"] == {"unreachable": 3}
    assert made["cluster"]["scope"]["left_out"] == {"offline": 1}
    assert "Connection refused" in made["nodes"][0]["evidence"]
    assert sorted(path.name for path in run.reports.iterdir()) == [
        "health.html",
        "health.json",
        "health.md",
        "health.prom",
        "history",
    ]
    assert not (run.folder / "state").exists(), "health makes no certificates"


def test_a_limited_run_says_so(run: Run) -> None:
    done = run("--limit", "hetzner-b")
    assert done.returncode == 2
    assert "this is a part, 1 of the fleet's 3 nodes were asked" in done.stdout


def test_a_limit_without_nodes_is_an_error(run: Run) -> None:
    done = run("--limit", "vast-1")
    assert done.returncode == 2
    assert "No node was asked" in done.stdout + done.stderr
    assert not run.reports.exists()


def test_documentation_addresses_are_never_asked(run: Run) -> None:
    done = run("--timeout=300", first="192.0.2.1")
    assert done.returncode == 2
    assert "reserved for documentation" in done.stdout + done.stderr
    assert run.seconds < 150
    assert not run.reports.exists()


def test_settings_are_checked(run: Run) -> None:
    done = run("-e", "p2p_health_fail_on=sometimes")
    assert done.returncode == 2
    assert "p2p_health_fail_on" in done.stdout + done.stderr
    assert not run.reports.exists()


def test_a_report_that_cannot_be_written_is_one_clear_error(run: Run) -> None:
    run.reports.write_text("a file where the folder should be")
    done = run()
    assert done.returncode == 2
    assert f"the report cannot be written to {run.reports}" in done.stdout + done.stderr


PYTHON = ("-e", json.dumps({"ansible_python_interpreter": sys.executable}))


def test_two_leaders_are_asked_again_and_then_critical(run: Run) -> None:
    ports = _free_ports(2)
    with ExitStack() as stack:
        for name, port in zip(("local-a", "local-b"), ports, strict=True):
            stack.enter_context(_orchestrator(name, port, run.folder))
        both_vote = PAIR.format(*ports).replace("[local-a]", "[local-a, local-b]")
        done = run(*PYTHON, "-v", "-e", "p2p_health_election_wait=1", fleet=both_vote)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stdout.count("[p2p_health : Every node says what it is]") == 2
    cluster = json.loads((run.reports / "health.json").read_text())["cluster"]
    assert "two_leaders" in {item["kind"] for item in cluster["problems"]}
    assert cluster["leaders_reported"] == ["local-a", "local-b"]


def test_a_cluster_that_works_with_a_broken_node_is_degraded(run: Run) -> None:
    ports = _free_ports(2)
    with _orchestrator("local-a", ports[0], run.folder):
        _until_listened(ports[0])
        for fail_on, code in (("critical", 0), ("degraded", 2)):
            done = run(*PYTHON, "-v", "-e", f"p2p_health_fail_on={fail_on}", fleet=PAIR.format(*ports))
            assert done.returncode == code, done.stdout + done.stderr
            assert "DEGRADED: local-a leads in term 1, quorum (1 of 1 voters" in done.stdout
            assert done.stdout.count("[p2p_health : Every node says what it is]") == 1
            assert "changed=0" in done.stdout
            assert not re.search(r"changed=[1-9]", done.stdout), "health changes nothing"


def test_a_node_without_its_interpreter_says_so(run: Run) -> None:
    (run.folder / "group_vars").mkdir()
    (run.folder / "group_vars" / "p2p.yml").write_text("ansible_python_interpreter: /nonexistent/python3\n")
    assert run(fleet=PAIR.format(*_free_ports(2))).returncode == 2
    made = json.loads((run.reports / "health.json").read_text())
    assert made["cluster"]["by_state"] == {"no_python": 2}


@pytest.mark.parametrize("pipelining", ["true", "false"])
def test_a_probe_is_one_command_or_the_module(run: Run, pipelining: str) -> None:
    settings = json.dumps({"ansible_pipelining": pipelining})
    done = run(*PYTHON, "-vvv", "-e", settings, fleet=PAIR.format(*_free_ports(2)))
    made = json.loads((run.reports / "health.json").read_text())
    assert made["cluster"]["by_state"] == {"not_deployed": 2}, done.stdout
    assert ("AnsiballZ_p2p_probe" in done.stdout) == (pipelining == "false")


def test_a_node_whose_ssh_hangs_up_before_it_ends_is_asked_once(run: Run) -> None:
    ssh, calls = run.folder / "ssh", run.folder / "calls"
    lines = ("#!/bin/sh", f"echo >>{calls}", "exec 0<&-", "sleep 0.3", "echo 'no way there' >&2", "exit 255")
    ssh.write_text("\n".join(lines) + "\n")
    ssh.chmod(0o755)
    assert run("-e", f"ansible_ssh_executable={ssh}").returncode == 2
    made = json.loads((run.reports / "health.json").read_text())
    assert made["cluster"]["by_state"] == {"unreachable": 3}
    assert all("no way there" in node["evidence"] for node in made["nodes"] if node["state"] == "unreachable")
    assert len(calls.read_text().splitlines()) == 3


def _held(listener: socket.socket, spans: list[tuple[int, float, float]]) -> None:
    """Take connections without a word, and note the port and from when to when each was open."""
    port = listener.getsockname()[1]
    with suppress(OSError):  # the test closes it
        while True:
            connection = listener.accept()[0]
            began = time.monotonic()
            with connection, suppress(OSError):
                while connection.recv(4096):
                    pass
            spans.append((port, began, time.monotonic()))


def test_nodes_that_never_answer_are_waited_for_once_and_side_by_side(run: Run) -> None:
    spans: list[tuple[int, float, float]] = []
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(8)]
        ports = [listener.getsockname()[1] for listener in listeners]
        for listener in listeners:
            threading.Thread(target=_held, args=(listener, spans), daemon=True).start()
        hosts = "\n".join(
            f"  vast-{port}: {{ssh_host: 127.0.0.1, ssh_port: {port}, ssh_user: root, role: gpu,"
            " status: ready, p2p_enabled: true}"
            for port in ports
        )
        done = run("--timeout=8", fleet=f"hosts:\n{hosts}\np2p_voters: [vast-{ports[0]}]\n")
    assert done.returncode == 2
    made = json.loads((run.reports / "health.json").read_text())
    assert made["cluster"]["by_state"] == {"unreachable": 8}
    assert {port for port, _, _ in spans} == set(ports)
    assert len(spans) == 8, "each is asked once"
    most = max(sum(began <= moment < ended for _, began, ended in spans) for _, moment, _ in spans)
    assert most >= 4, "one after the other would be one at a time"


def _until_listened(port: int) -> None:
    """Wait until an orchestrator has listened for as long as it needs to know who is alive."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/status", timeout=60) as answer:  # loopback
            if json.load(answer)["listened"]:
                return
        time.sleep(0.5)
    raise AssertionError("it never listened")
