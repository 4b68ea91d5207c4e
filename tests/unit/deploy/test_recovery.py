"""When a quorum is rebuilt, from whose data, and when that is refused."""

from __future__ import annotations

from typing import Any

from filter_plugins.p2p_quorum import store_quorum
from filter_plugins.p2p_recovery import Recovery, most_advanced, recovery_plan, recovery_text
from tests.unit.deploy.conftest import Answer, blank, dead, voter

VOTERS = ["a", "b", "c"]


def alone(name: str) -> Answer:
    """Return the answer of a member that runs and has lost the others."""
    return voter(name, follows=None, leader=None)


def silent(name: str) -> Answer:
    """Return the answer of a voter that holds data and whose member does not answer."""
    answer = alone(name)
    answer["probe"]["etcd"] = {"has_data": True, "error": "connection refused"}
    return answer


def plan(answers: dict[str, Answer], **words: Any) -> Recovery:
    settings: dict[str, Any] = {"cluster": "p2p", "now": "20261123T000000Z", "epoch": 77, "confirmed": "p2p"}
    return recovery_plan(answers, VOTERS, store_quorum(answers), **settings | words)


def test_the_survivor_is_the_source_and_all_that_answer_are_members() -> None:
    found = plan({"a": blank(), "b": alone("b"), "c": dead()})
    assert found["refusal"] == ""
    assert found["members"] == ["a", "b"]
    assert found["sources"] == ["b"]
    assert "timed out" in found["left_out"]["c"]
    assert found["token"].endswith("-20261123T000000Z")
    lines = recovery_text(found, check=True)
    assert "  a: holds no data" in lines
    assert "  b: holds data up to raft index 5000, and knows no majority" in lines
    assert any("would be made from the most advanced data of b" in line for line in lines)
    assert "run voters.yml afterwards: the voters of the fleet file are not all members" in lines


def test_a_member_that_does_not_answer_is_a_source_too() -> None:
    assert plan({"a": blank(), "b": silent("b"), "c": blank()})["sources"] == ["b"]


def test_a_majority_that_answers_is_refused_with_a_snapshot_too() -> None:
    answers = {"a": voter("a"), "b": voter("b"), "c": voter("c"), "d": voter("d"), "e": voter("e")}
    for words in ({}, {"snapshot": "/s.db"}, {"check": True}):
        assert "nothing is lost" in plan(answers, **words)["refusal"]


def test_a_majority_that_could_be_started_is_refused_without_a_snapshot() -> None:
    answers = {"a": silent("a"), "b": alone("b"), "c": dead()}
    assert "start them with deploy.yml" in plan(answers)["refusal"]
    found = plan(answers, snapshot="/s.db")
    assert found["refusal"] == ""
    assert found["sources"] == ["a"]


def test_nothing_to_rebuild_from_is_refused() -> None:
    assert "holds the store's data" in plan({"a": blank(), "b": dead(), "c": blank()})["refusal"]
    assert plan({"a": blank(), "b": dead(), "c": blank()}, snapshot="/s.db")["refusal"] == ""
    assert "none of the voters answers" in plan(dict.fromkeys(VOTERS, dead()), snapshot="/s.db")["refusal"]


def test_only_the_clusters_name_confirms_and_a_preview_needs_none() -> None:
    answers = {"a": blank(), "b": alone("b"), "c": dead()}
    for word in ("", "yes", "other"):
        assert "-e p2p_recover_confirm=p2p" in plan(answers, confirmed=word)["refusal"]
    assert plan(answers, confirmed="", check=True)["refusal"] == ""


def salvaged(node: str, epoch: int, revision: int, applied: int) -> dict[str, Any]:
    facts = {"node": node, "epoch": epoch, "revision": revision, "applied": applied, "term": 3, "found": {}}
    return {"salvaged": facts}


def test_the_furthest_survivor_is_taken() -> None:
    results = [salvaged("a", 0, 90, 95), salvaged("b", 0, 100, 110), salvaged("c", 0, 100, 112)]
    assert most_advanced(results)["node"] == "c"
    assert most_advanced([*results, {"msg": "the data of d cannot be used"}])["node"] == "c"


def test_data_of_a_later_recovery_win_over_any_revision() -> None:
    # A recovery that was killed half-way and is run again: raft's indices begin anew in a new cluster.
    assert most_advanced([salvaged("a", 0, 5000, 9000), salvaged("b", 77, 4000, 6)])["node"] == "b"


def test_two_runs_choose_the_same_and_nobody_is_nobody() -> None:
    results = [salvaged("b", 1, 2, 3), salvaged("a", 1, 2, 3)]
    assert most_advanced(results)["node"] == most_advanced(results[::-1])["node"] == "a"
    assert most_advanced([{"msg": "no"}]) == {}
