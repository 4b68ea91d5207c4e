"""What a node believes from the voters' answers to its heartbeats, as pure code.

An answer says for how many seconds the leader that it names will still be one; the receiver counts them
from the moment it sent its request, so that no answer is believed for longer than the voter that gave it
meant.
"""

from collections import Counter
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Any

from p2p_orchestrator.membership import ALIVE, DEAD, UNKNOWN, WINDOW

MAX_REMAINING = 10.0
ANSWER_FIELDS = {"node_id": str, "term": int, "alive": int, "known": int}


@dataclass(frozen=True)
class Answer:
    """A voter's answer to a heartbeat; `sent` is when the heartbeat left."""

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


def parse(data: object, sent: float) -> Answer:
    """Return the answer in `data` (decoded JSON). Raises ValueError if it is not one."""
    if not isinstance(data, dict):
        raise ValueError("not an object")  # noqa: TRY004  # bad data, not a bad call
    for key, kind in ANSWER_FIELDS.items():
        if not isinstance(data.get(key), kind):
            raise ValueError(f"{key} is missing or not {kind.__name__}")  # noqa: TRY004  # as above
    leader, remaining, age = data.get("leader_id"), data.get("remaining"), data.get("quorum_age")
    states, info = data.get("voters"), data.get("info")
    named = isinstance(leader, str) and isinstance(remaining, (int, float)) and remaining > 0
    return Answer(
        voter=data["node_id"],
        sent=sent,
        leader=leader if named else None,
        term=data["term"],
        until=sent + min(float(remaining or 0), MAX_REMAINING) if named else float("-inf"),
        states={str(k): str(v) for k, v in states.items()} if isinstance(states, dict) else {},
        alive=data["alive"],
        known=data["known"],
        quorum_at=sent - float(age) if isinstance(age, (int, float)) else None,
        info=info if isinstance(info, dict) else {},
    )


class Beliefs:
    """The last answer of each voter."""

    def __init__(self) -> None:
        self._answers: dict[str, Answer] = {}

    def take(self, answer: Answer) -> None:
        """Take in an answer, unless a newer one of that voter is there."""
        old = self._answers.get(answer.voter)
        if old is None or old.sent <= answer.sent:
            self._answers[answer.voter] = answer

    def keep(self, voters: Container[str]) -> None:
        """Forget the answers of all but `voters`."""
        self._answers = {name: answer for name, answer in self._answers.items() if name in voters}

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
