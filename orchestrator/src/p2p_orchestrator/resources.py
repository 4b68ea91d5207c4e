"""This machine's figures, cheap enough to ask at any time: sampled in the background, never on a request."""

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import psutil

Figures = Mapping[str, float | int | str | bool]
GIB = 1024**3
NVIDIA = Path("/proc/driver/nvidia/gpus")


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


def sample(path: Path) -> Figures:
    """Return use of CPU, memory and disk in percent and free disk in GiB, on the file system of `path`.

    CPU is the mean since the last call. May block where a network file system hangs: call it in a thread.
    """
    while not path.exists() and path != path.parent:
        path = path.parent
    disk = psutil.disk_usage(str(path))
    return MappingProxyType(
        {
            "cpu_percent": psutil.cpu_percent(interval=None),
            "memory_percent": psutil.virtual_memory().percent,
            "disk_percent": 100.0 * disk.used / disk.total if disk.total else 0.0,
            "disk_free_gb": disk.free / GIB,
        }
    )
