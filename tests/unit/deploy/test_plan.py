"""What a deploy decides to do, from what the nodes say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from filter_plugins.p2p_plan import Plan, plan, planned, the_plan
from filter_plugins.p2p_quorum import store_quorum
from tests.unit.deploy.conftest import VOTERS, blank, dead, members, voter

Answers = dict[str, dict[str, Any]]
Healthy = Callable[[], Answers]


def make(answers: Answers, outside: Answers | None = None) -> Plan:
    """Return the plan of a run over `answers`, with voters outside the run in `outside`."""
    voters = {name: answer for name, answer in answers.items() if name in VOTERS} | (outside or {})
    return plan(answers, VOTERS, store_quorum(voters), voter_answers=voters, now=1_800_000_000.5)


def drifted(answer: dict[str, Any], *restarts: str) -> dict[str, Any]:
    """Give a node one difference whose mending restarts the named services."""
    item = {"part": "file", "name": "/etc/x", "why": "content differs", "restarts": list(restarts)}
    answer["probe"]["drift"] = [item]
    return answer


def test_a_converged_fleet_needs_nothing(healthy: Healthy) -> None:
    result = make(healthy())
    assert result["unchanged"] == list(VOTERS)
    touched = (*result["voters_at_once"], *result["voters_one_by_one"], *result["others"])
    assert touched == ()
    assert result["refused"] == {}


def test_five_blank_voters_form_a_new_store() -> None:
    result = make({name: blank() for name in VOTERS})
    assert result["bootstrap"] == list(VOTERS)
    assert result["voters_at_once"] == list(VOTERS)
    assert int(result["token"]) == 1_800_000_000


def test_a_new_store_is_formed_without_a_dead_minority() -> None:
    result = make({**{name: blank() for name in "abc"}, "d": dead(), "e": dead()})
    assert result["bootstrap"] == ["a", "b", "c"]
    assert list(result["unreachable"]) == ["d", "e"]


def test_a_quorum_is_expected_of_a_majority_alone(healthy: Healthy) -> None:
    assert make(healthy())["quorum_expected"]
    assert make({**{name: blank() for name in "abc"}, "d": dead(), "e": dead()})["quorum_expected"]
    lost = {name: voter(name, leader=None) for name in "ab"}
    assert not make({**lost, "c": dead(), "d": dead(), "e": dead()})["quorum_expected"]


def test_a_minority_forms_no_store() -> None:
    result = make({"a": blank(), "b": blank()}, outside={name: blank() for name in "cde"})
    assert result["bootstrap"] == []
    assert result["voters_at_once"] == []
    assert "3 of its 5 voters in one run" in result["refused"]["a"]


def test_a_voter_that_never_started_joins_the_living() -> None:
    answers = {name: voter(name, members=members(started=("a", "b", "c", "d"))) for name in "abcd"}
    result = make({**answers, "e": blank()})
    assert result["joining"] == ["e"]
    assert result["voters_at_once"] == ["e"]


def test_a_voter_that_lost_its_data_is_refused(healthy: Healthy) -> None:
    result = make({**healthy(), "e": blank()})
    assert result["joining"] == []
    assert "voters.yml" in result["refused"]["e"]
    assert result["voters_at_once"] == []


def test_no_new_store_beside_data_that_does_not_run() -> None:
    stopped = blank()
    stopped["probe"]["etcd"]["has_data"] = True
    result = make({"a": stopped, **{name: blank() for name in "bcde"}})
    assert result["bootstrap"] == []
    assert result["voters_at_once"] == ["a"]
    assert "run again when they do" in result["refused"]["b"]


def test_the_leader_restarts_last(healthy: Healthy) -> None:
    result = make({name: drifted(answer, "p2p_orchestrator") for name, answer in healthy().items()})
    assert result["voters_one_by_one"] == ["b", "c", "d", "e", "a"]
    assert result["stops"]["a"] == ["p2p_orchestrator"]


def test_what_does_not_work_is_not_stopped_but_mended(healthy: Healthy) -> None:
    answers = healthy()
    drifted(answers["b"], "p2p_orchestrator")["probe"]["services"]["p2p_orchestrator"]["active"] = "failed"
    drifted(answers["c"])
    result = make(answers)
    assert result["voters_at_once"] == ["b", "c"]
    assert result["voters_one_by_one"] == []


def test_other_nodes_and_unreachable_ones(healthy: Healthy) -> None:
    result = make(
        {**healthy(), "vast-1": blank(), "vast-2": dead(), "vast-3": {"failed": True, "msg": "no python"}}
    )
    assert result["others"] == ["vast-1"]
    assert result["unreachable"] == {"vast-2": "timed out"}
    assert result["refused"] == {"vast-3": "no python"}


def test_a_single_voter_needs_no_store() -> None:
    answers = {"a": blank()}
    result = plan(answers, ["a"], store_quorum({}), voter_answers=answers, now=0)
    assert result["quorum_expected"]
    assert result["voters_at_once"] == ["a"]
    assert result["bootstrap"] == []


def test_plays_before_the_plan_have_no_hosts() -> None:
    assert planned({"a": {}}, "others") == []
    assert the_plan({"a": {}}) == {}
    assert planned({"a": {}, "b": {"p2p_plan": {"others": ["x"]}}}, "others") == ["x"]
