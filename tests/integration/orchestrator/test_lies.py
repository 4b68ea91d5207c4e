"""A voter that lies, in its answers and in the store: the others go on, and so does one that restarts."""

import json
import os
import socketserver
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.integration.orchestrator.cluster import Agent, Cluster, now, wait
from tests.unit.orchestrator import lies

DIGITS = "9" * 401
RECORD = '{"node": "voter-1", "incarnation": "i", "term": %s}'
STORE = {
    "election/leader": [RECORD % "Infinity", RECORD % DIGITS, "[" * 100_000, "{}", RECORD % '"1"'],
    "election/term": ["Infinity", DIGITS, "-1", "x" * 10_000],
    "election/epoch": [DIGITS, "1e9"],
    "roster": ["[" * 100_000, '{"nodes": {"a b": "alive"}}', '{"nodes": 1}'],
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("lies"), 3, 1) as cluster:
        wait("a leader known to all", cluster.agreed, 60)
        yield cluster


@pytest.fixture
def honest(cluster: Cluster) -> Iterator[list[Agent]]:
    """Yield the agents beside the first voter, which lies; none of them may end."""
    agents = [cluster.agents[name] for name in cluster.names[1:]]
    pids = [agent.process.pid for agent in agents if agent.process]
    yield agents
    assert all(agent.running for agent in agents)
    assert [agent.process.pid for agent in agents if agent.process] == pids


def etcdctl(cluster: Cluster, *words: str) -> None:
    endpoint = f"http://{cluster.addresses['voter-1']}:2379"
    command = ["etcdctl", "--endpoints", endpoint, *words]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "ETCDCTL_API": "3"})


def counted(agent: Agent, place: str) -> float:
    """Return how often the agent read there what did not fit."""
    page = str(agent.get("/metrics")[1])
    values = [
        line.split()[1] for line in page.splitlines() if line.startswith(f'p2p_unfit_total{{place="{place}"')
    ]
    return float(values[0]) if values else 0.0


def quick_status(agent: Agent) -> Any:
    begin = now()
    code, page = agent.get("/status?alive_only=false")
    assert code == 200
    assert now() - begin < 15.0
    return page


def test_a_voter_that_lies_in_every_answer_is_not_believed(cluster: Cluster, honest: list[Agent]) -> None:
    liar = cluster.agents["voter-1"]
    liar.terminate()
    leader = wait("a leader known to the others", lambda: cluster.agreed(cluster.names[1:]), 60)
    responses = [response for _, response in lies.responses("voter-1")]
    told: list[int] = []

    class Lie(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(65_536)
            self.request.sendall(responses[len(told) % len(responses)])
            told.append(1)

    socketserver.ThreadingTCPServer.allow_reuse_address = True
    with socketserver.ThreadingTCPServer((cluster.addresses["voter-1"], 8771), Lie) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        wait("the others were lied to", lambda: len(told) >= 12, 90)
        server.shutdown()
    for agent in honest:
        assert counted(agent, "answer") > 0
        assert quick_status(agent)["leader_id"] == leader
    assert cluster.agreed(cluster.names[1:]) == leader
    liar.start()
    wait("all agree", cluster.agreed, 60)


def test_names_and_incarnations_that_one_voter_invents_fill_nothing(
    cluster: Cluster, honest: list[Agent]
) -> None:
    # Its agent's own heartbeat would take the place of the one sent below.
    liar = cluster.agents["voter-1"]
    liar.terminate()
    rows = [[f"no-{number}", "i", 1.0, 1.0] for number in range(10_000)]
    rows += [["vast-1", f"i{number}", 1.0, 0.0] for number in range(6_000)]
    message = {"cluster": "p2p", "incarnation": "i", "info": {"cpu_percent": 5}, "heard": rows}
    voter = honest[0]
    url = f"http://{voter.address}:8771/v1/heartbeat/voter-1"
    with urllib.request.urlopen(url, json.dumps(message).encode(), timeout=10) as reply:
        assert reply.status == 200

    def told_of_them() -> Any:
        page = quick_status(voter)
        return page if any(name.startswith("no-") for name in page["peers"]) else None

    # The peers are encoded once a second at most.
    page = wait("the page tells of them", told_of_them, 10)
    told = {name: peer["state"] for name, peer in page["peers"].items() if name.startswith("no-")}
    assert set(told.values()) == {"unknown"}
    assert len(told) == 1_000
    assert voter.get("/health")[1]["total_peers"] == 3
    assert page["peers"]["vast-1"]["is_alive"]
    liar.start()
    wait("all agree", cluster.agreed, 60)


@pytest.mark.parametrize("key", ["election/leader", "election/term", "election/epoch"])
def test_what_a_voter_writes_into_an_election_ends_nobody(
    cluster: Cluster, honest: list[Agent], key: str
) -> None:
    place = "record" if key == "election/leader" else "term"
    voters = [agent for agent in honest if agent.name in cluster.voters]
    for value in STORE[key]:
        before = {agent.name: counted(agent, place) for agent in voters}
        etcdctl(cluster, "put", f"/p2p/p2p/{key}", "--", value)
        wait("it is told", lambda: any(counted(a, place) > before[a.name] for a in voters), 30)  # noqa: B023
        for agent in voters:
            quick_status(agent)
    restarted(cluster, lambda agent: counted(agent, "record") + counted(agent, "term"))
    etcdctl(cluster, "del", f"/p2p/p2p/{key}")
    wait("a leader known to all", cluster.agreed, 60)


@pytest.mark.parametrize("value", STORE["roster"])
def test_what_a_voter_writes_into_the_roster_ends_nobody(
    cluster: Cluster, honest: list[Agent], value: str
) -> None:
    assert honest

    def lied_to(agent: Agent) -> float:
        # Each time: a leader writes the true one whenever somebody comes or goes.
        etcdctl(cluster, "put", "/p2p/p2p/roster", "--", value)
        return counted(agent, "roster")

    agent = restarted(cluster, lied_to)
    wait("a leader known to all", cluster.agreed, 60)
    names = {*cluster.names} - {agent.name}
    wait("it knows all", lambda: {*agent.get("/status?alive_only=false")[1]["peers"]} >= names, 30)
    assert not any(" " in name for name in agent.status()["peers"])


def restarted(cluster: Cluster, lied_to: Callable[[Agent], float]) -> Agent:
    """Kill the first voter's agent and start it; return it once it read the lie."""
    agent = cluster.agents["voter-1"]
    agent.kill()
    agent.start()
    wait("it reads the lie", lambda: lied_to(agent), 30)
    assert agent.running
    return agent
