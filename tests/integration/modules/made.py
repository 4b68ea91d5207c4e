"""Artefacts of these tests: small ones made by hand, and the real one, as p2p_release is given them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.p2p.cluster.plugins.plugin_utils.artifact.build import as_source
from ansible_collections.p2p.cluster.plugins.plugin_utils.artifact.shelf import Kept, Shelf
from ansible_collections.p2p.cluster.plugins.plugin_utils.artifact.since import since
from ansible_collections.p2p.cluster.plugins.plugin_utils.artifact.supply import supply
from ansible_collections.p2p.cluster.plugins.plugin_utils.artifact.target import need

from tests.support.artifacts import FILES, as_option, packed

# The Python of Debian 12.
MINOR = "3.11"


def small(folder: Path, name: str, files: Mapping[str, str] = FILES, **words: Any) -> dict[str, Any]:
    """Make an artefact by hand, and return it as the option of p2p_release.

    Args:
        folder: where its archive goes.
        name: of the release.
        files: path -> text.
        words: more of `tests.support.artifacts.artifact`.
    """
    archive = folder / f"{name}.tar.xz"
    found = packed(archive, files, release=name, **{"python": MINOR, **words})
    return sent(as_option(found, archive), archive)


def sent(option: Mapping[str, Any], archive: Path) -> dict[str, Any]:
    """Return an option with the archive that the controller sends for it."""
    return {**option, "path": str(archive), "sha256": hashlib.sha256(archive.read_bytes()).hexdigest()}


class Real:
    """The release of this checkout, and others that differ in one file, on a shelf of their own.

    Args:
        folder: where they are kept.
        lock: of the nodes.
        probe: what the node says of itself.
    """

    def __init__(self, folder: Path, lock: str, probe: Mapping[str, Any]) -> None:
        self._shelf, self._lock, self._need = Shelf(folder), lock, need(probe, [MINOR])

    def release(self, name: str, wheel: Mapping[str, str]) -> Kept:
        """Return the artefact of a release whose program is this wheel."""
        return supply(as_source({"lock": self._lock, "wheel": wheel}, name, ""), self._need, self._shelf)

    def since(self, kept: Kept, older: Kept) -> dict[str, Any]:
        """Return an artefact as the lookup gives it for a node that runs an older one."""
        part = since(kept, older.digest, self._shelf)
        assert part is not None
        return {**kept._asdict(), "since": part._asdict()}
