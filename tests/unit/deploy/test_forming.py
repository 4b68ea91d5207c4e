"""When a deploy forms a new store, and from which recovery epoch that one's terms go on."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.quorum import store_quorum
from hypothesis import given
from hypothesis import strategies as st

from filter_plugins.p2p_outcome import plan_text
from filter_plugins.p2p_plan import Plan, plan
from p2p_orchestrator.leadership import EPOCH_SPAN
from tests.unit.deploy.conftest import IDS, VOTERS, Answer, blank, dead, members, voter

NOW = 1_800_000_000
UNTRUSTED: Answer = {"failed": True, "untrusted": True, "msg": "probe.clock.unix: Expected `float`"}
KEPT = {"file": "/s.json", "cluster_id": "77", "members": IDS, "epoch": 0}
LOST = {**{name: blank() for name in "abc"}, "d": dead(), "e": dead()}


def make(answers: dict[str, Answer], without: object = "", **words: Any) -> Plan:
    """Return the plan of a deploy that takes all voters."""
    voters = {name: answer for name, answer in answers.items() if name in VOTERS}
    settings: dict[str, Any] = {"voter_answers": voters, "now": NOW + 0.5, "cluster": "p2p"}
    settings["form_without"] = without
    return plan(answers, VOTERS, store_quorum(voters), **settings | words)


def says(answer: Answer, **status: Any) -> Answer:
    """Let a voter's orchestrator run and say something."""
    answer["probe"]["http"]["status"] = {"status": 200, "body": {"leader_id": None, **status}}
    return answer


def unreadable() -> Answer:
    """Return the answer of a voter that runs nothing and whose store could not be looked at."""
    answer = blank()
    answer["probe"]["etcd"]["has_data"] = None
    return answer


def test_a_first_store_has_the_first_terms_and_asks_for_nothing() -> None:
    result = make({name: blank() for name in VOTERS})
    assert result["bootstrap"] == list(VOTERS)
    assert (result["least_epoch"], result["unled"], result["misnamed"]) == (0, False, "")


@pytest.mark.parametrize("without", ["d,e", ["e", "d"], " e\nd "])
def test_one_is_formed_without_voters_that_are_named_and_its_terms_go_on_above_theirs(
    without: object,
) -> None:
    result = make(LOST, without)
    assert result["bootstrap"] == result["voters_at_once"] == ["a", "b", "c"]
    assert result["least_epoch"] == NOW
    assert not result["unled"]
    told = plan_text(result)
    assert f"etcd: a new store is formed by 3 nodes: a, b, c, with recovery epoch {NOW}" in told


def test_unseen_voters_are_named_in_the_refusal_with_the_remedies_and_others_go_on() -> None:
    result = make({**LOST, "e": UNTRUSTED, "x": blank()})
    assert result["bootstrap"] == result["voters_at_once"] == []
    assert result["others"] == ["x"]
    assert result["misnamed"] == ""
    assert result["refused"]["a"] == result["refused"]["b"] == result["refused"]["c"]
    assert result["refused"]["a"] == (
        "no new store is formed while an earlier one's data may be on d (it does not answer), e (its answer"
        " is not to be believed): bring d, e back, or name another in p2p_voters; if they hold none, or are"
        " gone for good, form the new one without them with -e p2p_form_without=d,e"
    )


def test_a_voter_whose_store_could_not_be_looked_at_may_hold_data() -> None:
    answers = {**{name: blank() for name in "abcd"}, "e": unreadable()}
    refusal = make(answers)["refused"]["a"]
    assert (
        "e (its store could not be looked at): bring e back, or name another in p2p_voters; if it holds none"
        in refusal
    )
    assert make(answers, "e")["bootstrap"] == list("abcd")


@pytest.mark.parametrize(
    ("without", "wrong"),
    [
        ("d", "it leaves out e"),
        ("d,e,a", "a answers, so that it is no missing voter"),
        ("d,f", "f is no voter of the fleet file; it leaves out e"),
        ("D,e", "D is no voter of the fleet file (the nearest is d); it leaves out d"),
        ("p2p", "p2p is the cluster, and it is the voters that do not answer who are named; it leaves out d"),
        (["yes\x1b[2J"], "yes\\x1b[2J is no voter of the fleet file"),
    ],
)
def test_a_name_too_few_or_too_many_ends_the_run(without: object, wrong: str) -> None:
    result = make(LOST, without)
    assert result["misnamed"].startswith("p2p_form_without: ")
    assert wrong in result["misnamed"]
    assert result["misnamed"].endswith("-e p2p_form_without=d,e")
    assert result["bootstrap"] == []


def test_nobody_is_named_where_all_are_blank() -> None:
    result = make({name: blank() for name in VOTERS}, "d")
    assert result["bootstrap"] == []
    assert result["misnamed"] == (
        "p2p_form_without: d answers, so that it is no missing voter. Nobody is missing: leave"
        " p2p_form_without out"
    )


def test_where_no_store_is_formed_only_a_name_of_nobody_is_a_mistake() -> None:
    living: dict[str, Answer] = {name: voter(name) for name in VOTERS}
    assert make(living, "d,e")["misnamed"] == ""
    assert make(living, "d,p2p", store=KEPT)["misnamed"] == ""
    misnamed = make(living, "d,F")["misnamed"]
    assert "F is no voter of the fleet file" in misnamed
    assert misnamed.endswith(". The store lives: leave p2p_form_without out")
    assert "The store lives" not in make({**LOST, "c": dead()}, "d,F")["misnamed"]
    assert (
        "the nearest is gone-1"
        in make(living, "gone1", store={**KEPT, "members": {"gone-1": "9"}})["misnamed"]
    )


def test_data_on_a_voter_is_never_passed_over() -> None:
    stopped = blank()
    stopped["probe"]["etcd"]["has_data"] = True
    result = make({**LOST, "c": stopped}, "d,e")
    assert result["bootstrap"] == []
    assert result["refused"]["a"] == (
        "c holds etcd data and is no majority of the 5 voters: bring the others' data back, or see"
        " recover.yml --check"
    )


def test_a_store_that_the_controller_remembers_is_given_up_by_name_alone() -> None:
    answers = {name: blank() for name in VOTERS}
    refusal = make(answers, store=KEPT)["refused"]["a"]
    assert refusal == (
        "the last run saw a store with the members a, b, c, d, e, and all of them are blank: recover.yml"
        " rebuilds it from a snapshot; if it is gone for good, a new one is formed with"
        " -e p2p_form_without=p2p (the cluster's name)"
    )
    assert "b answers" in make(answers, "b", store=KEPT)["misnamed"]
    result = make(answers, "p2p", store=KEPT)
    assert result["bootstrap"] == list(VOTERS)
    assert result["least_epoch"] == NOW
    assert make(answers, "p2p", store={**KEPT, "epoch": NOW + 5})["least_epoch"] == NOW + 6


def test_a_member_that_the_file_no_longer_names_may_hold_its_data() -> None:
    answers: dict[str, Answer] = {**{name: blank() for name in "abcd"}, "e": dead()}
    store = {**KEPT, "members": {"a": "1", "old-1": "8"}}
    refusal = make(answers, store=store)["refused"]["a"]
    assert refusal.startswith(
        "the last run saw a store with the members a, old-1; no new store is formed while"
    )
    assert (
        "old-1 (it was a member, and is not asked): bring e back, or name another in p2p_voters;" in refusal
    )
    assert "; name old-1 in p2p_voters again; if they hold none" in refusal
    assert refusal.endswith("-e p2p_form_without=e,old-1")
    assert make(answers, "e", store=store)["bootstrap"] == []
    assert make(answers, "old-1,e", store=store)["bootstrap"] == list("abcd")


def test_another_voter_in_the_place_of_a_known_member_is_no_way_out() -> None:
    answers: dict[str, Answer] = {**{name: blank() for name in "abcd"}, "e": dead()}
    assert "bring e back; if it holds none" in make(answers, store=KEPT)["refused"]["a"]


def test_terms_go_on_above_those_that_voters_tell_within_reason() -> None:
    answers = {**LOST, "a": says(blank(), term=(NOW + 60) * EPOCH_SPAN + 3)}
    assert make(answers, "d,e")["least_epoch"] == NOW + 61
    answers["a"] = says(blank(), term=(NOW + 10**8) * EPOCH_SPAN)
    assert make(answers, "d,e")["least_epoch"] == NOW


def test_founders_start_together_though_something_of_them_stops() -> None:
    answers = {name: blank() for name in VOTERS}
    running = answers["a"]["probe"]
    running["services"]["p2p_orchestrator"]["active"] = "active"
    result = make(answers, "p2p", store=KEPT)
    assert result["stops"]["a"] == ["p2p_orchestrator"]
    assert result["voters_one_by_one"] == []
    assert set(result["voters_at_once"]) == set(VOTERS)


def test_a_blank_voter_that_differs_in_nothing_for_a_moment_takes_part() -> None:
    answers: dict[str, Answer] = {name: blank() for name in VOTERS}
    answers["a"]["probe"]["drift"] = []
    assert set(make(answers)["bootstrap"]) == set(make(answers)["voters_at_once"]) == set(VOTERS)
    refused = make(answers, store=KEPT)
    assert refused["unchanged"] == []
    assert "a" in refused["refused"]
    started = members(started=tuple("bcde"))
    joined = make({**{name: voter(name, members=started) for name in "bcde"}, "a": answers["a"]})
    assert (joined["joining"], joined["voters_at_once"], joined["unchanged"]) == (["a"], ["a"], list("bcde"))


def test_other_playbooks_form_none() -> None:
    result = make({name: blank() for name in VOTERS}, None)
    assert result["bootstrap"] == []
    assert "only deploy.yml forms a new one" in result["refused"]["a"]


def test_a_store_in_which_few_led_gets_its_epoch_unless_somebody_did() -> None:
    answers: dict[str, Answer] = {name: voter(name, follows=None) for name in VOTERS}
    result = make(answers, store={**KEPT, "epoch": 9})
    assert (result["least_epoch"], result["unled"]) == (NOW, True)
    for name in "abc":
        says(answers[name], term=1)
    assert make(answers)["least_epoch"] == 0
    assert make({name: voter(name, follows=None) for name in VOTERS}, None)["least_epoch"] == 0


def test_a_single_voter_has_no_store_to_form() -> None:
    answers = {"a": blank()}
    words: dict[str, Any] = {"voter_answers": answers, "now": NOW, "form_without": ""}
    assert plan(answers, ["a"], store_quorum({}), **words, store=KEPT)["least_epoch"] == 0


ANSWERS = st.sampled_from(["blank", "unreadable", "dead", "untrusted", "stopped", "living", "alone"])


def _answer(name: str, kind: str) -> Answer:
    stopped = blank()
    stopped["probe"]["etcd"]["has_data"] = True
    return {
        "blank": blank(),
        "unreadable": unreadable(),
        "dead": dead(),
        "untrusted": UNTRUSTED,
        "stopped": stopped,
        "living": voter(name),
        "alone": voter(name, follows=None, leader=None),
    }[kind]


@given(
    kinds=st.lists(ANSWERS, min_size=5, max_size=5)
    | st.lists(st.sampled_from(["blank", "blank", "dead", "unreadable"]), min_size=5, max_size=5),
    named=st.sets(st.sampled_from([*VOTERS, "old-1", "p2p"])) | st.none(),
    remembered=st.sets(st.sampled_from([*VOTERS, "old-1"])),
    epoch=st.integers(0, NOW * 2),
)
def test_a_store_is_formed_only_if_all_are_seen_blank_or_exactly_the_unseen_are_named(
    kinds: list[str], named: set[str] | None, remembered: set[str], epoch: int
) -> None:
    answers = {name: _answer(name, kind) for name, kind in zip(VOTERS, kinds, strict=True)}
    known = {
        "cluster_id": "77" if remembered else "",
        "members": dict.fromkeys(remembered, "1"),
        "epoch": epoch,
    }
    unseen = {name for name, kind in zip(VOTERS, kinds, strict=True) if kind != "blank"}
    wanted = (unseen | remembered - set(VOTERS)) or ({"p2p"} if remembered else set())
    # Random names are seldom the right ones.
    without = sorted(wanted if named is None else named)
    result = make(answers, without, store=known)
    held = {"stopped", "living", "alone"}.intersection(kinds)
    may = not held and len(VOTERS) - len(unseen) > len(unseen) and set(without) == wanted
    assert bool(result["bootstrap"]) == may
    assert set(result["bootstrap"]).isdisjoint(unseen)
    if may:
        assert (result["least_epoch"] > epoch) if wanted else (result["least_epoch"] == 0)
        assert not result["unled"]
