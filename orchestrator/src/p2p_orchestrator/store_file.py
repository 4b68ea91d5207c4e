"""One machine's files as the store: an exclusive lock says who may write, a file keeps each key."""

import asyncio
import fcntl
import json
import os
from pathlib import Path
from typing import IO

from p2p_orchestrator import reader
from p2p_orchestrator.errors import Exit, StartError
from p2p_orchestrator.reader import UnfitError
from p2p_orchestrator.store import EPOCH, LEADER, TERM, Entry, StoreError, Swap, View


class FileStore:
    """Keys in `<directory>/<key>.json`, written only by the process that holds `<directory>/lock`.

    The lock is held for the life of the process, so a record found when winning it is a dead process's.

    Args:
        directory: Where the files are; made if missing.

    Raises:
        StartError: The directory cannot be made or written.
    """

    kind = "file"

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._lock: IO[bytes] = (directory / "lock").open("ab")
        except OSError as error:
            reason = (
                f"cannot write to {directory}: {error.strerror}; set P2P_DATA_DIR to a writable directory"
            )
            raise StartError(Exit.DATA_DIR, reason) from error
        self._locked = False

    async def read(self) -> View:
        """Return the keys of the election."""
        return await asyncio.to_thread(self._read)

    async def get(self, key: str) -> Entry:
        """Return one key."""
        return await asyncio.to_thread(self._get, key)

    async def swap(self, swap: Swap) -> int | None:
        """Return the revision of the write, or None if the lock or a key was not as expected."""
        return await asyncio.to_thread(self._swap, swap)

    async def close(self) -> None:
        """Let go of the lock."""
        self._lock.close()

    def _read(self) -> View:
        self._own()
        return View(self._get(LEADER), self._get(TERM), self._get(EPOCH))

    def _own(self) -> bool:
        if not self._locked:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return False
            try:
                self._path(LEADER).unlink(missing_ok=True)
            except OSError as error:
                raise StoreError(f"cannot write to {self._directory}: {error.strerror}") from error
            self._locked = True
        return True

    def _path(self, key: str) -> Path:
        return self._directory / f"{key}.json"

    def _get(self, key: str) -> Entry:
        try:
            data = reader.decode(self._path(key).read_bytes())
            value = reader.text(data.get("value"), "value").encode()
            return Entry(value, reader.whole(data.get("revision"), "revision"))
        except FileNotFoundError:
            return Entry()
        except (OSError, UnfitError) as error:
            raise StoreError(f"{self._path(key)} cannot be read: {error!r}") from error

    def _swap(self, swap: Swap) -> int | None:
        if not self._own() or any(self._get(key) != entry for key, entry in swap.expect.items()):
            return None
        revision = 1 + max(self._get(key).revision for key in (LEADER, TERM, EPOCH, *swap.put))
        try:
            # The term first: a record must never name a term that a crash could bring back.
            for key in sorted(swap.put, key=lambda name: name != TERM):
                self._write(key, swap.put[key], revision)
            for key in swap.delete:
                self._path(key).unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"cannot write to {self._directory}: {error.strerror}") from error
        return revision

    def _write(self, key: str, value: bytes, revision: int) -> None:
        new = self._path(key).with_suffix(".new")
        with new.open("w") as file:
            json.dump({"revision": revision, "value": value.decode()}, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path(key))
        if key == TERM:
            directory = os.open(self._directory, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
