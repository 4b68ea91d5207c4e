"""etcd as the store, through the JSON gateway of this voter's own member (API v3)."""

import asyncio
import base64
import json
import ssl
from typing import Any

import aiohttp

from p2p_orchestrator.errors import connection_error
from p2p_orchestrator.store import EPOCH, LEADER, TERM, Entry, StoreError, Swap, View

REQUEST_SECONDS = 2.0


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _entry(kv: dict[str, Any]) -> Entry:
    # The gateway leaves out empty fields and writes 64-bit numbers as text.
    return Entry(base64.b64decode(kv.get("value", "")), int(kv["mod_revision"]))


class EtcdStore:
    """The keys below `/p2p/<cluster>/`; those of the election below `/p2p/<cluster>/election/`.

    Args:
        endpoint: URL of the member, such as `https://127.0.0.1:2379`.
        cluster: The cluster's name.
        tls: The context for `https`.
    """

    kind = "etcd"

    def __init__(self, endpoint: str, cluster: str, tls: ssl.SSLContext | None = None) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._prefix = f"/p2p/{cluster}/"
        self._election = f"{self._prefix}election/"
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None

    def use_tls(self, tls: ssl.SSLContext) -> None:
        """Make connections with `tls` from now on."""
        self._tls = tls

    async def read(self) -> View:
        """Return the keys of the election, linearizably."""
        start = self._election.encode()
        reply = await self._call("kv/range", {"key": _b64(start), "range_end": _b64(start[:-1] + b"0")})
        found = {base64.b64decode(kv["key"]).decode(): _entry(kv) for kv in reply.get("kvs", [])}
        return View(*(found.get(self._election + key, Entry()) for key in (LEADER, TERM, EPOCH)))

    async def get(self, key: str) -> Entry:
        """Return one key, linearizably."""
        reply = await self._call("kv/range", {"key": self._key(key)})
        return next((_entry(kv) for kv in reply.get("kvs", [])), Entry())

    async def swap(self, swap: Swap) -> int | None:
        """Return the revision of the write, or None if a key was not as expected."""
        compare: list[dict[str, Any]] = []
        for key, entry in swap.expect.items():
            name = self._key(key)
            compare.append(
                {"key": name, "target": "MOD", "result": "EQUAL", "mod_revision": str(entry.revision)}
            )
            if entry.revision:
                # A restored snapshot can bring the same revision back with another value.
                compare.append(
                    {"key": name, "target": "VALUE", "result": "EQUAL", "value": _b64(entry.value)}
                )
        writes: list[dict[str, Any]] = [
            {"request_put": {"key": self._key(key), "value": _b64(value)}} for key, value in swap.put.items()
        ]
        writes += [{"request_delete_range": {"key": self._key(key)}} for key in swap.delete]
        reply = await self._call("kv/txn", {"compare": compare, "success": writes})
        return int(reply["header"]["revision"]) if reply.get("succeeded") else None

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _key(self, key: str) -> str:
        base = self._election if key in (LEADER, TERM, EPOCH) else self._prefix
        return _b64((base + key).encode())

    async def _call(self, method: str, body: dict[str, Any]) -> dict[str, Any]:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=REQUEST_SECONDS))
        url = f"{self._endpoint}/v3/{method}"
        try:
            tls = self._tls if self._tls is not None else True
            async with self._session.post(url, json=body, ssl=tls) as response:
                reply = await response.json(content_type=None)
        except aiohttp.ClientConnectorError as error:
            reason = f"etcd at {self._endpoint} cannot be reached: {connection_error(error)}"
            raise StoreError(reason, reached=False) from error
        except (aiohttp.ClientError, asyncio.TimeoutError, json.JSONDecodeError, OSError) as error:
            raise StoreError(f"etcd at {self._endpoint} did not answer: {connection_error(error)}") from error
        if not isinstance(reply, dict) or "header" not in reply:
            refusal = reply.get("error") or reply.get("message") if isinstance(reply, dict) else reply
            raise StoreError(f"etcd at {self._endpoint} answered {refusal!r}")
        return reply
