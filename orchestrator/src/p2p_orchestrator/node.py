"""What this node knows at a moment: the one place where store, heartbeats and membership come together."""

import json
import math
import time
from collections import Counter
from dataclasses import dataclass, field

from p2p_orchestrator import __version__
from p2p_orchestrator.beliefs import Beliefs
from p2p_orchestrator.clock import boottime
from p2p_orchestrator.config import Config
from p2p_orchestrator.elector import Elector
from p2p_orchestrator.membership import ALIVE, WINDOW, Members
from p2p_orchestrator.refusals import Refusals
from p2p_orchestrator.resources import Figures
from p2p_orchestrator.unfit import Unfit

Info = dict[str, float | int | str | bool]
SLOW_SECONDS = 0.5
DISK_FULL_PERCENT = 90.0


@dataclass
class Node:
    """This process's knowledge.

    Attributes:
        elector: A voter's agent, None on other nodes.
        figures: This machine's figures as last sampled.
        refused: Refused heartbeats, by reason.
        refusals: Connections, and requests to the endpoints, that were refused.
        unfit: What else was read and did not fit.
        settings_digest: SHA-256 of the settings file that this process runs on, None where there is none.
        asked: Since when voters are asked that were none at the start, in seconds of `CLOCK_BOOTTIME`.
    """

    config: Config
    incarnation: str
    members: Members
    beliefs: Beliefs = field(default_factory=Beliefs)
    elector: Elector | None = None
    figures: Figures = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    heartbeats: Counter[str] = field(default_factory=Counter)
    refusals: Refusals = field(default_factory=Refusals)
    unfit: Unfit = field(default_factory=Unfit)
    started: float = field(default_factory=boottime)
    asked: dict[str, float] = field(default_factory=dict)
    conflicting: bool = False
    settings_digest: str | None = None
    _slow: tuple[float, bytes] = (-math.inf, b"")

    def take_up(self, config: Config, now: float) -> None:
        """Run on with other settings, and forget what only those told who are no voters any more."""
        before, self.config = self.config, config
        self._slow = (-math.inf, b"")
        if (before.voters, before.seeds) == (config.voters, config.seeds):
            return
        # Without names, nobody can say which of the addresses an answer came from.
        kept = set(before.voters) & set(config.voters)
        self.beliefs.keep(kept)
        self.asked = {
            voter: self.asked.get(voter, self.started) if voter in kept else now for voter in config.voters
        }
        self.conflicting = False
        self.members.fix(config.voters, now)

    def leads(self, now: float) -> bool:
        """Tell whether this process leads."""
        return self.elector is not None and self.elector.leadership.is_leader(now)

    def leader(self, now: float) -> tuple[str | None, int, float]:
        """Return the leader's name or None, the term, and for how many seconds the name still holds.

        A voter's store comes first while it answers: one voter that lies cannot outbid it. Else its last
        word and the voters' answers count alike: the valid one with the highest term. Nobody but the state
        machine says that this node leads.
        """
        told = self.beliefs.leader(now)
        term = self.beliefs.term()
        if self.elector is not None:
            lead = self.elector.leadership
            term = max(term, lead.term)
            own = lead.leader(now)
            answers = self.elector.store_error is None
            if own is not None and (answers or lead.is_leader(now)):
                return own[0], lead.term, own[1]
            if own is not None and (told is None or told[1] <= lead.term):
                return own[0], lead.term, own[1]
        if told is None or told[0] == self.config.node_id:
            return None, term, 0.0
        return told[0], told[1], told[2]

    def role(self, now: float) -> str:
        """Return "leader" or "follower"."""
        return "leader" if self.leads(now) else "follower"

    def voters(self) -> tuple[str, ...]:
        """Return the voters' names; without any, this node if it decides alone, else those that answered."""
        if self.config.voters:
            return self.config.voters
        if self.config.alone:
            return (self.config.node_id,)
        return self.beliefs.voters()

    def voter_states(self, now: float) -> dict[str, str]:
        """Return each voter's state: alive, dead or unknown."""
        if self.config.voter:
            return {voter: self.members.state(voter, now) for voter in self.voters()}
        since = {voter: self.asked.get(voter, self.started) for voter in self.voters()}
        return {voter: self.beliefs.state(voter, now, since[voter]) for voter in since}

    def quorum_size(self) -> int:
        """Return how many voters are a majority."""
        return max(len(self.config.voters), len(self.config.seeds), 1) // 2 + 1

    def quorum_age(self, now: float) -> float | None:
        """Return how long ago a majority of the voters last proved to be there, None if never.

        A linearizable answer of the store is such a proof.
        """
        times = [self.beliefs.quorum_at()]
        if self.elector is not None and math.isfinite(self.elector.answered_at):
            times.append(self.elector.answered_at)
        return max(0.0, now - max(known)) if (known := [t for t in times if t is not None]) else None

    def quorum_ok(self, now: float) -> bool:
        """Tell whether a majority of the voters is alive and the store proved it within the window."""
        age = self.quorum_age(now)
        alive = sum(state == ALIVE for state in self.voter_states(now).values())
        return age is not None and age <= WINDOW and alive >= self.quorum_size()

    def counts(self, now: float) -> tuple[int, int]:
        """Return how many other nodes are alive and how many are known; a non-voter repeats the voters."""
        if self.config.voter:
            return len(self.members.alive(now) - {self.config.node_id}), len(self.members.names()) - 1
        told = self.beliefs.counts(now)
        return (max(0, told[0] - 1), max(0, told[1] - 1)) if told else (0, len(self.voters()))

    def info(self, now: float) -> Info:
        """Return what this node tells of itself."""
        leader = self.leader(now)[0]
        advertise = self.config.advertise
        cpu, memory = float(self.figures.get("cpu_percent", 0)), float(self.figures.get("memory_percent", 0))
        return {
            "host": advertise.host,
            "port": advertise.port,
            "scheme": advertise.scheme,
            "role": self.role(now),
            "leader_id": leader or "",
            "version": __version__,
            "disk_cleanup_needed": float(self.figures.get("disk_percent", 0)) >= DISK_FULL_PERCENT,
            "load_score": (cpu + memory) / 2,
            **self.figures,
        }

    def answer(self, node: str, now: float) -> bytes:
        """Return what a voter tells a node that sent a heartbeat, as JSON.

        The leader is worked out for each; what takes long to count is at most `SLOW_SECONDS` old.
        """
        if not 0 <= now - self._slow[0] < SLOW_SECONDS:
            slow = {
                "node_id": self.config.node_id,
                "voters": self.voter_states(now),
                "alive": len(self.members.alive(now)),
                "known": len(self.members.names()),
                "info": self.info(now),
            }
            self._slow = (now, json.dumps(slow).encode())
        leader, term, remaining = self.leader(now)
        fast = {
            "leader_id": leader,
            "term": term,
            "remaining": remaining,
            "quorum_age": self.quorum_age(now),
            "conflict": self.members.conflict(node, now),
        }
        return self._slow[1][:-1] + b", " + json.dumps(fast).encode()[1:]

    def wall(self, age: float) -> float:
        """Return the Unix time of `age` seconds ago."""
        return time.time() - age
