"""A controller that is the wrong one is refused, and of nodes that tell of another one each alone."""

from __future__ import annotations

from typing import Any

import pytest

from filter_plugins.p2p_authority import carriers, digests, left_out, told
from tests.unit.deploy.conftest import dead

VOTERS = ("a", "b", "c")
OURS, OLD, OTHER = "1" * 64, "2" * 64, "f" * 64
Answers = dict[str, dict[str, Any]]


def carries(digest: str | None) -> dict[str, Any]:
    """Return the answer of a node whose `ca.crt` has a digest, or that has none."""
    return {"probe": {"digests": {"/etc/ringrift/tls/ca.crt": digest}}}


def test_the_ca_is_found_in_whichever_folder_a_node_has_it() -> None:
    answers: Answers = {
        "root": {"probe": {"digests": {"/etc/ringrift/tls/ca.crt": "1"}}},
        "rootless": {"probe": {"digests": {"/home/me/p2p/etc/tls/ca.crt": "2"}}},
        "without": {"probe": {"digests": {"/etc/ringrift/tls/ca.crt": None}}},
        "dead": dead(),
    }
    assert digests(answers) == {"root": "1", "rootless": "2"}


@pytest.mark.parametrize(
    ("answers", "refused"),
    [
        ({"a": OURS, "b": OURS, "c": OURS, "x": OURS}, []),
        # A node behind by a stage of a rotation is none of another cluster.
        ({"a": OURS, "b": OLD, "c": OURS, "x": OLD}, []),
        ({"a": OURS, "b": OURS, "c": OURS, "x": OTHER}, ["x"]),
        ({"a": OURS, "b": OURS, "c": OTHER, "x": OURS}, ["c"]),
        ({"a": OURS, "b": OTHER, "c": None, "x": OTHER}, ["b", "x"]),
        ({"a": OURS, "b": "dead", "c": "dead", "x": OTHER, "y": OTHER, "z": OTHER}, ["x", "y", "z"]),
        ({"a": None, "b": None, "c": None, "x": OTHER}, ["x"]),
        ({"a": "dead", "b": "dead", "c": "dead", "x": OURS, "y": OURS, "z": OTHER}, ["z"]),
    ],
)
def test_a_node_that_carries_another_authority_is_refused_alone(
    answers: dict[str, str | None], refused: list[str]
) -> None:
    found = told(fleet(answers), VOTERS, known=[OURS, OLD])
    assert list(found["refused"]) == refused
    assert all("never came from this controller" in why for why in found["refused"].values())
    assert set(found["seen"].values()) <= {OURS, OLD}
    assert not set(found["seen"]) & set(refused)


@pytest.mark.parametrize(
    "answers",
    [
        {"a": OTHER, "b": OTHER, "c": OTHER, "x": OTHER},
        {"a": OTHER, "b": OTHER, "c": OURS, "x": OURS},
        {"a": "dead", "b": "dead", "c": OTHER, "x": OURS},
        {"a": "dead", "b": "dead", "c": "dead", "x": OTHER},
        {"a": "dead", "b": "dead", "c": "dead", "x": OTHER, "y": None, "z": None},
        {"a": None, "b": None, "c": None, "w": OTHER, "x": OTHER, "y": OTHER, "z": OTHER},
    ],
)
@pytest.mark.parametrize("known", [[], [OURS]])
def test_a_wrong_controller_is_refused_as_a_whole(answers: dict[str, str | None], known: list[str]) -> None:
    given = {name: None if digest == OURS and not known else digest for name, digest in answers.items()}
    found = told(fleet(given), VOTERS, known=known)
    # p2p_certificate refuses the run, since it is told of them.
    assert OTHER in found["seen"].values()
    assert found["refused"] == {}


def test_nobody_is_refused_without_certificates_or_where_a_lost_authority_is_replaced() -> None:
    answers = fleet({"a": OTHER, "b": OURS, "c": OURS})
    for found in (told(answers, VOTERS, None), told(answers, VOTERS, [], takes_over=True)):
        assert found == {"seen": {"a": OTHER, "b": OURS, "c": OURS}, "refused": {}}
    # A rotation by the right controller is no such thing.
    assert list(told(answers, VOTERS, [OURS], takes_over=True)["refused"]) == ["a"]


def test_a_lost_authority_is_taken_over_from_what_most_voters_carry() -> None:
    assert carriers({"x": OTHER, "a": OTHER, "b": OURS, "c": OURS, "y": OURS}, VOTERS) == ["b", "c", "y"]
    assert carriers({"x": OTHER, "y": OURS, "z": OURS}, VOTERS) == ["y", "z"]
    assert carriers({}, VOTERS) == []


def test_who_is_refused_says_nothing_else() -> None:
    answers = fleet({"a": OURS, "b": OTHER, "c": "dead"})
    assert left_out(answers, {"b": "why"}) == {**answers, "b": {"failed": True, "msg": "why"}}


def fleet(digests: dict[str, str | None]) -> Answers:
    return {name: dead() if digest == "dead" else carries(digest) for name, digest in digests.items()}
