"""Which release a rollback goes to, and what it does to each node."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.quorum import store_quorum

from filter_plugins.p2p_plan import plan
from filter_plugins.p2p_rollback import rolled_back, target
from tests.unit.deploy.conftest import VOTERS, blank, dead, voter

BUILT = {"v0": 100.0, "v1": 200.0, "v2": 300.0, "v3": 400.0}
SERVICE = "p2p_orchestrator"


def on(current: str | None, previous: str | None = None, *others: str, name: str = "a") -> dict[str, Any]:
    """Return the answer of a node that runs `current`, ran `previous` before, and holds `others` too."""
    answer = voter(name)
    held = [release for release in (previous, *others) if release]
    answer["probe"]["release"] = {
        "name": current,
        "previous": previous,
        "available": held,
        "built": {release: BUILT[release] for release in (current, *held) if release},
    }
    return answer


def fleet(*answers: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Give answers names."""
    return {f"n{number}": answer for number, answer in enumerate(answers)}


@pytest.mark.parametrize("done", range(6))
def test_an_interrupted_or_repeated_run_goes_to_the_same_release(done: int) -> None:
    answers = fleet(*[on("v1", "v2")] * done, *[on("v2", "v1")] * (5 - done))
    assert target(answers) == {"name": "v1", "why": "", "warnings": []}


@pytest.mark.parametrize("reached", range(1, 6))
@pytest.mark.parametrize("back", [0, 1])
def test_a_deploy_that_reached_few_nodes_is_what_is_undone(reached: int, back: int) -> None:
    there = [on("v1", "v2")] * back + [on("v2", "v1")] * (reached - back)
    answers = fleet(*there, *[on("v1", "v0")] * (5 - reached))
    assert target(answers, repository="v2")["name"] == "v1"


def test_one_node_that_missed_a_release_does_not_decide() -> None:
    assert target(fleet(on("v2", "v0"), *[on("v2", "v1")] * 2))["name"] == "v1"


def test_a_deploy_after_a_rollback_is_undone_next() -> None:
    assert target(fleet(*[on("v3", "v1", "v2")] * 3))["name"] == "v1"


def test_a_wrong_clock_on_one_node_decides_nothing() -> None:
    wrong = on("v1", "v0")
    wrong["probe"]["release"]["built"] = {"v1": 8000.0, "v0": 9000.0}
    assert target(fleet(wrong, on("v1", "v0"), on("v1", "v0")))["name"] == "v0"


@pytest.mark.parametrize(
    "lie",
    [
        on("v3", "v0"),  # a release that nobody else has, built after all others
        on("v0", "v1"),
        on("v2", "v0"),
        on("v1", "v0", "v2"),
        on(None),
        dead(),
    ],
)
@pytest.mark.parametrize("repository", ["", "v2", "v9"])
def test_one_nodes_word_chooses_nothing(lie: dict[str, Any], repository: str) -> None:
    honest = fleet(*[on("v2", "v1", "v0")] * 3)
    assert target({"x": lie, **honest}, repository=repository)["name"] == "v1"
    honest = fleet(*[on("v1", "v0")] * 3)
    assert target({"x": lie, **honest}, repository="v9")["name"] == "v0"


@pytest.mark.parametrize("repository", ["", "v1", "v2", "v9"])
def test_a_reversed_order_on_one_node_decides_nothing(repository: str) -> None:
    lie = on("v2", "v1")
    lie["probe"]["release"]["built"] = {"v1": 2000.0, "v2": 1000.0}
    honest = fleet(*[on("v2", "v1")] * 9)
    assert target({"x": lie, **honest}, repository=repository)["name"] == "v1"


@pytest.mark.parametrize(("current", "previous"), [("v3", "v0"), ("v2", "v0"), ("v1", "v2"), ("v2", "v3")])
def test_a_deploy_that_reached_one_node_is_undone_whatever_another_says(current: str, previous: str) -> None:
    lie = on(current, previous)
    lie["probe"]["release"]["built"] = {previous: 100.0, current: 900.0}
    for before in (None, "v0"):  # what the other nodes ran before, if anything
        rest = fleet(on("v2", "v1"), *[on("v1", before)] * 9)
        assert target({"x": lie, **rest}, repository="v2")["name"] == "v1"


def test_two_nodes_that_contradict_each_other_choose_nothing() -> None:
    lie = on("v2", "v1")
    lie["probe"]["release"]["built"] = {"v1": 2000.0, "v2": 1000.0}
    found = target(fleet(lie, on("v2", "v1")))
    assert found["name"] == ""
    assert "from v1 to v2 (1), from v2 to v1 (1); name the release" in found["why"]


def test_who_tells_another_way_is_named() -> None:
    found = target(fleet(on("v3", "v0"), *[on("v2", "v1")] * 3))
    assert found["warnings"] == ["n0 ran v3 after v0, which decides nothing: most did not"]


@pytest.mark.parametrize("others", [1, 2])
def test_without_a_majority_the_figures_and_the_way_out_are_told(others: int) -> None:
    found = target(fleet(*[on("v2", "v1")] * others, *[on("v1", "v0")] * others))
    assert found["name"] == ""
    assert f"from v1 to v0 ({others}), from v2 to v1 ({others}); name the release" in found["why"]
    assert "-e p2p_rollback_to=<release>, or the nodes with --limit" in found["why"]


def test_nodes_that_hold_one_release_alone_have_no_say() -> None:
    assert target(fleet(on("v2", "v1"), *[on("v2")] * 4))["name"] == "v1"
    # One that holds another and does not say what it ran before is none that agrees.
    assert target(fleet(on("v2", "v1"), *[on("v2", None, "v1")] * 2))["name"] == ""


def test_a_node_alone_is_all_of_its_run() -> None:
    assert target({"x": on("v3", "v0")})["name"] == "v0"


@pytest.mark.parametrize("name", ["..", ".", "../../etc", "a/b", "-rf", "", "v1\n", "v" * 101, "v;x"])
def test_what_no_folder_may_be_called_is_no_release(name: str) -> None:
    BUILT.setdefault(name, 50.0)
    found = target({"x": on("v2", name)}, name)
    assert found["name"] == ""
    assert target({"x": on("v2", name)})["name"] == ""
    assert target({"x": on(name, "v1")})["name"] == ""
    assert rolled_back({"x": on(name, "v1")}, "v1", SERVICE)["x"]["msg"].startswith("it has no release")


def test_without_a_previous_release_there_is_nowhere_to_go() -> None:
    found = target({**fleet(on("v1"), on("v1")), "x": dead(), "y": blank()})
    assert found["name"] == ""
    assert "there are v1 (2 nodes)" in found["why"]


def test_a_named_release_has_to_be_somewhere() -> None:
    answers = fleet(on("v2", "v1", "v0"), on("v2", "v1"))
    assert target(answers, "v0") == {"name": "v0", "why": "", "warnings": []}
    assert target(answers, "v9")["name"] == ""
    assert "no node that answered has the release x9; there are v0 (1 nodes)" in target(answers, "x9")["why"]


def test_the_nearest_release_is_told() -> None:
    name = "1.0.0-76ad697ebccf"
    BUILT.setdefault(name, 150.0)
    answers = fleet(on("v2", name), dead())
    for slip in ("1.0.0-76ad697ebccc", "1.0.0", name.upper()):
        found = target(answers, slip)
        assert found["name"] == ""
        assert f"has the release {slip} (did you mean '{name}'?); there are {name} (1 nodes)" in found["why"]


def test_nodes_without_the_release_are_told_what_they_have() -> None:
    answers = rolled_back({"lacks": on("v2", "v0"), "bare": on(None), "gone": dead()}, "v1", SERVICE)
    result = plan(answers, ["a"], store_quorum({}), voter_answers={}, now=0)
    assert result["refused"]["lacks"].startswith("it has v2, v0 and not v1: run deploy.yml")
    assert result["refused"]["bare"].startswith("it has no release")
    assert result["unreachable"] == {"gone": "timed out"}
    assert result["others"] == []


def test_nodes_on_the_release_are_left_alone() -> None:
    answers = rolled_back({"there": on("v1", "v2"), "not": on("v2", "v1")}, "v1", SERVICE)
    result = plan(answers, ["a"], store_quorum({}), voter_answers={}, now=0)
    assert result["unchanged"] == ["there"]
    assert result["others"] == ["not"]
    assert result["drift"]["not"] == ["release v1: not current: v2 is"]


def test_a_service_that_still_runs_from_elsewhere_is_restarted() -> None:
    halfway = on("v1", "v2")
    restart = {"part": "restart", "name": f"{SERVICE}.service", "why": "runs from v2", "restarts": [SERVICE]}
    halfway["probe"]["drift"] = [restart]
    result = plan(
        rolled_back({"n": halfway}, "v1", SERVICE), ["a"], store_quorum({}), voter_answers={}, now=0
    )
    assert result["others"] == ["n"]
    assert result["stops"]["n"] == [SERVICE]


def test_voters_go_back_one_by_one_the_leader_last_and_only_the_orchestrator_stops() -> None:
    answers = {name: on("v2", "v1", name=name) for name in VOTERS}
    result = plan(
        rolled_back(answers, "v1", SERVICE), VOTERS, store_quorum(answers), voter_answers=answers, now=0
    )
    assert result["voters_one_by_one"] == ["b", "c", "d", "e", "a"]
    assert result["stops"] == {name: [SERVICE] for name in VOTERS}


def test_a_voter_whose_new_release_does_not_run_goes_back_without_waiting() -> None:
    answers = {name: on("v2", "v1", name=name) for name in VOTERS}
    answers["b"]["probe"]["services"][SERVICE] |= {"active": "activating", "sub": "auto-restart"}
    result = plan(
        rolled_back(answers, "v1", SERVICE), VOTERS, store_quorum(answers), voter_answers=answers, now=0
    )
    assert result["voters_at_once"] == ["b"]
    assert "b" not in result["voters_one_by_one"]
