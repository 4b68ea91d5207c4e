"""The node's own etcd member, asked over loopback with a bound on time and size."""

from __future__ import annotations

import http.client
import json
import os
import ssl
import time
from typing import Any, Dict, List, Mapping, Optional, Tuple
from urllib.parse import urlsplit

LARGEST = 16 << 20


def _ask(
    connection: http.client.HTTPConnection, method: str, path: str, body: Optional[str], deadline: float
) -> Tuple[int, bytes]:
    connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
    response = connection.getresponse()
    blocks: List[bytes] = []
    size = 0
    while True:
        block = response.read(1 << 16)
        if not block:
            return response.status, b"".join(blocks)
        blocks.append(block)
        size += len(block)
        if size > LARGEST or time.monotonic() > deadline:
            raise ValueError("the answer is too long or too slow")


def has_data(data_dir: str) -> Optional[bool]:
    """Tell whether an etcd member has data below a directory; None if that may not be seen."""
    try:
        return bool(os.listdir(os.path.join(data_dir, "member", "wal")))
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return None


def etcd_view(member: Mapping[str, Any], members: Mapping[str, Any]) -> Dict[str, Any]:
    """Return the answers of etcd's JSON gateway in the probe's form.

    Ids stay decimal text, as etcd gives them.

    Args:
        member: the answer of /v3/maintenance/status.
        members: the answer of /v3/cluster/member/list.
    """
    header = member.get("header") or {}
    return {
        "member_id": header.get("member_id"),
        "cluster_id": header.get("cluster_id"),
        "leader": member.get("leader") if str(member.get("leader") or "0") != "0" else None,
        "raft_index": int(member.get("raftIndex") or 0),
        "raft_applied_index": int(member.get("raftAppliedIndex") or 0),
        "raft_term": int(member.get("raftTerm") or 0),
        "learner": bool(member.get("isLearner")),
        # The member's own view; asking for the list of alarms would write to the raft log.
        "alarms": list(member.get("errors") or []),
        "version": member.get("version"),
        "db_size": int(member.get("dbSize") or 0),
        "db_size_in_use": int(member.get("dbSizeInUse") or 0),
        "members": [
            {
                "id": item.get("ID"),
                "name": item.get("name") or "",
                "learner": bool(item.get("isLearner")),
                "peer_urls": list(item.get("peerURLs") or []),
                "client_urls": list(item.get("clientURLs") or []),
            }
            for item in members.get("members") or []
        ],
    }


def ask_etcd(spec: Mapping[str, Any], data_dir: str, timeout: float) -> Dict[str, Any]:
    """Ask the node's own etcd member what it is.

    Args:
        spec: `endpoint`, and for TLS `ca`, `cert`, `key` (paths on the node).
        data_dir: where its data lies.
        timeout: seconds.

    Returns:
        The keys of `etcd_view` and `reads`, whether a majority confirmed a read, or `error`; `has_data`,
        `data_dir` and `ms` always.
    """
    answer: Dict[str, Any] = {"has_data": has_data(data_dir), "data_dir": data_dir, "error": None, "ms": None}
    began = time.monotonic()
    connection: Optional[http.client.HTTPConnection] = None
    try:
        connection = connect(spec, timeout)
        member = post(connection, "/v3/maintenance/status", "{}", began + timeout)
        answer.update(etcd_view(member, _members(connection, began + timeout)))
        answer["ms"] = round((time.monotonic() - began) * 1000, 1)
        answer["reads"] = _reads(connection, began + timeout) if answer["leader"] else False
    except (OSError, ValueError, http.client.HTTPException) as error:
        answer["error"] = "%s" % (error or type(error).__name__)
    finally:
        if connection is not None:
            connection.close()
    return answer


def post(connection: http.client.HTTPConnection, path: str, body: str, deadline: float) -> Dict[str, Any]:
    """Ask etcd's JSON gateway.

    Args:
        connection: from `connect`.
        path: such as `/v3/kv/range`.
        body: JSON text.
        deadline: on the monotonic clock, in seconds.

    Raises:
        OSError, http.client.HTTPException: if it does not answer.
        ValueError: if it answers with an error, or with too much.
    """
    status, raw = _ask(connection, "POST", path, body, deadline)
    if status != http.client.OK:
        raise ValueError("%s: status %d: %s" % (path, status, raw[:200].decode("utf-8", "replace")))
    answer = json.loads(raw)
    return answer if isinstance(answer, dict) else {}


def _members(connection: http.client.HTTPConnection, deadline: float) -> Dict[str, Any]:
    path = "/v3/cluster/member/list"
    try:
        # Without this a 3.5 member would ask its leader, and hang if there is none; 3.4 does not know it.
        return post(connection, path, '{"linearizable":false}', deadline)
    except ValueError:
        return post(connection, path, "{}", deadline)


def _reads(connection: http.client.HTTPConnection, deadline: float) -> bool:
    """Tell whether a majority confirms a read of one key: a member alone may not know that it is alone."""
    try:
        post(connection, "/v3/kv/range", '{"key":"AA=="}', deadline)
    except (OSError, ValueError, http.client.HTTPException):
        return False
    return True


def listed(spec: Mapping[str, Any], timeout: float) -> Dict[str, Any]:
    """Return `cluster_id` and `members` as the node's own member has them, {} if it does not answer.

    Args:
        spec: as for `ask_etcd`.
        timeout: seconds.
    """
    try:
        connection = connect(spec, timeout)
        try:
            answer = _members(connection, time.monotonic() + timeout)
        finally:
            connection.close()
    except (OSError, ValueError, http.client.HTTPException):
        return {}
    return {
        "cluster_id": (answer.get("header") or {}).get("cluster_id"),
        "members": etcd_view({}, answer)["members"],
    }


def connect(spec: Mapping[str, Any], timeout: float) -> http.client.HTTPConnection:
    """Return a connection to the node's own etcd member.

    Args:
        spec: `endpoint`, and for TLS `ca`, `cert`, `key` (paths on the node).
        timeout: seconds for each step.

    Raises:
        OSError: if a file of the certificates cannot be read.
    """
    url = urlsplit(str(spec["endpoint"]))
    host, port = url.hostname or "127.0.0.1", url.port or 2379
    if url.scheme != "https":
        return http.client.HTTPConnection(host, port, timeout=timeout)
    context = ssl.create_default_context(cafile=spec.get("ca") or None)
    if spec.get("cert"):
        context.load_cert_chain(spec["cert"], spec.get("key") or None)
    return http.client.HTTPSConnection(host, port, timeout=timeout, context=context)
