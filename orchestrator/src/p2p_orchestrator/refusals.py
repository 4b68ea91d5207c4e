"""Connections and requests that were refused: counted by reason, logged at most once a minute for each."""

import math
from collections import Counter
from enum import Enum

from p2p_orchestrator import log
from p2p_orchestrator.clock import boottime

LOG_SECONDS = 60.0


class Reason(str, Enum):
    """Why: a closed set, as each is a time series of the metrics."""

    WAITING = "waiting"
    """Too many of them waited for their turn, or it for too long."""
    STRANGERS = "strangers"
    """Too many were at their TLS handshake."""
    SLOW_HANDSHAKE = "slow_handshake"
    SLOW_REQUEST = "slow_request"
    """No whole request, or its answer not read, in time."""
    CONNECTIONS = "connections"
    """Too many of one certificate, or in all."""
    REQUESTS = "requests"
    """Too many on the port for all."""
    BYTES = "bytes"
    """Too many bytes asked for there."""
    BODY = "body"
    """A body there."""
    FILES = "files"
    """No file descriptor left for it."""
    MALFORMED = "malformed"
    """A request that is none by HTTP, or that asks whether it may be sent."""
    FAULT = "fault"
    """Something failed here: mostly memory."""


class Refusals:
    """The counts of one process.

    Attributes:
        counts: How many, by reason.
    """

    def __init__(self) -> None:
        self.counts: Counter[Reason] = Counter()
        self._logged: dict[Reason, tuple[float, int]] = {}

    def note(self, reason: Reason, port: int, origin: str) -> bool:
        """Count one, and log it unless the same reason was logged within a minute; tell whether it was.

        Args:
            reason: Why.
            port: The port where it was refused.
            origin: Whose it is: an address, or a certificate's name.
        """
        self.counts[reason] += 1
        now = boottime()
        last, count = self._logged.get(reason, (-math.inf, 0))
        if now - last >= LOG_SECONDS:
            more = self.counts[reason] - count
            self._logged[reason] = (now, self.counts[reason])
            log.event("refused", "warning", reason=reason.value, port=port, origin=origin, count=more)
            return True
        return False
