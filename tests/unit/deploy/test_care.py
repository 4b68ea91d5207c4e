"""Which members of the store get their database made smaller, and when."""

from __future__ import annotations

from typing import Any

from filter_plugins.p2p_care import MB, store_care
from tests.unit.deploy.conftest import IDS, Answer, dead, voter

LIMITS: dict[str, Any] = {"min_mb": 64, "percent": 50}
FULL = {"alarms": ["memberID:1 alarm:NOSPACE "]}


def sized(name: str, mb: float, used: float, **etcd: Any) -> Answer:
    return voter(name, db_size=int(mb * MB), db_size_in_use=int(used * MB), **etcd)


def test_only_a_database_with_much_room_and_a_large_share_of_it_is_worth_it() -> None:
    answers = {"a": sized("a", 200, 50), "b": sized("b", 100, 70), "c": sized("c", 60, 1), "d": voter("d")}
    answers["e"] = sized("e", 1000, 600)
    assert store_care(answers, list("abcde"), **LIMITS) == {"store_care": ["a"], "store_full": False}


def test_the_leader_of_etcd_is_last_and_others_than_the_runs_are_left() -> None:
    answers = {name: sized(name, 200, 50) for name in "abc"}
    assert store_care(answers, list("abc"), **LIMITS)["store_care"] == ["b", "c", "a"]
    assert store_care(answers, ["a", "b", "x"], **LIMITS)["store_care"] == ["b", "a"]
    assert IDS["a"] == "1"


def test_a_full_store_takes_all_members_or_none() -> None:
    answers = {"a": sized("a", 9, 8, **FULL), "b": sized("b", 9, 8), "c": dead()}
    assert store_care(answers, list("abc"), **LIMITS) == {"store_care": ["b", "a"], "store_full": True}
    assert store_care(answers, ["a"], **LIMITS) == {"store_care": [], "store_full": False}


def test_nobody_that_answers_needs_nothing() -> None:
    assert store_care({"a": dead()}, ["a"], **LIMITS) == {"store_care": [], "store_full": False}
