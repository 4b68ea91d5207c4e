"""Which versions of etcd may follow which."""

from __future__ import annotations

import pytest
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.quorum import store_quorum

from filter_plugins.p2p_etcd_version import changing, parse, refusal, refused, step_refusal, versions
from filter_plugins.p2p_voters import change
from tests.unit.deploy.conftest import blank, dead, voter

LIVE = {"a": "3.4.23", "b": "3.4.23", "c": "3.4.23"}
VOTERS = ["a", "b", "c"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "3.4.23"),
        ("3.4.23", "3.4.23"),
        ("3.4.23", "3.4.30"),
        ("3.4.23", "3.5.16"),
        ("3.5.20", "3.6.14"),
        ("3.6.13", "3.6.14"),
        ("", "3.6.14"),
    ],
)
def test_steps_that_are_allowed(before: str, after: str) -> None:
    assert step_refusal(before, after) == ""


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ("", "3.4.22", "too old: at least 3.4.23"),
        ("", "3.3.25+dfsg", "too old"),
        ("", "latest", "too old"),
        ("", "", "(unknown) is too old"),
        ("3.5.16", "3.4.23", "is a downgrade"),
        ("3.6.14", "3.6.13", "is a downgrade"),
        ("3.4.23", "3.6.14", "skips a minor version: go to 3.5 first"),
        ("3.4.23", "4.0.0", "skips a minor version"),
        ("3.5.16", "3.6.14", "3.6 follows on 3.5.20 or later"),
    ],
)
def test_steps_that_are_refused(before: str, after: str, why: str) -> None:
    assert why in step_refusal(before, after)


def test_versions_are_read_as_distributions_write_them() -> None:
    assert parse("3.4.23") == parse("v3.4.23-4+b4") == (3, 4, 23)
    assert parse("3.4") is None


def test_the_version_is_what_each_member_tells() -> None:
    answers = {"a": voter("a", version="3.4.23"), "b": dead(), "c": voter("c", version=None)}
    assert versions(answers) == {"a": "3.4.23"}


def test_only_those_that_differ_change_and_a_first_deploy_changes_nothing() -> None:
    assert changing("3.5.16", {**LIVE, "a": "3.5.16"}, VOTERS) == {"b": "3.4.23", "c": "3.4.23"}
    assert changing("3.4.23", LIVE, VOTERS) == {}
    assert changing("3.5.16", {}, VOTERS) == {}
    assert changing("", LIVE, VOTERS) == {}


def test_a_run_is_refused_whole() -> None:
    assert refusal("3.5.16", LIVE, VOTERS, VOTERS) == ""
    assert refusal("", LIVE, VOTERS, ["a"]) == ""
    assert "3.5 first" in refusal("3.6.14", LIVE, VOTERS, VOTERS)
    assert "downgrade" in refusal("3.5.16", dict.fromkeys(VOTERS, "3.5.21"), VOTERS, VOTERS)
    # Where voters contradict each other, half of them are enough.
    assert "downgrade" in refusal("3.5.16", {"a": "3.5.16", "b": "3.5.21"}, VOTERS, VOTERS)


@pytest.mark.parametrize("told", ["9.9.9", "1.0.0", "3.5.22", "3.3.0"])
@pytest.mark.parametrize("now", ["3.4.23", "3.5.21"])
@pytest.mark.parametrize("limit", [["a"], ["b", "c"], [*VOTERS, "d", "e"]])
def test_what_one_voter_says_refuses_that_voter_alone(told: str, now: str, limit: list[str]) -> None:
    live = {**LIVE, "d": "", "e": ""}
    live = {**dict.fromkeys(live, now), "e": told}
    why = refused("3.5.21", live)
    assert list(why) == ["e"]
    assert f"from {told} to 3.5.21" in why["e"]
    honest = {**live, "e": now}
    voters = list(live)
    assert refusal("3.5.21", live, voters, limit) == refusal("3.5.21", honest, voters, limit).replace(
        ", e: a change", ": a change"
    )


def test_one_voter_outside_the_run_that_says_another_version_holds_up_nothing() -> None:
    voters = ["a", "b", "c", "d", "e"]
    live = {"a": "3.5.21", "b": "3.5.21", "c": "3.5.21", "d": "3.5.20"}
    assert refusal("3.5.21", live, voters, ["e"]) == ""
    assert refused("3.5.21", live) == {}


def test_a_change_that_was_interrupted_goes_on() -> None:
    voters = ["a", "b", "c", "d", "e"]
    live = {name: "3.4.23" if at < 3 else "3.5.21" for at, name in enumerate(voters)}
    assert refusal("3.5.21", live, voters, voters) == ""
    assert refused("3.5.21", live) == {}
    assert "stays on b, c" in refusal("3.5.21", live, voters, ["a"])
    assert refused("", live) == {}
    assert refused("3.5.21", {}) == {}


def test_no_voter_is_left_at_another_version() -> None:
    why = refusal("3.5.16", LIVE, VOTERS, ["b"])
    assert "on b, and another stays on a, c" in why
    assert "run without --limit" in why
    # Nodes that do not vote, and the last one of a change that was interrupted.
    assert refusal("3.5.16", LIVE, VOTERS, []) == ""
    assert refusal("3.5.16", {**LIVE, "a": "3.5.16", "c": "3.5.16"}, VOTERS, ["b"]) == ""


def test_a_blank_voter_does_not_mix_versions() -> None:
    live = {"a": "3.4.23", "b": "3.4.23"}
    assert "stays on a, b" in refusal("3.5.16", live, VOTERS, ["c"])


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "3",
        "3.4",
        "..",
        "+.+.+",
        "9" * 64,
        "3.4.~",
        "v",
        "-",
        "\u00b2.1.1",
        "\u0663.5.21",
        "3.5." + "9" * 5000,
    ],
)
def test_a_version_that_cannot_be_read_is_none(text: str) -> None:
    assert parse(text) is None
    assert step_refusal(text, "3.5.21") == ""
    answers = {name: voter(name, version="3.5.21") for name in VOTERS} | {"d": blank()}
    answers["a"] = voter("a", version=text)
    refused = change(answers, ["a", "b", "d"], store_quorum(answers), {}, etcd_service="x")["refused"]
    assert ("different versions of etcd" in refused) is bool(text)
