"""Has the artefact that a node needs: from the shelf, from what was built elsewhere, or built now."""

from __future__ import annotations

import tempfile
from pathlib import Path

from .build import BuildError, NoWheelError, Source, build
from .given import take
from .shelf import Kept, Shelf
from .target import Need


def supply(source: Source, need: Need, shelf: Shelf, given: Path | None = None) -> Kept:
    """Return an artefact, built if it is not there.

    Args:
        source: What it is built of.
        need: What a node needs.
        shelf: Where artefacts are kept.
        given: What was built elsewhere, an archive or a folder; nothing is built where it is named.

    Raises:
        BuildError: it cannot be had.
    """
    try:
        with shelf.alone(f"{need.targets[0].word}-py{need.python}"):
            if given is not None:
                with tempfile.TemporaryDirectory(dir=shelf.folder, prefix=".take-") as scratch:
                    return take(given, source.release, need, shelf, Path(scratch))
            return _built(source, need, shelf)
    except OSError as error:
        raise BuildError(f"{error.filename or shelf.folder}: {error.strerror or error}") from error


def _built(source: Source, need: Need, shelf: Shelf) -> Kept:
    """Return the first of a node's targets that is there, or that all of the lock has wheels for."""
    for target in need.targets:
        kept = shelf.get(source.release, target.word, need.python)
        if kept is not None:
            return kept
    first: NoWheelError | None = None
    for target in need.targets:
        with tempfile.TemporaryDirectory(dir=shelf.folder, prefix=".build-") as scratch:
            fresh = Path(scratch) / "artifact"
            try:
                return shelf.put(fresh, build(source, target, need.python, fresh, Path(scratch)))
            except NoWheelError as error:
                first = first or error
    raise first or BuildError("no platform was named")
