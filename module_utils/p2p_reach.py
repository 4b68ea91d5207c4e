"""Which ports of other machines a node can connect to, all tried at once."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any, Dict, List, Mapping, Sequence, Tuple

from .p2p_bounded import look

# On top of a connection's own bound: what a name that resolves slowly may take.
GRACE = 1.0

PROXY_REFUSED = 5
OPEN, REFUSED, BLOCKED = "open", "refused", "blocked"


def _through(proxy: int, host: str, port: int, timeout: float) -> None:
    """Connect through a SOCKS5 proxy on this machine (RFC 1928); raise OSError if it does not."""
    try:
        connection = socket.create_connection(("127.0.0.1", proxy), timeout)
    except OSError as error:
        raise OSError("no SOCKS5 proxy answers on 127.0.0.1:%d" % proxy) from error
    with connection:
        name = host.encode("idna")
        connection.sendall(b"\x05\x01\x00")
        if connection.recv(2) != b"\x05\x00":
            raise OSError("what listens on 127.0.0.1:%d is no SOCKS5 proxy" % proxy)
        # An address in the place of a name is understood by every proxy.
        connection.sendall(b"\x05\x01\x00\x03" + bytes([len(name)]) + name + port.to_bytes(2, "big"))
        answer = connection.recv(4)
        if answer[1:2] == bytes([PROXY_REFUSED]):
            raise ConnectionRefusedError
        if answer[1:2] != b"\x00":
            raise OSError("the SOCKS5 proxy on 127.0.0.1:%d does not get there" % proxy)


def connect(host: str, port: int, timeout: float, proxy: int = 0) -> Tuple[str, str]:
    """Try one connection.

    Args:
        host: name or address.
        port: TCP port.
        timeout: seconds.
        proxy: port of a SOCKS5 proxy on this machine to go through; 0 goes directly.

    Returns:
        `open`; `refused` if the machine answers and nobody listens there; or `blocked` if nothing comes back.
        Then why, empty for `open`.
    """
    try:
        if proxy:
            _through(proxy, host, port, timeout)
        else:
            socket.create_connection((host, port), timeout).close()
    except OSError as error:
        return why_not(error, timeout)
    return OPEN, ""


def why_not(error: OSError, timeout: float) -> Tuple[str, str]:
    """Return what `connect` does for a connection that was not made.

    Args:
        error: what was raised.
        timeout: seconds that it might take.
    """
    if isinstance(error, ConnectionRefusedError):
        return REFUSED, "nobody listens there"
    if isinstance(error, socket.gaierror):
        return BLOCKED, "its name is not known"
    if isinstance(error, socket.timeout) or error.errno == errno.ETIMEDOUT:
        return BLOCKED, "no answer within %g s" % timeout
    return BLOCKED, os.strerror(error.errno).lower() if error.errno else str(error)


def reach(targets: Sequence[Mapping[str, Any]], timeout: float) -> List[Dict[str, Any]]:
    """Try to connect to each of some ports.

    Args:
        targets: each with `host` and `port`, perhaps `proxy`; its other keys are handed through.
        timeout: seconds for each, counted from the start.

    Returns:
        The targets with `outcome` and `why`, in their order.
    """
    tries = {
        str(place): lambda target=target: connect(
            str(target["host"]), int(target["port"]), timeout, int(target.get("proxy") or 0)
        )
        for place, target in enumerate(targets)
    }
    answers, _ = look(tries, timeout + GRACE)
    late = (BLOCKED, "no answer within %g s" % timeout)
    results = [answers.get(str(place), late) for place in range(len(targets))]
    return [dict(target, outcome=outcome, why=why) for target, (outcome, why) in zip(targets, results)]
