"""A node's earlier life: orchestrators that are not ours, and what would start them again."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import time
from typing import Any, Callable, List, Mapping, NamedTuple, Optional, Sequence

from .p2p_files import owner_name
from .p2p_processes import CRONTAB, listener, orchestrators, watchdogs
from .p2p_services import manager_for
from .p2p_systemd import RUNNING_STATES, Systemd, UnitState

Listening = Callable[[int], Optional[Mapping[str, Any]]]
MARK = "# set aside by p2p-cluster: "
# How long a process may take to end before it is killed.
PATIENCE = 10.0
_KEEPERS = ("sh", "bash", "dash", "zsh", "ash", "nohup", "timeout", "setsid", "watch", "screen", "tmux")


class TakeoverError(Exception):
    """What may not be taken over, or did not end; the message has the remedy."""


class Finding(NamedTuple):
    """One piece of an earlier life."""

    kind: str  # unit, process, keeper (a shell that would start it again) or cron
    name: str  # the unit, the command line, or the file
    pid: int
    text: str  # the line of a cron table


def _keeper(pid: int) -> Optional[Finding]:
    """Return the shell or the like that started a process by hand and waits for it to start it again."""
    try:
        with open("/proc/%d/stat" % pid, encoding="utf-8", errors="replace") as handle:
            parent = int(handle.read().rpartition(")")[2].split()[1])
        with open("/proc/%d/cmdline" % parent, "rb") as raw:
            words = raw.read().decode("utf-8", "replace").rstrip("\0").split("\0")
    except (OSError, ValueError, IndexError):
        return None
    names_it = any("p2p_orchestrator" in word for word in words[1:])
    if parent > 1 and names_it and os.path.basename(words[0]).lstrip("-") in _KEEPERS:
        return Finding("keeper", " ".join(words)[:200], parent, "")
    return None


def find(
    spec: Mapping[str, Any], timeout: float, known: Optional[Callable[[], Mapping[str, UnitState]]] = None
) -> List[Finding]:
    """Return what of an earlier life is on a node, what starts the others first.

    Args:
        spec: `service` (our unit), `units` (names of earlier ones), `root` (of our releases), `port`, and of
            the node's service manager `manager` and `place`, as p2p_service takes them.
        timeout: seconds that each question to the service manager may take.
        known: gives states of units that others ask for too.

    Raises:
        ServiceError: if the service manager does not answer.
    """
    service, root, systemd = str(spec["service"]), str(spec["root"]), Systemd.here()
    place = {"folder": root + "/supervisor", **(spec.get("place") or {})}
    manager = manager_for(str(spec.get("manager") or "auto"), timeout, place)
    mine = [] if manager.name == "systemd" else [manager.state(service).pid]
    running = orchestrators(service, root, systemd, mine)
    found = [Finding("cron", item["path"], 0, item["line"]) for item in watchdogs()]
    if systemd:
        names = [str(name) for name in spec["units"]]
        names += [str(item["unit"])[: -len(".service")] for item in running if item["kind"] == "legacy"]
        states = dict(known() if known else {})
        unknown = [name for name in dict.fromkeys(names) if name not in states]
        states.update(Systemd(timeout).states(unknown) if unknown else {})
        found += [
            Finding("unit", name + ".service", state.pid, "")
            for name, state in ((name, states[name]) for name in dict.fromkeys(names))
            if state.load not in ("not-found", "masked")
            and (state.active in RUNNING_STATES or state.enabled.startswith("enabled"))
        ]
    stopping = {item.name for item in found}
    for item in running:
        # What outlived its unit is stopped as if somebody had started it by hand.
        if item["kind"] == "manual" or (item["kind"] == "legacy" and item["unit"] not in stopping):
            keeper = _keeper(item["pid"])
            found += [keeper] if keeper else []
            found.append(Finding("process", item["cmdline"][:200], item["pid"], ""))
    return list(dict.fromkeys(found))


def foreign(spec: Mapping[str, Any], listening: Listening = listener) -> Optional[str]:
    """Return why the port cannot be had, because a program that is no orchestrator listens there, or None.

    Args:
        spec: as for `find`.
        listening: tells who listens on a port.
    """
    holder = listening(int(spec["port"]))
    if holder is None or holder["orchestrator"]:
        return None
    if not holder["pid"]:
        # Without root what others run is not seen; whose port it is, is.
        if os.geteuid() == 0 or holder["owner"] == owner_name(os.geteuid()):
            return None
        return (
            "port %s is taken by a program of %s, which is left alone: stop it, or give this node"
            " another p2p_port in the fleet file" % (spec["port"], holder["owner"])
        )
    return (
        "port %s is taken by %s (process %d of %s), which is no orchestrator and is left alone: stop it, or"
        " give this node another p2p_port in the fleet file"
        % (
            spec["port"],
            shlex.quote(holder["cmdline"] or holder["name"] or "?"),
            holder["pid"],
            holder["owner"],
        )
    )


def forbidden(found: Sequence[Finding]) -> Optional[str]:
    """Return why a user who is not root may not end an earlier life, or None.

    Args:
        found: from `find`.
    """
    if os.geteuid() == 0:
        return None
    for item in found:
        if not _mine(item):
            return (
                "%s belongs to another user, and this deploy is without root: have that user or root stop it"
                " and what starts it"
                % (item.name if item.kind in ("unit", "cron") else shlex.quote(item.name))
            )
    return None


def _mine(item: Finding) -> bool:
    if item.kind == "unit":
        return False
    if item.kind == "cron":
        return item.name == CRONTAB or os.access(item.name, os.W_OK)
    try:
        return os.stat("/proc/%d" % item.pid).st_uid == os.geteuid()
    except OSError:
        return True  # it has ended meanwhile


def action(item: Finding) -> str:
    """Return in words what is done with a finding."""
    if item.kind == "unit":
        return "stop, disable and set aside %s" % item.name
    if item.kind == "cron":
        return "comment out of %s: %s" % (item.name, item.text)
    return "stop the %s %s" % (
        "shell" if item.kind == "keeper" else "orchestrator started by hand:",
        item.name,
    )


def end(found: Sequence[Finding], timeout: float) -> None:
    """Stop an earlier life, and keep it from coming back; jobs that it started go on.

    Args:
        found: from `find`.
        timeout: seconds that each order to the service manager may take.

    Raises:
        TakeoverError: if a process does not end.
        ServiceError: if systemd refuses.
    """
    for path in dict.fromkeys(item.name for item in found if item.kind == "cron"):
        _comment_out(path, [item.text for item in found if item.kind == "cron" and item.name == path])
    for item in found:
        if item.kind == "unit":
            _set_aside(item.name, timeout)
    for item in sorted(
        (item for item in found if item.kind in ("keeper", "process")), key=lambda one: one.kind
    ):
        _stop(item)


def _comment_out(path: str, lines: Sequence[str]) -> None:
    from .p2p_start_hook import Crontab, StartScript  # noqa: PLC0415  few nodes have an earlier life

    table = Crontab(PATIENCE) if path == CRONTAB else StartScript(path)
    text = table.read() or ""
    kept = "".join(
        MARK + line if any(line.strip().startswith(one) for one in lines) else line
        for line in text.splitlines(keepends=True)
    )
    table.write(kept)


def _set_aside(unit: str, timeout: float) -> None:
    name, manager = unit[: -len(".service")], Systemd(timeout)
    folder = "/run/systemd/system/%s.d" % unit
    os.makedirs(folder, exist_ok=True)
    rule = os.path.join(folder, "p2p-takeover.conf")
    with open(rule, "w", encoding="ascii") as handle:
        handle.write("# Its jobs go on.\n[Service]\nKillMode=process\n")
    try:
        manager.reload()
        manager.mask(name, timeout)
    finally:
        os.unlink(rule)
        with contextlib.suppress(OSError):
            os.rmdir(folder)
        manager.reload()


def _stop(item: Finding) -> None:
    deadline = time.monotonic() + PATIENCE
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.kill(item.pid, number)
            while time.monotonic() < deadline:
                if _ended(item.pid):
                    return
                time.sleep(0.1)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + PATIENCE
    raise TakeoverError("process %d (%s) does not end, not even killed" % (item.pid, item.name))


def _ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        with open("/proc/%d/stat" % pid, encoding="utf-8", errors="replace") as handle:
            return handle.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
