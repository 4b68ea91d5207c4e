"""A controller that is the wrong one is refused, and of nodes that tell of another one each alone."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filter_plugins.p2p_authority import bundle_read, digests, left_out, takeover, told
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
        assert found == {
            "seen": {"a": OTHER, "b": OURS, "c": OURS},
            "refused": {},
            "answered": ["a", "b", "c"],
        }
    # A rotation by the right controller is no such thing.
    assert list(told(answers, VOTERS, [OURS], takes_over=True)["refused"]) == ["a"]


@pytest.mark.parametrize(
    ("seen", "voters", "carriers"),
    [
        ({"a": OURS, "b": OURS, "c": OURS}, "abc", "abc"),
        ({"a": OURS, "b": OURS}, "abc", "ab"),
        ({"x": OTHER, "a": OTHER, "b": OURS, "c": OURS, "y": OURS}, "abc", "bc"),
        ({"a": OURS}, "a", "a"),
        ({"a": OURS, "x": OTHER, "y": OTHER, "z": OTHER}, "a", "a"),
        ({"a": OURS, "b": OURS, "c": OURS, "d": OTHER, "e": OTHER}, "abcde", "abc"),
        ({"a": OURS, "b": OURS, "c": OURS}, "abcde", "abc"),
        ({"a": OURS, "b": OURS, "c": OURS}, "abcd", "abc"),
    ],
)
def test_a_lost_authority_is_taken_over_from_what_most_of_all_voters_carry(
    seen: dict[str, str], voters: str, carriers: str
) -> None:
    found = takeover(seen, list(voters), answered=list(voters))
    assert (found["digest"], found["carriers"], found["refusal"]) == (OURS, list(carriers), "")
    others = [name for name in voters if seen.get(name) == OTHER]
    assert all(f"{name} ({OTHER[:12]})" in found["warning"] for name in others)
    assert bool(found["warning"]) == bool(others)


@pytest.mark.parametrize(
    ("answers", "voters"),
    [
        # One voter that is read decides nothing, nor do most of those that answer.
        ({"a": OURS, "b": "dead", "c": "dead"}, "abc"),
        ({"a": OURS, "b": OURS, "c": "dead", "d": "dead", "e": "dead"}, "abcde"),
        ({"a": OURS, "b": OURS, "c": OTHER, "d": OTHER, "e": None}, "abcde"),
        ({"a": OURS, "b": OURS, "c": OTHER, "d": OTHER}, "abcd"),
        ({"a": OURS, "b": OTHER, "c": OLD}, "abc"),
        # Nodes that do not vote are no voters, however many.
        ({"a": "dead", "b": "dead", "c": "dead", "x": OURS, "y": OURS, "z": OURS}, "abc"),
        ({"a": None, "b": None, "c": None, "x": OTHER}, "abc"),
        ({"a": OURS, "b": None, "c": None, "x": OURS, "y": OURS}, "abc"),
        ({"a": "dead", "x": OURS}, "a"),
        # Nobody can say that there is none.
        ({"a": "dead"}, "a"),
        ({"a": "dead", "b": "dead", "c": None}, "abc"),
    ],
)
def test_without_a_majority_of_all_voters_nothing_is_taken_over(
    answers: dict[str, str | None], voters: str
) -> None:
    heard = told(fleet(answers), list(voters), known=[], takes_over=True)
    found = takeover(heard["seen"], list(voters), heard["answered"])
    assert (found["digest"], found["carriers"], found["warning"]) == ("", [], "")
    text = found["refusal"]
    assert f"where {len(voters) // 2 + 1} of the {len(voters)} voters" in text
    states = {"dead": "no answer", "": "without any"}
    for name in voters:
        digest = answers[name] or ""
        assert states.get(digest, f"{name} ({digest[:12]})") in text
    assert "Restore the directory of certificates from its backup" in text
    assert text.endswith("Nothing was changed.")


def test_where_nobody_carries_any_there_is_nothing_to_take_over() -> None:
    nothing = {"digest": "", "carriers": [], "warning": "", "refusal": ""}
    blank: dict[str, str | None] = {"a": None, "b": None, "c": None}
    for answers in (blank, {**blank, "c": "dead", "x": None}):
        heard = told(fleet(answers), VOTERS, known=[], takes_over=True)
        assert takeover(heard["seen"], VOTERS, heard["answered"]) == nothing


@given(
    st.dictionaries(st.sampled_from("abcdexyz"), st.sampled_from([OURS, OLD, OTHER, None, "dead"])),
    st.integers(1, 5),
)
def test_a_minority_of_the_voters_and_all_others_decide_nothing(
    answers: dict[str, str | None], count: int
) -> None:
    voters = list("abcde"[:count])
    heard = told(fleet(answers), voters, known=[], takes_over=True)
    found = takeover(heard["seen"], voters, heard["answered"])
    if found["digest"]:
        assert sum(answers.get(name) == found["digest"] for name in voters) * 2 > count
        assert set(found["carriers"]) <= set(voters)
        assert found["refusal"] == ""
    elif not found["refusal"]:
        assert heard["seen"] == {}
        assert sum(answers.get(name, "dead") is None for name in voters) * 2 > count
    # Whatever nodes that do not vote say, it is the same, unless it stops the run.
    quiet = told(fleet({n: d for n, d in answers.items() if n in voters}), voters, known=[], takes_over=True)
    alone = takeover(quiet["seen"], voters, quiet["answered"])
    assert (alone["digest"], alone["carriers"]) == (found["digest"], found["carriers"])


def test_the_bundle_is_read_from_whichever_voter_gives_what_most_told_of() -> None:
    digest = hashlib.sha256(b"ours").hexdigest()
    ours = {"content": base64.b64encode(b"ours").decode()}
    lies: list[dict[str, Any]] = [
        {"content": base64.b64encode(b"other").decode()},
        {"content": "no base64"},
        {"content": "\u20ac"},
        {"content": ["x"]},
        {"content": base64.b64encode(b"\xff").decode()},
        {"unreachable": True},
        {},
    ]
    assert bundle_read([*lies, ours], digest) == "ours"
    assert bundle_read(lies, digest) == ""
    assert (
        bundle_read([{"content": base64.b64encode(b"\xff").decode()}], hashlib.sha256(b"\xff").hexdigest())
        == ""
    )
    assert bundle_read([], "") == ""
    assert bundle_read([{}], "") == ""


def test_who_is_refused_says_nothing_else() -> None:
    answers = fleet({"a": OURS, "b": OTHER, "c": "dead"})
    assert left_out(answers, {"b": "why"}) == {**answers, "b": {"failed": True, "msg": "why"}}


def fleet(digests: dict[str, str | None]) -> Answers:
    return {name: dead() if digest == "dead" else carries(digest) for name, digest in digests.items()}
