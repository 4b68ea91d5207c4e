"""What kind of machine a node is: platform, disk, memory, clock, user, interpreters."""

from __future__ import annotations

import ctypes
import os
import pwd
import sys
import time
from typing import Any, Dict, List, Optional

from .p2p_python import PythonError, ask, candidates, others_own, version_by_name
from .p2p_run import run

_TIME_ERROR = 5  # of adjtimex(2): the clock is not synchronised


def _os_release() -> Dict[str, str]:
    found: Dict[str, str] = {}
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        try:
            with open(path, encoding="utf-8") as handle:
                for line in handle:
                    key, _, value = line.strip().partition("=")
                    found[key] = value.strip("\"'")
        except OSError:
            continue
        break
    return found


def container() -> Optional[str]:
    """Return what contains this node (`docker`, `lxc`, ...), or None if nothing that can be told."""
    try:
        with open("/proc/1/environ", "rb") as handle:
            for pair in handle.read().split(b"\0"):
                if pair.startswith(b"container="):
                    return pair[10:].decode("ascii", "replace")
    except OSError:
        pass
    if os.path.exists("/.dockerenv"):
        return "docker"
    return "podman" if os.path.exists("/run/.containerenv") else None


def _libc() -> Optional[str]:
    """Return the C library that wheels are made for, `glibc 2.36` or `musl`, or None if it is neither."""
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or None
    except (ValueError, OSError):
        return "musl" if os.path.exists("/lib/ld-musl-%s.so.1" % os.uname().machine) else None


def describe_platform() -> Dict[str, Any]:
    """Return the operating system, the machine and what contains it."""
    release = _os_release()
    return {
        "system": os.uname().sysname,
        "distribution": release.get("ID") or os.uname().sysname.lower(),
        "version": release.get("VERSION_ID") or os.uname().release,
        "kernel": os.uname().release,
        "machine": os.uname().machine,
        "libc": _libc(),
        "hostname": os.uname().nodename,
        "container": container(),
        "cpus": os.cpu_count(),
    }


def describe_user() -> Dict[str, Any]:
    """Return who the module runs as; `sudo`: whether it may be root without a password (None if it is)."""
    uid = os.geteuid()
    try:
        entry = pwd.getpwuid(uid)
        name, home = entry.pw_name, entry.pw_dir
    except KeyError:
        name, home = str(uid), os.environ.get("HOME", "/")
    sudo = None if uid == 0 else run(["sudo", "-n", "true"], 5).code == 0
    return {"name": name, "uid": uid, "home": home, "root": uid == 0, "sudo": sudo}


def describe_pythons(wish: Optional[str] = None) -> List[Dict[str, Any]]:
    """Return the interpreters found, the newest first.

    Args:
        wish: one to name before all others, which may lie anywhere.

    Returns:
        Each with `path`, `version` (`3.11`; None if it does not run) and `named` (whether it is the wish).
        One whose name does not tell its version is asked, and so is a script: those of pyenv are there for
        Pythons that do not run. Root asks none that is not its own: whoever may exchange it would be root.
    """
    others = [path for path in candidates() if path != wish]
    found = [{"path": path, "version": _told(path), "named": False} for path in others]
    return ([{"path": wish, "version": _version(wish), "named": True}] if wish else []) + found


def _told(path: str) -> Optional[str]:
    by_name = None if _is_script(path) else version_by_name(path)
    return by_name or (None if os.geteuid() == 0 and others_own(path) else _version(path))


def _is_script(path: str) -> bool:
    try:
        with open(path, "rb") as handle:
            return handle.read(2) == b"#!"
    except OSError:
        return False


def _version(path: str) -> Optional[str]:
    try:
        return "%d.%d" % ask(path, 5).version[:2]
    except PythonError:
        return None


def describe_disk(path: str) -> Dict[str, Any]:
    """Return the file system below `path` (or its nearest existing parent), in MiB."""
    while not os.path.isdir(path):
        path = os.path.dirname(path) or "/"
    found = os.statvfs(path)
    total, free = found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
    return {
        "path": path,
        "total_mb": total >> 20,
        "free_mb": free >> 20,
        "used_percent": round(100.0 * (1 - free / total), 1) if total else 0.0,
        "inodes_free": found.f_favail if found.f_files else None,
    }


def describe_memory() -> Dict[str, Any]:
    """Return the memory and the load of the last minute; None where the system does not tell."""
    numbers: Dict[str, int] = {}
    try:
        with open("/proc/meminfo", encoding="ascii") as handle:
            for line in handle:
                key, _, value = line.partition(":")
                if key in ("MemTotal", "MemAvailable"):
                    numbers[key] = int(value.split()[0]) >> 10
    except OSError:
        pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        numbers["MemTotal"] = pages >> 20
    return {
        "total_mb": numbers.get("MemTotal"),
        "available_mb": numbers.get("MemAvailable"),
        "load": round(os.getloadavg()[0], 2),
    }


def _synchronised() -> Optional[bool]:
    """Ask the kernel whether a time service steers its clock: adjtimex(2), which anyone may read."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        # struct timex is 208 bytes on every Linux; modes = 0 changes nothing.
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(512))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != _TIME_ERROR


def describe_clock() -> Dict[str, Any]:
    """Return the wall clock (seconds since the epoch), if it is synchronised, and the uptime (seconds)."""
    uptime: Optional[float] = None
    try:
        with open("/proc/uptime", encoding="ascii") as handle:
            uptime = float(handle.read().split()[0])
    except OSError:
        pass
    return {"unix": time.time(), "synchronised": _synchronised(), "uptime_seconds": uptime}
