"""Small files of this user alone that later runs read, in folders of this user alone."""

from __future__ import annotations

import fcntl
import json
import os
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

Known = TypeVar("Known")
SCHEMA = 1
_LONGEST = 1 << 20  # bytes


def load(path: Path, cluster: str) -> dict[str, Any]:
    """Return what a file remembers.

    Args:
        path: The file.
        cluster: Whose it has to be.

    Raises:
        FileNotFoundError: There is none.
        OSError: It cannot be read.
        ValueError: It is not this user's alone, too long, or none of this cluster's.
        RecursionError: It is nested too deeply.
    """
    found: Any = json.loads(_read(path))
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise ValueError("it says something else")
    if found.get("cluster") != cluster:
        raise ValueError("it is another cluster's")
    return found


def recalled(
    path: Path, cluster: str, read: Callable[[Mapping[str, Any]], Known], nothing: Known, what: str
) -> tuple[Known, str]:
    """Return what a file remembers, and why it cannot be used, or nothing.

    Args:
        path: The file.
        cluster: Whose it has to be.
        read: Makes it of the file's content; a ValueError says that it says something else.
        nothing: What is known without a file.
        what: The name of what is remembered, for the reason.
    """
    try:
        return read(load(path, cluster)), ""
    except FileNotFoundError:
        return nothing, ""
    except (OSError, ValueError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return nothing, f"{path} is no memory of {what} of {cluster} ({why})"


def keep(path: Path, cluster: str, known: Mapping[str, Any]) -> None:
    """Replace a file in one step; the caller holds its folder with `locked`.

    Raises:
        OSError: It cannot be written.
    """
    text = json.dumps({"schema": SCHEMA, "cluster": cluster, **known}, indent=1, sort_keys=True)
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
def locked(folder: Path) -> Iterator[None]:
    """Make a folder that is this user's alone, and hold it against other runs.

    Raises:
        OSError: It cannot be made, or is not this user's alone.
    """
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
