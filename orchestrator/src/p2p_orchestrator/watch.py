"""Logs what changes: the leader, the quorum, and who is alive. One line an event, none a heartbeat."""

from p2p_orchestrator import log
from p2p_orchestrator.clock import boottime
from p2p_orchestrator.membership import UNKNOWN
from p2p_orchestrator.node import Node


class Watcher:
    """Compares what a node knows with what it knew at the last look."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._leader: str | None = None
        self._quorum = False
        self._states: dict[str, str] = {}
        self._conflicts: set[str] = set()

    def look(self) -> None:
        """Log what changed since the last look."""
        node, now = self._node, boottime()
        leader, term, _ = node.leader(now)
        if leader != self._leader:
            log.event("leader_changed", leader=leader, before=self._leader, term=term)
            self._leader = leader
        quorum = node.quorum_ok(now)
        if quorum != self._quorum:
            alive = sum(state == "alive" for state in node.voter_states(now).values())
            level = "info" if quorum else "warning"
            log.event(
                "quorum_reached" if quorum else "quorum_lost",
                level,
                voters_alive=alive,
                of=node.quorum_size(),
            )
            self._quorum = quorum
        self._look_at_states(now)

    def _look_at_states(self, now: float) -> None:
        node = self._node
        if node.config.voter:
            states = {name: node.members.state(name, now) for name in node.members.names()}
            conflicts = {name for name in states if node.members.conflict(name, now)}
        else:
            states = node.voter_states(now)
            conflicts = {node.config.node_id} if node.conflicting else set()
        for name, state in states.items():
            if state != self._states.get(name, UNKNOWN):
                log.event(f"node_{state}", node=name)
        for name in conflicts - self._conflicts:
            log.event("name_conflict", "warning", node=name, reason="two processes use this name")
        self._states, self._conflicts = states, conflicts
