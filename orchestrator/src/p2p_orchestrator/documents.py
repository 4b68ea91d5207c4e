"""The answers of the endpoints, as the contract has them."""

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from p2p_orchestrator import __version__, neutral
from p2p_orchestrator.membership import ALIVE, UNKNOWN
from p2p_orchestrator.node import Node

PEERS_SECONDS = 1.0
UNHEARD: Mapping[str, Any] = {
    "host": "",
    "port": 0,
    "scheme": "http",
    "role": "follower",
    "leader_id": "",
    "cpu_count": 0,
    "cpu_percent": 0.0,
    "memory_percent": 0.0,
    "disk_percent": 0.0,
    "has_gpu": False,
    "gpu_name": "",
    "memory_gb": 0,
    "version": "unknown",
    "disk_cleanup_needed": False,
    "disk_free_gb": 0.0,
    "load_score": 0.0,
    "reported_host": "",
    "reported_port": 0,
}


def _node(name: str, info: Mapping[str, Any], heartbeat: float) -> dict[str, Any]:
    cores, gpu = info.get("cpu_count", 0), bool(info.get("has_gpu", False))
    return {
        "node_id": name,
        **UNHEARD,
        **info,
        "last_heartbeat": heartbeat,
        **neutral.NODE,
        "cpu_power_score": cores,
        "is_cpu_only_node": not gpu,
        "is_cuda_gpu_node": gpu,
    }


def _peer(
    node: Node, name: str, *, state: str, age: float | None, info: Mapping[str, Any], now: float
) -> dict[str, Any]:
    return {
        **_node(name, info, node.wall(age) if age is not None else 0.0),
        "endpoint_conflict": node.config.voter and node.members.conflict(name, now),
        "leader_eligible": name in node.config.voters,
        "is_alive": state == ALIVE,
        "state": state,
        "seconds_since_heartbeat": int(age) if age is not None else -1,
    }


def peers(node: Node, now: float, *, alive_only: bool) -> dict[str, dict[str, Any]]:
    """Return the other nodes: all that a voter knows of, the voters on any other node."""
    result = {}
    if node.config.voter:
        for name in node.members.names():
            state = node.members.state(name, now)
            if name != node.config.node_id and (state == ALIVE or not alive_only):
                info = node.members.member(name).info
                result[name] = _peer(
                    node, name, state=state, age=node.members.age(name, now), info=info, now=now
                )
        for name in [] if alive_only else sorted(node.members.rumours(now)):
            result[name] = _peer(node, name, state=UNKNOWN, age=None, info={}, now=now)
        return result
    for name, state in node.voter_states(now).items():
        if state == ALIVE or not alive_only:
            result[name] = _peer(
                node,
                name,
                state=state,
                age=node.beliefs.age(name, now),
                info=node.beliefs.info(name),
                now=now,
            )
    return result


def _leader_age(node: Node, leader: str | None, now: float) -> float | None:
    if leader is None:
        return None
    if leader == node.config.node_id:
        return 0.0
    ages = [node.members.age(leader, now), node.beliefs.age(leader, now)]
    return min((age for age in ages if age is not None), default=None)


def health(node: Node, now: float) -> dict[str, Any]:
    """Return `/health`; `healthy` is true if there is a leader and a majority of the voters is alive."""
    leader, term, _ = node.leader(now)
    alive, known = node.counts(now)
    figures = node.figures
    cpu = float(figures.get("cpu_percent", 0.0))
    return {
        "healthy": leader is not None and node.quorum_ok(now),
        "node_id": node.config.node_id,
        "role": node.role(now),
        "disk_percent": float(figures.get("disk_percent", 0.0)),
        "memory_percent": float(figures.get("memory_percent", 0.0)),
        "cpu_percent": cpu,
        "gpu_percent": 0.0,
        "gpu_memory_percent": 0.0,
        "selfplay_jobs": 0,
        "training_jobs": 0,
        "leader_id": leader,
        "leader_last_seen_seconds": _leader_age(node, leader, now),
        "active_peers": alive,
        "total_peers": known,
        "uptime_seconds": now - node.started,
        "timestamp": datetime.now(timezone.utc).replace(tzinfo=None).isoformat(),
        "cluster_utilization": {
            "cpu_util": cpu,
            "gpu_util": 0.0,
            "selfplay_rate": 0,
            "target_range": "60-80%",
            "status": "below",
        },
        "term": term,
        "seconds_since_quorum": node.quorum_age(now),
        "voter_quorum_ok": node.quorum_ok(now),
        "version": __version__,
    }


def _store(node: Node, now: float) -> dict[str, Any] | None:
    elector = node.elector
    if elector is None:
        return None
    age = now - elector.answered_at
    return {
        "kind": elector.store.kind,
        "ok": elector.store_error is None,
        "error": elector.store_error,
        "seconds_since_answer": age if elector.reached and age >= 0 and age != float("inf") else None,
    }


def _consensus(node: Node, leader: str | None, states: Mapping[str, str], now: float) -> dict[str, Any]:
    reported = node.beliefs.reported(now)
    if leader is not None and node.config.voter:
        reported[leader] += 1
    successor = next((name for name in states if states[name] == ALIVE and name != leader), None)
    return {
        "consensus_leader": leader,
        "leader_agreement": reported[leader] if leader else 0,
        "consensus_successor": successor,
        "successor_agreement": 1 if successor else 0,
        "total_voters": len(states),
    }


def status_head(node: Node, now: float) -> dict[str, Any]:
    """Return `/status` without its peers and their count."""
    leader, term, remaining = node.leader(now)
    states = node.voter_states(now)
    names = sorted({*node.beliefs.reported(now), *([leader] if leader else [])})
    token = node.elector.leadership.token if node.elector and node.leads(now) else None
    return {
        "node_id": node.config.node_id,
        "role": node.role(now),
        "leader_id": leader,
        "effective_leader_id": leader,
        "leaders_reported": names,
        "leaders_eligible": [name for name in names if states.get(name) == ALIVE],
        "voter_node_ids": list(node.voters()),
        "voter_quorum_size": node.quorum_size(),
        "voters_alive": sum(state == ALIVE for state in states.values()),
        "voter_quorum_ok": node.quorum_ok(now),
        "self": _node(node.config.node_id, node.info(now), node.wall(0.0)),
        **neutral.STATUS,
        "leader_consensus": _consensus(node, leader, states, now),
        "term": term,
        "leader_remaining_seconds": remaining,
        "seconds_since_quorum": node.quorum_age(now),
        "voter_states": states,
        "voter": node.config.voter,
        "cluster": node.config.cluster,
        "incarnation": node.incarnation,
        "name_conflict": node.conflicting or node.members.conflict(node.config.node_id, now),
        "fencing_token": list(token.number) if token else None,
        "store": _store(node, now),
        "listened": not node.config.voter or node.members.listened(now),
        "settings_sha256": node.settings_digest,
        "uptime_seconds": now - node.started,
        "version": __version__,
    }


class StatusPage:
    """`/status` as bytes: the peers encoded at most once a second, all else at the moment it is asked."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._peers: dict[bool, tuple[float, bytes]] = {}

    def encode(self, now: float, *, alive_only: bool) -> tuple[bytes, ...]:
        """Return the page as of `now` in parts; all readers of one second share that with the peers.

        With `alive_only` it is without peers that are not alive.
        """
        cached = self._peers.get(alive_only)
        if cached is None or not 0 <= now - cached[0] < PEERS_SECONDS:
            others = {
                "alive_peers": self._node.counts(now)[0],
                "peers": peers(self._node, now, alive_only=alive_only),
            }
            cached = (now, _encode(others)[1:])
            self._peers[alive_only] = cached
        return _encode(status_head(self._node, now))[:-1] + b",", cached[1]


def _encode(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
