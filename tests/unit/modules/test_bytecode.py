"""Bytecode is compiled once and taken unseen: what changes it is found, what touches it is not."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from module_utils.p2p_digest import release_wanted
from module_utils.p2p_release_apply import apply
from module_utils.p2p_release_plan import Request
from module_utils.p2p_releases import made_for, root_drift
from tests.support.artifacts import MINOR, TARGET, as_option, packed


class Made:
    """A release that was made of an artefact."""

    def __init__(self, folder: Path) -> None:
        self.root, archive = folder / "opt/p2p", folder / "a.tar.xz"
        self.artifact = packed(archive)
        params = {"root": str(self.root), "name": "1.0-a", "state": "present", "activate": True, "keep": 3}
        params |= {"artifact": as_option(self.artifact, archive), "archive": str(archive), "min_free_mb": 0}
        apply(Request(params, check_mode=False))

    @property
    def compiled(self) -> list[Path]:
        """The compiled modules."""
        return sorted((self.root / "current/venv").rglob("*.pyc"))

    def drift(self) -> list[str]:
        """Return the names of what differs."""
        artifacts = {made_for(TARGET, MINOR): self.artifact.digest}
        wanted = release_wanted({"root": str(self.root), "name": "1.0-a", "artifacts": artifacts})
        return [item.name for item in root_drift(wanted)]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """A release."""
    return Made(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-1] + b"x"),
        lambda path: path.unlink(),
        lambda path: path.with_name("more.cpython-311.pyc").write_bytes(b""),
        lambda path: (path.rename(path.with_suffix(".was")), path.symlink_to(path.with_suffix(".was"))),
    ],
    ids=["a byte", "gone", "one more", "a symlink"],
)
def test_a_change_is_found(made: Made, change: Callable[[Path], object]) -> None:
    assert made.drift() == []
    change(made.compiled[0])
    assert made.drift() == ["bytecode"]


def test_a_time_is_no_change(made: Made) -> None:
    for path in made.compiled:
        os.utime(path, (0, 0))
        path.chmod(0o600)
        path.chmod(0o644)
    assert made.drift() == []
