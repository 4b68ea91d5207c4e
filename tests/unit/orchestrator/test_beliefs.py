"""What a node believes from the voters' answers."""

from typing import Any

import pytest

from p2p_orchestrator.beliefs import MAX_VOTERS, Beliefs, parse
from p2p_orchestrator.membership import ALIVE, DEAD, UNKNOWN
from p2p_orchestrator.reader import UnfitError


def answer(voter: str, sent: float, **fields: Any) -> Any:
    base = {"node_id": voter, "leader_id": "a", "term": 3, "remaining": 8.0, "alive": 5, "known": 6}
    return parse({**base, "quorum_age": 1.0, "voters": {}, **fields}, sent)


def test_a_leader_counts_from_when_the_heartbeat_left() -> None:
    beliefs = Beliefs()
    beliefs.take(answer("v1", 100.0))
    found = beliefs.leader(107.5)
    assert found == ("a", 3, 0.5)
    assert beliefs.leader(108.0) is None


def test_the_valid_answer_with_the_highest_term_is_believed() -> None:
    beliefs = Beliefs()
    beliefs.take(answer("v1", 100.0, leader_id="old", term=3, remaining=9.0))
    beliefs.take(answer("v2", 100.0, leader_id="new", term=4, remaining=2.0))
    beliefs.take(answer("v3", 100.0, leader_id=None, term=9, remaining=0.0))
    assert beliefs.leader(101.0) == ("new", 4, 1.0)
    assert beliefs.term() == 9


def test_what_one_voter_said_is_forgotten() -> None:
    beliefs = Beliefs()
    beliefs.take(answer("v1", 100.0))
    beliefs.take(answer("v2", 100.0, leader_id="b", term=2))
    beliefs.forget("v1")
    beliefs.forget("v3")
    assert beliefs.voters() == ("v2",)
    assert beliefs.leader(101.0) == ("b", 2, 7.0)


def test_no_answer_is_believed_for_longer_than_the_rule_allows() -> None:
    beliefs = Beliefs()
    beliefs.take(answer("v1", 100.0, remaining=1e9))
    assert beliefs.leader(110.0) is None


def test_an_older_answer_does_not_replace_a_newer() -> None:
    beliefs = Beliefs()
    beliefs.take(answer("v1", 105.0, leader_id="new"))
    beliefs.take(answer("v1", 100.0, leader_id="old"))
    assert beliefs.leader(106.0) == ("new", 3, 7.0)


def test_a_voter_is_alive_if_it_answered_or_another_says_so() -> None:
    beliefs = Beliefs()
    assert beliefs.state("v1", 100.0, since=90.0) == UNKNOWN
    beliefs.take(answer("v1", 100.0, voters={"v2": ALIVE, "v3": DEAD}))
    assert [beliefs.state(v, 110.0, since=0.0) for v in ("v1", "v2", "v3")] == [ALIVE, ALIVE, DEAD]
    assert beliefs.state("v1", 115.1, since=0.0) == DEAD


def test_proof_of_a_quorum_ages_on() -> None:
    beliefs = Beliefs()
    assert beliefs.quorum_at() is None
    beliefs.take(answer("v1", 100.0, quorum_age=7.0))
    beliefs.take(answer("v2", 101.0, quorum_age=None))
    assert beliefs.quorum_at() == 93.0


@pytest.mark.parametrize(
    "lie",
    [
        {"node_id": None},
        {"node_id": "v 1"},
        {"term": True},
        {"term": 2**53},
        {"term": float("inf")},
        {"remaining": 10**400},
        {"remaining": float("nan")},
        {"remaining": "8"},
        {"quorum_age": float("-inf")},
        {"quorum_age": -1.0},
        {"leader_id": "a" * 300},
        {"leader_id": ["a"]},
        {"alive": -1},
        {"known": 1e3},
        {"voters": {"v2": "immortal"}},
        {"voters": {"v 2": ALIVE}},
        {"voters": {f"v{i}": ALIVE for i in range(MAX_VOTERS + 1)}},
        {"info": {"cpu_percent": float("nan")}},
        {"info": {"port": 10**400}},
    ],
)
def test_what_is_no_answer_is_refused(lie: dict[str, Any]) -> None:
    with pytest.raises(UnfitError):
        answer("v1", 100.0, **lie)


def test_fields_of_another_release_are_passed_over() -> None:
    assert answer("v1", 100.0, mood=[[10**30]], info={"mood": 1, "port": 2}).info == {"port": 2}


def test_whoever_calls_itself_anew_each_time_fills_nothing() -> None:
    beliefs = Beliefs()
    for number in range(1000):
        beliefs.take(answer(f"v{number}", float(number)))
    assert len(beliefs.voters()) == MAX_VOTERS
    assert "v999" in beliefs.voters()
