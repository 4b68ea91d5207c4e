"""How many voters may fail, worked out over who exchanges messages with whom."""

from __future__ import annotations

from collections.abc import Collection
from itertools import combinations

# With more voters than anybody has, looking at every set would take minutes.
MOST_SETS_OF = 13


def majority(voters: int) -> int:
    """Return how many of `voters` are a true majority."""
    return voters // 2 + 1


def tolerated(members: int, counting: Collection[str], apart: Collection[frozenset[str]] = ()) -> int:
    """Return how many of the voters that count may still fail, whichever of them these are.

    Raft's voters hand no message on: one of them leads only if a majority, itself included, exchanges
    messages with it directly.

    Args:
        members: How many vote, those among them that do not count.
        counting: Names of those that count.
        apart: Pairs that exchange no message with each other.

    Returns:
        The largest number for which every set of so many leaves one that may lead; negative if none may
        lead now. Of more than `MOST_SETS_OF` voters that are not all linked it may be less than that.
    """
    quorum = majority(members)
    most = len(counting) - quorum
    if most < 0 or not may_lead(members, counting, apart):
        return min(most, -1)
    linked = _linked(counting, apart)
    # As long as one lives that reaches all, their number alone decides.
    central = sum(len(others) == len(counting) for others in linked.values())
    count = max(0, min(most, central - 1))
    while len(linked) <= MOST_SETS_OF and count < most and _survives(linked, quorum, count + 1):
        count += 1
    return count


def may_lead(members: int, counting: Collection[str], apart: Collection[frozenset[str]] = ()) -> bool:
    """Tell whether one of the voters that count exchanges messages with a majority, itself included.

    Args:
        members: As for `tolerated`.
        counting: As for `tolerated`.
        apart: As for `tolerated`.
    """
    return any(len(others) >= majority(members) for others in _linked(counting, apart).values())


def _linked(counting: Collection[str], apart: Collection[frozenset[str]]) -> dict[str, set[str]]:
    """Return with whom each voter exchanges messages, itself included."""
    return {
        name: {other for other in counting if other == name or frozenset((name, other)) not in apart}
        for name in counting
    }


def _survives(linked: dict[str, set[str]], quorum: int, failing: int) -> bool:
    """Tell whether somebody may lead after any `failing` voters failed."""
    return all(
        any(len(linked[name].intersection(left)) >= quorum for name in left)
        for left in combinations(linked, len(linked) - failing)
    )
