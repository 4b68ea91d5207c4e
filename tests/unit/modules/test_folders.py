"""Folders that are walked to, files that are handed over, and a folder of one run alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from module_utils.p2p_folders import check_folder, hand_over, open_plain, opened_folder, real_script, scratch

MALLORY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="a folder of another user is made by root")


def test_what_is_missing_is_made_where_it_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    with pytest.raises(FileNotFoundError, match="/a/b"), opened_folder(str(tmp_path / "a" / "b")):
        pass
    with opened_folder(f"{tmp_path}/link/./a//b/", make=True) as folder:
        assert os.fstat(folder).st_ino == (tmp_path / "there" / "a" / "b").stat().st_ino
    with opened_folder(f"{tmp_path}/link/../there") as folder:
        assert os.fstat(folder).st_ino == (tmp_path / "there").stat().st_ino


@pytest.mark.parametrize("way", ["file", "loop"])
def test_what_is_no_folder_is_named(tmp_path: Path, way: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match=f"{tmp_path}/{way}/a"), opened_folder(f"{tmp_path}/{way}/a", make=True):
        pass
    assert real_script(f"{tmp_path}/{way}").endswith(way)


def test_a_relative_path_is_refused() -> None:
    with pytest.raises(ValueError, match="must be absolute"):
        check_folder("a/b")


@pytest.mark.parametrize("kind", ["link", "folder", "pipe"])
def test_what_is_no_plain_file_is_not_opened(tmp_path: Path, kind: str) -> None:
    (tmp_path / "file").write_text("1")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match=kind):
        open_plain(str(tmp_path / kind))


def test_a_scratch_folder_is_nobody_elses_and_goes() -> None:
    with scratch() as folder:
        found = Path(folder).stat()
        assert (found.st_mode & 0o7777, found.st_uid) == (0o700, os.geteuid())
    assert not Path(folder).exists()


@as_root
@pytest.mark.parametrize("planted", ["nothing", "link", "file"])
def test_a_file_is_handed_over_in_the_place_of_whatever_waits_there(tmp_path: Path, planted: str) -> None:
    own, victim, theirs = tmp_path / "own", tmp_path / "victim", tmp_path / "theirs"
    own.write_text("1")
    victim.write_text("2")
    theirs.mkdir()
    os.chown(theirs, MALLORY, MALLORY)
    if planted == "link":
        (theirs / "store.db").symlink_to(victim)
    if planted == "file":
        (theirs / "store.db").write_text("3")
    hand_over(str(own), str(theirs / "store.db"))
    assert not own.exists()
    assert (victim.read_text(), victim.stat().st_uid) == ("2", 0)
    given = theirs / "store.db"
    assert (given.read_text(), given.lstat().st_uid, given.is_symlink()) == ("1", MALLORY, False)


@as_root
def test_nothing_is_handed_over_through_a_planted_folder(tmp_path: Path) -> None:
    own, victim, theirs = tmp_path / "own", tmp_path / "victim", tmp_path / "theirs"
    own.write_text("1")
    victim.mkdir()
    theirs.mkdir()
    os.chown(theirs, MALLORY, MALLORY)
    (theirs / "ansible-tmp").symlink_to(victim)
    with pytest.raises(ValueError, match="ansible-tmp is a link that another user"):
        hand_over(str(own), str(theirs / "ansible-tmp" / "store.db"))
    assert list(victim.iterdir()) == []
    assert own.stat().st_uid == 0


@as_root
def test_a_file_is_handed_over_to_another_file_system(tmp_path: Path) -> None:
    memory = Path("/dev/shm")  # noqa: S108  # a folder of this test's own is made there
    if memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("it is the same")
    folder = memory / f"p2p-test-{os.getpid()}"
    folder.mkdir()
    try:
        os.chown(folder, MALLORY, MALLORY)
        (tmp_path / "own").write_text("1")
        hand_over(str(tmp_path / "own"), str(folder / "store.db"))
        found = (folder / "store.db").stat()
        assert ((folder / "store.db").read_text(), found.st_uid, found.st_mode & 0o777) == (
            "1",
            MALLORY,
            0o600,
        )
        assert not (tmp_path / "own").exists()
    finally:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
