"""Looks at agents while something happens to them: their pages, memory, and waiting for a core."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psutil

from tests.integration.orchestrator.cluster import Agent, now

EVERY_SECONDS = 0.5
SETTLE_SECONDS = 6.0
MIB = 2**20
TELLS = Path("/proc/self/schedstat")


@dataclass(frozen=True)
class Look:
    """What an agent answered.

    Attributes:
        at: When it was asked.
        seconds: How long the answer took.
        waited: For how much of that the agent or the one who asked waited for a core.
        page: The page, empty without one.
    """

    at: float
    seconds: float
    waited: float
    page: dict[str, Any]

    @property
    def own(self) -> float:
        """Return how long the answer took but for what others did with the machine."""
        return max(0.0, self.seconds - self.waited)


def delay(*tasks: str) -> float:
    """Return how many seconds these threads were ready to run and did not; 0 where no kernel tells."""
    total = 0.0
    for task in tasks:
        with suppress(OSError, ValueError, IndexError):
            total += int(Path(f"/proc/{task}/schedstat").read_text().split()[1]) / 1e9
    return total


def used(pid: int) -> float:
    """Return how many seconds of a core a process has had."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def resident(pid: int) -> float:
    """Return a process's memory in MiB."""
    return float(psutil.Process(pid).memory_info().rss) / MIB


class Watch:
    """Asks an agent for its page twice a second, in a thread."""

    def __init__(self, agent: Agent) -> None:
        assert agent.process is not None
        self.agent = agent
        self.pid = agent.process.pid
        self.looks: list[Look] = []
        self.most = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        tasks = (str(self.pid), f"self/task/{threading.get_native_id()}")
        while not self._stop.wait(EVERY_SECONDS):
            begin, before = now(), delay(*tasks)
            code, page = self.agent.get("/status?alive_only=false", 30.0)
            took, waited = now() - begin, delay(*tasks) - before
            self.looks.append(Look(begin, took, waited, page if code == 200 else {}))
            with suppress(psutil.Error):
                self.most = max(self.most, resident(self.pid))


def settled(pids: Mapping[str, int], enough: Mapping[str, float]) -> dict[str, float]:
    """Return the least memory of each process within a few seconds; at once if all of it is little enough."""
    end, least = now() + SETTLE_SECONDS, {name: resident(pid) for name, pid in pids.items()}
    while now() < end and any(least[name] > enough.get(name, 0.0) for name in pids):
        time.sleep(EVERY_SECONDS)
        least = {name: min(least[name], resident(pid)) for name, pid in pids.items()}
    return least
