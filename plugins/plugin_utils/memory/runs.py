"""Which run this is, and whether another run that this machine started is still alive."""

from __future__ import annotations

import datetime as dt
import getpass
import socket
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
from ansible_collections.p2p.cluster.plugins.plugin_utils.output.escape import line, shell


def this_run(playbook: str) -> dict[str, Any]:
    """Return what the maintenance record says of this run.

    Args:
        playbook: its name, for people.

    Returns:
        `id` (the same in all tasks of one run), `who` (user and machine), `playbook`, `since` (seconds since
        the epoch), and `place`, `pid` and `started` for `is_gone`.
    """
    process = _controller()
    started = round(process.create_time(), 2)
    return {
        "id": f"{socket.gethostname()}-{process.pid}-{int(started)}",
        "who": f"{getpass.getuser()}@{socket.gethostname()}",
        "playbook": playbook,
        "since": started,
        "place": _place(),
        "pid": process.pid,
        "started": started,
    }


def is_gone(record: Mapping[str, Any] | None) -> bool:
    """Tell whether a record's run was one of this machine's, and has ended.

    A record of another machine, or of another container on this one, is never called gone.
    """
    if not record or record.get("place") != _place():
        return False
    try:
        started = psutil.Process(int(record["pid"])).create_time()
    except psutil.NoSuchProcess:
        return True
    # A process id is given out again.
    return abs(started - float(record["started"])) > 1


def recovers(record: Mapping[str, Any], where: str) -> str:
    """Return who holds the record of a recovery, and what ends that.

    Args:
        record: As the door lets it through.
        where: Where the record is.
    """
    since = dt.datetime.fromtimestamp(record["since"], dt.UTC)
    return line(
        f"{record['who']} holds the recovery record {where} with {record['playbook']}, process"
        f" {record['pid']}, since {since:%Y-%m-%d %H:%M:%S} UTC ({record['id']}). No other run stops"
        " voters meanwhile: wait for it, or, if that run is gone for good, add"
        f" -e p2p_maintenance_break={shell(record['id'])}"
    )


def _controller() -> psutil.Process:
    """Return the process of ansible-playbook itself: tasks are templated in forks of it."""
    family = [psutil.Process(), *psutil.Process().parents()]
    words = [_words(member) for member in family]
    ours = next(
        (mine for mine in words if any(Path(word).name.startswith("ansible") for word in mine[:3])), None
    )
    forks = [member for member, theirs in zip(family, words, strict=True) if theirs == ours]
    return forks[-1] if forks else family[0]


def _words(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def _place() -> str:
    """Return what tells two machines, and two containers on one machine, apart."""
    try:
        namespace = str(Path("/proc/self/ns/pid").stat().st_ino)
    except OSError:
        namespace = "-"  # macOS has none
    return f"{socket.gethostname()}/{uuid.getnode():x}/{namespace}"
