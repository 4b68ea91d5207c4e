"""Whose word makes the list of the store's members, while some nodes lie or are not seen."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.quorum import store_quorum
from hypothesis import given, settings
from hypothesis import strategies as st

from filter_plugins.p2p_quorum import gate
from filter_plugins.p2p_voters import Change, change
from tests.unit.deploy.conftest import IDS, VOTERS, blank, dead, voter

Answers = dict[str, dict[str, Any]]
STRANGERS = ("s1", "s2", "s3", "s4", "s5", "s6")
URLS = {name: f"https://{name}:2380" for name in (*VOTERS, *STRANGERS)}


def member(name: str, number: str) -> dict[str, Any]:
    """Return a member that started."""
    urls = {"peer_urls": [f"https://{name}:2380"], "client_urls": ["https://127.0.0.1:2379"]}
    return {"id": number, "name": name, "learner": False, **urls}


def node(name: str, **etcd: Any) -> dict[str, Any]:
    """Return the answer of a node that follows the voters, or says that it holds a member."""
    made = voter(name, version="3.4.23") if name in VOTERS else blank()
    made["probe"]["http"]["status"] = {
        "status": 200,
        "body": {"leader_id": "a", "voter_node_ids": list(VOTERS)},
    }
    if etcd:
        said = {"has_data": True, "leader": "9", "raft_index": 5000, "learner": False, "alarms": []}
        made["probe"]["etcd"] = {**said, "version": "3.4.23", "error": None, **etcd}
    return made


def fleet() -> Answers:
    """Return the answers of five healthy voters and six nodes that do not vote."""
    return {name: node(name) for name in (*VOTERS, *STRANGERS)}


def lying(name: str, cluster: str, names: tuple[str, ...], index: int = 5000) -> dict[str, Any]:
    """Return the answer of a node that tells of a store of these members."""
    members = [member(one, f"9{number}") for number, one in enumerate(names)]
    own = next((one["id"] for one in members if one["name"] == name), "99")
    return node(name, member_id=own, cluster_id=cluster, members=members, raft_index=index)


def find(answers: Answers, voters: tuple[str, ...] = VOTERS, known: dict[str, Any] | None = None) -> Change:
    """Return the change to these voters."""
    quorum = store_quorum(answers, voters, known=known)
    urls = {name: URLS[name] for name in voters}
    return change(answers, voters, quorum, urls, etcd_service="p2p-etcd", known=known)


def nothing(found: Change) -> bool:
    """Tell whether nothing is to come or go."""
    return not [*found["drop"], *found["joiners"], *found["leavers"]]


def test_a_stranger_is_not_heard_whatever_it_says_of_a_store() -> None:
    answers = fleet() | {"s1": lying("s1", "1", ("s1",), 10**15)}
    assert nothing(find(answers))
    assert find(answers)["refused"] == ""


def test_strangers_with_one_made_up_store_do_not_outvote_the_voters() -> None:
    answers = fleet() | {name: lying(name, "1", STRANGERS, 10**15) for name in STRANGERS}
    assert nothing(find(answers))
    assert store_quorum(answers, VOTERS)["counting"] == list(VOTERS)


@pytest.mark.parametrize("liars", [("d",), ("d", "e")])
def test_voters_that_tell_of_another_store_are_named_and_stop_the_change(liars: tuple[str, ...]) -> None:
    answers = fleet() | {name: lying(name, "1", liars, 10**15) for name in liars}
    found = find(answers, ("a", "b", "c", "d", "s1"))
    for name in liars:
        assert f"{name}: its member works in the store 1, and others in 77" in found["refused"]


def test_a_voter_under_an_id_that_is_not_its_own_is_named() -> None:
    answers = fleet()
    answers["d"]["probe"]["etcd"]["member_id"] = IDS["a"]
    assert "d: its member calls itself 1, and others call it 4" in find(answers)["refused"]


def test_a_node_that_works_in_another_store_does_not_join() -> None:
    answers = fleet() | {"s1": lying("s1", "1", ("s1",))}
    assert "s1: its member works in the store 1" in find(answers, ("a", "b", "c", "d", "s1"))["refused"]


def recovered() -> Answers:
    """Return the answers after a recovery by `a` alone, when two old members came back and two are dead."""
    answers = fleet() | {name: dead() for name in ("d", "e")}
    alone = [member("a", IDS["a"])]
    answers["a"]["probe"]["etcd"] |= {"cluster_id": "88", "leader": IDS["a"], "members": alone}
    for name in ("b", "c"):
        answers[name]["probe"]["etcd"]["leader"] = "0"
    return answers


@pytest.mark.parametrize("old", [("b",), ("b", "c")])
def test_old_members_that_come_back_displace_no_store_that_is_known(old: tuple[str, ...]) -> None:
    answers = recovered() | {name: dead() for name in ("b", "c") if name not in old}
    known = {"file": "store/p2p.json", "cluster_id": "88", "members": {"a": IDS["a"]}}
    assert store_quorum(answers, VOTERS, known=known)["counting"] == ["a"]
    found = find(answers, ("a", "s1", "s2"), known)
    assert (found["refused"], found["drop"], found["leavers"]) == ("", [], [])


@pytest.mark.parametrize("old", [("b",), ("b", "c")])
def test_the_only_member_that_knows_a_leader_is_not_free_to_stop(old: tuple[str, ...]) -> None:
    answers = {name: one for name, one in recovered().items() if name in VOTERS}
    answers |= {name: dead() for name in ("b", "c") if name not in old}
    assert gate(answers, "a", ["p2p-etcd"], etcd_service="p2p-etcd")["allowed"] is False
    assert gate(answers, "a", ["p2p-etcd"], etcd_service="p2p-etcd", accept_outage=True)["allowed"]


def partitioned() -> Answers:
    """Return the answers of one honest voter and two that leave all others out of the store's list."""
    answers = fleet() | {name: dead() for name in ("b", "c")}
    for name in ("d", "e"):
        few = [member(one, IDS[one]) for one in ("d", "e")]
        answers[name]["probe"]["etcd"] |= {"members": few, "raft_index": 10**15, "leader": IDS["d"]}
    return answers


KNOWN = {"file": "store/p2p.json", "cluster_id": "77", "members": dict(IDS)}


def test_two_voters_that_leave_out_the_others_make_no_majority_of_their_own() -> None:
    wanted = ("a", "d", "e")
    named = find(partitioned(), wanted)["refused"]
    assert "a: its member 1 works in the store, and others do not list it" in named
    answers = partitioned() | {"a": blank()}
    # Whoever is the only one that does not lie says nothing: what the controller knows stops the change.
    answers["a"]["probe"]["etcd"] = {"has_data": True, "error": "connection refused"}
    refused = find(answers, wanted, KNOWN)["refused"]
    assert (
        "only d, e list the members d, e; more than half of the members that the last run from this"
        " controller saw (a, b, c, d, e) must" in refused
    )
    assert "move the file away" in refused
    assert "copy store/p2p.json from there" in refused


def test_known_members_that_hold_no_data_any_more_count_no_longer() -> None:
    # All were replaced, and the run was killed before it could note it.
    answers = fleet() | {name: blank() for name in VOTERS}
    others = STRANGERS[:3]
    members = [member(name, f"9{number}") for number, name in enumerate(others)]
    for told in members:
        own = {"member_id": told["id"], "cluster_id": "77", "leader": "90", "members": members}
        answers[told["name"]] = node(told["name"], **own)
    found = find(answers, others, KNOWN)
    assert (found["refused"], nothing(found)) == ("", True)
    answers["a"] = answers["b"] = dead()
    assert "the last run from this controller saw (a, b) must" in find(answers, others, KNOWN)["refused"]


def test_a_member_under_another_name_is_the_node_that_it_runs_on() -> None:
    answers = fleet()
    for name in VOTERS:
        answers[name]["probe"]["etcd"]["members"][0] = member("old-a", IDS["a"])
    found = find(answers)
    assert nothing(found), found


def test_members_that_vote_are_heard_though_the_file_names_others() -> None:
    found = find(fleet(), ("a", "s1", "s2", "s3", "s4"))
    assert (found["leavers"], found["joiners"], found["refused"]) == (
        ["b", "c", "d", "e"],
        ["s1", "s2", "s3", "s4"],
        "",
    )


def test_all_voters_are_replaced_only_where_most_nodes_know_them() -> None:
    others = STRANGERS[:5]
    assert find(fleet(), others)["refused"] == ""
    answers = fleet()
    # So nobody asks them about the store.
    for answer in answers.values():
        answer["probe"] |= {"http": {"status": {"status": None, "body": None}}, "etcd": None}
    why = find(answers, others)["refused"]
    assert why.startswith("members may run on a, b, c, d, e, and these are neither in p2p_voters")


# -- over random lies -------------------------------------------------------------------------------------

_names = st.lists(st.sampled_from((*VOTERS, *STRANGERS, "ghost")), min_size=1, max_size=5, unique=True)
_ids = st.sampled_from((*IDS.values(), "90", "91", "0"))


@st.composite
def _lies(draw: st.DrawFn, name: str) -> dict[str, Any]:
    """Draw what a liar answers: nothing, the truth with one thing changed, or a store of its own."""
    kind = draw(st.sampled_from(("dead", "blank", "changed", "fewer", "other")))
    if kind in ("dead", "blank"):
        return dead() if kind == "dead" else blank()
    told = [member(one, draw(_ids)) for one in draw(_names)]
    lie: dict[str, Any] = {
        "member_id": draw(_ids),
        "cluster_id": draw(st.sampled_from(("77", "1", "78"))),
        "raft_index": draw(st.sampled_from((0, 5000, 10**15))),
        "leader": draw(st.sampled_from(("0", "1", "9"))),
        "members": told,
    }
    if kind == "fewer" and name in VOTERS:
        left = draw(st.sampled_from((("a", "b"), ("a", "b", "c"), ("a", "d", "e"), ("d", "e"))))
        answer = node(name)
        answer["probe"]["etcd"]["members"] = [member(one, IDS[one]) for one in left]
        return answer
    if kind == "changed" and name in VOTERS:
        answer = node(name)
        key = draw(st.sampled_from(sorted(lie)))
        answer["probe"]["etcd"][key] = lie[key]
        return answer
    return node(name, **lie)


@st.composite
def _fleets(draw: st.DrawFn) -> tuple[Answers, set[str]]:
    """Draw a fleet in which two voters and any strangers lie, and some voters are cut off; and the liars."""
    liars = set(draw(st.lists(st.sampled_from(VOTERS), max_size=2, unique=True)))
    liars |= set(draw(st.lists(st.sampled_from(STRANGERS), unique=True)))
    answers = fleet()
    for name in draw(st.lists(st.sampled_from(VOTERS), max_size=4, unique=True)):
        answers[name] = dead()
    for name in sorted(liars):
        answers[name] = draw(_lies(name))
    return answers, liars


_wanted = st.sampled_from(
    (VOTERS, ("a", "b", "c"), ("a", "b", "c", "d", "s1"), ("c", "s1", "s2"), ("d", "e", "s1"), STRANGERS[:3])
)


@settings(max_examples=500, deadline=None)
@given(_fleets(), _wanted, st.booleans())
def test_no_lie_of_two_voters_and_any_strangers_costs_an_honest_member(
    made: tuple[Answers, set[str]], voters: tuple[str, ...], known: bool
) -> None:
    answers, liars = made
    found = find(copy.deepcopy(answers), voters, KNOWN if known else None)
    if found["refused"]:
        return
    dropped = {item["name"] for item in found["drop"]} | {item["id"] for item in found["drop"]}
    for name in (name for name in VOTERS if name not in liars):
        assert name not in found["unlisted"], "its data would be deleted"
        # One that is cut off and that the file lets vote no longer is removed as a dead one is.
        if "probe" in answers[name] or name in voters:
            assert not dropped & {name, IDS[name]}
