"""What the probe learns from a real etcd member."""

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


def test_a_member_tells_what_it_is(member: tuple[str, str]) -> None:
    endpoint, data = member
    found = ask_etcd({"endpoint": endpoint}, data, 2)
    assert found["error"] is None
    assert found["has_data"] is True
    assert found["leader"] == found["member_id"] == found["members"][0]["id"]
    assert found["members"][0]["name"] == "a"
    assert found["members"][0]["client_urls"] == [endpoint]
    assert found["members"][0]["learner"] is False
    assert found["cluster_id"].isdigit()
    assert found["raft_index"] > 0
    assert found["alarms"] == []
    assert found["version"].startswith("3.")
