"""A port that an application is served on."""

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from aiohttp import web

from p2p_orchestrator.errors import Exit, StartError
from p2p_orchestrator.limits import Limits
from p2p_orchestrator.reception import BACKLOG, Key, Reception, attend
from p2p_orchestrator.refusals import Refusals
from p2p_orchestrator.requests import Brief, guard, quiet

CLOSE_SECONDS = 0.3
LINGER_SECONDS = 1.0
"""How long the rest of a refused body is read, so that its sender sees the answer."""


class Listener:
    """Serves one application.

    Args:
        app: The application.
        host: Address to listen on; empty means all.
        port: Port to listen on.
        setting: The setting's name, for the error.
        limits: What is taken in.
        key: Under which key a connection counts after TLS.
        refusals: Where refusals are counted.
        ended: Told of a task that ended, which none does before `stop` unless it failed.
    """

    def __init__(
        self,
        app: web.Application,
        host: str,
        port: int,
        *,
        setting: str,
        limits: Limits,
        key: Key,
        refusals: Refusals,
        ended: Callable[["asyncio.Task[None]"], None] | None = None,
    ) -> None:
        app.middlewares.insert(0, attend)
        self._host = host
        self._port = port
        self._setting = setting
        self._limits = limits
        self._key = key
        self._refusals = refusals
        self._ended = ended
        self._options: dict[str, Any] = {
            "access_log": None,
            "logger": quiet(refusals, port),
            "keepalive_timeout": limits.idle_seconds,
            "lingering_time": LINGER_SECONDS,
            "max_line_size": limits.field_bytes,
            "max_field_size": limits.field_bytes,
            "max_headers": limits.fields,
            # A body counts as long as it is when unpacked: it is not.
            "auto_decompress": False,
        }
        self._runner = web.AppRunner(
            app, handle_signals=False, shutdown_timeout=CLOSE_SECONDS, **self._options
        )
        self._reception: Reception | None = None

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        """Listen. Raises StartError if the port cannot be had."""
        try:
            listeners = await _listen(self._host, self._port, self._limits.buffer_bytes)
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            reason = "it is taken; stop what uses it, or set another" if taken else str(error.strerror)
            where = f"{self._host}:{self._port} ({self._setting})"
            raise StartError(Exit.PORT, f"cannot listen on {where}: {reason}") from error
        await self._runner.setup()
        server = self._runner.server
        if server is None:
            raise RuntimeError("a server that was set up is there")
        server.request_handler = guard(server.request_handler, self._refusals, self._port)
        serve = partial(Brief, server, loop=asyncio.get_running_loop(), **self._options)
        self._reception = Reception(
            serve, self._key, self._limits, self._refusals, self._port, ended=self._ended
        )
        self._reception.open(listeners, tls)

    def renew(self, tls: ssl.SSLContext) -> None:
        """Go on with other certificates: all connections are dropped, and the port stays open."""
        if self._reception is not None:
            self._reception.renew(tls)

    def drop(self, refused: Callable[[Mapping[str, Any]], bool]) -> None:
        """Drop the connections of those whose certificates are `refused`, as idle as they may be."""
        if self._runner.server is not None:
            for connection in self._runner.server.connections:
                transport = connection.transport
                if transport is not None and refused(transport.get_extra_info("peercert") or {}):
                    transport.abort()

    async def stop(self) -> None:
        """Stop listening and close all connections."""
        if self._reception is not None:
            await self._reception.close()
        await self._runner.cleanup()


async def _listen(host: str, port: int, buffer_bytes: int) -> list[socket.socket]:
    """Return sockets that listen on all addresses of `host`. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    result: list[socket.socket] = []
    try:
        # Some resolvers name an address twice.
        for family, _, _, _, address in dict.fromkeys(found):
            listener = _bound(family, address, buffer_bytes)
            if listener is not None:
                result.append(listener)
    except OSError:
        for listener in result:
            listener.close()
        raise
    if not result:
        raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    return result


def _bound(family: int, address: tuple[Any, ...], buffer_bytes: int) -> socket.socket | None:
    """Return a socket that listens, or None where the kernel or the interface has no such address."""
    listener = None
    try:
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if buffer_bytes:
            # Connections inherit them.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
        listener.setblocking(False)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        if listener is not None:
            listener.close()
        if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            return None
        raise
    return listener
