"""What a node believes from the voters' answers to its heartbeats, as pure code.

An answer says for how many seconds the leader that it names will still be one; the receiver counts them
from the moment it sent its request, so that no answer is believed for longer than the voter that gave it
meant.
"""

from collections import Counter
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any

from p2p_orchestrator import reader
from p2p_orchestrator.membership import ALIVE, DEAD, UNKNOWN, WINDOW
from p2p_orchestrator.reader import UnfitError
from p2p_orchestrator.wire import figures

MAX_REMAINING = 10.0
MAX_VOTERS = 64
MAX_COUNT = 1_000_000


@dataclass(frozen=True)
class Answer:
    """A voter's answer to a heartbeat that left at `sent`; `conflict`: two processes use the node's name."""

    voter: str
    sent: float
    leader: str | None = None
    term: int = 0
    until: float = float("-inf")
    states: dict[str, str] = field(default_factory=dict)
    alive: int = 0
    known: int = 0
    quorum_at: float | None = None
    info: dict[str, Any] = field(default_factory=dict)
    conflict: bool = False


def parse(data: Mapping[str, Any], sent: float) -> Answer:
    """Return the answer in `data` (decoded JSON). Raises UnfitError if it is not one."""
    leader, remaining, age = data.get("leader_id"), data.get("remaining"), data.get("quorum_age")
    if leader is not None:
        leader = reader.name(leader, "leader_id")
    left = 0.0 if remaining is None else reader.number(remaining, "remaining")
    named = leader is not None and left > 0
    return Answer(
        voter=reader.name(data.get("node_id"), "node_id"),
        sent=sent,
        leader=leader if named else None,
        term=reader.whole(data.get("term"), "term"),
        until=sent + min(left, MAX_REMAINING) if named else float("-inf"),
        states=_states(data.get("voters", {})),
        alive=reader.whole(data.get("alive"), "alive", MAX_COUNT),
        known=reader.whole(data.get("known"), "known", MAX_COUNT),
        quorum_at=None if age is None else sent - reader.number(age, "quorum_age"),
        info=figures(data.get("info", {})),
        conflict=data.get("conflict") is True,
    )


def _states(data: object) -> dict[str, str]:
    told = reader.mapping(data, "voters", MAX_VOTERS)
    if not all(state in (ALIVE, DEAD, UNKNOWN) for state in told.values()):
        raise UnfitError("voters has a state that is none")
    return {reader.name(voter, "a voter"): state for voter, state in told.items()}


class Beliefs:
    """The last answer of each voter."""

    def __init__(self) -> None:
        self._answers: dict[str, Answer] = {}

    def take(self, answer: Answer) -> None:
        """Take in an answer, unless a newer one of that voter is there."""
        old = self._answers.get(answer.voter)
        if old is None or old.sent <= answer.sent:
            self._answers[answer.voter] = answer
        if len(self._answers) > MAX_VOTERS:
            # Whoever is asked by its address alone may call itself anything, each time anew.
            del self._answers[min(self._answers, key=lambda voter: self._answers[voter].sent)]

    def keep(self, voters: Container[str]) -> None:
        """Forget the answers of all but `voters`."""
        self._answers = {name: answer for name, answer in self._answers.items() if name in voters}

    def forget(self, voter: str) -> None:
        """Forget what one voter said."""
        self._answers.pop(voter, None)

    def voters(self) -> tuple[str, ...]:
        """Return the names of all voters that ever answered, sorted."""
        return tuple(sorted(self._answers))

    def fresh(self, now: float) -> list[Answer]:
        """Return the answers to heartbeats that left within the window."""
        return [answer for answer in self._answers.values() if now - answer.sent <= WINDOW]

    def leader(self, now: float) -> tuple[str, int, float] | None:
        """Return name, term and remaining seconds of the valid answer with the highest term, or None."""
        valid = [a for a in self._answers.values() if a.leader is not None and now < a.until]
        best = max(valid, key=lambda a: (a.term, a.until), default=None)
        return None if best is None or best.leader is None else (best.leader, best.term, best.until - now)

    def reported(self, now: float) -> Counter[str]:
        """Return how many voters name each leader now."""
        return Counter(a.leader for a in self._answers.values() if a.leader is not None and now < a.until)

    def term(self) -> int:
        """Return the highest term that any voter told, 0 if none did."""
        return max((answer.term for answer in self._answers.values()), default=0)

    def counts(self, now: float) -> tuple[int, int] | None:
        """Return how many nodes are alive and known, as the newest answer says, or None without one."""
        newest = max(self.fresh(now), key=lambda a: (a.alive, a.sent), default=None)
        return None if newest is None else (newest.alive, newest.known)

    def quorum_at(self) -> float | None:
        """Return when a voter last had proof of a quorum, as far as this node was told."""
        return max((a.quorum_at for a in self._answers.values() if a.quorum_at is not None), default=None)

    def info(self, voter: str) -> dict[str, Any]:
        """Return the figures that a voter told of itself."""
        answer = self._answers.get(voter)
        return answer.info if answer else {}

    def age(self, voter: str, now: float) -> float | None:
        """Return how long ago the last heartbeat left that the voter answered, None if none was."""
        answer = self._answers.get(voter)
        return None if answer is None else max(0.0, now - answer.sent)

    def state(self, voter: str, now: float, since: float) -> str:
        """Return a voter's state: alive if it answered or another says so; unknown for a window."""
        age = self.age(voter, now)
        if age is not None and age <= WINDOW:
            return ALIVE
        if any(answer.states.get(voter) == ALIVE for answer in self.fresh(now)):
            return ALIVE
        return UNKNOWN if now < since + WINDOW else DEAD
