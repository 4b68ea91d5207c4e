"""Who may leave the cluster, and what is done about those who cannot be asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.leaving import still_voting
from hypothesis import given, settings
from hypothesis import strategies as st

from filter_plugins.p2p_outcome import not_done, outcomes
from filter_plugins.p2p_removal import (
    had_store,
    limit_unknown,
    not_told,
    removal_plan,
    removal_text,
    revoked_text,
)
from tests.unit.deploy.conftest import IDS, VOTERS, Answer, blank, dead, members, voter

Healthy = Callable[[], dict[str, Answer]]
SKIPPED = {"skipped": True, "changed": False}


def voting(
    *leaving: str,
    voters: tuple[str, ...],
    asked: dict[str, Answer],
    nodes: dict[str, Answer] | None = None,
    known: dict[str, Any] | None = None,
) -> dict[str, str]:
    """Return why nodes may not leave a cluster whose voters answered `asked`."""
    return still_voting(leaving, asked, voters=voters, answers=nodes or {}, known=known)


def test_a_node_that_does_not_vote_may_leave(healthy: Healthy) -> None:
    assert voting("vast-1", voters=VOTERS, asked=healthy(), nodes={"vast-1": dead()}) == {}


FIRST = "; change the voters first: take it out of p2p_voters and run voters.yml"
STOLEN = ". If it was stolen, set its status to destroyed, and name it to voters.yml in p2p_identity_removed"
KNOWN = {"file": "store/p2p.json", "cluster_id": "77", "members": dict(IDS)}


def test_a_voter_of_the_file_may_not(healthy: Healthy) -> None:
    assert voting("a", "vast-1", voters=VOTERS, asked=healthy()) == {"a": "it is one of p2p_voters" + FIRST}


def test_a_voter_that_only_etcd_still_knows_may_not(healthy: Healthy) -> None:
    answers = healthy()
    gone = answers.pop("e")
    found = voting("e", voters=tuple("abcd"), asked=answers, nodes={"e": gone})
    assert found == {"e": f"etcd counts it among its members{FIRST}{STOLEN}"}
    assert voting("e", voters=tuple("abcd"), asked=answers, nodes={"e": dead()}) == found


def test_a_member_under_another_name_may_not(healthy: Healthy) -> None:
    found = voting("x", voters=VOTERS, asked=healthy(), nodes={"x": voter("e")})
    assert found["x"].startswith("its own etcd member works in the cluster's store" + FIRST)


def left(name: str) -> dict[str, Answer]:
    """Return the answers of voters that let a member go."""
    answers = {one: voter(one) for one in VOTERS if one != name}
    for answer in answers.values():
        answer["probe"]["etcd"]["members"] = [item for item in members() if item["name"] != name]
    return answers


@pytest.mark.parametrize("known", [None, KNOWN])
def test_a_voter_that_etcd_let_go_may_leave(known: dict[str, Any] | None) -> None:
    gone = voter("e", member_id=None, leader=None, error="connection refused")
    for told in (gone, dead()):
        assert voting("e", voters=tuple("abcd"), asked=left("e"), nodes={"e": told}, known=known) == {}


def test_a_node_whose_own_member_works_may_not_whatever_the_others_say() -> None:
    found = voting("e", voters=tuple("abcd"), asked=left("e"), nodes={"e": voter("e")})
    assert found["e"].startswith("its own etcd member works in the cluster's store" + FIRST)
    away = {name: dead() for name in "abcd"}
    other = KNOWN | {"members": {name: IDS[name] for name in "abcd"}}
    elsewhere = voting("e", voters=tuple("abcd"), asked=away, nodes={"e": voter("e")}, known=other)
    assert elsewhere == found


def test_without_a_store_the_running_voters_say_who_votes() -> None:
    alone = voter("a")
    alone["probe"]["etcd"] = None
    alone["probe"]["http"]["status"]["body"]["voter_node_ids"] = ["a", "b"]
    found = voting("b", "c", voters=("a",), asked={"a": alone})
    first = FIRST.replace("voters.yml", "deploy.yml -e p2p_accept_outage=true")
    assert found == {"b": "the running voters count it among them (a)" + first}


def test_data_of_a_store_that_nobody_can_speak_for_stays() -> None:
    asked = {name: dead() for name in VOTERS}
    held = blank()
    held["probe"]["etcd"]["has_data"] = True
    told = "it may hold etcd data; no member of the store answers: mend the voters, and run again"
    assert voting("x", voters=VOTERS, asked=asked, nodes={"x": held}) == {"x": told}
    assert voting("x", voters=VOTERS, asked=asked, nodes={"x": blank()}) == {}


def test_a_known_member_stays_until_more_than_half_of_the_known_ones_say_that_it_is_none() -> None:
    few = left("e") | {"a": dead(), "b": dead()}
    nodes = {"e": dead(), "x": dead()}
    found = voting("e", "x", voters=tuple("abcd"), asked=few, nodes=nodes, known=KNOWN)
    assert list(found) == ["e"]
    assert found["e"].startswith(
        "the last run from this controller saw it among the store's members; only c, d list the members"
    )
    assert "form the new one first" not in found["e"], "a store lives"


def test_a_known_member_of_a_store_that_nobody_tells_of_stays_until_a_new_one_is_formed() -> None:
    found = voting(
        "e", voters=tuple("abcd"), asked=dict.fromkeys("abcd", dead()), nodes={"e": dead()}, known=KNOWN
    )
    assert (
        "if that store is gone for good, form the new one first: deploy.yml -e p2p_form_without="
        in found["e"]
    )
    assert "store/p2p.json" not in found["e"]


def test_of_another_store_than_the_known_one_the_remedy_is_told_once() -> None:
    other = KNOWN | {"cluster_id": "5"}
    found = voting("e", voters=tuple("abcd"), asked=left("e"), nodes={"e": dead()}, known=other)
    assert found["e"].count("move the file away") == 1
    assert "gone for good" not in found["e"]
    assert found["e"].count("store/p2p.json") == 1


def test_a_list_of_a_few_removes_nobody_that_they_left_out() -> None:
    liars = {name: voter(name, members=[item for item in members() if item["name"] in "de"]) for name in "de"}
    asked = {"b": dead(), "c": dead(), **liars}
    found = voting("a", voters=tuple("bcde"), asked=asked, nodes={"a": dead()}, known=KNOWN)
    assert "only d, e list the members d, e; more than half" in found["a"]


@pytest.mark.parametrize("known", [None, KNOWN])
@pytest.mark.parametrize("answers", [True, False])
def test_two_alike_lists_do_not_outweigh_the_others(known: dict[str, Any] | None, answers: bool) -> None:
    few = [item for item in members() if item["name"] in "acd"]
    asked = {name: voter(name) for name in "abcd"}
    asked |= {name: voter(name, members=few, raft_index=10**15) for name in "cd"}
    nodes = {"e": voter("e") if answers else dead()}
    assert list(voting("e", "x", voters=tuple("abcd"), asked=asked, nodes=nodes, known=known)) == ["e"]


def test_one_voter_that_lists_a_node_holds_it_back_only_where_the_others_do_not_answer(
    healthy: Healthy,
) -> None:
    lie = voter("e", members=[*members(), {**members()[0], "id": "9", "name": "x"}])
    nodes = {"x": dead(), "y": dead()}
    assert voting("x", "y", voters=VOTERS, asked=healthy() | {"e": lie}, nodes=nodes) == {}
    few = {name: dead() for name in "abcd"} | {"e": lie}
    found = voting("x", "y", voters=VOTERS, asked=few, nodes=nodes)
    assert list(found) == ["x"]


def test_a_voter_that_contradicts_the_others_is_named_and_holds_back_who_may_be_a_member() -> None:
    asked = left("e") | {"d": voter("d", cluster_id="1")}
    found = voting("e", "x", voters=tuple("abcd"), asked=asked, nodes={"e": dead(), "x": dead()}, known=KNOWN)
    assert list(found) == ["e"]
    assert "d: its member works in the store 1, and others in 77" in found["e"]


@st.composite
def _lies(draw: st.DrawFn, name: str) -> Answer:
    """Draw what a voter answers that lies."""
    left = draw(st.lists(st.sampled_from(VOTERS), min_size=1, unique=True))
    ids = st.sampled_from((*IDS.values(), "90"))
    said: dict[str, Any] = {
        "member_id": draw(st.sampled_from((IDS[name], draw(ids)))),
        "cluster_id": draw(st.sampled_from(("77", "1"))),
        "leader": draw(st.sampled_from(("0", "1", "9"))),
        "raft_index": draw(st.sampled_from((0, 10**15))),
        "has_data": draw(st.booleans()),
        "members": [
            {**item, "id": draw(ids)} if draw(st.booleans()) else item
            for item in members()
            if item["name"] in left
        ],
    }
    answer = voter(name, **said)
    answer["probe"]["http"]["status"]["body"]["voter_node_ids"] = left
    return draw(st.sampled_from((answer, blank(), dead())))


@settings(max_examples=500, deadline=None)
@given(st.data(), st.sampled_from(VOTERS), st.booleans())
def test_no_lie_of_two_voters_and_no_partition_clears_a_living_member(
    data: st.DataObject, leaving: str, asked: bool
) -> None:
    others = [name for name in VOTERS if name != leaving]
    liars = data.draw(st.lists(st.sampled_from(others), max_size=2, unique=True))
    answers = {name: voter(name) for name in VOTERS}
    answers |= {name: data.draw(_lies(name)) for name in liars}
    answers |= {name: dead() for name in data.draw(st.lists(st.sampled_from(VOTERS), unique=True))}
    # The operator has taken it out of the file, and not run voters.yml.
    named = [*others, "n"]
    heard = {name: answers[name] for name in VOTERS if asked or name != leaving}
    found = voting(leaving, voters=tuple(named), asked=heard, nodes={leaving: answers[leaving]}, known=KNOWN)
    assert leaving in found


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
    text = removal_text({**plan, "contradicting": {}, "revocations": revocations}, check=True)
    assert text[:3] == [
        "x: 2 certificates would be denied by the voters",
        "y: denied already (1 certificate)",
        "z: no certificate of this controller is valid, so there is none to deny",
    ]
    real, none = (
        removal_text({**plan, "contradicting": {}, "revocations": found})[0] for found in (revocations, {})
    )
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
