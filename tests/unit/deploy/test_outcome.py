"""What a run announces, what stops it half-way, and what it says of every node in the end."""

from __future__ import annotations

from typing import Any

import pytest

from filter_plugins.p2p_outcome import brake, failure, not_done, outcome_text, outcomes, plan_text, reached
from tests.unit.deploy.conftest import voter

PLAN: dict[str, Any] = {
    "unchanged": ["quiet-1"],
    "canary": ["canary-1"],
    "voters_at_once": ["mended"],
    "voters_one_by_one": ["first", "leader"],
    "others": ["o1", "o2", "o3", "o4"],
    "batches": [1, 3],
    "warnings": ["o1 does not reach first at 192.0.2.1:8771 (no answer within 3 s)"],
    "bootstrap": [],
    "unreachable": {"gone": "timed out"},
    "refused": {"empty": "its data is gone"},
    "quorum": {
        "members": ["first", "leader", "mended"],
        "counting": ["first", "leader"],
        "down": {"mended": "its etcd member does not answer"},
        "quorum": 2,
        "tolerates": 0,
        "leader": "leader",
    },
    "stops": {"first": ["p2p-etcd", "p2p_orchestrator"], "leader": ["p2p_orchestrator"], "canary-1": []},
}


def hosts(**states: str | dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return hostvars of the plan's nodes, with an outcome where one is named."""
    names = [*PLAN["canary"], *PLAN["voters_at_once"], *PLAN["voters_one_by_one"], *PLAN["others"]]
    given = {name.replace("_", "-"): state for name, state in states.items()}
    return {
        name: {"p2p_outcome": {"state": found} if isinstance(found, str) else found}
        if (found := given.get(name))
        else {}
        for name in names
    }


def test_the_plan_names_who_restarts_in_which_order_and_what_may_fail_meanwhile() -> None:
    text = plan_text(PLAN)
    assert text[0] == "8 of 9 nodes will change, 1 are as they should be"
    assert "etcd: 2 of 3 members count, a quorum is 2: 0 may fail" in text
    assert "  mended does not count: its etcd member does not answer" in text
    order = [
        "first, as the canary: canary-1 (nothing of it stops)",
        "voters that start or are mended, nothing that counts stops: 1 node: mended",
        "voter 1 of 2, alone: first (restarts p2p-etcd and p2p_orchestrator)",
        "voter 2 of 2, alone: leader (restarts p2p_orchestrator)",
        "batch 1 of 2, nodes that do not vote: 1 node: o1",
        "batch 2 of 2, nodes that do not vote: 3 nodes: o2, o3, o4",
    ]
    assert [line for line in text if line in order] == order
    assert "unreachable: gone (timed out)" in text
    assert "refused: empty (its data is gone)" in text
    assert plan_text(PLAN, check=True)[0].startswith("8 of 9 nodes would change")


def test_a_cut_over_is_said_to_cost_the_leader() -> None:
    plan = {**PLAN, "voters_at_once": ["first", "leader"], "voters_one_by_one": []}
    assert "voters that go over all at once, nobody leads meanwhile: 2 nodes: first, leader" in plan_text(
        plan
    )


def test_a_long_list_of_names_is_cut() -> None:
    plan = {**PLAN, "others": [f"n{number}" for number in range(40)], "batches": [40]}
    assert any(line.endswith("n11 and 28 more") for line in plan_text(plan))


@pytest.mark.parametrize("stage", ["voters_at_once", "voters_one_by_one", "others"])
def test_a_failed_canary_stops_everything(stage: str) -> None:
    assert brake(hosts(canary_1="failed"), PLAN, stage) == "the canary canary-1 failed"
    assert brake(hosts(canary_1="changed"), PLAN, stage) == ""


def test_a_canary_that_is_lost_stops_everything() -> None:
    assert "the canary canary-1 was lost" in brake(hosts(canary_1="unreachable"), PLAN, "voters_one_by_one")


def test_a_voter_that_did_not_come_back_stops_what_comes_after_it() -> None:
    lost = hosts(first={"state": "failed", "stopped": True})
    assert brake(lost, PLAN, "voters_one_by_one") == "the voter first did not come back"
    assert brake(lost, PLAN, "others") == "the voter first did not come back"


@pytest.mark.parametrize("state", ["failed", "refused", "unreachable"])
def test_a_voter_that_was_not_stopped_stops_nothing(state: str) -> None:
    untouched = hosts(first={"state": state, "stopped": False})
    assert brake(untouched, PLAN, "voters_one_by_one") == ""
    assert brake(untouched, PLAN, "others") == ""


def test_too_many_failures_stop_the_next_batch() -> None:
    half = hosts(canary_1="changed", o1="failed")
    assert "1 of 2 nodes failed so far" in brake(half, PLAN, "others", 20)
    assert brake(half, PLAN, "others", 50) == ""
    assert brake(hosts(canary_1="changed", o1="unreachable"), PLAN, "others", 0) == ""


def test_a_run_that_is_held_back_stays_so() -> None:
    later = hosts(canary_1="changed", o1="failed", o2="held", o3="held", o4="held")
    assert "1 of 2 nodes failed so far" in brake(later, PLAN, "others", 20)


def test_the_gates_refusal_is_no_failure() -> None:
    verdict = {"allowed": False, "reason": "2 of 3 count"}
    assert failure({"msg": "Assertion failed"}, [], verdict) == {
        "state": "refused",
        "why": "2 of 3 count",
        "stopped": False,
    }


def test_what_most_voters_contradict_after_a_step_holds_the_others_back() -> None:
    verdict = {"allowed": False, "begun": True, "reason": "the others list it still"}
    found = failure({"msg": "the others list it still"}, [], verdict)
    assert found == {"state": "failed", "why": "the others list it still", "stopped": True}


def test_a_voter_that_fails_after_the_gate_counts_as_stopped() -> None:
    found = failure({"msg": "Task failed: no space"}, [{}, {}], {"allowed": True, "reason": ""})
    assert found == {"state": "failed", "why": "no space", "stopped": True}


def test_the_real_reason_is_the_node_that_no_longer_answers() -> None:
    gone = {"unreachable": True, "msg": "Failed to connect to the host via ssh: timed out"}
    found = failure({"msg": "'path' is undefined"}, [{}, gone], {})
    assert found == {"state": "unreachable", "why": "timed out", "stopped": False}


def test_a_node_that_is_asked_in_vain_says_what_it_lacks() -> None:
    given_up = {**voter("a", follows=None), "msg": "Action failed: Unknown error."}
    why = "it does not take part again: its orchestrator names no leader"
    assert failure(given_up, [], {}) == {"state": "failed", "why": why, "stopped": False}
    given_up = {**voter("a", reads=False), "msg": "Action failed: Unknown error."}
    assert failure(given_up, [], {})["why"].endswith("its etcd member confirms no read with a majority")


def test_every_node_has_an_outcome() -> None:
    hostvars = hosts(
        canary_1="changed", mended="changed", first="changed", leader={"state": "refused", "why": "alone"}
    )
    hostvars["o1"]["p2p_outcome"] = {"state": "held", "why": "too many failed"}
    found = outcomes(hostvars, PLAN)
    assert found["changed"] == {"canary-1": "", "mended": "", "first": ""}
    assert found["unchanged"] == {"quiet-1": ""}
    assert found["refused"] == {"empty": "its data is gone", "leader": "alone"}
    assert found["held"] == {"o1": "too many failed"}
    assert found["unreachable"] == {"gone": "timed out"}
    assert set(found["not done"]) == {"o2", "o3", "o4"}
    assert not_done(found) == ["3 were not done", "1 were held back", "2 were refused", "1 are unreachable"]
    assert "held back: o1: too many failed" in outcome_text(found)
    assert "not done: o2: the run ended before" in outcome_text(found)


def test_a_run_without_trouble_has_nothing_left_to_do() -> None:
    done = outcomes(
        hosts(),
        {
            **PLAN,
            **{key: [] for key in ("canary", "voters_at_once", "voters_one_by_one", "others")},
            "refused": {},
            "unreachable": {},
        },
    )
    assert not_done(done) == []
    assert outcome_text(done, check=True) == ["would change: none", "unchanged: 1 node: quiet-1"]


def test_a_node_that_was_lost_on_the_way_is_not_changed() -> None:
    assert reached([{}, {"changed": True}], {}) == {"state": "changed"}
    gone = {"unreachable": True, "msg": "Failed to connect to the host via ssh: timed out"}
    assert reached([{}, gone], {}) == {"state": "unreachable", "why": "timed out", "stopped": False}
    assert reached([gone], {"allowed": True, "reason": "2 of 3 count"})["stopped"] is True
