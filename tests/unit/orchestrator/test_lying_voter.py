"""A node asks a voter that lies in every answer: nothing of it is believed, and the node goes on."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from p2p_orchestrator import heartbeat_client
from p2p_orchestrator.beliefs import parse
from p2p_orchestrator.clock import boottime
from p2p_orchestrator.config import load
from p2p_orchestrator.elector import Elector
from p2p_orchestrator.heartbeat_client import HeartbeatClient
from p2p_orchestrator.leadership import Leadership, Record
from p2p_orchestrator.membership import Members
from p2p_orchestrator.node import Node
from p2p_orchestrator.store import Entry, View
from p2p_orchestrator.store_etcd import EtcdStore
from p2p_orchestrator.tls import DenyList
from tests.unit.orchestrator import lies

VOTER = "voter-a"
LIES = dict(lies.responses(VOTER))
TRUTH = lies.http(json.dumps(lies.answer(VOTER)).encode())


class Voter:
    """Answers whatever it is told to, to every heartbeat."""

    def __init__(self) -> None:
        self.response = b""
        self.asked: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.asked.append(head.split(b" ")[1])
            await reader.readexactly(int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]))
            writer.write(self.response)
        writer.close()


@pytest_asyncio.fixture
async def asked(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Voter, Node, "asyncio.Task[None]"]]:
    """Yield a voter, a node that asks it all the time, and the task that asks."""
    monkeypatch.setattr(heartbeat_client, "INTERVAL", 0.02)
    voter = Voter()
    server = await asyncio.start_server(voter.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    env = {"NODE_ID": "n", "P2P_SEEDS": "127.0.0.1", "P2P_VOTERS": VOTER, "P2P_HEARTBEAT_PORT": str(port)}
    config = load([], {**env, "RINGRIFT_PATH": "/"})
    node = Node(config, "me", Members("n", "me", config.voters, boottime()))
    task = asyncio.ensure_future(HeartbeatClient(node, DenyList(None), lambda: None).run())
    yield voter, node, task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    server.close()


async def answers(voter: Voter, response: bytes) -> None:
    """Let the voter answer so, at least twice."""
    voter.response, before = response, len(voter.asked)
    for _ in range(1000):
        await asyncio.sleep(0.01)
        if len(voter.asked) > before + 2:
            return
    raise AssertionError("the node asks no more")


@pytest.mark.parametrize("lie", LIES)
async def test_a_lie_is_not_believed_and_ends_nothing(
    asked: tuple[Voter, Node, "asyncio.Task[None]"], lie: str
) -> None:
    voter, node, task = asked
    await answers(voter, LIES[lie])
    assert not task.done()
    assert node.beliefs.voters() == ()
    assert (node.heartbeats["answered"], node.heartbeats["failed"] >= 1) == (0, True)
    assert set(voter.asked) == {b"/v1/heartbeat/n"}
    await answers(voter, TRUTH)
    assert node.leader(boottime())[:2] == (VOTER, 3)


async def test_what_does_not_fit_is_counted_and_logged_once(
    asked: tuple[Voter, Node, "asyncio.Task[None]"], capfd: pytest.CaptureFixture[str]
) -> None:
    voter, node, _ = asked
    await answers(voter, lies.http(lies.DEEP))
    await answers(voter, lies.http(b"[]"))
    assert node.unfit.counts["answer"] >= 4
    said = [line for line in capfd.readouterr().err.splitlines() if "event=unfit" in line]
    assert len(said) == 1
    assert 'place=answer teller=voter-a reason="not JSON"' in said[0]


def follower(leader: str, now: float) -> Node:
    """Return a voter that reads of a leader of term 3 in its store."""
    env = {"NODE_ID": "b", "P2P_SEEDS": "192.0.2.1,192.0.2.2,192.0.2.3", "P2P_VOTERS": "a,b,c"}
    url = "http://127.0.0.1:2379"
    config = load([], {**env, "P2P_ETCD_ENDPOINT": url, "RINGRIFT_PATH": "/"})
    node = Node(config, "me", Members("b", "me", config.voters, now))
    state = Leadership("b", "me")
    node.elector = Elector(state, EtcdStore(url, "p2p"), lambda: None, node.unfit)
    for revision, at in ((4, now - 1.5), (5, now)):
        asked = state.poll(at)
        assert asked is not None
        record = Entry(Record(leader, "i", 3).encode(), revision)
        state.answer(asked, at, at, View(leader=record, term=Entry(b"3", 3)))
    node.elector.answered_at, node.elector.store_error = now, None
    return node


@pytest.mark.parametrize("named", ["a", "b", "nobody-knows"])
def test_a_voter_believes_its_store_before_another_voter(named: str) -> None:
    """Else one voter that lies could keep the others from naming the leader, and from being ready."""
    now = boottime()
    node = follower("c", now)
    lie = lies.answer("a", leader_id=named, term=2**53 - 1, remaining=10.0)
    node.beliefs.take(parse(lie, now))
    assert node.leader(now)[:2] == ("c", 3)
    # Without its store a voter has nothing but what others say.
    assert node.elector is not None
    node.elector.store_error = "it does not answer"
    assert node.leader(now)[0] == (None if named == "b" else named)
