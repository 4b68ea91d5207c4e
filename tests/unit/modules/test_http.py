"""The local endpoints, asked over real sockets."""

from __future__ import annotations

import http.server
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from module_utils.p2p_http import ask_etcd, has_data
from module_utils.p2p_local_http import ask_orchestrator, get_json, trimmed_status


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers what the class holds; /slow drips."""

    answers: ClassVar[dict[str, tuple[int, bytes]]] = {}

    def do_GET(self) -> None:
        status, body = self.answers.get(self.path, (404, b"{}"))
        self.send_response(status)
        self.end_headers()
        if self.path == "/slow":
            for _ in range(6000):
                self.wfile.write(b" " * 70000)
                time.sleep(0.05)
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    """Serve on a free port."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def test_both_documents(port: int) -> None:
    peers = {"b": {"is_alive": True}, "a": {"is_alive": False, "cpu_count": 3}, "c": {}}
    status = {"leader_id": "b", "peers": peers, "self": {"x": 1}, "voter_node_ids": ["a"]}
    Handler.answers = {"/health": (503, b'{"healthy": false}'), "/status": (200, json.dumps(status).encode())}
    found = ask_orchestrator(port, 30)
    assert found["health"]["status"] == 503
    assert found["health"]["body"] == {"healthy": False}
    assert found["health"]["ms"] > 0
    assert found["status"]["body"] == {
        "leader_id": "b",
        "voter_node_ids": ["a"],
        "peers": [{"name": "a", "alive": False}, {"name": "b", "alive": True}, {"name": "c", "alive": None}],
    }


def test_nobody_listens() -> None:
    with socket.socket() as taken:  # bound, so that nobody else gets it
        taken.bind(("127.0.0.1", 0))
        found = ask_orchestrator(taken.getsockname()[1], 30)
    assert found["health"]["status"] is None
    assert "refused" in found["health"]["error"]
    assert found["status"]["error"] == found["health"]["error"]


def test_an_endpoint_that_accepts_and_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        began = time.monotonic()
        found = get_json(server.getsockname()[1], "/health", 0.3)
    assert time.monotonic() - began < 120
    assert "timed out" in found["error"]


def test_an_answer_that_drips_is_given_up(port: int) -> None:
    Handler.answers = {"/slow": (200, b"{}")}
    began = time.monotonic()
    assert re.search("too slow|timed out", get_json(port, "/slow", 0.3)["error"])
    assert time.monotonic() - began < 120


def test_an_answer_that_is_no_json(port: int) -> None:
    Handler.answers = {"/health": (200, b"<html>")}
    found = get_json(port, "/health", 30)
    assert found["status"] == 200
    assert found["body"] is None
    assert found["error"]


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", "breaks off"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "no answer in HTTP"),
        (b"", "hung up"),
    ],
)
def test_an_answer_that_is_none(said: bytes, error: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_say, args=(server, said, False), daemon=True).start()
        found = get_json(server.getsockname()[1], "/health", 30)
    assert error in found["error"]
    assert found["body"] is None


def test_an_answer_is_over_when_its_length_is_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        said = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
        threading.Thread(target=_say, args=(server, said, True), daemon=True).start()
        found = get_json(server.getsockname()[1], "/health", 30)
    assert found["body"] == {}


def _say(server: socket.socket, said: bytes, stay: bool) -> None:
    """Answer one connection, and keep it open for longer than is waited if told to."""
    connection, _ = server.accept()
    with connection:
        connection.recv(4096)
        connection.sendall(said)
        if stay:
            time.sleep(60)


@pytest.mark.parametrize("body", [None, [1], "x", {"peers": None}, {}])
def test_odd_documents_do_not_break(body: Any) -> None:
    assert trimmed_status(body) == body


def test_whether_a_member_has_data(tmp_path: Path) -> None:
    assert has_data(str(tmp_path)) is False
    (tmp_path / "member" / "wal").mkdir(parents=True)
    assert has_data(str(tmp_path)) is False
    (tmp_path / "member" / "wal" / "0.wal").write_text("x")
    assert has_data(str(tmp_path)) is True


def test_a_member_that_does_not_run(tmp_path: Path) -> None:
    found = ask_etcd({"endpoint": "https://127.0.0.1:1", "ca": str(tmp_path / "none")}, str(tmp_path), 1)
    assert found["error"]
    assert found["has_data"] is False
    assert "member_id" not in found
