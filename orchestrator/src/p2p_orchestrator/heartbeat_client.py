"""Sends this node's heartbeats to every voter and takes in their answers."""

import asyncio
import json
import random
import ssl
from collections.abc import Callable
from http import HTTPStatus

import aiohttp

from p2p_orchestrator import log, reader
from p2p_orchestrator.beliefs import Answer, parse
from p2p_orchestrator.clock import boottime
from p2p_orchestrator.errors import connection_error
from p2p_orchestrator.node import Node
from p2p_orchestrator.reader import TEXT, UnfitError
from p2p_orchestrator.socks import ProxyConnector
from p2p_orchestrator.tls import DenyList, server_name

INTERVAL = 5.0
TIMEOUT = 4.0
MAX_ANSWER = 262_144


class HeartbeatClient:
    """The sender of one node.

    Args:
        node: What to tell, and where the answers go.
        deny: Voters on it are not asked.
        tls: Gives the context for the next connection, None for plain heartbeats.
    """

    def __init__(self, node: Node, deny: DenyList, tls: Callable[[], ssl.SSLContext | None]) -> None:
        self._node = node
        self._deny = deny
        self._tls = tls
        self._failing: dict[str, str] = {}
        config = node.config
        names = config.voters or tuple(f"{seed.host}:{seed.port}" for seed in config.seeds)
        scheme = "https" if config.tls else "http"
        # A machine that decides by itself may name itself and no address: there is nobody to ask.
        pairs = [] if config.alone else zip(names, config.seeds, strict=True)
        self._targets = [
            (name, seed.heartbeat_url(scheme, config.heartbeat_port))
            for name, seed in pairs
            if name != config.node_id
        ]

    async def run(self) -> None:
        """Send for ever: at once, then at a random phase, which spreads a fleet that starts together."""
        if not self._targets:
            return
        timeout = aiohttp.ClientTimeout(total=TIMEOUT)
        proxy, keepalive = self._node.config.socks_proxy, 4 * INTERVAL
        connector = (
            ProxyConnector(proxy, keepalive)
            if proxy
            else aiohttp.TCPConnector(limit=0, keepalive_timeout=keepalive)
        )
        # What a voter answers is read as it comes: nothing is unpacked, kept for later or followed elsewhere.
        async with aiohttp.ClientSession(
            timeout=timeout,
            connector=connector,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        ) as session:
            await self._beat(session)
            due = boottime() + random.uniform(0, INTERVAL)  # noqa: S311  # a phase, no secret
            while True:
                await asyncio.sleep(max(0.0, due - boottime()))
                # After a freeze the next one is due now, not all those that were missed.
                due = max(due + INTERVAL, boottime())
                await self._beat(session)

    async def _beat(self, session: aiohttp.ClientSession) -> None:
        node, now = self._node, boottime()
        message = {
            "cluster": node.config.cluster,
            "incarnation": node.incarnation,
            "info": node.info(now),
        }
        plain = json.dumps(message).encode()
        voters = plain
        if node.config.voter:
            voters = json.dumps({**message, "heard": node.members.report(now)}).encode()
        await asyncio.gather(
            *(self._send(session, name, url, voters) for name, url in self._targets if name not in self._deny)
        )

    async def _send(self, session: aiohttp.ClientSession, name: str, url: str, body: bytes) -> None:
        node, sent = self._node, boottime()
        tls = self._tls()
        address = f"{url}/v1/heartbeat/{node.config.node_id}"
        try:
            async with session.post(
                address,
                data=body,
                allow_redirects=False,
                ssl=tls if tls is not None else True,
                server_hostname=server_name(name, node.config.cluster) if tls is not None else None,
            ) as response:
                answer = await self._read(response, name, sent)
        except UnfitError as error:
            node.heartbeats["failed"] += 1
            node.unfit.note("answer", name, str(error))
            return
        except Exception as error:  # whatever a voter's bytes make of a library, the program goes on
            node.heartbeats["failed"] += 1
            self._note(name, url, connection_error(error))
            return
        node.heartbeats["answered"] += 1
        node.conflicting = answer.conflict
        node.beliefs.take(answer)
        self._note(name, url, "")

    async def _read(self, response: aiohttp.ClientResponse, name: str, sent: float) -> Answer:
        """Return a voter's answer, or raise ValueError."""
        data = await reader.body(response.content.iter_any(), MAX_ANSWER)
        if response.status != HTTPStatus.OK:
            raise ValueError(f"it answered {response.status}: {data[:200].decode(errors='replace')}")
        answer = parse(reader.decode(data), sent)
        if self._node.config.voters and answer.voter != name:
            raise UnfitError("it calls itself by another name")
        return answer

    def _note(self, name: str, url: str, error: str) -> None:
        before = self._failing.get(name, "")
        self._failing[name] = error = error[:TEXT]
        if error and not before:
            log.event("voter_unreachable", "warning", voter=name, url=url, reason=error)
        elif before and not error:
            log.event("voter_answers", voter=name, url=url)
