"""Releases without an environment, on a real file system: built, mended, kept, gone back to, removed."""

from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from ansible_collections.p2p.cluster.plugins.plugin_utils.door.probe import Release

from module_utils import p2p_release_plan
from module_utils.p2p_probe_parts import releases
from module_utils.p2p_release_apply import apply
from module_utils.p2p_release_plan import ReleaseError, Request
from module_utils.p2p_releases import root_drift
from module_utils.p2p_services import release_folder

DEFAULTS: dict[str, Any] = {
    "state": "present",
    "name": None,
    "artifact": None,
    "archive": None,
    "url": None,
    "files": [],
    "python": None,
    "keep": 3,
    "min_free_mb": 0,
    "activate": True,
}


class Root:
    """A root of releases, and the module run on it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def run(self, *, check: bool = False, **params: Any) -> dict[str, Any]:
        return apply(Request({**DEFAULTS, "root": str(self.path), **params}, check))

    def both(self, **params: Any) -> dict[str, Any]:
        """Preview and run, and assert that the two say the same."""
        before = self.listing()
        foretold = self.run(check=True, **params)
        assert self.listing() == before
        done = self.run(**params)
        assert done == foretold
        assert not self.run(**params)["changed"]
        return done

    def release(self, name: str, content: str = "x\n") -> dict[str, Any]:
        return self.both(name=name, files=[{"path": "etc/a.conf", "content": content, "mode": "0640"}])

    def names(self) -> list[str]:
        return sorted(path.name for path in (self.path / "releases").iterdir())

    def current(self) -> str:
        return (self.path / "current").readlink().name

    def previous(self) -> str:
        return (self.path / "previous").readlink().name

    def listing(self) -> list[tuple[str, int, int]]:
        return sorted((str(p), p.lstat().st_mtime_ns, p.lstat().st_mode) for p in self.path.parent.rglob("*"))


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path / "opt" / "p2p")


def test_a_first_release(root: Root) -> None:
    done = root.release("1.0-a")
    assert done["changed"]
    assert done["release"] == "1.0-a"
    assert done["previous"] is None
    assert done["path"] == str(root.path / "releases" / "1.0-a")
    assert done["actions"] == ["build release 1.0-a", "activate release 1.0-a"]
    assert (root.path / "current" / "etc" / "a.conf").read_text() == "x\n"
    assert (root.path / "current" / "etc" / "a.conf").stat().st_mode & 0o7777 == 0o640
    assert json.loads((root.path / "current" / "manifest.json").read_text())["name"] == "1.0-a"


@pytest.mark.parametrize("check", [True, False])
def test_a_folder_that_is_used_for_something_else_is_refused(root: Root, check: bool) -> None:
    mine = root.path / "releases" / "1.0" / "paper.tex"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    (root.path / ".bashrc").write_text("")
    with pytest.raises(ReleaseError, match=r"p2p holds \.bashrc, which no deploy put there"):
        root.run(check=check, name="a", files=[{"path": "a.conf", "content": "x"}])
    assert mine.read_text() == "mine"


def test_the_last_three_are_kept_and_the_previous_one_always(root: Root) -> None:
    for name in "abcd":
        root.release(name)
    assert root.names() == ["b", "c", "d"]
    assert (root.current(), root.previous()) == ("d", "c")
    assert root.run(state="active")["release"] == "c"
    assert (root.current(), root.previous()) == ("c", "d")
    root.release("e")
    assert root.names() == ["c", "d", "e"]
    assert root.previous() == "c"


def test_back_to_a_named_release_and_back_again(root: Root) -> None:
    for name in "abc":
        root.release(name)
    assert root.both(name="a", state="active")["actions"] == ["activate release a"]
    assert (root.current(), root.previous()) == ("a", "c")
    assert root.run(state="active")["release"] == "c"
    assert root.run(state="active")["release"] == "a"
    with pytest.raises(ReleaseError, match="no finished release x; there are: c, b, a"):
        root.run(name="x", state="active")


def test_the_order_in_which_releases_were_built_outlives_a_rollback(root: Root) -> None:
    for name in "abc":
        root.release(name)
    before = releases(str(root.path))["built"]
    assert sorted(before, key=lambda name: before[name]) == ["a", "b", "c"]
    root.run(name="a", state="active")
    assert releases(str(root.path))["built"] == before


def test_nothing_to_go_back_to(root: Root) -> None:
    root.release("a")
    with pytest.raises(ReleaseError, match="no finished previous release"):
        root.run(state="active")


def test_a_changed_file_is_put_back_in_place(root: Root) -> None:
    root.release("a")
    inode = (root.path / "releases" / "a").stat().st_ino
    (root.path / "current" / "etc" / "a.conf").write_text("y\n")
    done = root.release("a")
    assert done["diff"][1]["before"] == "y\n"
    assert done["diff"][1]["after"] == "x\n"
    assert (root.path / "releases" / "a").stat().st_ino == inode


def test_a_running_release_without_manifest_is_built_beside_itself(root: Root) -> None:
    root.release("a")
    (root.path / "current" / "manifest.json").unlink()
    done = root.run(name="a", files=[{"path": "etc/a.conf", "content": "x\n", "mode": "0640"}])
    assert done["path"].endswith("/a~2")
    assert root.current() == "a~2"
    assert (root.path / "releases" / "a" / "etc").is_dir(), "what ran is there until its restart"
    assert release_folder(str(root.path / "releases" / "a")) == str(root.path / "releases" / "a~2")
    assert release_folder(str(root.path / "releases" / "a~3")) == str(root.path / "releases" / "a~3")
    assert release_folder(str(root.path / "current")) == str(root.path / "releases" / "a~2")


def test_what_an_interrupted_run_left_is_removed(root: Root) -> None:
    root.release("a")
    for name in ("b", "c"):
        (root.path / "releases" / name / "venv").mkdir(parents=True)
    done = root.release("b")
    assert done["actions"][0] == "remove the unfinished release c"
    assert root.names() == ["a", "b"]
    assert not (root.path / "releases" / "b" / "venv").exists()


def test_a_build_that_fails_leaves_what_ran(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    root.release("a")
    before = root.listing()

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(json, "dumps", fail)
        with pytest.raises(OSError, match="No space"):
            root.run(name="b", files=[{"path": "a", "content": "x"}])
    after = [entry for entry in root.listing() if not entry[0].endswith(("releases", ".lock"))]
    assert after == [entry for entry in before if not entry[0].endswith(("releases", ".lock"))]
    assert root.current() == "a"


def test_a_full_disk_is_refused_before_anything_is_written(root: Root) -> None:
    for check in (True, False):
        with pytest.raises(ReleaseError, match=r"MB are free .* Nothing was written"):
            root.run(name="a", files=[{"path": "a", "content": "x"}], min_free_mb=10**9, check=check)
    assert not root.path.exists()


def test_few_inodes_are_refused(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(p2p_release_plan, "FEWEST_INODES", 10**15)
    with pytest.raises(ReleaseError, match="inodes"):
        root.run(name="a", files=[{"path": "a", "content": "x"}])


def test_built_and_not_activated(root: Root) -> None:
    root.release("a")
    done = root.both(name="b", files=[{"path": "a", "content": "x"}], activate=False)
    assert done["release"] == "a"
    assert done["path"].endswith("/b")
    assert root.current() == "a"
    assert root.run(name="b", state="active")["release"] == "b"


def test_one_release_is_removed_and_those_in_use_are_not(root: Root) -> None:
    for name in "abc":
        root.release(name)
    assert root.both(name="a", state="absent")["actions"] == ["remove release a"]
    for name, which in (("c", "current"), ("b", "previous")):
        with pytest.raises(ReleaseError, match=f"is the {which} one"):
            root.run(name=name, state="absent")


def test_the_whole_root_is_removed(root: Root) -> None:
    root.release("a")
    (root.path / "notes").write_text("mine")
    with pytest.raises(ReleaseError, match="also holds notes"):
        root.run(state="absent")
    (root.path / "notes").unlink()
    assert root.both(state="absent")["changed"]
    assert not root.path.exists()


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", "venv/bin/python", "manifest.json"])
def test_files_stay_inside_the_release(root: Root, path: str) -> None:
    with pytest.raises(ReleaseError, match="relative to the release"):
        root.run(name="a", files=[{"path": path, "content": "x"}])


@pytest.mark.parametrize("name", ["../a", "a/b", ".hidden", "a~2", "a b"])
def test_names_are_plain(root: Root, name: str) -> None:
    with pytest.raises(ValueError, match="release name"):
        root.run(name=name, files=[{"path": "a", "content": "x"}])


@pytest.mark.parametrize("path", ["/opt", "/", "opt/p2p"])
def test_roots_that_are_too_short(path: str) -> None:
    with pytest.raises(ReleaseError, match="at least two parts"):
        Request({**DEFAULTS, "root": path, "name": "a"}, True)


def test_drift_of_a_root(root: Root) -> None:
    root.release("a")
    wanted = Request(
        {
            **DEFAULTS,
            "root": str(root.path),
            "name": "a",
            "files": [{"path": "etc/a.conf", "content": "x\n", "mode": "0640"}],
        },
        True,
    ).wanted
    assert root_drift(wanted) == []
    (root.path / "current" / "etc" / "a.conf").chmod(0o600)
    assert root_drift(wanted)[0].why == "mode 0600, not 0640"
    assert root_drift({**wanted, "name": "b"})[0].why == "not there"
    root.release("b")
    assert root_drift({**wanted, "name": "a"})[0].why == "not current: b is"


def _deploy(path: str, name: str) -> None:
    apply(Request({**DEFAULTS, "root": path, "name": name, "files": [{"path": "a", "content": name}]}, False))


def test_two_runs_at_once_do_not_mix(root: Root) -> None:
    context = multiprocessing.get_context("spawn")
    runs = [context.Process(target=_deploy, args=(str(root.path), name)) for name in ("a", "b", "a", "b")]
    for run in runs:
        run.start()
    for run in runs:
        run.join(30)
    assert [run.exitcode for run in runs] == [0, 0, 0, 0]
    assert root.names() == ["a", "b"]
    assert (root.path / "current" / "a").read_text() == root.current()


def test_a_build_that_waits_to_take_over_is_not_built_again(root: Root) -> None:
    files = [{"path": "etc/a.conf", "content": "x\n", "mode": "0640"}]
    root.release("a")
    manifest = root.path / "releases" / "a" / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "artifact": "0" * 64}))
    assert root.run(name="a", files=files, activate=False)["path"].endswith("/a~2")
    assert not root.run(name="a", files=files, activate=False)["changed"]
    assert root.current() == "a"
    wanted = Request({**DEFAULTS, "root": str(root.path), "name": "a", "files": files}, True).wanted
    assert [(item.part, item.why) for item in root_drift(wanted)] == [("release", "not current: a is")]
    assert root.both(name="a", files=files)["actions"] == ["activate release a"]
    assert root.names() == ["a", "a~2"]
    assert root.current() == "a~2"
    assert root_drift(wanted) == []


@pytest.mark.parametrize("keep", [2, 3])
@pytest.mark.parametrize("releases", ["", "a", "ab", "abc", "aa", "aba"])
def test_a_build_and_a_later_activation_are_foretold_together(root: Root, releases: str, keep: int) -> None:
    for name in releases:
        root.release(name)
    given: dict[str, Any] = {"name": "z", "files": [{"path": "a", "content": "z\n"}], "keep": keep}
    build, swap = {**given, "activate": False}, {**given, "built": True}
    foretold = root.run(check=True, **build), root.run(check=True, **swap)
    assert (root.run(**build), root.run(**swap)) == foretold
    assert not root.run(**swap)["changed"]
    assert not root.run(check=True, **swap)["changed"]


DAMAGED_MANIFESTS = [
    "",
    "null",
    "[]",
    "[" * 100_000,
    '{"name": 7}',
    '{"name": "../x"}',
    '{"name": "old", "created_at": []}',
    '{"name": "old", "created_at": "yesterday"}',
    '{"name": "old", "created_at": 1e999}',
    '{"name": "old", "created_at": -1}',
    '{"name": "old", "created_at": NaN}',
    '{"name": "old", "packages": [1]}',
    '{"name": "old", "packages": {"a/b": "1.0"}}',
    '{"name": "old", "packages": {"a": "<b>"}}',
    '{"name": "old", "artifact": "gggg"}',
    '{"name": "old", "artifact": 7}',
    '{"name": "old", "target": "../x"}',
    '{"name": "old", "python": "/usr/bin/python3\\n"}',
    '{"name": "old", "python_version": 3.11}',
    json.dumps({"name": "o" * 101}),
    json.dumps({"name": "old", "packages": {f"p{number}": "1" for number in range(501)}}),
]


@pytest.mark.parametrize("text", DAMAGED_MANIFESTS)
def test_a_manifest_that_is_none_stops_nothing(root: Root, text: str) -> None:
    for name in ("old", "a", "b"):
        root.release(name)
    (root.path / "releases" / "old" / "manifest.json").write_text(text)
    assert releases(str(root.path))["name"] == "b"
    assert root.run(state="active", check=True)["release"] == "a"
    assert root.run(state="active")["release"] == "a"
    assert root.release("c")["release"] == "c"
    assert "old" not in root.names()


@pytest.mark.parametrize("text", DAMAGED_MANIFESTS)
def test_a_running_release_whose_manifest_is_none_is_drift_and_no_lie(root: Root, text: str) -> None:
    root.release("old")
    (root.path / "current" / "manifest.json").write_text(text)
    told = msgspec.convert(releases(str(root.path)), Release)
    assert told.manifest is None
    files = [{"path": "etc/a.conf", "content": "x\n", "mode": "0640"}]
    assert root.run(name="old", files=files)["changed"]
    assert msgspec.convert(releases(str(root.path)), Release).name == "old"


def test_a_manifest_that_is_a_pipe_or_a_link_is_none(root: Root) -> None:
    for name in ("old", "a", "b"):
        root.release(name)
    (root.path / "releases" / "old" / "manifest.json").unlink()
    os.mkfifo(root.path / "releases" / "old" / "manifest.json")
    assert releases(str(root.path))["available"] == ["a"]


def test_a_release_that_was_made_anew_takes_no_others_place(root: Root) -> None:
    for name in ("a", "b", "c"):
        root.release(name)
    torn = root.path / "releases" / "c"
    (torn / "venv").mkdir()
    root.release("c")
    assert root.names() == ["a", "b", "c", "c~2"]
    root.release("d")
    assert root.names() == ["b", "c~2", "d"]


@pytest.mark.parametrize("what", ["file", "link"])
def test_what_is_no_folder_in_a_releases_place_is_refused(root: Root, what: str) -> None:
    root.release("a")
    place = root.path / "releases" / "b"
    if what == "file":
        place.write_text("mine")
    else:
        place.symlink_to(root.path.parent)
    for check in (True, False):
        with pytest.raises(ReleaseError, match=r"releases/b is no directory.*: move it away"):
            root.run(name="b", files=[{"path": "x", "content": "x"}], check=check)
    assert place.exists()
