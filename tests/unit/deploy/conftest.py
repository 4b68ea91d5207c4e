"""Answers of voters as `p2p_probe` gives them, in the few keys that planning and the gate read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Answer = dict[str, Any]
VOTERS = ("a", "b", "c", "d", "e")
IDS = {name: str(number) for number, name in enumerate(VOTERS, start=1)}


def members(started: tuple[str, ...] = VOTERS) -> list[dict[str, Any]]:
    """Return etcd's member list; those not in `started` never published a client URL."""
    return [
        {
            "id": IDS[name],
            "name": name,
            "learner": False,
            "client_urls": ["https://127.0.0.1:2379"] * (name in started),
        }
        for name in VOTERS
    ]


def voter(name: str, *, follows: str | None = "a", **etcd: Any) -> Answer:
    """Return the answer of a voter whose services all work; `etcd` overrides what its member says."""
    return {
        "probe": {
            "drift": [],
            "services": {"p2p-etcd": {"active": "active"}, "p2p_orchestrator": {"active": "active"}},
            "http": {"status": {"status": 200, "body": {"leader_id": follows}}},
            "etcd": {
                "has_data": True,
                "error": None,
                "member_id": IDS[name],
                "cluster_id": "77",
                "leader": IDS["a"],
                "raft_index": 5000,
                "learner": False,
                "alarms": [],
                "members": members(),
                **etcd,
            },
        }
    }


def blank() -> Answer:
    """Return the answer of a voter on which nothing was ever deployed."""
    drift = [
        {
            "part": "state",
            "name": "p2p_orchestrator.service",
            "why": "not running",
            "restarts": ["p2p_orchestrator"],
        }
    ]
    return {
        "probe": {
            "drift": drift,
            "services": {"p2p-etcd": {"active": "inactive"}, "p2p_orchestrator": {"active": "inactive"}},
            "http": {"status": {"status": None, "body": None}},
            "etcd": {"has_data": False, "error": "connection refused"},
        }
    }


def dead() -> Answer:
    """Return the answer of a node that SSH does not reach."""
    return {"unreachable": True, "msg": "Failed to connect to the host via ssh: timed out\nmore"}


@pytest.fixture
def healthy() -> Callable[[], dict[str, Answer]]:
    """Return a maker of the answers of five voters that are all well."""
    return lambda: {name: voter(name) for name in VOTERS}
