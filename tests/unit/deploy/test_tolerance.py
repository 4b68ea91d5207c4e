"""How many voters may fail: worked out over who exchanges messages with whom."""

from __future__ import annotations

import time
from collections.abc import Collection
from itertools import chain, combinations

import pytest
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.tolerance import majority, tolerated
from hypothesis import given
from hypothesis import strategies as st

Pairs = Collection[frozenset[str]]


def pairs(*text: str) -> list[frozenset[str]]:
    """Return pairs of voters with names of one letter."""
    return [frozenset(pair) for pair in text]


def by_definition(members: int, counting: str, apart: Pairs) -> int:
    """Return the same by looking at every set of voters that may fail."""

    def leads(left: set[str]) -> bool:
        return any(
            sum(other == one or frozenset((one, other)) not in apart for other in left) >= majority(members)
            for one in left
        )

    for count in range(len(counting) + 1):
        if not all(leads(set(counting) - set(gone)) for gone in combinations(counting, count)):
            return count - 1
    return len(counting)


@pytest.mark.parametrize(("voters", "quorum"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (7, 4), (9, 5)])
def test_a_quorum_is_a_true_majority(voters: int, quorum: int) -> None:
    assert majority(voters) == quorum


@pytest.mark.parametrize(
    ("members", "counting", "apart", "count"),
    [
        (5, "abcde", (), 2),
        (5, "abcd", (), 1),
        (5, "abc", (), 0),
        (5, "ab", (), -1),
        (3, "abc", (), 1),
        (1, "a", (), 0),
        # Whoever is left beside a and b stands between them; of three there may be nobody.
        (5, "abcde", ("ab",), 2),
        (3, "abc", ("ab",), 0),
        # Three that moved and reach the two others alone: as soon as one of these fails there is one left.
        (5, "abcde", ("ab", "ac", "bc"), 1),
        # One that reaches nobody is as good as gone.
        (5, "abcde", ("ab", "ac", "ad", "ae"), 1),
        # In a chain of seven nobody has four.
        (7, "abcdefg", [a + b for a, b in combinations("abcdefg", 2) if ord(b) - ord(a) > 1], -1),
        # In a ring of five each has three, with both its neighbours; of those left two may be no neighbours.
        (5, "abcde", ("ac", "ad", "bd", "be", "ce"), 1),
    ],
)
def test_who_may_fail(members: int, counting: str, apart: Collection[str], count: int) -> None:
    assert by_definition(members, counting, pairs(*apart)) == count
    assert tolerated(members, counting, pairs(*apart)) == count


@given(st.data())
def test_every_set_that_may_fail_is_looked_at(data: st.DataObject) -> None:
    members = data.draw(st.integers(1, 7))
    counting = "abcdefg"[: data.draw(st.integers(0, members))]
    every = [frozenset(pair) for pair in combinations(counting, 2)]
    apart = data.draw(st.sets(st.sampled_from(every))) if every else set()
    found = tolerated(members, counting, apart)
    expected = by_definition(members, counting, apart)
    assert found == expected or (found < 0 and expected < 0)


def test_many_voters_cost_nothing() -> None:
    names = [f"v{number}" for number in range(101)]
    apart = list(chain.from_iterable((frozenset(names[at : at + 2]),) for at in range(0, 40, 2)))
    assert tolerated(len(names), names, apart) == 50
    # Nobody reaches all: it promises less than is true.
    half = [frozenset((one, other)) for at, one in enumerate(names[:2]) for other in names[2 + at :: 2]]
    began = time.monotonic()
    assert tolerated(len(names), names, half) == 0
    assert time.monotonic() - began < 5
