"""What is not known of a voter's services: it may be what the quorum rests on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.quorum import orchestrator_quorum, store_quorum
from hypothesis import given, settings
from hypothesis import strategies as st

from filter_plugins.p2p_plan import Plan, plan
from filter_plugins.p2p_quorum import Verdict, gate, takes_part
from tests.unit.deploy.conftest import IDS, VOTERS, dead, members, voter

Answers = dict[str, dict[str, Any]]
Healthy = Callable[[], Answers]
ETCD, SERVICE = "p2p-etcd", "p2p_orchestrator"
BOTH = [ETCD, SERVICE]


def seen(answer: dict[str, Any], **states: Any) -> dict[str, Any]:
    """Let the service manager say something else of the voter's services; None: it could not be asked."""
    for name, state in states.items():
        service = {"etcd": ETCD, "orchestrator": SERVICE}[name]
        if state is None:
            del answer["probe"]["services"][service]
        else:
            answer["probe"]["services"][service] = state
    return answer


def differs(answer: dict[str, Any], part: str = "file", name: str = "/etc/x", restarts: Any = BOTH) -> Any:
    """Give a node one difference."""
    item = {"part": part, "name": name, "why": "content differs", "restarts": list(restarts)}
    answer["probe"]["drift"] = [item]
    return answer


def make(answers: Answers, *, accept_outage: bool = False) -> Plan:
    """Return the plan of a run over the voters."""
    return plan(
        answers,
        VOTERS,
        store_quorum(answers),
        voter_answers=answers,
        now=0,
        service=SERVICE,
        etcd_service=ETCD,
        accept_outage=accept_outage,
    )


def ask(answers: Answers, name: str, *services: str) -> Verdict:
    """Return the gate's answer."""
    return gate(answers, name, services or BOTH, etcd_service=ETCD)


STATES = [
    {"active": "activating"},
    {"active": "deactivating"},
    {"active": "reloading"},
    {"active": "", "load": ""},
    None,
]


@pytest.mark.parametrize("state", STATES)
def test_what_is_starting_or_was_not_seen_stops_behind_the_gate(healthy: Healthy, state: Any) -> None:
    answers = healthy()
    for name in "bc":
        seen(differs(answers[name]), etcd=state)
    result = make(answers)
    assert result["voters_one_by_one"] == ["b", "c"]
    assert result["stops"]["b"] == sorted(BOTH)
    assert not result["voters_at_once"]


@pytest.mark.parametrize(
    "state",
    [{"active": "inactive"}, {"active": "failed"}, {"active": "activating", "sub": "auto-restart"}],
)
def test_what_surely_does_not_run_is_mended_beside_the_others(healthy: Healthy, state: Any) -> None:
    answers = healthy()
    for name in "bc":
        answers[name] = seen(
            differs(voter(name, member_id=None), restarts=[ETCD]), etcd=state, orchestrator=state
        )
    assert make(answers)["voters_at_once"] == ["b", "c"]


@pytest.mark.parametrize(("part", "name"), [("manager", ETCD), ("probe", "drift")])
def test_a_voter_that_could_not_be_compared_is_mended_behind_the_gate(
    healthy: Healthy, part: str, name: str
) -> None:
    answers = healthy()
    for one in "bc":
        seen(differs(answers[one], part, name, restarts=()), etcd=None, orchestrator=None)
    result = make(answers)
    assert result["voters_one_by_one"] == ["b", "c"]
    assert ETCD in result["stops"]["b"]


def starting(name: str) -> dict[str, Any]:
    """Return the answer of a voter whose member waits for a majority."""
    answer = voter(name, member_id=None, follows=None)
    return seen(differs(answer, restarts=[ETCD]), etcd={"active": "activating"})


def test_a_store_that_waits_for_its_majority_is_mended_all_at_once() -> None:
    result = make({**{name: starting(name) for name in "abc"}, "d": dead(), "e": dead()})
    assert result["voters_at_once"] == ["a", "b", "c"]


@pytest.mark.parametrize("others", [{"d": dead(), "e": voter("e")}, {"c": dead(), "d": dead(), "e": dead()}])
def test_not_so_if_one_knows_a_leader_or_too_few_say_that_nobody_leads(others: Answers) -> None:
    result = make({**{name: starting(name) for name in "abc"}, **others})
    assert not result["voters_at_once"]
    assert "a" in result["voters_one_by_one"]


def test_so_it_is_if_the_operator_accepts_the_outage() -> None:
    answers = {**{name: starting(name) for name in "ab"}, "c": dead(), "d": dead(), "e": dead()}
    assert make(answers)["voters_one_by_one"] == ["a", "b"]
    assert make(answers, accept_outage=True)["voters_at_once"] == ["a", "b"]


@pytest.mark.parametrize("state", STATES)
def test_a_silent_member_that_may_work_is_no_free_one(healthy: Healthy, state: Any) -> None:
    """Two others are out of sight: with them, and the two that answer, it may be what holds the quorum up."""
    answers = {**healthy(), "c": seen(voter("c", member_id=None), etcd=state), "d": dead(), "e": dead()}
    verdict = ask(answers, "c", ETCD)
    assert not verdict["allowed"]
    assert not verdict["settled"]
    assert "may be one of those that hold it up" in verdict["reason"]


def test_a_member_that_surely_does_not_run_is_free(healthy: Healthy) -> None:
    state = {"active": "failed"}
    answers = {**healthy(), "c": seen(voter("c", member_id=None), etcd=state), "d": dead(), "e": dead()}
    assert ask(answers, "c", ETCD) == {
        "allowed": True,
        "settled": True,
        "reason": "c does not count among the etcd members: stopping it is free",
    }


def test_one_that_says_it_is_at_rest_while_its_member_counts_is_not_free(healthy: Healthy) -> None:
    answers = {**healthy(), "c": seen(voter("c"), etcd={"active": "failed"}), "d": dead(), "e": dead()}
    assert not ask(answers, "c", ETCD)["allowed"]


def test_that_nobody_leads_may_be_an_election() -> None:
    answers = {name: voter(name, leader=None) for name in VOTERS}
    verdict = ask(answers, "c", ETCD)
    assert verdict["allowed"]
    assert not verdict["settled"], "the voters are asked once more"
    silent = {**answers, "c": voter("c", member_id=None)}
    assert ask(silent, "c", ETCD)["allowed"]
    few = {**silent, "d": dead(), "e": dead()}
    assert not ask(few, "c", ETCD)["allowed"], "two of five cannot say that nobody leads"


def told(answer: dict[str, Any], **body: Any) -> dict[str, Any]:
    """Let the orchestrator say something else."""
    answer["probe"]["http"]["status"]["body"].update(body)
    return answer


@pytest.mark.parametrize(
    ("body", "counts", "why"),
    [
        ({}, True, ""),
        ({"leader_id": None}, False, "its orchestrator names no leader"),
        ({"leader_id": ""}, False, "its orchestrator names no leader"),
        ({"seconds_since_quorum": 14.9}, True, ""),
        ({"seconds_since_quorum": 15.1}, False, "its orchestrator heard no majority of late"),
        ({"voter_quorum_ok": False}, False, "its orchestrator heard no majority of late"),
        # One that has just come hears no voter that does not know it yet; its store proves the majority.
        ({"seconds_since_quorum": 0.4, "voter_quorum_ok": False}, True, ""),
    ],
)
def test_an_orchestrator_counts_that_names_a_leader_and_heard_a_majority(
    healthy: Healthy, body: dict[str, Any], counts: bool, why: str
) -> None:
    answers = {**healthy(), "b": told(voter("b"), **body)}
    found = orchestrator_quorum(answers)
    assert ("b" in found["counting"]) is counts
    assert found["down"].get("b", "") == why
    assert takes_part(answers["b"], store=True) is counts


def test_orchestrators_that_name_no_leader_spare_nobody(healthy: Healthy) -> None:
    answers = healthy() | {name: told(voter(name), leader_id=None) for name in "bc"}
    verdict = ask(answers, "e", SERVICE)
    assert not verdict["allowed"]
    assert "3 of 5 orchestrators count, a quorum is 3: stopping e would lose it" in verdict["reason"]
    assert "b (its orchestrator names no leader)" in verdict["reason"]
    assert ask(answers, "b", SERVICE)["allowed"]


def test_who_the_members_are_rests_on_most_voters() -> None:
    """Two voters that lie list themselves and the one that is to stop; of the others nothing is seen."""
    three = [item for item in members() if item["name"] in "abc"]
    liars = {name: voter(name, members=three) for name in "ab"}
    answers = {**liars, "c": voter("c"), "d": dead(), "e": dead()}
    verdict = ask(answers, "c", ETCD)
    assert not verdict["allowed"]
    assert verdict["reason"] == (
        "only a, b list the members a, b, c; more than half of the voters a, b, c, d, e must: see why the"
        " others do not, and run again. c is not stopped: the quorum may be lost"
        " (-e p2p_accept_outage=true stops it nevertheless)"
    )
    answers["c"] = voter("c", members=three)
    assert ask(answers, "c", ETCD)["allowed"], "three of five tell the same"


LIES: list[dict[str, Any]] = [
    {"raft_index": 1 << 53},
    {"cluster_id": "99"},
    {"members": members()[:1]},
    {"members": members()[2:]},
    {"member_id": IDS["e"]},
    {"leader": IDS["b"]},
    {"leader": None},
    {"member_id": None},
    {"learner": True},
]
SERVICES = st.sampled_from([{"active": "active"}, {"active": "failed"}, {"active": "activating"}, None])


# What a voter says of itself with these: that it does not count.
DENIALS = ("cluster_id", "member_id", "learner")


@settings(max_examples=400, deadline=None)
@given(
    lies=st.tuples(*[st.lists(st.sampled_from(LIES), max_size=3)] * 2),
    states=st.tuples(SERVICES, SERVICES),
    cut_off=st.sets(st.sampled_from("cde"), max_size=2),
    down=st.sampled_from(["", "c", "d"]),
    stopping=st.sampled_from("cde"),
)
def test_two_liars_of_five_speak_for_nobody_but_themselves(
    lies: Any, states: Any, cut_off: set[str], down: str, stopping: str
) -> None:
    """A true voter that counts stops only if three others are seen to, of which the liars are two at most."""
    answers = {name: voter(name) for name in "cde"}
    counting = {"c", "d", "e"} - {stopping, down} - cut_off
    for name, said, state in zip("ab", lies, states, strict=True):
        merged = {key: value for lie in said for key, value in lie.items()}
        answers[name] = seen(voter(name, **merged), etcd=state)
        if not merged.keys() & set(DENIALS) and merged.get("leader", "1") is not None:
            counting.add(name)
    if down:
        answers[down] = seen(voter(down, member_id=None), etcd={"active": "failed"})
    for name in cut_off - {stopping}:
        answers[name] = dead()
    if stopping != down and ask(answers, stopping, ETCD)["allowed"]:
        assert len(counting) >= len(VOTERS) // 2 + 1
