"""etcd as the store, through the JSON gateway of this voter's own member (API v3)."""

import asyncio
import base64
import ssl
from collections.abc import Mapping
from typing import Any

import aiohttp

from p2p_orchestrator import reader
from p2p_orchestrator.errors import connection_error
from p2p_orchestrator.reader import TEXT, UnfitError
from p2p_orchestrator.store import EPOCH, LEADER, TERM, Entry, StoreError, Swap, View

REQUEST_SECONDS = 2.0
MAX_REPLY = 8 * 2**20
MAX_KEYS = 100


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(kv: Mapping[str, Any], field: str) -> bytes:
    # The gateway leaves out empty fields and writes 64-bit numbers as text.
    try:
        return base64.b64decode(reader.text(kv.get(field, ""), field))
    except ValueError as error:
        raise UnfitError(f"{field} is not in base64") from error


def _entries(reply: Mapping[str, Any]) -> dict[bytes, Entry]:
    """Return the keys in the answer to a read. Raises UnfitError if it is none."""
    found = {}
    for item in reader.items(reply.get("kvs", []), "kvs", MAX_KEYS):
        kv = reader.mapping(item, "a key")
        revision = reader.digits(reader.text(kv.get("mod_revision"), "mod_revision"), "mod_revision")
        found[_bytes(kv, "key")] = Entry(_bytes(kv, "value"), revision)
    return found


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
        found = await self._range({"key": _b64(start), "range_end": _b64(start[:-1] + b"0")})
        return View(*(found.get(start + key.encode(), Entry()) for key in (LEADER, TERM, EPOCH)))

    async def get(self, key: str) -> Entry:
        """Return one key, linearizably."""
        found = await self._range({"key": self._key(key)})
        return next(iter(found.values()), Entry())

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
        if reply.get("succeeded") is not True:
            return None
        try:
            return reader.digits(reader.text(reply["header"].get("revision"), "revision"), "revision")
        except UnfitError as error:
            raise self._unfit(error) from error

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _key(self, key: str) -> str:
        base = self._election if key in (LEADER, TERM, EPOCH) else self._prefix
        return _b64((base + key).encode())

    async def _range(self, body: dict[str, Any]) -> dict[bytes, Entry]:
        reply = await self._call("kv/range", body)
        try:
            return _entries(reply)
        except UnfitError as error:
            raise self._unfit(error) from error

    def _unfit(self, error: UnfitError) -> StoreError:
        return StoreError(f"etcd at {self._endpoint} answered what does not fit: {error}")

    async def _call(self, method: str, body: dict[str, Any]) -> dict[str, Any]:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=REQUEST_SECONDS),
                # A request with this header makes etcd warn that it ignores the certificate's name.
                skip_auto_headers=["Accept"],
            )
        url = f"{self._endpoint}/v3/{method}"
        try:
            tls = self._tls if self._tls is not None else True
            async with self._session.post(url, json=body, ssl=tls) as response:
                reply = reader.decode(await reader.body(response.content.iter_any(), MAX_REPLY))
        except UnfitError as error:
            raise self._unfit(error) from error
        except aiohttp.ClientConnectorError as error:
            reason = f"etcd at {self._endpoint} cannot be reached: {connection_error(error)}"
            raise StoreError(reason, reached=False) from error
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            raise StoreError(f"etcd at {self._endpoint} did not answer: {connection_error(error)}") from error
        if not isinstance(reply.get("header"), dict):
            refusal = str(reply.get("error") or reply.get("message"))[:TEXT]
            raise StoreError(f"etcd at {self._endpoint} answered {refusal!r}")
        return reply
