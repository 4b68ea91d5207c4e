"""The controller's memory of canaries that did not do well, so that one node cannot hold back every run."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypedDict

from ansible_collections.p2p.cluster.plugins.plugin_utils.door.words import NODE_NAME
from ansible_collections.p2p.cluster.plugins.plugin_utils.memory.file import keep, locked, recalled

# What became of a canary, as `p2p_outcome` calls it, and as the memory does.
HOW = {"failed": "failed", "unreachable": "lost"}
UNFINISHED = "unfinished"
_NAME = re.compile(NODE_NAME)
_LAST = 1 << 37  # seconds since the epoch; a calendar ends in the year 9999


class Failure(TypedDict):
    """`at` in seconds since the epoch; `how` is `failed`, `lost`, or `unfinished` if its run never ended."""

    at: float
    how: str


Failures = dict[str, Failure]


def recall(path: Path, cluster: str) -> tuple[Failures, str]:
    """Return the canaries that did not do well, by node, and why the file cannot be used, or nothing.

    Args:
        path: The memory's file.
        cluster: Whose it has to be.
    """
    return recalled(path, cluster, _parsed, {}, "the canaries")


def remember(
    path: Path,
    cluster: str,
    *,
    fleet: Collection[str],
    now: float,
    begun: Collection[str] = (),
    ended: Mapping[str, str] | None = None,
) -> None:
    """Note which canaries begin and what became of those that ended; one that did well is forgotten.

    Args:
        path: The memory's file, made with its folder if need be, and replaced in one step.
        cluster: Whose it is.
        fleet: Names of all nodes of the fleet file; others are forgotten.
        now: Seconds since the epoch.
        begun: Nodes that are about to be changed as the canary.
        ended: The state of the outcome of nodes, as `p2p_outcome` has it.

    Raises:
        OSError: It cannot be written, or its folder is not this user's alone.
    """
    with locked(path.parent):
        failed = {name: one for name, one in recall(path, cluster)[0].items() if name in fleet}
        failed |= {name: Failure(at=now, how=UNFINISHED) for name in begun}
        for name, state in (ended or {}).items():
            if state == "changed":
                failed.pop(name, None)
            elif state in HOW:
                failed[name] = Failure(at=now, how=HOW[state])
        keep(path, cluster, {"failed": failed})


def _parsed(found: Mapping[str, Any]) -> Failures:
    failed = found.get("failed")
    if not isinstance(failed, dict):
        raise ValueError("it says something else")  # noqa: TRY004  # a file's content, no argument
    return {name: _failure(name, one) for name, one in failed.items()}


def _failure(name: str, found: Any) -> Failure:  # noqa: ANN401 - whatever the file holds
    if not _NAME.fullmatch(name) or not isinstance(found, dict):
        raise ValueError("it says something else")
    at, how = found.get("at"), found.get("how")
    if isinstance(at, bool) or not isinstance(at, (int, float)) or not 0 <= at < _LAST:
        raise ValueError("it has a time that is none")
    if how not in (*HOW.values(), UNFINISHED):
        raise ValueError("it says something else")
    return Failure(at=float(at), how=str(how))
