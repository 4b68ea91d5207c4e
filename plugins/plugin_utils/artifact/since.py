"""What of an artefact a node lacks that has an older one: of most releases that is the program alone."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ansible_collections.p2p.cluster.module_utils.p2p_archive import opened, pack
from ansible_collections.p2p.cluster.module_utils.p2p_artifact import ArtifactError

from .build import PRESET
from .shelf import Kept, Part, Shelf


def since(kept: Kept, older: str, shelf: Shelf) -> Part | None:
    """Return an archive of the files that an older artefact has not, or None if that one is not known here.

    Args:
        kept: The artefact.
        older: The digest of the older one, as the node says; it decides only what the node is sent.
        shelf: Where both are kept.
    """
    if not older or older == kept.digest:
        return None
    archive = shelf.part(kept, older)
    try:
        with shelf.alone("since"):
            if not archive.exists():
                known = _digests(shelf.by_digest(older))
                if known is None:
                    return None
                archive.parent.mkdir(exist_ok=True)
                _write(kept, known, archive)
            return Part(str(archive), hashlib.sha256(archive.read_bytes()).hexdigest())
    except (ArtifactError, OSError):
        return None  # one of the two is damaged, or there is no room for it: the whole is sent


def _digests(archive: Path | None) -> set[str] | None:
    if archive is None:
        return None
    with opened(str(archive)) as (found, _, _):
        return {item.sha256 for item in found.files.values()}


def _write(kept: Kept, known: set[str], archive: Path) -> None:
    fresh = archive.with_suffix(".new")
    try:
        with opened(kept.path, kept.digest) as (_, text, files):
            pack(str(fresh), text, (one for one in files if one[1].sha256 not in known), PRESET)
        fresh.replace(archive)
    finally:
        fresh.unlink(missing_ok=True)
