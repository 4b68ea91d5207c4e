"""What a voter takes and what it refuses, over real HTTP."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp.test_utils import TestClient, TestServer

from p2p_orchestrator.clock import boottime
from p2p_orchestrator.config import load
from p2p_orchestrator.heartbeat_server import LOGGED, NODE_BYTES, HeartbeatServer
from p2p_orchestrator.membership import Members
from p2p_orchestrator.node import Node
from p2p_orchestrator.tls import DenyList

ENV = {
    "NODE_ID": "voter-a",
    "P2P_SEEDS": "192.0.2.1,192.0.2.2,192.0.2.3",
    "P2P_VOTERS": "voter-a,voter-b,voter-c",
    "P2P_ETCD_ENDPOINT": "http://127.0.0.1:2379",
    "RINGRIFT_PATH": "/",
}
GOOD = {"cluster": "p2p", "incarnation": "i", "info": {"host": "h", "port": 1, "cpu_percent": 5}}


@pytest_asyncio.fixture
async def voter(tmp_path: Path) -> AsyncIterator[tuple[Node, Any]]:
    config = load([], ENV)
    node = Node(config, "me", Members("voter-a", "me", config.voters, boottime()))
    deny = tmp_path / "deny"
    deny.write_text("thief\n")
    async with TestClient(TestServer(HeartbeatServer(node, DenyList(deny)).app())) as client:
        yield node, client


async def beat(client: Any, name: str, message: object) -> tuple[int, Any]:
    data = message if isinstance(message, bytes) else json.dumps(message).encode()
    reply = await client.post(f"/v1/heartbeat/{name}", data=data)
    return reply.status, await reply.json()


async def test_a_heartbeat_makes_a_node_alive_and_is_answered(voter: tuple[Node, Any]) -> None:
    node, client = voter
    status, answer = await beat(client, "vast-1", GOOD)
    assert status == 200
    assert answer["node_id"] == "voter-a"
    assert answer["leader_id"] is None
    assert answer["alive"] == 2
    assert answer["voters"] == {"voter-a": "alive", "voter-b": "unknown", "voter-c": "unknown"}
    info = node.members.member("vast-1").info
    assert (info["cpu_percent"], info["reported_host"]) == (5.0, "127.0.0.1")


async def test_only_a_voter_tells_whom_it_heard(voter: tuple[Node, Any]) -> None:
    node, client = voter
    heard = {**GOOD, "heard": [["vast-9", "x", 3.0, 1.0], ["thief", "x", 3.0, 1.0]]}
    await beat(client, "vast-1", heard)
    assert "vast-9" not in node.members.names()
    await beat(client, "voter-b", heard)
    assert node.members.rumours(boottime()) == {"vast-9"}
    await beat(client, "voter-c", heard)
    assert node.members.state("vast-9", boottime()) == "alive"
    assert "thief" not in node.members.names()


async def test_a_row_with_what_is_no_incarnation_is_left_out_alone(voter: tuple[Node, Any]) -> None:
    node, client = voter
    node.members.learn(["vast-8", "vast-9"], boottime())
    heard = [["vast-8", "x" * 256, 3.0, 1.0], ["vast-9", "x", 3.0, 1.0]]
    assert (await beat(client, "voter-b", {**GOOD, "heard": heard}))[0] == 200
    assert node.members.alive(boottime()) == {"voter-a", "voter-b", "vast-9"}
    assert node.unfit.counts == {"row": 1}


@pytest.mark.parametrize(
    ("name", "message", "status", "reason"),
    [
        ("vast-1", b"{", 400, "malformed"),
        ("vast-1", b"[" * 5000, 400, "malformed"),
        ("vast-1", {**GOOD, "incarnation": None}, 400, "malformed"),
        ("vast-1", {**GOOD, "info": []}, 400, "malformed"),
        ("vast-1", {**GOOD, "info": {"port": "1"}}, 400, "malformed"),
        ("vast-1", {**GOOD, "info": {"port": True}}, 400, "malformed"),
        ("vast-1", {**GOOD, "info": {"port": 10**400}}, 400, "malformed"),
        ("vast-1", {**GOOD, "info": {"cpu_percent": 10**400}}, 400, "malformed"),
        ("vast-1", {**GOOD, "info": {"cpu_percent": float("nan")}}, 400, "malformed"),
        ("vast-1", {**GOOD, "info": {"host": "\ud800"}}, 400, "malformed"),
        ("vast-1", {**GOOD, "incarnation": "i" * 65}, 400, "malformed"),
        ("vast-1", {**GOOD, "incarnation": "\u00e9"}, 400, "malformed"),
        ("voter-b", {**GOOD, "heard": [["n", "i", 1e999, 1.0]]}, 400, "malformed"),
        ("voter-b", {**GOOD, "heard": [["n", "i", 1.0, 1.0]] * 20_001}, 400, "malformed"),
        ("voter-b", {**GOOD, "heard": [["n", "i", True, 1.0]]}, 400, "malformed"),
        ("voter-b", {**GOOD, "heard": [["n", "i", 1.0]]}, 400, "malformed"),
        ("voter-b", {**GOOD, "heard": [["n", "i", 1.0, -1.0]]}, 400, "malformed"),
        ("voter-b", {**GOOD, "heard": [["n o", "i", 1.0, 1.0]]}, 400, "malformed"),
        ("vast 1", GOOD, 400, "malformed"),
        ("vast-1", {**GOOD, "cluster": "other"}, 403, "wrong_cluster"),
        ("thief", GOOD, 403, "denied"),
        ("vast-1", b" " * (NODE_BYTES + 1), 413, "too_large"),
    ],
)
async def test_what_is_refused_is_counted_and_leaves_nothing(
    voter: tuple[Node, Any], name: str, message: object, status: int, reason: str
) -> None:
    node, client = voter
    before = node.members.names()
    assert await beat(client, name, message) == (status, {"error": reason})
    assert node.refused == {reason: 1}
    assert node.members.names() == before


async def test_a_body_without_a_length_is_refused(voter: tuple[Node, Any]) -> None:
    _, client = voter

    async def endless() -> AsyncIterator[bytes]:
        yield b"x"

    reply = await client.post("/v1/heartbeat/vast-1", data=endless())
    assert reply.status == 413


async def test_unknown_fields_are_dropped_and_text_is_cut(voter: tuple[Node, Any]) -> None:
    node, client = voter
    await beat(client, "vast-1", {**GOOD, "info": {"host": "h" * 1000, "is_alive": True, "x": "y" * 5000}})
    info = node.members.member("vast-1").info
    assert len(info["host"]) == 256
    assert not {"is_alive", "x"} & info.keys()


async def test_one_that_sends_too_often_is_refused_and_no_other(voter: tuple[Node, Any]) -> None:
    node, client = voter
    codes = [(await beat(client, "vast-1", GOOD))[0] for _ in range(30)]
    assert codes[:10] == [200] * 10
    assert codes.count(429) >= 15
    assert node.refused == {"too_many_requests": codes.count(429)}
    assert (await beat(client, "vast-2", GOOD))[0] == 200
    assert node.members.state("vast-1", boottime()) == "alive"


async def test_a_voter_tells_less_often_as_it_tells_more(voter: tuple[Node, Any]) -> None:
    node, client = voter
    codes = [(await beat(client, "voter-b", {**GOOD, "heard": []}))[0] for _ in range(8)]
    assert codes[:3] == [200] * 3
    assert codes.count(429) >= 4
    assert node.refused == {"too_many_requests": codes.count(429)}


async def test_invented_names_do_not_fill_the_log(
    voter: tuple[Node, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    node, client = voter
    for number in range(LOGGED + 200):
        await beat(client, f"vast-{number}", {**GOOD, "cluster": "other"})
    captured = capsys.readouterr()
    assert (captured.out + captured.err).count("event=heartbeat_refused") == LOGGED
    assert node.refused == {"wrong_cluster": LOGGED + 200}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("GET", "/v1/heartbeat/vast-1", 405), ("OPTIONS", "/v1", 404)],
)
async def test_what_is_no_heartbeat_is_counted_and_the_connection_ends(
    voter: tuple[Node, Any], method: str, path: str, status: int
) -> None:
    node, client = voter
    codes = []
    for _ in range(30):
        reply = await client.request(method, path)
        codes.append(reply.status)
        assert reply.headers["Connection"] == "close"
    assert codes[:10] == [status] * 10
    assert codes.count(429) >= 15
    assert node.refused == {"malformed": codes.count(status), "too_many_requests": codes.count(429)}
    assert (await beat(client, "vast-2", GOOD))[0] == 200
