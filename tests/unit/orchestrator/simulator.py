"""A deterministic simulator of elections: the real state machine; a store, clocks and a network of its own.

One seed is one schedule. Time passes in two kinds: the world's, and each process's, up to 1 % fast or slow.
Requests and answers are lost, delayed, doubled and overtaken; processes freeze, crash, resign and restart;
two may share a name; the store loses its majority; a snapshot is restored. After the faults comes a quiet
time in which a leader must be found.
"""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from p2p_orchestrator.leadership import (
    Answer,
    Kind,
    Leadership,
    Lost,
    Record,
    Request,
    Swapped,
    Token,
    Unknown,
)
from p2p_orchestrator.store import EPOCH, LEADER, ROSTER, TERM, Entry, Swap, View

TIMEOUT = 2.0
FAULTS_END = 45.0
FOUND_WITHIN = 20.0
LATE = 30.0

Factory = Callable[[str, str], Leadership]


class Violation(AssertionError):  # noqa: N818  # it names what was found, not a failure of the simulator
    """A schedule broke a promise."""


@dataclass
class Store:
    """What etcd is to the rule: revisions, one order of all requests."""

    keys: dict[str, Entry] = field(default_factory=dict)
    revision: int = 1
    up: bool = True

    def get(self, key: str) -> Entry:
        return self.keys.get(key, Entry())

    def read(self) -> View:
        return View(self.get(LEADER), self.get(TERM), self.get(EPOCH))

    def swap(self, swap: Swap) -> Answer:
        if any(self.get(key) != entry for key, entry in swap.expect.items()):
            return Lost()
        self.revision += 1
        for key, value in swap.put.items():
            self.keys[key] = Entry(value, self.revision)
        for key in swap.delete:
            self.keys.pop(key, None)
        return Swapped(self.revision)


@dataclass
class Process:
    """One agent's process, with its own clock."""

    lead: Leadership
    rate: float
    offset: float
    alive: bool = True
    frozen_until: float = 0.0
    waiting_for: int = 0
    step: int = 0
    term_led: int = 0
    sends: float = 1.0
    hears: float = 1.0
    stall: float = 0.0
    lag: float = 0.0

    def local(self, time: float) -> float:
        return self.offset + self.rate * time

    def world(self, local: float) -> float:
        return (local - self.offset) / self.rate


@dataclass(frozen=True)
class Weather:
    """How the network is in one schedule."""

    loss: float
    doubled: float
    late: float
    delay: float


class Simulation:
    """One schedule. `run` raises `Violation` where a promise is broken."""

    def __init__(self, seed: int, factory: Factory = Leadership) -> None:
        self.random = random.Random(seed)  # noqa: S311  # schedules, no secrets
        self.factory = factory
        self.now = 0.0
        self.store = Store()
        self.processes: list[Process] = []
        self.written: dict[str, float] = {}
        self.tokens: list[tuple[int, int]] = []
        self.roster_token = (0, 0)
        self.highest_term = 0
        self.written_term = 0
        self._queue: list[tuple[float, int, bool, Callable[[], None]]] = []
        self._order = 0
        self._requests = 0
        self._incarnations = 0
        self._quiet = False
        self.found = False
        choose = self.random.choice
        self.weather = Weather(
            loss=choose((0.0, 0.0, 0.05, 0.3)),
            doubled=choose((0.0, 0.1)),
            late=choose((0.0, 0.02, 0.1)),
            delay=choose((0.002, 0.02, 0.2)),
        )

    def run(self) -> None:
        names = [f"voter-{i}" for i in range(self.random.choice((2, 3, 3, 5)))]
        if self.random.random() < 0.2:
            names.append(names[0])
        for name in names:
            self._start(name)
        for _ in range(self.random.randint(1, 8)):
            self._at(self.random.uniform(0.0, FAULTS_END), self._fault)
        self._until(FAULTS_END)
        self._calm()
        self._until(FAULTS_END + FOUND_WITHIN)
        if not self.found:
            raise Violation(f"no leader {FOUND_WITHIN:.0f} s after the last fault")

    def _until(self, end: float) -> None:
        while self._queue and self._queue[0][0] <= end:
            self.now, _, _, action = heapq.heappop(self._queue)
            action()
        self.now = end

    def _at(self, time: float, action: Callable[[], None], *, request: bool = False) -> None:
        """Do it then; `request` marks what is on its way to the store."""
        self._order += 1
        heapq.heappush(self._queue, (max(time, self.now), self._order, request, action))

    def _drop_requests(self) -> None:
        self._queue = [item for item in self._queue if not item[2]]
        heapq.heapify(self._queue)

    def _start(self, name: str) -> None:
        self._incarnations += 1
        process = Process(
            self.factory(name, f"i{self._incarnations}"),
            rate=self.random.uniform(0.99, 1.01),
            offset=self.random.uniform(0.0, 1e5),
        )
        self.processes.append(process)
        self._at(self.now + self.random.uniform(0.0, 1.0), lambda: self._step(process, 0))

    # What processes do.

    def _step(self, process: Process, number: int) -> None:
        if not process.alive or number != process.step:
            return
        if self._deferred(process, lambda: self._step(process, number)):
            return
        local = process.local(self.now)
        request = process.lead.poll(local)
        if request is not None:
            self._send(process, request, local)
        elif process.lead.resigned:
            self._crash(process)
        elif not process.waiting_for:
            self._next_step(process, process.world(process.lead.wake))
        if self.random.random() < 0.05 and process.lead.is_leader(local):
            self._publish(process)

    def _next_step(self, process: Process, time: float) -> None:
        process.step += 1
        number = process.step
        self._at(max(time, self.now + 1e-6), lambda: self._step(process, number))

    def _deferred(self, process: Process, action: Callable[[], None]) -> bool:
        """A frozen process does it when it wakes, in no certain order."""
        if self.now >= process.frozen_until:
            return False
        self._at(process.frozen_until + self.random.random() * 1e-6, action)
        return True

    def _send(self, process: Process, request: Request, sent: float) -> None:
        self._requests += 1
        number = process.waiting_for = self._requests
        held = self._held_up(process, request)
        for _ in range(2 if self.random.random() < self.weather.doubled and not self._quiet else 1):
            if self.random.random() < process.sends * (1.0 - self.weather.loss) or self._quiet:
                self._at(
                    self.now + held + self._delay(),
                    lambda: self._arrive(process, number, request, sent),
                    request=True,
                )
        self._at(
            self.now + TIMEOUT / process.rate, lambda: self._answer(process, number, request, sent, Unknown())
        )

    def _held_up(self, process: Process, request: Request) -> float:
        """Return for how long a fault holds this request up; a stalled process is frozen as long."""
        stall, process.stall = process.stall, 0.0
        if stall:
            process.frozen_until = min(self.now + stall + 0.5, FAULTS_END)
        lag = 0.0
        if request.kind is Kind.ACQUIRE:
            lag, process.lag = process.lag, 0.0
        return stall + lag

    def _delay(self) -> float:
        delay = self.random.expovariate(1.0 / self.weather.delay)
        late = not self._quiet and self.random.random() < self.weather.late
        return delay + (self.random.uniform(0.5, LATE) if late else 0.0)

    def _arrive(self, process: Process, number: int, request: Request, sent: float) -> None:
        if not self.store.up:
            if self.random.random() < 0.5:
                self._at(
                    self.now + self._delay(), lambda: self._answer(process, number, request, sent, Unknown())
                )
            return
        answer = self.store.read() if request.swap is None else self.store.swap(request.swap)
        if isinstance(answer, Swapped) and request.kind is not Kind.RESIGN:
            self.written[process.lead.node] = self.now
            self._check_token(request)
        if self.random.random() < process.hears * (1.0 - self.weather.loss) or self._quiet:
            self._at(self.now + self._delay(), lambda: self._answer(process, number, request, sent, answer))

    def _answer(self, process: Process, number: int, request: Request, sent: float, answer: Answer) -> None:
        if not process.alive or number != process.waiting_for:
            return
        if self._deferred(process, lambda: self._answer(process, number, request, sent, answer)):
            return
        process.waiting_for = 0
        process.lead.answer(request, sent, process.local(self.now), answer)
        self._check(process)
        self._next_step(process, process.world(process.lead.wake))

    def _publish(self, process: Process) -> None:
        token = process.lead.token
        assert token is not None
        self._at(self.now + self._delay(), lambda: self._arrive_roster(process, token), request=True)

    def _arrive_roster(self, process: Process, token: Token) -> None:
        swap = Swap(token.expectations(), put={ROSTER: b"x"})
        if self.store.up and isinstance(self.store.swap(swap), Swapped):
            if token.number < self.roster_token:
                raise Violation(f"the store took a write with an old token {token.number}")
            self.roster_token = token.number
        elif self.store.up and process.alive:
            process.lead.fenced(token)
            self._check(process)

    # What must hold.

    def _check(self, process: Process) -> None:
        leaders = [p for p in self.processes if p.alive and p.lead.is_leader(p.local(self.now))]
        self.found = self.found or (self._quiet and bool(leaders))
        if len(leaders) > 1:
            names = [(p.lead.node, p.lead.incarnation, p.lead.term) for p in leaders]
            raise Violation(f"two leaders at {self.now:.3f} s: {names}")
        lead, local = process.lead, process.local(self.now)
        if lead.is_leader(local) and lead.term != process.term_led:
            if lead.term <= self.highest_term:
                raise Violation(f"term {lead.term} after {self.highest_term} at {self.now:.3f} s")
            self.highest_term = process.term_led = lead.term
        named = lead.leader(local)
        if named is not None:
            age = self.now - self.written.get(named[0], -1e9)
            if age + named[1] / process.rate > lead.timing.validity * 1.02:
                raise Violation(
                    f"{named[0]} is named {age:.3f} s after its last write, for {named[1]:.3f} s more"
                )

    def _check_token(self, request: Request) -> None:
        if request.kind is not Kind.ACQUIRE:
            return
        view = self.store.read()
        token = Token(view.term, view.epoch).number
        term = int(view.term.value)
        if term <= self.written_term:
            raise Violation(f"term {term} is written after {self.written_term}")
        self.written_term = term
        if self.tokens and token <= self.tokens[-1]:
            raise Violation(f"token {token} after {self.tokens[-1]}")
        self.tokens.append(token)

    # What goes wrong.

    def _fault(self) -> None:
        faults = (
            self._freeze,
            self._stall,
            self._hand_over_twice,
            self._kill,
            self._resign,
            self._outage,
            self._cut,
            self._restore,
        )
        if not self._quiet:
            self.random.choice(faults)()

    def _victim(self) -> Process:
        running = [p for p in self.processes if p.alive]
        leaders = [p for p in running if p.lead.is_leader(p.local(self.now))]
        if leaders and self.random.random() < 0.7:
            return leaders[0]
        return self.random.choice(running or self.processes)

    def _freeze(self) -> None:
        if self._quiet:
            return
        seconds = self.random.choice((0.5, 5.0, 9.0, 11.0, 13.0, 30.0))
        self._victim().frozen_until = min(self.now + seconds, FAULTS_END)

    def _stall(self) -> None:
        """Freeze a process between reading its clock and sending, and the leader before it wakes."""
        process = self.random.choice(self.processes)
        process.stall = self.random.uniform(0.5, 11.0)
        self._at(self.now + process.stall + self.random.uniform(-1.0, 1.0), self._freeze)

    def _hand_over_twice(self) -> None:
        """Two leaders resign, one after the other, while an older attempt to follow them is under way."""
        process = self.random.choice(self.processes)
        process.lag = self.random.uniform(1.0, 15.0)
        self._resign()
        self._at(self.now + self.random.uniform(1.0, 10.0), self._resign)

    def _crash(self, process: Process) -> None:
        if process.alive:
            process.alive = False
            self._at(self.now + self.random.uniform(0.1, 20.0), lambda: self._restart(process))

    def _restart(self, process: Process) -> None:
        if process in self.processes:
            self.processes.remove(process)
            self._start(process.lead.node)

    def _kill(self) -> None:
        self._crash(self._victim())

    def _resign(self) -> None:
        if self._quiet:
            return
        process = self._victim()
        process.lead.resign()
        if not process.waiting_for:
            self._next_step(process, self.now)
        self._at(self.now + 1.2, lambda: self._crash(process))

    def _outage(self) -> None:
        self.store.up = False
        self._at(self.now + self.random.uniform(1.0, 20.0), self._return)

    def _return(self) -> None:
        self.store.up = True

    def _cut(self) -> None:
        process = self._victim()
        process.sends, process.hears = self.random.choice(((0.0, 0.0), (0.0, 1.0), (1.0, 0.0)))

        def heal() -> None:
            process.sends = process.hears = 1.0

        self._at(self.now + self.random.uniform(1.0, 25.0), heal)

    def _restore(self) -> None:
        """As recovery does it: all agents are stopped, an old snapshot comes back, the epoch is raised."""
        for process in self.processes:
            self._crash(process)
        epoch = int(self.store.get(EPOCH).value or b"0") + 1
        old = Record("voter-0", "i0", 1).encode()
        revision = self.random.randint(2, max(2, self.store.revision))
        self.store = Store({LEADER: Entry(old, revision), TERM: Entry(b"1", 2)}, revision)
        self.store.swap(Swap({}, put={EPOCH: str(epoch).encode()}))
        # Requests to the members that are gone reach nobody.
        self._drop_requests()

    def _calm(self) -> None:
        """The faults end: the store is up, all processes run, and what was late is lost."""
        self._quiet = True
        for process in self.processes:
            process.stall = process.lag = 0.0
        self.found = any(p.alive and p.lead.is_leader(p.local(self.now)) for p in self.processes)
        self.store.up = True
        self._drop_requests()
        for process in list(self.processes):
            if process.lead.resigning or not process.alive:
                process.alive = False
                self._restart(process)
        for process in self.processes:
            process.sends = process.hears = 1.0
