"""The gate: no step stops a voter that the quorum needs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.quorum import store_quorum

from filter_plugins.p2p_quorum import gate, takes_part
from tests.unit.deploy.conftest import IDS, VOTERS, dead, members, voter

Answers = dict[str, dict[str, Any]]
Healthy = Callable[[], Answers]
BOTH = ["p2p-etcd", "p2p_orchestrator"]


def test_five_healthy_voters_tolerate_two_failures(healthy: Healthy) -> None:
    quorum = store_quorum(healthy())
    assert quorum["counting"] == list(VOTERS)
    assert (quorum["quorum"], quorum["tolerates"], quorum["leader"]) == (3, 2, "a")


@pytest.mark.parametrize(
    ("name", "etcd", "why"),
    [
        ("b", {"learner": True}, "learner"),
        ("b", {"leader": None}, "no leader"),
        ("b", {"leader": "0"}, "no leader"),
        ("b", {"reads": False}, "confirms no read"),
        ("b", {"alarms": ["NOSPACE"]}, "NOSPACE"),
        ("b", {"raft_index": 10}, "4990 entries behind"),
        ("b", {"cluster_id": "78"}, "does not answer"),
        ("b", {"member_id": "99"}, "does not answer"),
        ("b", {"member_id": None}, "does not answer"),
    ],
)
def test_what_does_not_count(healthy: Healthy, name: str, etcd: dict[str, Any], why: str) -> None:
    quorum = store_quorum({**healthy(), name: voter(name, **etcd)})
    assert name not in quorum["counting"]
    assert why in quorum["down"][name]
    assert quorum["tolerates"] == 1


@pytest.mark.parametrize(
    "lie",
    [{"raft_index": 1 << 53}, {"raft_index": 1 << 53, "members": members()[:1]}],
    ids=["index", "members"],
)
def test_one_voter_that_says_it_is_far_ahead_frees_no_other(healthy: Healthy, lie: dict[str, Any]) -> None:
    answers = {**healthy(), "a": voter("a", **lie), "d": dead(), "e": dead()}
    quorum = store_quorum(answers)
    assert quorum["members"] == list(VOTERS)
    assert quorum["counting"] == ["a", "b", "c"]
    assert not stop(answers, "b", ["p2p-etcd"])["allowed"]


@pytest.mark.parametrize("liar", ["b", "stranger"])
def test_who_takes_the_id_of_another_takes_nothing_from_it(healthy: Healthy, liar: str) -> None:
    told = voter("a", learner=True)
    quorum = store_quorum({**healthy(), liar: told})
    assert "a" in quorum["counting"]


def test_a_voter_that_cannot_be_asked_does_not_count(healthy: Healthy) -> None:
    quorum = store_quorum({**healthy(), "b": dead()})
    assert quorum["down"] == {"b": "its etcd member does not answer"}
    assert quorum["members"] == list(VOTERS)


def test_a_member_that_nobody_asked_is_not_called_silent(healthy: Healthy) -> None:
    quorum = store_quorum({name: answer for name, answer in healthy().items() if name != "b"})
    assert quorum["down"] == {"b": "it was not asked"}
    assert quorum["members"] == list(VOTERS)


def test_members_are_matched_by_id_not_by_name(healthy: Healthy) -> None:
    answers = healthy()
    answers["b"] = voter("b", member_id=IDS["c"])
    assert len(store_quorum(answers)["counting"]) < len(VOTERS)


def test_the_live_members_count_not_the_fleet_files() -> None:
    answers = {name: voter(name, members=members()[:3]) for name in VOTERS}
    assert store_quorum(answers)["quorum"] == 2


def stop(
    answers: Answers, name: str, services: list[str] | None = None, *, accept: bool = False
) -> dict[str, Any]:
    """Return the gate's verdict."""
    verdict = gate(
        answers, name, BOTH if services is None else services, etcd_service="p2p-etcd", accept_outage=accept
    )
    return dict(verdict)


@pytest.mark.parametrize(
    ("down", "allowed"), [((), True), (("b",), True), (("b", "c"), False), (("b", "c", "d"), False)]
)
def test_a_counting_voter_stops_only_while_the_others_are_a_majority(
    healthy: Healthy, down: tuple[str, ...], allowed: bool
) -> None:
    assert stop({**healthy(), **{name: dead() for name in down}}, "e")["allowed"] is allowed


def test_a_voter_that_does_not_count_may_always_be_mended(healthy: Healthy) -> None:
    answers = {**healthy(), "b": dead(), "c": dead()}
    assert stop(answers, "b")["allowed"]


def test_a_silent_member_that_the_others_must_be_counting_on_is_not_stopped(healthy: Healthy) -> None:
    silent = {name: voter(name, member_id=None) for name in "cde"}
    verdict = stop({**healthy(), **silent}, "c", ["p2p-etcd"])
    assert not verdict["allowed"]
    assert "2 of 5 etcd members count, a quorum is 3: stopping c may lose it" in verdict["reason"]
    assert stop({**healthy(), **silent}, "c", accept=True)["allowed"]


def test_a_refusal_gives_figures_the_reason_and_the_remedy(healthy: Healthy) -> None:
    reason = stop({**healthy(), "b": dead(), "c": dead()}, "e")["reason"]
    assert "3 of 5 etcd members count, a quorum is 3: stopping e would lose it" in reason
    assert "b (its etcd member does not answer)" in reason
    assert "p2p_accept_outage=true" in reason


def test_an_accepted_outage_is_allowed(healthy: Healthy) -> None:
    assert stop({**healthy(), "b": dead(), "c": dead()}, "e", accept=True)["allowed"]


def test_orchestrators_are_counted_apart_from_the_store(healthy: Healthy) -> None:
    answers = healthy()
    for name in ("b", "c"):
        answers[name]["probe"]["http"]["status"] = {"status": None, "body": None}
    assert stop(answers, "e", ["p2p-etcd"])["allowed"]
    assert not stop(answers, "e", ["p2p_orchestrator"])["allowed"]
    assert stop(answers, "b", ["p2p_orchestrator"])["allowed"]


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_voters_cannot_be_kept_up(count: int) -> None:
    few = members()[:count]
    answers = {name: voter(name, members=few) for name in VOTERS[:count]}
    verdict = stop(answers, "a")
    assert not verdict["allowed"]
    assert "one or two voters" in verdict["reason"]


def test_nothing_that_stops_needs_no_quorum() -> None:
    assert stop({name: dead() for name in VOTERS}, "a", [])["allowed"]


def test_a_voter_is_back_when_both_its_services_take_part() -> None:
    assert takes_part(voter("a"), store=True)
    assert not takes_part(voter("a", follows=None), store=True)
    assert not takes_part(voter("a", learner=True), store=True)
    assert takes_part(voter("a", member_id=None), store=False)
    assert not takes_part(dead(), store=False)
    deaf = voter("a")
    deaf["probe"]["http"]["status"]["body"]["listened"] = False
    assert not takes_part(deaf, store=True)
    assert takes_part(deaf, store=True, listened=False)


def test_a_node_takes_part_once_it_runs_on_its_settings() -> None:
    node = voter("a")
    # A release that does not tell is believed.
    assert takes_part(node, store=True, settings="A=1\n")
    node["probe"]["http"]["status"]["body"]["settings_sha256"] = None
    assert not takes_part(node, store=True, settings="A=1\n")
    node["probe"]["http"]["status"]["body"]["settings_sha256"] = hashlib.sha256(b"A=1\n").hexdigest()
    assert takes_part(node, store=True, settings="A=1\n")
    assert not takes_part(node, store=True, settings="A=2\n")
    assert takes_part(node, store=True)
