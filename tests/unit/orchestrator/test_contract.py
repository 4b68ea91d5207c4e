"""The answers against samples of the original program's, key by key and type by type."""

import json
from pathlib import Path
from typing import Any

import pytest

from p2p_orchestrator.beliefs import parse
from p2p_orchestrator.clock import boottime
from p2p_orchestrator.config import load
from p2p_orchestrator.documents import StatusPage, health
from p2p_orchestrator.elector import Elector
from p2p_orchestrator.leadership import Kind, Leadership, Request, Swapped
from p2p_orchestrator.membership import Members
from p2p_orchestrator.metrics import MetricsPage
from p2p_orchestrator.node import Node
from p2p_orchestrator.resources import fixed, sample
from p2p_orchestrator.store import View
from p2p_orchestrator.store_etcd import EtcdStore

SAMPLES = Path(__file__).parent / "contract"
NUMBER = (int, float)
MAPS_OF_NODES = ("peers",)
ENV = {
    "P2P_SEEDS": "192.0.2.1,192.0.2.2,192.0.2.3",
    "P2P_VOTERS": "voter-a,voter-b,voter-c",
    "RINGRIFT_PATH": "/",
}


def node(name: str, *, leader: str | None) -> Node:
    """Return a node of a cluster of three that has heard of all, with a leader or without one."""
    now = boottime()
    env = {
        **ENV,
        "NODE_ID": name,
        **({"P2P_ETCD_ENDPOINT": "http://127.0.0.1:2379"} if "voter" in name else {}),
    }
    config = load([], env)
    result = Node(config, "incarnation", Members(name, "incarnation", config.voters, now))
    result.figures = {**fixed(), **sample(Path("/"))}
    if config.voter:
        result.elector = Elector(
            Leadership(name, "incarnation"),
            EtcdStore("http://127.0.0.1:2379", "p2p"),
            lambda: None,
            result.unfit,
        )
        result.elector.answered_at, result.elector.store_error = now, None
    for voter in config.voters:
        if voter != name:
            info = {**result.info(now), "reported_host": "192.0.2.9", "reported_port": 8770}
            result.members.hear(voter, "other", info, now)
            result.beliefs.take(
                parse(
                    {
                        "node_id": voter,
                        "leader_id": leader,
                        "term": 4,
                        "remaining": 9.0 if leader else 0.0,
                        "alive": 3,
                        "known": 3,
                        "quorum_age": 0.5,
                        "voters": dict.fromkeys(config.voters, "alive"),
                        "info": info,
                    },
                    now,
                )
            )
    return result


def lead(of: Node) -> None:
    """Make a voter the leader of term 1."""
    assert of.elector is not None
    state, now = of.elector.leadership, boottime()
    read = state.poll(now)
    assert read == Request(Kind.READ)
    state.answer(read, now, now, View())
    take = state.poll(now)
    assert take is not None
    state.answer(take, now, now, Swapped(2))
    assert state.is_leader(now)


def status(of: Node, *, alive_only: bool = True) -> Any:
    return json.loads(b"".join(StatusPage(of).encode(boottime(), alive_only=alive_only)))


def differences(sample_: Any, ours: Any, path: str = "") -> list[str]:
    """Return where `ours` lacks a key of `sample_` or has another type; null matches what may be absent."""
    if isinstance(sample_, dict):
        if not isinstance(ours, dict):
            return [f"{path}: {type(ours).__name__} for an object"]
        if path in MAPS_OF_NODES and sample_ and ours:
            pattern = next(iter(sample_.values()))
            return [
                line for key, value in ours.items() for line in differences(pattern, value, f"{path}.{key}")
            ]
        missing = [f"{path}.{key}: missing" for key in sample_ if key not in ours]
        return missing + [
            line
            for key in sample_
            if key in ours
            for line in differences(sample_[key], ours[key], f"{path}.{key}".lstrip("."))
        ]
    if isinstance(sample_, float) and type(ours) in NUMBER and not isinstance(ours, bool):
        return []
    same = type(sample_) is type(ours) and not (
        isinstance(sample_, list) and sample_ and ours and type(sample_[0]) is not type(ours[0])
    )
    return [] if same else [f"{path}: {type(ours).__name__} for {type(sample_).__name__}"]


@pytest.mark.parametrize("name", ["voter-a", "vast-1"])
@pytest.mark.parametrize(("file", "leader"), [("leader", "voter-c"), ("noleader", None)])
def test_health_has_the_contracts_keys_and_types(name: str, file: str, leader: str | None) -> None:
    expected = json.loads((SAMPLES / f"health_{file}.json").read_text())
    ours = json.loads(json.dumps(health(node(name, leader=leader), boottime())))
    assert differences(expected, ours) == []
    assert ours["healthy"] is (leader is not None)
    assert ours["leader_id"] == leader
    assert {"term", "seconds_since_quorum"} <= ours.keys()


@pytest.mark.parametrize("name", ["voter-b", "vast-1"])
@pytest.mark.parametrize(("file", "leader"), [("leader", "voter-c"), ("noleader", None)])
@pytest.mark.parametrize("alive_only", [True, False])
def test_status_has_the_contracts_keys_and_types(
    name: str, file: str, leader: str | None, alive_only: bool
) -> None:
    expected = json.loads((SAMPLES / f"status_{file}.json").read_text())
    ours = status(node(name, leader=leader), alive_only=alive_only)
    assert differences(expected, ours) == []
    assert ours["peers"]
    assert name not in ours["peers"]


def test_differences_are_found() -> None:
    assert differences({"a": 1, "b": {"c": ""}}, {"b": {"c": 1}}) == [".a: missing", "b.c: int for str"]
    assert differences({"a": None}, {"a": "x"}) == ["a: str for NoneType"]


def test_quorum_is_a_true_majority_and_peers_are_the_others() -> None:
    ours = status(node("voter-a", leader="voter-c"))
    assert (ours["voter_quorum_size"], ours["voters_alive"], ours["voter_quorum_ok"]) == (2, 3, True)
    assert ours["alive_peers"] == 2
    assert status(node("vast-1", leader="voter-c"))["alive_peers"] == 2


def test_a_leader_says_so_whatever_others_still_believe() -> None:
    voter = node("voter-a", leader="voter-c")
    lead(voter)
    voter.beliefs = type(voter.beliefs)()
    ours = status(voter)
    assert (ours["role"], ours["leader_id"], ours["term"]) == ("leader", "voter-a", 1)
    assert ours["fencing_token"] == [0, 2]


def test_nobody_calls_a_node_leader_but_its_own_state_machine() -> None:
    ours = status(node("voter-a", leader="voter-a"))
    assert ours["leader_id"] is None
    assert ours["role"] == "follower"


def test_the_cached_part_never_hides_who_leads() -> None:
    voter = node("voter-a", leader=None)
    page, now = StatusPage(voter), boottime()
    assert json.loads(b"".join(page.encode(now, alive_only=True)))["role"] == "follower"
    lead(voter)
    assert json.loads(b"".join(page.encode(now + 0.1, alive_only=True)))["role"] == "leader"
    assert json.loads(b"".join(page.encode(now + 60.0, alive_only=True)))["role"] == "follower"


def test_the_cached_part_is_at_most_a_second_old() -> None:
    voter = node("voter-a", leader=None)
    page, now = StatusPage(voter), boottime()
    assert len(json.loads(b"".join(page.encode(now, alive_only=True)))["peers"]) == 2
    voter.members.hear("vast-1", "i", {}, now)
    assert len(json.loads(b"".join(page.encode(now + 0.9, alive_only=True)))["peers"]) == 2
    assert len(json.loads(b"".join(page.encode(now + 1.0, alive_only=True)))["peers"]) == 3


def test_a_node_started_by_hand_learns_the_voters_names_from_their_answers() -> None:
    config = load([], {"NODE_ID": "n", "P2P_SEEDS": ENV["P2P_SEEDS"], "RINGRIFT_PATH": "/nowhere"})
    by_hand = Node(config, "i", Members("n", "i", (), boottime()), node("n", leader="voter-c").beliefs)
    ours = status(by_hand)
    assert ours["voter_node_ids"] == ["voter-a", "voter-b", "voter-c"]
    assert (ours["leader_id"], ours["voters_alive"], ours["voter_quorum_ok"]) == ("voter-c", 3, True)


def test_metrics_tell_the_same() -> None:
    lines = MetricsPage(node("voter-a", leader="voter-c")).encode().decode().splitlines()
    assert {"p2p_healthy 1.0", "p2p_leader 0.0", "p2p_term 4.0", "p2p_voters_alive 3.0"} <= set(lines)
