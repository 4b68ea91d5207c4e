"""Thousands of random schedules against the rule, and the rule's wrong readings against the simulator.

`P2P_SEED` repeats a run; `P2P_SCHEDULES` sets how many schedules there are.
"""

import math
import os
import secrets

import pytest

from p2p_orchestrator.leadership import Kind, Leadership, Request, Timing
from p2p_orchestrator.store import LEADER, TERM, Swap, View
from tests.unit.orchestrator.simulator import Factory, Simulation, Violation

SCHEDULES = int(os.environ.get("P2P_SCHEDULES", "12000"))
CHUNKS = 12
SEED = int(os.environ.get("P2P_SEED", "0")) or secrets.randbelow(10**9)


def first_violation(seeds: range, factory: Factory = Leadership) -> str | None:
    for seed in seeds:
        violation = violated(seed, factory)
        if violation is not None:
            return f"P2P_SEED={seed} P2P_SCHEDULES={CHUNKS}: {violation}"
    return None


def violated(seed: int, factory: Factory) -> Violation | None:
    try:
        Simulation(seed, factory).run()
    except Violation as violation:
        return violation
    return None


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_no_schedule_breaks_a_promise(chunk: int) -> None:
    size = max(1, SCHEDULES // CHUNKS)
    begin = SEED + chunk * size
    assert first_violation(range(begin, begin + size)) is None


def test_a_schedule_repeats_exactly() -> None:
    runs = [Simulation(7), Simulation(7)]
    for run in runs:
        run.run()
    assert runs[0].tokens == runs[1].tokens
    assert runs[0].store == runs[1].store
    assert runs[0].tokens


class ReReadExtends(Leadership):
    """Takes a record of its own, read again, for a confirmation."""

    def _saw(self, view: View, sent: float, now: float) -> None:
        super()._saw(view, sent, now)
        if self._mine() and not self.resigning:
            self.deadline = now + self.timing.validity


class SeenAtSending(Leadership):
    """Counts a record's age from when the request left."""

    def _saw(self, view: View, sent: float, now: float) -> None:
        changed = self.view is None or view.leader != self.view.leader
        super()._saw(view, sent, now)
        if changed:
            self._first_seen = sent


class CountsFromArrival(Leadership):
    """Counts its validity from when the answer arrived."""

    def _confirmed(self, request: Request, sent: float, now: float, revision: int) -> None:
        del sent
        super()._confirmed(request, now, now, revision)


class CreatesIfAbsent(Leadership):
    """Compares the record alone, not the term."""

    def _acquire(self, view: View) -> Request:
        swap = super()._acquire(view).swap
        assert swap is not None
        return Request(Kind.ACQUIRE, Swap({LEADER: view.leader}, swap.put))


class NamesTheNode(Leadership):
    """Takes a record of its name for its own, whichever process wrote it."""

    def _mine(self) -> bool:
        return self.record is not None and self.record.node == self.node


class IgnoresTheEpoch(Leadership):
    """Counts terms on from what a restored snapshot holds."""

    def _acquire(self, view: View) -> Request:
        swap = super()._acquire(view).swap
        assert swap is not None
        term = int(view.term.value or b"0") + 1
        return Request(Kind.ACQUIRE, Swap(swap.expect, {**swap.put, TERM: str(term).encode()}))


class NamesForEver(Leadership):
    """Names the leader of the record for as long as it stands there."""

    def _saw(self, view: View, sent: float, now: float) -> None:
        super()._saw(view, sent, now)
        self._believed_until = math.inf


class Impatient(Leadership):
    """Takes a record over before its holder's validity ends."""

    def __init__(self, node: str, incarnation: str) -> None:
        super().__init__(node, incarnation, Timing(takeover=9.0))


class Sleeps(Leadership):
    """Never takes over from a holder that is gone."""

    def _free(self, now: float) -> bool:
        return self.view is not None and not self.view.leader.revision and not self.is_leader(now)


@pytest.mark.parametrize(
    "wrong",
    [
        ReReadExtends,
        SeenAtSending,
        CountsFromArrival,
        CreatesIfAbsent,
        NamesTheNode,
        IgnoresTheEpoch,
        NamesForEver,
        Impatient,
        Sleeps,
    ],
)
def test_the_simulator_finds_a_wrong_rule(wrong: type[Leadership]) -> None:
    assert first_violation(range(3000), wrong) is not None
