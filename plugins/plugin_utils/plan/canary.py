"""The controller's memory of canaries that did not do well, so that one node cannot hold back every run."""

from __future__ import annotations

import fcntl
import json
import os
import re
import stat
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypedDict

from ansible_collections.p2p.cluster.plugins.plugin_utils.door.words import NODE_NAME

SCHEMA = 1
# What became of a canary, as `p2p_outcome` calls it, and as the memory does.
HOW = {"failed": "failed", "unreachable": "lost"}
UNFINISHED = "unfinished"
_NAME = re.compile(NODE_NAME)
_LONGEST = 1 << 20  # bytes
_LAST = 1 << 37  # seconds since the epoch; a calendar ends in the year 9999


class Failure(TypedDict):
    """`at` in seconds since the epoch; `how` is `failed`, `lost`, or `unfinished` if its run never ended."""

    at: float
    how: str


Failures = dict[str, Failure]


def recall(path: Path, cluster: str) -> tuple[Failures, str]:
    """Return the canaries that did not do well, by node, and a warning if the file is not used.

    Args:
        path: The memory's file.
        cluster: Whose it has to be.
    """
    try:
        return _parsed(_read(path), cluster), ""
    except FileNotFoundError:
        return {}, ""
    except (OSError, ValueError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return {}, f"{path} is no memory of the canaries of {cluster} ({why}), and is not used: remove it"


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
    with _locked(path.parent):
        failed = {name: one for name, one in recall(path, cluster)[0].items() if name in fleet}
        failed |= {name: Failure(at=now, how=UNFINISHED) for name in begun}
        for name, state in (ended or {}).items():
            if state == "changed":
                failed.pop(name, None)
            elif state in HOW:
                failed[name] = Failure(at=now, how=HOW[state])
        text = json.dumps({"schema": SCHEMA, "cluster": cluster, "failed": failed}, indent=1, sort_keys=True)
        handle, fresh = tempfile.mkstemp(prefix=".new-", dir=path.parent)  # it is made 0600
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text + "\n")
                file.flush()
                os.fsync(file.fileno())
            Path(fresh).replace(path)
        except BaseException:
            Path(fresh).unlink(missing_ok=True)
            raise


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Make a folder that is this user's alone, and hold it against other runs."""
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        found = os.fstat(handle)
        if found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise PermissionError(1, "others can enter it: chmod 700", str(folder))
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _read(path: Path) -> str:
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise ValueError("it is not a file of this user alone, chmod 600")
        data = file.read(_LONGEST + 1)
    if len(data) > _LONGEST:
        raise ValueError("it is too long")
    return data.decode()


def _parsed(text: str, cluster: str) -> Failures:
    found: Any = json.loads(text)
    failed = found.get("failed") if isinstance(found, dict) else None
    if not isinstance(failed, dict) or found.get("schema") != SCHEMA:
        raise ValueError("it says something else")
    if found.get("cluster") != cluster:
        raise ValueError("it is another cluster's")
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
