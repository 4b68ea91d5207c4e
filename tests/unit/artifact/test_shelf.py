"""Where the controller keeps artefacts: put, found again, compared, and forgotten."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from pathlib import Path

import pytest
from ansible_collections.p2p.cluster.module_utils.p2p_artifact import Artifact
from ansible_collections.p2p.cluster.plugins.plugin_utils.artifact import shelf as shelf_of
from ansible_collections.p2p.cluster.plugins.plugin_utils.artifact.shelf import Kept, Shelf

MUSL = "linux-x86_64-musl"


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    folder = tmp_path / "artifacts"
    folder.mkdir()
    return Shelf(folder)


def put(shelf: Shelf, release: str = "1.0-a", python: str = "3.11", content: bytes = b"archive") -> Kept:
    """Put an archive of some bytes there."""
    scratch = shelf.folder / ".build"
    scratch.mkdir(exist_ok=True)
    (scratch / "artifact").write_bytes(content)
    digest = hashlib.sha256(f"{release} {python}".encode()).hexdigest()
    return shelf.put(
        scratch / "artifact", Artifact(release, MUSL, python, {"foo": "1.0"}, ["foo"], {}, digest)
    )


def test_what_was_put_there_is_got_again(shelf: Shelf) -> None:
    assert shelf.get("1.0-a", MUSL, "3.11") is None
    kept = put(shelf)
    assert kept.path == str(shelf.folder / "1.0-a-linux-x86_64-musl-py3.11.tar.xz")
    assert Path(kept.path).read_bytes() == b"archive"
    assert (kept.size, kept.sha256) == (7, hashlib.sha256(b"archive").hexdigest())
    assert kept.packages == {"foo": "1.0"}
    assert shelf.get("1.0-a", MUSL, "3.11") == kept
    for release, target, python in (("1.0-b", MUSL, "3.11"), ("1.0-a", "x", "3.11"), ("1.0-a", MUSL, "3.1")):
        assert shelf.get(release, target, python) is None


def test_the_same_is_put_there_anew(shelf: Shelf) -> None:
    put(shelf)
    kept = put(shelf, content=b"another")
    assert shelf.get("1.0-a", MUSL, "3.11") == kept
    assert len(list(shelf.folder.glob("*.tar.xz*"))) == 2


def test_an_archive_that_was_cut_off_is_not_there(shelf: Shelf) -> None:
    kept = put(shelf)
    Path(kept.path).write_bytes(b"arch")
    assert shelf.get("1.0-a", MUSL, "3.11") is None
    Path(kept.path).unlink()
    assert shelf.get("1.0-a", MUSL, "3.11") is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "7", "null", "{}", '{"size": 7}', "\x00", '{"path": "/etc/passwd"}']
)
def test_notes_that_are_none_are_as_if_nothing_was_there(shelf: Shelf, text: str) -> None:
    kept, other = put(shelf), put(shelf, python="3.12")
    Path(f"{kept.path}.json").write_text(text)
    assert shelf.get("1.0-a", MUSL, "3.11") is None
    assert shelf.digests("1.0-a") == {f"{MUSL}/3.12": other.digest}
    Path(f"{kept.path}.json").write_bytes(b"\xff\xfe")
    assert shelf.get("1.0-a", MUSL, "3.11") is None
    assert put(shelf) == shelf.get("1.0-a", MUSL, "3.11")


def test_notes_with_something_else_in_them_are_none(shelf: Shelf) -> None:
    kept = put(shelf)
    notes = json.loads(Path(f"{kept.path}.json").read_text())
    Path(f"{kept.path}.json").write_text(json.dumps({**notes, "more": 1}))
    assert shelf.get("1.0-a", MUSL, "3.11") is None


def test_the_digests_of_a_release_are_those_of_no_other(shelf: Shelf) -> None:
    assert shelf.digests("1.0-a") == {}
    kept = {python: put(shelf, python=python).digest for python in ("3.10", "3.11")}
    put(shelf, release="1.0-ab")
    put(shelf, release="11.0-a")
    assert shelf.digests("1.0-a") == {f"{MUSL}/{python}": digest for python, digest in kept.items()}
    assert Shelf(shelf.folder / "none").digests("1.0-a") == {}


def test_the_oldest_are_forgotten_with_their_notes(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf_of, "KEPT", 3)
    for age, release in enumerate(("d", "c", "b", "a"), start=1):
        kept = put(shelf, release=release)
        os.utime(kept.path, (1e9 - age, 1e9 - age))
    put(shelf, release="e")
    assert sorted(path.name[0] for path in shelf.folder.glob("*.tar.xz")) == ["c", "d", "e"]
    assert sorted(path.name[0] for path in shelf.folder.glob("*.json")) == ["c", "d", "e"]


def test_one_at_a_time_holds_a_name(shelf: Shelf) -> None:
    order: list[str] = []
    here = threading.Event()

    def other() -> None:
        here.set()
        with Shelf(shelf.folder).alone("x"):
            order.append("other")

    waiting = threading.Thread(target=other)
    with shelf.alone("x"):
        waiting.start()
        here.wait()
        with shelf.alone("y"):
            order.append("first")
    waiting.join(10)
    assert order == ["first", "other"]
