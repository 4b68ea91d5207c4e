"""A node whose answer did not pass the door: it is told, nothing else of it is used, and it stops nobody."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.leaving import still_voting
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.quorum import orchestrator_quorum, store_quorum

from filter_plugins.p2p_authority import digests, told
from filter_plugins.p2p_care import store_care
from filter_plugins.p2p_etcd_version import versions
from filter_plugins.p2p_fitness import fitness, without_python
from filter_plugins.p2p_plan import any_drift, plan
from filter_plugins.p2p_preflight import preflight
from filter_plugins.p2p_quorum import gate, takes_part
from filter_plugins.p2p_recovery import recovery_plan
from filter_plugins.p2p_removal import removal_plan
from filter_plugins.p2p_rollback import rolled_back, target
from filter_plugins.p2p_source import going_over, why_mixed
from filter_plugins.p2p_voters import change
from tests.unit.deploy.conftest import VOTERS, blank, dead, voter

WHERE = "probe.clock.unix: Expected `float`, got `str`"
UNTRUSTED: dict[str, Any] = {"failed": True, "untrusted": True, "msg": WHERE}
TOLD = f"its answer is not to be believed: {WHERE}; see health.yml"
Answers = dict[str, dict[str, Any]]
Fleet = Callable[[dict[str, Any]], Answers]


def of_a_voter(answer: dict[str, Any]) -> Answers:
    """Return a fleet in which a voter gave an answer."""
    return {**{name: voter(name) for name in VOTERS}, "e": answer, "n": blank()}


def of_another(answer: dict[str, Any]) -> Answers:
    """Return a fleet in which a node that does not vote gave an answer."""
    return {**{name: voter(name) for name in VOTERS}, "n": answer}


def make(answers: Answers) -> dict[str, Any]:
    voters = {name: answers[name] for name in VOTERS}
    return dict(plan(answers, VOTERS, store_quorum(voters), voter_answers=voters, now=0))


@pytest.mark.parametrize("fleet", [of_a_voter, of_another])
def test_it_is_refused_and_the_plan_is_otherwise_that_without_it(fleet: Fleet) -> None:
    lying, away = make(fleet(UNTRUSTED)), make(fleet(dead()))
    (name, why), *rest = lying.pop("refused").items()
    assert (name, why, rest) == ("e" if fleet is of_a_voter else "n", TOLD, [])
    assert list(away.pop("unreachable")) == [name]
    assert lying.pop("unreachable") == away.pop("refused") == {}
    assert lying == away


URLS = {name: f"https://{name}:2380" for name in VOTERS}


@pytest.mark.parametrize("fleet", [of_a_voter, of_another])
@pytest.mark.parametrize(
    "filter_",
    [
        store_quorum,
        orchestrator_quorum,
        versions,
        any_drift,
        without_python,
        target,
        lambda given: gate(given, "a", ["p2p-etcd", "p2p_orchestrator"], etcd_service="p2p-etcd"),
        lambda given: takes_part(given["e"], store=True),
        digests,
        lambda given: told(given, VOTERS, known=["1"]),
        lambda given: store_care(given, list(given), min_mb=1, percent=1),
        lambda given: preflight(given, given),
        lambda given: going_over(given, "bundled", cutover=True),
        lambda given: why_mixed(given, "bundled", voters=VOTERS, cutover=False, limited=False),
        lambda given: still_voting(["n"], given, voters=VOTERS, answers=given),
        lambda given: fitness(given, VOTERS, asked=0, answered=0, min_free_mb=1, max_clock_skew=10),
    ],
)
def test_to_all_who_weigh_answers_it_is_as_if_the_node_were_away(
    filter_: Callable[[Answers], Any], fleet: Fleet
) -> None:
    def full(answers: Answers) -> Answers:
        for answer in answers.values():
            if "probe" in answer:
                answer["probe"].setdefault("digests", {})
        return answers

    assert filter_(full(fleet(UNTRUSTED))) == filter_(full(fleet(dead())))


def test_what_the_other_playbooks_say_of_it() -> None:
    answers = of_a_voter(UNTRUSTED)
    quorum = store_quorum(answers)
    recovery = recovery_plan(answers, VOTERS, quorum, cluster="p2p", now="", epoch=1)
    assert recovery["left_out"] == {"e": TOLD}
    assert removal_plan(["e"], answers, ["e"], "file")["refused"]["e"].startswith(TOLD)
    joining = change(
        {**of_another(blank()), "new": UNTRUSTED}, ("a", "b", "new"), quorum, URLS, etcd_service="x"
    )
    assert joining["refused"] == f"new is to vote and cannot be asked: {TOLD}"
    assert rolled_back({"e": UNTRUSTED}, "v1", "s") == {"e": UNTRUSTED}
