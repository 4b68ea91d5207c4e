"""What a voter may answer instead of an answer: bytes of HTTP, each with what is wrong in a word."""

import gzip
import json
from collections.abc import Iterator
from typing import Any

DEEP = b"[" * 100_000
LONG = 10**400


def answer(voter: str, **changes: Any) -> dict[str, Any]:
    """Return an honest answer with some fields changed; `...` leaves one out."""
    honest = {
        "node_id": voter,
        "leader_id": voter,
        "term": 3,
        "remaining": 8.0,
        "quorum_age": 0.5,
        "alive": 4,
        "known": 4,
        "conflict": False,
        "voters": {voter: "alive"},
        "info": {"host": "h", "port": 8770, "cpu_percent": 5.0},
    }
    return {key: value for key, value in {**honest, **changes}.items() if value is not ...}


def http(body: bytes, head: str = "HTTP/1.1 200 OK", *fields: str) -> bytes:
    """Return a response that ends its connection."""
    lines = [head, f"Content-Length: {len(body)}", "Connection: close", *fields, "", ""]
    return "\r\n".join(lines).encode() + body


def bodies(voter: str) -> Iterator[tuple[str, bytes]]:
    """Return bodies of answers that are none."""
    wrong: list[tuple[str, Any]] = [
        (key, value)
        for key in (
            "node_id",
            "leader_id",
            "term",
            "remaining",
            "quorum_age",
            "alive",
            "known",
            "voters",
            "info",
        )
        for value in (LONG, float("nan"), float("-inf"), -1, True, "x" * 300, [LONG], {"a b": LONG})
    ]
    wrong += [(key, ...) for key in ("node_id", "term", "alive", "known")]
    wrong += [("info", {"cpu_percent": value}) for value in (LONG, float("nan"), "5")]
    wrong += [("voters", {f"v{i}": "alive" for i in range(5000)}), ("node_id", "another")]
    for key, value in wrong:
        yield f"{key}: {repr(value)[:20]}", json.dumps(answer(voter, **{key: value})).encode()
    honest = json.dumps(answer(voter)).encode()
    yield from (
        ("deep", DEEP),
        ("deep inside", honest[:-1] + b', "mood": ' + DEEP),
        ("no object", b"[]"),
        ("no text", b"\xff" * 100),
        ("half", honest[:-9]),
        ("empty", b""),
        ("too long", honest + b" " * 300_000),
        ("many digits", honest[:-1] + b', "mood": ' + b"9" * 200_000 + b"}"),
    )


def responses(voter: str) -> Iterator[tuple[str, bytes]]:
    """Return responses that hold no answer."""
    honest = json.dumps(answer(voter)).encode()
    for what, body in bodies(voter):
        yield what, http(body)
    yield from (
        ("a bomb", http(gzip.compress(b" " * 50_000_000), "HTTP/1.1 200 OK", "Content-Encoding: gzip")),
        ("elsewhere", http(b"", "HTTP/1.1 307 Away", "Location: /v1/heartbeat/other")),
        ("nowhere", http(b"", "HTTP/1.1 302 Away", "Location: http://[")),
        ("refused", http(DEEP[:5000], "HTTP/1.1 500 \x1b[31m")),
        ("no HTTP", b"\x00\xff\r\n\r\n" * 9),
        ("another HTTP", http(honest, "HTTP/9.9 999 ?")),
        ("nothing", b""),
        ("half a head", b"HTTP/1.1 200 OK\r\nContent-Le"),
        ("a long head", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000),
        ("many fields", b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 50_000),
        ("no length", b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n" + honest),
        ("two lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n" + honest),
        ("bad chunks", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n" + honest),
        ("a huge chunk", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"F" * 500 + b"\r\nx"),
    )
