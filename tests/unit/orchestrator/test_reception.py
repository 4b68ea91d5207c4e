"""Who is taken in on a port, for how long, and who has to go, over real sockets and real TLS."""

import asyncio
import contextlib
import errno
import socket
import ssl
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from p2p_orchestrator import log, reception
from p2p_orchestrator.agent import Agent
from p2p_orchestrator.bounds import Rate
from p2p_orchestrator.config import load
from p2p_orchestrator.errors import Exit
from p2p_orchestrator.limits import HEARTBEATS, PLAIN_HEARTBEATS, PUBLIC, Limits
from p2p_orchestrator.listener import Listener
from p2p_orchestrator.reception import Guest, Reception
from p2p_orchestrator.refusals import Reason, Refusals
from p2p_orchestrator.tls import holder
from tests.integration.orchestrator.certificates import Authority
from tests.unit.orchestrator.test_heartbeat_server import ENV

QUICK = replace(HEARTBEATS, turns=Rate(1e4, 1e4), turns_each=Rate(1e4, 1e4), greet_seconds=0.5)
GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
BIG = b"x" * 2**20
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Port:
    """A listener on a free port, with what it refused."""

    def __init__(self) -> None:
        self.refusals = Refusals()
        self.listeners: list[Listener] = []
        self.number = 0
        self.answered = 0

    async def open(
        self, limits: Limits, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
    ) -> Listener:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.number = free.getsockname()[1]
        app = web.Application()
        app.add_routes([web.get("/", self._answer), web.get("/big", self._big), web.post("/", self._echo)])
        app.add_routes([web.get("/ill", self._ill), web.get("/fault", self._fault)])
        listener = Listener(
            app,
            host,
            self.number,
            setting="test",
            limits=limits,
            key=lambda transport, address: (
                holder(transport.get_extra_info("peercert")) if tls is not None else address
            ),
            refusals=self.refusals,
        )
        await listener.start(tls)
        self.listeners.append(listener)
        return listener

    async def _answer(self, _: web.Request) -> web.Response:
        self.answered += 1
        return web.Response(text="here")

    async def _ill(self, _: web.Request) -> web.Response:
        return web.Response(status=503)

    async def _fault(self, _: web.Request) -> web.Response:
        raise KeyError

    async def _echo(self, request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    async def _big(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(64):
            await response.write(BIG)
        return response

    async def connect(self, source: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> Streams:
        return await asyncio.open_connection(
            "127.0.0.1",
            self.number,
            local_addr=(source, 0),
            ssl=tls,
            server_hostname="voter.p2p.p2p" if tls is not None else None,
            limit=1024,
        )


@pytest_asyncio.fixture
async def port() -> AsyncIterator[Port]:
    result = Port()
    yield result
    for listener in result.listeners:
        await listener.stop()


class Certificates:
    """Contexts of an authority."""

    def __init__(self, authority: Authority) -> None:
        self.authority = authority

    def context(self, node: str, purpose: int = ssl.PROTOCOL_TLS_CLIENT) -> ssl.SSLContext:
        files = self.authority.leaf(node)
        result = ssl.SSLContext(purpose)
        result.load_verify_locations(files["CA"])
        result.load_cert_chain(files["CERT"], files["KEY"])
        result.verify_mode = ssl.CERT_REQUIRED
        return result

    def server(self) -> ssl.SSLContext:
        return self.context("voter", ssl.PROTOCOL_TLS_SERVER)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(Authority(tmp_path_factory.mktemp("reception")))


async def get(streams: Streams) -> bytes:
    reader, writer = streams
    writer.write(GET)
    return await reader.readuntil(b"here")


async def ended(reader: asyncio.StreamReader) -> bool:
    """Tell whether the other end closed, within 10 s; whatever comes before that is skipped."""
    try:
        while await asyncio.wait_for(reader.read(1024), 10.0):
            pass
    except ConnectionError:
        return True
    except asyncio.TimeoutError:
        return False
    return True


async def test_little_is_read_of_a_connection_at_once(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    """What aiohttp cannot read it copies, with errors that tell of it."""
    sizes: list[int] = []
    monkeypatch.setattr(Guest, "data_received", lambda _, data: sizes.append(len(data)))
    await port.open(PLAIN_HEARTBEATS)
    _, writer = await port.connect()
    writer.write(BIG)
    for _ in range(1_000):
        if sum(sizes) == len(BIG):
            break
        await asyncio.sleep(0.01)
    assert sum(sizes) == len(BIG)
    assert max(sizes) <= reception.READ_BYTES


@pytest.mark.parametrize(
    "head", [b"", b"GET ", GET, GET[:-2] + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n"]
)
async def test_what_is_no_request_is_not_sent_back(port: Port, head: bytes) -> None:
    await port.open(PUBLIC)
    reader, writer = await port.connect()
    writer.write(head + bytes(50_000))
    answer = await reader.read(65_536)
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65_536):
            answer += data
    assert b" 400 Bad Request" in answer
    assert len(answer) < 1_000
    assert port.refusals.counts == {Reason.MALFORMED: 1}


async def until(check: Callable[[], bool]) -> None:
    for _ in range(500):
        if check():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("not within 10 s")


async def test_a_connection_is_kept_for_many_requests(port: Port, certificates: Certificates) -> None:
    await port.open(HEARTBEATS, certificates.server())
    streams = await port.connect(tls=certificates.context("node"))
    assert [b" 200 OK" in await get(streams) for _ in range(3)] == [True] * 3
    assert not port.refusals.counts


async def test_half_a_handshake_is_ended(port: Port, certificates: Certificates) -> None:
    await port.open(QUICK, certificates.server())
    silent, _ = await port.connect()
    begun, writer = await port.connect()
    writer.write(b"\x16\x03\x01\x02\x00\x01")
    assert await ended(silent)
    assert await ended(begun)
    await until(lambda: port.refusals.counts == {Reason.SLOW_HANDSHAKE: 2})


async def test_a_header_that_comes_slowly_is_ended(port: Port) -> None:
    await port.open(replace(QUICK, idle_seconds=60.0))
    reader, writer = await port.connect()
    writer.write(b"GET / HTTP/1.1\r\n")

    async def trickle() -> None:
        while True:
            writer.write(b"a: b\r\n")
            await asyncio.sleep(0.2)

    task = asyncio.ensure_future(trickle())
    try:
        assert await ended(reader)
    finally:
        task.cancel()
    assert port.refusals.counts == {Reason.SLOW_REQUEST: 1}


async def test_an_idle_guest_is_ended_and_not_counted(port: Port) -> None:
    await port.open(replace(QUICK, idle_seconds=0.5))
    streams = await port.connect()
    await get(streams)
    assert await ended(streams[0])
    assert not port.refusals.counts


async def test_who_does_not_read_the_answer_is_ended(port: Port) -> None:
    await port.open(replace(PUBLIC, idle_seconds=0.5))
    _, writer = await port.connect()
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    writer.write(GET.replace(b"/", b"/big", 1))
    await until(lambda: port.refusals.counts == {Reason.SLOW_REQUEST: 1})


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\na: " + b"b" * 2_000,
        b"GET /" + b"b" * 2_000 + b" HTTP/1.1\r\nHost: test",
        b"GET / HTTP/1.1\r\n" + b"\r\n".join(b"a%d: b" % number for number in range(33)),
        b"GET / HTTP/1.1",
        b"\x16\x03\x01\x02",
    ],
)
async def test_what_is_no_request_is_counted_and_not_logged_each_time(
    port: Port, request_: bytes, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    await port.open(HEARTBEATS)
    for _ in range(3):
        reader, writer = await port.connect()
        writer.write(request_ + b"\r\n\r\n")
        assert b" 400 " in await reader.readline()
        assert await ended(reader)
    assert port.refusals.counts == {Reason.MALFORMED: 3}
    assert not caplog.records
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("expectation", [b"x", b"100-continue"])
@pytest.mark.parametrize("line", [b"GET /", b"GET /none", b"POST /big", b"OPTIONS *"])
async def test_who_asks_whether_it_may_ask_is_counted_and_closed(
    port: Port, line: bytes, expectation: bytes
) -> None:
    """The HTTP library answers it before the application counts anything."""
    await port.open(PUBLIC)
    reader, writer = await port.connect()
    writer.write(line + b" HTTP/1.1\r\nHost: test\r\nExpect: " + expectation + b"\r\n\r\n")
    assert b" 417 " in await reader.readline()
    assert await ended(reader)
    assert port.refusals.counts == {Reason.MALFORMED: 1}
    assert not port.answered


@pytest.mark.parametrize("line", [b"GET /none", b"POST /big", b"OPTIONS *", b"GET /ill"])
async def test_a_connection_ends_with_an_answer_that_is_no_success(port: Port, line: bytes) -> None:
    await port.open(PUBLIC)
    reader, writer = await port.connect()
    writer.write(line + b" HTTP/1.1\r\nHost: test\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    assert b" 200 " not in head
    assert b"Connection: close" in head
    assert await ended(reader)


async def test_an_answer_that_fails_is_counted_and_told_once(
    port: Port, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    await port.open(PUBLIC)
    for _ in range(3):
        reader, writer = await port.connect()
        writer.write(b"GET /fault HTTP/1.1\r\nHost: test\r\n\r\n")
        assert b" 500 " in await reader.readline()
    assert port.refusals.counts == {Reason.FAULT: 3}
    assert not caplog.records
    assert "KeyError" in capsys.readouterr().err


async def test_a_packed_body_is_not_unpacked(port: Port) -> None:
    await port.open(HEARTBEATS)
    packed = zlib.compress(bytes(10_000))
    async with aiohttp.ClientSession() as session:
        url, headers = f"http://127.0.0.1:{port.number}/", {"Content-Encoding": "deflate"}
        async with session.post(url, data=packed, headers=headers) as reply:
            assert await reply.read() == packed


async def test_strangers_of_one_address_displace_each_other(port: Port, certificates: Certificates) -> None:
    await port.open(replace(QUICK, strangers=8, strangers_each=4, greet_seconds=60.0), certificates.server())
    first = [await port.connect("127.0.0.9") for _ in range(4)]
    other = await port.connect("127.0.0.8")
    await asyncio.sleep(0.1)
    more = [await port.connect("127.0.0.9") for _ in range(3)]
    assert [await ended(reader) for reader, _ in first[:3]] == [True] * 3
    assert port.refusals.counts == {Reason.STRANGERS: 3}
    assert not any(reader.at_eof() for reader, _ in (first[3], other, *more))
    await get(await port.connect("127.0.0.9", certificates.context("node")))


async def test_a_node_gets_in_through_a_flood_of_many_addresses(
    port: Port, certificates: Certificates
) -> None:
    await port.open(replace(QUICK, strangers=64, greet_seconds=60.0), certificates.server())
    flood = [await port.connect(f"127.0.9.{number}") for number in range(1, 65) for _ in range(3)]
    await get(await port.connect(tls=certificates.context("node")))
    await until(lambda: port.refusals.counts[Reason.STRANGERS] >= len(flood) - 64)


async def test_a_certificate_has_so_many_connections(port: Port, certificates: Certificates) -> None:
    await port.open(HEARTBEATS, certificates.server())
    greedy, honest = certificates.context("greedy"), certificates.context("honest")
    other = await port.connect("127.0.0.9", honest)
    await get(other)
    opened = []
    for _ in range(20):
        opened.append(await port.connect("127.0.0.9", greedy))
        await get(opened[-1])
    assert [await ended(reader) for reader, _ in opened[:16]] == [True] * 16
    assert port.refusals.counts == {Reason.CONNECTIONS: 16}
    for streams in (other, *opened[16:]):
        await get(streams)


async def test_the_last_to_come_has_a_place_in_a_full_house(port: Port) -> None:
    await port.open(replace(QUICK, guests=4, guests_each=4))
    opened = []
    for number in range(1, 7):
        opened.append(await port.connect(f"127.0.0.{number}"))
        await get(opened[-1])
    assert [await ended(reader) for reader, _ in opened[:2]] == [True] * 2
    for streams in opened[2:]:
        await get(streams)


async def test_addresses_have_turns(port: Port) -> None:
    limits = replace(HEARTBEATS, turns=Rate(50.0, 1.0), turns_each=Rate(50.0, 50.0))
    await port.open(limits)
    crowd = [asyncio.ensure_future(port.connect("127.0.0.9")) for _ in range(200)]
    await asyncio.gather(*crowd)
    # 200 at 50 a second take 4 s, and this one is the next.
    await asyncio.wait_for(get(await port.connect("127.0.0.8")), 2.0)


async def test_who_waits_too_long_or_with_too_many_is_dropped(port: Port) -> None:
    limits = replace(HEARTBEATS, turns=Rate(1e-3, 1.0), waiting=4, waiting_each=3, wait_seconds=0.5)
    await port.open(limits)
    await get(await port.connect())
    waiting = [await port.connect() for _ in range(3)]
    await asyncio.sleep(0.1)
    assert not port.refusals.counts
    waiting.append(await port.connect())
    assert await ended(waiting[0][0])
    assert port.refusals.counts == {Reason.WAITING: 1}
    assert [await ended(reader) for reader, _ in waiting] == [True] * 4
    assert port.refusals.counts == {Reason.WAITING: 4}


async def test_the_machine_itself_does_not_wait_behind_a_flood(port: Port) -> None:
    await port.open(replace(PUBLIC, turns=Rate(1e-3, 1.0)))
    crowd = [await port.connect(f"127.0.9.{number}") for number in range(1, 41)]
    await asyncio.wait_for(get(await port.connect()), 1.0)
    assert len(crowd) == 40


async def test_the_machine_itself_has_places_that_nobody_else_takes(port: Port) -> None:
    await port.open(replace(PUBLIC, guests=4, local=3))
    own = [await port.connect() for _ in range(3)]
    for streams in own:
        await get(streams)
    crowd = [await port.connect("127.0.0.9") for _ in range(6)]
    assert [await ended(reader) for reader, _ in crowd[:2]] == [True] * 2
    for streams in own:
        await get(streams)
    # A forwarder on the machine brings as many as like to come: they displace each other.
    await get(await port.connect())
    assert await ended(own[0][0])
    for streams in (*own[1:], *crowd[2:]):
        await get(streams)
    assert port.refusals.counts == {Reason.CONNECTIONS: 3}


async def test_the_machine_itself_has_its_turns_like_others_when_it_asks_for_more(port: Port) -> None:
    limits = replace(PUBLIC, turns=Rate(1e-3, 1.0), turns_each=Rate(1e-3, 2.0), local=3, wait_seconds=0.5)
    await port.open(limits)
    own = [await port.connect() for _ in range(8)]
    for streams in own[:3]:
        await get(streams)
    assert [await ended(reader) for reader, _ in own[3:]] == [True] * 5
    assert port.refusals.counts == {Reason.WAITING: 5}


async def test_new_certificates_do_not_reopen_the_port(port: Port, tmp_path: Path) -> None:
    old, new = Certificates(Authority(tmp_path / "old")), Certificates(Authority(tmp_path / "new"))
    listener = await port.open(replace(QUICK, greet_seconds=60.0), old.server())
    guest, stranger = await port.connect(tls=old.context("node")), await port.connect()
    await get(guest)
    taken: list[int] = []

    async def probe() -> None:
        while True:
            _, writer = await port.connect()
            taken.append(1)
            writer.close()
            await asyncio.sleep(0)

    task = asyncio.ensure_future(probe())
    await asyncio.sleep(0.1)
    listener.renew(new.server())
    await get(await port.connect(tls=new.context("node")))
    assert await ended(guest[0])
    assert await ended(stranger[0])
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await get(await port.connect(tls=old.context("node")))
    assert taken
    assert not task.done(), "a connection was refused"
    task.cancel()


async def test_no_host_is_all_addresses(port: Port) -> None:
    await port.open(PUBLIC, host="")
    for address in ("127.0.0.1", "::1"):
        if address == "::1" and not _has_ipv6():
            continue
        await get(await asyncio.open_connection(address, port.number))


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


async def test_an_address_that_a_resolver_names_twice_is_one(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    resolve: Callable[..., Awaitable[list[Any]]] = loop.getaddrinfo

    async def twice(*words: Any, **more: Any) -> list[Any]:
        return 2 * await resolve(*words, **more)

    monkeypatch.setattr(loop, "getaddrinfo", twice)
    await port.open(PUBLIC)
    monkeypatch.undo()
    await get(await port.connect())


async def test_without_file_descriptors_it_waits_for_some(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    accept: Callable[..., Awaitable[Any]] = loop.sock_accept
    failed: list[int] = []

    async def none_left(listener: socket.socket) -> Any:
        if len(failed) < 3:
            failed.append(1)
            raise OSError(errno.EMFILE, "too many open files")
        return await accept(listener)

    monkeypatch.setattr(loop, "sock_accept", none_left)
    await port.open(PUBLIC)
    await get(await port.connect())
    assert port.refusals.counts == {Reason.FILES: 3}


@pytest.mark.parametrize("failure", [MemoryError(), RuntimeError(), OSError(errno.ENOSPC, "full")])
async def test_a_failure_while_it_accepts_ends_one_connection(
    port: Port, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    await port.open(PUBLIC)
    made = Reception._wait

    def fails(_: Reception, __: object) -> None:
        monkeypatch.setattr(Reception, "_wait", made)
        raise failure

    monkeypatch.setattr(Reception, "_wait", fails)
    assert await ended((await port.connect())[0])
    await asyncio.wait_for(get(await port.connect()), 5.0)
    assert port.refusals.counts == {Reason.FAULT: 1}


async def test_who_went_before_it_was_accepted_has_no_address(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So macOS tells it; Linux calls it an aborted connection. Neither is waited for."""
    monkeypatch.setattr(reception, "PAUSE_SECONDS", 60.0)
    loop = asyncio.get_running_loop()
    accept: Callable[..., Awaitable[Any]] = loop.sock_accept
    calls: list[int] = []

    async def nobody(listener: socket.socket) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise OSError(errno.ECONNABORTED, "aborted")
        connection, address = await accept(listener)
        return connection, None if len(calls) == 2 else address

    monkeypatch.setattr(loop, "sock_accept", nobody)
    await port.open(PUBLIC)
    assert await ended((await port.connect())[0])
    await asyncio.wait_for(get(await port.connect()), 5.0)
    assert not port.refusals.counts


async def test_a_port_that_accepts_no_more_is_told(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[BaseException | None] = []

    async def broken(_: socket.socket) -> Any:
        raise OSError(errno.EBADF, "closed")

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_accept", broken)

    def tell(task: "asyncio.Task[None]") -> None:
        told.append(task.exception())

    taken_in = Reception(asyncio.Protocol, lambda _, address: address, PUBLIC, port.refusals, 0, ended=tell)
    with socket.socket() as listener:
        taken_in.open([listener], None)
        await until(lambda: bool(told))
    assert isinstance(told[0], OSError)
    await taken_in.close()


async def test_a_task_that_failed_ends_the_program_though_it_cannot_be_logged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran = Agent(load([], ENV))

    async def fail() -> None:
        raise MemoryError

    def full(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(log, "event", full)
    task = asyncio.ensure_future(fail())
    await asyncio.wait([task])
    with pytest.raises(MemoryError):
        ran._ended(task)
    assert ran._stop.is_set()
    assert ran._failure is not None
    assert ran._failure.code == Exit.FAILED


async def test_a_fault_of_one_guest_does_not_end_the_look_for_late_ones(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reception, "SWEEP_SECONDS", 0.05)
    await port.open(replace(PUBLIC, greet_seconds=0.3))
    failed: list[Guest] = []
    made = Guest.put_out_if_late

    def fails(guest: Guest, now: float) -> None:
        if not failed or guest in failed:
            failed.append(guest)
            raise MemoryError
        made(guest, now)

    monkeypatch.setattr(Guest, "put_out_if_late", fails)
    first, second = await port.connect(), await port.connect()
    assert await ended(second[0])
    monkeypatch.undo()
    assert await ended(first[0])


async def test_a_guest_that_cannot_be_served_is_closed(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    await port.open(PUBLIC)
    made = Reception.enter

    def fails(*_: object) -> None:
        monkeypatch.setattr(Reception, "enter", made)
        raise MemoryError

    monkeypatch.setattr(Reception, "enter", fails)
    assert await ended((await port.connect())[0])
    await get(await port.connect())
    assert port.refusals.counts == {Reason.FAULT: 1}


@pytest.mark.parametrize("tls", [False, True])
async def test_a_greeting_that_fails_gives_its_place_back(
    port: Port, monkeypatch: pytest.MonkeyPatch, certificates: Certificates, tls: bool
) -> None:
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(reception, "TURN_SECONDS", 0.01)
    await port.open(replace(PUBLIC, strangers=1), certificates.server() if tls else None)
    made = loop.connect_accepted_socket

    async def fails(*_: object, **__: object) -> Any:
        monkeypatch.setattr(loop, "connect_accepted_socket", made)
        raise MemoryError

    monkeypatch.setattr(loop, "connect_accepted_socket", fails)
    assert await ended((await port.connect())[0])
    await get(await port.connect(tls=certificates.context("node") if tls else None))
    assert port.refusals.counts == {Reason.FAULT: 1}


async def test_all_that_come_at_once_are_answered(port: Port) -> None:
    await port.open(PUBLIC)
    sources = [f"127.0.0.{number % 4 + 1}" for number in range(200)]
    crowd = await asyncio.gather(*(port.connect(source) for source in sources))
    assert all(await asyncio.gather(*(get(streams) for streams in crowd)))
    assert not port.refusals.counts


async def test_who_ends_a_handshake_in_a_renewal_is_not_heard(
    port: Port, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    await port.open(QUICK, certificates.server())
    # As if another one had come while this handshake was made.
    made = Reception.enter

    def renewed(self: Reception, guest: Guest, transport: asyncio.BaseTransport) -> None:
        monkeypatch.setattr(self, "_tls", certificates.server())
        made(self, guest, transport)

    monkeypatch.setattr(Reception, "enter", renewed)
    with contextlib.suppress(OSError):
        reader, writer = await port.connect(tls=certificates.context("node"))
        writer.write(GET)
        assert await reader.read(10) == b""
    assert not port.answered


class Lost(asyncio.Transport):
    """A connection that ended, of which its guest is to hear in a moment: it has no socket any more."""

    def abort(self) -> None:
        pass


def test_who_just_went_is_put_out_in_silence() -> None:
    """A fault there would end the newcomer's connection, or the look for those that are late."""
    refusals = Refusals()
    limits = replace(QUICK, guests_each=1)
    taken_in = Reception(asyncio.Protocol, lambda _, address: address, limits, refusals, 8771)
    gone, late, newcomer = (Guest(taken_in, "node", asyncio.Protocol) for _ in range(3))
    for guest in (gone, late, newcomer):
        guest.connection_made(Lost())
    late.put_out_if_late(late.deadline + 1.0)
    assert not refusals.counts


@pytest.mark.parametrize("secure", [False, True])
async def test_memory_is_given_back_once_when_a_crowd_has_gone(
    port: Port, certificates: Certificates, monkeypatch: pytest.MonkeyPatch, *, secure: bool
) -> None:
    given: list[int] = []
    monkeypatch.setattr(reception, "give_back", lambda: given.append(1))
    monkeypatch.setattr(reception, "SWEEP_SECONDS", 0.05)
    limits = replace(QUICK, strangers=64, strangers_each=64, guests=64, guests_each=64, greet_seconds=60.0)
    await port.open(limits, certificates.server() if secure else None)
    crowd = [await port.connect() for _ in range(20)]
    await asyncio.sleep(0.3)
    assert not given
    for _, writer in crowd:
        writer.close()
    await until(lambda: bool(given))
    await asyncio.sleep(0.3)
    assert given == [1]


async def test_stopping_closes_who_waits_and_who_greets(port: Port, certificates: Certificates) -> None:
    limits = replace(QUICK, turns=Rate(1e-3, 1.0), greet_seconds=60.0)
    listener = await port.open(limits, certificates.server())
    stranger, waiting = await port.connect(), await port.connect()
    await asyncio.sleep(0.1)
    await listener.stop()
    port.listeners.clear()
    assert await ended(stranger[0])
    assert await ended(waiting[0])
    with pytest.raises(ConnectionRefusedError):
        await port.connect()


def test_limits_fit_a_fleet() -> None:
    """A node has one connection, or two while it restarts; 1,000 of them fit, behind one address too."""
    assert HEARTBEATS.guests >= 2 * 1_000
    assert HEARTBEATS.guests_each >= 2 * 2
    assert HEARTBEATS.turns.second * 5.0 >= 1_000
    assert HEARTBEATS.strangers_each < HEARTBEATS.strangers
    assert all(limits.strangers >= limits.turns.burst for limits in (HEARTBEATS, PUBLIC))
    assert HEARTBEATS.turns_each.second * 10.0 >= 1_000
