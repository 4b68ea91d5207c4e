"""The controller's memory of the cluster's store, from the last run that saw it work."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

from ansible_collections.p2p.cluster.plugins.plugin_utils.door.words import LARGEST_EPOCH, NODE_NAME
from ansible_collections.p2p.cluster.plugins.plugin_utils.memory.file import keep, locked, recalled

_NAME = re.compile(NODE_NAME)
_ID = re.compile(r"[0-9]{1,20}")


class Kept(TypedDict):
    """`cluster_id` of the store, and its `members`, ids by name. Both are empty where nothing is known.

    `epoch` is the latest recovery epoch of the cluster that any run saw, 0 if none.
    """

    cluster_id: str
    members: dict[str, str]
    epoch: int


def nothing() -> Kept:
    """Return the memory of who has seen no store."""
    return Kept(cluster_id="", members={}, epoch=0)


def recall(path: Path, cluster: str) -> tuple[Kept, str]:
    """Return what is known of the store, and why the file cannot be used, or nothing.

    Args:
        path: The memory's file.
        cluster: Whose it has to be.
    """
    return recalled(path, cluster, _parsed, nothing(), "the store")


def remember(path: Path, cluster: str, known: Kept) -> bool:
    """Note a store that works.

    Args:
        path: The memory's file, made with its folder if need be, and replaced in one step.
        cluster: Whose it is.
        known: The store. A recovery epoch below the one that is remembered lowers nothing.

    Returns:
        Whether the file said something else before.

    Raises:
        OSError: It cannot be written, or its folder is not this user's alone.
    """
    if _newer(path, cluster, known) is None:
        return False
    with locked(path.parent):
        fresh = _newer(path, cluster, known)
        if fresh is not None:
            keep(path, cluster, fresh)
    return fresh is not None


def _newer(path: Path, cluster: str, known: Kept) -> Kept | None:
    """Return what the file has to say, None if it says so."""
    before = recall(path, cluster)[0]
    fresh = Kept(
        cluster_id=known["cluster_id"], members=known["members"], epoch=max(known["epoch"], before["epoch"])
    )
    return None if fresh == before else fresh


def _parsed(found: Mapping[str, Any]) -> Kept:
    cluster_id, members = found.get("cluster_id"), found.get("members")
    if not isinstance(cluster_id, str) or not _ID.fullmatch(cluster_id) or not isinstance(members, dict):
        raise ValueError("it says something else")
    for name, number in members.items():
        if not _NAME.fullmatch(name) or not isinstance(number, str) or not _ID.fullmatch(number):
            raise ValueError("it says something else")
    # An earlier version of this repository kept none.
    epoch = found.get("epoch", 0)
    if isinstance(epoch, bool) or not isinstance(epoch, int) or not 0 <= epoch <= LARGEST_EPOCH:
        raise ValueError("it has a recovery epoch that is none")
    return Kept(cluster_id=cluster_id, members=members, epoch=epoch)
