"""Artefacts made by hand, for the Python that runs the tests."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from module_utils.p2p_archive import pack
from module_utils.p2p_artifact import Artifact, File, described, digest_of

MINOR = f"{sys.version_info[0]}.{sys.version_info[1]}"
TARGET = "linux-x86_64-glibc-2.17"
FILES = {
    "tiny/__init__.py": "VALUE = 1\n",
    "tiny/__main__.py": "print('tiny')\n",
    "tiny/data.txt": "not a module\n",
    "tiny-1.0.dist-info/METADATA": "Name: tiny\n",
    "other.py": "VALUE = 2\n",
}


def owner(path: str) -> str:
    """Return the package that a file of these belongs to."""
    return path.partition("/")[0].partition("-")[0].removesuffix(".py")


def artifact(
    files: Mapping[str, str] = FILES,
    *,
    release: str = "1.0-a",
    python: str = MINOR,
    tries: Iterable[str] = ("tiny",),
    modes: Mapping[str, str] | None = None,
) -> Artifact:
    """Return the description of an artefact of some files."""
    listed = {
        path: File(
            (modes or {}).get(path, "0644"),
            len(text.encode()),
            hashlib.sha256(text.encode()).hexdigest(),
            owner(path),
        )
        for path, text in sorted(files.items())
    }
    packages = dict.fromkeys(sorted({owner(path) for path in files}), "1.0")
    found = Artifact(release, TARGET, python, packages, list(tries), listed, "")
    return found._replace(digest=digest_of(described(found)))


def packed(
    path: Path, files: Mapping[str, str] = FILES, *, brought: Iterable[str] | None = None, **words: Any
) -> Artifact:
    """Write the archive of an artefact of some files, or of those that it brings; return its description."""
    found = artifact(files, **words)

    def contents() -> Iterator[tuple[str, File, bytes]]:
        for name, item in found.files.items():
            if brought is None or name in brought:
                yield name, item, files[name].encode()

    pack(str(path), described(found), contents(), 0)
    return found


def as_option(found: Artifact, archive: Path) -> dict[str, Any]:
    """Return an artefact as the module p2p_release is given it."""
    return {
        "digest": found.digest,
        "target": found.target,
        "python": found.python,
        "packages": found.packages,
        "size": archive.stat().st_size,
    }
