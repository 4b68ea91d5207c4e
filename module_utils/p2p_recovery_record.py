"""Which run recovers the store, kept in a file on a voter: it takes no store to hold it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
from typing import Any, Dict, Iterator, Mapping, Optional

from .p2p_folders import open_plain, opened_folder

_LONGEST = 1 << 16  # bytes


class HeldError(Exception):
    """This run does not hold the record; `record` says who does, None if nobody."""

    def __init__(self, record: Optional[Mapping[str, Any]]) -> None:
        super().__init__()
        self.record = record


def read(path: str) -> Optional[Dict[str, Any]]:
    """Return what the record holds, None if nobody holds it.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is none.
    """
    try:
        with opened_folder(os.path.dirname(path)) as folder:
            return _read(path, folder)
    except FileNotFoundError:
        return None


def look(path: str, run: Mapping[str, Any], breaking: str, *, anew: bool) -> Dict[str, Any]:
    """Return what the record would hold. The arguments and errors are those of `hold`."""
    return _ours(read(path), run, breaking, anew)


def hold(path: str, run: Mapping[str, Any], breaking: str, *, anew: bool) -> Dict[str, Any]:
    """Take the record, or see that this run holds it, and return it.

    Args:
        path: the record; its folder is made if need be, and has to be this user's alone.
        run: who takes it, with its `id`.
        breaking: `id` of a run whose record is replaced.
        anew: whether it is taken if nobody holds it.

    Raises:
        HeldError: if another run holds it, or nobody where it is not taken anew.
        OSError: if it cannot be written.
        ValueError: if what is there is no record, or the folder is somebody else's.
    """
    with _locked(path) as folder:
        record = _ours(_read(path, folder), run, breaking, anew)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(".new", flags, 0o600, dir_fd=folder), "w") as file:
            json.dump(record, file, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        os.replace(".new", os.path.basename(path), src_dir_fd=folder, dst_dir_fd=folder)
        os.fsync(folder)
    return record


def release(path: str, run: Mapping[str, Any]) -> Optional[Dict[str, Any]]:
    """Give the record back if this run holds it, and return what it holds then.

    Raises:
        OSError: if it cannot be removed.
        ValueError: if what is there is no record, or the folder is somebody else's.
    """
    if read(path) is None:
        return None
    with _locked(path) as folder:
        record = _read(path, folder)
        if record is None or record["id"] != run["id"]:
            return record
        os.unlink(os.path.basename(path), dir_fd=folder)
        os.fsync(folder)
    return None


def _ours(
    record: Optional[Dict[str, Any]], run: Mapping[str, Any], breaking: str, anew: bool
) -> Dict[str, Any]:
    if record is None and not anew:
        raise HeldError(None)
    if record is not None and record["id"] not in (run["id"], breaking):
        raise HeldError(record)
    return dict(run)


def _read(path: str, folder: int) -> Optional[Dict[str, Any]]:
    try:
        with os.fdopen(open_plain(os.path.basename(path), folder), "rb") as file:
            text = file.read(_LONGEST)
    except FileNotFoundError:
        return None
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        record = None
    if isinstance(record, dict) and isinstance(record.get("id"), str):
        return record
    raise ValueError("%s is no record of a run: remove it if no recovery goes on" % path)


@contextlib.contextmanager
def _locked(path: str) -> Iterator[int]:
    """Yield the record's folder, and hold it against other runs meanwhile."""
    place, name = os.path.split(os.path.dirname(path))
    with opened_folder(place, make=True) as above:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=above)
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        folder = os.open(name, flags, dir_fd=above)
    try:
        found = os.fstat(folder)
        if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ValueError("%s: others can enter it: chmod 700" % os.path.dirname(path))
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield folder
    finally:
        os.close(folder)
