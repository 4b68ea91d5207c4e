"""Allowances and places."""

import pytest

from p2p_orchestrator.bounds import KEYS, Allowance, Rate, Room, origin


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::1", "::1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("no address", "no address"),
    ],
)
def test_whoever_has_one_address_of_ipv6_counts_once(address: str, key: str) -> None:
    assert origin(address) == key


def test_an_allowance_is_a_burst_and_then_so_much_a_second() -> None:
    allowance = Allowance(Rate(2.0, 10.0))
    assert sum(allowance.take("a", 100.0) for _ in range(50)) == 10
    assert sum(allowance.take("a", 103.0) for _ in range(50)) == 6
    assert sum(allowance.take("a", 1e6) for _ in range(50)) == 10


def test_what_one_takes_is_not_taken_from_another() -> None:
    allowance = Allowance(Rate(1.0, 1.0))
    assert allowance.take("a", 0.0)
    assert not allowance.take("a", 0.0)
    assert allowance.take("b", 0.0)


def test_what_costs_more_than_a_burst_is_owed() -> None:
    allowance = Allowance(Rate(1.0, 10.0))
    assert allowance.take("a", 0.0, 25.0)
    assert not allowance.take("a", 10.0, 1.0)
    assert allowance.take("a", 16.0, 1.0)
    assert not allowance.take("a", 16.0, 25.0)


def test_a_clock_that_goes_back_gives_nothing() -> None:
    allowance = Allowance(Rate(1.0, 1.0))
    assert allowance.take("a", 50.0)
    assert not allowance.take("a", 20.0)


def test_keys_are_forgotten_but_not_those_that_ask() -> None:
    allowance = Allowance(Rate(0.0, 1.0))
    assert allowance.take("busy", 0.0)
    for number in range(3 * KEYS):
        allowance.take(f"n{number}", 0.0)
        assert not allowance.take("busy", 0.0)
    assert allowance.take("n0", 0.0)


def test_the_last_to_come_has_a_place_and_the_first_of_its_key_loses_it() -> None:
    room: Room[int] = Room(10, 2)
    assert [room.enter("a", item) for item in (1, 2, 3, 4)] == [None, None, 1, 2]
    assert sorted(room) == [3, 4]
    assert len(room) == 2


def test_in_a_full_room_the_key_with_the_most_gives_way() -> None:
    room: Room[str] = Room(4, 10)
    for item in ("a1", "a2", "a3"):
        room.enter("a", item)
    room.enter("b", "b1")
    assert room.enter("c", "c1") == "a1"
    assert room.enter("d", "d1") == "a2"
    # Now each has one: who came first.
    assert room.enter("e", "e1") == "a3"
    assert room.enter("f", "f1") == "b1"
    assert sorted(room) == ["c1", "d1", "e1", "f1"]


def test_a_flood_of_one_key_leaves_all_others_their_places() -> None:
    room: Room[str] = Room(512, 300)
    others = [room.enter(f"o{number}", f"o{number}") for number in range(212)]
    displaced = [room.enter("flood", f"flood{number}") for number in range(6_000)]
    assert not any(others)
    assert {item[:5] for item in displaced if item} == {"flood"}
    assert len(room) == 512


def test_leaving_frees_a_place_once() -> None:
    room: Room[int] = Room(2, 2)
    room.enter("a", 1)
    room.leave("a", 1)
    room.leave("a", 1)
    room.leave("b", 1)
    assert len(room) == 0
    assert list(room) == []


def test_turns_go_round_the_keys() -> None:
    room: Room[str] = Room(10, 10)
    for item in ("a1", "a2", "a3", "b1", "c1"):
        room.enter(item[0], item)
    turns = [room.turn(lambda _: True) for _ in range(6)]
    assert turns == ["a1", "b1", "c1", "a2", "a3", None]


def test_a_key_that_may_not_is_passed_over() -> None:
    room: Room[str] = Room(10, 10)
    for item in ("a1", "b1"):
        room.enter(item[0], item)
    assert room.turn(lambda key: key == "b") == "b1"
    assert room.turn(lambda key: key == "b") is None
    assert len(room) == 1
