"""Members that moved: who they are, what stands against it, and the order of the steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.members import Store
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.moves import (
    Move,
    Step,
    Turn,
    moved,
    text,
    turns,
    why_not_there,
)
from hypothesis import given
from hypothesis import strategies as st

OLD = {name: f"https://192.0.2.{number}:2380" for number, name in enumerate("abcde", 1)}
NEW = {name: f"https://198.51.100.{number}:2380" for number, name in enumerate("abcde", 1)}
IDS = {name: str(number) for number, name in enumerate("abcde", 1)}


def _store(urls: Mapping[str, str | list[str]], told: Mapping[str, Any] | None = None) -> Store:
    """Return a store whose members tell these addresses; `told` are the lists of those that tell others."""

    def members(listed: Mapping[str, str | list[str]]) -> list[dict[str, Any]]:
        return [
            {
                "id": IDS[name],
                "name": name,
                "learner": False,
                "client_urls": ["x"],
                "peer_urls": [url] if isinstance(url, str) else url,
            }
            for name, url in listed.items()
        ]

    lists = {name: members((told or {}).get(name, urls)) for name in urls}
    return Store(
        cluster_id="77", members=members(urls), told={name: {"members": one} for name, one in lists.items()}
    )


def _in_order(made: dict[str, Turn]) -> list[Step]:
    return [step for turn in made.values() for step in (*turn["before"], *turn["after"])]


def _turns(store: Store, urls: Mapping[str, str], order: str = "abcde") -> dict[str, Turn]:
    found = moved(store, urls)
    names = {move["name"] for move in found}
    return turns(found, [name for name in order if name in names])


def _applied(store: Store, made: Sequence[Step]) -> dict[str, set[str]]:
    """Return where the store lists everybody after the steps; it refuses an address that another one has."""
    listed = {str(member["id"]): set(member["peer_urls"]) for member in store.members}
    for step in made:
        urls = {step["peer_url"], *step["also_at"]}
        others = set().union(*(listed[one] for one in listed if one != step["id"]))
        assert not urls & others
        listed[step["id"]] = urls
    return listed


def test_who_is_where_the_file_has_it_did_not_move() -> None:
    assert moved(_store(OLD), OLD) == []
    assert moved(_store({"a": OLD["a"]}), OLD) == [], "who is no member did not move"
    assert moved(_store(OLD), {"a": NEW["a"]}) == [Move(name="a", id="1", listed=[OLD["a"]], wanted=NEW["a"])]


def test_who_takes_the_address_of_another_has_it_make_way() -> None:
    urls = OLD | {"a": OLD["b"], "b": NEW["b"]}
    made = _turns(_store(OLD), urls)
    assert [(step["name"], step["peer_url"]) for step in _in_order(made)] == [
        ("b", "https://2.moving.invalid:2380"),
        ("a", OLD["b"]),
        ("b", NEW["b"]),
    ]
    assert [(name, len(turn["before"]), len(turn["after"])) for name, turn in made.items()] == [
        ("a", 0, 2),
        ("b", 0, 1),
    ]
    first = _turns(_store(OLD), urls, "ba")
    assert [(step["name"], step["peer_url"]) for step in _in_order(first)] == [
        ("b", NEW["b"]),
        ("a", OLD["b"]),
    ]


def test_a_run_that_was_killed_between_goes_on() -> None:
    urls = OLD | {"a": OLD["b"], "b": OLD["a"]}
    between = _store(OLD | {"a": OLD["b"], "b": "https://2.moving.invalid:2380"})
    assert _in_order(_turns(between, urls)) == [Step(name="b", id="2", peer_url=OLD["a"], also_at=[])]


def test_another_port_is_one_of_two_until_the_member_restarts() -> None:
    urls = {name: url.replace("2380", "2390") for name, url in OLD.items()}
    made = _turns(_store(OLD), urls)
    assert made["a"]["before"] == [Step(name="a", id="1", peer_url=urls["a"], also_at=[OLD["a"]])]
    assert made["a"]["after"] == [Step(name="a", id="1", peer_url=urls["a"], also_at=[])]
    between = _store({name: [OLD[name], urls[name]] if name == "a" else urls[name] for name in OLD})
    assert [move["name"] for move in moved(between, urls)] == ["a"], "the old one is still to go"


@pytest.mark.parametrize("urls", [OLD | {"a": OLD["b"]}, OLD | {"a": NEW["b"], "b": NEW["b"]}])
def test_two_voters_with_one_address_are_a_mistake(urls: dict[str, str]) -> None:
    store = _store(OLD)
    why = why_not_there(moved(store, urls), store, urls)
    assert why.startswith(f"the fleet file has a at {urls['a'][8:]}, where b is: correct")
    assert why.endswith("the store lists a at 192.0.2.1:2380")


def test_the_address_of_a_member_that_stays_is_taken_and_that_of_one_that_goes_is_not() -> None:
    store, urls = _store(OLD), {name: OLD[name] for name in "bcd"} | {"a": OLD["e"]}
    assert "where e is" in why_not_there(moved(store, urls), store, urls)
    assert why_not_there(moved(store, urls), store, urls, gone=["5"]) == ""


def test_nobody_joins_where_one_that_moved_is_listed() -> None:
    store, urls = _store(OLD), OLD | {"b": NEW["b"], "x": OLD["b"]}
    why = why_not_there(moved(store, urls), store, urls)
    assert why.startswith("x is to vote at 192.0.2.2:2380, where the store lists b, which moved: put")


def test_one_that_makes_way_need_not_be_worked_on() -> None:
    urls = OLD | {"a": OLD["b"], "b": OLD["a"]}
    made = _turns(_store(OLD), urls, "a")
    assert [(step["name"], step["peer_url"]) for step in _in_order(made)] == [
        ("b", "https://2.moving.invalid:2380"),
        ("a", OLD["b"]),
    ]


def test_two_of_five_move_nobody_by_what_they_say() -> None:
    swapped = OLD | {"a": OLD["b"], "b": OLD["a"], "c": "https://[:2380"}
    assert moved(_store(OLD, {"d": swapped, "e": swapped}), OLD) == []
    three = dict.fromkeys("cde", OLD | {"a": NEW["a"]})
    assert [move["name"] for move in moved(_store(OLD, three), OLD)] == ["a"]


@pytest.mark.parametrize("url", ["https://[:2380", "https://a:99999", "x", "https://", "://"])
def test_what_is_no_address_is_moved_away_from(url: str) -> None:
    made = _turns(_store(OLD | {"a": url}), OLD)
    assert [step["peer_url"] for step in _in_order(made)] == [OLD["a"]]
    assert text(moved(_store(OLD | {"a": url}), OLD)[0])


@given(
    st.permutations([*OLD.values(), *NEW.values()]).map(
        lambda urls: dict(zip("abcde", urls[:5], strict=True))
    ),
    st.permutations("abcde").map("".join),
)
def test_whoever_moved_where_ends_there(urls: dict[str, str], order: str) -> None:
    store = _store(OLD)
    assert why_not_there(moved(store, urls), store, urls) == ""
    made = _in_order(_turns(store, urls, order))
    assert _applied(store, made) == {IDS[name]: {url} for name, url in urls.items()}


def test_a_move_in_words() -> None:
    (move,) = moved(_store(OLD), OLD | {"a": "https://[2001:db8::1]:2380"})
    assert text(move) == (
        "the store lists a at 192.0.2.1:2380, and the fleet file has it at [2001:db8::1]:2380"
    )
    (move,) = moved(_store(OLD), OLD | {"a": OLD["a"].replace("https", "http")})
    assert text(move).startswith(
        "the store lists a at https://192.0.2.1:2380, and the fleet file has it at http:"
    )
