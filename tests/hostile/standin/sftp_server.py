"""The far end of sftp, on standard input and output: every path is a file, and all have the same content."""

from __future__ import annotations

import struct
import sys
from typing import BinaryIO

INIT, VERSION, OPEN, CLOSE, READ, WRITE, LSTAT, FSTAT, SETSTAT, FSETSTAT = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
REALPATH, STAT, STATUS, HANDLE, DATA, NAME, ATTRS = 16, 17, 101, 102, 103, 104, 105
OK, EOF = 0, 1


def _text(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value


def _read(stream: BinaryIO, length: int) -> bytes:
    data = stream.read(length)
    if len(data) < length:
        sys.exit(0)
    return data


def serve(content: bytes) -> None:
    """Answer until the client has enough."""
    size = struct.pack(">IQI", 0x1 | 0x4, len(content), 0o100600)
    while True:
        (length,) = struct.unpack(">I", _read(sys.stdin.buffer, 4))
        packet = _read(sys.stdin.buffer, length)
        kind, rest = packet[0], packet[5:]
        if kind == INIT:
            _send(VERSION, struct.pack(">I", 3))
            continue
        number = packet[1:5]
        if kind == REALPATH:
            _send(
                NAME, number + struct.pack(">I", 1) + _text(b"/root") + _text(b"/root") + struct.pack(">I", 0)
            )
        elif kind in (STAT, LSTAT, FSTAT):
            _send(ATTRS, number + size)
        elif kind == OPEN:
            _send(HANDLE, number + _text(b"h"))
        elif kind == READ:
            at, most = struct.unpack(">QI", rest[4 + struct.unpack(">I", rest[:4])[0] :][:12])
            data = content[at : at + most]
            _send(DATA, number + _text(data)) if data else _send(STATUS, number + _status(EOF))
        else:
            _send(STATUS, number + _status(OK))


def _status(code: int) -> bytes:
    return struct.pack(">I", code) + _text(b"") + _text(b"")


def _send(kind: int, body: bytes) -> None:
    sys.stdout.buffer.write(struct.pack(">IB", len(body) + 1, kind) + body)
    sys.stdout.buffer.flush()
