"""What proves that a node reaches no package index finds each way that there is."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.support.no_index import settings, targets, ways_out


@pytest.fixture
def listener() -> socket.socket:
    """A port that answers."""
    return socket.create_server(("127.0.0.1", 0))


def test_what_answers_is_a_way(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    with listener:
        assert f"127.0.0.1 port {port}" in ways_out(asked=[("127.0.0.1", port)])
    assert f"127.0.0.1 port {port}" not in ways_out(asked=[("127.0.0.1", port)])


def test_what_fails_at_once_is_none() -> None:
    # Nobody connects to all at the same time.
    assert ways_out(asked=[("255.255.255.255", 443)]) == []


def test_a_proxy_of_the_nodes_own_is_a_way(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    port = listener.getsockname()[1]
    monkeypatch.setenv("https_proxy", f"http://who:secret@127.0.0.1:{port}/")
    with listener:
        assert f"127.0.0.1 port {port}" in ways_out(asked=[])


def test_indexes_and_proxies_are_read_as_pip_and_uv_read_them(tmp_path: Path) -> None:
    conf = tmp_path / "pip.conf"
    conf.write_text(
        "[global]\nindex-url = https://a.invalid/simple\n[install]\nfind-links =\n  http://b.invalid/\n"
    )
    (tmp_path / "broken").write_text("[")
    environment = {
        "UV_INDEX_URL": "https://c.invalid",
        "https_proxy": "http://d.invalid:3128",
        "PATH": "/bin",
    }
    told = settings(environment, [conf, tmp_path / "broken", tmp_path / "none"])
    assert [value.strip() for value in told] == [
        "https://c.invalid",
        "http://d.invalid:3128",
        "https://a.invalid/simple",
        "http://b.invalid/",
    ]


def test_a_host_is_tried_by_its_addresses() -> None:
    assert targets(["https://198.51.100.7/simple", "http://198.51.100.7:8080/x"]) == [
        ("198.51.100.7", 443),
        ("198.51.100.7", 8080),
    ]
    # Nobody's, and this machine's own.
    assert targets(["https://nobody.invalid/", "http://127.0.0.1:3128", "file:///srv/x"]) == []
