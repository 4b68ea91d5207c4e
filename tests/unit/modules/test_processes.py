"""What counts as an orchestrator, whose it is, and who holds a port."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from module_utils import p2p_listening
from module_utils.p2p_listening import listening, listening_sockets
from module_utils.p2p_processes import (
    Process,
    contained,
    is_orchestrator,
    kind_of,
    listener,
    orchestrators,
    parse_ps,
    start_time,
    unit_of,
)


@pytest.mark.parametrize(
    "command",
    [
        "/opt/p2p-cluster/current/venv/bin/python -m p2p_orchestrator --host 0.0.0.0",
        "python scripts/p2p_orchestrator.py --node-id x --peers http://192.0.2.1:8770",
        "/usr/bin/python3.11 -u -O /root/ringrift/ai-service/scripts/p2p_orchestrator.py",
        "/venv/bin/python /venv/bin/p2p_orchestrator",
        "/usr/local/bin/p2p_orchestrator --port 8770",
    ],
)
def test_orchestrators(command: str) -> None:
    assert is_orchestrator(command.split())


@pytest.mark.parametrize(
    "command",
    [
        "grep p2p_orchestrator.py",
        "vim scripts/p2p_orchestrator.py",
        "bash -c python scripts/p2p_orchestrator.py",
        "python -c print(p2p_orchestrator)",
        "python check.py p2p_orchestrator.py",
        "python -m http.server --directory p2p_orchestrator",
        "tail -f /var/log/p2p_orchestrator",
        "",
    ],
)
def test_others(command: str) -> None:
    assert not is_orchestrator(command.split())


@pytest.mark.parametrize(
    ("cgroups", "unit"),
    [
        ("0::/system.slice/p2p_orchestrator.service", "p2p_orchestrator.service"),
        (
            "12:cpu:/\n1:name=systemd:/docker/ab/system.slice/ringrift-p2p.service\n0::/",
            "ringrift-p2p.service",
        ),
        ("0::/user.slice/user-0.slice/session-3.scope", None),
        ("0::/user.slice/user-0.slice/user@0.service/app.slice/x.service", "x.service"),
        ("", None),
    ],
)
def test_units_of_cgroups(cgroups: str, unit: str | None) -> None:
    assert unit_of(cgroups) == unit


@pytest.mark.parametrize(
    ("unit", "words", "systemd", "kind"),
    [
        ("p2p_orchestrator.service", ["python"], True, "ours"),
        ("ringrift-p2p.service", ["python"], True, "legacy"),
        ("ssh.service", ["python"], True, "manual"),
        ("cron.service", ["python"], True, "manual"),
        (None, ["python"], True, "manual"),
        (None, ["/opt/p2p-cluster/current/venv/bin/python"], True, "manual"),
        (None, ["/opt/p2p-cluster/current/venv/bin/python"], False, "ours"),
        (None, ["python"], False, "manual"),
    ],
)
def test_whose_an_orchestrator_is(unit: str | None, words: list[str], systemd: bool, kind: str) -> None:
    process = Process(1, 0, 0, 0.0, words, unit)
    assert kind_of(process, "p2p_orchestrator", "/opt/p2p-cluster", systemd) == kind


def test_a_process_in_a_container_is_another_nodes() -> None:
    assert contained("Name:\tpython\nNSpid:\t16166\t123\nThreads:\t1\n")
    assert not contained("Name:\tpython\nNSpid:\t16166\nThreads:\t1\n")
    assert not contained("")
    assert not contained(Path("/proc/self/status").read_text())


def test_ps_of_a_mac() -> None:
    text = (
        "  501     1   501 01-02:03:04 /opt/venv/bin/python -m p2p_orchestrator --port 8770\n"
        "  502   501   501       00:09 grep p2p_orchestrator\n"
        "  503     1   501       10:09 python3 scripts/p2p_orchestrator.py\n"
    )
    found = parse_ps(text, now=1_000_000.0)
    assert [(item.pid, item.started) for item in found] == [
        (501, 1_000_000.0 - 93784),
        (503, 1_000_000.0 - 609),
    ]


def test_a_real_process_is_found_with_its_age(tmp_path: Path) -> None:
    program = tmp_path / "p2p_orchestrator.py"
    program.write_text("import time\ntime.sleep(600)\n")
    process = subprocess.Popen([sys.executable, program])
    try:
        found: list[dict[str, Any]] = []
        deadline = time.monotonic() + 60  # until the kernel shows the new command line
        while not found and time.monotonic() < deadline:
            running = orchestrators("p2p_orchestrator", "/opt/p2p", True)
            found = [item for item in running if item["pid"] == process.pid]
        assert found[0]["kind"] in ("manual", "legacy")
        assert found[0]["age_seconds"] < 120
        assert "p2p_orchestrator.py" in found[0]["cmdline"]
        started = start_time(process.pid)
        assert started is not None
        assert abs(started - time.time()) < 120
    finally:
        process.kill()
        process.wait()
    assert start_time(process.pid) is None


def test_who_listens_on_a_real_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        found = listener(port, [os.getpid()])
        assert found is not None
        assert found["pid"] == os.getpid()
        assert not found["orchestrator"]
    assert listener(port) is None


def test_the_kernels_diagnosis_and_its_tables_say_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mine, socket.create_server(("127.0.0.1", 0)):
        port = mine.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            found = listening(port)
            inode = str(os.fstat(mine.fileno()).st_ino)
            assert found == {inode: os.geteuid()}

            def silent(_family: int) -> Iterator[tuple[int, int, int]]:
                raise OSError("a sandboxed kernel")

            monkeypatch.setattr(p2p_listening, "_diagnosed", silent)
            assert listening(port) == found
    assert listening(port) == {}


def test_only_listening_sockets_count() -> None:
    head = (
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    )
    row = (
        "   0: 0100007F:{:04X} 00000000:0000 {} 00000000:00000000 00:00000000 00000000     0        0 {} 1\n"
    )
    table = head + row.format(8770, "0A", 11) + row.format(8770, "01", 12) + row.format(8771, "0A", 13)
    assert listening_sockets([table], 8770) == {"11": 0}
