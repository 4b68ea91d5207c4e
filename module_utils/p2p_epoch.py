"""The store's recovery epoch, from which the terms of its leaders go on: it only ever rises."""

from __future__ import annotations

import base64
from typing import Any, Dict, List, Mapping, NamedTuple

from .p2p_store import StoreError, ask, b64


class Found(NamedTuple):
    """The `epoch` (0 if none was ever written), and at which revisions it and the term were last changed."""

    epoch: int
    epoch_revision: int
    term_revision: int


class Election:
    """The keys of a cluster's election, read and written through the node's own member.

    Args:
        spec: the member's `endpoint`, and for TLS `ca`, `cert`, `key` (paths on the node).
        cluster: the cluster's name.
        timeout: seconds that each question may take.
    """

    def __init__(self, spec: Mapping[str, Any], cluster: str, timeout: float) -> None:
        self.spec, self.timeout = spec, timeout
        self.folder = "/p2p/%s/election/" % cluster

    def read(self) -> Found:
        """Return what the store holds, as a majority has it.

        Raises:
            StoreError: if it does not answer, or holds an epoch that is no number.
        """
        question = {"key": b64(self.folder), "range_end": b64(self.folder[:-1] + "0")}
        listed: List[Dict[str, Any]] = ask(self.spec, "/v3/kv/range", question, self.timeout).get("kvs") or []
        found = {base64.b64decode(one["key"]).decode("utf-8", "replace"): one for one in listed}
        epoch, term = (found.get(self.folder + name, {}) for name in ("epoch", "term"))
        try:
            number = int(base64.b64decode(epoch.get("value") or "") or 0)
        except ValueError as error:
            raise StoreError("the key %sepoch holds no number" % self.folder) from error
        return Found(number, int(epoch.get("mod_revision") or 0), int(term.get("mod_revision") or 0))

    def write(self, epoch: int, found: Found) -> bool:
        """Write the epoch if neither it nor the term was changed since it was read, and tell whether.

        Raises:
            StoreError: if the store does not answer.
        """
        unchanged = [
            {
                "key": b64(self.folder + name),
                "target": "MOD",
                "result": "EQUAL",
                "mod_revision": str(revision),
            }
            for name, revision in (("epoch", found.epoch_revision), ("term", found.term_revision))
        ]
        put = {"request_put": {"key": b64(self.folder + "epoch"), "value": b64(str(epoch))}}
        answer = ask(self.spec, "/v3/kv/txn", {"compare": unchanged, "success": [put]}, self.timeout)
        return bool(answer.get("succeeded"))
