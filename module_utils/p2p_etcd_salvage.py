"""A lost cluster's data, read by etcd itself: on a copy, alone, on loopback, under another port."""

from __future__ import annotations

import base64
import http.client
import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence

from .p2p_etcd_tool import ToolError, find, restore, save, status
from .p2p_files import sha256_file
from .p2p_http import ask_etcd, connect, post

FOUND, PREPARED = "found.db", "prepared.db"
# Ends a server whose module was killed, so that it outlives it by little.
LONGEST = 600


class Request(NamedTuple):
    """What is to be salvaged.

    `spec` has `cert`, `key` and `ca` of the node; `snapshot` is a file in the place of `data_dir`; `epoch` is
    the least that the recovery epoch becomes; results are left in `work`, a directory of nobody else's.
    """

    spec: Mapping[str, Any]
    tools: Sequence[str]
    cluster: str
    data_dir: str
    snapshot: str
    epoch: int
    work: str
    timeout: float


def salvage(request: Request) -> Dict[str, Any]:
    """Read what a member's data hold, and make a snapshot of them with a raised recovery epoch.

    The data directory is only read. The member must not run.

    Returns:
        `revision`, `applied` (raft's applied index), `term` (raft's), `epoch` as found, `raised` (the new
        epoch), and `found` and `prepared`, two snapshots with `path`, `sha256`, `revision`, `keys`, `size`.

    Raises:
        ToolError: if etcd cannot read them.
        OSError: if they cannot be copied.
    """
    copy = os.path.join(request.work, "data")
    name = "salvage"
    peer = "http://127.0.0.1:%d" % _free_port()
    if request.snapshot:
        urls = {name: peer}
        restore(
            request.tools, request.snapshot, copy, name=name, urls=urls, token=name, timeout=request.timeout
        )
    else:
        shutil.copytree(request.data_dir, copy)
    server = _Server(request, copy, name, peer)
    try:
        told = server.wait()
        epoch = server.number("epoch")
        raised = max(epoch + 1, request.epoch)
        facts: Dict[str, Any] = {
            "revision": server.revision(),
            "applied": told["raft_applied_index"],
            "term": told["raft_term"],
            "epoch": epoch,
            "raised": raised,
            "found": server.save(FOUND),
        }
        server.raise_epoch(raised)
        facts["prepared"] = server.save(PREPARED)
    finally:
        server.stop()
        shutil.rmtree(copy, ignore_errors=True)
    return facts


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class _Server:
    """etcd on a copy of a member's data, the only member of its own cluster."""

    def __init__(self, request: Request, data: str, name: str, peer: str) -> None:
        self.request, self.data = request, data
        scheme = "https" if request.spec.get("cert") else "http"
        client = "%s://127.0.0.1:%d" % (scheme, _free_port())
        self.spec = dict(request.spec, endpoint=client)
        self.log = Path(request.work, "log")
        words = ["timeout", "--kill-after=5", str(LONGEST), find("etcd", request.tools)]
        words += ["--name", name, "--data-dir", data, "--logger", "zap", "--log-level", "warn"]
        words += ["--listen-client-urls", client, "--advertise-client-urls", client]
        words += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
        words += ["--initial-cluster", "%s=%s" % (name, peer), "--initial-cluster-token", name]
        if not request.snapshot:
            words.append("--force-new-cluster")
        if scheme == "https":
            words += ["--cert-file", request.spec["cert"], "--key-file", request.spec["key"]]
            words += ["--trusted-ca-file", request.spec["ca"], "--client-cert-auth"]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ETCD")}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, cwd=request.work
            )

    def wait(self) -> Dict[str, Any]:
        """Return what it says of itself once it leads."""
        deadline = time.monotonic() + self.request.timeout
        while True:
            told = ask_etcd(self.spec, self.data, 2)
            if told.get("leader"):
                return told
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise ToolError(
                    "etcd does not start on a copy of the data: %s" % (self._last() or told["error"])
                )
            time.sleep(0.2)

    def _last(self) -> str:
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return " / ".join(line[:300] for line in lines[-2:])

    def _ask(self, path: str, body: Mapping[str, Any]) -> Dict[str, Any]:
        connection: Optional[http.client.HTTPConnection] = None
        try:
            connection = connect(self.spec, self.request.timeout)
            return post(connection, path, json.dumps(body), time.monotonic() + self.request.timeout)
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise ToolError("etcd on a copy of the data does not answer: %s" % error) from error
        finally:
            if connection is not None:
                connection.close()

    def _key(self, name: str) -> str:
        return _b64("/p2p/%s/%s" % (self.request.cluster, name))

    def revision(self) -> int:
        """Return the store's revision."""
        return int(self._ask("/v3/kv/range", {"key": _b64("/")})["header"]["revision"])

    def number(self, name: str) -> int:
        """Return a number of the election, 0 if it is not there."""
        found = self._ask("/v3/kv/range", {"key": self._key("election/" + name)}).get("kvs") or []
        try:
            return int(base64.b64decode(found[0].get("value") or "")) if found else 0
        except ValueError as error:
            raise ToolError("the key election/%s holds no number" % name) from error

    def raise_epoch(self, epoch: int) -> None:
        """Write the recovery epoch, and forget the maintenance record: its run is of the lost cluster."""
        operations: List[Dict[str, Any]] = [
            {"request_put": {"key": self._key("election/epoch"), "value": _b64(str(epoch))}},
            {"request_delete_range": {"key": self._key("maintenance")}},
        ]
        self._ask("/v3/kv/txn", {"success": operations})

    def save(self, name: str) -> Dict[str, Any]:
        """Save a checked snapshot in the work directory."""
        path = os.path.join(self.request.work, name)
        save(self.spec, self.request.tools, path, self.request.timeout)
        told: Dict[str, Any] = dict(status(self.request.tools, path, self.request.timeout))
        return dict(told, path=path, sha256=sha256_file(path))

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _b64(text: str) -> str:
    return base64.b64encode(text.encode("utf-8")).decode("ascii")
