"""What a command costs the machine that it is started on: seconds, processor seconds, memory."""

from __future__ import annotations

import os
import statistics
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

# Looking takes a millisecond a process: often enough for a peak, seldom enough not to count.
LOOK = 0.3


class Cost(NamedTuple):
    """What a command cost.

    `wall` seconds, processor seconds (`cpu`) of the command with all its children, their peak `memory` in
    MiB; of a node in the mean processor seconds (`node_cpu`) and received kB (`node_kb`), 0 where nobody
    looked.
    """

    wall: float
    cpu: float
    memory: float
    node_cpu: float = 0.0
    node_kb: float = 0.0


class FailedError(Exception):
    """A command did not do what it was started for; the message ends with its last words."""


def median(costs: Sequence[Cost]) -> Cost:
    """Return the medians of each figure."""
    return Cost(*(statistics.median(column) for column in zip(*costs, strict=True)))


def _memory(process: psutil.Process) -> float:
    """Return the memory of a process and its children in MiB, shared pages counted once."""
    total = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            # What a worker shares with its parent is divided among them.
            text = Path(f"/proc/{one.pid}/smaps_rollup").read_text(encoding="ascii")
        except OSError:
            continue  # it has ended
        total += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
    return total / 1024


def run(words: Sequence[str], folder: Path, environment: Mapping[str, str]) -> tuple[Cost, str]:
    """Run a command to its end.

    Args:
        words: the command.
        folder: where it runs.
        environment: variables besides the present ones.

    Returns:
        What it cost, and what it printed.

    Raises:
        FailedError: if its exit code is not 0.
    """
    peak = [0.0]
    ended = threading.Event()
    began = time.monotonic()
    process = subprocess.Popen(
        words,
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )

    def watch() -> None:
        try:
            watched = psutil.Process(process.pid)
            while not ended.wait(LOOK):
                peak[0] = max(peak[0], _memory(watched))
        except psutil.Error:
            return  # it has ended

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    wall = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    ended.set()
    watcher.join()
    if process.returncode:
        raise FailedError(f"{' '.join(words)} ended with {process.returncode}:\n{output[-4000:]}")
    return Cost(wall, used.ru_utime + used.ru_stime, peak[0] or used.ru_maxrss / 1024), output
