"""What follows from a machine's disk, rights and clock, before anything is written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.quorum import store_quorum

from action_plugins.p2p_bootstrap import answer
from filter_plugins.p2p_fitness import bootstrapped, fitness, without_python
from filter_plugins.p2p_outcome import outcomes, plan_text
from filter_plugins.p2p_plan import plan
from tests.unit.deploy.conftest import PROJECT, VOTERS, voter

NEEDS_RELEASE = {"part": "release", "name": "1.0-a", "why": "missing", "restarts": ["p2p_orchestrator"]}


def node(**probe: Any) -> dict[str, Any]:
    """Return the answer of a new node on which nothing is in the way but `probe`."""
    found = {
        "drift": [NEEDS_RELEASE],
        "disk": {"path": "/opt", "free_mb": 501, "inodes_free": None},
        "user": {"root": True},
        "clock": {"unix": 1000.0},
    }
    return {"probe": {**found, **probe}}


def weigh(answer: dict[str, Any], **changes: Any) -> dict[str, Any]:
    given = {"asked": 1000.0, "answered": 1002.0, "min_free_mb": 500, "max_clock_skew": 10.0, **changes}
    return fitness({"n": answer}, ["v"], **given)


def test_a_fit_node_and_one_that_gave_no_answer_raise_nothing() -> None:
    assert weigh(node()) == {"refused": {}, "warnings": []}
    assert weigh({"msg": "no python"}) == {"refused": {}, "warnings": []}


@pytest.mark.parametrize(
    ("probe", "why"),
    [
        ({"disk": {"path": "/opt", "free_mb": 499, "inodes_free": 9}}, "only 499 MB are free below /opt"),
        ({"disk": {"path": "/opt", "free_mb": 900, "inodes_free": 10}}, "only 10 inodes are free"),
    ],
)
def test_what_is_in_the_way_is_refused_with_its_remedy(probe: dict[str, Any], why: str) -> None:
    refused = weigh(node(**probe))["refused"]["n"]
    assert why in refused
    assert refused.endswith("Nothing was written")
    # A node that only needs its service started is not kept from it.
    assert weigh(node(**probe, drift=[{"part": "state"}]))["refused"] == {}
    assert weigh(node(**probe, drift=[]))["refused"] == {}


def test_a_voter_without_root_is_refused_and_another_node_is_not() -> None:
    plain = node(user={"root": False, "sudo": False})
    found = fitness({"v": plain, "n": plain}, ["v"], asked=0, answered=2000, min_free_mb=0, max_clock_skew=10)
    assert list(found["refused"]) == ["v"]
    assert "etcd needs root" in found["refused"]["v"]


@pytest.mark.parametrize(("told", "said"), [(980.0, "20 s behind"), (1030.0, "28 s ahead"), (991.0, "")])
def test_a_wrong_clock_is_a_warning(told: float, said: str) -> None:
    warnings = weigh(node(clock={"unix": told}))["warnings"]
    assert [said in line for line in warnings] == [True] * bool(said)


NO_PYTHON = {"failed": False, "msg": "The module interpreter '/usr/bin/python3' was not found."}
WOULD = {"changed": True, "actions": ["install python3 with apt-get"]}


def test_who_lacks_python() -> None:
    answers = {
        "bare": NO_PYTHON,
        "away": {"unreachable": True, **NO_PYTHON},
        "fit": node(),
        "no-root": {"msg": "sudo: a password is required"},
        "liar": {"failed": True, "untrusted": True, **NO_PYTHON},
    }
    assert without_python(answers) == ["bare"]


def test_a_node_that_would_get_a_python_is_planned_and_counted_as_changed() -> None:
    answers = {**{name: voter(name) for name in VOTERS}, "vast-1": NO_PYTHON}
    found = plan(
        answers,
        VOTERS,
        store_quorum({name: answers[name] for name in VOTERS}),
        voter_answers=answers,
        now=0,
        bootstrapped=bootstrapped({"results": [{"item": "vast-1", **WOULD}]}),
    )
    assert found["others"] == ["vast-1"]
    assert found["refused"] == {}
    line = "no Python on vast-1: would install python3 with apt-get, and then do what a new node needs"
    assert line in plan_text(found, check=True)
    assert outcomes({"vast-1": {}}, found)["changed"] == {"vast-1": ""}


def test_nothing_was_done_where_all_have_a_python() -> None:
    assert bootstrapped({}) == {}


def test_a_node_that_gets_no_python_is_refused_with_the_scripts_words() -> None:
    given = {"changed": False, "failed": False, "msg": "no Python, and bob is neither root nor may use sudo"}
    answers = {**{name: voter(name) for name in VOTERS}, "vast-1": NO_PYTHON}
    found = plan(
        answers,
        VOTERS,
        store_quorum({name: answers[name] for name in VOTERS}),
        voter_answers=answers,
        now=0,
        bootstrapped=bootstrapped({"results": [{"item": "vast-1", **given}]}),
    )
    assert found["refused"] == {"vast-1": given["msg"]}


@pytest.mark.parametrize("script", ["preview", "install"])
def test_the_script_leaves_a_python_that_is_there(script: str) -> None:
    words = ["sh", str(PROJECT / "scripts" / "node-python"), script, "1"]
    done = subprocess.run(
        words,
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"},
    )
    assert answer(done.stdout, done.returncode, done.stderr)["changed"] is False


@pytest.mark.parametrize(
    ("output", "code", "said", "expected"),
    [
        ("motd\np2p-bootstrap: install python3 with dnf\n", 0, "", {"changed": True}),
        ("p2p-bootstrap: refused no Python, none of apt-get, dnf and apk", 0, "", {"failed": True}),
        ("", 127, "sh: not found", {"failed": True}),
    ],
)
def test_what_the_script_says_is_understood(
    output: str, code: int, said: str, expected: dict[str, Any]
) -> None:
    found = answer(output, code, said)
    assert found.items() >= expected.items()
    assert "msg" in found or found["actions"] == ["install python3 with dnf"]
