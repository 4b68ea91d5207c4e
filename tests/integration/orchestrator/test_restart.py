"""A voter that restarts: stopped in order it knows at once whom it heard, after a crash it does not."""

import time
from pathlib import Path
from typing import Any

from tests.integration.orchestrator.cluster import Agent, Cluster, wait

FILE = "heard.json"


def first_status(agent: Agent) -> dict[str, Any]:
    """Return the first answer after a start."""
    return dict(wait("it answers", lambda: agent.get("/status?alive_only=false")[1], 30))


def restarted(agent: Agent, file: Path) -> dict[str, Any]:
    """Stop an agent in order, start it, and return its first answer.

    Again on a machine that takes longer for a start than what was heard stays good for: that shows nothing.
    """

    def too_old() -> int:
        return sum(found["event"] == "heard_too_old" for found in agent.events())

    for _ in range(3):
        before = too_old()
        assert agent.terminate()[0] == 0
        assert file.exists()
        agent.start()
        status = first_status(agent)
        if too_old() == before:
            return status
    raise AssertionError("no start took less than 5 s")


def is_dead(peer: dict[str, Any]) -> dict[str, Any]:
    return peer if peer["state"] == "dead" else {}


def test_a_voter_stopped_in_order_knows_whom_it_heard(tmp_path: Path) -> None:
    with Cluster(tmp_path, 3, 1) as cluster:
        wait("a leader known to all", cluster.agreed, 60)
        voters = [cluster.agents[name] for name in cluster.voters]
        wait("all have listened", lambda: all(agent.status().get("listened") for agent in voters), 60)
        names = set(cluster.names)
        leader = wait("a leader known to all", cluster.agreed, 60)
        for name in (next(name for name in cluster.voters if name != leader), leader):
            assert name is not None
            agent, file = cluster.agents[name], tmp_path / f"data-{name}" / FILE
            before = agent.status()["incarnation"]
            status = restarted(agent, file)
            assert not file.exists()
            assert status["uptime_seconds"] < 5
            assert status["incarnation"] != before
            assert status["listened"]
            assert {key for key, peer in status["peers"].items() if peer["is_alive"]} == names - {name}
            assert set(status["voter_states"].values()) == {"alive"}
            assert not status["name_conflict"]
            wait("a leader known to all", cluster.agreed, 60)

        # Whoever falls silent while the voter is away is dead by its true age.
        agent, gone = voters[0], cluster.agents["vast-1"]
        gone.kill()
        restarted(agent, tmp_path / f"data-{agent.name}" / FILE)
        dead = wait("dead", lambda: is_dead(first_status(agent)["peers"]["vast-1"]), 20)
        assert dead["seconds_since_heartbeat"] >= 15
        assert not any(found["event"] == "name_conflict" for voter in voters for found in voter.events())

        time.sleep(0.5)
        agent.kill()
        agent.start()
        status = first_status(agent)
        assert not status["listened"]
        cluster.check_leaders()
