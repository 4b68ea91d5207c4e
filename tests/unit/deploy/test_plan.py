"""What a deploy decides to do, from what the nodes say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.quorum import store_quorum

from filter_plugins.p2p_plan import Plan, plan, planned, release_alone, settings_alone, the_plan
from tests.unit.deploy.conftest import VOTERS, blank, dead, members, voter

Answers = dict[str, dict[str, Any]]
Healthy = Callable[[], Answers]


def make(answers: Answers, outside: Answers | None = None, form_without: str = "") -> Plan:
    """Return the plan of a deploy over `answers`, with voters outside the run in `outside`."""
    voters = {name: answer for name, answer in answers.items() if name in VOTERS} | (outside or {})
    words: dict[str, Any] = {"voter_answers": voters, "now": 1_800_000_000.5, "form_without": form_without}
    return plan(answers, VOTERS, store_quorum(voters), **words)


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


def test_a_new_store_is_formed_without_a_dead_minority_that_is_named() -> None:
    result = make({**{name: blank() for name in "abc"}, "d": dead(), "e": dead()}, form_without="d,e")
    assert result["bootstrap"] == ["a", "b", "c"]
    assert list(result["unreachable"]) == ["d", "e"]


def test_a_quorum_is_expected_of_a_majority_alone(healthy: Healthy) -> None:
    assert make(healthy())["quorum_expected"]
    formed = {**{name: blank() for name in "abc"}, "d": dead(), "e": dead()}
    assert make(formed, form_without="d,e")["quorum_expected"]
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
    assert result["refused"]["e"].endswith("run voters.yml, which removes its member and lets it join again")
    assert result["voters_at_once"] == []


@pytest.mark.parametrize(
    ("holding", "why"),
    [
        ("ab", "a, b hold etcd data and are no majority of the 5 voters"),
        ("abc", "a, b, c hold etcd data but do not run: run again when they do"),
    ],
)
def test_no_new_store_beside_data_that_does_not_run(holding: str, why: str) -> None:
    answers = {name: blank() for name in VOTERS}
    for name in holding:
        answers[name]["probe"]["etcd"]["has_data"] = True
    result = make(answers)
    assert result["bootstrap"] == []
    assert result["voters_at_once"] == list(holding)
    assert result["refused"]["e"].startswith(why)


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


def other(*restarts: str) -> dict[str, Any]:
    """Return the answer of a node that does not vote and differs, running if it has something to restart."""
    answer = blank() if not restarts else voter("a")
    return drifted(answer, *restarts) if restarts else answer


def test_the_canary_is_a_node_that_runs_and_does_not_vote(healthy: Healthy) -> None:
    result = make(
        {**healthy(), "blank": other(), "o1": other("p2p_orchestrator"), "o2": other("p2p_orchestrator")}
    )
    assert result["canary"] == ["o1"]
    assert result["others"] == ["o2", "blank"]


def test_a_new_cluster_and_a_single_node_have_no_canary(healthy: Healthy) -> None:
    assert make({**{name: blank() for name in VOTERS}, "o1": other()})["canary"] == []
    assert make({**healthy(), "o1": other("p2p_orchestrator")})["canary"] == []


def test_without_a_quorum_there_is_no_canary() -> None:
    lost = {name: voter(name, leader=None) for name in "ab"}
    dead_ones = {name: dead() for name in "cde"}
    result = make({**lost, **dead_ones, "o1": other("p2p_orchestrator"), "o2": other("p2p_orchestrator")})
    assert result["canary"] == []
    assert result["others"] == ["o1", "o2"]


@pytest.mark.parametrize(
    ("running", "fresh", "batches", "sizes"),
    [
        (20, 0, "25", [20]),
        (20, 0, "50%", [10, 10]),
        (5, 0, 3, [3, 2]),
        (20, 0, ["10%", "30%", "100%"], [2, 6, 12]),
        (20, 5, ["10%", "30%", "100%"], [2, 6, 17]),
        (0, 5, ["10%", "100%"], [5]),
        (3, 0, ["10%", "30%", "100%"], [1, 1, 1]),
        (7, 0, [2], [2, 2, 2, 1]),
        (0, 0, ["100%"], []),
    ],
)
def test_batches_grow_and_new_nodes_come_all_at_once(
    running: int, fresh: int, batches: list[str | int] | str | int, sizes: list[int]
) -> None:
    answers = {f"r{number}": other("p2p_orchestrator") for number in range(running)}
    answers |= {f"f{number}": other() for number in range(fresh)}
    result = plan(answers, VOTERS, store_quorum({}), voter_answers={}, now=0, batches=batches)
    assert result["batches"] == sizes
    assert sum(sizes) == len(result["others"])


def test_other_voters_than_the_live_ones_are_refused(healthy: Healthy) -> None:
    answers = healthy()
    file = (*VOTERS[:4], "f")
    asked = {name: answer for name, answer in answers.items() if name in file} | {"f": blank()}
    split = plan(asked, file, store_quorum(asked), voter_answers=asked, now=0)["split"]
    assert "a, b, c, d, f" in split
    assert "a, b, c, d, e" in split
    assert "voters.yml" in split
    limited = plan({"o1": other()}, file, store_quorum(asked), voter_answers=asked, now=0)["split"]
    assert "--limit would split" in limited
    assert make(answers)["split"] == ""


def test_a_member_that_never_started_is_no_other_voter() -> None:
    listed = [{**item, "name": "" if item["name"] == "e" else item["name"]} for item in members(VOTERS[:4])]
    answers = {name: voter(name, members=listed) for name in VOTERS[:4]}
    assert make({**answers, "e": blank()})["split"] == ""


def test_a_single_voter_becomes_three_only_all_at_once_and_when_told_so() -> None:
    alone = blank()
    alone["probe"]["http"]["status"] = {"status": 200, "body": {"leader_id": "a", "voter_node_ids": ["a"]}}
    answers = {"a": alone, "b": blank(), "c": blank()}

    def split(names: str, *, accept_outage: bool = False) -> str:
        run = {name: answers[name] for name in names}
        quorum = store_quorum(answers)
        found = plan(run, tuple("abc"), quorum, voter_answers=answers, now=0, accept_outage=accept_outage)
        return found["split"]

    assert "without --limit" in split("ab")
    assert "p2p_accept_outage=true" in split("abc")
    assert split("abc", accept_outage=True) == ""


def test_a_node_that_missed_a_change_of_voters_can_be_brought_along(healthy: Healthy) -> None:
    late = other("p2p_orchestrator")
    late["probe"]["http"]["status"]["body"]["voter_node_ids"] = ["a", "b", "c", "d", "old"]
    assert plan({"o1": late}, VOTERS, store_quorum(healthy()), voter_answers=healthy(), now=0)["split"] == ""


def test_a_container_is_deployed_to_and_may_not_vote(healthy: Healthy) -> None:
    container, voters = other(), healthy()
    container["probe"]["manager"] = voters["b"]["probe"]["manager"] = "supervisord"
    result = make({**voters, "o1": container})
    assert result["others"] == ["o1"]
    assert list(result["refused"]) == ["b"]
    assert "it votes, and systemd does not run it" in result["refused"]["b"]


@pytest.mark.parametrize(
    ("item", "alone"),
    [
        (("file", "content differs", "p2p_orchestrator"), True),
        (("live", "content differs", "p2p_orchestrator"), True),
        (("unit", "content differs", "p2p_orchestrator"), True),
        (("restart", "runs with an older configuration", "p2p_orchestrator"), True),
        (("file", "missing", "p2p_orchestrator"), False),
        (("file", "content differs, owner is root", "p2p_orchestrator"), False),
        (("file", "content differs", None), False),
        (("file", "content differs", "p2p-etcd"), False),
        (("live", "content differs", "p2p-etcd"), False),
        (("release", "is not there", None), False),
        (("legacy", "stop ringrift-p2p.service", None), False),
    ],
)
def test_only_texts_of_the_service_are_mended_without_a_look_at_the_rest(
    item: tuple[str, str, str | None], alone: bool
) -> None:
    part, why, service = item
    found = [
        {"part": "unit", "name": "u", "why": "content differs", "service": "p2p_orchestrator"},
        {"part": part, "name": "x", "why": why} | ({"service": service} if service else {}),
    ]
    assert settings_alone({"probe": {"drift": found}}, "p2p_orchestrator") is alone


@pytest.mark.parametrize(
    ("item", "alone"),
    [
        (("release", "not there", None), True),
        (("package", "missing", None), True),
        (("venv", "venv/bin/python is missing", None), True),
        (("restart", "runs from another release", "p2p_orchestrator"), True),
        (("file", "content differs", "p2p_orchestrator"), True),
        (("unit", "missing", "p2p_orchestrator"), False),
        (("enabled", "not enabled", "p2p_orchestrator"), False),
        (("restart", "runs with an older configuration", "p2p-etcd"), False),
        (("legacy", "stop ringrift-p2p.service", None), False),
        (("port", "nginx listens there", None), False),
    ],
)
def test_a_release_that_alone_differs_is_changed_without_a_look_at_the_rest(
    item: tuple[str, str, str | None], alone: bool
) -> None:
    part, why, service = item
    found = [
        {"part": "release", "name": "r", "why": "not current"},
        {"part": part, "name": "x", "why": why} | ({"service": service} if service else {}),
    ]
    assert release_alone({"probe": {"drift": found}}, "p2p_orchestrator") is alone


def test_one_node_that_does_not_vote_cannot_say_who_does() -> None:
    fresh = {name: blank() for name in VOTERS}
    liar = voter("a")
    liar["probe"]["http"]["status"]["body"]["voter_node_ids"] = ["x"]
    assert make({**fresh, "x": liar})["split"] == ""
    # A cluster that runs is told of by more than one.
    assert "are not the live ones (x)" in make({**fresh, "x": liar, "y": liar})["split"]


def test_a_node_whose_port_is_taken_is_refused_and_holds_nobody_back(healthy: Healthy) -> None:
    others = {name: drifted(voter("a")) for name in ("vast-1", "vast-2", "vast-3")}
    others["vast-1"]["probe"]["drift"].append(
        {"part": "port", "name": "8770", "why": "port 8770 is taken by nginx", "restarts": []}
    )
    result = make({**healthy(), **others})
    assert result["refused"] == {"vast-1": "port 8770 is taken by nginx"}
    assert {*result["canary"], *result["others"]} == {"vast-2", "vast-3"}
