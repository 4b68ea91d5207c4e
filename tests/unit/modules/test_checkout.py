"""A checkout is brought to a commit, and its owner's work is never lost; with the real git."""

from __future__ import annotations

import getpass
import subprocess
from pathlib import Path
from typing import Any

import pytest

from module_utils.p2p_checkout import (
    VARIABLE,
    Checkout,
    CheckoutError,
    checkout_drift,
    compare,
    outdated,
    tell,
    update,
)

LIMIT = 120.0


def git(folder: Path, *words: str) -> str:
    """Run git in a folder as somebody with a name."""
    who = ["-c", "user.name=a", "-c", "user.email=a@b.example", "-c", "init.defaultBranch=main"]
    done = subprocess.run(
        ["git", "-C", folder, *who, *words], check=True, capture_output=True, text=True, timeout=LIMIT
    )
    return done.stdout.strip()


def commit(folder: Path, text: str) -> str:
    """Commit a text, and return the commit."""
    (folder / "program.py").write_text(text)
    git(folder, "add", "program.py")
    git(folder, "commit", "--quiet", "--message", text)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a repository with one commit on `main`."""
    folder = tmp_path / "source"
    folder.mkdir()
    git(folder, "init", "--quiet")
    commit(folder, "one")
    return folder


def asked(source: Path, version: str = "main") -> dict[str, Any]:
    """Return what is asked for: the source in a folder beside it."""
    return {
        "repo": f"file://{source}",
        "version": version,
        "path": str(source.parent / "checkout"),
        "user": getpass.getuser(),
        "service": "p2p_orchestrator",
    }


def go(spec: dict[str, Any]) -> Checkout:
    """Compare and update."""
    found = compare(spec, LIMIT)
    if found.before != found.after:
        update(spec, found, LIMIT)
    return found


def test_it_is_cloned_and_then_left_alone(source: Path) -> None:
    spec = asked(source)
    head = git(source, "rev-parse", "HEAD")
    foretold = compare(spec, LIMIT)
    assert foretold == Checkout(spec["path"], None, head)
    assert not Path(spec["path"]).exists()
    assert tell(spec, foretold) == f"clone {spec['repo']} to {spec['path']} at {head[:12]}"
    assert go(spec) == foretold
    assert (Path(spec["path"]) / "program.py").read_text() == "one"
    assert compare(spec, LIMIT).before == head
    assert checkout_drift(spec, LIMIT) == []
    assert [item.name for item in source.parent.iterdir() if "clone" in item.name] == []


def test_it_follows_a_branch_and_keeps_where_it_was(source: Path) -> None:
    spec = asked(source)
    first = go(spec).after
    second = commit(source, "two")
    assert checkout_drift(spec, LIMIT) == [f"update {spec['path']} from {first[:12]} to {second[:12]}"]
    go(spec)
    path = Path(spec["path"])
    assert (path / "program.py").read_text() == "two"
    assert git(path, "rev-parse", "refs/p2p-cluster-previous") == first


@pytest.mark.parametrize("kind", ["tag", "tag with a message", "commit", "branch of its own"])
def test_a_version_is_a_branch_a_tag_or_a_commit(source: Path, kind: str) -> None:
    spec = asked(source)
    go(spec)
    head = commit(source, "two")
    commit(source, "three")
    given = {"commit": head}.get(kind, "v2")
    if kind == "tag":
        git(source, "tag", "v2", head)
    elif kind == "tag with a message":
        git(source, "tag", "--annotate", "--message", "two", "v2", head)
    elif kind == "branch of its own":
        git(source, "branch", "v2", head)
    found = go({**spec, "version": given})
    assert found.after == head
    assert git(Path(spec["path"]), "rev-parse", "HEAD") == head


def test_without_a_version_it_is_the_repositorys_own_branch(source: Path) -> None:
    assert go(asked(source, "")).after == git(source, "rev-parse", "HEAD")


def test_work_that_is_not_committed_is_refused_and_stays(source: Path) -> None:
    spec = asked(source)
    first = go(spec).after
    program = Path(spec["path"]) / "program.py"
    program.write_text("mine")
    assert compare(spec, LIMIT).before == first  # nothing has to change, so nothing is in the way
    commit(source, "two")
    with pytest.raises(CheckoutError, match=r"program\.py\) and is left as it is: commit them, or `git -C "):
        compare(spec, LIMIT)
    assert program.read_text() == "mine"
    assert "are not committed" in checkout_drift(spec, LIMIT)[0]


def test_a_file_of_the_owners_that_git_does_not_track_is_never_overwritten(source: Path) -> None:
    spec = asked(source)
    first = go(spec).after
    other = Path(spec["path"]) / "other.py"
    other.write_text("mine")
    (source / "other.py").write_text("theirs")
    git(source, "add", "other.py")
    commit(source, "two")
    with pytest.raises(CheckoutError, match="would be overwritten by checkout"):
        go(spec)
    assert other.read_text() == "mine"
    assert git(Path(spec["path"]), "rev-parse", "HEAD") == first


def test_commits_of_the_owners_stay_on_their_branch(source: Path) -> None:
    spec = asked(source)
    go(spec)
    path = Path(spec["path"])
    git(path, "switch", "--quiet", "--create", "mine")
    mine = commit(path, "mine")
    commit(source, "two")
    go(spec)
    assert git(path, "rev-parse", "mine") == mine


def test_another_folder_is_refused(source: Path) -> None:
    spec = asked(source)
    path = Path(spec["path"])
    path.mkdir()
    (path / "notes").write_text("mine")
    with pytest.raises(CheckoutError, match="is no git checkout: move it away"):
        compare(spec, LIMIT)


def test_a_repository_or_a_version_that_is_not_there_is_named(source: Path) -> None:
    with pytest.raises(CheckoutError, match="has no branch or tag nowhere"):
        compare(asked(source, "nowhere"), LIMIT)
    with pytest.raises(CheckoutError, match=r"git ls-remote .*/gone"):
        compare({**asked(source), "repo": f"file://{source.parent}/gone"}, LIMIT)


def test_a_process_is_outdated_if_it_says_so() -> None:
    assert outdated([{VARIABLE: "a"}], "b")
    assert not outdated([{VARIABLE: "b"}], "b")
    assert not outdated([{}], "b")
    assert not outdated([], "b")
