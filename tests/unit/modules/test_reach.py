"""Ports that a node tries, over real sockets."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from module_utils.p2p_probe_parts import probe
from module_utils.p2p_reach import reach


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.fixture
def deaf() -> Iterator[int]:
    """Return a port that answers nobody: what it can queue is taken."""
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen(0)
    port = server.getsockname()[1]
    held = [socket.socket() for _ in range(3)]
    for client in held:
        client.setblocking(False)
        client.connect_ex(("127.0.0.1", port))
    yield port
    for opened in [server, *held]:
        opened.close()


def test_open_refused_silent_and_unknown(listening: socket.socket, deaf: int) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        ports = [listening.getsockname()[1], taken.getsockname()[1], deaf]
        targets = [{"host": "127.0.0.1", "port": port, "voter": f"v{port}"} for port in ports]
        targets += [{"host": "no-such-host.invalid", "port": 1, "voter": "x"}] * 3
        targets += [dict(targets[2])] * 20
        began = time.monotonic()
        found = reach(targets, 5.0)
    assert time.monotonic() - began < 60
    assert [item["outcome"] for item in found[:4]] == ["open", "refused", "blocked", "blocked"]
    assert found[0] == {**targets[0], "why": "", "outcome": "open"}
    assert found[1]["why"] == "nobody listens there"
    assert found[2]["why"] == "no answer within 5 s"
    assert {item["outcome"] for item in found[6:]} == {"blocked"}


@pytest.mark.parametrize("wanted", [True, False])
def test_a_node_tries_only_when_it_is_not_as_it_should_be(listening: socket.socket, wanted: bool) -> None:
    service: dict[str, Any] = {
        "name": "p2p-none",
        "unit_sha256": "0" * 64,
        "files": [],
        "directories": [],
        "masked_units": [],
    }
    service |= {"enabled": True, "state": "started", "current": "", "config_digest": "x"}
    target = {"host": "127.0.0.1", "port": listening.getsockname()[1]}
    answer = probe(
        {
            "service": "p2p-none",
            "root": "/nonexistent",
            "port": 1,
            "timeout": 30.0,
            "log_lines": 0,
            "reach": [target],
            "wanted": {"release": {}, "services": [service]} if wanted else None,
        }
    )
    assert answer["reach"] == ([{**target, "outcome": "open", "why": ""}] if wanted else None), answer[
        "errors"
    ]
