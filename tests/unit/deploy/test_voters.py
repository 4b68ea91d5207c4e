"""How the live voters become the file's, from what the nodes say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.quorum import orchestrator_quorum, store_quorum

from filter_plugins.p2p_outcome import brake, outcomes
from filter_plugins.p2p_plan import plan
from filter_plugins.p2p_voters import (
    Change,
    change,
    change_text,
    is_in,
    is_out,
    may_leave,
    unsure,
    voter_plan,
    why_not_alone,
)
from tests.unit.deploy.conftest import Playbook, blank, dead, voter

Answers = dict[str, dict[str, Any]]
URLS = {name: f"https://{name}:2380" for name in "abcdefgh"}
IDS = {name: str(number) for number, name in enumerate("abcdefgh", start=1)}


def listed(voting: str, learners: str = "", unstarted: str = "") -> list[dict[str, Any]]:
    """Return etcd's member list, one letter a member; those that never started have no name there."""
    return [
        {
            "id": IDS[name],
            "name": "" if name in unstarted else name,
            "learner": name in learners or name in unstarted,
            "peer_urls": [URLS[name]],
            "client_urls": [] if name in unstarted else ["https://127.0.0.1:2379"],
        }
        for name in voting + learners + unstarted
    ]


def live(voting: str, learners: str = "", unstarted: str = "", **etcd: Any) -> Answers:
    """Return the answers of a living cluster in which all members work."""
    members = listed(voting, learners, unstarted)
    said: Answers = {}
    for name in voting + learners:
        more: dict[str, Any] = {"member_id": IDS[name], "learner": name in learners, "version": "3.4.23"}
        said[name] = voter(name, members=members, **more, **etcd)
        said[name]["probe"]["services"]["p2p-etcd"]["load"] = "loaded"
        said[name]["probe"]["http"]["status"]["body"]["voter_node_ids"] = list(voting)
    return said


def find(
    answers: Answers,
    voters: Sequence[str],
    *,
    accept_outage: bool = False,
    shut_out: str = "",
    known: Mapping[str, Any] | None = None,
) -> Change:
    """Return the change to these voters."""
    urls = {name: URLS[name] for name in voters}
    quorum = store_quorum(answers, voters, known)
    more: dict[str, Any] = {"accept_outage": accept_outage, "shut_out": shut_out, "known": known}
    return change(answers, voters, quorum, urls, etcd_service="p2p-etcd", **more)


def test_nothing_is_to_be_done_where_the_files_voters_vote() -> None:
    found = find({**live("abc"), "d": blank()}, "abc")
    assert (found["drop"], found["joiners"], found["leavers"], found["idle"]) == ([], [], [], [])
    assert found["refused"] == ""
    assert change_text(found) == ["the live voters are the file's"]


def test_a_voter_is_replaced_the_new_one_first() -> None:
    found = find({**live("abc"), "d": blank()}, "bcd")
    assert (found["joiners"], found["fresh"], found["leavers"], found["drop"]) == (["d"], ["d"], ["a"], [])
    assert found["unlisted"] == ["d"]
    # Neither is told through a member that goes.
    assert (found["join_via"], found["leave_via"]) == ("b", "b")
    assert found["refused"] == ""


def test_the_leader_leaves_last() -> None:
    found = find({**live("abcde")}, "cde")
    assert found["leavers"] == ["b", "a"]


def test_all_voters_can_be_replaced_at_once() -> None:
    found = find({**live("abc"), "d": blank(), "e": blank(), "f": blank()}, "def")
    assert found["refused"] == ""
    assert (found["join_via"], found["leave_via"]) == ("b", "d")


def test_a_dead_voter_is_removed_before_another_joins() -> None:
    answers = {**live("abc"), "c": dead(), "d": blank()}
    found = find(answers, "abd")
    assert [(item["name"], item["id"]) for item in found["drop"]] == [("c", "3")]
    assert (found["joiners"], found["leavers"], found["refused"]) == (["d"], [], "")


@pytest.mark.parametrize("answer", [None, dead()], ids=["working", "dead"])
def test_a_member_that_is_shut_out_is_removed_before_another_joins(answer: dict[str, Any] | None) -> None:
    answers = {**live("abc"), "d": blank()}
    if answer is not None:
        answers["c"] = answer
    found = find(answers, "abd", shut_out="c")
    assert [(item["name"], item["id"]) for item in found["drop"]] == [("c", "3")]
    assert (found["joiners"], found["leavers"], found["refused"]) == (["d"], [], "")
    assert found["join_via"] != "c"
    assert change_text(found)[0] == "removed first: c (its certificates are to be denied)"


def test_who_counts_goes_after_those_that_do_not() -> None:
    """A store lets a member go only while those that count are most of the others, dead ones included."""
    answers = {**live("abcde"), "d": dead(), "e": dead(), "f": blank()}
    found = find(answers, "abf", shut_out="c")
    assert [item["name"] for item in found["drop"]] == ["d", "e", "c"]
    assert found["refused"] == ""


def test_the_one_that_leads_is_shut_out_too() -> None:
    found = find({**live("abcde"), "f": blank()}, "bcdef", shut_out="a")
    assert ([item["name"] for item in found["drop"]], found["refused"]) == (["a"], "")
    assert (found["join_via"], found["leavers"]) == ("b", [])


def test_who_is_shut_out_does_not_take_the_quorum_with_it() -> None:
    answers = {**live("abc"), "b": dead(), "d": blank()}
    refused = find(answers, "abd", shut_out="c")["refused"]
    assert refused.startswith("without c 1 of 2 members would count, a quorum is 2: mend first: b (")
    assert find(answers, "abd", shut_out="c", accept_outage=True)["refused"] == ""


def test_a_list_that_few_members_tell_shuts_nobody_out() -> None:
    answers = {**live("abcde"), "b": dead(), "c": dead(), "d": dead(), "f": blank()}
    assert find(answers, "abcdf", shut_out="e")["refused"]


def test_who_votes_by_the_file_is_not_shut_out() -> None:
    assert find(live("abc"), "abc", shut_out="c")["drop"] == []


@pytest.mark.parametrize("liar", ["c", "d"], ids=["voter", "stranger"])
def test_one_node_that_lists_a_healthy_voter_as_another_member_removes_none(liar: str) -> None:
    lie = [item | {"name": "ghost"} if item["name"] == "a" else item for item in listed("abc")]
    told = voter(liar, member_id=IDS[liar], version="3.4.23", members=lie, raft_index=1 << 53)
    found = find({**live("abc"), liar: told}, "abc")
    assert found["drop"] == []
    # Without a memory a voter's other list has to be looked at; a stranger's is nothing.
    assert ("c and a, b list different members" in found["refused"]) is (liar == "c")
    assert found["refused"] == "" or liar == "c"


def test_a_dead_voter_that_the_file_keeps_stays_a_member() -> None:
    found = find({**live("abc"), "c": dead()}, "abc")
    assert (found["drop"], found["joiners"]) == ([], [])


def test_a_voter_whose_data_is_gone_is_replaced_by_itself() -> None:
    answers = live("abc")
    answers["c"] = blank()
    found = find(answers, "abc")
    assert [item["name"] for item in found["drop"]] == ["c"]
    assert (found["joiners"], found["fresh"], found["unlisted"]) == (["c"], ["c"], ["c"])


# What a listed member has may come from a start that a killed run had begun: it is not an earlier member's.
@pytest.mark.parametrize(
    ("answers", "fresh"),
    [
        ({**live("abc", unstarted="d"), "d": blank()}, ["d"]),  # added, and killed before its first start
        (live("abc", learners="d"), []),  # killed before it was promoted
    ],
    ids=["unstarted", "learner"],
)
def test_a_change_killed_while_a_member_joined_goes_on(answers: Answers, fresh: list[str]) -> None:
    found = find(answers, "bcd")
    assert (found["drop"], found["joiners"], found["fresh"]) == ([], ["d"], fresh)
    assert found["unlisted"] == []
    assert found["leavers"] == ["a"]
    assert found["refused"] == ""


def test_a_change_killed_after_the_promotion_goes_on() -> None:
    found = find(live("abcd"), "bcd")
    assert (found["drop"], found["joiners"], found["leavers"]) == ([], [], ["a"])


@pytest.mark.parametrize("left", [{"learners": "d"}, {"unstarted": "d"}])
def test_what_another_change_left_over_is_removed(left: Mapping[str, str]) -> None:
    found = find({**live("abc", **left), "d": blank(), "e": blank()}, "bce")
    assert [item["id"] for item in found["drop"]] == [IDS["d"]]
    assert found["joiners"] == ["e"]


def test_a_removed_member_that_runs_on_is_cleaned_up() -> None:
    answers = {**live("abc"), "d": voter("d", error="connection refused", member_id=None)}
    answers["d"]["probe"]["services"]["p2p-etcd"] = {"load": "loaded", "active": "activating"}
    found = find(answers, "abc")
    assert (found["idle"], found["leavers"], found["refused"]) == (["d"], [], "")


@pytest.mark.parametrize("etcd", [{"member_id": "9"}, {"member_id": None}])
def test_a_member_that_works_is_no_leftover_whoever_says_so(etcd: dict[str, Any]) -> None:
    """Four lying nodes list themselves alone, and the data of a healthy voter would be cleaned up."""
    answers = {**live("bcd"), "a": voter("a", **etcd)}
    answers["a"]["probe"]["services"]["p2p-etcd"]["load"] = "loaded"
    found = find(answers, "bcd")
    assert (found["idle"], found["refused"]) == ([], "")
    assert "its own etcd member works" in found["alive"]["a"]
    result = made(answers, "bcd")
    assert (result["refused"], result["leavers"]) == (found["alive"], [])
    assert "a" not in (*result["others"], *result["unchanged"])


def test_without_a_memory_the_voters_of_a_shortened_file_do_not_outvote_a_member() -> None:
    answers = live("cde") | {"c": live("abcde")["c"]}
    found = find(answers, "cde")
    assert "c and d, e list different members" in found["refused"]
    assert find(live("cde"), "cde")["refused"] == ""


@pytest.mark.parametrize(
    ("answers", "voters", "why"),
    [
        ({name: blank() for name in "abc"}, "abc", "deploy.yml forms the store of a new cluster"),
        ({**live("abc"), "b": dead(), "c": dead()}, "abc", "without one no member can be changed"),
        (live("abcd"), "abcd", "4 voters tolerate no more failures than 3"),
        ({**live("abc"), "d": dead()}, "abd", "d is to vote and cannot be asked: timed out"),
        (live("abc"), "abd", "d is to vote and cannot be asked: it is not among the nodes"),
        ({**live("abcde"), "a": dead(), "b": dead()}, "abc", "without d 2 of 4 members would count"),
    ],
    ids=["new", "lost", "even", "unreachable", "elsewhere", "quorum"],
)
def test_what_is_refused(answers: Answers, voters: str, why: str) -> None:
    assert why in find(answers, voters)["refused"]


@pytest.mark.parametrize(
    ("versions", "why"),
    [(("3.4.23", "3.4.23", "3.5.1"), "different versions of etcd"), (("3.4.9",) * 3, "older than 3.4.23")],
)
def test_members_of_unfit_versions_are_not_changed(versions: Sequence[str], why: str) -> None:
    answers = {**live("abc"), "d": blank()}
    for name, version in zip("abc", versions, strict=True):
        answers[name]["probe"]["etcd"]["version"] = version
    assert why in find(answers, "bcd")["refused"]
    assert find(answers, "abc")["refused"] == ""


def test_an_outage_can_be_accepted_but_not_a_lost_quorum() -> None:
    lost = {**live("abc"), "b": dead(), "c": dead()}
    assert find(lost, "abc", accept_outage=True)["refused"]
    thin = {**live("abcde"), "a": dead(), "b": dead()}
    assert find(thin, "abc", accept_outage=True)["refused"] == ""


@pytest.mark.parametrize(
    ("down", "orchestrators_down", "allowed"),
    [("", "", True), ("b", "", True), ("bc", "", False), ("", "bc", False), ("", "b", True)],
)
def test_a_voter_leaves_only_while_the_others_hold_the_quorum(
    down: str, orchestrators_down: str, allowed: bool
) -> None:
    answers = live("abcd") | {name: dead() for name in down}
    for name in orchestrators_down:
        answers[name]["probe"]["http"]["status"] = {"status": None, "body": None}
    stay = orchestrator_quorum({name: answers[name] for name in "bcd"})
    verdict = may_leave(store_quorum(answers), "a", stay)
    assert verdict["allowed"] is allowed
    assert allowed or "mend first: b (" in verdict["reason"]
    assert may_leave(store_quorum(answers), "a", stay, accept_outage=True)["allowed"]


def test_a_voter_does_not_leave_on_the_word_of_few() -> None:
    """Two that lie list themselves and the one that is to leave, whose data would go."""
    answers = live("abcde") | {name: dead() for name in "de"}
    for name in "ab":
        answers[name]["probe"]["etcd"]["members"] = listed("abc")
    stay = orchestrator_quorum({name: answers[name] for name in "ab"})
    why = unsure(answers, "abcde", {})
    assert "more than half of" in why
    verdict = may_leave(store_quorum(answers), "c", stay, unsure=why)
    assert verdict == {"allowed": False, "reason": why}
    assert unsure(live("abcde"), "abcde", {}) == ""


@pytest.mark.parametrize(
    ("lists", "out"),
    [
        ({}, True),
        ({"b": "abcd"}, True),
        ({"b": "abcd", "c": "abcd", "d": "abcd"}, False),
        # Too few say the same.
        ({"b": "bcde", "c": "bcdf"}, False),
    ],
)
def test_the_data_of_one_that_left_go_when_most_voters_say_that_it_is_out(
    lists: Mapping[str, str], out: bool
) -> None:
    answers = {name: answer for name, answer in live("bcd").items() if name in "bcd"}
    for name, told in lists.items():
        answers[name]["probe"]["etcd"]["members"] = listed(told)
    verdict = is_out(answers, "a", "abcd")
    assert verdict["allowed"] is out
    assert out or "a" in verdict["reason"]


def test_voters_that_came_by_the_word_of_liars_send_nobody_away() -> None:
    """Two that lie let three new ones into a store of their own, and these tell what they found there."""
    answers = live("abc") | {name: live("defgh")[name] for name in "defgh"}
    for name in "abc":
        answers[name] = live("abcde")[name]
    assert "more than half of" in unsure(answers, "abcde", {})
    assert not is_out(answers, "a", "abcde")["allowed"]


def joined(says: Mapping[str, str], *, voting: bool) -> dict[str, Any]:
    """Return what is known of a joining `f` when each voter lists the members that `says` gives."""
    answers = {name: live(told, learners="" if voting else "f")[name] for name, told in says.items()}
    return is_in(answers, "f", URLS["f"], "abcde", voting=voting)


def test_a_node_starts_as_a_member_when_most_members_list_it() -> None:
    all_of_them = dict.fromkeys("abcde", "abcde")
    verdict = joined(all_of_them, voting=False)
    assert verdict["allowed"]
    assert verdict["initial_cluster"] == ",".join(f"{name}={URLS[name]}" for name in "abcdef")
    assert joined(dict.fromkeys("abc", "abcde"), voting=False)["allowed"]
    lies = dict.fromkeys("de", "de")
    verdict = joined(lies | dict.fromkeys("abc", "abcde"), voting=False)
    assert verdict["initial_cluster"] == ",".join(f"{name}={URLS[name]}" for name in "abcdef")
    assert not joined(lies, voting=False)["allowed"]
    assert not is_in(live("abcde"), "f", URLS["f"], "abcde", voting=False)["allowed"]


def test_nobody_starts_as_another_member_that_the_store_lists_at_its_address() -> None:
    answers = live("abcde")
    for answer in answers.values():
        for member in answer["probe"]["etcd"]["members"]:
            member["peer_urls"] = [URLS["f"]] if member["name"] == "e" else member["peer_urls"]
    for voting in (False, True):
        reason = is_in(answers, "f", URLS["f"], "abcde", voting=voting)["reason"]
        assert reason.startswith(f"the store lists e at {URLS['f']}, where f is to start")


def test_a_voter_is_counted_on_when_it_is_in_the_store_of_most() -> None:
    answers = live("abcdef")
    assert is_in(answers, "f", URLS["f"], "abcde", voting=True)["allowed"]
    elsewhere = live("abcdef", cluster_id="99")["f"]
    for own, why in ((elsewhere, "works in the store 99"), (dead(), "does not answer")):
        assert why in is_in({**answers, "f": own}, "f", URLS["f"], "abcde", voting=True)["reason"]
    learner = live("abcde", learners="f")
    assert "as a learner still" in is_in(learner, "f", URLS["f"], "abcde", voting=True)["reason"]


def made(answers: Answers, voters: str, shut_out: str = "") -> dict[str, Any]:
    """Return the run's plan."""
    quorum = store_quorum(answers)
    found = find(answers, voters, shut_out=shut_out)
    asked = {name: answers[name] for name in voters if name in answers and name not in found["joiners"]}
    return voter_plan(plan(answers, voters, quorum, voter_answers=asked, now=1.0), found, voters)


@pytest.mark.parametrize(
    ("before", "voters", "told"),
    [("abc", "bcd", "bc"), ("abcde", "cde", "cdeb"), ("abcde", "cdefg", "cdeb"), ("abc", "def", "bc")],
)
def test_whoever_votes_on_is_told_at_once_whom_to_deny(before: str, voters: str, told: str) -> None:
    answers = live(before) | {name: blank() for name in voters if name not in before}
    result = made(answers, voters, shut_out="a")
    assert [item["name"] for item in result["change"]["drop"]] == ["a"]
    assert result["told_at_once"] == list(told)


def test_nobody_is_planned_twice() -> None:
    answers = {**live("abc"), "d": blank(), "e": blank(), "f": dead()}
    answers["b"]["probe"]["drift"] = [
        {"part": "file", "name": "/x", "why": "differs", "restarts": ["p2p_orchestrator"]}
    ]
    result = made(answers, "bcd")
    assert (result["joiners"], result["leavers"], result["joining"]) == (["d"], ["a"], ["d"])
    assert (result["voters_one_by_one"], result["unchanged"], result["others"]) == (["b"], ["c"], ["e"])
    assert (result["canary"], result["bootstrap"], result["split"]) == ([], [], "")
    assert result["record_holders"] == list("bcd")
    # The record is taken through a member that stays.
    assert result["quorum"]["counting"][-1] == "a"


def test_who_is_removed_first_holds_no_record() -> None:
    answers = {**live("abcde"), "f": blank()}
    found = find(answers, "bcdef", shut_out="a")
    asked = {name: answers[name] for name in "bcde"}
    quorum = store_quorum(answers)
    result = voter_plan(plan(answers, "bcdef", quorum, voter_answers=asked, now=1.0), found, "bcdef")
    assert result["quorum"]["counting"] == list("bcde")


@pytest.mark.parametrize(("name", "does"), [("d", "is to vote"), ("a", "is to leave")])
def test_a_node_that_cannot_be_worked_on_is_not_changed_by_halves(name: str, does: str) -> None:
    answers = {**live("abc"), "d": blank()}
    answers[name]["probe"] |= {"drift": [], "manager": "systemd"}
    found, quorum = find(answers, "bcd"), store_quorum(answers)
    # It told of its member, and then nothing more.
    worked = plan(answers | {name: dead()}, "bcd", quorum, voter_answers={}, now=1.0)
    result = voter_plan(worked, found, "bcd")
    assert result["change"]["refused"] == f"{name} {does} and cannot be worked on: timed out"


def test_a_second_run_plans_nothing() -> None:
    result = made(live("bcd"), "bcd")
    assert sorted(result["unchanged"]) == list("bcd")
    assert result["record_holders"] == []


def test_nobody_leaves_after_a_voter_that_did_not_join() -> None:
    result = made({**live("abc"), "d": blank()}, "bcd")
    failed: Answers = {name: {} for name in "abcd"} | {
        "d": {"p2p_outcome": {"state": "failed", "why": "full"}}
    }
    assert brake(failed, result, "leavers") == "the voter d did not join"
    assert outcomes(failed, result)["failed"]["d"] == "full"
    assert brake({name: {} for name in "abcd"}, result, "leavers") == ""


def test_voters_restart_only_after_one_that_left_came_back() -> None:
    result = made({**live("abc"), "d": blank()}, "bcd")
    stopped: Answers = {name: {} for name in "abcd"}
    stopped["a"] = {"p2p_outcome": {"state": "failed", "why": "no", "stopped": True}}
    assert brake(stopped, result, "voters_one_by_one") == "the voter a did not come back"


FLEET = """\
hosts:
  hetzner-1: &host {ssh_host: 127.0.0.2, ssh_user: root, role: cpu, status: ready, p2p_enabled: true}
  hetzner-2: {<<: *host, ssh_host: 127.0.0.3}
  hetzner-3: {<<: *host, ssh_host: 127.0.0.4}
p2p_voters: [hetzner-1, hetzner-2, hetzner-3]
"""


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--limit", "hetzner-1"), "run voters.yml without --limit"),
        (("-e", "p2p_orchestrator_source=checkout"), "A checkout's program elects without one"),
        ((), "no member of a living store answered"),
    ],
)
def test_a_refused_run_says_why(playbook: Playbook, fleet_file: Path, words: Sequence[str], why: str) -> None:
    fleet_file.write_text(FLEET)
    code, output = playbook("voters.yml", fleet_file, *words)
    assert code != 0
    assert why in output, output
    assert "Nothing was changed" in output


def test_earlier_voters_are_denied_once_most_voters_say_that_none_of_them_votes() -> None:
    known = {"cluster_id": "77", "members": {}}
    assert why_not_alone(live("bcd"), "bcd", known) == ""
    assert why_not_alone({**live("bcd"), "b": dead()}, "bcd", known) == ""
    assert why_not_alone(live("abcd"), "bcd", known) == "the store still has the members a"
    assert "only d of the voters b, c, d can tell" in why_not_alone(
        {**live("bcd"), "b": dead(), "c": dead()}, "bcd", known
    )
    few = {**live("bcd"), "b": live("b")["b"], "c": blank()}
    assert "more than half must" in why_not_alone(few, "bcd", known)
