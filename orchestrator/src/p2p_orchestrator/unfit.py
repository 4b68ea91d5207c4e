"""What was read and did not fit: counted by where it stood, logged once a minute."""

import math
from collections import Counter

from p2p_orchestrator import log
from p2p_orchestrator.clock import boottime

LOG_SECONDS = 60.0


class Unfit:
    """The counts of one process.

    Attributes:
        counts: How often something did not fit, by where it stood: `answer`, `row`, `record`, and so on.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._logged: dict[tuple[str, str], float] = {}

    def note(self, place: str, teller: str, reason: str) -> None:
        """Count what stood in `place`, and log it unless the same teller's was logged within a minute.

        Args:
            place: Where it stood, in one word.
            teller: Whose it is; one of few, such as the voters.
            reason: What does not fit.
        """
        self.counts[place] += 1
        now = boottime()
        if now - self._logged.get((place, teller), -math.inf) >= LOG_SECONDS:
            self._logged[place, teller] = now
            log.event("unfit", "warning", place=place, teller=teller, reason=reason)
