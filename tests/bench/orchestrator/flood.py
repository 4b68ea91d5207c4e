"""Measures the memory of a real voter before, during and after floods of half-open TLS connections.

Then while as many as may ask for `/status` read none of it.

    python -m tests.bench.orchestrator.flood [--floods 5] [--connections 6000] [--nodes 0] [--source DIR]

All on this machine's loopback. `--source` measures another checkout's `orchestrator/src`; `--nodes` gives the
voter so many connections of nodes beside the flood. Prints MiB.
"""

import argparse
import asyncio
import contextlib
import resource
import socket
import tempfile
import time
from pathlib import Path

import psutil

from tests.integration.orchestrator.alone import HELLO, NODE, VOTER, Alone, Streams, beat
from tests.integration.orchestrator.cluster import ROOT, wait

SETTLE_SECONDS = 12.0
READERS = 256


def memory(process: psutil.Process) -> float:
    """Return resident memory in MiB."""
    return float(process.memory_info().rss) / 2**20


async def _open(address: str, number: int) -> asyncio.StreamWriter | None:
    source = f"127.66.{number // 300 % 250}.1"
    try:
        _, writer = await asyncio.wait_for(
            asyncio.open_connection(address, 8771, local_addr=(source, 0), limit=256), 20.0
        )
    except (OSError, asyncio.TimeoutError):
        return None
    writer.write(HELLO)
    return writer


async def flood(address: str, connections: int, process: psutil.Process) -> tuple[float, int]:
    """Open so many half connections; return the most memory meanwhile, and how many were taken."""
    most, opened = 0.0, []
    for first in range(0, connections, 200):
        opened += await asyncio.gather(*(_open(address, first + i) for i in range(200)))
        most = max(most, memory(process))
    end = time.monotonic() + 3.0
    while time.monotonic() < end:
        most = max(most, memory(process))
        await asyncio.sleep(0.1)
    for writer in opened:
        if writer is not None:
            writer.close()
    return most, sum(writer is not None for writer in opened)


async def _nodes(alone: Alone, count: int) -> list[Streams]:
    result = []
    for number in range(count):
        streams = await alone.connect(alone.context(f"node-{number}"), f"127.67.{number // 250}.1")
        await beat(streams, f"node-{number}")
        result.append(streams)
    return result


async def _keep(nodes: list[Streams]) -> None:
    while True:
        for number, streams in enumerate(nodes):
            with contextlib.suppress(OSError, EOFError):
                await beat(streams, f"node-{number}")
        await asyncio.sleep(5.0)


async def _read_slowly(alone: Alone, process: psutil.Process) -> None:
    """Ask for `/status` on all connections that there may be, and read none of it."""
    loop, readers, most = asyncio.get_running_loop(), [], 0.0
    for number in range(READERS):
        reader = socket.socket()
        reader.setblocking(False)
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        reader.bind((f"127.68.1.{number % 250 + 1}", 0))
        await loop.sock_connect(reader, (alone.addresses[VOTER], 8770))
        await loop.sock_sendall(reader, b"GET /status HTTP/1.1\r\nHost: bench\r\n\r\n")
        readers.append(reader)
        most = max(most, memory(process))
        await asyncio.sleep(0.02)
    await asyncio.sleep(2.0)
    most = max(most, memory(process))
    for reader in readers:
        reader.close()
    await asyncio.sleep(SETTLE_SECONDS)
    print(f"{'slow':10} {most:8.1f} at most, {memory(process):8.1f} after ({len(readers)} readers)")


async def _measure(alone: Alone, args: argparse.Namespace) -> None:
    assert alone.voter.process is not None
    process = psutil.Process(alone.voter.process.pid)
    keep = asyncio.ensure_future(_keep(await _nodes(alone, args.nodes)))
    await asyncio.sleep(5.0)
    print(f"{'before':10} {memory(process):8.1f}")
    for number in range(1, args.floods + 1):
        begin = time.monotonic()
        most, taken = await flood(alone.addresses[VOTER], args.connections, process)
        took = time.monotonic() - begin
        await asyncio.sleep(SETTLE_SECONDS)
        print(
            f"{f'flood {number}':10} {most:8.1f} at most, {memory(process):8.1f} after "
            f"({taken} connections in {took:.0f} s)",
            flush=True,
        )
    await _read_slowly(alone, process)
    keep.cancel()
    alive = alone.voter.get("/health")[1].get("active_peers")
    print(f"{'alive':10} {alive} of {args.nodes + 1}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Memory of a voter under floods.")
    parser.add_argument("--floods", type=int, default=5)
    parser.add_argument("--connections", type=int, default=6_000)
    parser.add_argument("--nodes", type=int, default=0)
    parser.add_argument("--source", type=Path, default=ROOT / "orchestrator" / "src")
    args = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as path, Alone(Path(path), args.source) as alone:
        wait("the node is heard", lambda: NODE in alone.voter.status().get("peers", {}), 60)
        asyncio.run(_measure(alone, args))


if __name__ == "__main__":
    main()
