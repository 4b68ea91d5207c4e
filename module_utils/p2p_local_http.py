"""The node's own orchestrator, asked over loopback with a bound on time and size.

A request of a few lines, since loading Python's HTTP client costs a node more than the answer.
"""

from __future__ import annotations

import json
import re
import socket
import time
from typing import Any, Dict, List, Mapping, Optional, Tuple

# /status of 1,000 members is 1.3 MB.
LARGEST = 16 << 20
_KEPT = ("store", "voter_states")


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise ValueError("the answer is too long or too slow")
    return left


def _get(port: int, path: str, deadline: float) -> Tuple[int, bytes]:
    """Return the status and the body that a local server answers.

    Raises:
        OSError: if it does not answer.
        ValueError: if the answer is not HTTP, breaks off, or is too long or too slow.
    """
    words = "GET %s HTTP/1.0\r\nHost: 127.0.0.1:%d\r\nAccept: application/json\r\n\r\n" % (path, port)
    blocks: List[bytes] = []
    size, end = 0, LARGEST
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as connection:
        connection.settimeout(_left(deadline))
        connection.connect(("127.0.0.1", port))
        connection.sendall(words.encode("ascii"))
        while size < end:
            connection.settimeout(_left(deadline))
            block = connection.recv(1 << 16)
            if not block:
                break
            blocks.append(block)
            size += len(block)
            if end == LARGEST:
                end = _end(b"".join(blocks))
    head, _, body = b"".join(blocks).partition(b"\r\n\r\n")
    found = re.match(rb"HTTP/1\.[01] (\d{3})\b", head)
    if not found:
        raise ValueError("no answer in HTTP" if head else "it hung up without an answer")
    if size < end < LARGEST:
        raise ValueError("the answer breaks off")
    if size >= LARGEST:
        raise ValueError("the answer is too long or too slow")
    return int(found.group(1)), body


def _end(start: bytes) -> int:
    """Return at how many bytes an answer ends, LARGEST if it does not say or not yet."""
    head, between, _ = start.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length:[ \t]*(\d+)", head) if between else None
    return min(LARGEST, len(head) + len(between) + int(length.group(1))) if length else LARGEST


def unanswered(error: Optional[str] = None) -> Dict[str, Any]:
    """Return what `get_json` does for an endpoint that gave no answer, for this reason."""
    return {"status": None, "body": None, "ms": None, "error": error}


def get_json(port: int, path: str, timeout: float) -> Dict[str, Any]:
    """Ask a local HTTP endpoint.

    Returns:
        `status` (HTTP code or None), `body` (JSON or None), `ms`, and `error` (text or None).
    """
    began = time.monotonic()
    answer = unanswered()
    try:
        answer["status"], raw = _get(port, path, began + timeout)
        answer["ms"] = round((time.monotonic() - began) * 1000, 1)
        answer["body"] = json.loads(raw.decode("utf-8"))
    except (OSError, ValueError) as error:
        answer["error"] = "%s" % (error or type(error).__name__)
    return answer


def trimmed_status(body: object) -> object:
    """Return a /status document cut down to what a report reads.

    Each peer becomes its name and whether it is alive (null where the program does not say). Of the nested
    documents those about the voters and the store stay, those about jobs and the like are left out.
    """
    if not isinstance(body, dict):
        return body
    short = {key: value for key, value in body.items() if key in _KEPT or not isinstance(value, dict)}
    peers = body.get("peers")
    if isinstance(peers, Mapping):
        short["peers"] = [{"name": str(name), "alive": _alive(item)} for name, item in sorted(peers.items())]
    return short


def _alive(peer: object) -> Optional[bool]:
    alive = peer.get("is_alive") if isinstance(peer, Mapping) else None
    return alive if isinstance(alive, bool) else None


def ask_orchestrator(port: int, timeout: float) -> Dict[str, Any]:
    """Return what the local orchestrator answers on /health and /status."""
    health = get_json(port, "/health", timeout)
    if health["status"] is None:
        return {"health": health, "status": dict(health)}
    status = get_json(port, "/status", timeout)
    status["body"] = trimmed_status(status["body"])
    return {"health": health, "status": status}
