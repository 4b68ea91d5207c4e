"""What a voter that stops in order leaves to its next start: whom it heard, and for how long it listened.

A start never makes a sighting younger. Each keeps the moment at which it was made, by the clock that the next
process reads too (the boot is the same one), and only those within the window are written. So a node is alive
until one window after it was last heard, however often voters restart in between, as if none had.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from p2p_orchestrator import log, reader
from p2p_orchestrator.clock import boottime
from p2p_orchestrator.config import Config
from p2p_orchestrator.membership import MAX_NODES, Member, Members, Sighting
from p2p_orchestrator.reader import FIGURE, TEXT, UnfitError
from p2p_orchestrator.wire import INCARNATION, figures

FILE = "heard.json"
MAX_BYTES = 64 * 2**20
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
            "seen": {key: [item.first, item.last] for key, item in member.told.items()},
        }
        for name, member in members.recent(now).items()
    }
    return {**asdict(origin), "written_at": now, "since": members.since, "nodes": nodes}


def unpack(data: Mapping[str, Any], origin: Origin, now: float) -> tuple[float, dict[str, Member]]:
    """Return since when the voter has listened, the gap left out, and what it knew.

    Raises:
        StaleError: It is another node's or boot's, or the gap is too long.
        UnfitError: It is not what `pack` returns.
    """
    for key, value in asdict(origin).items():
        if data.get(key) != value:
            raise StaleError(f"of another {key}: {data.get(key)!r}")
    written = reader.number(data.get("written_at"), "written_at")
    since = reader.number(data.get("since"), "since", -FIGURE)
    if not 0.0 <= now - written <= GAP:
        raise StaleError(f"written {now - written:.1f} s before the start; at most {GAP} s")
    if since > written:
        raise UnfitError("it listened since after it was written")
    nodes = reader.mapping(data.get("nodes"), "nodes", MAX_NODES)
    known = {reader.name(key, "a name"): _member(value, written, now) for key, value in nodes.items()}
    return now - (written - since), known


def _member(data: object, written: float, now: float) -> Member:
    fields = reader.mapping(data, "a node")
    told = reader.mapping(fields.get("info"), "info")
    info = figures(told)
    if info:
        info["reported_host"] = reader.text(told.get("reported_host", ""), "reported_host")[:TEXT]
        info["reported_port"] = reader.whole(told.get("reported_port", 0), "reported_port")
    seen, heard = (_sightings(fields.get(table), written) for table in ("seen", "heard"))
    return Member(now, seen, heard, info)


def _sightings(data: object, written: float) -> dict[str, Sighting]:
    result = {}
    for key, times in reader.mapping(data, "sightings").items():
        if len(reader.items(times, "a sighting", 2)) < 2:  # noqa: PLR2004  first and last
            raise UnfitError("a sighting is not two times")
        # Another voter may have heard it before this machine's clock began to count.
        first, last = (reader.number(item, "a sighting", -FIGURE) for item in times)
        if not first <= last <= written:
            raise UnfitError("a sighting is from after it was written")
        # A process of another release may have left what no node says.
        if INCARNATION.fullmatch(key):
            result[key] = Sighting(first, last)
    return result


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
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
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
        if len(data) > MAX_BYTES:
            raise UnfitError(f"longer than {MAX_BYTES} bytes")  # noqa: TRY301  told as what else does not fit
        since, known = unpack(reader.decode(data), origin, now)
    except StaleError as error:
        log.event("heard_too_old", file=str(path), reason=str(error))
    except UnfitError as error:
        log.event("heard_refused", "warning", file=str(path), reason=str(error))
    else:
        members.recall(since, known, now)
        log.event("heard_taken_up", nodes=len(known), listened=members.listened(now))
