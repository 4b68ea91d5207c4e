"""Brings a file from a node: to a path that the controller made up, of the size that the module told."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import shlex
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from ansible.errors import AnsibleActionFail

from .action import Door

# Two MiB are less than three as base64, and the connection cuts an answer at four.
CHUNK = 2 << 20
# etcd's own largest database.
LARGEST = 8 << 30
SECONDS_A_CHUNK = 60
# Runs a shell command on the node: exit code and output.
Run = Callable[[str], tuple[int, str]]


def fetch(run: Run, source: str, target: Path, *, size: int, sha256: str) -> None:
    """Bring a file.

    Args:
        run: runs a command on the node as whoever may read the file.
        source: its path there, one that the controller made up.
        target: where it goes; it must not be there, and lies in a folder of this user's own.
        size: bytes, as the module told.
        sha256: of its contents, in hexadecimal, as the module told.

    Raises:
        AnsibleActionFail: what arrives is too large, too slow, or not what was told; nothing is left then.
        OSError: the file cannot be written.
    """
    if size > LARGEST:
        raise AnsibleActionFail(f"a file of {size} bytes is none of ours: at most {LARGEST} are fetched")
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as handle:
            found = _receive(run, source, handle, size)
        _compare(target, found, sha256)
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def _receive(run: Run, source: str, handle: BinaryIO, size: int) -> str:
    """Write what arrives, `size` bytes and no more, and return its SHA-256."""
    chunks, found, left = -(-size // CHUNK), hashlib.sha256(), size
    deadline = time.monotonic() + SECONDS_A_CHUNK * (chunks + 1)
    for number in range(chunks):
        data = _chunk(run, source, number)
        left -= len(data)
        if len(data) > CHUNK or left < 0 or time.monotonic() > deadline:
            raise AnsibleActionFail(f"{source} arrives larger or later than the node told")
        handle.write(data)
        found.update(data)
    return found.hexdigest() if left == 0 else ""


def _compare(target: Path, found: str, sha256: str) -> None:
    if found != sha256:
        raise AnsibleActionFail(f"{target.name} did not arrive whole: run again")


def _chunk(run: Run, source: str, number: int) -> bytes:
    words = f"dd if={shlex.quote(source)} bs={CHUNK} skip={number} count=1 2>/dev/null | base64"
    code, text = run(words)
    if code != 0:
        raise AnsibleActionFail(f"{source} cannot be read on the node")
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except binascii.Error:
        raise AnsibleActionFail(f"{source} arrives as something else than base64") from None


class Fetching(Door):
    """Runs a module that leaves files, and fetches them."""

    TRANSFERS_FILES = True

    def fetch(self, source: str, target: Path, told: Mapping[str, Any]) -> None:
        """Bring a file.

        Args:
            source: its path on the node, made up here.
            target: where it goes.
            told: `size` and `sha256`, as the module told.

        Raises:
            AnsibleActionFail, OSError: as `fetch`.
        """

        def run(command: str) -> tuple[int, str]:
            done = self._low_level_execute_command(command)
            return done["rc"], done["stdout"]

        fetch(run, source, target, size=told["size"], sha256=told["sha256"])
