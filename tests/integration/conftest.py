"""A real etcd of one member, for tests that need a store and no cluster."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from module_utils.p2p_http import ask_etcd


def free_ports(count: int) -> list[int]:
    """Return ports that nobody has, all different."""
    with ExitStack() as stack:
        return [
            stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in range(count)
        ]


@pytest.fixture
def member(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Run a member of one; give its client URL and data directory."""
    client, peer = (f"http://127.0.0.1:{port}" for port in free_ports(2))
    data = str(tmp_path / "data")
    words = ["etcd", "--name", "a", "--data-dir", data, "--listen-client-urls", client]
    words += ["--advertise-client-urls", client, "--listen-peer-urls", peer]
    words += ["--initial-advertise-peer-urls", peer, "--initial-cluster", f"a={peer}"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 120
        while not ask_etcd({"endpoint": client}, data, 10).get("leader"):
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()[-2000:]
            time.sleep(0.1)
        yield client, data
    finally:
        process.terminate()
        process.wait(120)
