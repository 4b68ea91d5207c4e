"""Who leads: the rule as pure code, without I/O and without a clock of its own.

etcd (or one machine's file lock) decides by compare-and-swap; this keeps a lease on its decision. A driver
asks `poll` what to send, reads the clock before it sends, and hands the outcome to `answer`. All times are
seconds of one machine's `CLOCK_BOOTTIME`. That a holder counts from before its request left (`validity`)
and all others from when the answer arrived (`takeover`, longer) is what keeps two leaders apart: a renewal
takes effect between the two moments. The idea is the lease of Gray and Cheriton, "Leases: An Efficient
Fault-Tolerant Mechanism for Distributed File Cache Consistency" (SOSP 1989).
"""

import json
import math
from dataclasses import dataclass, replace
from enum import Enum

from p2p_orchestrator import reader, wire
from p2p_orchestrator.reader import UnfitError
from p2p_orchestrator.store import EPOCH, LEADER, TERM, Entry, Swap, View

EPOCH_SPAN = 1_000_000
"""Terms of one recovery epoch: an epoch may be a Unix time and the term still fits a JSON number."""


@dataclass(frozen=True)
class Timing:
    """The rule's times, in seconds.

    `validity` (how long a confirmed swap lets its holder lead) must stay below `takeover` (how long a
    record must be seen unchanged before another may take it) by more than the machines' clocks drift apart
    meanwhile.
    """

    validity: float = 10.0
    takeover: float = 12.0
    renew: float = 2.5
    poll: float = 1.0


@dataclass(frozen=True)
class Record:
    """Who holds the leadership: a node and the one process on it that may call itself holder."""

    node: str
    incarnation: str
    term: int

    def encode(self) -> bytes:
        """Return the bytes that stand in the store."""
        return json.dumps({"incarnation": self.incarnation, "node": self.node, "term": self.term}).encode()

    @classmethod
    def decode(cls, value: bytes) -> "Record | None":
        """Return the record that `value` holds, or None if it holds none."""
        try:
            data = reader.decode(value)
            return cls(
                reader.name(data.get("node"), "node"),
                wire.incarnation(data.get("incarnation")),
                reader.whole(data.get("term"), "term"),
            )
        except UnfitError:
            return None


class Kind(Enum):
    """What a request is for."""

    READ = "read"
    ACQUIRE = "acquire"
    RENEW = "renew"
    RESIGN = "resign"


@dataclass(frozen=True)
class Request:
    """One request to the store: a read, or a swap with what it writes."""

    kind: Kind
    swap: Swap | None = None


@dataclass(frozen=True)
class Swapped:
    """A swap took effect at this revision."""

    revision: int


class Lost:
    """A swap was refused: a key was not as expected."""


class Unknown:
    """No answer: the request may take effect at any time, or never."""


Answer = View | Swapped | Lost | Unknown


def _number(entry: Entry) -> int:
    """Return the number that `entry` holds, 0 if absent. Raises UnfitError for anything else."""
    return reader.digits(entry.value, "the term or the epoch") if entry.revision else 0


def _next_term(view: View) -> int:
    """Return the term after those in `view`. Raises UnfitError if a number in it is none.

    A restored snapshot brings old terms back; the epoch that recovery writes lifts the next above.
    """
    return max(_number(view.term), _number(view.epoch) * EPOCH_SPAN) + 1


@dataclass(frozen=True)
class Token:
    """Proof of a term: `term` and `epoch` as the leader wrote them. Every leader write compares both."""

    term: Entry
    epoch: Entry

    @property
    def number(self) -> tuple[int, int]:
        """The recovery epoch and the revision of `term`: rises with every change of leader."""
        return (_number(self.epoch), self.term.revision)

    def expectations(self) -> dict[str, Entry]:
        """Return what a leader write has to compare."""
        return {TERM: self.term, EPOCH: self.epoch}


class Leadership:
    """One process's part in the election.

    Args:
        node: This node's name.
        incarnation: A random text that no other process shares, not even this node's next one.
        timing: The rule's times.
    """

    def __init__(self, node: str, incarnation: str, timing: Timing | None = None) -> None:
        self.node = node
        self.incarnation = incarnation
        self.timing = timing or Timing()
        self.view: View | None = None
        self.record: Record | None = None
        """The record as last seen in the store."""
        self.deadline = -math.inf
        self.wake = -math.inf
        self.resigning = False
        self._busy = False
        self._must_read = True
        self._first_seen = math.inf
        self._read_sent = -math.inf
        self._believed_until = -math.inf

    def is_leader(self, now: float) -> bool:
        """Tell whether this process leads at `now`. Work it out at every use; never keep the answer."""
        return now < self.deadline

    @property
    def term(self) -> int:
        """The term as last seen, 0 if there was none yet."""
        return _number(self.view.term) if self.view else 0

    @property
    def token(self) -> Token | None:
        """The fencing token of the term as last seen; only worth something while `is_leader`."""
        return Token(self.view.term, self.view.epoch) if self.view else None

    @property
    def resigned(self) -> bool:
        """Whether a resignation is complete: as far as it can know, no record names this process."""
        return self.resigning and not self._busy and not self._must_read and not self._mine()

    def leader(self, now: float) -> tuple[str, float] | None:
        """Return the leader's name and for how many seconds that still holds, or None.

        Another's record counts only if it was seen to change: one that was there at the first look may be
        a dead leader's.
        """
        if self.is_leader(now):
            return self.node, self.deadline - now
        record = self.record
        if record is None or self._mine() or now >= self._believed_until:
            return None
        return record.node, self._believed_until - now

    def poll(self, now: float) -> Request | None:
        """Return the request that is due at `now`, if any. `answer` must be given its outcome next."""
        if self._busy or now < self.wake:
            return None
        request = self._due(now)
        self._busy = request is not None
        return request

    def answer(self, request: Request, sent: float, now: float, answer: Answer) -> None:
        """Take in the outcome of a request.

        Args:
            request: As `poll` gave it.
            sent: The time read before the request left.
            now: The time read after its answer arrived.
            answer: What came back.

        Raises:
            UnfitError: The store holds a term or an epoch that is no number, or after which there is none.
        """
        self._busy = False
        if isinstance(answer, View):
            self._must_read = False
            self._saw(answer, sent, now)
        elif isinstance(answer, Swapped):
            self._confirmed(request, sent, now, answer.revision)
        else:
            if isinstance(answer, Lost):
                self.deadline = -math.inf
            self._must_read = True
        self._plan(request, sent, now, answer)

    def resign(self) -> None:
        """Stop leading at once, and for good; `poll` then gives what clears the record."""
        self.deadline = -math.inf
        self.resigning = True
        self.wake = -math.inf

    def fenced(self, token: Token) -> None:
        """Take in that a leader write with `token` was refused: whoever holds that token leads no more."""
        if self.token == token:
            self.deadline = -math.inf
            self._must_read = True
            self.wake = -math.inf

    def _due(self, now: float) -> Request | None:
        view = self.view
        if view is None or self._must_read:
            return Request(Kind.READ)
        if self.resigning:
            return (
                Request(Kind.RESIGN, Swap({LEADER: view.leader}, delete=(LEADER,))) if self._mine() else None
            )
        if self.is_leader(now):
            expect = {LEADER: view.leader, TERM: view.term, EPOCH: view.epoch}
            return Request(Kind.RENEW, Swap(expect, put={LEADER: view.leader.value}))
        if self._free(now):
            return self._acquire(view)
        return Request(Kind.READ)

    def _acquire(self, view: View) -> Request:
        term = _next_term(view)
        record = Record(self.node, self.incarnation, term)
        expect = {LEADER: view.leader, TERM: view.term, EPOCH: view.epoch}
        return Request(Kind.ACQUIRE, Swap(expect, put={LEADER: record.encode(), TERM: str(term).encode()}))

    def _mine(self) -> bool:
        record = self.record
        return record is not None and record.incarnation == self.incarnation

    def _free(self, now: float) -> bool:
        """Tell whether the record may be taken: none, our own but expired, or unchanged for long."""
        if self.view is None or self.is_leader(now):
            return False
        return not self.view.leader.revision or self._mine() or now >= self._first_seen + self.timing.takeover

    def _set(self, view: View) -> None:
        if self.view is None or view.leader.value != self.view.leader.value:
            self.record = Record.decode(view.leader.value)
        self.view = view

    def _saw(self, view: View, sent: float, now: float) -> None:
        reader.whole(_next_term(view), "the next term")
        if self.view is None or view.leader != self.view.leader:
            self._first_seen = now
            # Written after the previous read left, so its holder may lead for `validity` from about then.
            self._believed_until = self._read_sent + self.timing.validity if self.view else -math.inf
        self._read_sent = sent
        self._set(view)
        if not self._mine():
            self.deadline = -math.inf

    def _confirmed(self, request: Request, sent: float, now: float, revision: int) -> None:
        view = self.view
        if view is None or request.swap is None:
            return
        put = request.swap.put
        self._read_sent, self._first_seen = sent, now
        if request.kind is Kind.RESIGN:
            self._set(replace(view, leader=Entry()))
        elif request.kind is Kind.RENEW:
            self._set(replace(view, leader=Entry(put[LEADER], revision)))
            # An answer that came too late finds a holder that expired: it acquires anew.
            self.deadline = sent + self.timing.validity if self.is_leader(now) else -math.inf
        else:
            self._set(View(Entry(put[LEADER], revision), Entry(put[TERM], revision), view.epoch))
            self.deadline = -math.inf if self.resigning else sent + self.timing.validity

    def _plan(self, request: Request, sent: float, now: float, answer: Answer) -> None:
        """Set when the next request is due."""
        if isinstance(answer, Unknown) or (isinstance(answer, Lost) and request.kind is Kind.ACQUIRE):
            self.wake = max(now, sent + self.timing.poll)
        elif isinstance(answer, Lost) or self.resigning:
            self.wake = now
        elif self.is_leader(now):
            # A read while leading follows an unknown outcome: renew at once.
            self.wake = now if request.kind is Kind.READ else max(now, sent + self.timing.renew)
        elif self._free(now):
            self.wake = now
        else:
            self.wake = max(now, min(sent + self.timing.poll, self._first_seen + self.timing.takeover))
