"""What follows from the voters' ports that a new node reaches or misses."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.quorum import store_quorum

from filter_plugins.p2p_outcome import plan_text
from filter_plugins.p2p_plan import plan
from filter_plugins.p2p_preflight import preflight, targets
from tests.unit.deploy.conftest import VOTERS, blank, dead, voter

SEEDS = [f"http://192.0.2.{number}:8770" for number in range(1, 6)]
ORCHESTRATOR, HEARTBEAT, PEER = 8770, 8771, 2380
Answers = dict[str, dict[str, Any]]


def tried(node: str, **outcomes: str) -> dict[str, Any]:
    """Return the answer of a blank node; by voter `blocked` or `refused` (all its ports), or `heartbeat`."""
    answer = blank()
    answer["probe"]["reach"] = [
        dict(item, outcome="open", why="")
        for item in targets(VOTERS, SEEDS, node, HEARTBEAT, PEER if node in VOTERS else 0)
    ]
    for item in answer["probe"]["reach"]:
        outcome = outcomes.get(item["voter"], "open")
        if outcome in ("blocked", "refused"):
            item.update(outcome=outcome, why=f"was {outcome}")
        elif outcome == "heartbeat" and item["port"] == HEARTBEAT:
            item.update(outcome="blocked", why="was blocked")
    return answer


def test_a_voter_tries_the_others_peer_port_too() -> None:
    assert targets(VOTERS, SEEDS, "vast-1", HEARTBEAT, 0)[:3] == [
        {"voter": "a", "host": "192.0.2.1", "port": ORCHESTRATOR, "service": "orchestrator"},
        {"voter": "a", "host": "192.0.2.1", "port": HEARTBEAT, "service": "orchestrator"},
        {"voter": "b", "host": "192.0.2.2", "port": ORCHESTRATOR, "service": "orchestrator"},
    ]
    of_a = targets(VOTERS, SEEDS, "a", HEARTBEAT, PEER)
    assert {item["voter"] for item in of_a} == set("bcde")
    assert [item["port"] for item in of_a[:3]] == [ORCHESTRATOR, HEARTBEAT, PEER]


def test_seeds_are_urls_and_one_endpoint_has_no_name() -> None:
    found = targets(["a", "b"], ["https://[2001:db8::1]", "http://relay.example:9000"], "x", HEARTBEAT, 0)
    assert [(item["host"], item["port"]) for item in found] == [
        ("2001:db8::1", 443),
        ("2001:db8::1", HEARTBEAT),
        ("relay.example", 9000),
        ("relay.example", HEARTBEAT),
    ]
    assert {item["voter"] for item in targets(["a", "b"], SEEDS[:1], "x", HEARTBEAT, 0)} == {"192.0.2.1"}


def test_on_a_new_cluster_nobody_listens_yet_and_that_is_no_obstacle() -> None:
    answers = {name: tried(name, **dict.fromkeys(VOTERS, "refused")) for name in VOTERS}
    assert preflight(answers, answers) == {"refused": {}, "warnings": []}


def test_a_node_that_runs_was_not_tried() -> None:
    answers = {name: voter(name) for name in VOTERS}
    assert preflight(answers, answers) == {"refused": {}, "warnings": []}


@pytest.mark.parametrize("outcome", ["blocked", "refused", "heartbeat"])
def test_a_minority_of_closed_voters_is_a_warning_that_names_both_ends_and_the_port(outcome: str) -> None:
    voters = {name: voter(name) for name in VOTERS}
    found = preflight({"vast-1": tried("vast-1", a=outcome, b=outcome)}, voters)
    assert found["refused"] == {}
    [line] = found["warnings"]
    assert line.startswith("vast-1 does not reach a at 192.0.2.1:877")
    assert "b at 192.0.2.2:8771 (was " in line
    assert ("192.0.2.1:8770" in line) == (outcome != "heartbeat")


def test_a_node_that_reaches_no_majority_is_refused() -> None:
    voters = {name: voter(name) for name in VOTERS}
    found = preflight({"vast-1": tried("vast-1", a="blocked", b="heartbeat", c="refused")}, voters)
    assert found["warnings"] == []
    assert found["refused"]["vast-1"].startswith("vast-1 reaches 2 of 5 voters")
    assert "b at 192.0.2.2:8771 (was blocked)" in found["refused"]["vast-1"]


def test_a_voter_counts_itself() -> None:
    voters = {**{name: voter(name) for name in "abcd"}, "e": tried("e", a="blocked", b="blocked")}
    assert preflight({"e": voters["e"]}, voters)["refused"] == {}
    voters["e"] = tried("e", a="blocked", b="blocked", c="blocked")
    assert "reaches 2 of 5" in preflight({"e": voters["e"]}, voters)["refused"]["e"]


def test_dead_voters_say_nothing_about_a_nodes_network() -> None:
    voters = {**{name: voter(name) for name in "ab"}, **{name: dead() for name in "cde"}}
    cut = tried("vast-1", c="blocked", d="blocked", e="blocked")
    assert preflight({"vast-1": cut}, voters) == {"refused": {}, "warnings": []}


def test_a_refused_voter_is_left_out_of_the_new_store() -> None:
    answers: Answers = {name: tried(name) for name in VOTERS}
    answers["e"] = tried("e", **dict.fromkeys("abc", "blocked"))
    answers["vast-1"] = tried("vast-1", **dict.fromkeys(VOTERS, "blocked"))
    voters = {name: answers[name] for name in VOTERS}
    found = preflight(answers, voters)

    def planned(preflight: Any) -> Any:
        words = {"voter_answers": voters, "preflight": preflight, "form_without": ""}
        return plan(answers, VOTERS, store_quorum(voters), now=0, **words)

    assert planned(None)["bootstrap"] == list(VOTERS)
    result = planned(found)
    assert result["bootstrap"] == result["voters_at_once"] == list("abcd")
    assert result["others"] == result["canary"] == []
    assert result["quorum_expected"]
    assert set(result["refused"]) == {"e", "vast-1"}
    assert any(line.startswith("refused: e (e reaches 2 of 5") for line in plan_text(result))


def test_without_a_majority_that_reaches_each_other_no_store_is_formed() -> None:
    answers: Answers = {
        name: tried(name, **dict.fromkeys(set(VOTERS) - {name}, "blocked")) for name in VOTERS
    }
    answers["a"] = tried("a")
    result = plan(
        answers,
        VOTERS,
        store_quorum(answers),
        voter_answers=answers,
        now=0,
        preflight=preflight(answers, answers),
        form_without="",
    )
    assert result["bootstrap"] == result["voters_at_once"] == []
    assert not result["quorum_expected"]
    assert set(result["refused"]) == set(VOTERS)
