"""Who is alive, as pure code: what this voter heard itself and what the other voters say they heard.

A heartbeat names its node and the incarnation of the process that sent it. Times are seconds of
`CLOCK_BOOTTIME`; what another voter heard arrives as ages, so no two clocks are ever compared.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

WINDOW = 15.0
"""A node is alive if it was heard within this many seconds."""
MARGIN = 5.0
"""Two incarnations of a name must overlap by this many seconds to be two nodes: a restart is no clone."""
FORGET = 86_400.0
MAX_NODES = 10_000

ALIVE, DEAD, UNKNOWN = "alive", "dead", "unknown"
Row = tuple[str, str, float, float]


@dataclass
class Sighting:
    """When one incarnation of a node was first and last heard, by this voter or another."""

    first: float
    last: float


@dataclass
class Member:
    """What is known of a node: its incarnations (all, and those this voter heard itself), its own figures."""

    known_since: float
    seen: dict[str, Sighting] = field(default_factory=dict)
    heard: dict[str, Sighting] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)

    @property
    def last(self) -> float | None:
        """When the node was last heard by any voter, None if never."""
        return max((sighting.last for sighting in self.seen.values()), default=None)


class FullError(Exception):
    """No room for another name."""


class Members:
    """All nodes that this one knows of, itself included.

    Args:
        me: This node's name.
        incarnation: This process's incarnation.
        known: Names that are there from the start: the voters.
        now: When this process began to listen.
    """

    def __init__(self, me: str, incarnation: str, known: Iterable[str], now: float) -> None:
        self._me = me
        self._incarnation = incarnation
        # This start tells a clone from a predecessor; what was listened may count from before it.
        self._began = self._since = now
        self._members: dict[str, Member] = {}
        self._fixed = {me, *known}
        self.learn(self._fixed, now)

    def names(self) -> list[str]:
        """Return all known names, sorted."""
        return sorted(self._members)

    def member(self, node: str) -> Member:
        """Return what is known of `node`. Raises KeyError for a name that is not known."""
        return self._members[node]

    def learn(self, names: Iterable[str], now: float) -> None:
        """Know of `names`, as the roster does, without having heard them."""
        for name in names:
            if name not in self._members and len(self._members) < MAX_NODES:
                self._members[name] = Member(now)

    def fix(self, known: Iterable[str], now: float) -> None:
        """Let `known` be the names that are always there; former ones go unless they were heard."""
        before, self._fixed = self._fixed, {self._me, *known}
        for name in before - self._fixed:
            if name in self._members and self._members[name].last is None:
                del self._members[name]
        self.learn(self._fixed, now)

    def hear(self, node: str, incarnation: str, info: dict[str, Any], now: float) -> None:
        """Take in a node's heartbeat. Raises `FullError` if the name is new and there are too many."""
        member = self._member(node, now)
        for table in (member.heard, member.seen):
            _see(table, incarnation, now, now)
        member.info = info

    def relay(self, rows: Iterable[Row], now: float) -> None:
        """Take in what another voter heard: names, incarnations, ages of their first and last heartbeat."""
        for node, incarnation, first, last in rows:
            if last <= WINDOW and (node in self._members or len(self._members) < MAX_NODES):
                _see(self._member(node, now).seen, incarnation, now - max(first, last), now - last)

    @property
    def since(self) -> float:
        """Since when this voter has listened."""
        return self._since

    def recent(self, now: float) -> dict[str, Member]:
        """Return what is known from within the window, for `recall` of the next process."""
        return {
            node: Member(member.known_since, seen, _recent(member.heard, now), member.info)
            for node, member in self._members.items()
            if (seen := _recent(member.seen, now))
        }

    def recall(self, since: float, members: Mapping[str, Member], now: float) -> None:
        """Take up what this voter's last process knew, each sighting as old as it is."""
        self._since = min(self._since, since)
        for node, known in members.items():
            if node in self._members or len(self._members) < MAX_NODES:
                member = self._member(node, now)
                for table, old in ((member.heard, known.heard), (member.seen, known.seen)):
                    for incarnation, item in old.items():
                        _see(table, incarnation, item.first, item.last)
                member.info = member.info or known.info

    def report(self, now: float) -> list[Row]:
        """Return what this voter heard itself within the window, as `relay` takes it."""
        return [
            (node, incarnation, round(now - sighting.first, 2), round(now - sighting.last, 2))
            for node, member in self._members.items()
            for incarnation, sighting in member.heard.items()
            if now - sighting.last <= WINDOW
        ]

    def age(self, node: str, now: float) -> float | None:
        """Return how long ago `node` was last heard, None if never."""
        if node == self._me:
            return 0.0
        member = self._members.get(node)
        last = member.last if member else None
        return None if last is None else max(0.0, now - last)

    def state(self, node: str, now: float) -> str:
        """Return "alive", "dead", or "unknown" until the node was listened for through one window."""
        age = self.age(node, now)
        if age is not None and age <= WINDOW:
            return ALIVE
        return UNKNOWN if now < self._since + WINDOW else DEAD

    def conflict(self, node: str, now: float) -> bool:
        """Tell whether two processes use this name: two incarnations were heard by turns in the window."""
        member = self._members.get(node)
        if member is None:
            return False
        seen = [sighting for sighting in member.seen.values() if now - sighting.last <= WINDOW]
        if node == self._me:
            others = [item for name, item in member.seen.items() if name != self._incarnation]
            return any(now - item.last <= WINDOW and item.last > self._began + MARGIN for item in others)
        return any(
            a.last > b.first + MARGIN and b.last > a.first + MARGIN for a in seen for b in seen if a is not b
        )

    def alive(self, now: float) -> set[str]:
        """Return the names of the nodes that are alive, each once, this one included."""
        return {node for node in self._members if self.state(node, now) == ALIVE}

    def listened(self, now: float) -> bool:
        """Tell whether this voter has listened for one whole window."""
        return now >= self._since + WINDOW

    def sweep(self, now: float) -> None:
        """Forget incarnations that are long silent, and nodes that nobody heard for a day."""
        for node, member in list(self._members.items()):
            for table in (member.heard, member.seen):
                newest = max((item.last for item in table.values()), default=now)
                for incarnation, item in list(table.items()):
                    if item.last < now - WINDOW and item.last < newest:
                        del table[incarnation]
            if node not in self._fixed and now - (member.last or member.known_since) > FORGET:
                del self._members[node]

    def _member(self, node: str, now: float) -> Member:
        if node not in self._members:
            if len(self._members) >= MAX_NODES:
                raise FullError(f"more than {MAX_NODES} names")
            self._members[node] = Member(now)
        return self._members[node]


def _recent(table: Mapping[str, Sighting], now: float) -> dict[str, Sighting]:
    return {name: item for name, item in table.items() if now - item.last <= WINDOW}


def _see(table: dict[str, Sighting], incarnation: str, first: float, last: float) -> None:
    sighting = table.setdefault(incarnation, Sighting(first, last))
    sighting.first = min(sighting.first, first)
    sighting.last = max(sighting.last, last)
