"""What a plan does about voters that moved."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.quorum import store_quorum

from filter_plugins.p2p_moves import moved_and_lost, with_moves
from filter_plugins.p2p_outcome import outcomes, plan_text
from filter_plugins.p2p_plan import plan
from plugins.plugin_utils.plan.stages import touched
from tests.unit.deploy.conftest import VOTERS, dead
from tests.unit.deploy.test_plan import drifted

Answers = dict[str, dict[str, Any]]
Healthy = Callable[[], Answers]
URLS = {name: f"https://{name}:2380" for name in VOTERS}


def _file(*gone: str) -> dict[str, str]:
    """Return the URLs of a file in which some voters have another address than the store lists."""
    return URLS | {name: f"https://new-{name}:2380" for name in gone}


def _planned(answers: Answers, urls: dict[str, str], run: Sequence[str] = VOTERS) -> dict[str, Any]:
    mine = {name: answers[name] for name in run}
    found = plan(mine, VOTERS, store_quorum(answers), voter_answers=answers, now=100.0)
    return with_moves(found, answers, urls, run=run)


def _restarting(answers: Answers, *names: str) -> Answers:
    return answers | {name: drifted(answers[name], "p2p-etcd") for name in names}


def _leaderless(answers: Answers) -> Answers:
    """Return answers of voters that live and of which no majority exchanges messages."""
    found = copy.deepcopy(answers)
    for answer in found.values():
        if "probe" in answer:
            answer["probe"]["etcd"] |= {"leader": None, "reads": False}
            answer["probe"]["http"]["status"]["body"]["leader_id"] = None
    return found


def test_nobody_moved(healthy: Healthy) -> None:
    found = _planned(healthy(), URLS)
    assert (found["moves"], found["move_turns"], found["readdressed"]) == ([], {}, [])
    assert found["unchanged"] == list(VOTERS)
    assert _planned({name: dead() for name in VOTERS}, _file("b"))["moves"] == []


def test_one_that_moved_restarts_at_its_turn_and_is_listed_anew(healthy: Healthy) -> None:
    found = _planned(_restarting(healthy(), "b"), _file("b"))
    assert (found["voters_one_by_one"], found["voters_at_once"], found["readdressed"]) == (["b"], [], [])
    assert [step["peer_url"] for step in found["move_turns"]["b"]["after"]] == ["https://new-b:2380"]
    assert "moved: the store lists b at b:2380, and the fleet file has it at new-b:2380" in plan_text(found)


def test_who_moved_and_does_not_count_goes_first(healthy: Healthy) -> None:
    answers = _restarting(healthy(), "a", "b", "d")
    answers["d"]["probe"]["etcd"]["reads"] = False
    found = _planned(answers, _file("d"))
    assert found["voters_one_by_one"] == ["d", "b", "a"]
    answers["d"]["probe"]["etcd"]["reads"] = True
    assert _planned(answers, _file("d"))["voters_one_by_one"] == ["b", "d", "a"]


def test_one_that_restarted_already_has_a_stage_of_its_own(healthy: Healthy) -> None:
    found = _planned(healthy(), _file("a", "b"))
    assert found["readdressed"] == ["b", "a"], "the leader last"
    assert found["unchanged"] == ["c", "d", "e"]
    assert touched(found) == ["b", "a"]
    hostvars: dict[str, dict[str, Any]] = {name: {} for name in VOTERS}
    assert set(outcomes(hostvars, found)["not done"]) == {"a", "b"}
    assert any("voters that the store lists where they are now" in line for line in plan_text(found))


def test_without_a_quorum_those_that_moved_restart_all_at_once(healthy: Healthy) -> None:
    answers = _leaderless(_restarting(healthy(), "c", "d", "e"))
    found = _planned(answers, _file("c", "d", "e"))
    assert (found["voters_at_once"], found["voters_one_by_one"]) == (["c", "d", "e"], [])
    assert found["readdressed"] == ["c", "d", "e"]
    assert found["quorum_expected"]
    assert found["move_refused"] == ""


def test_one_unmoved_member_is_enough(healthy: Healthy) -> None:
    answers = _leaderless(_restarting(healthy(), "b", "c", "d", "e"))
    found = _planned(answers, _file("b", "c", "d", "e"))
    assert (found["move_refused"], found["voters_at_once"]) == ("", ["b", "c", "d", "e"])


@pytest.mark.parametrize("gone", [(), ("a", "b")], ids=["all-moved", "the-others-are-dead"])
def test_where_nobody_is_where_the_list_has_it_the_run_says_so(
    healthy: Healthy, gone: tuple[str, ...]
) -> None:
    answers = _leaderless(_restarting(healthy(), *VOTERS)) | {name: dead() for name in gone}
    found = _planned(answers, _file(*VOTERS))
    assert "No member that lives is where the store lists it" in found["move_refused"]
    assert "c at c:2380, and the fleet file has it at new-c:2380" in found["move_refused"]


def test_too_few_that_live_are_no_matter_of_addresses(healthy: Healthy) -> None:
    answers = _leaderless(_restarting(healthy(), "d", "e")) | {name: dead() for name in "abc"}
    assert _planned(answers, _file("d", "e"))["move_refused"] == ""


def test_a_run_may_not_leave_out_one_that_moved(healthy: Healthy) -> None:
    found = _planned(healthy(), _file("b"), run=("a", "c"))
    assert found["move_refused"].startswith("the store lists b at b:2380")
    assert found["move_refused"].endswith(
        "run without --limit, or with b in it; a voter whose status is not ready is part of no run"
    )


def test_one_that_cannot_be_reached_is_left_as_it_is(healthy: Healthy) -> None:
    found = _planned(healthy() | {"b": dead()}, _file("b"))
    assert (found["move_refused"], found["move_turns"], found["readdressed"]) == ("", {}, [])


def test_one_that_is_refused_is_not_worked_on(healthy: Healthy) -> None:
    answers = healthy()
    mine = {name: answers[name] for name in VOTERS}
    found = plan(mine, VOTERS, store_quorum(answers), voter_answers=answers, now=100.0)
    refused = {**found, "refused": {"b": "its etcd data is gone"}}
    made = with_moves(refused, answers, _file("b"), run=VOTERS)
    assert (made["readdressed"], made["move_turns"], [move["name"] for move in made["moves"]]) == (
        [],
        {},
        ["b"],
    )


def test_who_counts_does_not_restart_beside_others_though_the_quorum_seems_lost(healthy: Healthy) -> None:
    answers = _restarting(healthy(), "a", "b") | {name: dead() for name in "cde"}
    found = _planned(answers, _file("a", "b"))
    assert (found["voters_one_by_one"], found["voters_at_once"]) == (["b", "a"], [])
    assert not found["quorum_expected"], "two of five are no majority, wherever they are"


def test_settings_that_differ_between_nodes_move_nobody(healthy: Healthy) -> None:
    answers = healthy()
    tried = {"voter": "b", "service": "etcd", "host": "b", "port": 2380, "listed": None}
    answers["a"]["probe"]["mesh"] = [{**tried, "outcome": "open", "why": ""}]
    other_port = {name: url.replace("2380", "2390") for name, url in URLS.items()}
    why = _planned(answers, other_port)["move_refused"]
    assert why.startswith("b is meant to be at b:2390 by one node's settings, and at b:2380 by another's")


def test_what_is_a_word_of_one_moment_is_asked_again(healthy: Healthy) -> None:
    answers = healthy()
    assert moved_and_lost(answers, _file("b")) == []
    assert moved_and_lost(_leaderless(answers), URLS) == []
    assert moved_and_lost(_leaderless(answers), _file("b")) == [*VOTERS]


def test_two_voters_with_one_address_are_refused(healthy: Healthy) -> None:
    why = _planned(healthy(), URLS | {"b": URLS["c"]})["move_refused"]
    assert why.startswith("the fleet file has b at c:2380, where c is: correct the address of one of them")


def test_who_joins_and_who_never_started_did_not_move(healthy: Healthy) -> None:
    answers = healthy()
    found = plan(answers, VOTERS, store_quorum(answers), voter_answers=answers, now=100.0)
    joining = with_moves({**found, "joiners": ["b"]}, answers, _file("b"), run=VOTERS)
    assert joining["moves"] == []
    for answer in answers.values():
        answer["probe"]["etcd"]["members"][1]["client_urls"] = []
    assert with_moves(found, answers, _file("b"), run=VOTERS)["moves"] == []


def test_whoever_is_listed_anew_gives_the_record_back(healthy: Healthy) -> None:
    answers = healthy()
    found = plan(answers, VOTERS, store_quorum(answers), voter_answers=answers, now=100.0)
    assert with_moves({**found, "record_holders": []}, answers, _file("b"), run=VOTERS)["record_holders"] == [
        *VOTERS
    ]
