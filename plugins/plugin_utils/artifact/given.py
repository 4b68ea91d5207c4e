"""Artefacts that were built elsewhere: one archive, or a folder of them."""

from __future__ import annotations

import contextlib
import functools
import shutil
import stat
from pathlib import Path

from ansible_collections.p2p.cluster.module_utils.p2p_archive import SUFFIX, opened
from ansible_collections.p2p.cluster.module_utils.p2p_artifact import Artifact, ArtifactError
from ansible_collections.p2p.cluster.module_utils.p2p_releases import made_for

from .build import BuildError
from .shelf import Kept, Shelf
from .target import Need

_AGAIN = "build it again, or copy it again"


def take(given: Path, release: str, need: Need, shelf: Shelf, scratch: Path) -> Kept:
    """Return the artefact of a release for what a node needs, read through once and kept on the shelf.

    Args:
        given: The archive, or the folder.
        release: The release's name.
        need: What a node needs.
        shelf: Where it is kept.
        scratch: An empty folder beside the shelf's archives.

    Raises:
        BuildError: there is none, or it is damaged.
    """
    found = _find(given, release, need, shelf)
    if found is None:
        raise BuildError(
            f"p2p_release_artifact: {given} holds no artefact for {need.targets[0].word} and Python"
            f" {need.python}: `make artifacts` builds them"
        )
    archive, artifact = found
    kept = shelf.get(release, artifact.target, artifact.python)
    if kept is not None and kept.digest == artifact.digest:
        return kept
    fresh = scratch / "artifact"
    try:
        shutil.copyfile(archive, fresh)
        with opened(str(fresh), artifact.digest) as (_, _, files):
            if sum(1 for _ in files) != len(artifact.files):
                raise BuildError(f"p2p_release_artifact: {archive} holds only what differs from another")
        return shelf.put(fresh, artifact)
    except ArtifactError as error:
        raise BuildError(f"p2p_release_artifact: {archive}: {error}: {_AGAIN}") from error
    except OSError as error:
        raise BuildError(f"p2p_release_artifact: {archive}: {error}") from error


def digests(given: Path, release: str) -> dict[str, str]:
    """Return the digests of a release's artefacts by what they are for, as far as they can be read."""
    shelf, found = Shelf(given), list[tuple[bool, Artifact]]()
    with contextlib.suppress(OSError):
        for archive in _archives(given):
            one = _described(archive)
            if isinstance(one, Artifact) and one.release == release:
                called = shelf.archive(release, one.target, one.python).name
                found.append((archive.name != called, one))
    # Of several of a kind the one that is taken, the first: what comes later in here replaces it.
    found.sort(key=lambda item: item[0])
    return {made_for(one.target, one.python): one.digest for _, one in reversed(found)}


def _archives(given: Path) -> list[Path]:
    return sorted(given.glob(f"*{SUFFIX}")) if given.is_dir() else [given]


def _find(given: Path, release: str, need: Need, shelf: Shelf) -> tuple[Path, Artifact] | None:
    words, others, damaged = [target.word for target in need.targets], [], ""
    # Those first that are called as such a one is: reading them all for each node would cost seconds.
    called = {shelf.archive(release, word, need.python).name for word in words}
    archives = sorted(_archives(given), key=lambda archive: archive.name not in called)
    for archive in archives:
        artifact = _described(archive)
        if isinstance(artifact, str):
            damaged = damaged or f"p2p_release_artifact: {archive}: {artifact}"
        elif artifact.release != release:
            others.append(artifact.release)
        elif artifact.target in words and artifact.python == need.python:
            return archive, artifact
    if damaged:
        raise BuildError(damaged)
    if others and len(others) == len(archives):
        raise BuildError(
            f"p2p_release_artifact: {given} holds {', '.join(sorted(set(others)))}, and this checkout and its"
            f" settings make {release}: build it from the same checkout and lock"
        )
    return None


def _described(archive: Path) -> Artifact | str:
    """Return what an archive says that it is, or why it cannot be read; read once while it is not touched."""
    try:
        found = archive.stat()
        if not stat.S_ISREG(found.st_mode):
            return "it is no file: name an archive, or a folder of archives"
        return _read(archive, found.st_mtime_ns, found.st_ctime_ns, found.st_size)
    except OSError as error:
        return f"{error.strerror or error}: `make artifacts` builds them"
    except ArtifactError as error:
        return f"{error}: {_AGAIN}"


@functools.cache
def _read(archive: Path, *_when: int) -> Artifact:
    with opened(str(archive)) as (artifact, _, _):
        return artifact
