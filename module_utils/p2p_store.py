"""Keys of the cluster's etcd, read and written by compare-and-swap through the node's own member."""

from __future__ import annotations

import base64
import http.client
import json
import time
from typing import Any, Dict, Mapping, NamedTuple, Optional

from .p2p_http import connect, post


class StoreError(Exception):
    """A store that did not answer; the message has its words."""


class Entry(NamedTuple):
    """A key's value and the revision of its last change; no value and 0 if it is not there."""

    value: Optional[Dict[str, Any]]
    revision: int


def b64(text: str) -> str:
    """Return a text as etcd's JSON gateway takes keys and values."""
    return base64.b64encode(text.encode("utf-8")).decode("ascii")


def ask(spec: Mapping[str, Any], path: str, body: Mapping[str, Any], timeout: float) -> Dict[str, Any]:
    """Ask the node's own member.

    Args:
        spec: its `endpoint`, and for TLS `ca`, `cert`, `key` (paths on the node).
        path: such as `/v3/kv/range`.
        body: the question.
        timeout: seconds.

    Raises:
        StoreError: if it does not answer.
    """
    connection: Optional[http.client.HTTPConnection] = None
    try:
        connection = connect(spec, timeout)
        return post(connection, path, json.dumps(body), time.monotonic() + timeout)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise StoreError("%s does not answer: %s" % (spec["endpoint"], error)) from error
    finally:
        if connection is not None:
            connection.close()


class Key:
    """A key that holds a JSON object.

    Every read is linearizable, so that an answer means that a majority agrees.

    Args:
        spec: the member's `endpoint`, and for TLS `ca`, `cert`, `key` (paths on the node).
        key: its name.
        timeout: seconds that each question may take.
    """

    def __init__(self, spec: Mapping[str, Any], key: str, timeout: float) -> None:
        self.spec, self.key, self.timeout = spec, key, timeout

    def _ask(self, path: str, body: Mapping[str, Any]) -> Dict[str, Any]:
        return ask(self.spec, path, body, self.timeout)

    def read(self) -> Entry:
        """Return what the key holds; a value that is no JSON object counts as an empty one.

        Raises:
            StoreError: if the store does not answer.
        """
        found = self._ask("/v3/kv/range", {"key": b64(self.key)}).get("kvs") or []
        if not found:
            return Entry(None, 0)
        try:
            value = json.loads(base64.b64decode(found[0].get("value") or ""))
        except ValueError:
            value = {}
        return Entry(value if isinstance(value, dict) else {}, int(found[0]["mod_revision"]))

    def _swap(self, revision: int, operation: Mapping[str, Any]) -> bool:
        unchanged = {"key": b64(self.key), "target": "MOD", "result": "EQUAL", "mod_revision": str(revision)}
        answer = self._ask("/v3/kv/txn", {"compare": [unchanged], "success": [operation]})
        return bool(answer.get("succeeded"))

    def write(self, value: Mapping[str, Any], revision: int) -> bool:
        """Write the key if it was not changed since `revision` (0: if it is not there), and tell whether.

        Raises:
            StoreError: if the store does not answer.
        """
        text = json.dumps(value, sort_keys=True)
        return self._swap(revision, {"request_put": {"key": b64(self.key), "value": b64(text)}})

    def remove(self, revision: int) -> bool:
        """Remove the key if it was not changed since `revision`, and tell whether.

        Raises:
            StoreError: if the store does not answer.
        """
        return self._swap(revision, {"request_delete_range": {"key": b64(self.key)}})
