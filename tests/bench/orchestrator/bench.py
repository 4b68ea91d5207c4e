"""Measures 5 voters (real etcd, real agents) under the heartbeats of many simulated nodes.

Each node has an address of its own (127.90.x.y), and keeps a connection of its own to each voter.

    python -m tests.bench.orchestrator.bench [--nodes 1000] [--seconds 60] [--plain] [--source DIRECTORY]

`--source` measures another checkout's `orchestrator/src`.

Writes `reports/orchestrator-bench.json` and prints a table; exits 1 if a voter is over its budget.
"""

import argparse
import asyncio
import json
import multiprocessing
import random
import resource
import ssl
import statistics
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil

from tests.integration.orchestrator.certificates import Authority
from tests.integration.orchestrator.cluster import ROOT, Cluster, now, wait
from tests.integration.orchestrator.secure import Secure

INTERVAL = 5.0
RAMP = 40.0
BUDGET_CPU, BUDGET_MB, BUDGET_STATUS_MS = 25.0, 150.0, 5.0
INFO = {
    "host": "198.51.100.1",
    "port": 8770,
    "scheme": "http",
    "role": "follower",
    "leader_id": "voter-1",
    "version": "1.0.0",
    "cpu_count": 64,
    "memory_gb": 512,
    "has_gpu": True,
    "gpu_name": "NVIDIA H100 80GB HBM3",
    "cpu_percent": 51.5,
    "memory_percent": 40.25,
    "disk_percent": 61.5,
    "disk_free_gb": 812.5,
    "load_score": 45.5,
    "disk_cleanup_needed": False,
}


@dataclass
class Load:
    """What the nodes saw: latencies in seconds, failures, and when each learned of each term."""

    latencies: list[float] = field(default_factory=list)
    failures: int = 0
    learned: dict[int, dict[str, float]] = field(default_factory=dict)
    measuring: bool = False


class Link:
    """A node's kept-open connection to one voter."""

    def __init__(
        self, address: str, source: str, *, name: str, voter: str, tls: ssl.SSLContext | None
    ) -> None:
        self._address = address
        self._source = source
        self._tls = tls
        self._server_name = f"{voter}.p2p.p2p" if tls else None
        body = json.dumps({"cluster": "p2p", "incarnation": f"i-{name}", "info": INFO}).encode()
        head = f"POST /v1/heartbeat/{name} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {len(body)}\r\n\r\n"
        self._message = head.encode() + body
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def beat(self) -> Any:
        """Return the voter's answer."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(
                self._address,
                8771,
                local_addr=(self._source, 0),
                ssl=self._tls,
                server_hostname=self._server_name,
                limit=16_384,
            )
        reader, writer = self._streams
        try:
            writer.write(self._message)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            return json.loads(await reader.readexactly(length))
        except (OSError, EOFError, asyncio.CancelledError):
            writer.close()
            self._streams = None
            raise


async def _node(name: str, links: list[Link], load: Load) -> None:
    await asyncio.sleep(random.uniform(0, RAMP))  # noqa: S311  # a phase, no secret
    due = now()
    while True:
        await asyncio.gather(*(_beat(name, link, load) for link in links))
        due = max(due + INTERVAL, now())
        await asyncio.sleep(due - now())


async def _beat(name: str, link: Link, load: Load) -> None:
    begin = now()
    try:
        answer = await asyncio.wait_for(link.beat(), 4.0)
    except (OSError, EOFError, asyncio.TimeoutError):
        load.failures += load.measuring
        return
    if load.measuring:
        load.latencies.append(now() - begin)
    if answer["leader_id"] is not None:
        load.learned.setdefault(answer["term"], {}).setdefault(name, now())


def _context(files: dict[str, str]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=files["CA"])
    context.load_cert_chain(files["CERT"], files["KEY"])
    return context


async def _nodes(
    pipe: Connection, names: list[str], addresses: dict[str, str], files: dict[str, Any]
) -> None:
    load = Load()
    tasks = []
    for number, name in enumerate(names):
        tls = _context(files[name]) if files else None
        source = f"127.90.{number // 250}.{number % 250 + 1}"
        links = [
            Link(address, source, name=name, voter=voter, tls=tls) for voter, address in addresses.items()
        ]
        tasks.append(asyncio.create_task(_node(name, links, load)))
    while True:
        await asyncio.to_thread(pipe.poll, None)
        command = pipe.recv()
        if command == "measure":
            load.measuring = True
        elif command == "report":
            load.measuring = False
            pipe.send((load.latencies, load.failures))
        elif command == "learned":
            pipe.send(load.learned)
        else:
            return


def _run_nodes(pipe: Connection, names: list[str], addresses: dict[str, str], files: dict[str, Any]) -> None:
    asyncio.run(_nodes(pipe, names, addresses, files))


def _measure(cluster: Cluster, pipe: Connection, seconds: float) -> dict[str, Any]:
    processes = {
        name: psutil.Process(agent.process.pid) for name, agent in cluster.agents.items() if agent.process
    }
    before = {name: sum(process.cpu_times()[:2]) for name, process in processes.items()}
    begin = time.monotonic()
    pipe.send("measure")
    time.sleep(seconds)
    pipe.send("report")
    latencies, failures = pipe.recv()
    took = time.monotonic() - begin
    cpu = {n: 100 * (sum(p.cpu_times()[:2]) - before[n]) / took for n, p in processes.items()}
    memory = {name: process.memory_info().rss / 2**20 for name, process in processes.items()}
    cuts = statistics.quantiles(latencies, n=100)
    return {
        "heartbeats_per_second": len(latencies) / took,
        "failures": failures,
        "p50_ms": 1000 * cuts[49],
        "p99_ms": 1000 * cuts[98],
        "voter_cpu_percent": max(cpu.values()),
        "voter_memory_mb": max(memory.values()),
    }


def _refused(cluster: Cluster) -> float:
    """Return how many connections the voters refused: no node is to meet a limit."""
    pages = [str(agent.get("/metrics")[1]) for agent in cluster.agents.values()]
    lines = [line for page in pages for line in page.splitlines() if line.startswith("p2p_refused_total")]
    return sum(float(line.split()[1]) for line in lines)


def _status(cluster: Cluster, leader: str) -> dict[str, float]:
    times, size = [], 0
    for _ in range(60):
        begin = time.perf_counter()
        with urllib.request.urlopen(f"http://{cluster.addresses[leader]}:8770/status", timeout=5) as reply:
            size = len(reply.read())
        times.append(1000 * (time.perf_counter() - begin))
        time.sleep(0.1)
    return {"median_ms": statistics.median(times), "max_ms": max(times), "kb": size / 1024}


def _both_statuses(cluster: Cluster, leader: str, load: psutil.Process) -> dict[str, float]:
    """Ask for `/status` under the load, and while the program that makes the load leaves the cores alone."""
    loaded = _status(cluster, leader)
    load.suspend()
    try:
        quiet = _status(cluster, leader)
    finally:
        load.resume()
    return {
        "status_median_ms": quiet["median_ms"],
        "status_max_ms": quiet["max_ms"],
        "status_kb": quiet["kb"],
        "status_median_ms_loaded": loaded["median_ms"],
    }


def _new_leader(cluster: Cluster, pipe: Connection, leader: str, nodes: int) -> dict[str, float]:
    begin = now()
    cluster.agents[leader].kill()
    term = max(span[2] for agent in cluster.agents.values() for span in agent.led())

    def found() -> tuple[float, int] | None:
        spans = [span for agent in cluster.agents.values() for span in agent.led() if span[2] > term]
        return (spans[0][0], spans[0][2]) if spans else None

    led, newest = wait("another leader", found, 25)

    def learned() -> float:
        pipe.send("learned")
        told = pipe.recv().get(newest, {})
        return max(told.values()) if len(told) == nodes else 0.0

    knew = wait("all nodes know it", learned, 15)
    return {"new_leader_seconds": led - begin, "all_know_after_seconds": knew - led}


def _bench(cluster: Cluster, nodes: int, seconds: float, authority: Authority | None) -> dict[str, Any]:
    names = [f"node-{i}" for i in range(nodes)]
    files = {name: authority.leaf(name) for name in names} if authority else {}
    addresses = {voter: cluster.addresses[voter] for voter in cluster.voters}
    pipe, end = multiprocessing.Pipe()
    load = multiprocessing.get_context("spawn").Process(
        target=_run_nodes, args=(end, names, addresses, files)
    )
    load.start()
    try:
        leader = wait("a leader known to all voters", cluster.agreed, 30)
        agent = cluster.agents[leader]
        wait("all nodes alive", lambda: agent.get("/health")[1].get("active_peers") == nodes + 4, RAMP + 120)
        time.sleep(10)
        leader = wait("a leader known to all voters", cluster.agreed, 30)
        result: dict[str, Any] = {"nodes": nodes, "heartbeats": "tls" if authority else "plain"}
        result |= _measure(cluster, pipe, seconds)
        result["refused"] = _refused(cluster)
        result |= _both_statuses(cluster, leader, psutil.Process(load.pid))
        time.sleep(8)
        result |= _new_leader(cluster, pipe, leader, nodes)
        pipe.send("end")
        load.join(10)
    finally:
        load.kill()
    return result


def main() -> int:
    """Measure and print; return 0 if all budgets are kept."""
    parser = argparse.ArgumentParser(description="Voters under many nodes' heartbeats.")
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--plain", action="store_true", help="without TLS")
    parser.add_argument("--source", type=Path, default=ROOT / "orchestrator" / "src")
    args = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as path:
        if args.plain:
            with Cluster(Path(path), 5, PYTHONPATH=str(args.source)) as cluster:
                result = _bench(cluster, args.nodes, args.seconds, None)
        else:
            with Secure(Path(path), 5, 0, PYTHONPATH=str(args.source)) as secure:
                result = _bench(secure, args.nodes, args.seconds, secure.authority)
    report = ROOT / "reports" / "orchestrator-bench.json"
    report.parent.mkdir(exist_ok=True)
    report.write_text(json.dumps(result, indent=1) + "\n")
    for key, value in result.items():
        print(f"{key:24} {value:.1f}" if isinstance(value, float) else f"{key:24} {value}")
    over = [
        f"{key} is over {budget}"
        for key, budget in (
            ("voter_cpu_percent", BUDGET_CPU),
            ("voter_memory_mb", BUDGET_MB),
            ("status_median_ms", BUDGET_STATUS_MS),
        )
        if result[key] > budget
    ]
    print("\n".join(over) or "all within budget")
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
