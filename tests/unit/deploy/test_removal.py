"""Who may leave the cluster, and what is done about those who cannot be asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from filter_plugins.p2p_outcome import not_done, outcomes
from filter_plugins.p2p_quorum import store_quorum
from filter_plugins.p2p_removal import (
    had_store,
    limit_unknown,
    not_told,
    removal_plan,
    removal_text,
    revoked_text,
    still_voting,
)
from tests.unit.deploy.conftest import VOTERS, Answer, blank, dead, members, voter

Healthy = Callable[[], dict[str, Answer]]
SKIPPED = {"skipped": True, "changed": False}


def voting(
    *leaving: str, voters: tuple[str, ...], asked: dict[str, Answer], nodes: dict[str, Answer] | None = None
) -> dict[str, str]:
    """Return why nodes may not leave a cluster whose voters answered `asked`."""
    return still_voting(leaving, store_quorum(asked), voters=voters, voter_answers=asked, answers=nodes or {})


def test_a_node_that_does_not_vote_may_leave(healthy: Healthy) -> None:
    assert voting("vast-1", voters=VOTERS, asked=healthy(), nodes={"vast-1": dead()}) == {}


def test_a_voter_of_the_file_may_not(healthy: Healthy) -> None:
    assert voting("a", "vast-1", voters=VOTERS, asked=healthy()) == {"a": "it is one of p2p_voters"}


def test_a_voter_that_only_etcd_still_knows_may_not(healthy: Healthy) -> None:
    answers = healthy()
    gone = answers.pop("e")
    found = voting("e", voters=tuple("abcd"), asked=answers, nodes={"e": gone})
    assert found == {"e": "etcd counts it among its members"}
    assert voting("e", voters=tuple("abcd"), asked=answers, nodes={"e": dead()}) == found


def test_a_voter_that_etcd_let_go_may_leave(healthy: Healthy) -> None:
    answers = healthy()
    gone = answers.pop("e")
    for answer in answers.values():
        answer["probe"]["etcd"]["members"] = [item for item in members() if item["name"] != "e"]
    assert voting("e", voters=tuple("abcd"), asked=answers, nodes={"e": gone}) == {}


def test_without_a_store_the_running_voters_say_who_votes() -> None:
    alone = voter("a")
    alone["probe"]["etcd"] = None
    alone["probe"]["http"]["status"]["body"]["voter_node_ids"] = ["a", "b"]
    assert "count it" in voting("b", voters=("a",), asked={"a": alone})["b"]
    assert voting("c", voters=("a",), asked={"a": alone}) == {}


def test_data_of_a_store_that_nobody_can_speak_for_stays() -> None:
    asked = {name: dead() for name in VOTERS}
    held = blank()
    held["probe"]["etcd"]["has_data"] = True
    assert "no member answers" in voting("x", voters=VOTERS, asked=asked, nodes={"x": held})["x"]
    assert voting("x", voters=VOTERS, asked=asked, nodes={"x": blank()}) == {}


@pytest.mark.parametrize(
    ("answer", "ready", "state", "failed"),
    [
        (blank(), True, "others", []),
        (dead(), True, "unreachable", ["1 are unreachable"]),
        (dead(), False, "gone", []),
        (SKIPPED, False, "gone", []),
        ({"failed": False, "msg": "no python"}, True, "refused", ["1 were refused"]),
    ],
)
def test_a_node_that_should_answer_and_does_not_is_no_success(
    answer: dict[str, Any], ready: bool, state: str, failed: list[str]
) -> None:
    plan = removal_plan(["x"], {"x": answer}, ["x"] if ready else [], "hosts.yaml")
    assert "x" in plan[state]
    done = {"x": {"p2p_outcome": {"state": "changed"}}}
    assert not_done(outcomes(done, plan)) == failed


def test_an_unreachable_node_is_told_what_became_of_it() -> None:
    plan = removal_plan(["x", "y"], {"x": dead(), "y": SKIPPED}, ["x"], "hosts.yaml")
    assert plan["unreachable"]["x"].startswith("timed out. What is on it stays")
    counts = {"x": (2, 1), "y": (0, 1), "z": (0, 0)}
    revocations = {name: {"revoked": now, "before": before} for name, (now, before) in counts.items()}
    text = removal_text({**plan, "revocations": revocations}, check=True)
    assert text[:3] == [
        "x: 2 certificates would be denied by the voters",
        "y: denied already (1 certificate)",
        "z: no certificate of this controller is valid, so there is none to deny",
    ]
    real, none = (removal_text({**plan, "revocations": found})[0] for found in (revocations, {}))
    assert real == "x: 2 certificates will be denied by the voters"
    assert none == "this cluster uses no certificates, so there is none to deny"
    assert revoked_text(revocations) == ["x: 2 certificates were revoked", *text[1:3]]
    assert revoked_text(revocations, check=True, news=True) == ["x: 2 certificates would be revoked", text[2]]
    assert "nothing is removed from y, which no longer answer or are destroyed" in text


def test_a_mask_is_taken_off_only_where_a_member_was() -> None:
    never = blank()
    never["probe"]["services"]["p2p-etcd"] = {"active": "inactive", "load": "not-found"}
    assert not had_store(never, "p2p-etcd")
    interrupted = blank()
    interrupted["probe"]["services"] = {}
    interrupted["probe"]["etcd"]["has_data"] = True
    assert had_store(interrupted, "p2p-etcd")
    never["probe"]["services"]["p2p-etcd"]["load"] = "loaded"
    assert had_store(never, "p2p-etcd")


def test_voters_that_were_not_told_are_named() -> None:
    results: list[dict[str, Any]] = [
        {"item": ["a", {}], "changed": True},
        {"item": ["b", {}], "changed": False, "msg": "Task failed: no space"},
        {"item": ["c", {}], **dead()},
    ]
    assert not_told(results) == {"b": "no space", "c": "timed out"}


GROUPS = {"all": ["vast-1", "mac_studio"], "status_ready": ["vast-1"]}


@pytest.mark.parametrize(
    "limit",
    ["", "vast-1", "vast-1,mac_studio", "status_ready:!vast-1", "vast-*", "vast-[1:3],x", "~v.,x", "@list"],
)
def test_a_limit_of_names_that_there_are_and_of_patterns_is_let_through(limit: str) -> None:
    assert limit_unknown(limit, GROUPS) == ""


@pytest.mark.parametrize("limit", ["vast-1,Vast-2", "vast-1:Vast-2", " Vast-2 , vast-1,Vast-2"])
def test_a_name_of_a_limit_that_there_is_not_is_told(limit: str) -> None:
    told = "--limit: no node or group of the fleet file is called 'Vast-2' (did you mean 'vast-1'?)"
    assert limit_unknown(limit, GROUPS) == told
