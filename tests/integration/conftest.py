"""A real etcd of one member, for tests that need a store and no cluster."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from module_utils.p2p_http import ask_etcd


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


@pytest.fixture
def member(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Run a member of one; give its client URL and data directory."""
    client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    data = str(tmp_path / "data")
    words = ["etcd", "--name", "a", "--data-dir", data, "--listen-client-urls", client]
    words += ["--advertise-client-urls", client, "--listen-peer-urls", peer]
    words += ["--initial-advertise-peer-urls", peer, "--initial-cluster", f"a={peer}"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 20
        while not ask_etcd({"endpoint": client}, data, 1).get("leader"):
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()[-2000:]
            time.sleep(0.1)
        yield client, data
    finally:
        process.terminate()
        process.wait(20)
