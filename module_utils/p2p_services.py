"""How a service differs from what is wanted: the one answer that both the probe and the module act on."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Union

from .p2p_digest import config_digest, render_unit, sha256_text, start_text, wanted_directory
from .p2p_files import directory_reasons, file_reasons, read_plain
from .p2p_processes import start_time
from .p2p_releases import Drift, find
from .p2p_systemd import RUNNING_STATES, ServiceError, Systemd, UnitState, process_environment, process_folder

if TYPE_CHECKING:
    from .p2p_launchd import Launchd
    from .p2p_supervisord import Supervisord

    Manager = Union[Systemd, Supervisord, Launchd]

# A process start is known to a tick of the kernel.
_TICK = 0.02
DIGEST_VARIABLE = "P2P_CONFIG_DIGEST"


def manager_name(wish: str = "auto") -> str:
    """Return what manages services on this node: `systemd`, `supervisord` or `launchd`.

    Args:
        wish: one of them, or `auto` for what the node has.
    """
    if wish != "auto":
        return wish
    if Systemd.here():
        return "systemd"
    return "launchd" if sys.platform == "darwin" else "supervisord"


def manager_for(wish: str, timeout: float = 30, place: Optional[Mapping[str, Any]] = None) -> Manager:
    """Return the service manager of this node.

    Args:
        wish: `auto` or a manager's name.
        timeout: seconds that each question to it may take.
        place: where a manager that is not systemd keeps its things, as p2p_service takes it.

    Raises:
        ServiceError: if it is not known, or does not run here.
    """
    name = manager_name(wish)
    if name == "systemd":
        if not Systemd.here():
            raise ServiceError("systemd does not run this node: leave the manager to the node (auto)")
        return Systemd(timeout)
    # Loaded where they are needed alone: most nodes have systemd, and every line costs the probe.
    if name == "supervisord":
        from .p2p_supervisord import Supervisord  # noqa: PLC0415

        return Supervisord(timeout, place or {})
    if name == "launchd":
        from .p2p_launchd import Launchd  # noqa: PLC0415

        return Launchd(timeout, place or {})
    raise ServiceError("manager %r is not known: auto, systemd, supervisord or launchd" % wish)


def definition_text(wanted: Mapping[str, Any], unit: Optional[str], manager: Manager) -> Optional[str]:
    """Return a service's definition for a manager, with its placeholder; None if only its state is managed.

    Args:
        wanted: as `p2p_digest.service_wanted` makes it.
        unit: systemd's definition.
        manager: the node's.

    Raises:
        ServiceError: if there is a definition for systemd alone.
    """
    if isinstance(manager, Systemd):
        return unit
    program = wanted.get("program")
    if not program:
        if unit or wanted.get("unit_sha256"):
            raise ServiceError(
                "%s is defined for systemd alone, and %s runs this node" % (wanted["name"], manager.name)
            )
        return None
    return manager.definition(wanted["name"], program)


def for_manager(wanted: Mapping[str, Any], manager: Manager) -> Dict[str, Any]:
    """Return what is wanted of a service, as the node's manager has it.

    Args:
        wanted: as `p2p_digest.service_wanted` makes it.
        manager: the node's.

    Raises:
        ServiceError: if the service is defined for another manager alone.
    """
    if isinstance(manager, Systemd):
        return dict(wanted)
    text = definition_text(wanted, None, manager)
    # Other managers have nothing to mask.
    here = dict(wanted, masked_units=[], unit_sha256=None, config_digest=None)
    if text is not None:
        digest = config_digest(text, wanted["files"])
        here.update(unit_sha256=sha256_text(render_unit(text, digest)), config_digest=digest)
    folders = (wanted.get("program") or {}).get("directories") or []
    here["directories"] = [*wanted["directories"], *(wanted_directory(item) for item in folders)]
    return here


def definition_wanted(wanted: Mapping[str, Any], manager: Manager) -> Optional[Dict[str, Any]]:
    """Return a service's definition as a managed file, or None if only its state is managed."""
    if not wanted.get("unit_sha256"):
        return None
    return {
        "path": manager.definition_path(wanted["name"]),
        "sha256": wanted["unit_sha256"],
        "mode": "0644",
        "owner": None,
        "group": None,
    }


def release_folder(current: str) -> str:
    """Return the directory that a service should run from.

    Args:
        current: a symlink to it, or a path `<root>/releases/<name>`, which stands for a second build of that
            name (`<name>~2`) too.
    """
    parent, base = os.path.split(os.path.normpath(current))
    if os.path.basename(parent) == "releases" and not os.path.islink(current):
        if "~" in base and not os.path.isdir(current):
            return os.path.realpath(current)  # in a preview: it is going to be built
        found = find(os.path.dirname(parent), base.split("~")[0])
        if found:
            return os.path.realpath(found)
    return os.path.realpath(current)


def restarts_service(item: Drift) -> bool:
    """Tell whether mending a difference stops or restarts the service, if it runs."""
    if item.part in ("file", "unit"):
        return _rewritten(item)
    return item.part in ("restart", "state")


def _rewritten(item: Drift) -> bool:
    return "content differs" in item.why or item.why in ("missing", "not a regular file")


def stale_reasons(wanted: Mapping[str, Any], pid: int, manager: Manager) -> List[str]:
    """Return why a running process is not what a restart would give."""
    reasons = []
    environment = process_environment(pid)
    if wanted.get("config_digest") and environment is not None:
        found = environment.get(DIGEST_VARIABLE)
        if found != wanted["config_digest"]:
            reasons.append("runs with an older configuration")
    folder = process_folder(pid)
    if wanted.get("current") and folder is not None:
        target = release_folder(wanted["current"])
        if folder != target:
            reasons.append("runs from %s, not %s" % (folder, target))
    if environment is None or folder is None:
        reasons += _older_than(wanted, pid, manager)
    return reasons


def _older_than(wanted: Mapping[str, Any], pid: int, manager: Manager) -> List[str]:
    """Return what changed after a process started, for one whose inside may not be looked at.

    Root in a container without the right to trace may not look into other users' processes.
    """
    started = start_time(pid)
    # What of a file with live lines counts at a start is in the definition's digest, too.
    paths = [item["path"] for item in wanted["files"] if not item.get("live") and not item.get("live_lines")]
    if wanted.get("unit_sha256"):
        paths.append(manager.definition_path(wanted["name"]))
    reasons = []
    if wanted.get("current"):
        link, target = _current_link(wanted["current"]), release_folder(wanted["current"])
        paths.append(link)
        if os.path.realpath(link) != target:  # in a preview: it is going to point there
            reasons.append("runs from %s, not %s" % (os.path.realpath(link), target))
    newer = [path for path in paths if started is not None and _changed_at(path) > started + _TICK]
    return reasons + ["%s changed after it started" % path for path in newer]


def _current_link(current: str) -> str:
    """Return the symlink that decides what runs, given it or a release's folder."""
    if os.path.islink(current):
        return current
    return os.path.join(os.path.dirname(os.path.dirname(os.path.normpath(current))), "current")


def _changed_at(path: str) -> float:
    try:
        return os.lstat(path).st_mtime
    except OSError:
        return 0.0


def _same_at_start(wanted: Mapping[str, Any]) -> bool:
    """Tell whether a file differs at most in lines that the running service takes up by itself."""
    if not wanted.get("live_lines"):
        return False
    try:
        text = read_plain(wanted["path"]).decode("utf-8")
    except (OSError, ValueError):
        return False
    return sha256_text(start_text(text, wanted["live_lines"])) == str(wanted["start_sha256"])


def file_drift(wanted: Mapping[str, Any], manager: Manager) -> List[Drift]:
    """Return how the definition, the files and the directories of a service differ."""
    drift = []
    for item in wanted["directories"]:
        reasons = directory_reasons(item)
        if reasons:
            drift.append(Drift("directory", item["path"], ", ".join(reasons)))
    for item in wanted["files"]:
        reasons = file_reasons(item)
        if reasons:
            part = "live" if item.get("live") or _same_at_start(item) else "file"
            drift.append(Drift(part, item["path"], ", ".join(reasons)))
    definition = definition_wanted(wanted, manager)
    reasons = file_reasons(definition) if definition else []
    if definition and reasons:
        drift.append(Drift("unit", definition["path"], ", ".join(reasons)))
    return drift


def _state_drift(
    wanted: Mapping[str, Any], state: UnitState, manager: Manager, rewritten: bool
) -> List[Drift]:
    unit = manager.unit(wanted["name"])
    running = state.active in RUNNING_STATES and state.sub != "auto-restart"
    if wanted["state"] == "stopped":
        return (
            [Drift("state", unit, "%s, not stopped" % state.active)] if state.active in RUNNING_STATES else []
        )
    if wanted["state"] == "restarted":
        return [Drift("restart", unit, "a restart was asked for")]
    if not running:
        if state.sub == "auto-restart":
            return [Drift("state", unit, "crashes again and again (%d restarts)" % state.restarts)]
        return [Drift("state", unit, "%s, not running" % (state.active or "unknown"))]
    reasons = stale_reasons(wanted, state.pid, manager) if state.pid else []
    if rewritten:
        reasons.append("what it reads has changed")
    return [Drift("restart", unit, ", ".join(reasons))] if reasons else []


def service_drift(
    wanted: Mapping[str, Any], manager: Manager, states: Mapping[str, UnitState]
) -> List[Drift]:
    """Return how a service differs from what is wanted, in the order in which it is mended.

    Args:
        wanted: as `for_manager` makes it, its state `started`, `stopped` or `restarted`.
        manager: the node's service manager.
        states: the states of the service and of `masked_units`.
    """
    unit = manager.unit(wanted["name"])
    state = states[wanted["name"]]
    drift = [
        Drift("masked", manager.unit(name), "%s, not masked" % (states[name].active or "there"))
        for name in wanted["masked_units"]
        if states[name].load != "masked" or states[name].active in RUNNING_STATES
    ]
    files = file_drift(wanted, manager)
    drift += files
    if state.stale and not any(item.part == "unit" for item in files):
        drift.append(Drift("reload", unit, "its definition on disk is newer than the loaded one"))
    if wanted["enabled"] is True and state.enabled != "enabled":
        drift.append(Drift("enabled", unit, "%s, not enabled" % (state.enabled or "unknown")))
    if wanted["enabled"] is False and state.enabled not in ("", "disabled", "static", "masked"):
        drift.append(Drift("enabled", unit, "%s, not disabled" % state.enabled))
    rewritten = any(item.part in ("file", "unit") and _rewritten(item) for item in files)
    return drift + _state_drift(wanted, state, manager, rewritten)


def names_asked(wanted: Mapping[str, Any]) -> List[str]:
    """Return the units whose states `service_drift` needs."""
    return [wanted["name"]] + [name for name in wanted["masked_units"] if name != wanted["name"]]
