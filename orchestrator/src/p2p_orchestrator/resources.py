"""This machine's figures, cheap enough to ask at any time: sampled in the background, never on a request."""

import contextlib
import os
import resource
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import psutil

from p2p_orchestrator.limits import GIB, MEMORY_BYTES

Figures = Mapping[str, float | int | str | bool]
MAC_FILES = 10_240
"""OPEN_MAX, the most that macOS takes."""
NVIDIA = Path("/proc/driver/nvidia/gpus")


def allow_files() -> None:
    """Use all file descriptors that this process may have: a voter holds a connection to every node."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):
        # macOS has no limit by default, and refuses to be without one.
        unbounded = resource.RLIM_INFINITY
        enough = MAC_FILES if hard == unbounded else min(hard, MAC_FILES)
        if soft != unbounded and soft < enough:
            with contextlib.suppress(OSError, ValueError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (enough, hard))


def bound_memory() -> None:
    """Let an allocation fail rather than take what others on this machine need; a lower bound stays.

    It is the process's own: jobs that share its control group are not counted.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if soft == resource.RLIM_INFINITY:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, hard))


def give_back() -> None:
    """Give freed memory back to the system: the C library keeps what lies between what is used."""
    # Where code may not be made at run time, the import may fail, too.
    with contextlib.suppress(Exception):
        import ctypes  # noqa: PLC0415  # of no use to a node that is left in peace

        ctypes.CDLL(None).malloc_trim(0)


def _gpu_name() -> str:
    try:
        for path in sorted(NVIDIA.glob("*/information")):
            for line in path.read_text().splitlines():
                if line.startswith("Model:"):
                    return line.partition(":")[2].strip()
    except OSError:
        return ""
    return ""


def fixed() -> Figures:
    """Return what does not change while the program runs: cores, memory in GiB, the graphics card's name."""
    name = _gpu_name()
    return MappingProxyType(
        {
            "cpu_count": os.cpu_count() or 1,
            "memory_gb": int(psutil.virtual_memory().total / GIB),
            "has_gpu": bool(name),
            "gpu_name": name,
        }
    )


def _disk(path: Path) -> tuple[float, float]:
    """Return use in percent and free GiB where `path` is, or its nearest parent that can be looked at."""
    for candidate in (path, *path.parents):
        try:
            disk = psutil.disk_usage(str(candidate))
        except OSError:  # it is not there, or in another user's home
            continue
        return (100.0 * disk.used / disk.total if disk.total else 0.0, disk.free / GIB)
    return (0.0, 0.0)


def sample(path: Path) -> Figures:
    """Return use of CPU, memory and disk in percent and free disk in GiB, on the file system of `path`.

    CPU is the mean since the last call. May block where a network file system hangs: call it in a thread.
    """
    disk_percent, disk_free_gb = _disk(path)
    return MappingProxyType(
        {
            "cpu_percent": psutil.cpu_percent(interval=None),
            "memory_percent": psutil.virtual_memory().percent,
            "disk_percent": disk_percent,
            "disk_free_gb": disk_free_gb,
        }
    )
