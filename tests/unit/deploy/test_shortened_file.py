"""Two voters that lie are most voters of a shortened file: what that may not cost the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.leaving import still_voting
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.quorum import store_quorum

from filter_plugins.p2p_plan import Plan, plan
from filter_plugins.p2p_recovery import recovery_plan
from filter_plugins.p2p_store import seen
from filter_plugins.p2p_voters import change
from tests.unit.deploy.conftest import IDS, VOTERS, blank, dead, members, voter

Answers = dict[str, dict[str, Any]]
Healthy = Callable[[], Answers]
ETCD = "p2p-etcd"
FILE = ("c", "d", "e")
KNOWN = {"file": "store/p2p.json", "cluster_id": "77", "members": dict(IDS), "epoch": 7}
NOTHING: dict[str, Any] = {"file": "store/p2p.json", "cluster_id": "", "members": {}, "epoch": 0}


def lies() -> Answers:
    """Return the answers of five voters, of which two leave out the members that the file leaves out."""
    few = [item for item in members() if item["name"] in FILE]
    return {name: voter(name) for name in VOTERS} | {name: voter(name, members=few) for name in "de"}


def deploy(answers: Answers, voters: tuple[str, ...], known: Mapping[str, Any], **more: Any) -> Plan:
    """Return the plan of a deploy over all nodes that answered."""
    asked = {name: answers[name] for name in voters}
    return plan(
        answers,
        voters,
        store_quorum(asked, known=known),
        voter_answers=asked,
        now=1_800_000_000,
        service="p2p_orchestrator",
        etcd_service=ETCD,
        store=known,
        cluster="p2p",
        form_without="",
        **more,
    )


def test_a_deploy_takes_no_voter_for_an_ordinary_node() -> None:
    split = deploy(lies(), FILE, KNOWN)["split"]
    assert "the file's voters (c, d, e) may not be the live ones" in split
    assert "only d, e list the members c, d, e" in split
    assert deploy(lies(), VOTERS, KNOWN)["split"] == ""


def test_a_change_that_most_known_members_tell_is_taken_up() -> None:
    few = [item for item in members() if item["name"] in FILE]
    answers = {name: voter(name, members=few) for name in FILE}
    assert deploy(answers, FILE, KNOWN)["split"] == ""
    hostvars = {"c": {"p2p_plan": {"store": KNOWN}, "p2p_health_nodes": {"nodes": answers}}}
    assert set(seen(hostvars, FILE)["members"]) == set(FILE)


def test_two_voters_do_not_rewrite_the_memory() -> None:
    answers = {name: lies()[name] for name in FILE}
    few = [item for item in members() if item["name"] in "de"]
    pair = {name: voter(name, members=few) for name in "de"}
    for told, voters in ((answers, FILE), (pair, ("d", "e"))):
        hostvars = {"d": {"p2p_plan": {"store": KNOWN}, "p2p_health_nodes": {"nodes": told}}}
        assert seen(hostvars, voters)["cluster_id"] == ""


def test_a_run_that_took_members_out_remembers_those_that_are_left() -> None:
    three = [{**item, "name": item["name"]} for item in members() if item["name"] in "de"]
    answers = {name: voter(name, members=three) for name in "de"}
    made = {"store": KNOWN, "leavers": ["a", "b"], "change": {"drop": [{"name": "c"}]}}
    hostvars: dict[str, Any] = {"d": {"p2p_plan": made, "p2p_health_nodes": {"nodes": answers}}}
    assert seen(hostvars, ("d", "e"))["cluster_id"] == ""
    gone = {name: {"p2p_outcome": {"state": "changed"}} for name in "ab"}
    assert set(seen(hostvars | gone, ("d", "e"))["members"]) == {"d", "e"}


def test_a_member_whose_data_are_gone_does_not_start_on_the_word_of_two() -> None:
    unstarted = [item | {"client_urls": [] if item["name"] == "a" else ["x"]} for item in members()]
    answers = {name: voter(name, members=unstarted, raft_index=9000) for name in "de"}
    answers |= {"a": blank(), "b": voter("b"), "c": voter("c")}
    result = deploy(answers, VOTERS, KNOWN)
    assert result["joining"] == []
    assert "its etcd data is gone" in result["refused"]["a"]
    answers |= {name: voter(name, members=unstarted) for name in "bc"}
    assert deploy(answers, VOTERS, KNOWN)["joining"] == ["a"]


@pytest.mark.parametrize("evidence", ["voter", "unit"])
def test_no_store_is_formed_beside_a_node_that_votes(evidence: str) -> None:
    node = voter("x", member_id=None)
    node["probe"]["services"][ETCD]["load"] = "loaded" if evidence == "unit" else "not-found"
    node["probe"]["http"]["status"]["body"]["voter"] = evidence == "voter"
    answers = {**{name: blank() for name in FILE}, "x": node}
    result = deploy(answers, FILE, NOTHING)
    assert result["bootstrap"] == []
    assert "x (it votes, and is no voter of the fleet file)" in result["refused"]["c"]
    node["probe"]["services"][ETCD]["load"] = "not-found"
    node["probe"]["http"]["status"]["body"]["voter"] = False
    assert deploy(answers, FILE, NOTHING)["bootstrap"] == list(FILE)


def test_a_member_that_any_voter_lists_is_not_denied_without_a_memory() -> None:
    asked = {name: lies()[name] for name in FILE}
    gone = {"a": dead(), "x": dead()}
    reasons = still_voting(("a", "x"), asked, voters=FILE, answers=gone, known=NOTHING)
    assert "list different members" in reasons["a"]
    assert "x" not in reasons


def test_a_voter_with_another_ca_is_a_witness_of_a_quorum() -> None:
    probed = {"a": voter("a"), "b": dead(), "c": dead(), "d": blank(), "e": blank()}
    answers = {**probed, "a": {"msg": "its ca.crt never came from this controller"}}
    told = recovery_plan(
        answers,
        VOTERS,
        store_quorum(answers),
        cluster="p2p",
        now="x",
        epoch=1_800_000_000,
        confirmed="a,b,c",
        snapshot="/s.db",
        probed=probed,
    )
    assert "there may be a quorum" in told["refusal"]
    assert "a names a as the store's leader" in told["refusal"]


def test_what_nodes_say_of_the_voters_is_not_heard_where_members_are_known(healthy: Healthy) -> None:
    body = {"leader_id": "s1", "voter_node_ids": [f"s{number}" for number in range(6)]}
    strangers = {f"s{number}": voter(f"s{number}", member_id="9") for number in range(6)}
    for answer in strangers.values():
        answer["probe"]["http"]["status"] = {"status": 200, "body": body}
    answers = healthy() | strangers
    urls = {name: f"https://{name}:2380" for name in VOTERS}
    quorum = store_quorum(answers, VOTERS, KNOWN)
    assert change(answers, VOTERS, quorum, urls, etcd_service=ETCD, known=KNOWN)["refused"] == ""
