"""What follows from a machine's disk, Python, rights and clock, before anything is written."""

from __future__ import annotations

from typing import Any

import pytest

from filter_plugins.p2p_fitness import fitness

NEEDS_RELEASE = {"part": "release", "name": "1.0-a", "why": "missing", "restarts": ["p2p_orchestrator"]}


def node(**probe: Any) -> dict[str, Any]:
    """Return the answer of a new node on which nothing is in the way but `probe`."""
    found = {
        "drift": [NEEDS_RELEASE],
        "disk": {"path": "/opt", "free_mb": 501, "inodes_free": None},
        "pythons": [{"path": "/usr/bin/python3", "version": "3.11", "venv": True, "ensurepip": True}],
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
        ({"pythons": [{"version": "3.9"}, {"version": "3.8"}]}, "its newest Python is 3.9"),
        ({"pythons": []}, "no python3 in the usual places"),
    ],
)
def test_what_is_in_the_way_is_refused_with_its_remedy(probe: dict[str, Any], why: str) -> None:
    refused = weigh(node(**probe))["refused"]["n"]
    assert why in refused
    assert refused.endswith("Nothing was written")
    # A node that only needs its service started is not kept from it.
    assert weigh(node(**probe, drift=[{"part": "state"}]))["refused"] == {}
    assert weigh(node(**probe, drift=[]))["refused"] == {}


def test_an_interpreter_of_unknown_version_or_named_by_the_user_may_do() -> None:
    assert weigh(node(pythons=[{"version": None}]))["refused"] == {}
    assert weigh(node(pythons=[]), python="/opt/py/bin/python3.12")["refused"] == {}


def test_a_voter_without_root_is_refused_and_another_node_is_not() -> None:
    answer = node(user={"root": False, "sudo": False})
    found = fitness(
        {"v": answer, "n": answer}, ["v"], asked=0, answered=2000, min_free_mb=0, max_clock_skew=10
    )
    assert list(found["refused"]) == ["v"]
    assert "etcd needs root" in found["refused"]["v"]


@pytest.mark.parametrize(("told", "said"), [(980.0, "20 s behind"), (1030.0, "28 s ahead"), (991.0, "")])
def test_a_wrong_clock_is_a_warning(told: float, said: str) -> None:
    warnings = weigh(node(clock={"unix": told}))["warnings"]
    assert [said in line for line in warnings] == [True] * bool(said)
