"""Who is alive: what a voter hears itself, what others tell it, restarts and clones."""

from pytest import MonkeyPatch, approx, mark, raises

from p2p_orchestrator import membership
from p2p_orchestrator.membership import (
    ALIVE,
    DEAD,
    INCARNATIONS,
    MAX_NODES,
    MAX_RUMOURS,
    REPORTED,
    UNKNOWN,
    FullError,
    Members,
    Row,
)

START = 1000.0


def members() -> Members:
    return Members("voter-a", "me", ["voter-a", "voter-b"], START)


def test_a_node_is_alive_for_one_window_after_its_last_heartbeat() -> None:
    table = members()
    table.hear("vast-1", "i", {}, START + 1)
    assert table.state("vast-1", START + 16.0) == ALIVE
    assert table.state("vast-1", START + 16.1) == DEAD
    table.hear("vast-1", "i", {}, START + 100)
    assert table.state("vast-1", START + 100) == ALIVE


def test_who_was_not_heard_is_unknown_for_one_window() -> None:
    table = members()
    table.learn(["vast-1"], START)
    assert table.state("vast-1", START + 14.9) == UNKNOWN
    assert table.state("voter-b", START + 14.9) == UNKNOWN
    assert table.state("vast-1", START + 15.0) == DEAD
    assert not table.listened(START + 14.9)
    assert table.listened(START + 15.0)


def test_oneself_is_always_alive() -> None:
    assert members().alive(START + 1e6) == {"voter-a"}


def test_what_another_voter_heard_counts_by_its_age() -> None:
    table = members()
    table.learn(["vast-1"], START)
    table.relay("voter-b", [("vast-1", "i", 30.0, 14.0)], START + 100)
    assert table.state("vast-1", START + 101.0) == ALIVE
    assert table.state("vast-1", START + 101.1) == DEAD


def test_what_is_too_old_when_told_makes_nobody_known() -> None:
    table = members()
    for voter in ("voter-b", "voter-c"):
        table.relay(voter, [("vast-1", "i", 30.0, 15.1)], START + 100)
    assert "vast-1" not in table.names()
    assert table.rumours(START + 100) == set()


def test_a_report_holds_what_was_heard_directly_and_lately() -> None:
    table = members()
    table.hear("vast-1", "i", {}, START + 1)
    table.hear("vast-2", "j", {}, START + 10)
    table.learn(["vast-3"], START)
    table.relay("voter-b", [("vast-3", "k", 1.0, 1.0)], START + 10)
    assert table.report(START + 20) == [("vast-2", "j", 10.0, 10.0)]


def test_a_report_keeps_its_meaning_when_relayed() -> None:
    heard, told = members(), Members("voter-b", "other", [], 0.0)
    heard.hear("vast-1", "i", {}, START + 2)
    rows: list[Row] = heard.report(START + 6)
    told.learn(["vast-1"], 50.0)
    told.relay("voter-a", rows, 50.0)
    assert told.age("vast-1", 50.0) == approx(4.0)


def test_a_restart_is_no_clone() -> None:
    table = members()
    for second in range(0, 11, 5):
        table.hear("vast-1", "old", {}, START + second)
    for second in range(11, 30, 5):
        table.hear("vast-1", "new", {}, START + second)
        assert not table.conflict("vast-1", START + second)


def clones(table: Members, begin: float, end: float) -> float:
    time = begin
    while time < end:
        table.hear("vast-1", "one", {}, time)
        table.hear("vast-1", "two", {}, time + 2)
        time += 5
    return time - 3


def test_two_processes_with_one_name_are_told_and_count_once() -> None:
    table = members()
    last = clones(table, START, START + 20)
    assert table.conflict("vast-1", last)
    assert table.alive(last) == {"voter-a", "vast-1"}
    assert not table.conflict("vast-1", last + 15.1)


def test_clones_that_reach_one_voter_each_are_told_by_the_union() -> None:
    table = members()
    for second in range(0, 20, 5):
        table.hear("vast-1", "one", {}, START + second)
        table.relay("voter-b", [("vast-1", "two", float(second), 1.0)], START + second + 1)
    assert table.conflict("vast-1", START + 16)


def test_a_clone_of_oneself_is_told() -> None:
    table = members()
    for second in range(10, 30, 5):
        table.hear("voter-a", "clone", {}, START + second)
    assert table.conflict("voter-a", START + 26)


def test_names_are_forgotten_after_a_day_but_not_voters() -> None:
    table = members()
    table.hear("vast-1", "i", {}, START)
    table.sweep(START + membership.FORGET + 1)
    assert table.names() == ["voter-a", "voter-b"]


def test_incarnations_do_not_pile_up() -> None:
    table = members()
    for number in range(100):
        table.hear("vast-1", f"i{number}", {}, START + 20 * number)
        table.sweep(START + 20 * number)
    assert len(table.member("vast-1").heard) <= 2


def test_there_is_a_bound_on_names(monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr(membership, "MAX_NODES", 3)
    table = members()
    table.hear("vast-1", "i", {}, START)
    with raises(FullError, match="more than 3"):
        table.hear("vast-2", "i", {}, START)
    for voter in ("voter-b", "voter-c"):
        table.relay(voter, [("vast-3", "i", 1.0, 1.0)], START)
    table.learn(["vast-4"], START)
    assert len(table.names()) == 3


VAST_1: list[Row] = [("vast-1", "i", 3.0, 1.0)]


def test_a_name_that_one_voter_tells_is_unknown_until_a_second_one_tells_it() -> None:
    table = members()
    for second in range(0, 40, 5):
        table.relay("voter-b", VAST_1, START + second)
    assert table.state("vast-1", START + 35) == UNKNOWN
    assert table.rumours(START + 35) == {"vast-1"}
    assert "vast-1" not in table.names()
    table.relay("voter-c", VAST_1, START + 36)
    assert table.state("vast-1", START + 36) == ALIVE
    assert table.rumours(START + 36) == set()


def test_a_name_that_one_voter_tells_is_alive_once_the_node_itself_was_heard() -> None:
    table = members()
    table.hear("vast-1", "i", {}, START)
    table.relay("voter-b", VAST_1, START + 100)
    assert table.state("vast-1", START + 100) == ALIVE


def test_two_voters_that_tell_a_name_one_window_apart_are_one_each() -> None:
    table = members()
    table.relay("voter-b", VAST_1, START)
    table.relay("voter-c", VAST_1, START + 15.1)
    assert table.state("vast-1", START + 16) == UNKNOWN
    assert table.rumours(START + 31) == set()


def test_one_voter_cannot_fill_the_table() -> None:
    table = members()
    table.relay("voter-b", [(f"no-{i}", "i", 1.0, 1.0) for i in range(2 * MAX_NODES)], START)
    assert table.names() == ["voter-a", "voter-b"]
    assert len(table.rumours(START)) == MAX_RUMOURS
    table.relay("voter-b", [(f"other-{i}", "i", 1.0, 1.0) for i in range(2 * MAX_NODES)], START + 5)
    assert len(table.rumours(START + 5)) == MAX_RUMOURS


def test_names_that_others_tell_give_way_to_a_node_that_is_heard(monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr(membership, "MAX_NODES", 4)
    table = members()
    table.learn(["of-a-roster"], START)
    for voter in ("voter-b", "voter-c"):
        table.relay(voter, [("no-1", "i", 1.0, 1.0)], START)
    table.hear("vast-1", "i", {}, START)
    table.hear("vast-2", "i", {}, START)
    assert table.names() == ["vast-1", "vast-2", "voter-a", "voter-b"]
    with raises(FullError, match="more than 4"):
        table.hear("vast-3", "i", {}, START)


def test_a_name_keeps_its_newest_incarnations() -> None:
    table = members()
    for number in range(6000):
        table.hear("vast-1", f"i{number}", {}, START + number / 350)
    table.relay("voter-b", [("vast-1", f"j{number}", 9.0, 0.0) for number in range(6000)], START + 18)
    member = table.member("vast-1")
    assert len(member.heard) == INCARNATIONS
    assert list(member.heard)[-1] == "i5999"
    assert len(member.told) == INCARNATIONS
    assert len(table.report(START + 18)) == REPORTED
    assert table.state("vast-1", START + 18) == ALIVE


@mark.parametrize("clones", [2, 4, 5, 10])
def test_clones_of_a_node_are_told_however_many_they_are(clones: int) -> None:
    table = members()
    told = []
    for turn in range(90):
        table.hear("vast-1", f"clone-{turn % clones}", {}, START + turn * 5 / clones)
        told.append(table.conflict("vast-1", START + turn * 5 / clones))
    assert all(told[6 * clones :])


def test_invented_incarnations_do_not_hide_clones_that_this_voter_hears() -> None:
    table = members()
    time = START
    for turn in range(8):
        table.hear("vast-1", "one", {}, time)
        table.hear("vast-1", "two", {}, time + 2)
        table.relay("voter-b", [("vast-1", f"{turn}-{number}", 0.0, 0.0) for number in range(9)], time + 3)
        time += 5
    assert table.conflict("vast-1", time)
    assert {row[1] for row in table.report(time)} == {"one", "two"}
