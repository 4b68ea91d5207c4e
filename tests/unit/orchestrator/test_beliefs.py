"""What a node believes from the voters' answers."""

from typing import Any

import pytest

from p2p_orchestrator.beliefs import Beliefs, parse
from p2p_orchestrator.membership import ALIVE, DEAD, UNKNOWN


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
    "data", [None, [], {}, {"node_id": "v"}, {"node_id": 1, "term": 1, "alive": 1, "known": 1}]
)
def test_what_is_no_answer_is_refused(data: object) -> None:
    with pytest.raises(ValueError, match=r"not|missing"):
        parse(data, 0.0)
