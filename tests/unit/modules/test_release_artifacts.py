"""Releases made of artefacts on a real file system: their archive sent or fetched, mended, gone back to."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import socket
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from module_utils.p2p_artifact import Artifact
from module_utils.p2p_digest import release_wanted
from module_utils.p2p_probe_parts import releases
from module_utils.p2p_release_apply import apply, drop
from module_utils.p2p_release_plan import ReleaseError, Request
from module_utils.p2p_releases import made_for, root_drift, soundest
from tests.support.artifacts import FILES, MINOR, as_option, packed

DEFAULTS: dict[str, Any] = {
    "state": "present",
    "name": None,
    "artifact": None,
    "archive": None,
    "url": None,
    "files": [],
    "python": sys.executable,
    "keep": 3,
    "min_free_mb": 0,
    "activate": True,
}


class Node:
    """A node with a root of releases, and archives that lie elsewhere on it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder, folder / "opt" / "p2p"
        self.archives = folder / "archives"
        self.archives.mkdir()

    def packed(self, name: str = "a", text: str = "VALUE = 1\n") -> Artifact:
        files = {**FILES, "tiny/__init__.py": text}
        return packed(self.archives / f"{name}.tar.xz", files, release=name)

    def run(self, *, check: bool = False, **params: Any) -> dict[str, Any]:
        return apply(Request({**DEFAULTS, "root": str(self.root), **params}, check))

    def make(self, name: str = "a", text: str = "VALUE = 1\n", **params: Any) -> dict[str, Any]:
        """Make a release of an archive that lies on the node."""
        return self.run(name=name, **self.given(name, text), **params)

    def given(self, name: str = "a", text: str = "VALUE = 1\n") -> dict[str, Any]:
        found, archive = self.packed(name, text), self.archives / f"{name}.tar.xz"
        return {"artifact": as_option(found, archive), "archive": str(archive)}

    def wanted(self, name: str = "a") -> dict[str, Any]:
        found = self.packed(name)
        artifacts = {made_for(found.target, found.python): found.digest}
        return release_wanted({"root": str(self.root), "name": name, "artifacts": artifacts, "files": []})

    def drift(self, name: str = "a") -> list[tuple[str, str]]:
        return [(item.part, item.why) for item in root_drift(self.wanted(name))]

    def names(self) -> list[str]:
        return sorted(path.name for path in (self.root / "releases").iterdir())

    def current(self) -> Path:
        return (self.root / "current").resolve()

    @property
    def site(self) -> Path:
        return self.current() / "venv" / "lib" / f"python{MINOR}" / "site-packages"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    mask = os.umask(0o022)
    yield Node(tmp_path)
    os.umask(mask)


def test_a_release_is_made_as_it_was_foretold(node: Node) -> None:
    foretold = node.make(check=True)
    assert not node.root.exists()
    done = node.make()
    assert done == foretold
    assert done["actions"] == ["build release a", "install other==1.0, tiny==1.0", "activate release a"]
    assert done["packages"] == {"other": "1.0", "tiny": "1.0"}
    assert node.drift() == []
    assert not node.make()["changed"]
    manifest = json.loads((node.current() / "manifest.json").read_text())
    assert manifest["artifact"] == node.packed().digest
    told = releases(str(node.root))["manifest"]
    assert {key: told[key] for key in ("name", "artifact", "target", "python_version")} == {
        "name": "a",
        "artifact": node.packed().digest,
        "target": "linux-x86_64-glibc-2.17",
        "python_version": MINOR,
    }


def test_without_an_archive_nothing_is_done_and_it_is_asked_for(node: Node) -> None:
    given = {**node.given(), "archive": None}
    assert node.run(name="a", **given) == {"changed": False, "needed": "it is not on the node"}
    assert node.names() == []
    # A preview needs none.
    assert node.run(name="a", **given, check=True)["actions"][0] == "build release a"
    node.make()
    assert not node.run(name="a", **given)["changed"], "what is there needs none, either"


def test_an_archive_goes_whether_it_was_needed_or_not(node: Node) -> None:
    for _ in range(2):
        sent = node.folder / "p2p-release-x" / "archive.tar.xz"
        sent.parent.mkdir()
        shutil.copy(node.given()["archive"], sent)
        node.run(name="a", artifact=node.given()["artifact"], archive=str(sent))
        drop(str(sent))
        assert not sent.parent.exists()
    drop(None)
    drop(str(node.folder / "nowhere" / "archive"))
    (node.folder / "used" / "more").mkdir(parents=True)
    drop(str(node.folder / "used" / "archive"))
    assert (node.folder / "used" / "more").exists()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  as the library calls it
        pass


@pytest.fixture
def server(node: Node, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A web server with the archives."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(node.archives)))
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{running.server_address[1]}"
    running.shutdown()
    thread.join()
    running.server_close()


def test_an_archive_is_fetched_where_it_was_put(node: Node, server: str) -> None:
    given = {**node.given(), "archive": None, "url": f"{server}/a.tar.xz"}
    assert node.run(name="a", **given)["changed"]
    assert node.drift() == []
    assert sorted(path.name for path in node.root.iterdir()) == [".lock", "current", "releases"]
    assert not node.run(name="a", **{**given, "url": "http://127.0.0.1:9/"})["changed"], (
        "none is fetched again"
    )


def test_what_is_not_the_archive_is_asked_for_with_the_reason(node: Node, server: str) -> None:
    given = {**node.given(), "archive": None}
    node.packed("other", "VALUE = 2\n")
    (node.archives / "garbage").write_bytes(b"x" * 100)
    (node.archives / "large").write_bytes(b"x" * 1_000_000)
    (node.archives / "cut").write_bytes((node.archives / "a.tar.xz").read_bytes()[:-200])
    (node.root / ".archive").parent.mkdir(parents=True)
    (node.root / ".archive").write_text("left by an interrupted run")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{taken.getsockname()[1]}/a.tar.xz"
        for url, why in (
            (f"{server}/gone", "cannot be fetched: HTTP Error 404"),
            (dead, "Connection refused"),
            (f"{server}/garbage", "it is damaged"),
            (f"{server}/cut", "it is damaged or ends too early"),
            (f"{server}/large", "is larger than"),
            (f"{server}/other.tar.xz", "it has the digest"),
        ):
            answer = node.run(name="a", **given, url=url)
            assert answer.keys() == {"changed", "needed"}
            assert answer["needed"].startswith(url)
            assert why in answer["needed"]
            assert len(answer["needed"].splitlines()) == 1
            assert node.names() == []
            assert not (node.root / ".archive").exists()
    assert node.run(name="a", **node.given(), url=f"{server}/gone")["changed"], (
        "the one that was sent is taken"
    )


@pytest.mark.parametrize("damage", ["cut", "other", "program", "gone"])
def test_an_archive_that_is_not_the_artefact_leaves_what_ran(node: Node, damage: str) -> None:
    node.make()
    given = node.given("b", "import gone_for_good\n" if damage == "program" else "VALUE = 2\n")
    archive = Path(given["archive"])
    if damage == "cut":
        archive.write_bytes(archive.read_bytes()[:-200])
    elif damage == "other":
        node.packed("b", "VALUE = 3\n")
    elif damage == "gone":
        archive.unlink()
    with pytest.raises((ReleaseError, FileNotFoundError)) as refused:
        node.run(name="b", **given)
    assert len(str(refused.value).splitlines()) == 1
    if damage != "gone":
        assert str(refused.value).startswith("release b was not made, what ran still runs: ")
    assert node.names() == ["a"]
    assert node.drift() == []


def test_without_a_python_for_it_nothing_is_written(node: Node) -> None:
    given = node.given()
    given["artifact"]["python"] = "3.99"
    for check in (True, False):
        with pytest.raises(ReleaseError, match=r"release a was not made.*no Python 3\.99 found"):
            node.run(name="a", **given, check=check)
    assert not node.root.exists()


def test_a_build_that_was_interrupted_is_made_anew(node: Node) -> None:
    node.make()
    left = node.root / "releases" / "b"
    shutil.copytree(node.current(), left, symlinks=True)
    (left / "manifest.json").unlink()
    done = node.make("b", "VALUE = 2\n")
    assert "build release b" in done["actions"]
    assert (node.names(), node.current().name) == (["a", "b"], "b")
    assert not node.make("b", "VALUE = 2\n")["changed"]


def test_one_made_of_another_artefact_is_made_anew_beside_itself(node: Node) -> None:
    node.make(text="VALUE = 2\n")
    assert node.drift() == [("release", "made of another artefact")]
    done = node.make()
    assert done["path"].endswith("/a~2")
    assert (node.names(), node.current().name) == (["a", "a~2"], "a~2"), "what ran is there until its restart"
    assert node.drift() == []


def test_an_artefact_for_another_platform_or_an_unknown_one_says_nothing_of_this_one(node: Node) -> None:
    node.make(text="VALUE = 2\n")
    wanted = node.wanted()
    for artifacts in (
        {},
        {"linux-x86_64-musl/" + MINOR: "0" * 64},
        {"linux-x86_64-glibc-2.17/3.9": "0" * 64},
    ):
        assert root_drift({**wanted, "artifacts": artifacts}) == []


DESCRIPTION = "artifact.json is not that of its artefact"


@pytest.mark.parametrize("text", [None, "", "{}", "another"])
def test_one_without_its_description_is_made_anew(node: Node, text: str | None) -> None:
    node.make()
    path = node.current() / "artifact.json"
    if text is None:
        path.unlink()
    elif text == "another":
        path.write_text(path.read_text().replace('"tiny": "1.0"', '"tiny": "1.1"'))
    else:
        path.write_text(text)
    assert node.drift() == [("release", DESCRIPTION)]
    assert node.make()["path"].endswith("/a~2")
    assert node.drift() == []


def test_one_whose_packages_were_changed_is_made_anew(node: Node) -> None:
    node.make()
    (node.site / "other.py").write_text("VALUE = 9\n")
    (node.site / "stray.py").write_text("")
    assert node.drift() == [
        ("package", "other.py differs from what was installed"),
        ("venv", "stray.py belongs to no package"),
    ]
    done = node.make()
    assert done["actions"] == ["build release a", "install other==1.0", "activate release a"]
    assert "  - other==1.0 (other.py differs from what was installed)" in done["diff"][0]["before"]
    assert node.drift() == []


def test_one_whose_python_is_gone_is_made_anew(node: Node) -> None:
    node.make()
    (node.current() / "venv/bin/python").unlink()
    assert node.drift() == [("venv", "venv/bin/python is missing")]
    node.make()
    (node.current() / "venv/bin/extra").write_text("")
    assert node.drift() == [("venv", "pyvenv.cfg or what lies in venv/bin differs from what was made")]
    node.make()
    assert node.drift() == []


def old(node: Node, name: str, created_at: float) -> Path:
    """Put a release there as earlier versions made it with pip."""
    path = node.root / "releases" / name
    (path / "venv/lib/python3.11/site-packages/pip").mkdir(parents=True)
    (path / "venv/bin").mkdir()
    (path / "venv/bin/python").symlink_to(sys.executable)
    manifest = {"name": name, "created_at": created_at, "files": [], "packages": {"pip": "23.0"}}
    manifest |= {"python": "/usr/bin/python3", "records": {"pip": "x"}, "scripts": {"pip": "x"}, "seal": "x"}
    manifest |= {"lock_sha256": "0" * 64, "wheel": {"filename": "x-1-py3-none-any.whl", "sha256": "0" * 64}}
    (path / "manifest.json").write_text(json.dumps(manifest))
    return path


@pytest.fixture
def before(node: Node) -> Node:
    """A node that earlier versions have deployed to."""
    for age, name in enumerate(("old3", "old2", "old1")):
        path = old(node, name, 1000.0 + age)
    (node.root / "wheels").mkdir()
    (node.root / "wheels/x.whl").write_text("x")
    (node.root / ".lock").write_text("")
    (node.root / "current").symlink_to(path)
    (node.root / "previous").symlink_to(node.root / "releases/old2")
    return node


def test_what_earlier_versions_made_is_kept_and_forgotten_by_the_same_rule(before: Node) -> None:
    done = before.make("new")
    assert done["previous"] == "old1"
    assert before.names() == ["new", "old1", "old2"]
    assert not (before.root / "wheels").exists()
    before.make("newer", "VALUE = 2\n")
    assert before.names() == ["new", "newer", "old1"]
    before.make("newest", "VALUE = 3\n")
    assert before.names() == ["new", "newer", "newest"]


def test_what_earlier_versions_made_is_gone_back_to(before: Node) -> None:
    before.make("new")
    assert before.run(state="active")["release"] == "old1"
    assert before.current().name == "old1"
    assert before.run(state="active", name="old2")["actions"] == ["activate release old2"]
    assert before.current().name == "old2"
    assert before.run(state="active", name="new")["release"] == "new"
    assert before.drift("new") == []
    assert releases(str(before.root))["built"].keys() == {"new", "old1", "old2"}


def test_what_earlier_versions_made_differs_from_all_that_is_made_now(before: Node) -> None:
    wanted = {**before.wanted("old1")}
    assert [item.why for item in soundest(str(before.root), wanted)[1]] == [DESCRIPTION]
    assert before.drift("new") == [("release", "not there")]
    told = releases(str(before.root))["manifest"]
    assert told["name"] == "old1"
    assert told["artifact"] is None


def test_a_password_of_the_web_server_is_not_told(node: Node, server: str) -> None:
    given = {**node.given(), "archive": None}
    (node.archives / "garbage").write_bytes(b"x" * 100)
    url = f"{server.replace('http://', 'http://me:s3cret@')}/garbage"
    needed = node.run(name="a", **given, url=url)["needed"]
    assert needed.startswith(f"{server}/garbage: ")
    assert "s3cret" not in needed


def test_where_a_part_of_an_archive_is_not_enough_the_whole_is_asked_for(node: Node) -> None:
    given = node.given()
    Path(given["archive"]).write_bytes(b"torn")
    answer = node.run(name="a", **given, partial=True)
    assert (answer["changed"], "damaged" in answer["needed"]) == (False, True)
    with pytest.raises(ReleaseError, match="it is damaged"):
        node.run(name="a", **given)
    found = packed(node.archives / "a.tar.xz", FILES, release="a", brought=())
    option = as_option(found, node.archives / "a.tar.xz")
    answer = node.run(name="a", artifact=option, archive=given["archive"], partial=True)
    assert answer["needed"].endswith("is in no release on the node")
    assert node.names() == []


def test_what_killed_runs_left_goes_with_the_next_archive(node: Node) -> None:
    old, new = node.folder / "p2p-release-old", node.folder / "p2p-release-new"
    for folder in (old, new):
        folder.mkdir()
        (folder / "archive.tar.xz").write_text("x")
    os.utime(old, (0, 0))
    drop(str(new / "archive.tar.xz"))
    assert not old.exists()
    assert not new.exists()
