"""A client that asks every voter all the time who leads, and tells afterwards whether two ever did."""

from __future__ import annotations

import http.client
import json
import threading
import time
from dataclasses import dataclass, field
from itertools import combinations, pairwise
from typing import Any, Self

EVERY_S = 0.2
TIMEOUT_S = 2.0


@dataclass(frozen=True)
class Span:
    """A voter's lead in one term: it led at a moment of its first answer, at one of its last, and between.

    Attributes:
        first: When the first answer that said so was asked for, and when it was there.
        last: The same of the last one.
    """

    voter: str
    term: int
    first: tuple[float, float]
    last: tuple[float, float]

    def contradicts(self, other: Span) -> bool:
        """Tell whether two terms are proven to have been led at once, or in the wrong order.

        When within an answer it led is unknown: one that was long on its way proves nothing of its end.
        """
        older, newer = sorted((self, other), key=lambda span: span.term)
        return older.term == newer.term or older.last[0] > newer.first[1]


@dataclass
class Watch:
    """Asks each voter's /health five times a second, each in a thread of its own.

    Args:
        voters: Name and address of each.
        port: Where they answer.
    """

    voters: dict[str, str]
    port: int = 8770
    answers: dict[str, list[tuple[float, float, dict[str, Any]]]] = field(default_factory=dict)

    def __enter__(self) -> Self:
        """Begin to ask."""
        self._over = threading.Event()
        self.answers = {name: [] for name in self.voters}
        self._threads = [threading.Thread(target=self._ask, args=item) for item in self.voters.items()]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Ask no more."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, name: str, address: str) -> None:
        while not self._over.wait(EVERY_S):
            sent = time.monotonic()
            connection = http.client.HTTPConnection(address, self.port, timeout=TIMEOUT_S)
            try:
                connection.request("GET", "/health")
                answer = json.loads(connection.getresponse().read())
            except (OSError, http.client.HTTPException, ValueError):
                continue  # it restarts: no answer, or half of one
            finally:
                connection.close()
            self.answers[name].append((sent, time.monotonic(), answer))

    def spans(self) -> list[Span]:
        """Return who led when, in order; one term of one voter is one lease without a break."""
        found: dict[tuple[str, int], list[tuple[float, float]]] = {}
        for name, answers in self.answers.items():
            for sent, received, answer in answers:
                if answer["role"] == "leader":
                    assert answer["leader_id"] == name, f"{name} leads and names {answer['leader_id']}"
                    found.setdefault((name, answer["term"]), []).append((sent, received))
        spans = [Span(name, term, times[0], times[-1]) for (name, term), times in found.items()]
        return sorted(spans, key=lambda span: span.term)

    def two_leaders(self) -> list[tuple[Span, Span]]:
        """Return the pairs of leaders that led at the same time, in the same term or against their order."""
        return [(one, other) for one, other in combinations(self.spans(), 2) if one.contradicts(other)]

    def gap(self) -> float:
        """Return the longest time in seconds between two answers of voters that said that they lead."""
        claims = sorted(
            (sent, received)
            for answers in self.answers.values()
            for sent, received, answer in answers
            if answer["role"] == "leader"
        )
        assert claims, "nobody led at all"
        return max((after[1] - before[0] for before, after in pairwise(claims)), default=0.0)

    def silence(self) -> float:
        """Return the longest time in seconds for which fewer than a majority of the voters answered."""
        times = sorted(
            (received, name) for name, answers in self.answers.items() for _, received, _ in answers
        )
        last = dict.fromkeys(self.voters, times[0][0])
        longest = 0.0
        for now, name in times:
            # The majority answered last when the one in its middle did.
            ages = sorted(now - seen for seen in last.values())
            longest = max(longest, ages[len(ages) // 2])
            last[name] = now
        return longest
