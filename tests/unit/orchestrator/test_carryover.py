"""What a voter's next process knows of what the last one heard."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from p2p_orchestrator import carryover
from p2p_orchestrator.carryover import FILE, GAP, Origin, StaleError, leave, pack, take_up, unpack
from p2p_orchestrator.clock import boottime
from p2p_orchestrator.config import Config, load
from p2p_orchestrator.membership import ALIVE, DEAD, UNKNOWN, Members

START = 1000.0
ORIGIN = Origin("voter-a", "p2p", "boot-1")
VOTERS = ["voter-a", "voter-b"]
INFO = {"host": "h", "port": 8770, "reported_host": "192.0.2.7", "reported_port": 8770}


def members(since: float = START, incarnation: str = "first") -> Members:
    return Members("voter-a", incarnation, VOTERS, since)


def restarted(before: Members, stopped: float, gap: float = 1.0) -> Members:
    """Return what the next process knows, by way of the file's text."""
    now = stopped + gap
    result = members(now, "second")
    since, known = unpack(json.loads(json.dumps(pack(before, ORIGIN, stopped))), ORIGIN, now)
    result.recall(since, known, now)
    return result


def test_who_was_heard_is_alive_at_once_and_silence_keeps_its_age() -> None:
    before = members()
    before.hear("vast-1", "i", INFO, START + 90)
    before.hear("vast-2", "j", INFO, START + 99)
    after = restarted(before, START + 100, gap=2.0)
    assert after.listened(START + 102)
    assert after.alive(START + 102) == {"voter-a", "vast-1", "vast-2"}
    assert after.age("vast-1", START + 102) == 12.0
    assert after.member("vast-1").info == INFO
    assert after.state("vast-1", START + 105.1) == DEAD
    assert after.state("vast-2", START + 105.1) == ALIVE
    assert after.state("voter-b", START + 102) == DEAD


def test_no_number_of_restarts_keeps_a_dead_node_alive() -> None:
    table = members()
    table.hear("vast-1", "i", INFO, START + 100)
    for second in range(100, 115, 3):
        table = restarted(table, START + second, gap=2.0)
    assert table.age("vast-1", START + 114) == 14.0
    assert table.state("vast-1", START + 115.1) == DEAD
    assert table.report(START + 115.1) == []
    assert "vast-1" not in restarted(table, START + 115.1).names()


def test_what_other_voters_heard_is_kept_and_not_told_as_heard_here() -> None:
    before = members()
    before.learn(["vast-9"], START)
    before.relay("voter-b", [("vast-9", "x", 30.0, 1.0)], START + 100)
    after = restarted(before, START + 100)
    assert after.state("vast-9", START + 101) == ALIVE
    assert after.report(START + 101) == []


def test_listening_counts_on_without_the_gap() -> None:
    after = restarted(members(), START + 10, gap=3.0)
    assert not after.listened(START + 17.9)
    assert after.state("voter-b", START + 17.9) == UNKNOWN
    assert after.listened(START + 18.0)
    assert after.state("voter-b", START + 18.0) == DEAD


def test_the_last_process_of_ones_own_is_no_clone_and_a_clone_is() -> None:
    before = members()
    before.relay("voter-b", [("voter-a", "first", 60.0, 0.0)], START + 100)
    after = restarted(before, START + 100)
    # Another voter still tells of the process that is gone.
    after.relay("voter-b", [("voter-a", "first", 61.0, 1.0)], START + 101)
    after.relay("voter-b", [("voter-a", "second", 0.0, 0.0)], START + 104)
    assert not after.conflict("voter-a", START + 104)
    after.relay("voter-b", [("voter-a", "first", 70.0, 0.0)], START + 110)
    assert after.conflict("voter-a", START + 110)


def test_a_node_that_restarted_meanwhile_is_no_clone_and_clones_stay_told() -> None:
    before = members()
    for second in range(80, 100, 5):
        before.hear("vast-1", "old", INFO, START + second)
        before.hear("vast-2", "one", INFO, START + second)
        before.hear("vast-2", "two", INFO, START + second + 2)
    after = restarted(before, START + 99)
    after.hear("vast-1", "new", INFO, START + 100)
    assert not after.conflict("vast-1", START + 101)
    assert after.conflict("vast-2", START + 101)


@pytest.mark.parametrize(
    ("origin", "gap", "reason"),
    [
        (Origin("voter-b", "p2p", "boot-1"), 1.0, "another node"),
        (Origin("voter-a", "lab", "boot-1"), 1.0, "another cluster"),
        (Origin("voter-a", "p2p", "boot-2"), 1.0, "another boot"),
        (ORIGIN, GAP + 0.1, "5.1 s before"),
        (ORIGIN, -0.1, "before the start"),
    ],
)
def test_what_no_longer_holds_is_not_taken(origin: Origin, gap: float, reason: str) -> None:
    data = pack(members(), ORIGIN, START + 100)
    with pytest.raises(StaleError, match=reason):
        unpack(data, origin, START + 100 + gap)
    assert unpack(data, ORIGIN, START + 100 + GAP)


def broken(change: Callable[[Any], object]) -> Any:
    before = members()
    before.hear("vast-1", "i", INFO, START + 99)
    data = json.loads(json.dumps(pack(before, ORIGIN, START + 100)))
    change(data)
    return data


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.pop("since"),
        lambda data: data.update(written_at="now"),
        lambda data: data.update(written_at=True),
        lambda data: data.update(since=float("-inf")),
        lambda data: data.update(since=START + 101),
        lambda data: data.update(nodes=[]),
        lambda data: data["nodes"].update({"no name": data["nodes"]["vast-1"]}),
        lambda data: data["nodes"].update({"vast-2": None}),
        lambda data: data["nodes"]["vast-1"].pop("seen"),
        lambda data: data["nodes"]["vast-1"]["info"].update(port="1"),
        lambda data: data["nodes"]["vast-1"]["info"].update(reported_port=None),
        lambda data: data["nodes"]["vast-1"]["heard"].update(i=[START]),
        lambda data: data["nodes"]["vast-1"]["heard"].update(i=[START, START + 101]),
        lambda data: data["nodes"]["vast-1"]["heard"].update(i=[START + 99, START + 98]),
        lambda data: data["nodes"]["vast-1"]["heard"].update(i=[START, float("nan")]),
    ],
)
def test_what_is_broken_is_refused(change: Callable[[Any], object]) -> None:
    with pytest.raises(ValueError, match=r"."):
        unpack(broken(change), ORIGIN, START + 101)


def config(path: Path, **env: str) -> Config:
    voters = {"P2P_SEEDS": "192.0.2.1,192.0.2.2", "P2P_VOTERS": ",".join(VOTERS)}
    engine = {"P2P_ETCD_ENDPOINT": "http://127.0.0.1:2379"}
    return load([], {"NODE_ID": "voter-a", "P2P_DATA_DIR": str(path), **voters, **engine, **env})


def left(path: Path) -> Path:
    """Leave a file of a process that has listened long; return its path."""
    before = members(boottime() - 60)
    before.hear("vast-1", "i", INFO, boottime())
    leave(before, config(path))
    return path / FILE


def taken(path: Path, **env: str) -> Members:
    after = members(boottime(), "second")
    take_up(after, config(path, **env))
    return after


needs_boot = pytest.mark.skipif(not carryover.BOOT_ID.exists(), reason="this system does not name its boots")


@needs_boot
def test_a_file_is_private_and_serves_one_start(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = left(tmp_path / "data")
    assert file.stat().st_mode & 0o777 == 0o600
    assert [item.name for item in file.parent.iterdir()] == [FILE]
    first, second = taken(file.parent), taken(file.parent)
    assert first.listened(boottime())
    assert first.alive(boottime()) == {"voter-a", "vast-1"}
    assert not file.exists()
    assert not second.listened(boottime())
    said = capfd.readouterr().err
    assert "event=heard_taken_up" in said
    assert "nodes=1 listened=true" in said


@needs_boot
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b'{"node": "voter-a"}'])
def test_a_broken_file_is_deleted_and_logged(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], content: bytes
) -> None:
    (tmp_path / FILE).write_bytes(content)
    assert not taken(tmp_path).listened(boottime())
    assert list(tmp_path.iterdir()) == []
    assert "event=heard_" in capfd.readouterr().err


@needs_boot
def test_a_node_that_does_not_vote_deletes_it_too(tmp_path: Path) -> None:
    file = left(tmp_path)
    table = taken(tmp_path, NODE_ID="vast-1", P2P_ETCD_ENDPOINT="")
    assert not file.exists()
    assert "vast-1" not in table.names()


def test_where_boots_have_no_name_nothing_is_carried_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carryover, "BOOT_ID", tmp_path / "none")
    left(tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / FILE).write_text("{}")
    assert not taken(tmp_path).listened(boottime())
    assert list(tmp_path.iterdir()) == []


@needs_boot
def test_a_directory_that_cannot_be_written_is_logged(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    left(tmp_path / "file" / "data")
    assert "level=warning event=heard_not_written" in capfd.readouterr().err
    assert not taken(tmp_path / "file" / "data").listened(boottime())
