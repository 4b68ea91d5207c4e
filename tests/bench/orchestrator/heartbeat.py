"""Measures what one heartbeat costs a voter that knows 1,000 names, over HTTP on loopback.

    python -m tests.bench.orchestrator.heartbeat [--source DIRECTORY] [--names 1000]

`--source` measures another checkout's `orchestrator/src`. Prints microseconds of processor time, the least of
several rounds: of a node's heartbeat, of a voter's that tells of all names, and of a look at all states.
"""

import argparse
import asyncio
import importlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.bench.orchestrator.bench import INFO

ROUNDS = 400
"""Many and short: the least of them is one that no other program disturbed."""
VOTERS = ("voter-1", "voter-2", "voter-3")


def _node(names: int) -> Any:
    """Return a voter's node that has heard every name; all of it is of the release that is measured."""
    found = {
        name: importlib.import_module(f"p2p_orchestrator.{name}")
        for name in ("clock", "config", "membership", "node")
    }
    env = {
        "NODE_ID": VOTERS[0],
        "P2P_SEEDS": "127.0.0.1,127.0.0.2,127.0.0.3",
        "P2P_VOTERS": ",".join(VOTERS),
        "P2P_ETCD_ENDPOINT": "http://127.0.0.1:2379",
        "RINGRIFT_PATH": "/",
    }
    config, now = found["config"].load([], env), found["clock"].boottime()
    members = found["membership"].Members(VOTERS[0], "me", VOTERS, now)
    for number in range(names):
        members.hear(f"node-{number}", f"{number:016x}", {}, now)
    return found["node"].Node(config, "me", members)


def _message(name: str, incarnation: str, **more: Any) -> bytes:
    body = json.dumps({"cluster": "p2p", "incarnation": incarnation, "info": INFO, **more}).encode()
    head = f"POST /v1/heartbeat/{name} HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def _post(streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], message: bytes) -> None:
    reader, writer = streams
    writer.write(message)
    head = await reader.readuntil(b"\r\n\r\n")
    if b" 200 " not in head[:20]:
        raise SystemExit(f"error: refused: {head!r}")
    await reader.readexactly(int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]))


def _look(node: Any) -> None:
    now = node.started
    for name in node.members.names():
        node.members.state(name, now)
        node.members.conflict(name, now)


async def _least(times: int, action: Callable[[], Any]) -> float:
    """Return microseconds of processor time of one `action`."""
    best = float("inf")
    for _ in range(ROUNDS):
        begin = time.process_time()
        for _ in range(times):
            done = action()
            if done is not None:
                await done
        best = min(best, (time.process_time() - begin) / times)
    return 1e6 * best


async def _measure(names: int) -> dict[str, float]:
    node = _node(names)
    # While all of them were heard within the window.
    heard = node.members.report(importlib.import_module("p2p_orchestrator.clock").boottime())
    server: Any = importlib.import_module("p2p_orchestrator.heartbeat_server")
    for rate in {"NODE_REQUESTS", "VOTER_REQUESTS"} & {*vars(server)}:
        unlimited = importlib.import_module("p2p_orchestrator.bounds").Rate(1e9, 1e9)
        setattr(server, rate, unlimited)
    tls = importlib.import_module("p2p_orchestrator.tls")
    runner = web.AppRunner(server.HeartbeatServer(node, tls.DenyList(None)).app())
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    streams = await asyncio.open_connection(*runner.addresses[0][:2])
    one, told = _message("node-7", f"{7:016x}"), _message(VOTERS[1], "it", heard=heard)
    try:
        result = {"voter's heartbeat": await _least(2, lambda: _post(streams, told))}
        result["look at all states"] = await _least(2, lambda: _look(node))
        result["node's heartbeat"] = await _least(10, lambda: _post(streams, one))
    finally:
        streams[1].close()
        await runner.cleanup()
    return result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="The cost of one heartbeat.")
    parser.add_argument("--source", type=Path, default=Path("orchestrator/src"))
    parser.add_argument("--names", type=int, default=1000)
    args = parser.parse_args()
    sys.path.insert(0, str(args.source))
    for what, cost in asyncio.run(_measure(args.names)).items():
        print(f"{what:20} {cost:9.1f} us")


if __name__ == "__main__":
    main()
