"""Who is alive, as pure code: what this voter heard itself and what the other voters say they heard.

A heartbeat names its node and the incarnation of the process that sent it. Times are seconds of
`CLOCK_BOOTTIME`; what another voter heard arrives as ages, so no two clocks are ever compared.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

WINDOW = 15.0
"""A node is alive if it was heard within this many seconds."""
MARGIN = 5.0
"""Two incarnations of a name must overlap by this many seconds to be two nodes: a restart is no clone."""
FORGET = 86_400.0
MAX_NODES = 10_000
INCARNATIONS = 4
"""So many incarnations of a name are kept, the newest, by who heard them: this voter or another."""
REPORTED = 2
"""So many of them are told to other voters: two by turns make a conflict."""
MAX_RUMOURS = 1_000
"""So many names that nobody else heard are kept of each voter."""

ALIVE, DEAD, UNKNOWN = "alive", "dead", "unknown"
Row = tuple[str, str, float, float]


@dataclass
class Sighting:
    """When one incarnation of a node was first and last heard, by this voter or another."""

    first: float
    last: float


@dataclass
class Member:
    """What is known of a node.

    Attributes:
        known_since: Since when its name is known.
        told: Its incarnations that other voters heard.
        heard: Those that this voter heard itself, which no other voter's word displaces.
        info: Its own figures.
        last: When any voter heard it last, None if never.
    """

    known_since: float
    told: dict[str, Sighting] = field(default_factory=dict)
    heard: dict[str, Sighting] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)
    last: float | None = None

    def see(self, table: dict[str, Sighting], incarnation: str, first: float, last: float) -> None:
        """Take a sighting into `told` or `heard`; the one that is silent for longest gives way."""
        known = table.get(incarnation)
        if known is not None:
            known.first, known.last = min(known.first, first), max(known.last, last)
        elif len(table) < INCARNATIONS or _give_way(table, last):
            table[incarnation] = Sighting(first, last)
        if self.last is None or last > self.last:
            self.last = last

    def seen(self, now: float) -> dict[str, Sighting]:
        """Return the incarnations that any voter heard within the window."""
        result = _recent(self.told, now)
        for incarnation, own in _recent(self.heard, now).items():
            other = result.get(incarnation, own)
            result[incarnation] = Sighting(min(own.first, other.first), max(own.last, other.last))
        return result


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
        self._rumours: dict[str, tuple[float, set[str]]] = {}
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
        member = self._members.get(node)
        if member is None:
            self._make_room()
            member = self._members[node] = Member(now)
        member.see(member.heard, incarnation, now, now)
        member.info = info

    def relay(self, voter: str, rows: Iterable[Row], now: float) -> None:
        """Take in what another voter heard: names, incarnations, ages of their first and last heartbeat.

        A name that nobody else has heard is a rumour, and replaces the voter's last ones: one that lies
        cannot fill the table.
        """
        rumours: set[str] = set()
        for node, incarnation, first, last in rows:
            if last > WINDOW:
                continue
            member = self._members.get(node)
            if member is None:
                if len(self._members) >= MAX_NODES or not self._told_by_another(voter, node, now):
                    if len(rumours) < MAX_RUMOURS:
                        rumours.add(node)
                    continue
                member = self._members[node] = Member(now)
            member.see(member.told, incarnation, now - max(first, last), now - last)
        self._rumours[voter] = (now, rumours)

    def rumours(self, now: float) -> set[str]:
        """Return the names that are not known, and that one voter told within the window."""
        told = [names for at, names in self._rumours.values() if now - at <= WINDOW]
        return set().union(*told).difference(self._members)

    @property
    def since(self) -> float:
        """Since when this voter has listened."""
        return self._since

    def recent(self, now: float) -> dict[str, Member]:
        """Return what is known from within the window, for `recall` of the next process."""
        return {
            node: Member(member.known_since, seen, _recent(member.heard, now), member.info)
            for node, member in self._members.items()
            if (seen := member.seen(now))
        }

    def recall(self, since: float, members: Mapping[str, Member], now: float) -> None:
        """Take up what this voter's last process knew, each sighting as old as it is."""
        self._since = min(self._since, since)
        for node, known in members.items():
            if node in self._members or len(self._members) < MAX_NODES:
                member = self._members.setdefault(node, Member(now))
                for table, old in ((member.heard, known.heard), (member.told, known.told)):
                    for incarnation, item in old.items():
                        member.see(table, incarnation, item.first, item.last)
                member.info = member.info or known.info

    def report(self, now: float) -> list[Row]:
        """Return what this voter heard itself within the window, as `relay` takes it."""
        return [
            (node, incarnation, round(now - sighting.first, 2), round(now - sighting.last, 2))
            for node, member in self._members.items()
            for incarnation, sighting in _newest(member.heard)
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
        """Return "alive", "dead", or "unknown" until the node was listened for through one window.

        A name that is not known, such as a rumour, is unknown.
        """
        age = self.age(node, now)
        if age is not None and age <= WINDOW:
            return ALIVE
        return UNKNOWN if now < self._since + WINDOW or node not in self._members else DEAD

    def conflict(self, node: str, now: float) -> bool:
        """Tell whether two processes use this name: two incarnations were heard by turns in the window."""
        member = self._members.get(node)
        if member is None:
            return False
        if node == self._me:
            others = [item for name, item in member.seen(now).items() if name != self._incarnation]
            return any(item.last > self._began + MARGIN for item in others)
        if len({**member.heard, **member.told}) < 2:  # noqa: PLR2004  a conflict takes two
            return False
        return any(
            a.last > b.first + MARGIN and b.last > a.first + MARGIN
            for a, b in combinations(member.seen(now).values(), 2)
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
            for table in (member.heard, member.told):
                newest = max((item.last for item in table.values()), default=now)
                for incarnation, item in list(table.items()):
                    if item.last < now - WINDOW and item.last < newest:
                        del table[incarnation]
            if node not in self._fixed and now - (member.last or member.known_since) > FORGET:
                del self._members[node]

    def _told_by_another(self, voter: str, node: str, now: float) -> bool:
        return any(
            other != voter and now - at <= WINDOW and node in names
            for other, (at, names) in self._rumours.items()
        )

    def _make_room(self) -> None:
        """Let a name that this voter never heard itself give way to one that it hears."""
        if len(self._members) < MAX_NODES:
            return
        for node, member in self._members.items():
            if not member.heard and node not in self._fixed:
                del self._members[node]
                return
        raise FullError(f"more than {MAX_NODES} names")


def _recent(table: Mapping[str, Sighting], now: float) -> dict[str, Sighting]:
    return {name: item for name, item in table.items() if now - item.last <= WINDOW}


def _newest(table: Mapping[str, Sighting]) -> Iterable[tuple[str, Sighting]]:
    if len(table) <= REPORTED:
        return table.items()
    return sorted(table.items(), key=lambda item: item[1].last)[-REPORTED:]


def _give_way(table: dict[str, Sighting], last: float) -> bool:
    """Remove the sighting that is silent for longest, unless it was heard after `last`.

    Where all were heard within the window it is the one that came last: many clones that take turns would
    otherwise displace each other before two of them overlap.
    """
    oldest = min(table, key=lambda name: table[name].last)
    if table[oldest].last > last:
        return False
    within = table[oldest].last >= last - WINDOW
    del table[max(table, key=lambda name: table[name].first) if within else oldest]
    return True
