"""Strangers and one greedy certificate against a real voter: a real node's heartbeats pass all the while."""

import asyncio
import contextlib
import resource
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from p2p_orchestrator.limits import HEARTBEATS, NODE_REQUESTS
from tests.integration.orchestrator.alone import HELLO, NODE, VOTER, Alone, Streams, beat, heartbeat
from tests.integration.orchestrator.cluster import Agent, now, wait

FLOOD = 3_000
FLEET = 300


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alone]:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with Alone(tmp_path_factory.mktemp("strangers")) as alone:
        wait("the node is heard", lambda: NODE in alone.voter.status().get("peers", {}), 60)
        yield alone


@pytest.fixture
def unharmed(alone: Alone) -> Iterator[Alone]:
    """The node's heartbeats fail at no time, and go on to the end; nobody is restarted."""
    pids = [agent.process.pid for agent in (alone.voter, alone.node) if agent.process]
    failed, answered = (figure(alone.node, f'p2p_heartbeats_total{{kind="{kind}"}}') for kind in KINDS)
    yield alone
    wait("one more", lambda: figure(alone.node, ANSWERED) > answered, 20)
    assert figure(alone.node, FAILED) == failed
    assert alone.voter.running
    assert alone.node.running
    assert [agent.process.pid for agent in (alone.voter, alone.node) if agent.process] == pids


KINDS = ("failed", "answered")
FAILED, ANSWERED = (f'p2p_heartbeats_total{{kind="{kind}"}}' for kind in KINDS)


def figure(agent: Agent, name: str) -> float:
    """Return a figure of `/metrics`, 0 if it is not there."""
    page = str(agent.get("/metrics")[1])
    return next((float(line.split()[1]) for line in page.splitlines() if line.startswith(f"{name} ")), 0.0)


def refused(alone: Alone, reason: str) -> float:
    return figure(alone.voter, f'p2p_refused_total{{reason="{reason}"}}')


async def until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(60.0):
        while not check():  # noqa: ASYNC110  # what changes is another process
            await asyncio.sleep(0.1)


async def closed(streams: Streams, seconds: float) -> bool:
    """Tell whether the voter closed the connection within so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            while await streams[0].read(4096):
                pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


async def half(alone: Alone, source: str, data: bytes = HELLO) -> Streams | None:
    try:
        streams = await alone.connect(source=source)
    except OSError:
        return None
    streams[1].write(data)
    return streams


def test_a_flood_of_half_handshakes_passes(unharmed: Alone) -> None:
    """A new node gets in meanwhile, at its first or its second attempt, and the flood is ended in time."""
    assert unharmed.voter.process is not None
    memory = psutil.Process(unharmed.voter.process.pid).memory_info
    before = memory().rss

    async def attack() -> tuple[list[Streams], list[int]]:
        flood: list[Streams | None] = []
        codes = []
        tls = unharmed.context("new-1")
        for first in range(0, FLOOD, 100):
            sources = [f"127.66.{first // 100}.{i % 5 + 1}" for i in range(100)]
            flood += await asyncio.gather(*(half(unharmed, source) for source in sources))
            if first % 500 == 0:
                for _ in range(2):
                    with contextlib.suppress(OSError, EOFError):
                        codes.append(await beat(await unharmed.connect(tls, "127.66.200.1"), "new-1"))
                        break
        taken = [streams for streams in flood if streams is not None]
        assert all(await asyncio.gather(*(closed(streams, 30.0) for streams in taken)))
        return taken, codes

    taken, codes = asyncio.run(attack())
    assert len(taken) > FLOOD / 2
    assert codes == [200] * (FLOOD // 500)
    assert refused(unharmed, "strangers") + refused(unharmed, "waiting") > 0
    assert memory().rss < before + 150 * 2**20
    wait("memory is given back", lambda: memory().rss < before + 40 * 2**20, 20)


@pytest.mark.parametrize("port", [8770, 8771])
def test_what_is_not_ended_by_its_sender_is_ended(unharmed: Alone, port: int) -> None:
    """Nothing at all, half of a handshake, half of a header."""

    async def attack() -> list[bool]:
        tls = unharmed.context("slow-1") if port == 8771 else None
        header = await unharmed.connect(tls, "127.66.201.1", port)
        header[1].write(b"POST /v1/heartbeat/slow-1 HTTP/1.1\r\nHost: x\r\n")
        nothing = await unharmed.connect(source="127.66.201.1", port=port)
        some = await unharmed.connect(source="127.66.201.1", port=port)
        some[1].write(HELLO[:20])
        return await asyncio.gather(*(closed(streams, 20.0) for streams in (header, nothing, some)))

    begin = now()
    assert asyncio.run(attack()) == [True, True, True]
    assert now() - begin > 4.0 or port == 8770
    assert refused(unharmed, "slow_request") > 0


def test_a_body_that_does_not_come_is_refused(unharmed: Alone) -> None:
    async def attack() -> bytes:
        reader, writer = await unharmed.connect(unharmed.context("slow-2"))
        writer.write(heartbeat("slow-2")[:-5])
        return await reader.readline()

    assert b" 408 " in asyncio.run(attack())


def test_one_certificate_has_so_many_connections_and_requests(unharmed: Alone) -> None:
    greedy = unharmed.context("greedy-1")

    async def connections() -> tuple[int, int]:
        opened = []
        for _ in range(100):
            with contextlib.suppress(OSError):
                opened.append(await unharmed.connect(greedy, "127.66.202.1"))
        ended = await asyncio.gather(*(closed(streams, 2.0) for streams in opened))
        return len(opened), ended.count(False)

    async def requests() -> list[int]:
        codes: list[int] = []
        for _ in range(10):
            streams = await unharmed.connect(greedy, "127.66.202.1")
            # Until it is refused, and then anew: a refusal ends the connection.
            with contextlib.suppress(OSError, EOFError):
                while not codes or codes[-1] == 200:
                    codes.append(await beat(streams, "greedy-1"))
                codes.append(await beat(streams, "greedy-1"))
            streams[1].close()
        return codes

    opened, kept = asyncio.run(connections())
    assert opened > 50
    assert kept <= HEARTBEATS.guests_each
    assert refused(unharmed, "connections") >= opened - HEARTBEATS.guests_each
    begin = now()
    codes = asyncio.run(requests())
    assert codes.count(200) <= NODE_REQUESTS.burst + NODE_REQUESTS.second * (now() - begin) + 1
    assert codes.count(429) > 0
    assert figure(unharmed.voter, 'p2p_heartbeats_refused_total{reason="too_many_requests"}') >= codes.count(
        429
    )


def test_a_denied_copy_of_a_certificate_uses_up_nothing_of_the_node_that_came_back(unharmed: Alone) -> None:
    copied = unharmed.authority.leaf(NODE, file="copied")
    thief = ssl.create_default_context(cafile=copied["CA"])
    thief.load_cert_chain(copied["CERT"], copied["KEY"])

    async def once() -> int:
        streams = await unharmed.connect(thief, "127.66.203.1")
        try:
            return await beat(streams, NODE)
        finally:
            streams[1].close()

    async def attack(seconds: float) -> list[int]:
        codes, end = [], now() + seconds
        while now() < end:
            codes.append(await once())
            await asyncio.sleep(0.1)
        return codes

    (unharmed.path / "deny").write_text(f"{copied['SERIAL']}\n")
    wait("it is denied", lambda: asyncio.run(once()) == 403, 20)
    # Its node sends a heartbeat each 5 s.
    codes = asyncio.run(attack(16.0))
    assert set(codes) == {403, 429}
    assert codes.count(429) > 10


def test_an_address_that_asks_for_too_much_is_refused_and_the_machine_is_not(unharmed: Alone) -> None:
    async def ask(source: str, times: int) -> list[bytes]:
        lines = []
        for _ in range(times):
            reader, writer = await unharmed.connect(source=source, port=8770)
            writer.write(b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n")
            lines.append((await reader.readline()).split(b" ")[1])
            writer.close()
        return lines

    async def both() -> tuple[list[bytes], list[bytes]]:
        return await ask("127.66.203.1", 200), await ask("127.0.0.1", 200)

    stranger, local = asyncio.run(both())
    assert stranger.count(b"429") > 0
    assert local == [b"200"] * 200


class Node:
    """One of many nodes behind one address, which sends each 5 s and connects anew where it has to."""

    def __init__(self, alone: Alone, number: int) -> None:
        self.name = f"nat-{number}"
        self.alone = alone
        self.tls: ssl.SSLContext = alone.context(self.name)
        self.streams: Streams | None = None
        self.heard = 0.0
        self.connected = 0

    async def run(self, delay: float) -> None:
        await asyncio.sleep(delay)
        while True:
            try:
                async with asyncio.timeout(4.0):
                    # As aiohttp does, which looks before it sends.
                    if self.streams is None or self.streams[0].at_eof() or self.streams[0].exception():
                        self.streams = await self.alone.connect(self.tls, "127.66.204.1")
                        self.connected += 1
                    assert await beat(self.streams, self.name) == 200
                self.heard = now()
            except (OSError, EOFError, TimeoutError, AssertionError):
                self.streams = None
            await asyncio.sleep(5.0)


async def _probe(alone: Alone, errors: list[Any]) -> None:
    """Connect again and again: a port that is reopened refuses."""
    while True:
        try:
            _, writer = await alone.connect(source="127.66.205.1")
            writer.close()
        except ConnectionRefusedError as error:
            errors.append(error)
        except OSError:
            pass
        await asyncio.sleep(0.02)


def test_a_fleet_behind_one_address_comes_back_after_a_renewal(alone: Alone) -> None:
    """New certificates drop all connections at once and never close the port; all are heard within 15 s."""
    nodes = [Node(alone, number) for number in range(FLEET)]

    async def renewed() -> list[Any]:
        tasks = [asyncio.ensure_future(node.run(i * 5.0 / FLEET)) for i, node in enumerate(nodes)]
        await until(lambda: all(node.heard for node in nodes))
        errors: list[Any] = []
        tasks.append(asyncio.ensure_future(_probe(alone, errors)))
        alone.authority.leaf(VOTER, alone.addresses[VOTER])
        await until(lambda: "certificate_reloaded" in alone.voter.log.read_text())
        begin = now()
        await until(lambda: all(node.heard > begin for node in nodes))
        for task in tasks:
            task.cancel()
        return errors

    assert not asyncio.run(renewed())
    peers = alone.voter.status()["peers"]
    assert all(peers[node.name]["is_alive"] for node in nodes)
    dead = [event["node"] for event in alone.voter.events() if event["event"] == "node_dead"]
    assert not [name for name in dead if name.startswith("nat-")]
    assert all(node.connected >= 2 for node in nodes)
