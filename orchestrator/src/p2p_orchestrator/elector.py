"""Drives the rule of `leadership` against a real store and clock, and logs what becomes of it."""

import asyncio
import contextlib
import math
from collections.abc import Callable

from p2p_orchestrator import log
from p2p_orchestrator.clock import boottime
from p2p_orchestrator.leadership import (
    Answer,
    Kind,
    Leadership,
    Lost,
    Request,
    Swapped,
    Unknown,
)
from p2p_orchestrator.reader import UnfitError
from p2p_orchestrator.store import ROSTER, Store, StoreError, Swap, View
from p2p_orchestrator.unfit import Unfit

IDLE_SECONDS = 1.0


class Elector:
    """One voter's agent in the election.

    Args:
        leadership: The state machine.
        store: What decides.
        changed: Called without arguments whenever this process starts or stops leading.
        unfit: Told what the store holds that does not fit.
    """

    def __init__(
        self, leadership: Leadership, store: Store, changed: Callable[[], None], unfit: Unfit
    ) -> None:
        self.leadership = leadership
        self.store = store
        self.store_error: str | None = "not asked yet"
        self.reached = False
        self.answered_at = -math.inf
        """When the last request left that the store answered: a majority of the members was up after that."""
        self.terms_won = 0
        self._changed = changed
        self._unfit = unfit
        self._failing = False
        self._poke = asyncio.Event()
        self._ended = asyncio.Event()
        self._led: int | None = None
        self._deadline = -math.inf

    async def run(self) -> None:
        """Take part until a resignation is complete."""
        while not self.leadership.resigned:
            now = boottime()
            request = self.leadership.poll(now)
            if request is None:
                await self._wait(now)
            else:
                sent = boottime()
                outcome = await self._send(request, sent)
                self._take(request, sent, outcome)
            self._observe()
        self._ended.set()

    async def resign(self, seconds: float) -> None:
        """Stop leading now and clear the record within `seconds`; `run` then ends."""
        self.leadership.resign()
        self._observe()
        self._poke.set()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._ended.wait(), seconds)

    async def publish(self, roster: bytes) -> bool:
        """Write the roster as the leader of the present term; return whether the store took it."""
        token = self.leadership.token
        if token is None or not self.leadership.is_leader(boottime()):
            return False
        try:
            revision = await self.store.swap(Swap(token.expectations(), put={ROSTER: roster}))
        except StoreError as error:
            log.event("roster_not_written", "warning", reason=str(error))
            return False
        if revision is None:
            log.event("leader_write_refused", "warning", epoch=token.number[0], fence=token.number[1])
            self.leadership.fenced(token)
            self._observe()
            self._poke.set()
        return revision is not None

    async def _wait(self, now: float) -> None:
        ends = [self.leadership.wake, now + IDLE_SECONDS]
        if self.leadership.is_leader(now):
            ends.append(self.leadership.deadline)
        self._poke.clear()
        try:
            await asyncio.wait_for(self._poke.wait(), max(0.0, min(ends) - now))
        except asyncio.TimeoutError:
            return

    async def _send(self, request: Request, sent: float) -> Answer:
        try:
            if request.swap is None:
                answer: Answer = await self.store.read()
            else:
                revision = await self.store.swap(request.swap)
                answer = Lost() if revision is None else Swapped(revision)
        except StoreError as error:
            self._failed(error)
            return Unknown()
        if self.store_error is not None:
            log.event("store_answers", store=self.store.kind)
        self._failing, self.store_error, self.reached, self.answered_at = False, None, True, sent
        return answer

    def _failed(self, error: StoreError) -> None:
        if not self._failing:
            log.event("store_unavailable", "warning", reason=str(error))
        self._failing, self.store_error = True, str(error)
        self.reached = self.reached or error.reached

    def _take(self, request: Request, sent: float, outcome: Answer) -> None:
        try:
            self.leadership.answer(request, sent, boottime(), outcome)
        except UnfitError as error:
            self._unfit.note("term", "store", str(error))
            self.leadership.wake = boottime() + self.leadership.timing.poll
            self.store_error = f"the term or the epoch in the store cannot be used: {error}"
        if isinstance(outcome, View) and outcome.leader.revision and self.leadership.record is None:
            self._unfit.note("record", "store", "the leader's record is none")
        if request.kind is Kind.ACQUIRE and isinstance(outcome, Lost):
            log.event("election_lost", term=self.leadership.term)

    def _observe(self) -> None:
        """Log a beginning and an end of leading, with the exact times that they hold from and to."""
        now, lead = boottime(), self.leadership
        term = lead.term if lead.is_leader(now) else None
        if term != self._led:
            if self._led is not None:
                log.event("leader_lost", term=self._led, until=min(now, self._deadline))
            if term is not None:
                self.terms_won += 1
                epoch, fence = lead.token.number if lead.token else (0, 0)
                log.event("leader_acquired", term=term, epoch=epoch, fence=fence, since=now)
            self._led = term
            self._changed()
        if term is not None:
            self._deadline = lead.deadline
