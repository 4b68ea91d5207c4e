"""An artefact from the shelf, built now, or built elsewhere; whichever suits a node."""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest
from ansible.plugins.loader import lookup_loader
from ansible_collections.p2p.cluster.module_utils.p2p_archive import opened
from ansible_collections.p2p.cluster.plugins.plugin_utils.artifact.build import (
    BuildError,
    NoWheelError,
    Source,
)
from ansible_collections.p2p.cluster.plugins.plugin_utils.artifact.given import digests
from ansible_collections.p2p.cluster.plugins.plugin_utils.artifact.shelf import Kept, Shelf
from ansible_collections.p2p.cluster.plugins.plugin_utils.artifact.supply import supply
from ansible_collections.p2p.cluster.plugins.plugin_utils.artifact.target import Need, targets

from action_plugins.p2p_artifacts import supplied
from filter_plugins.p2p_needs import needs
from tests.support.wheels import lock, wheel

PROJECT = Path(__file__).parents[3]
NAME = "1.0-a"
LIBC: dict[str, str] = {"system": "Linux", "machine": "x86_64"}
OLD, NEW, MUSL = (
    Need(targets({**LIBC, "libc": libc}), "3.11") for libc in ("glibc 2.27", "glibc 2.31", "musl")
)


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    wheel(tmp_path / "wheels", "foo", files={"foo.py": "VALUE = 1\n", "foo_data.txt": "x" * 5000})
    return tmp_path / "wheels"


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "shelf")


def source_of(wheels: Path, release: str = NAME) -> Source:
    return Source(release, lock(*sorted(wheels.glob("*.whl"))), None, wheels)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_it_is_built_once(shelf: Shelf, wheels: Path) -> None:
    source = source_of(wheels)
    kept = supply(source, NEW, shelf)
    assert kept.target == "linux-x86_64-glibc-2.17"
    assert names(shelf.folder) == [Path(kept.path).name, f"{Path(kept.path).name}.json"]
    shutil.rmtree(wheels)
    assert supply(source, NEW, shelf) == supply(source, OLD, shelf) == kept
    assert shelf.digests(NAME) == {"linux-x86_64-glibc-2.17/3.11": kept.digest}
    with pytest.raises(BuildError, match="p2p_release_wheels"):
        supply(source, MUSL, shelf)


def test_a_newer_glibc_is_asked_for_only_where_the_oldest_has_no_wheel(shelf: Shelf, wheels: Path) -> None:
    wheel(wheels, "fast", tag="cp311-cp311-manylinux_2_28_x86_64")
    kept = supply(source_of(wheels), NEW, shelf)
    assert (kept.target, kept.packages) == ("linux-x86_64-glibc-2.28", {"fast": "1.0", "foo": "1.0"})
    assert supply(source_of(wheels), NEW, shelf) == kept
    with pytest.raises(NoWheelError, match=r"fast==1\.0 has no wheel .* on linux-x86_64-glibc-2\.17"):
        supply(source_of(wheels), OLD, shelf)
    assert names(shelf.folder) == [Path(kept.path).name, f"{Path(kept.path).name}.json"]


def test_where_none_has_a_wheel_the_first_is_told(shelf: Shelf, wheels: Path) -> None:
    wheel(wheels, "fast", tag="cp311-cp311-manylinux_2_40_x86_64")
    with pytest.raises(NoWheelError, match=r"on linux-x86_64-glibc-2\.17"):
        supply(source_of(wheels), NEW, shelf)


def test_another_trouble_is_told_at_once(shelf: Shelf, wheels: Path) -> None:
    source = source_of(wheels)._replace(lock="foo==1.0 --hash=sha256:" + "0" * 64 + "\n")
    with pytest.raises(BuildError, match="other bytes") as refused:
        supply(source, NEW, shelf)
    assert not isinstance(refused.value, NoWheelError)
    assert names(shelf.folder) == []


def test_an_archive_that_was_cut_off_is_built_again(shelf: Shelf, wheels: Path) -> None:
    kept = supply(source_of(wheels), NEW, shelf)
    content = Path(kept.path).read_bytes()
    Path(kept.path).write_bytes(content[:-1])
    assert supply(source_of(wheels), NEW, shelf) == kept
    assert Path(kept.path).read_bytes() == content


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, wheels: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BuildError, match=r"file/shelf: Not a directory") as refused:
        supply(source_of(wheels), NEW, Shelf(tmp_path / "file" / "shelf"))
    assert "\n" not in str(refused.value)


@pytest.fixture
def elsewhere(tmp_path: Path, wheels: Path) -> Kept:
    """An artefact that another controller built."""
    return supply(source_of(wheels), NEW, Shelf(tmp_path / "elsewhere"))


NOTHING = Source(NAME, "", None, None)  # of which no such artefact can be built


@pytest.mark.parametrize("whole", [True, False])
def test_what_was_built_elsewhere_is_kept_as_if_it_was_built_here(
    shelf: Shelf, elsewhere: Kept, whole: bool
) -> None:
    path = Path(elsewhere.path)
    kept = supply(NOTHING, NEW, shelf, path.parent if whole else path)
    assert kept._replace(path=elsewhere.path) == elsewhere
    assert Path(kept.path).read_bytes() == path.read_bytes()
    assert names(shelf.folder) == [path.name, f"{path.name}.json"]
    before = Path(kept.path).stat().st_ino
    assert supply(NOTHING, OLD, shelf, path) == kept
    assert Path(kept.path).stat().st_ino == before, "it is read through once"


def test_of_a_folder_the_one_for_the_node_is_taken(shelf: Shelf, elsewhere: Kept, wheels: Path) -> None:
    folder = Path(elsewhere.path).parent
    supply(source_of(wheels), MUSL, Shelf(folder))
    supply(source_of(wheels, "0.9-b"), MUSL, Shelf(folder))
    for need in (NEW, MUSL):
        assert supply(NOTHING, need, shelf, folder).target == need.targets[0].word
    with pytest.raises(BuildError, match=r"holds no artefact for linux-x86_64-musl and Python 3\.12"):
        supply(NOTHING, MUSL._replace(python="3.12"), shelf, folder)


def test_one_of_another_release_is_not_taken(shelf: Shelf, elsewhere: Kept) -> None:
    with pytest.raises(BuildError, match=r"holds 1\.0-a, and this checkout and its settings make 2\.0-c"):
        supply(NOTHING._replace(release="2.0-c"), NEW, shelf, Path(elsewhere.path))


def test_what_was_built_elsewhere_takes_the_place_of_another(
    shelf: Shelf, elsewhere: Kept, wheels: Path
) -> None:
    wheel(wheels, "foo", files={"foo.py": "VALUE = 2\n"})
    mine = supply(source_of(wheels), NEW, shelf)
    assert mine.digest != elsewhere.digest
    assert supply(NOTHING, NEW, shelf, Path(elsewhere.path)).digest == elsewhere.digest
    assert shelf.digests(NAME) == {"linux-x86_64-glibc-2.17/3.11": elsewhere.digest}


def test_what_was_built_elsewhere_is_what_nodes_are_compared_with(
    shelf: Shelf, elsewhere: Kept, wheels: Path
) -> None:
    folder, told = Path(elsewhere.path).parent, {"linux-x86_64-glibc-2.17/3.11": elsewhere.digest}
    wheel(wheels, "foo", files={"foo.py": "VALUE = 2\n"})
    supply(source_of(wheels), NEW, shelf)
    lookup_loader.add_directory(str(PROJECT / "lookup_plugins"))
    look = lookup_loader.get("p2p_artifact_digests")
    assert look.run([NAME], folder=str(shelf.folder), given=str(folder)) == [told]
    assert look.run([NAME], folder=str(shelf.folder), given=elsewhere.path) == [told]
    (folder / "damaged.tar.xz").write_text("")
    assert digests(folder, NAME) == told
    assert digests(folder, "2.0-c") == digests(folder / "nowhere", NAME) == {}
    supply(source_of(wheels), NEW, Shelf(folder))
    Path(elsewhere.path).unlink()
    assert digests(folder, NAME) == {}


def test_a_node_is_given_what_was_built_elsewhere_whatever_is_on_the_shelf(
    shelf: Shelf, tmp_path: Path, wheels: Path
) -> None:
    mine = supply(source_of(wheels), NEW, shelf)
    wheel(wheels, "fast", tag="cp311-cp311-manylinux_2_28_x86_64")
    elsewhere = supply(source_of(wheels), NEW, Shelf(tmp_path / "elsewhere"))
    assert (mine.target, elsewhere.target) == ("linux-x86_64-glibc-2.17", "linux-x86_64-glibc-2.28")
    lookup_loader.add_directory(str(PROJECT / "lookup_plugins"))
    probe = {"platform": {**LIBC, "libc": "glibc 2.31"}, "pythons": [{"path": "/x", "version": "3.11"}]}
    words = {"release": NAME, "probe": probe, "pythons": ["3.11"], "folder": str(shelf.folder)}
    (found,) = lookup_loader.get("p2p_artifact").run([{"lock": ""}], given=elsewhere.path, **words)
    assert found["digest"] == elsewhere.digest


@pytest.mark.parametrize("other", ["a.tar.xz", "z.tar.xz"])
def test_of_several_of_a_kind_nodes_are_compared_with_the_one_that_is_taken(
    shelf: Shelf, elsewhere: Kept, wheels: Path, tmp_path: Path, other: str
) -> None:
    wheel(wheels, "foo", files={"foo.py": "VALUE = 2\n"})
    second = supply(source_of(wheels), NEW, Shelf(tmp_path / "second"))
    folder = Path(elsewhere.path).parent
    shutil.copy(second.path, folder / other)
    taken = supply(NOTHING, NEW, shelf, folder)
    assert list(digests(folder, NAME).values()) == [taken.digest] == [elsewhere.digest]
    Path(elsewhere.path).rename(folder / "m.tar.xz")
    taken = supply(NOTHING, NEW, shelf, folder)
    assert list(digests(folder, NAME).values()) == [taken.digest]


def test_a_pipe_is_no_archive(shelf: Shelf, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.tar.xz")
    assert digests(tmp_path, NAME) == {}
    with pytest.raises(BuildError, match=r"a\.tar\.xz: it is no file"):
        supply(NOTHING, NEW, shelf, tmp_path)


@pytest.mark.parametrize("where", ["", "nowhere", "empty"])
def test_where_nothing_is_there_it_is_said(shelf: Shelf, tmp_path: Path, where: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.tar.xz").write_text(where)
    given = tmp_path / (where or "file.tar.xz")
    with pytest.raises(BuildError, match=f"p2p_release_artifact: {given}") as refused:
        supply(NOTHING, NEW, shelf, given)
    assert "\n" not in str(refused.value)


def test_one_that_was_cut_off_anywhere_is_not_taken(shelf: Shelf, elsewhere: Kept) -> None:
    path = Path(elsewhere.path)
    content = path.read_bytes()
    for size in range(0, len(content) // 2, max(1, len(content) // 40)):
        path.write_bytes(content[:size])
        with pytest.raises(BuildError, match="p2p_release_artifact") as refused:
            supply(NOTHING, NEW, shelf, path)
        assert "\n" not in str(refused.value)
    assert shelf.digests(NAME) == {}


def test_one_with_another_file_in_it_is_not_taken(shelf: Shelf, elsewhere: Kept, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with tarfile.open(elsewhere.path) as archive:
        members = archive.getmembers()
        for member in members:
            content = archive.extractfile(member)
            assert content is not None
            (folder / member.name).parent.mkdir(parents=True, exist_ok=True)
            (folder / member.name).write_bytes(content.read())
    (folder / "site/foo.py").write_text("VALUE = 2\n")
    tampered = tmp_path / "tampered.tar.xz"
    with tarfile.open(tampered, "w:xz") as archive:
        for member in members:
            archive.add(folder / member.name, member.name)
    with opened(str(tampered)) as (found, _, _):
        assert found.digest == elsewhere.digest
    with pytest.raises(
        BuildError, match=r"tampered\.tar\.xz: foo\.py differs from what its description says"
    ):
        supply(NOTHING, NEW, shelf, tampered)
    assert names(shelf.folder) == []


def answer(
    libc: str = "musl", part: str = "release", versions: tuple[str, ...] = ("3.11",)
) -> dict[str, Any]:
    """Return the answer of a node that lacks a part."""
    pythons = [{"path": "/usr/bin/python3", "version": version, "named": False} for version in versions]
    drift = [{"part": part, "name": NAME, "why": "x"}]
    return {"probe": {"platform": {**LIBC, "libc": libc}, "pythons": pythons, "drift": drift}}


def test_a_node_that_lacks_nothing_of_the_release_needs_nothing() -> None:
    answers = {
        "new": answer(),
        "torn": answer(part="package"),
        "bent": answer(part="venv"),
        "stopped": answer(part="state"),
        "well": {"probe": {"drift": []}},
        "away": {"unreachable": True},
        "old": answer(versions=("3.9",)),
    }
    found = needs(answers, ["3.11"])
    targets_ = [list(target) for target in MUSL.targets]
    assert found["groups"] == [{"targets": targets_, "python": "3.11", "nodes": ["new", "torn", "bent"]}]
    assert list(found["refused"]) == ["old"]
    assert "its newest Python is 3.9" in found["refused"]["old"]


def test_one_that_cannot_be_had_is_told_in_words(shelf: Shelf, wheels: Path) -> None:
    wheel(wheels, "fast", tag="cp311-cp311-musllinux_1_2_x86_64")
    kept = supplied(source_of(wheels), MUSL, shelf, None)
    assert isinstance(kept, Kept)
    assert kept.target == "linux-x86_64-musl"
    why = str(supplied(source_of(wheels), OLD, shelf, None))
    assert why.startswith("fast==1.0 has no wheel for Python 3.11 on linux-x86_64-glibc-2.17")
