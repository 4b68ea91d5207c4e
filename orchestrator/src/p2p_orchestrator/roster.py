"""The leader's write: which nodes are alive, by union of what all voters heard."""

import asyncio
import json
import time

from p2p_orchestrator.clock import boottime
from p2p_orchestrator.elector import Elector
from p2p_orchestrator.node import Node
from p2p_orchestrator.reader import UnfitError
from p2p_orchestrator.store import ROSTER, StoreError
from p2p_orchestrator.wire import roster_names

CHECK_SECONDS = 1.0
WRITE_SECONDS = 30.0


class RosterKeeper:
    """Reads the names in the roster at the start, and writes it while this node leads."""

    def __init__(self, node: Node, elector: Elector) -> None:
        self._node = node
        self._elector = elector
        self._written: tuple[int, dict[str, str]] | None = None
        self._due = 0.0
        self._learned = False

    async def run(self) -> None:
        """Work for ever."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            now = boottime()
            if not self._learned and self._elector.store_error is None:
                await self._learn()
            if self._node.leads(now) and self._learned:
                await self._write(now)
            self._node.members.sweep(now)

    async def _learn(self) -> None:
        """Take the names of the last roster: who died while this voter was away is a row, not a gap."""
        try:
            entry = await self._elector.store.get(ROSTER)
            if entry.revision:
                self._node.members.learn(roster_names(entry.value), boottime())
        except StoreError:
            return
        except UnfitError as error:
            self._node.unfit.note("roster", "store", str(error))
        self._learned = True

    async def _write(self, now: float) -> None:
        members, term = self._node.members, self._elector.leadership.term
        states = {name: members.state(name, now) for name in members.names()}
        if self._written == (term, states) and now < self._due:
            return
        roster = {
            "conflicts": [name for name in states if members.conflict(name, now)],
            "leader": self._node.config.node_id,
            "nodes": states,
            "term": term,
            "written_at": round(time.time(), 3),
        }
        if await self._elector.publish(json.dumps(roster).encode()):
            self._written, self._due = (term, states), now + WRITE_SECONDS
