"""Folders and files, reached and handed over without following a link that somebody else can have made."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import Iterator, List, Optional

_CLOSED = os.O_NOFOLLOW | os.O_CLOEXEC
# A folder on the way need not be readable.
_WALK = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | _CLOSED
_MOST_LINKS = 40
_SCRATCH = "/var/tmp"  # noqa: S108  # a folder of this run's own is made there; /tmp may be in memory


def planted(folder: os.stat_result, link: os.stat_result) -> bool:
    """Tell whether a link in a folder can be there by another user than root and who runs this."""
    ours = (0, os.geteuid())
    closed = not folder.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return folder.st_uid not in ours or not (closed or link.st_uid in ours)


def _parts(path: str) -> List[str]:
    return [part for part in reversed(path.split("/")) if part not in ("", ".")]


def _step(folder: int, name: str, make: bool) -> int:
    try:
        return os.open(name, _WALK, dir_fd=folder)
    except FileNotFoundError:
        if not make:
            raise
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o755, dir_fd=folder)
    return os.open(name, _WALK, dir_fd=folder)


def _target(folder: int, name: str, path: str) -> Optional[str]:
    """Return where a link leads, None if it is no link.

    Raises:
        ValueError: if another user can have put it there.
    """
    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if not stat.S_ISLNK(found.st_mode):
        return None
    if planted(os.fstat(folder), found):
        raise ValueError(
            "%s: %s is a link that another user than root can have put there: put the folder itself there, or"
            " name the one that is meant" % (path, name)
        )
    return os.readlink(name, dir_fd=folder)


def _walk(path: str, make: bool) -> int:
    if not os.path.isabs(path):
        raise ValueError("%s: the path must be absolute" % path)
    todo, folder, links = _parts(path), os.open("/", _WALK), 0
    try:
        while todo:
            name = todo.pop()
            try:
                below = _step(folder, name, make)
            except FileNotFoundError:
                raise
            except OSError:
                target = _target(folder, name, path)
                links += 1
                if target is None or links > _MOST_LINKS:
                    raise
                todo += _parts(target)
                below = os.open("/" if target.startswith("/") else ".", _WALK, dir_fd=folder)
            os.close(folder)
            folder = below
    except BaseException as error:
        os.close(folder)
        if isinstance(error, OSError):
            error.filename = path
        raise
    return folder


@contextlib.contextmanager
def opened_folder(path: str, make: bool = False) -> Iterator[int]:
    """Yield a descriptor of a folder to work in by `dir_fd`, whatever others put in its place meanwhile.

    Args:
        path: absolute. Links on the way are followed where only root or who runs this can have made them.
        make: whether what is missing of it is made.

    Raises:
        ValueError: naming a link that another user can have put there.
        OSError: if it is not there, or something else is.
    """
    folder = _walk(path, make)
    try:
        yield folder
    finally:
        os.close(folder)


def check_folder(path: str) -> None:
    """Refuse a folder that is reached through a link of somebody else's; one that is not there yet is none.

    Raises:
        ValueError: naming the link.
    """
    with contextlib.suppress(OSError), opened_folder(path):
        pass


def open_plain(path: str, folder: Optional[int] = None) -> int:
    """Return a descriptor to read a regular file by, never one that a link leads to.

    Args:
        path: the file; its last part is not followed.
        folder: descriptor of the folder that `path` is relative to.

    Raises:
        OSError: if there is none.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | _CLOSED, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError("%s is not a regular file" % path)
    return handle


def real_script(path: str) -> str:
    """Return the file that a link stands for; the link itself if another user can have put it there."""
    for _ in range(_MOST_LINKS):
        target = None
        with contextlib.suppress(OSError, ValueError), opened_folder(os.path.dirname(path)) as folder:
            target = _target(folder, os.path.basename(path), path)
        if target is None:
            break
        path = os.path.join(os.path.dirname(path), target)
    return path


@contextlib.contextmanager
def scratch() -> Iterator[str]:
    """Yield a folder of this run alone, which is removed afterwards."""
    import shutil  # noqa: PLC0415  the probe, which makes none, need not load them
    import tempfile  # noqa: PLC0415

    folder = tempfile.mkdtemp(prefix="p2p-", dir=_SCRATCH if os.path.isdir(_SCRATCH) else None)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def hand_over(source: str, path: str) -> None:
    """Move a file of one's own into somebody's folder, whom it belongs to from then on.

    Raises:
        ValueError: naming a link on the way that another user can have put there.
        OSError: if it cannot be moved.
    """
    import shutil  # noqa: PLC0415

    name = os.path.basename(path)
    with opened_folder(os.path.dirname(path)) as folder:
        owner = os.fstat(folder)
        try:
            # Nobody else can enter the folder where it is now.
            os.chown(source, owner.st_uid, owner.st_gid, follow_symlinks=False)
            os.rename(source, name, dst_dir_fd=folder)
        except OSError:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _CLOSED
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)
            new = os.open(name, flags, 0o600, dir_fd=folder)
            with os.fdopen(new, "wb") as out, open(source, "rb") as whole:
                shutil.copyfileobj(whole, out)
                os.fchown(out.fileno(), owner.st_uid, owner.st_gid)
            os.unlink(source)


def give(folder: str, uid: int, gid: int) -> None:
    """Give a folder and all in it to a user, who gets into it last.

    From the inside out, by descriptors: whoever has got a folder can put links into it.
    """
    for _, folders, files, handle in os.fwalk(folder, topdown=False):
        for name in (*folders, *files):
            os.chown(name, uid, gid, dir_fd=handle, follow_symlinks=False)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        os.fchmod(handle, 0o700)
        os.fchown(handle, uid, gid)
    finally:
        os.close(handle)
