"""The record of a recovery in a file on a voter: of runs that meet there, at most one goes on."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Sequence
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest

from module_utils.p2p_recovery_record import HeldError, hold, look, read, release

ALICE = {"id": "alice-1", "who": "alice@laptop"}
BOB = {"id": "bob-1", "who": "bob@desk"}
RUNS = 12


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "p2p-recovery" / "p2p.json")


def holder(path: str) -> str | None:
    """Return the id of the run that holds the record."""
    found = read(path)
    return found["id"] if found else None


def test_one_run_at_a_time_holds_it_and_gives_back_its_own_alone(path: str) -> None:
    assert read(path) is None
    assert hold(path, ALICE, "", anew=True) == ALICE
    with pytest.raises(HeldError) as held:
        hold(path, BOB, "", anew=True)
    assert held.value.record == ALICE
    assert hold(path, ALICE, "", anew=True) == ALICE
    assert release(path, BOB) == ALICE
    assert holder(path) == "alice-1"
    assert release(path, ALICE) is None
    assert read(path) is None
    assert release(path, ALICE) is None
    assert hold(path, BOB, "", anew=True) == BOB


def test_the_record_is_this_users_alone(path: str) -> None:
    hold(path, ALICE, "", anew=True)
    assert Path(path).stat().st_mode & 0o777 == 0o600
    assert Path(path).parent.stat().st_mode & 0o077 == 0
    assert [one.name for one in Path(path).parent.iterdir()] == ["p2p.json"]


def test_another_run_is_replaced_by_its_name_alone(path: str) -> None:
    hold(path, ALICE, "", anew=True)
    with pytest.raises(HeldError):
        hold(path, BOB, "alice-0", anew=True)
    assert hold(path, BOB, "alice-1", anew=True) == BOB
    # Who was replaced does not go on, nor after the other has given it back.
    for _ in range(2):
        with pytest.raises(HeldError):
            hold(path, ALICE, "", anew=False)
        release(path, BOB)
    assert read(path) is None


def test_a_preview_writes_nothing_and_is_refused_alike(path: str) -> None:
    assert look(path, ALICE, "", anew=True) == ALICE
    assert not Path(path).parent.exists()
    hold(path, ALICE, "", anew=True)
    with pytest.raises(HeldError):
        look(path, BOB, "", anew=True)
    assert look(path, BOB, "alice-1", anew=True) == BOB
    assert holder(path) == "alice-1"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"id": 5}', "[" * 9000])
def test_what_is_no_record_is_neither_taken_over_nor_removed(path: str, text: str) -> None:
    hold(path, ALICE, "", anew=True)
    Path(path).write_text(text)
    steps: list[Callable[[], object]] = [
        lambda: hold(path, BOB, "", anew=True),
        lambda: look(path, BOB, "", anew=True),
        lambda: release(path, ALICE),
    ]
    for step in steps:
        with pytest.raises(ValueError, match="is no record of a run: remove it if no recovery goes on"):
            step()
    assert Path(path).read_text() == text


def test_a_folder_that_others_can_enter_or_have_put_there_is_refused(path: str, tmp_path: Path) -> None:
    folder = Path(path).parent
    folder.mkdir(mode=0o755)
    with pytest.raises(ValueError, match="chmod 700"):
        hold(path, ALICE, "", anew=True)
    folder.chmod(0o700)
    (tmp_path / "victim").write_text("untouched")
    Path(path).symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match=r"p2p\.json"):
        hold(path, ALICE, "", anew=True)
    assert (tmp_path / "victim").read_text() == "untouched"


# -- runs that meet -----------------------------------------------------------------------------------------


def _recovers(paths: Sequence[str], number: int, breaking: str, start: Barrier, told: Any) -> None:
    """Take the record on all voters, or give all back, as a run does, and tell whether it went on."""
    run = {"id": f"run-{number}"}
    start.wait()
    try:
        for path in paths:
            hold(path, run, breaking, anew=True)
        for path in paths:
            hold(path, run, "", anew=False)
        told.put(number)
    except HeldError:
        for path in paths:
            release(path, run)


def _meet(voters: Sequence[Sequence[str]], breaking: str = "") -> list[int]:
    """Start a run for each list of voters at once, and return which went on."""
    context = multiprocessing.get_context("fork")
    start, told = context.Barrier(len(voters)), context.SimpleQueue()
    runs = [
        context.Process(target=_recovers, args=(paths, number, breaking, start, told))
        for number, paths in enumerate(voters)
    ]
    for run in runs:
        run.start()
    for run in runs:
        run.join(60)
        assert run.exitcode == 0
    found = []
    while not told.empty():
        found.append(told.get())
    return found


@pytest.mark.parametrize("breaking", ["", "gone-1"])
def test_of_runs_that_begin_at_once_on_one_voter_exactly_one_goes_on(path: str, breaking: str) -> None:
    for _ in range(5):
        if breaking:
            hold(path, {"id": breaking}, "", anew=True)
        (winner,) = _meet([[path]] * RUNS, breaking)
        assert holder(path) == f"run-{winner}"
        release(path, {"id": f"run-{winner}"})


def test_of_runs_that_meet_on_any_voter_at_most_one_goes_on_and_those_refused_leave_nothing(
    tmp_path: Path,
) -> None:
    paths = [str(tmp_path / name / "r" / "p2p.json") for name in "abc"]
    for name in "abc":
        (tmp_path / name).mkdir()
    for round_ in range(5):
        orders = [paths[(round_ + number) % 3 :] + paths[: (round_ + number) % 3] for number in range(RUNS)]
        winners = _meet(orders)
        assert len(winners) <= 1
        held = {holder(path) for path in paths}
        assert held == ({f"run-{winners[0]}"} if winners else {None})
        for path in paths:
            release(path, {"id": f"run-{winners[0]}" if winners else ""})


def test_a_record_survives_a_writer_that_is_killed(path: str) -> None:
    hold(path, ALICE, "", anew=True)
    folder = Path(path).parent
    (folder / ".new").write_text(json.dumps(BOB)[:9])
    assert holder(path) == "alice-1"
    hold(path, ALICE, "", anew=True)
    assert holder(path) == "alice-1"
    assert [one.name for one in folder.iterdir()] == ["p2p.json"]
