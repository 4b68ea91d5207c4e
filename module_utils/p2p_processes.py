"""Processes that are an orchestrator, and who listens on its port."""

from __future__ import annotations

import os
import re
import sys
import time
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from .p2p_files import owner_name
from .p2p_listening import listening
from .p2p_run import run

PROGRAM = "p2p_orchestrator"
# The table of cron of who runs this, where others are files.
CRONTAB = "crontab"
# See proc(5): fields of /proc/<pid>/stat after the name, of /proc/<pid>/cgroup.
_STATE, _PARENT, _STARTED = 0, 1, 19
_CGROUP_FIELDS, _PS_FIELDS = 3, 5
_NSPID_ALONE = 2  # the key and one id
# Units whose cgroup holds what people started by hand, or what cron started.
_STARTS_OURS = re.compile(r"^# BEGIN p2p-cluster .*?^# END p2p-cluster [^\n]*$", re.MULTILINE | re.DOTALL)
_SHELLS = re.compile(r"^(sshd?|cron|crond|docker|containerd|user@\d+|dropbear|vast.*|runpod.*)\.service$")


class Process(NamedTuple):
    """One process."""

    pid: int
    parent: int
    uid: int
    started: float  # seconds since the epoch
    words: List[str]
    unit: Optional[str]  # the systemd service that it belongs to


def is_orchestrator(words: Sequence[str]) -> bool:
    """Tell by its command line whether a process is an orchestrator, ours or the original.

    An editor, a shell or a grep that merely names the program is none.

    Args:
        words: the process's arguments.
    """
    name = os.path.basename(words[0]) if words else ""
    if not re.match(r"(python[\d.]*|pypy[\d.]*)$", name.lower()):
        return name == PROGRAM
    # The first word that is no option is the script; -m names a module, -c brings its program along.
    for at, word in enumerate(words[1:], 1):
        if word in ("-m", "-c"):
            return word == "-m" and list(words[at + 1 : at + 2]) == [PROGRAM]
        if not word.startswith("-"):
            return os.path.basename(word) in (PROGRAM, PROGRAM + ".py")
    return False


def unit_of(cgroups: str) -> Optional[str]:
    """Return the systemd service in the text of /proc/<pid>/cgroup, or None."""
    for line in cgroups.splitlines():
        fields = line.split(":", 2)
        if len(fields) == _CGROUP_FIELDS and (fields[1] == "name=systemd" or fields[0] == "0"):
            services = [part for part in fields[2].split("/") if part.endswith(".service")]
            if services:
                return services[-1]
    return None


def contained(status: str) -> bool:
    """Tell from the text of /proc/<pid>/status whether a process runs in a container on this node.

    It has an id there too, and belongs to another node, if to any.
    """
    return any(line.startswith("NSpid:") and len(line.split()) > _NSPID_ALONE for line in status.splitlines())


def kind_of(process: Process, service: str, root: str, systemd: bool, mine: Sequence[int] = ()) -> str:
    """Return whose an orchestrator is: `ours`, `legacy` (another service's) or `manual` (by hand or cron).

    Args:
        process: it.
        service: the name of our unit, without suffix.
        root: where our releases lie.
        systemd: whether systemd manages services; without it, what runs from our root is ours.
        mine: the main process of our service, as another manager than systemd has it.
    """
    if process.unit == service + ".service" or process.pid in mine:
        return "ours"
    if process.unit and not _SHELLS.search(process.unit):
        return "legacy"
    if not systemd and any(word.startswith(root.rstrip("/") + "/") for word in process.words[:2]):
        return "ours"
    return "manual"


def _read(path: str) -> str:
    try:
        with open(path, "rb") as handle:
            return handle.read().decode("utf-8", "replace")
    except OSError:
        return ""


def _boot_time() -> float:
    # btime in /proc/stat is whole seconds: too coarse to tell what was written before a process started.
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


def start_time(pid: int) -> Optional[float]:
    """Return when a process started, in seconds since the epoch, or None if it is gone."""
    fields = _read("/proc/%d/stat" % pid).rpartition(")")[2].split()
    if len(fields) <= _STARTED:
        return None
    return round(_boot_time() + int(fields[_STARTED]) / os.sysconf("SC_CLK_TCK"), 2)


def _from_proc() -> Iterable[Process]:
    boot, tick = _boot_time(), os.sysconf("SC_CLK_TCK")
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        command = _read("/proc/%s/cmdline" % entry)
        if PROGRAM not in command:
            continue
        words = command.rstrip("\0").split("\0")
        if not is_orchestrator(words):
            continue
        fields = _read("/proc/%s/stat" % entry).rpartition(")")[2].split()
        try:
            uid = os.stat("/proc/" + entry).st_uid
        except OSError:
            continue
        if len(fields) <= _STARTED or fields[_STATE] == "Z" or contained(_read("/proc/%s/status" % entry)):
            continue
        started = boot + int(fields[_STARTED]) / tick
        unit = unit_of(_read("/proc/%s/cgroup" % entry))
        yield Process(int(entry), int(fields[_PARENT]), uid, started, words, unit)


def parse_ps(text: str, now: float) -> List[Process]:
    """Return the orchestrators in the output of `ps -axo pid=,ppid=,uid=,etime=,command=`."""
    found = []
    for line in text.splitlines():
        fields = line.split(None, 4)
        if len(fields) == _PS_FIELDS and is_orchestrator(fields[4].split()):
            days, _, clock = fields[3].rpartition("-")
            seconds = int(days or 0) * 86400
            for power, part in enumerate(reversed(clock.split(":"))):
                seconds += int(part) * 60**power
            found.append(
                Process(
                    int(fields[0]), int(fields[1]), int(fields[2]), now - seconds, fields[4].split(), None
                )
            )
    return found


def orchestrators(service: str, root: str, systemd: bool, mine: Sequence[int] = ()) -> List[Dict[str, Any]]:
    """Return the orchestrators that run here, without the workers that they started.

    Args:
        service: the name of our unit, without suffix.
        root: where our releases lie.
        systemd: whether systemd manages services.
        mine: the main process of our service, as another manager has it.

    Returns:
        For each `kind`, `pid`, `cmdline`, `age_seconds`, `owner` and the systemd `unit` that it belongs to,
        if any.
    """
    now = time.time()
    if sys.platform.startswith("linux"):
        found = list(_from_proc())
    else:
        found = parse_ps(run(["ps", "-axo", "pid=,ppid=,uid=,etime=,command="], 5).out, now)
    pids = {process.pid for process in found}
    return [
        {
            "kind": kind_of(process, service, root, systemd, mine),
            "pid": process.pid,
            "cmdline": " ".join(process.words)[:500],
            "age_seconds": max(0, round(now - process.started)),
            "owner": owner_name(process.uid),
            "unit": process.unit,
        }
        for process in sorted(found)
        if process.parent not in pids
    ]


def _holder(sockets: Mapping[str, int], likely: Sequence[int]) -> Optional[int]:
    """Find who holds one of some sockets, by descriptor, or by user where descriptors may not be seen."""
    wanted = {"socket:[%s]" % inode for inode in sockets}
    pids = list(likely) + [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]
    hidden: List[int] = []
    for pid in pids:
        folder = "/proc/%d/fd" % pid
        try:
            for descriptor in os.listdir(folder):
                if os.readlink(os.path.join(folder, descriptor)) in wanted:
                    return pid
        except PermissionError:
            hidden.append(pid)  # another user's, and this root may not trace
        except OSError:
            continue  # gone meanwhile
    suspects = [pid for pid in dict.fromkeys(hidden) if _uid(pid) in sockets.values()]
    known = [pid for pid in suspects if pid in likely]
    if known:
        return known[0]
    return suspects[0] if len(suspects) == 1 else None


def _uid(pid: int) -> Optional[int]:
    try:
        return os.stat("/proc/%d" % pid).st_uid
    except OSError:
        return None


def _describe_holder(pid: Optional[int]) -> Dict[str, Any]:
    name = _read("/proc/%d/comm" % pid).strip() if pid else ""
    words = _read("/proc/%d/cmdline" % pid).rstrip("\0").split("\0") if pid else []
    return {
        "pid": pid,
        "name": name or None,
        "cmdline": " ".join(words)[:300] or None,
        "orchestrator": is_orchestrator(words),
    }


def listener(port: int, likely: Sequence[int] = ()) -> Optional[Dict[str, Any]]:
    """Return who listens on a TCP port, or None if nobody does.

    Args:
        port: the port.
        likely: process ids to look at first.

    Returns:
        `pid`, `name`, `cmdline`, `owner` and `orchestrator`; pid is None if it may not be seen.
    """
    if sys.platform.startswith("linux"):
        sockets = listening(port)
        if not sockets:
            return None
        found = _describe_holder(_holder(sockets, likely))
        return dict(found, owner=owner_name(next(iter(sockets.values()))))
    listed = run(["lsof", "-nP", "-iTCP:%d" % port, "-sTCP:LISTEN", "-Fpc"], 5).out
    pid, name = _lsof(listed)
    if pid is None:
        return None
    owner, _, command = run(["ps", "-p", str(pid), "-o", "user=,command="], 5).out.strip().partition(" ")
    command = command.strip()
    return {
        "pid": pid,
        "owner": owner,
        "name": name,
        "cmdline": command[:300],
        "orchestrator": is_orchestrator(command.split()),
    }


def _lsof(text: str) -> Tuple[Optional[int], Optional[str]]:
    pid = next((int(line[1:]) for line in text.splitlines() if line.startswith("p")), None)
    return pid, next((line[1:] for line in text.splitlines() if line.startswith("c")), None)


def _names(folder: str) -> List[str]:
    try:
        return sorted(os.path.join(folder, name) for name in os.listdir(folder))
    except OSError:
        return []


def watchdogs() -> List[Dict[str, str]]:
    """Return the lines of cron tables that would start an orchestrator again: `path` and `line`."""
    folders = ("/etc/cron.d", "/var/spool/cron/crontabs", "/var/spool/cron")
    places = ["/etc/crontab", *(path for folder in folders for path in _names(folder))]
    tables = {path: _read(path) for path in places if os.path.isfile(path)}
    if os.geteuid() != 0:
        # Who is not root reads their own table through its command alone.
        tables[CRONTAB] = run([CRONTAB, "-l"], 5).out
    return [
        {"path": path, "line": line.strip()[:300]}
        for path, text in tables.items()
        for line in _STARTS_OURS.sub("", text).splitlines()
        if not line.lstrip().startswith("#") and (PROGRAM in line or "ringrift-p2p" in line)
    ]
