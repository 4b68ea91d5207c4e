"""Links that another user put where root works: replaced or refused, never followed. Root's own still are."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from module_utils import p2p_files
from module_utils.p2p_digest import wanted_directory, wanted_file
from module_utils.p2p_files import file_diff, make_directory, mend_file, write_file
from module_utils.p2p_folders import give
from module_utils.p2p_release_apply import _locked
from module_utils.p2p_start_hook import StartScript

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a folder of another user is made by root")
MALLORY = 65534
TEXT = "1\n"
# Puts a link to a folder of root's in the place of a folder of its own, and back, as fast as it can.
# A folder that was made in its place meanwhile goes.
SWAPPER = """
import os, sys
folder, victim = sys.argv[1:]
os.setgid(65534); os.setuid(65534)
print("ready", flush=True)
while True:
    os.rename(folder, folder + ".aside")
    try:
        os.symlink(victim, folder)
        os.unlink(folder)
    except FileExistsError:
        os.rmdir(folder)
    os.rename(folder + ".aside", folder)
"""


@pytest.fixture
def theirs() -> Iterator[Path]:
    """A folder of another user's, in one that they may enter: pytest's own are closed to them."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        folder = Path(name) / "theirs"
        folder.mkdir()
        os.chown(folder, MALLORY, MALLORY)
        yield folder


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A folder of root's with a file in it."""
    folder = tmp_path / "victim"
    folder.mkdir(mode=0o700)
    (folder / "shadow").write_text(TEXT)
    (folder / "shadow").chmod(0o600)
    return folder


def plant(link: Path, target: Path) -> None:
    """Make a link that belongs to the other user."""
    link.symlink_to(target)
    os.chown(link, MALLORY, MALLORY, follow_symlinks=False)


def untouched(victim: Path) -> bool:
    """Tell whether a victim is as it was."""
    file, folder = (victim / "shadow").stat(), victim.stat()
    return (
        [path.name for path in victim.iterdir()] == ["shadow"]
        and (victim / "shadow").read_text() == TEXT
        and (file.st_uid, file.st_gid, file.st_mode & 0o7777) == (0, 0, 0o600)
        and (folder.st_uid, folder.st_gid, folder.st_mode & 0o7777) == (0, 0, 0o700)
    )


def _write(path: Path) -> None:
    write_file(str(path / "shadow"), b"2\n", wanted_file({"path": str(path / "shadow"), "content": "2\n"}))


def _mend(path: Path) -> None:
    wanted = wanted_file({"path": str(path / "shadow"), "content": TEXT, "mode": "0666"})
    mend_file(wanted["path"], TEXT.encode(), wanted)


def _make(path: Path) -> None:
    make_directory(wanted_directory({"path": str(path / "new"), "mode": "0777"}))


@pytest.mark.parametrize("work", [_write, _mend, _make])
def test_a_planted_folder_is_refused_by_its_name(
    theirs: Path, victim: Path, work: Callable[[Path], None]
) -> None:
    plant(theirs / "etc", victim)
    with pytest.raises(ValueError, match=f"^{theirs}/etc.*: etc is a link that another user"):
        work(theirs / "etc")
    assert untouched(victim)


@pytest.mark.parametrize("work", [_write, _mend, _make])
def test_a_link_of_roots_own_is_followed(tmp_path: Path, victim: Path, work: Callable[[Path], None]) -> None:
    (tmp_path / "opt").symlink_to("victim")
    work(tmp_path / "opt")
    assert not untouched(victim)
    assert (tmp_path / "opt").is_symlink()


def test_a_file_that_becomes_a_link_meanwhile_is_replaced(
    theirs: Path, victim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real = theirs / "node.key", p2p_files.owner_ids
    path.write_text(TEXT)

    def swaps(owner: str | None, group: str | None) -> tuple[int, int]:
        path.unlink(missing_ok=True)
        plant(path, victim / "shadow")
        return real(owner, group)

    monkeypatch.setattr(p2p_files, "owner_ids", swaps)
    wanted = wanted_file({"path": str(path), "content": TEXT, "mode": "0666", "owner": str(MALLORY)})
    mend_file(str(path), TEXT.encode(), wanted)
    assert untouched(victim)


def test_a_second_name_of_a_file_is_replaced(theirs: Path, victim: Path) -> None:
    path = theirs / "node.key"
    os.link(victim / "shadow", path)
    wanted = wanted_file({"path": str(path), "content": TEXT, "mode": "0666", "owner": str(MALLORY)})
    mend_file(str(path), TEXT.encode(), wanted)
    assert untouched(victim)
    assert (path.stat().st_uid, path.stat().st_mode & 0o7777) == (MALLORY, 0o666)


def test_a_folder_that_becomes_a_link_meanwhile_gives_nothing_away(theirs: Path, victim: Path) -> None:
    folder = theirs / "data"
    folder.mkdir()
    os.chown(folder, MALLORY, MALLORY)
    wanted = wanted_directory({"path": str(folder), "mode": "0777", "owner": str(MALLORY)})
    words = [sys.executable, "-c", SWAPPER, str(folder), str(victim)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as swapper:
        assert swapper.stdout is not None
        swapper.stdout.readline()
        made = refused = 0
        start = time.monotonic()
        while (passed := time.monotonic() - start) < 1 or (passed < 60 and not (made and refused)):
            with suppress(ValueError, OSError):
                make_directory(wanted)
                made += 1
                continue
            refused += 1
        assert swapper.poll() is None, "it went on all the time"
        swapper.kill()
    assert made, "it met the folder"
    assert refused, "it met the link"
    assert untouched(victim)


@pytest.mark.parametrize("secret", [False, True])
def test_a_diff_does_not_show_what_a_link_leads_to(theirs: Path, victim: Path, secret: bool) -> None:
    plant(theirs / "node.conf", victim / "shadow")
    wanted = wanted_file({"path": str(theirs / "node.conf"), "content": "new\n"})
    shown = file_diff(wanted, "new\n", secret)["before"]
    assert shown.startswith("# 0777 nobody:")
    assert shown.count("\n") == 1


def test_a_planted_start_script_is_replaced(theirs: Path, victim: Path) -> None:
    plant(theirs / "onstart.sh", victim / "shadow")
    script = StartScript(str(theirs / "onstart.sh"))
    assert script.read() is None
    script.write("#!/bin/sh\n")
    assert untouched(victim)
    assert (theirs / "onstart.sh").read_text() == "#!/bin/sh\n"
    assert (theirs / "onstart.sh").stat().st_mode & 0o7777 == 0o755


def test_a_start_script_that_its_owner_linked_stays_a_link(tmp_path: Path, victim: Path) -> None:
    (tmp_path / "onstart.sh").symlink_to("victim/shadow")
    script = StartScript(str(tmp_path / "onstart.sh"))
    assert script.read() == TEXT
    script.write("#!/bin/sh\n")
    assert (tmp_path / "onstart.sh").is_symlink()
    assert (victim / "shadow").read_text() == "#!/bin/sh\n"
    assert (victim / "shadow").stat().st_mode & 0o7777 == 0o600


def test_a_lock_is_not_taken_through_a_link(theirs: Path, victim: Path) -> None:
    plant(theirs / ".lock", victim / "shadow")
    with pytest.raises(OSError, match=r"\.lock"), _locked(str(theirs)):
        pass
    assert untouched(victim)


def test_a_tree_is_given_away_with_its_links_and_without_what_they_lead_to(
    tmp_path: Path, victim: Path
) -> None:
    tree = tmp_path / "data"
    (tree / "member").mkdir(parents=True)
    (tree / "member" / "db").write_text("1")
    (tree / "link").symlink_to(victim / "shadow")
    (tree / "member" / "folder").symlink_to(victim)
    give(str(tree), MALLORY, MALLORY)
    assert untouched(victim)
    assert {path.lstat().st_uid for path in (tree, *tree.rglob("*"))} == {MALLORY}
    assert tree.stat().st_mode & 0o7777 == 0o700
