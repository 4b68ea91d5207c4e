"""Which ports of other machines a node can connect to, all tried at once."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any, Dict, List, Mapping, Sequence, Tuple

from .p2p_bounded import look

# On top of a connection's own bound: what a name that resolves slowly may take.
GRACE = 1.0

OPEN, REFUSED, BLOCKED = "open", "refused", "blocked"


def connect(host: str, port: int, timeout: float) -> Tuple[str, str]:
    """Try one connection.

    Args:
        host: name or address.
        port: TCP port.
        timeout: seconds.

    Returns:
        `open`; `refused` if the machine answers and nobody listens there; or `blocked` if nothing comes back.
        Then why, empty for `open`.
    """
    try:
        socket.create_connection((host, port), timeout).close()
    except ConnectionRefusedError:
        return REFUSED, "nobody listens there"
    except socket.gaierror:
        return BLOCKED, "its name is not known"
    except OSError as error:
        if isinstance(error, socket.timeout) or error.errno == errno.ETIMEDOUT:
            return BLOCKED, "no answer within %g s" % timeout
        return BLOCKED, os.strerror(error.errno).lower() if error.errno else str(error)
    return OPEN, ""


def reach(targets: Sequence[Mapping[str, Any]], timeout: float) -> List[Dict[str, Any]]:
    """Try to connect to each of some ports.

    Args:
        targets: each with `host` and `port`; its other keys are handed through.
        timeout: seconds for each, counted from the start.

    Returns:
        The targets with `outcome` and `why`, in their order.
    """
    tries = {
        str(place): lambda target=target: connect(str(target["host"]), int(target["port"]), timeout)
        for place, target in enumerate(targets)
    }
    answers, _ = look(tries, timeout + GRACE)
    late = (BLOCKED, "no answer within %g s" % timeout)
    results = [answers.get(str(place), late) for place in range(len(targets))]
    return [
        dict(target, outcome=outcome, why=why)
        for target, (outcome, why) in zip(targets, results)  # noqa: B905  `strict` came with Python 3.10
    ]
