"""Two programs that do not elect together, and where a checkout has its environment."""

from __future__ import annotations

from typing import Any

import pytest

from filter_plugins.p2p_source import checkout_venv, why_mixed

AI = "~me/ringrift/ai-service"


@pytest.mark.parametrize(
    ("activate", "venv"),
    [
        ("", f"{AI}/venv"),
        ("source ~/ringrift/ai-service/venv/bin/activate", "~me/ringrift/ai-service/venv"),
        ("source $HOME/env/bin/activate", "~me/env"),
        (". ${HOME}/env/bin/activate && export X=1", "~me/env"),
        ("cd /srv/x && . .venv/bin/activate", f"{AI}/.venv"),
        ('source "/opt/venv/bin/activate"', "/opt/venv"),
        ("source ~other/venv/bin/activate", "~other/venv"),
        ("conda activate x", f"{AI}/venv"),
        ("true; source /workspace/venv/bin/activate;", "/workspace/venv"),
    ],
)
def test_the_environment_is_read_out_of_shell_text(activate: str, venv: str) -> None:
    assert checkout_venv(activate, AI, "me") == venv


def runs(*commands: str) -> dict[str, Any]:
    """Return the answer of a node with these orchestrators."""
    return {"probe": {"processes": [{"cmdline": command} for command in commands]}}


ORIGINAL = runs("/home/me/venv/bin/python scripts/p2p_orchestrator.py --node-id a")
BUNDLED = runs("/opt/p2p-cluster/current/venv/bin/python -m p2p_orchestrator --host 0.0.0.0")
FLEET = {"a": ORIGINAL, "b": BUNDLED, "c": runs(), "d": {"unreachable": True}}


def test_a_fleet_of_one_program_is_not_mixed() -> None:
    assert why_mixed({"b": BUNDLED, "c": runs()}, "bundled", voters=[], cutover=False, limited=True) == ""
    assert why_mixed({"a": ORIGINAL}, "checkout", voters=[], cutover=False, limited=False) == ""


@pytest.mark.parametrize("source", ["bundled", "checkout"])
def test_nodes_that_do_not_vote_hold_nobody_back_where_all_voters_spoke(source: str) -> None:
    other = dict.fromkeys(("x", "y"), ORIGINAL if source == "bundled" else BUNDLED)
    blank = {"a": runs(), "b": runs(), "c": runs()}
    for voters in (["a"], ["a", "b", "c"]):
        assert why_mixed({**blank, **other}, source, voters=voters, cutover=False, limited=False) == ""
    # A voter that did not answer may run it, too.
    dead = {**blank, **other, "c": {"unreachable": True}}
    assert why_mixed(dead, source, voters=["a", "b", "c"], cutover=False, limited=False) != ""


@pytest.mark.parametrize("source", ["bundled", "checkout"])
@pytest.mark.parametrize("dead", [1, 2, 3])
def test_one_node_that_does_not_vote_holds_nobody_back(source: str, dead: int) -> None:
    voters = ["a", "b", "c", "d", "e"]
    answers = {name: {"unreachable": True} if at < dead else runs() for at, name in enumerate(voters)}
    answers["x"] = ORIGINAL if source == "bundled" else BUNDLED
    assert why_mixed(answers, source, voters=voters, cutover=False, limited=False) == ""
    # A voter that runs it may elect.
    answers["e"] = answers["x"]
    assert why_mixed(answers, source, voters=voters, cutover=False, limited=False)


def test_a_fleet_whose_voters_are_silent_runs_what_most_others_run() -> None:
    silent = {name: {"unreachable": True} for name in ("a", "b", "c")}
    for others, refused in ((1, False), (4, True), (8, True)):
        rest = {f"n{at}": ORIGINAL if at < others else runs() for at in range(8)}
        why = why_mixed({**silent, **rest}, "bundled", voters=["a", "b", "c"], cutover=False, limited=False)
        assert bool(why) == refused


@pytest.mark.parametrize("limited", [False, True])
def test_what_most_voters_run_is_the_fleets_program(limited: bool) -> None:
    fleet = {**FLEET, "e": BUNDLED}
    assert why_mixed(fleet, "bundled", voters=["b", "c", "e"], cutover=False, limited=limited) == ""
    assert why_mixed(fleet, "bundled", voters=["a", "b", "c"], cutover=False, limited=limited)
    assert why_mixed(fleet, "bundled", voters=["a", "b"], cutover=False, limited=limited)
    assert why_mixed(fleet, "checkout", voters=["b", "c", "e"], cutover=False, limited=limited)


@pytest.mark.parametrize(
    ("source", "named", "other"), [("bundled", "a", "the original"), ("checkout", "b", "the bundled")]
)
def test_the_other_program_is_refused_with_its_nodes(source: str, named: str, other: str) -> None:
    why = why_mixed(FLEET, source, voters=["a", "b", "c"], cutover=False, limited=False)
    assert why.startswith(f"{named} run {other} orchestrator")
    assert f"-e p2p_orchestrator_source={source} -e p2p_cutover=true" in why


def test_a_cut_over_takes_the_whole_fleet() -> None:
    voters = ["a", "b", "c"]
    assert why_mixed(FLEET, "bundled", voters=voters, cutover=True, limited=False) == ""
    assert "without --limit" in why_mixed(FLEET, "bundled", voters=voters, cutover=True, limited=True)
