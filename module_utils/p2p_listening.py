"""The TCP sockets that listen on this node, asked of the kernel's socket diagnosis, or read from /proc."""

from __future__ import annotations

import socket
import struct
from typing import Dict, Iterable, Iterator, Tuple

_TIMEOUT = 5.0
_LISTEN = 10
_LOCAL, _TCP_STATE, _UID, _INODE = 1, 3, 7, 9
# sock_diag(7) and linux/inet_diag.h.
_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY, _DUMP, _DONE, _ERROR = 4, 20, 0x301, 3, 2
_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBBBI48x")
_ANSWER = struct.Struct("=4xH46x12xII")


def listening(port: int) -> Dict[str, int]:
    """Return the TCP sockets that listen on a port, inode -> user id.

    /proc/net/tcp walks all connections that the node has room for, which costs several milliseconds a table;
    the kernel's diagnosis looks at the listening ones alone. A sandboxed kernel may not have it.
    """
    try:
        return {
            str(inode): uid
            for family in (socket.AF_INET, socket.AF_INET6)
            for found, uid, inode in _diagnosed(family)
            if found == port
        }
    except (OSError, AttributeError, struct.error):
        return listening_sockets((_read("/proc/net/tcp"), _read("/proc/net/tcp6")), port)


def _diagnosed(family: int) -> Iterator[Tuple[int, int, int]]:
    """Yield port, user id and inode of each listening socket of a family.

    Raises:
        OSError: if the kernel does not answer.
    """
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
    with socket.socket(socket.AF_NETLINK, kind, _NETLINK_SOCK_DIAG) as asked:
        asked.settimeout(_TIMEOUT)
        body = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, 0, 1 << _LISTEN)
        asked.send(_HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, _DUMP, 1, 0) + body)
        while True:
            data = asked.recv(1 << 16)
            if not data:
                raise OSError("the kernel's answer is cut short")
            while len(data) >= _HEADER.size:
                length, message, _, _, _ = _HEADER.unpack_from(data)
                if message == _DONE:
                    return
                if message == _ERROR or length < _HEADER.size:
                    raise OSError("the kernel refuses to say what listens")
                big_endian, uid, inode = _ANSWER.unpack_from(data, _HEADER.size)
                yield socket.ntohs(big_endian), uid, inode
                data = data[(length + 3) & ~3 :]


def listening_sockets(tables: Iterable[str], port: int) -> Dict[str, int]:
    """Return the sockets that listen on a port, inode -> user id, from the texts of /proc/net/tcp, tcp6."""
    sockets = {}
    for table in tables:
        for line in table.splitlines()[1:]:
            fields = line.split()
            if len(fields) <= _INODE or int(fields[_TCP_STATE], 16) != _LISTEN:
                continue
            if int(fields[_LOCAL].rpartition(":")[2], 16) == port:
                sockets[fields[_INODE]] = int(fields[_UID])
    return sockets


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as handle:
            return handle.read()
    except OSError:
        return ""
