"""The program as a user starts it: exit codes, one line each, a single machine's life."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

SOURCE = str(Path(__file__).resolve().parents[3] / "orchestrator" / "src")
PROGRAM = [sys.executable, "-m", "p2p_orchestrator"]


def environment(path: Path, **more: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": SOURCE,
        "RINGRIFT_PATH": str(path),
        "P2P_DATA_DIR": str(path),
        **more,
    }


def end(path: Path, *words: str, **env: str) -> tuple[int, list[str], str]:
    done = subprocess.run(
        [*PROGRAM, *words],
        env=environment(path, **env),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    return done.returncode, done.stderr.splitlines(), done.stdout


@pytest.fixture
def port() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_help_and_version(tmp_path: Path) -> None:
    assert end(tmp_path, "--version") == (0, [], "p2p_orchestrator 1.0.0\n")
    code, _, text = end(tmp_path, "--help")
    assert code == 0
    for flag in ("--node-id", "--host", "--port", "--peers", "--ringrift-path"):
        assert flag in text


def test_a_bad_flag(tmp_path: Path) -> None:
    code, lines, _ = end(tmp_path, "--port", "http")
    assert (code, len(lines)) == (2, 1)


def test_a_missing_package_is_named_with_how_to_install_it(tmp_path: Path) -> None:
    hide = tmp_path / "hide"
    hide.mkdir()
    (hide / "sitecustomize.py").write_text(
        "import importlib.util as u\nold = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name in ('psutil', 'yaml') else old(name, *a)\n"
    )
    code, lines, _ = end(tmp_path, PYTHONPATH=f"{hide}:{SOURCE}")
    assert code == 3
    assert lines == [
        f"p2p_orchestrator: missing Python packages: psutil, PyYAML; "
        f"install with: {sys.executable} -m pip install psutil PyYAML"
    ]


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        code, lines, _ = end(tmp_path, "--host", "127.0.0.1", "--port", str(number))
    assert code == 4
    where = f"cannot listen on 127.0.0.1:{number} (--port / P2P_PORT)"
    assert lines[-1].endswith(f"{where}: it is taken; stop what uses it, or set another")


def test_an_engine_that_is_not_there(tmp_path: Path, port: int) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.2", 0))
        public = free.getsockname()[1]
    env = {
        "P2P_VOTERS": "n,o,p",
        "P2P_SEEDS": "127.0.0.2,127.0.0.3,127.0.0.4",
        "P2P_HEARTBEAT_PORT": str(port),
    }
    code, lines, _ = end(
        tmp_path,
        "--host",
        "127.0.0.2",
        "--port",
        str(public),
        NODE_ID="n",
        P2P_ETCD_WAIT="1",
        P2P_ETCD_ENDPOINT=f"http://127.0.0.1:{port}",
        **env,
    )
    assert code == 5
    assert "cannot be reached" in lines[-1]
    assert lines[-1].endswith("start etcd or correct P2P_ETCD_ENDPOINT")


def test_a_secret_that_cannot_be_read(tmp_path: Path) -> None:
    secrets = {f"P2P_TLS_{part}": str(tmp_path / part) for part in ("CA", "CERT", "KEY")}
    code, lines, _ = end(tmp_path, **secrets)
    assert (code, len(lines)) == (6, 1)
    assert f"cannot read {tmp_path}/CA" in lines[0]


def test_a_data_directory_that_cannot_be_written(tmp_path: Path) -> None:
    code, lines, _ = end(tmp_path, P2P_DATA_DIR="/dev/null/x")
    assert (code, len(lines)) == (7, 1)


def get(port: int, path: str) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as reply:
            return reply.status, json.loads(reply.read())
    except urllib.error.HTTPError as error:
        return error.code, None
    except OSError:
        return 0, None


@pytest.mark.parametrize("voters", ["", "only"])
def test_a_single_machine_leads_at_once_tells_systemd_and_ends_in_order(tmp_path: Path, voters: str) -> None:
    with socket.socket() as free, socket.socket() as other:
        free.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        port, heartbeats = free.getsockname()[1], other.getsockname()[1]
    systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    systemd.bind(str(tmp_path / "notify"))
    systemd.settimeout(120)
    env = environment(
        tmp_path,
        NOTIFY_SOCKET=str(tmp_path / "notify"),
        WATCHDOG_USEC="300000",
        NODE_ID="only",
        P2P_VOTERS=voters,
        P2P_HEARTBEAT_PORT=str(heartbeats),
    )
    terms = []
    for _ in range(2):
        with subprocess.Popen([*PROGRAM, "--host", "127.0.0.1", "--port", str(port)], env=env) as process:
            try:
                told: set[bytes] = set()
                while not told >= {b"READY=1", b"WATCHDOG=1"}:
                    told.add(systemd.recv(100))
                limit = time.monotonic() + 120
                while get(port, "/ready")[0] != 200 and time.monotonic() < limit:
                    time.sleep(0.05)
                code, health = get(port, "/health")
                assert code == 200
                assert (health["leader_id"], health["healthy"]) == ("only", True)
                assert get(port, "/live")[0] == 200
                terms.append(health["term"])
                begin = time.monotonic()
                process.send_signal(signal.SIGTERM)
                assert process.wait(120) == 0
                assert time.monotonic() - begin < 45
            finally:
                process.kill()
        while systemd.recv(100) != b"STOPPING=1":
            pass
    systemd.close()
    assert terms == [1, 2]


def ended(connection: socket.socket) -> bool:
    """Tell whether the other side has closed a connection on which nothing was said."""
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def test_idle_connections_do_not_pile_up(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [*PROGRAM, "--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen(words, env=environment(tmp_path), stderr=subprocess.DEVNULL) as process:
        idle = []
        try:
            limit = time.monotonic() + 120
            while get(port, "/live")[0] != 200 and time.monotonic() < limit:
                time.sleep(0.05)
            idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(300)]
            limit = time.monotonic() + 120
            # What the program has not accepted yet does not show in its own count: its ends are counted here.
            while time.monotonic() < limit and sum(map(ended, idle)) < 41:
                time.sleep(0.1)
            assert sum(map(ended, idle)) >= 41
            assert len(psutil.Process(process.pid).net_connections()) <= 260
            assert get(port, "/live")[0] == 200
        finally:
            for connection in idle:
                connection.close()
            process.kill()
