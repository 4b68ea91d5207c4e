"""When a quorum is rebuilt, from whose data, and when that is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from ansible_collections.p2p.cluster.plugins.plugin_utils.door.words import LARGEST_COUNT, LARGEST_EPOCH
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.epochs import CLOCK_SKEW, LARGEST_TOLD_EPOCH
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.quorum import store_quorum
from hypothesis import given
from hypothesis import strategies as st

from filter_plugins.p2p_recovery import (
    LEASE_SECONDS,
    Recovery,
    most_advanced,
    raised_epoch,
    recovery_plan,
    recovery_text,
    why_not_lost,
    witnesses,
)
from p2p_orchestrator.leadership import EPOCH_SPAN, Timing
from tests.unit.deploy.conftest import IDS, Answer, blank, dead, voter
from tests.unit.deploy.conftest import VOTERS as FIVE

VOTERS = ["a", "b", "c"]
UNTRUSTED: Answer = {"failed": True, "untrusted": True, "msg": "probe.clock.unix: Expected `float`"}


def alone(name: str) -> Answer:
    """Return the answer of a member that runs and has lost the others."""
    return voter(name, follows=None, leader=None)


def says(name: str, **status: Any) -> Answer:
    """Return the answer of such a member whose orchestrator says something."""
    answer = alone(name)
    answer["probe"]["http"]["status"]["body"] |= status
    return answer


def silent(name: str) -> Answer:
    """Return the answer of a voter that holds data and whose member does not answer."""
    answer = alone(name)
    answer["probe"]["etcd"] = {"has_data": True, "error": "connection refused"}
    return answer


def plan(answers: dict[str, Answer], voters: Sequence[str] = tuple(VOTERS), **words: Any) -> Recovery:
    """Return the plan for these answers, confirmed as it has to be unless `confirmed` says otherwise."""
    missing = [name for name in voters if "probe" not in answers[name]]
    settings: dict[str, Any] = {"cluster": "p2p", "now": "20261123T000000Z", "epoch": 77}
    settings["confirmed"] = missing or "p2p"
    return recovery_plan(answers, voters, store_quorum(answers), **settings | words)


def test_the_survivor_is_the_source_and_all_that_answer_are_members() -> None:
    found = plan({"a": blank(), "b": alone("b"), "c": dead()})
    assert found["refusal"] == ""
    assert found["members"] == ["a", "b"]
    assert found["sources"] == ["b"]
    assert "timed out" in found["left_out"]["c"]
    assert found["token"].endswith("-20261123T000000Z")
    lines = recovery_text(found, check=True)
    assert "  a: holds no data" in lines
    assert "  b: holds data up to raft index 5000, knows no leader, its orchestrator knows no leader" in lines
    assert "the run is confirmed with -e p2p_recover_confirm=c" in lines
    assert any("would be made from the most advanced data of b" in line for line in lines)
    assert any(line.startswith("afterwards name others in p2p_voters in the place of") for line in lines)


def test_a_member_that_does_not_answer_is_a_source_too() -> None:
    assert plan({"a": blank(), "b": silent("b"), "c": blank()})["sources"] == ["b"]


def test_a_majority_that_answers_is_refused_with_a_snapshot_too() -> None:
    answers = {"a": voter("a"), "b": voter("b"), "c": voter("c"), "d": voter("d"), "e": voter("e")}
    for words in ({}, {"snapshot": "/s.db"}, {"check": True}):
        assert "nothing is lost" in plan(answers, **words)["refusal"]


def test_a_majority_that_could_be_started_is_refused_without_a_snapshot() -> None:
    answers = {"a": silent("a"), "b": alone("b"), "c": dead()}
    assert "start them with deploy.yml" in plan(answers)["refusal"]
    found = plan(answers, snapshot="/s.db")
    assert found["refusal"] == ""
    assert found["sources"] == ["a"]


def test_nothing_to_rebuild_from_is_refused() -> None:
    assert "holds the store's data" in plan({"a": blank(), "b": dead(), "c": blank()})["refusal"]
    assert plan({"a": blank(), "b": dead(), "c": blank()}, snapshot="/s.db")["refusal"] == ""
    assert "none of the voters answers" in plan(dict.fromkeys(VOTERS, dead()), snapshot="/s.db")["refusal"]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (voter("b"), "names a as the store's leader, its orchestrator names a as leader"),
        (voter("b", follows=None), "names a as the store's leader"),
        (voter("b", follows=None, leader="9"), "names the member 9 as the store's leader"),
        (voter("b", follows="b", leader=None), "its orchestrator names b as leader"),
        (voter("b", follows="c", leader="0"), "its orchestrator names c as leader"),
        (
            says("b", voter_quorum_ok=False, seconds_since_quorum=11.4),
            "its orchestrator sees a quorum that was there 11 s ago",
        ),
        (says("b", voter_quorum_ok=True, seconds_since_quorum=None), "its orchestrator sees a quorum"),
    ],
)
def test_one_voter_that_says_that_there_is_a_quorum_is_enough_to_refuse(answer: Answer, words: str) -> None:
    answers = {"a": dead(), "b": answer, "c": dead()}
    for more in ({}, {"snapshot": "/s.db"}, {"check": True}):
        found = plan(answers, **more)
        assert found["witnesses"] == {"b": words}
        assert f"b {words}. This controller may be cut off" in found["refusal"]
        assert "stop its p2p-etcd and p2p_orchestrator, or take it out of p2p_voters" in found["refusal"]
        assert any(line.startswith("  b: ") and words in line for line in recovery_text(found))
        text = "\n".join(recovery_text(found))
        assert "  c: timed out" in text
        assert "store would be" not in text
        assert "members would be" not in text


@pytest.mark.parametrize(
    "answer",
    [
        alone("b"),
        voter("b", follows=None, leader="0"),
        silent("b"),
        blank(),
        says("b", voter_quorum_ok=True, seconds_since_quorum=LEASE_SECONDS),
        says("b", voter_quorum_ok=True, seconds_since_quorum=90.0),
        says("b", voter_quorum_ok=False),
    ],
)
def test_a_voter_that_knows_of_no_quorum_stops_no_recovery(answer: Answer) -> None:
    assert plan({"a": blank(), "b": answer, "c": dead()}, snapshot="/s.db")["refusal"] == ""


def test_what_another_program_answers_is_no_word_of_a_voter() -> None:
    answer = says("b", leader_id="a", term=5)
    answer["probe"]["listener"] = {"pid": None, "orchestrator": False}
    assert witnesses({"b": answer}, ["b"]) == {}
    answer["probe"]["listener"]["orchestrator"] = None
    assert witnesses({"b": answer}, ["b"]) == {"b": "its orchestrator names a as leader"}


def test_asked_again_before_the_stop_only_a_quorum_counts() -> None:
    assert why_not_lost(witnesses({"a": dead(), "b": alone("b")}, ["a", "b"])) == ""
    assert "b names a as the store's leader" in why_not_lost(witnesses({"b": voter("b")}, ["b"]))


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (voter("b", follows="a", has_data=False), "holds no data, names a as the store's leader, its"),
        (voter("b", has_data=None), "may hold data, names a as the store's leader, its"),
        (silent("b"), "holds data, its member does not answer, its orchestrator knows no leader"),
        (blank(), "holds no data"),
    ],
)
def test_what_a_voter_says_is_told(answer: Answer, told: str) -> None:
    assert plan({"a": dead(), "b": answer, "c": dead()})["told"]["b"].startswith(told)


def test_a_quorum_that_is_there_is_not_called_lost() -> None:
    lines = recovery_text(plan({name: voter(name) for name in FIVE}, FIVE))
    assert lines[0] == "etcd: 5 of 5 members count, which is a quorum"
    assert not any("will be" in line or "-e p2p_recover_confirm" in line for line in lines)


def test_where_all_voters_answer_only_the_clusters_name_confirms_and_a_preview_needs_none() -> None:
    answers = {"a": blank(), "b": alone("b"), "c": blank()}
    for word in ("", "yes", "other", "a,c", None, True, 5, ["p2"]):
        assert "-e p2p_recover_confirm=p2p" in plan(answers, confirmed=word)["refusal"]
    assert plan(answers, confirmed=" p2p ")["refusal"] == ""
    assert plan(answers, confirmed="", check=True)["refusal"] == ""
    assert "the nearest is p2p" in plan(answers, confirmed="p2pp", check=True)["refusal"]


LOST = {"alpha": blank(), "beta": alone("b"), "gamma": dead(), "delta": UNTRUSTED, "eps": dead()}


@pytest.mark.parametrize(
    "confirmed",
    [
        "gamma,delta,eps",
        " eps , gamma,delta ",
        "eps\ngamma delta",
        ["delta", "gamma", "eps"],
        ["delta , eps", "gamma", "gamma"],
    ],
)
def test_the_voters_that_do_not_answer_are_named_in_any_form(confirmed: object) -> None:
    assert plan(LOST, list(LOST), confirmed=confirmed)["refusal"] == ""


@pytest.mark.parametrize(
    ("confirmed", "wrong"),
    [
        ("gamma,eps", "it leaves out delta."),
        ("eps", "it leaves out gamma, delta."),
        ("gamma,delta,eps,beta", "beta answers, so that it is no missing voter."),
        ("gamma,delta,esp", "esp is no voter of the fleet file (the nearest is eps); it leaves out eps."),
        (
            "Gamma,delta,eps",
            "Gamma is no voter of the fleet file (the nearest is gamma); it leaves out gamma.",
        ),
        ("gamma,delta,eps,zzzzzz", "zzzzzz is no voter of the fleet file."),
        ("p2p", "p2p is the cluster, and it is the voters that do not answer who are named; it leaves out"),
        (["yes\x1b[2J"], "yes\\x1b[2J is no voter of the fleet file"),
    ],
)
def test_a_name_too_few_or_too_many_confirms_nothing(confirmed: object, wrong: str) -> None:
    for check in (False, True):
        refusal = plan(LOST, list(LOST), confirmed=confirmed, check=check)["refusal"]
        assert refusal.startswith("p2p_recover_confirm: ")
        assert wrong in refusal
        assert refusal.endswith("-e p2p_recover_confirm=gamma,delta,eps (each of them by name)")


def test_without_a_confirmation_the_refusal_has_the_argument_and_a_preview_goes_on() -> None:
    refusal = plan(LOST, list(LOST), confirmed="")["refusal"]
    assert refusal.startswith("A recovery makes a new store")
    assert (
        "shuts out gamma (no answer), delta (no answer), eps (no answer). If they run, out of reach"
        in refusal
    )
    assert refusal.endswith("-e p2p_recover_confirm=gamma,delta,eps (each of them by name)")
    assert plan(LOST, list(LOST), confirmed="", check=True)["refusal"] == ""


STATUS = st.fixed_dictionaries(
    {
        "leader_id": st.sampled_from([None, "", *FIVE]),
        "voter_quorum_ok": st.sampled_from([None, True, False]),
        "seconds_since_quorum": st.one_of(st.none(), st.floats(0, 100)),
        "term": st.one_of(st.none(), st.integers(0, LARGEST_COUNT)),
    }
)


@st.composite
def answers_of_a_voter(draw: st.DrawFn, name: str) -> Answer:
    """Draw any answer that a voter may give, true or not, or none."""
    if draw(st.booleans()):
        return draw(st.sampled_from([dead(), UNTRUSTED, {}]))
    answer = voter(
        name,
        leader=draw(st.sampled_from([None, "0", "12", *IDS.values()])),
        cluster_id=draw(st.sampled_from(["77", "78"])),
        raft_index=draw(st.integers(0, LARGEST_COUNT)),
        has_data=draw(st.sampled_from([None, True, False])),
        learner=draw(st.booleans()),
    )
    probe = answer["probe"]
    if draw(st.booleans()):
        probe["etcd"] = {"has_data": draw(st.sampled_from([None, True, False])), "error": "refused"}
    page = {"status": 200, "body": draw(STATUS)}
    probe["http"]["status"] = draw(st.sampled_from([page, {"status": None, "body": None}]))
    return answer


@given(
    answers=st.fixed_dictionaries({name: answers_of_a_voter(name) for name in FIVE}),
    named=st.sets(st.sampled_from([*FIVE, "p2p", "A"])),
    snapshot=st.sampled_from(["", "/s.db"]),
)
def test_whatever_voters_say_one_leader_refuses_and_only_the_silent_confirm(
    answers: dict[str, Answer], named: set[str], snapshot: str
) -> None:
    silent_ones = {name for name in FIVE if "probe" not in answers[name]}
    for confirmed in (sorted(named), sorted(silent_ones) or ["p2p"]):
        found = plan(answers, FIVE, confirmed=confirmed, snapshot=snapshot)
        stores = [answers[name]["probe"]["etcd"] for name in found["members"]]
        if any(int(store.get("leader") or 0) for store in stores):
            assert found["refusal"]
        if not found["refusal"]:
            assert found["witnesses"] == {}
            assert set(confirmed) == (silent_ones or {"p2p"})
        assert recovery_text(found)
        assert 77 <= found["epoch"] <= found["believed"] + 1 <= LARGEST_TOLD_EPOCH + 1


def test_the_times_and_terms_are_those_of_the_program() -> None:
    assert Timing().takeover == LEASE_SECONDS
    assert (LARGEST_EPOCH + 1) * EPOCH_SPAN <= LARGEST_COUNT


@pytest.mark.parametrize(
    ("term", "epoch"),
    [
        (None, 77),
        (5, 77),
        (76 * EPOCH_SPAN + 1, 77),
        (77 * EPOCH_SPAN + 1, 78),
        ((77 + CLOCK_SKEW) * EPOCH_SPAN, 78 + CLOCK_SKEW),
        # No time of a recovery: one voter's lie must not use the epochs up.
        ((78 + CLOCK_SKEW) * EPOCH_SPAN, 77),
        (LARGEST_TOLD_EPOCH * EPOCH_SPAN, 77),
        (LARGEST_COUNT, 77),
    ],
)
def test_the_epoch_is_above_that_of_every_term_that_a_voter_may_tell(term: int | None, epoch: int) -> None:
    found = plan({"a": blank(), "b": says("b", term=term), "c": dead()})
    assert (found["refusal"], found["epoch"]) == ("", epoch)


def known(epoch: int = 0, members: Sequence[str] = VOTERS) -> dict[str, Any]:
    """Return what the controller remembers."""
    return {
        "file": "p2p.json",
        "cluster_id": "77",
        "members": {name: IDS[name] for name in members},
        "epoch": epoch,
    }


def test_the_epoch_is_above_the_one_that_the_controller_has_seen_whatever_a_voter_tells() -> None:
    answers = {"a": blank(), "b": says("b", term=LARGEST_TOLD_EPOCH * EPOCH_SPAN), "c": dead()}
    assert plan(answers, known=known(5_000_000))["epoch"] == 5_000_001
    assert plan(answers, known=known(5))["epoch"] == 77
    # An earlier lie that was taken over is known, and so is the truth since.
    assert plan(answers, known=known(LARGEST_TOLD_EPOCH))["epoch"] == LARGEST_TOLD_EPOCH + 1
    answers["b"] = says("b", term=4_999_999 * EPOCH_SPAN)
    assert plan(answers, known=known(5_000_000))["epoch"] == 5_000_001


def test_an_epoch_that_most_voters_tell_is_believed_though_it_is_no_time_yet() -> None:
    late = 1_900_000_000
    answers = {"a": says("a", term=late * EPOCH_SPAN), "b": says("b", term=late * EPOCH_SPAN), "c": blank()}
    assert plan(answers, snapshot="/s.db")["epoch"] == late + 1


def test_members_that_the_file_no_longer_names_are_confirmed_by_name() -> None:
    answers = {"a": blank(), "b": alone("b"), "c": blank()}
    found = plan(answers, known=known(members=FIVE), confirmed="p2p")
    assert found["left_out"].keys() == {"d", "e"}
    assert "-e p2p_recover_confirm=d,e (each of them by name)" in found["refusal"]
    assert "d (it voted when this controller last looked), e (" in found["refusal"]
    assert "no answer" not in found["refusal"]
    lines = recovery_text(found)
    assert "see that no member runs on d, e: voters when this controller last looked" in lines
    assert not any("in the place of" in line for line in lines)
    lost = plan(answers | {"c": dead()}, known=known(members=FIVE), confirmed="c,d,e")
    assert (lost["refusal"], lost["former"]) == ("", ["d", "e"])
    assert any("in the place of c, and run voters.yml" in line for line in recovery_text(lost))
    assert plan(answers, known=known(members=FIVE), confirmed="d,e")["refusal"] == ""


PLANNED = plan({"a": blank(), "b": alone("b"), "c": dead()})


def salvaged(node: str, epoch: int, revision: int, applied: int) -> dict[str, Any]:
    facts = {"node": node, "epoch": epoch, "revision": revision, "applied": applied, "term": 3, "found": {}}
    return {"salvaged": facts | {"raised": max(epoch + 1, PLANNED["epoch"])}}


def test_the_furthest_survivor_is_taken() -> None:
    results = [salvaged("a", 0, 90, 95), salvaged("b", 0, 100, 110), salvaged("c", 0, 100, 112)]
    assert most_advanced(results, PLANNED)["node"] == "c"
    assert most_advanced([*results, {"msg": "the data of d cannot be used"}], PLANNED)["node"] == "c"


def test_data_of_a_later_recovery_win_over_any_revision() -> None:
    # A recovery that was killed half-way and is run again: raft's indices begin anew in a new cluster.
    assert most_advanced([salvaged("a", 0, 5000, 9000), salvaged("b", 77, 4000, 6)], PLANNED)["node"] == "b"


def test_two_runs_choose_the_same_and_nobody_is_nobody() -> None:
    results = [salvaged("b", 1, 2, 3), salvaged("a", 1, 2, 3)]
    assert most_advanced(results, PLANNED)["node"] == most_advanced(results[::-1], PLANNED)["node"] == "a"
    assert most_advanced([{"msg": "no"}], PLANNED) == {}


def test_an_epoch_that_nobody_is_believed_makes_no_survivor_the_furthest() -> None:
    liar, true = salvaged("a", LARGEST_TOLD_EPOCH, 9, 9), salvaged("b", 5, 1, 1)
    found = most_advanced([liar, true], PLANNED)
    assert found["node"] == "b"
    assert raised_epoch(found, PLANNED) == 77
    # Where there is nothing else the data are taken, and not all of what they say remembered.
    found = most_advanced([liar], PLANNED)
    assert found["node"] == "a"
    assert raised_epoch(found, PLANNED) == PLANNED["believed"] + 1


def test_data_whose_epoch_was_not_raised_as_asked_for_are_no_source() -> None:
    for raised in (0, 76, 78, LARGEST_EPOCH):
        wrong = salvaged("a", 5, 9, 9)
        wrong["salvaged"]["raised"] = raised
        assert most_advanced([wrong], PLANNED) == {}


def test_a_preview_raises_no_epoch() -> None:
    assert raised_epoch({"node": "a", "prepared": {"path": "-"}}, PLANNED) == 0
