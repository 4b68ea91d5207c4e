"""Connections through a SOCKS5 proxy (RFC 1928), such as that of a Tailscale without a network device."""

import asyncio
import ipaddress
import socket
from ssl import SSLContext
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler

from p2p_orchestrator.config import Seed

_VERSION, _CONNECT, _NO_PASSWORD = 5, 1, 0
_IPV4, _NAME, _IPV6 = 1, 3, 4
_ADDRESS_BYTES = {_IPV4: 4, _IPV6: 16}
_REASONS = {
    1: "general failure",
    2: "not allowed",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "timed out",
}


class ProxyError(OSError):
    """The proxy does not connect; the text says which proxy, to whom, and why."""


def _address(host: str) -> bytes:
    """Return a destination as the protocol writes it: names are left to the proxy, which may know others."""
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        name = host.encode("idna")
        return bytes([_NAME, len(name)]) + name
    return bytes([_IPV4 if found.version == 4 else _IPV6]) + found.packed  # noqa: PLR2004  IP's own version


async def _read(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = await asyncio.get_running_loop().sock_recv(connection, count - len(data))
        if not part:
            raise ProxyError("it ended the connection")
        data += part
    return data


async def _negotiate(connection: socket.socket, host: str, port: int) -> None:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(connection, bytes([_VERSION, 1, _NO_PASSWORD]))
    if await _read(connection, 2) != bytes([_VERSION, _NO_PASSWORD]):
        raise ProxyError("it is no SOCKS5 proxy that takes connections without a password")
    request = bytes([_VERSION, _CONNECT, 0]) + _address(host) + port.to_bytes(2, "big")
    await loop.sock_sendall(connection, request)
    _, code, _, kind = await _read(connection, 4)
    if code:
        raise ProxyError(_REASONS.get(code, f"error {code}"))
    # The address that it connects from is of no use here, and yet has to be read.
    await _read(connection, (_ADDRESS_BYTES.get(kind) or (await _read(connection, 1))[0]) + 2)


async def connect(proxy: Seed, host: str, port: int) -> socket.socket:
    """Return a connection to `host` and `port` through a proxy.

    Raises:
        ProxyError: There is none.
    """
    loop = asyncio.get_running_loop()
    connection: socket.socket | None = None
    try:
        family, kind, protocol, _, address = (
            await loop.getaddrinfo(proxy.host, proxy.port, type=socket.SOCK_STREAM)
        )[0]
        connection = socket.socket(family, kind, protocol)
        connection.setblocking(False)
        await loop.sock_connect(connection, address)
        await _negotiate(connection, host, port)
    except BaseException as error:
        if connection is not None:
            connection.close()
        if isinstance(error, OSError):
            why = error.strerror or str(error)
            raise ProxyError(f"the SOCKS5 proxy {proxy.host}:{proxy.port}: {why}") from error
        raise
    return connection


class _Unresolved(AbstractResolver):
    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        result = ResolveResult(hostname=host, host=host, port=port, family=family, proto=0, flags=0)
        return [result]

    async def close(self) -> None:
        """Hold nothing."""


class ProxyConnector(aiohttp.TCPConnector):
    """Makes all of a session's connections through a proxy; TLS is between this node and the other end.

    Args:
        proxy: Where it is.
        keepalive: Seconds after which an unused connection is closed.
    """

    def __init__(self, proxy: Seed, keepalive: float) -> None:
        super().__init__(resolver=_Unresolved(), limit=0, keepalive_timeout=keepalive)
        self._proxy = proxy

    # aiohttp has no public place for this; its version is pinned, and a test goes through a real proxy.
    async def _wrap_create_connection(  # type: ignore[override]  # names what it uses alone
        self,
        *args: Any,  # noqa: ANN401  handed on
        addr_infos: list[Any],
        ssl: SSLContext | None,
        server_hostname: str | None,
        **_: object,
    ) -> tuple[asyncio.Transport, ResponseHandler]:
        host, port = addr_infos[0][4][:2]
        connection = await connect(self._proxy, host, port)
        try:
            return await self._loop.create_connection(
                *args, sock=connection, ssl=ssl, server_hostname=server_hostname
            )
        except BaseException:
            connection.close()
            raise
