"""Who is alive: what a voter hears itself, what others tell it, restarts and clones."""

from pytest import MonkeyPatch, approx, raises

from p2p_orchestrator import membership
from p2p_orchestrator.membership import ALIVE, DEAD, UNKNOWN, FullError, Members, Row

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
    table.relay([("vast-1", "i", 30.0, 14.0)], START + 100)
    assert table.state("vast-1", START + 101.0) == ALIVE
    assert table.state("vast-1", START + 101.1) == DEAD


def test_what_is_too_old_when_told_makes_nobody_known() -> None:
    table = members()
    table.relay([("vast-1", "i", 30.0, 15.1)], START + 100)
    assert "vast-1" not in table.names()


def test_a_report_holds_what_was_heard_directly_and_lately() -> None:
    table = members()
    table.hear("vast-1", "i", {}, START + 1)
    table.hear("vast-2", "j", {}, START + 10)
    table.relay([("vast-3", "k", 1.0, 1.0)], START + 10)
    assert table.report(START + 20) == [("vast-2", "j", 10.0, 10.0)]


def test_a_report_keeps_its_meaning_when_relayed() -> None:
    heard, told = members(), Members("voter-b", "other", [], 0.0)
    heard.hear("vast-1", "i", {}, START + 2)
    rows: list[Row] = heard.report(START + 6)
    told.relay(rows, 50.0)
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
        table.relay([("vast-1", "two", float(second), 1.0)], START + second + 1)
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
    assert len(table.member("vast-1").seen) <= 2


def test_there_is_a_bound_on_names(monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr(membership, "MAX_NODES", 3)
    table = members()
    table.hear("vast-1", "i", {}, START)
    with raises(FullError, match="more than 3"):
        table.hear("vast-2", "i", {}, START)
    table.relay([("vast-3", "i", 1.0, 1.0)], START)
    table.learn(["vast-4"], START)
    assert len(table.names()) == 3
