"""What a voter that stops in order leaves to its next start: whom it heard, and for how long it listened.

A start never makes a sighting younger. Each keeps the moment at which it was made, by the clock that the next
process reads too (the boot is the same one), and only those within the window are written. So a node is alive
until one window after it was last heard, however often voters restart in between, as if none had.
"""

import json
import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from p2p_orchestrator import log
from p2p_orchestrator.clock import boottime
from p2p_orchestrator.config import NAME, Config
from p2p_orchestrator.heartbeat_server import TEXT, RefusedError, clean
from p2p_orchestrator.membership import Member, Members, Sighting

FILE = "heard.json"
GAP = 5.0
"""Seconds without a process after which it begins anew: in one interval a node misses one heartbeat."""
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Origin:
    """Whose word it is: a node's, in a cluster, with the clock of one boot."""

    node: str
    cluster: str
    boot: str


class StaleError(Exception):
    """It is well-formed, and no longer holds."""


def pack(members: Members, origin: Origin, now: float) -> dict[str, Any]:
    """Return what `members` knows from within the window, for JSON."""
    nodes = {
        name: {
            "info": member.info,
            "heard": {key: [item.first, item.last] for key, item in member.heard.items()},
            "seen": {key: [item.first, item.last] for key, item in member.seen.items()},
        }
        for name, member in members.recent(now).items()
    }
    return {**asdict(origin), "written_at": now, "since": members.since, "nodes": nodes}


def unpack(data: object, origin: Origin, now: float) -> tuple[float, dict[str, Member]]:
    """Return since when the voter has listened, the gap left out, and what it knew.

    Raises:
        StaleError: It is another node's or boot's, or the gap is too long.
        ValueError: It is not what `pack` returns.
    """
    data = _object(data)
    for key, value in asdict(origin).items():
        if data.get(key) != value:
            raise StaleError(f"of another {key}: {data.get(key)!r}")
    written, since = _time(data.get("written_at")), _time(data.get("since"))
    if not 0.0 <= now - written <= GAP:
        raise StaleError(f"written {now - written:.1f} s before the start; at most {GAP} s")
    if since > written:
        raise ValueError("it listened since after it was written")
    nodes = _object(data.get("nodes"))
    return now - (written - since), {_name(key): _member(value, written, now) for key, value in nodes.items()}


def _member(data: object, written: float, now: float) -> Member:
    data = _object(data)
    told = _object(data.get("info"))
    try:
        info = clean(told)
    except RefusedError as error:
        raise ValueError(str(error)) from error
    host, port = told.get("reported_host", ""), told.get("reported_port", 0)
    if not isinstance(host, str) or type(port) is not int:
        raise ValueError("a reported address is none")
    if info:
        info |= {"reported_host": host[:TEXT], "reported_port": port}
    return Member(now, _sightings(data.get("seen"), written), _sightings(data.get("heard"), written), info)


def _sightings(data: object, written: float) -> dict[str, Sighting]:
    result = {}
    for incarnation, times in _object(data).items():
        if not isinstance(times, list) or len(times) != 2:  # noqa: PLR2004  first and last
            raise ValueError("a sighting is not two times")
        first, last = (_time(item) for item in times)
        if not first <= last <= written:
            raise ValueError("a sighting is from after it was written")
        result[incarnation[:TEXT]] = Sighting(first, last)
    return result


def _object(data: object) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise ValueError(f"{type(data).__name__} for an object")  # noqa: TRY004  # bad data, not a bad call
    return data


def _time(data: object) -> float:
    if isinstance(data, bool) or not isinstance(data, (int, float)) or not math.isfinite(data):
        raise ValueError(f"{type(data).__name__} for a time")
    return float(data)


def _name(name: str) -> str:
    if not NAME.fullmatch(name):
        raise ValueError("not a node's name")
    return name


def _origin(config: Config) -> Origin | None:
    """Return whose word this process writes and believes, None where boots cannot be told apart."""
    try:
        boot = BOOT_ID.read_text().strip()
    except (OSError, ValueError):
        return None
    return Origin(config.node_id, config.cluster, boot) if boot else None


def leave(members: Members, config: Config) -> None:
    """Write the file for the next start; a failure is logged."""
    origin, path = _origin(config), config.data_dir / FILE
    if origin is None:
        return
    new = path.with_suffix(".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new.unlink(missing_ok=True)
        # It need not outlive the machine: after a crash of that the boot is another one.
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(pack(members, origin, boottime()), file)
        new.replace(path)
    except (OSError, ValueError, TypeError) as error:
        log.event("heard_not_written", "warning", file=str(path), reason=str(error))


def take_up(members: Members, config: Config) -> None:
    """Take up and delete the file that the last process left, if any; what is wrong with it is logged."""
    origin, path = _origin(config), config.data_dir / FILE
    try:
        text = path.read_bytes()
        # Before it is used, so that no later start can read it.
        path.unlink()
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        log.event("heard_refused", "warning", file=str(path), reason=str(error))
        return
    if origin is None or not config.listens:
        return
    now = boottime()
    try:
        since, known = unpack(json.loads(text), origin, now)
    except StaleError as error:
        log.event("heard_too_old", file=str(path), reason=str(error))
    except (ValueError, RecursionError) as error:
        log.event("heard_refused", "warning", file=str(path), reason=str(error))
    else:
        members.recall(since, known, now)
        log.event("heard_taken_up", nodes=len(known), listened=members.listened(now))
