"""Attackers of a cluster, each a process of its own that talks real TLS.

    python -m tests.hostile.attackers SETTINGS

`SETTINGS` is a JSON file (`Settings`). A program works until it is terminated, `strangers` until its
connections were closed, and leaves its counts in the file `report`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import resource
import select
import signal
import socket
import ssl
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.hostile import untrue
from tests.integration.orchestrator.alone import HELLO, Streams

PRIVATE, PUBLIC = 8771, 8770
PIPELINED = 10
"""So many heartbeats are sent on a connection at once."""
EACH = 300
"""So many connections come from one address."""
PATIENCE = 30.0


@dataclass
class Settings:
    """What one attacker does.

    Attributes:
        kind: The function of this module.
        me: The node whose certificate it has.
        voters: Whom it attacks: addresses by names.
        others: Names of honest nodes.
        files: The authority's certificate, its own, and its key.
        address: Where it listens, or where it comes from.
        second: Connections a second.
        count: Connections in all.
        report: Where it leaves its counts.
    """

    kind: str
    voters: dict[str, str]
    seed: str
    report: str
    me: str = "stranger"
    others: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    address: str = "127.66.1.1"
    second: float = 1.0
    count: int = 0

    def save(self, path: Path) -> None:
        """Write the settings for a process."""
        path.write_text(json.dumps(asdict(self)))

    def context(self) -> ssl.SSLContext:
        """Return what a client of the cluster shows and asks for."""
        context = ssl.create_default_context(cafile=self.files["CA"])
        context.load_cert_chain(self.files["CERT"], self.files["KEY"])
        return context


counts: Counter[str] = Counter()


def request(name: str, body: bytes, length: int | None = None) -> bytes:
    """Return a heartbeat as HTTP."""
    size = len(body) if length is None else length
    return f"POST /v1/heartbeat/{name} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode() + body


async def connect(settings: Settings, tls: ssl.SSLContext, voter: str, source: str) -> Streams:
    """Connect to where a voter takes heartbeats."""
    return await asyncio.wait_for(
        asyncio.open_connection(
            settings.voters[voter],
            PRIVATE,
            local_addr=(source, 0),
            ssl=tls,
            server_hostname=f"{voter}.p2p.p2p",
        ),
        PATIENCE,
    )


async def read(reader: asyncio.StreamReader) -> None:
    """Read an answer and count it: its status, and the reason where it is a refusal."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    body = await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))
    code = head.split(b" ", 2)[1].decode()
    counts[f"status {code}"] += 1
    if code != "200" and body.startswith(b"{"):
        counts[f"refused {json.loads(body)['error']}"] += 1


async def paced(second: float, work: Callable[[int], Awaitable[None]]) -> None:
    """Start `work` so many times a second, and never more than a few seconds' worth of it at a time."""
    tasks: set[asyncio.Task[None]] = set()
    for number in itertools.count():
        begin = time.monotonic()
        if len(tasks) < 5 * second + 1:
            task = asyncio.ensure_future(_guarded(work, number))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.sleep(max(0.0, 1 / second - (time.monotonic() - begin)))


async def _guarded(work: Callable[[int], Awaitable[None]], number: int) -> None:
    try:
        async with asyncio.timeout(PATIENCE):
            await work(number)
    except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
        counts["ended"] += 1


async def flooder(settings: Settings) -> None:
    """Send ten heartbeats at once on each of many connections, more of which stay open than are allowed."""
    tls, told = settings.context(), untrue.heartbeats(settings.seed, settings.me, settings.others)
    names = list(settings.voters)
    kept: list[Streams] = []

    async def work(number: int) -> None:
        voter = names[number % len(names)]
        source = f"127.66.{100 + number % 20}.1"
        reader, writer = await connect(settings, tls, voter, source)
        counts["connections"] += 1
        if number // len(names) % 4 == 0:
            kept.append((reader, writer))
            del kept[:-50]
            return
        with contextlib.closing(writer):
            writer.write(b"".join(request(*next(told)) for _ in range(PIPELINED)))
            counts["sent"] += PIPELINED
            while True:
                await read(reader)

    await paced(settings.second, work)


async def liar(settings: Settings) -> None:
    """Send each voter as many heartbeats as it reads of one node, each with a lie or a large body."""
    tls, told = settings.context(), untrue.heartbeats(settings.seed, settings.me, settings.others)
    names = list(settings.voters)

    async def work(number: int) -> None:
        voter = names[number % len(names)]
        reader, writer = await connect(settings, tls, voter, settings.address)
        with contextlib.closing(writer):
            large = number // len(names) % 10 == 9
            writer.write(request(settings.me, b" " * 100_000, 2**30) if large else request(*next(told)))
            counts["sent"] += 1
            await read(reader)

    await paced(settings.second * len(names), work)


async def voter(settings: Settings) -> None:
    """Be a voter that answers lies and sends lies."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(settings.files["CERT"], settings.files["KEY"])
    lies = itertools.cycle(untrue.answers(settings.seed, settings.me, settings.others))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError), contextlib.closing(writer):
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))
            no_answer, response = next(lies)
            writer.write(response)
            counts["lies"] += 1
            counts["no answers"] += no_answer
            await writer.drain()

    tls, reports = settings.context(), untrue.reports(settings.seed, settings.me, settings.others)
    names = list(settings.voters)

    async def report(number: int) -> None:
        reader, writer = await connect(settings, tls, names[number % len(names)], settings.address)
        with contextlib.closing(writer):
            writer.write(request(settings.me, next(reports)))
            counts["sent"] += 1
            await read(reader)

    async with await asyncio.start_server(answer, settings.address, PRIVATE, ssl=server):
        await paced(settings.second, report)


async def strangers(settings: Settings) -> None:
    """Open many connections, every other one with half of a handshake, and see all of them closed."""
    loop = asyncio.get_running_loop()
    opened: list[socket.socket] = []
    addresses = list(settings.voters.values())
    begin = time.monotonic()

    async def half(number: int) -> None:
        made = socket.socket()
        made.setblocking(False)
        # Each address of theirs has all that one address may have, and there are many.
        made.bind((f"127.66.{number // EACH % 50 + 2}.{number % 3 + 1}", 0))
        try:
            await asyncio.wait_for(
                loop.sock_connect(made, (addresses[number % len(addresses)], PRIVATE)), 20.0
            )
            if number % 2:
                await loop.sock_sendall(made, HELLO)
        except (OSError, asyncio.TimeoutError):
            made.close()
            counts["not connected"] += 1
        else:
            opened.append(made)

    batch = max(1, int(settings.second / 10))
    for first in range(0, settings.count, batch):
        await asyncio.gather(*(half(number) for number in range(first, min(first + batch, settings.count))))
        await asyncio.sleep(max(0.0, (first + batch) / settings.second - (time.monotonic() - begin)))
    counts["opened"] = len(opened)
    await _see_closed(opened)


async def _see_closed(opened: list[socket.socket]) -> None:
    """Wait until the other end closed all, and count them."""
    waiting = select.poll()
    by_number = {made.fileno(): made for made in opened}
    for number in by_number:
        waiting.register(number, select.POLLIN | select.POLLRDHUP)
    end = time.monotonic() + PATIENCE
    while by_number and time.monotonic() < end:
        for number, _ in waiting.poll(0):
            waiting.unregister(number)
            by_number.pop(number).close()
            counts["closed"] += 1
        await asyncio.sleep(0.1)


async def public(settings: Settings) -> None:
    """Keep connections to the public port: silent ones, slow headers, large bodies, and too many requests."""
    addresses = list(settings.voters.values())

    async def work(number: int) -> None:
        address = addresses[number % len(addresses)]
        source = f"127.66.{200 + number % 5}.1"
        reader, writer = await asyncio.open_connection(address, PUBLIC, local_addr=(source, 0))
        with contextlib.closing(writer):
            kind = number // len(addresses) % 4
            if kind == 0:
                writer.write(
                    b"POST /status HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n" + b" " * 50_000
                )
                await read(reader)
            elif kind == 1:
                writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
                while True:
                    await read(reader)
            elif kind == 2:
                end = asyncio.ensure_future(reader.read())
                for byte in itertools.cycle(b"GET /status HTTP/1.1\r\nX: "):
                    writer.write(bytes([byte]))
                    if (await asyncio.wait([end], timeout=1.0))[0]:
                        break
                counts["slow ones closed"] += 1
            else:
                await asyncio.wait([asyncio.ensure_future(reader.read())])
                counts["silent ones closed"] += 1

    await paced(settings.second, work)


KINDS = {work.__name__: work for work in (flooder, liar, voter, strangers, public)}


async def _main(settings: Settings) -> None:
    task = asyncio.ensure_future(KINDS[settings.kind](settings))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


def main() -> None:
    """Work as the settings say."""
    settings = Settings(**json.loads(Path(sys.argv[1]).read_text()))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(_main(settings))
    Path(settings.report).write_text(json.dumps(counts))


if __name__ == "__main__":
    main()
