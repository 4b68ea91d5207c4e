"""Who is asked about the store, and which of them contradicts the others."""

from __future__ import annotations

from typing import Any

from filter_plugins.p2p_store import contradicting, unasked
from tests.unit.deploy.conftest import IDS, VOTERS, Answer, blank, dead, voter

KNOWN = {"file": "store/p2p.json", "cluster_id": "77", "members": dict(IDS)}
NOTHING: dict[str, Any] = {"file": "store/p2p.json", "cluster_id": "", "members": {}}


def silent(name: str) -> Answer:
    """Return the answer of a node that was not asked about the store."""
    answer = voter(name) if name in VOTERS else blank()
    answer["probe"]["etcd"] = None
    return answer


def fleet() -> dict[str, Answer]:
    """Return the answers of five voters and two other nodes."""
    return {name: voter(name) for name in VOTERS} | {name: silent(name) for name in ("x", "y")}


def test_nobody_else_is_asked_where_the_voters_tell_of_each_other() -> None:
    assert unasked(fleet(), VOTERS, NOTHING, "p2p-etcd") == []


def test_members_whom_neither_the_file_nor_the_controller_knows_are_asked() -> None:
    answers = fleet() | {name: silent(name) for name in "de"} | {"x": blank()}
    assert unasked(answers, ("a", "b", "x"), NOTHING, "p2p-etcd") == ["d", "e"]


def test_whom_most_nodes_name_as_voters_is_asked() -> None:
    answers = {name: silent(name) for name in (*VOTERS, "x", "y")}
    for answer in answers.values():
        body = {"leader_id": "a", "voter_node_ids": list(VOTERS)}
        answer["probe"]["http"]["status"] = {"status": 200, "body": body}
    answers["x"]["probe"]["etcd"] = {"has_data": False}
    assert unasked(answers, ("x",), NOTHING, "p2p-etcd") == list(VOTERS)
    answers |= {name: dead() for name in "ab"}
    assert unasked(answers, ("x",), NOTHING, "p2p-etcd") == ["c", "d", "e"]


def test_a_member_without_a_leader_is_asked_again_and_a_blank_voter_is_not() -> None:
    answers = fleet() | {"b": voter("b", leader=None), "c": blank(), "d": dead()}
    assert unasked(answers, VOTERS, KNOWN, "p2p-etcd") == ["b"]


def test_who_works_in_another_store_contradicts_whoever_is_reached() -> None:
    assert contradicting(fleet(), VOTERS, KNOWN) == {}
    other = fleet() | {name: voter(name, cluster_id="1") for name in "de"}
    assert list(contradicting(other, VOTERS, KNOWN)) == ["d", "e"]
    # Known members are told from others even where they are few.
    few = other | {name: dead() for name in "abc"[:2]}
    assert list(contradicting(few, VOTERS, KNOWN)) == ["d", "e"]
