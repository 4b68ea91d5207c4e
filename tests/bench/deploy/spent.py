"""What a run costs the lab's nodes: processor seconds of their containers, and what they are sent."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

PREFIX = "p2p-lab-"
_CGROUPS = Path("/sys/fs/cgroup")


class Spent(NamedTuple):
    """Of all nodes together, since their containers started: processor seconds, and received bytes."""

    cpu: float
    received: int


def spent(nodes: Sequence[str]) -> Spent:
    """Return what the lab's nodes of some names have spent so far.

    Raises:
        OSError: one of them does not run.
    """
    words = ["docker", "inspect", "--format", "{{.Id}} {{.State.Pid}}", *(PREFIX + name for name in nodes)]
    told = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    each = [(line.split()[0], int(line.split()[1])) for line in told.splitlines()]
    return Spent(sum(_cpu(name) for name, _ in each), sum(_received(pid) for _, pid in each))


def _cpu(container: str) -> float:
    old = _CGROUPS / "cpuacct/docker" / container / "cpuacct.usage"
    if old.exists():
        return int(old.read_text(encoding="ascii")) / 1e9
    for new in (f"system.slice/docker-{container}.scope", f"docker/{container}"):
        statistics = _CGROUPS / new / "cpu.stat"
        if statistics.exists():
            words = statistics.read_text(encoding="ascii").split()
            return int(words[words.index("usage_usec") + 1]) / 1e6
    raise FileNotFoundError(f"no cgroup of the container {container}")


def _received(pid: int) -> int:
    lines = Path(f"/proc/{pid}/net/dev").read_text(encoding="ascii").splitlines()[2:]
    counts = {name.strip(): int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    return sum(count for name, count in counts.items() if name != "lo")
