"""A voter that decides alone and a node that reports to it, under mutual TLS: two processes, no etcd."""

import asyncio
import json
import os
import ssl
import sys
from pathlib import Path
from typing import Self

from tests.integration.orchestrator.certificates import Authority
from tests.integration.orchestrator.cluster import ROOT, Agent

HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32)
"""Begins a handshake, and does not end it."""
VOTER, NODE = "voter-1", "vast-1"
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Alone:
    """The two, on an address each.

    Attributes:
        source: The package that runs.
    """

    def __init__(self, path: Path, source: Path = ROOT / "orchestrator" / "src") -> None:
        self.path = path
        self.source = source
        self.authority = Authority(path / "pki")
        number = os.getpid() % 250
        self.addresses = {VOTER: f"127.78.{number}.1", NODE: f"127.78.{number}.2"}
        self.voter, self.node = self._agent(VOTER), self._agent(NODE)

    def __enter__(self) -> Self:
        """Start both."""
        self.voter.start()
        self.node.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave nothing behind."""
        self.node.kill()
        self.voter.kill()

    def _agent(self, name: str) -> Agent:
        files = self.authority.leaf(name, self.addresses[name])
        env = {
            **os.environ,
            "PYTHONPATH": str(self.source),
            "NODE_ID": name,
            "P2P_SEEDS": f"http://{self.addresses[VOTER]}:8770",
            "P2P_VOTERS": VOTER,
            "RINGRIFT_PATH": str(self.path),
            "P2P_DATA_DIR": str(self.path / f"data-{name}"),
            "P2P_TLS_DENY": str(self.path / "deny"),
            **{f"P2P_TLS_{part}": files[part] for part in ("CA", "CERT", "KEY")},
        }
        words = [sys.executable, "-m", "p2p_orchestrator", "--host", self.addresses[name]]
        return Agent(name, self.addresses[name], words, self.path / f"agent-{name}.log", env)

    def context(self, name: str) -> ssl.SSLContext:
        """Return the context of a node's own certificate."""
        files = self.authority.leaf(name)
        context = ssl.create_default_context(cafile=files["CA"])
        context.load_cert_chain(files["CERT"], files["KEY"])
        return context

    async def connect(
        self, tls: ssl.SSLContext | None = None, source: str = "127.0.0.1", port: int = 8771
    ) -> Streams:
        """Connect to the voter from an address."""
        return await asyncio.open_connection(
            self.addresses[VOTER],
            port,
            local_addr=(source, 0),
            ssl=tls,
            server_hostname=f"{VOTER}.p2p.p2p" if tls is not None else None,
            limit=16_384,
        )


def heartbeat(name: str) -> bytes:
    """Return a heartbeat of `name` as HTTP."""
    body = json.dumps({"cluster": "p2p", "incarnation": "i", "info": {}}).encode()
    head = f"POST /v1/heartbeat/{name} HTTP/1.1\r\nHost: test\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def beat(streams: Streams, name: str) -> int:
    """Send a heartbeat and return the status."""
    reader, writer = streams
    writer.write(heartbeat(name))
    head = await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]))
    return int(head.split(b" ", 2)[1])
