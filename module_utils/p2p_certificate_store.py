"""The directory of certificates as files: whole ones, private, under a lock."""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
import time
from pathlib import Path

from .p2p_certificate_names import CertificateError

TEMPORARY = ".new-"


class Store:
    """The directory: reads, and writes whole files by rename, under a lock on the directory itself.

    Args:
        root: the directory.
        writable: False in check mode, where nothing is made.
    """

    def __init__(self, root: Path, *, writable: bool) -> None:
        self.root = root
        self.writable = writable
        self.leaves = root / "leaves"
        self._lock: int | None = None

    def open(self, seconds: float) -> None:
        """Make the directory if need be, check who can enter it, and lock it.

        Raises:
            CertificateError: others can enter it, it belongs to someone else, it is no directory, or another
                run holds it for longer than `seconds`.
        """
        try:
            if self.writable:
                self._make(self.leaves)
            if not self.root.exists():
                return
            for folder in (self.root, self.leaves):
                if folder.exists():
                    self._check(folder)
            self._lock = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise CertificateError(
                f"{error.filename or self.root}: {error.strerror}. Make it a folder of your own (chmod 700 "
                f"{self.root}), or set P2P_STATE_DIR elsewhere."
            ) from error
        self._wait(seconds)
        if self.writable:
            for folder in (self.root, self.leaves):
                for left_over in folder.glob(TEMPORARY + "*"):
                    left_over.unlink()

    def close(self) -> None:
        """Let the next run in."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def read(self, path: Path) -> bytes | None:
        """Return a file's content, None if it is not there.

        Raises:
            CertificateError: it cannot be read, or others can read it.
        """
        try:
            with path.open("rb") as file:
                if os.fstat(file.fileno()).st_mode & 0o077:
                    raise CertificateError(f"{path}: others can read this file. Run: chmod 600 {path}")
                return file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CertificateError(
                f"{path}: {error.strerror}. Run: chmod 600 {path}, as its owner."
            ) from error

    def write(self, path: Path, data: bytes, *, durable: bool = True) -> None:
        """Replace a file in one step; `durable` waits until the disk has it.

        A leaf is not worth the wait: one lost to a power cut is issued again.

        Raises:
            CertificateError: it cannot be written; what was there before is untouched.
        """
        try:
            handle, name = tempfile.mkstemp(prefix=TEMPORARY, dir=path.parent)  # mkstemp makes it 0600
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            Path(name).replace(path)
            if durable:
                folder = os.open(path.parent, os.O_RDONLY)
                try:
                    os.fsync(folder)
                finally:
                    os.close(folder)
        except OSError as error:
            raise CertificateError(f"{path} cannot be written: {error.strerror}.") from error

    def _make(self, folder: Path) -> None:
        """Make a folder and the missing ones above it, for this user alone."""
        missing = [f for f in (folder, *folder.parents) if not f.exists()]
        for each in reversed(missing):
            each.mkdir(mode=0o700, exist_ok=True)

    def _check(self, folder: Path) -> None:
        """Refuse a folder that others own or can enter."""
        info = folder.stat()
        if not stat.S_ISDIR(info.st_mode):
            raise CertificateError(f"{folder} is not a folder. Set P2P_STATE_DIR elsewhere.")
        if info.st_uid != os.getuid():
            raise CertificateError(
                f"{folder} belongs to user {info.st_uid}, and this runs as {os.getuid()}. "
                f"Run: chown -R {os.getuid()} {folder}"
            )
        if info.st_mode & 0o077:
            raise CertificateError(
                f"{folder} has mode {stat.S_IMODE(info.st_mode):04o}: others can enter it. "
                f"Run: chmod 700 {folder}"
            )

    def _wait(self, seconds: float) -> None:
        """Take the lock, exclusively to write and shared to look."""
        how = (fcntl.LOCK_EX if self.writable else fcntl.LOCK_SH) | fcntl.LOCK_NB
        until = time.monotonic() + seconds
        while not self._try_lock(how):
            if time.monotonic() > until:
                self.close()
                raise CertificateError(
                    f"{self.root}: another run has held it for {seconds:g} s. Run this again when it ended."
                )
            time.sleep(0.1)

    def _try_lock(self, how: int) -> bool:
        assert self._lock is not None  # noqa: S101 - for the type checker; open() has just set it
        try:
            fcntl.flock(self._lock, how)
        except BlockingIOError:
            return False
        return True
