"""Where artefacts are kept on the controller: an archive each, and beside it what has to be known of it.

What an artefact has and an older one has not lies apart: such an archive is none of an artefact.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from ansible_collections.p2p.cluster.module_utils.p2p_archive import SUFFIX
from ansible_collections.p2p.cluster.module_utils.p2p_artifact import Artifact
from ansible_collections.p2p.cluster.module_utils.p2p_releases import made_for

# Of six platforms the last releases; one takes 4 MB.
KEPT = 40
PARTS = "since"
ABANDONED = 86400.0


class Kept(NamedTuple):
    """An artefact that is there.

    `path` of its archive, whose bytes are `size` and have the SHA-256 `sha256`; the rest is of the
    description.
    """

    path: str
    size: int
    sha256: str
    digest: str
    target: str
    python: str
    packages: dict[str, str]


class Part(NamedTuple):
    """An archive of what an artefact has and an older one has not: its path, and the SHA-256 of its bytes."""

    path: str
    sha256: str


class Shelf:
    """A folder of artefacts.

    Args:
        folder: Where it is; made where it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def archive(self, release: str, target: str, python: str) -> Path:
        """Return where the archive of an artefact belongs."""
        return self.folder / f"{release}-{target}-py{python}{SUFFIX}"

    def get(self, release: str, target: str, python: str) -> Kept | None:
        """Return an artefact, or None where it is not there as it was put."""
        found = _read(self.archive(release, target, python))
        if found is not None:
            with contextlib.suppress(OSError):  # the one that was not used for longest is forgotten first
                os.utime(found.path)
        return found

    def part(self, kept: Kept, older: str) -> Path:
        """Return where the archive belongs of what an artefact has and one of another digest has not."""
        name = Path(kept.path).name.removesuffix(SUFFIX)
        return self.folder / PARTS / f"{name}-{kept.digest[:16]}-since-{older[:16]}{SUFFIX}"

    def by_digest(self, digest: str) -> Path | None:
        """Return the archive of the artefact of a digest, or None where it is not here."""
        return next((Path(kept.path) for kept in self._all("*") if kept.digest == digest), None)

    def digests(self, release: str) -> dict[str, str]:
        """Return the digests of a release's artefacts by what they are for, `<target>/<python>`."""
        return {made_for(kept.target, kept.python): kept.digest for kept in self._all(f"{release}-*")}

    def _all(self, pattern: str) -> Iterator[Kept]:
        for archive in sorted(self.folder.glob(pattern + SUFFIX)):
            kept = _read(archive)
            if kept is not None:
                yield kept

    def put(self, fresh: Path, found: Artifact) -> Kept:
        """Keep an archive that lies in the folder of this shelf, and forget the oldest.

        Raises:
            OSError: It cannot be kept.
        """
        archive, content = self.archive(found.release, found.target, found.python), fresh.read_bytes()
        kept = Kept(
            path=str(archive),
            size=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            digest=found.digest,
            target=found.target,
            python=found.python,
            packages=found.packages,
        )
        notes = {key: value for key, value in kept._asdict().items() if key != "path"}
        written = fresh.with_suffix(".json")
        written.write_text(json.dumps(notes, sort_keys=True) + "\n", encoding="utf-8")
        _notes(archive).unlink(missing_ok=True)
        fresh.replace(archive)
        written.replace(_notes(archive))
        self._forget()
        return kept

    def _forget(self) -> None:
        for folder in (self.folder, self.folder / PARTS):
            for archive in _newest_first(folder.glob(f"*{SUFFIX}"))[KEPT:]:
                for path in (_notes(archive), archive):
                    with contextlib.suppress(OSError):
                        path.unlink()
        # What runs that were killed left; no build takes that long.
        for scratch in self.folder.glob(".*-*/"):
            with contextlib.suppress(OSError):
                if time.time() - scratch.stat().st_mtime > ABANDONED:
                    shutil.rmtree(scratch)

    @contextlib.contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """Hold a lock of a name, since many processes of a run, and many runs, want the same."""
        self.folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.folder / f".{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as guard:
            fcntl.flock(guard, fcntl.LOCK_EX)
            yield


def _newest_first(paths: Iterable[Path]) -> list[Path]:
    dated = []
    for path in paths:
        with contextlib.suppress(FileNotFoundError):  # another run forgets, too
            dated.append((path.stat().st_mtime_ns, path))
    return [path for _, path in sorted(dated, reverse=True)]


def _read(archive: Path) -> Kept | None:
    """Return what is noted of an archive, or None where it is not there as it was put."""
    try:
        found = Kept(path=str(archive), **json.loads(_notes(archive).read_text(encoding="utf-8")))
        return found if archive.stat().st_size == found.size else None
    except (OSError, RecursionError, TypeError, ValueError):
        return None


def _notes(archive: Path) -> Path:
    return archive.with_name(archive.name + ".json")
