"""Whatever bytes there are: what is read is typed, finite and bounded, and the rest is refused in one way."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p_orchestrator import reader, wire
from p2p_orchestrator.beliefs import MAX_REMAINING, parse
from p2p_orchestrator.carryover import Origin, StaleError, pack, unpack
from p2p_orchestrator.clock import boottime
from p2p_orchestrator.config import load
from p2p_orchestrator.documents import StatusPage
from p2p_orchestrator.leadership import Record
from p2p_orchestrator.membership import MAX_NODES, Members
from p2p_orchestrator.metrics import MetricsPage
from p2p_orchestrator.node import Node
from p2p_orchestrator.reader import UnfitError
from tests.unit.orchestrator import lies

START = 1000.0
HEARTBEAT = {
    "cluster": "p2p",
    "incarnation": "i",
    "info": {"host": "h", "port": 1, "cpu_percent": 5.0, "has_gpu": True, "gpu_name": "g", "cpu_count": 2},
    "heard": [["vast-1", "i", 3.0, 1.0], ["vast-2", "j", 3, 0]],
}
ORIGIN = Origin("voter-a", "p2p", "boot-1")

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters())
scalars |= st.integers(10**15, 10**402) | st.sampled_from(
    ["alive", "vast-1", "a b", "\ud800", "x" * 300, 2**53]
)
values = st.recursive(scalars, lambda some: st.lists(some) | st.dictionaries(st.text(), some), max_leaves=9)


def spoilt(honest: Any) -> st.SearchStrategy[Any]:
    """Return `honest` with some of its parts, however deep, replaced by anything."""
    if isinstance(honest, dict):
        whole: st.SearchStrategy[Any] = st.fixed_dictionaries(
            {key: spoilt(value) for key, value in honest.items()}
        )
    elif isinstance(honest, list):
        whole = st.tuples(*(spoilt(value) for value in honest)).map(list)
    else:
        whole = st.just(honest)
    return st.integers(0, 9).flatmap(lambda chance: whole if chance else values)


def strict(data: bytes) -> Any:
    """Decode JSON as the strictest readers do."""

    def refuse(name: str) -> NoReturn:
        raise AssertionError(f"{name} is no JSON")

    def whole(digits: str) -> int:
        assert abs(int(digits)) <= reader.WHOLE
        return int(digits)

    found = json.loads(data.decode(), parse_constant=refuse, parse_int=whole)
    json.dumps(found, ensure_ascii=False, allow_nan=False).encode()
    return found


def read(function: Any, *arguments: Any, **more: Any) -> Any:
    """Return what was read, None where it does not fit."""
    try:
        return function(*arguments, **more)
    except UnfitError:
        return None


@given(st.binary() | values.map(lambda value: json.dumps(value).encode()))
def test_bytes_are_an_object_or_unfit(data: bytes) -> None:
    assert isinstance(read(reader.decode, data), dict | None)
    assert isinstance(read(wire.heartbeat, data, voter=True), wire.Heartbeat | None)
    assert isinstance(read(wire.roster_names, data), list | None)
    assert isinstance(Record.decode(data), Record | None)
    assert isinstance(read(reader.digits, data, "it"), int | None)


@given(spoilt(HEARTBEAT))
def test_whatever_a_node_says_the_pages_are_strict(message: Any) -> None:
    config = load(
        [],
        {
            "NODE_ID": "voter-a",
            "P2P_SEEDS": "192.0.2.1,192.0.2.2",
            "P2P_VOTERS": "voter-a,voter-b",
            "P2P_ETCD_ENDPOINT": "http://127.0.0.1:2379",
            "RINGRIFT_PATH": "/",
        },
    )
    now = boottime()
    node = Node(config, "me", Members("voter-a", "me", config.voters, now))
    told = read(wire.heartbeat, json.dumps(message).encode(), voter=True)
    if told is not None:
        node.members.hear("voter-b", told.incarnation, told.info, now)
        node.members.relay("voter-b", told.heard, now)
    node.members.sweep(now)
    page = strict(b"".join(StatusPage(node).encode(now, alive_only=False)))
    assert page["peers"]["voter-b"]["is_alive"] is (told is not None)
    strict(node.answer("voter-b", now))
    assert b"p2p_rumours" in MetricsPage(node).encode()
    strict(json.dumps(node.members.report(now)).encode())


@given(spoilt(lies.answer("voter-a")))
def test_whatever_a_voter_answers_what_is_believed_is_finite(data: Any) -> None:
    decoded = read(reader.decode, json.dumps(data).encode())
    answer = None if decoded is None else read(parse, decoded, START)
    if answer is None:
        return
    assert answer.leader is None or START < answer.until <= START + MAX_REMAINING
    assert answer.quorum_at is None or START - reader.FIGURE <= answer.quorum_at <= START
    assert 0 <= answer.term <= reader.WHOLE
    strict(json.dumps([answer.info, answer.states, answer.alive, answer.known]).encode())


def carried() -> Any:
    before = Members("voter-a", "first", ["voter-b"], START)
    info = {"host": "h", "port": 1, "reported_host": "192.0.2.7", "reported_port": 1}
    before.hear("vast-1", "i", info, START + 99)
    before.relay("voter-b", [("vast-1", "i", 30.0, 1.0)], START + 100)
    return json.loads(json.dumps(pack(before, ORIGIN, START + 100)))


@given(spoilt(carried()))
def test_whatever_was_left_behind_a_start_goes_on(data: Any) -> None:
    after = Members("voter-a", "second", ["voter-b"], START + 101)
    try:
        since, known = unpack(reader.decode(json.dumps(data).encode()), ORIGIN, START + 101)
    except (UnfitError, StaleError):
        return
    after.recall(since, known, START + 101)
    assert after.age("vast-1", START + 101) in (None, 2.0)


@pytest.mark.parametrize(
    "data",
    [
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": ' + b"9" * 401 + b"}",
        b'{"a": "\xff"}',
        "{}".encode("utf-16"),
        b"\xef\xbb\xbf{}",
        b"[]",
        lies.DEEP,
        b'{"a":' * 100_000,
    ],
)
def test_what_is_no_strict_object_is_unfit(data: bytes) -> None:
    with pytest.raises(UnfitError) as error:
        reader.decode(data)
    assert len(str(error.value)) < 100


def test_a_long_body_is_read_no_further() -> None:
    taken = []

    async def endless() -> AsyncIterator[bytes]:
        while True:
            taken.append(1)
            yield b"x" * 10

    with pytest.raises(UnfitError, match="longer than 95 bytes"):
        asyncio.run(reader.body(endless(), 95))
    assert len(taken) == 10


def test_a_roster_names_nodes() -> None:
    assert wire.roster_names(b'{"nodes": {"vast-1": "alive", "b": null}, "term": 1}') == ["vast-1", "b"]
    for nodes in ('"abc"', '{"a b": 1}', "[1]", json.dumps({f"n{i}": 1 for i in range(MAX_NODES + 1)})):
        with pytest.raises(UnfitError):
            wire.roster_names(b'{"nodes": ' + nodes.encode() + b"}")
