"""What an address may ask of the endpoints, over real HTTP; the machine itself is not counted."""

import asyncio
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio
from aiohttp.test_utils import BaseTestServer, TestServer

from p2p_orchestrator import web as endpoints
from p2p_orchestrator.bounds import Rate
from p2p_orchestrator.clock import boottime
from p2p_orchestrator.config import load
from p2p_orchestrator.documents import StatusPage
from p2p_orchestrator.membership import Members
from p2p_orchestrator.node import Node
from p2p_orchestrator.refusals import Reason
from tests.unit.orchestrator.test_heartbeat_server import ENV


@pytest.fixture
def node() -> Node:
    config = load([], ENV)
    node = Node(config, "me", Members("voter-a", "me", config.voters, boottime()))
    for number in range(3_000):
        node.members.hear(f"node-{number}", "i", {"gpu_name": "x" * 100}, boottime())
    return node


@pytest_asyncio.fixture
async def server(node: Node) -> AsyncIterator[BaseTestServer]:
    async with TestServer(endpoints.Endpoints(node).app()) as server:
        yield server


async def ask(
    server: BaseTestServer, source: str, *, times: int, path: str = "/live", body: bytes = b""
) -> list[int]:
    connector = aiohttp.TCPConnector(local_addr=(source, 0), limit=1)
    async with aiohttp.ClientSession(connector=connector) as session:
        codes = []
        for _ in range(times):
            async with session.get(server.make_url(path), data=body or None) as reply:
                await reply.read()
                codes.append(reply.status)
        return codes


async def test_an_address_may_ask_so_often_and_another_still_may(
    monkeypatch: pytest.MonkeyPatch, node: Node
) -> None:
    monkeypatch.setattr(endpoints, "PUBLIC_REQUESTS_EACH", Rate(1e-3, 40.0))
    async with TestServer(endpoints.Endpoints(node).app()) as server:
        codes = await ask(server, "127.0.0.9", times=50)
        assert codes == [200] * 40 + [429] * 10
        assert await ask(server, "127.0.0.8", times=1) == [200]
        assert node.refusals.counts == {Reason.REQUESTS: 10}


async def test_all_addresses_together_may_ask_so_often(monkeypatch: pytest.MonkeyPatch, node: Node) -> None:
    monkeypatch.setattr(endpoints, "PUBLIC_REQUESTS", Rate(1e-3, 40.0))
    async with TestServer(endpoints.Endpoints(node).app()) as server:
        codes = [code for i in range(1, 6) for code in await ask(server, f"127.0.9.{i}", times=10)]
        assert codes == [200] * 40 + [429] * 10
        assert await ask(server, "127.0.0.1", times=50) == [200] * 50


async def test_bytes_are_counted(monkeypatch: pytest.MonkeyPatch, node: Node) -> None:
    monkeypatch.setattr(endpoints, "PUBLIC_BYTES_EACH", Rate(1e-3, 6e6))
    async with TestServer(endpoints.Endpoints(node).app()) as server:
        codes = await ask(server, "127.0.0.9", times=6, path="/status")
        assert (codes[0], codes[-1]) == (200, 429)
        assert node.refusals.counts[Reason.BYTES] == codes.count(429)
        assert await ask(server, "127.0.0.9", times=1) == [200]


async def test_a_body_is_refused(server: BaseTestServer, node: Node) -> None:
    assert await ask(server, "127.0.0.1", times=1, path="/health", body=b"x" * 300_000) == [413]
    assert node.refusals.counts == {Reason.BODY: 1}


async def test_a_page_in_pieces_is_whole(server: BaseTestServer) -> None:
    async with aiohttp.ClientSession() as session, session.get(server.make_url("/status")) as reply:
        body = await reply.read()
        assert reply.content_length == len(body) > 10 * endpoints.PIECE_BYTES
        assert len(json.loads(body)["peers"]) == 3_000


async def test_what_is_asked_for_its_header_alone_has_no_body(server: BaseTestServer) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"HEAD /status HTTP/1.1\r\nHost: t\r\n\r\nGET /live HTTP/1.1\r\nHost: t\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"content-length: " in head.lower()
    assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
    writer.close()


async def test_slow_readers_share_one_page(server: BaseTestServer, node: Node) -> None:
    """Each holds a few pieces, not a page: 40 of them would hold 100 MB."""
    import tracemalloc  # noqa: PLC0415  # it slows down whatever comes after it

    # At once, while all nodes are alive.
    size = sum(len(part) for part in StatusPage(node).encode(boottime(), alive_only=True))
    assert size > 2_000_000
    request = b"GET /status HTTP/1.1\r\nHost: test\r\n\r\n"
    _, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1024)
    writer.write(request)
    await asyncio.sleep(0.5)
    tracemalloc.start()
    try:
        others = [await asyncio.open_connection("127.0.0.1", server.port, limit=1024) for _ in range(40)]
        for _, other in others:
            other.write(request)
        await asyncio.sleep(0.5)
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert held < 4 * size + 40 * 4 * endpoints.PIECE_BYTES
    for other in (writer, *(streams[1] for streams in others)):
        other.close()
