"""Members that moved: who they are, what stands against it, and the order of the steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.plugin_utils.plan.moves import Move, Step, Turn, moved, text, turns, why_not_there

OLD = {name: f"https://192.0.2.{number}:2380" for number, name in enumerate("abcde", 1)}
NEW = {name: f"https://198.51.100.{number}:2380" for number, name in enumerate("abcde", 1)}
IDS = {name: str(number) for number, name in enumerate("abcde", 1)}


def _members(urls: dict[str, str]) -> list[dict[str, Any]]:
    return [{"id": IDS[name], "name": name, "peer_urls": [url]} for name, url in urls.items()]


def _in_order(made: dict[str, Turn]) -> list[Step]:
    return [step for turn in made.values() for step in (*turn["before"], *turn["after"])]


def _applied(members: Sequence[dict[str, Any]], made: Sequence[Step]) -> dict[str, set[str]]:
    """Return where the store lists everybody after the steps; it refuses an address that another one has."""
    listed = {str(member["id"]): set(member["peer_urls"]) for member in members}
    for step in made:
        urls = {step["peer_url"], *step["also_at"]}
        others = set().union(*(listed[one] for one in listed if one != step["id"]))
        assert not urls & others
        listed[step["id"]] = urls
    return listed


def test_who_is_where_the_file_has_it_did_not_move() -> None:
    assert moved(_members(OLD), OLD) == []
    assert moved(_members({"a": OLD["a"]}), OLD) == [], "one that is no member did not move"
    assert moved(_members(OLD), {"a": NEW["a"]}) == [
        Move(name="a", id="1", listed=[OLD["a"]], wanted=NEW["a"])
    ]


def test_who_takes_the_address_of_another_has_it_make_way() -> None:
    urls = OLD | {"a": OLD["b"], "b": NEW["b"]}
    made = turns(moved(_members(OLD), urls))
    assert [(step["name"], step["peer_url"]) for step in _in_order(made)] == [
        ("b", "https://2.moving.invalid:2380"),
        ("a", OLD["b"]),
        ("b", NEW["b"]),
    ]
    assert [(name, len(turn["before"]), len(turn["after"])) for name, turn in made.items()] == [
        ("a", 0, 2),
        ("b", 0, 1),
    ]
    first = turns(moved(_members(OLD), urls)[::-1])
    assert [(step["name"], step["peer_url"]) for step in _in_order(first)] == [
        ("b", NEW["b"]),
        ("a", OLD["b"]),
    ]


def test_a_run_that_was_killed_between_goes_on() -> None:
    urls = OLD | {"a": OLD["b"], "b": OLD["a"]}
    between = _members(OLD | {"a": OLD["b"], "b": "https://2.moving.invalid:2380"})
    assert _in_order(turns(moved(between, urls))) == [Step(name="b", id="2", peer_url=OLD["a"], also_at=[])]


def test_another_port_is_one_of_two_until_the_member_restarts() -> None:
    urls = {name: url.replace("2380", "2390") for name, url in OLD.items()}
    made = turns(moved(_members(OLD), urls))
    assert made["a"]["before"] == [Step(name="a", id="1", peer_url=urls["a"], also_at=[OLD["a"]])]
    assert made["a"]["after"] == [Step(name="a", id="1", peer_url=urls["a"], also_at=[])]
    listed = [{"id": "1", "name": "a", "peer_urls": [OLD["a"], urls["a"]]}]
    assert [move["name"] for move in moved(listed, urls)] == ["a"], "the old one is still to go"


@pytest.mark.parametrize("urls", [OLD | {"a": OLD["b"]}, OLD | {"a": NEW["b"], "b": NEW["b"]}])
def test_two_voters_with_one_address_are_a_mistake(urls: dict[str, str]) -> None:
    found = moved(_members(OLD), urls)
    why = why_not_there(found, _members(OLD), urls)
    assert why.startswith(f"the fleet file has a at {urls['a'][8:]}, where b is: correct")
    assert why.endswith("the store lists a at 192.0.2.1:2380")


def test_the_address_of_a_member_that_is_about_to_leave_is_taken() -> None:
    members = [*_members({"a": OLD["a"]}), {"id": "9", "name": "", "peer_urls": [NEW["a"]]}]
    assert "where 9 is" in why_not_there(moved(members, {"a": NEW["a"]}), members, {"a": NEW["a"]})


@given(
    st.permutations([*OLD.values(), *NEW.values()]).map(
        lambda urls: dict(zip("abcde", urls[:5], strict=True))
    ),
    st.permutations("abcde"),
)
def test_whoever_moved_where_ends_there(urls: dict[str, str], order: list[str]) -> None:
    members = _members(OLD)
    found = sorted(moved(members, urls), key=lambda move: order.index(move["name"]))
    assert why_not_there(found, members, urls) == ""
    assert _applied(members, _in_order(turns(found))) == {IDS[name]: {url} for name, url in urls.items()}


def test_a_move_in_words() -> None:
    (move,) = moved(_members(OLD), OLD | {"a": "https://[2001:db8::1]:2380"})
    assert text(move) == (
        "the store lists a at 192.0.2.1:2380, and the fleet file has it at [2001:db8::1]:2380"
    )
