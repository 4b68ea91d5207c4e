"""The parts of a probe put together: every look at the node, side by side, each bounded in time."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Mapping, Optional, Sequence

from .p2p_bounded import look
from .p2p_drift import node_drift, units_compared
from .p2p_files import sha256_file
from .p2p_installed import site_packages
from .p2p_local_http import ask_orchestrator, unanswered
from .p2p_node import (
    describe_clock,
    describe_disk,
    describe_memory,
    describe_platform,
    describe_pythons,
    describe_user,
)
from .p2p_processes import listener, orchestrators, start_time, watchdogs
from .p2p_reach import reach
from .p2p_releases import complete, link_target, name_of, read_manifest
from .p2p_run import run
from .p2p_services import DIGEST_VARIABLE, manager_for, manager_name
from .p2p_systemd import UnitState, process_environment, process_folder
from .p2p_x509 import not_after

if TYPE_CHECKING:
    from .p2p_services import Manager

SCHEMA = 1
# On top of a check's own bound: the moment that a check which just made it needs to hand over its answer.
GRACE = 0.5
# A connection across the world takes a quarter of a second; one lost packet adds one.
REACH_SECONDS = 3.0
# The same for each step of a handshake. Less, since a gate asks voters in turn.
MESH_SECONDS = 2.0
HTTP_OK = 200


def _digest(path: str) -> Optional[str]:
    try:
        return sha256_file(path) if path else None
    except OSError:
        return None


class States:
    """The states of units, asked for once by whichever look needs them first."""

    def __init__(self, names: List[str], manager: Callable[[], Manager]) -> None:
        self.names, self.manager = names, manager
        self._guard = threading.Lock()
        self._found: Dict[str, UnitState] = {}

    def __call__(self) -> Dict[str, UnitState]:
        """Return them by name; raise ServiceError if the service manager does not answer."""
        with self._guard:
            if not self._found:
                self._found = self.manager().states(self.names)
            return self._found


class Listeners:
    """Who listens on a port, found out once by whichever look needs it first."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._found: Dict[int, Optional[Dict[str, Any]]] = {}

    def __call__(self, port: int, likely: Sequence[int] = ()) -> Optional[Dict[str, Any]]:
        """Return what `listener` does."""
        with self._guard:
            if port not in self._found:
                self._found[port] = listener(port, likely)
            return self._found[port]


def _service(state: UnitState, look_at: str) -> Dict[str, Any]:
    environment = process_environment(state.pid) if state.pid else None
    there = state.load not in ("not-found", "masked")
    return {
        "load": state.load,
        "active": state.active,
        "sub": state.sub,
        "enabled": state.enabled or None,
        "unit_path": state.path or None,
        "unit_sha256": _digest(state.path) if there else None,
        "drop_ins": state.drop_ins,
        "reload_needed": state.stale,
        "restarts": state.restarts,
        "result": state.result or None,
        "exit_status": state.status,
        "pid": state.pid or None,
        "started_at": start_time(state.pid) if state.pid else None,
        "config_digest": (environment or {}).get(DIGEST_VARIABLE),
        "cwd": process_folder(state.pid) if state.pid else None,
        "look": look_at,
        "log": [],
    }


def services(names: List[str], states: States) -> Dict[str, Any]:
    """Return what the service manager says of services, by name."""
    if not names:
        return {}
    found, manager = states(), states.manager()
    return {name: _service(found[name], manager.look(name)) for name in names}


def is_well(answers: Mapping[str, Any]) -> bool:
    """Tell whether nothing in a probe's answers needs a journal to explain it."""
    units = [item for item in (answers.get("services") or {}).values() if item["load"] != "not-found"]
    status = ((answers.get("http") or {}).get("status") or {}).get("status")
    return (
        all(item["active"] == "active" and not item["restarts"] for item in units)
        and status == HTTP_OK
        and not (answers.get("etcd") or {}).get("error")
    )


def _logs(found: Mapping[str, Dict[str, Any]], lines: int, manager: Manager) -> None:
    """Put the last lines of each unit's journal among what is known of it."""
    there = [name for name, item in found.items() if item["load"] not in ("not-found", "masked")]
    looks = {name: lambda name=name: manager.logs(name, lines).splitlines() for name in there}
    for name, log in look(looks, manager.timeout + GRACE)[0].items():
        found[name]["log"] = log


def releases(root: str) -> Dict[str, Any]:
    """Return the current release and those one could go back to."""
    current, previous = link_target(root, "current"), link_target(root, "previous")
    manifest = read_manifest(current) if current else None
    others = [path for path in complete(root) if path != current]
    short = None
    if manifest:
        short = {
            key: manifest.get(key)
            for key in ("name", "created_at", "python", "python_version", "packages", "artifact", "target")
        }
    return {
        "current": current,
        "name": manifest["name"] if manifest else None,
        "manifest": short,
        "previous": name_of(previous),
        "available": [name_of(path) for path in others],
        "built": built(root),
    }


def built(root: str) -> Dict[str, float]:
    """Return when each finished release was first built, in seconds since the epoch, by name."""
    found: Dict[str, float] = {}
    for path in complete(root):  # the newest build of a name comes first
        manifest = read_manifest(path) or {}
        found[str(manifest.get("name"))] = float(manifest.get("created_at") or 0)
    return found


def _shares_system_packages(venv: str) -> bool:
    try:
        with open(os.path.join(venv, "pyvenv.cfg"), encoding="utf-8") as handle:
            return "include-system-site-packages = true" in handle.read().lower()
    except OSError:
        return True


_FIND = (
    "import importlib.util as u, sys; print('\\n'.join(n for n in sys.argv[1:] if u.find_spec(n) is None))"
)


def imports_missing(venv: str, names: List[str], timeout: float) -> Optional[List[str]]:
    """Return which of some top-level modules an environment lacks, or None if there is no environment.

    An environment of its own is looked through directly, which is an order of magnitude cheaper than its
    interpreter.
    """
    python = os.path.join(venv, "bin", "python")
    site = site_packages(venv)
    if not os.path.exists(python) or (site is None and not os.path.exists(os.path.join(venv, "pyvenv.cfg"))):
        return None
    if _shares_system_packages(venv) or site is None:
        outcome = run([python, "-c", _FIND, *names], timeout)
        return outcome.out.split() if outcome.code == 0 else list(names)
    there = set()
    for entry in os.listdir(site):
        stem = entry.split(".")[0]
        if os.path.isdir(os.path.join(site, entry)) or entry.endswith((".py", ".so")):
            there.add(stem)
    return [name for name in names if name.split(".")[0] not in there]


def certificates(wanted: Mapping[str, Any]) -> List[Dict[str, Any]]:
    """Return when a node's certificates end, each `path` and `not_after`, as far as they can be read."""
    found = []
    for path in sorted(
        {item["path"] for service in wanted.get("services") or [] for item in service["files"]}
    ):
        if path.endswith((".crt", ".pem")):
            ends = _ends(path)
            if ends is not None:
                found.append({"path": path, "not_after": ends})
    return found


def _ends(path: str) -> Optional[float]:
    try:
        with open(path, encoding="ascii") as handle:
            return not_after(handle.read())
    except (OSError, ValueError):
        return None


def probe(params: Mapping[str, Any]) -> Dict[str, Any]:
    """Look at all of a node.

    Args:
        params: the parameters of p2p_probe.

    Returns:
        The structure that p2p_probe documents as `probe`.
    """
    began = time.monotonic()
    timeout, root = float(params["timeout"]), str(params["root"]).rstrip("/")
    manager = manager_name(str(params.get("manager") or "auto"))
    place = {"folder": root + "/supervisor", **(params.get("place") or {})}
    wanted, names = params.get("wanted"), _units(params)
    etcd, lines = params.get("etcd"), int(params.get("log_lines") or 0)
    states = States(
        list(dict.fromkeys([*names, *_compared(wanted)])), lambda: manager_for(manager, timeout, place)
    )
    listening = Listeners()
    venv = params.get("venv") or os.path.join(root, "current", "venv")
    parts: Dict[str, Callable[[], Any]] = {
        "platform": describe_platform,
        "user": describe_user,
        "pythons": lambda: describe_pythons(((wanted or {}).get("release") or {}).get("python")),
        "disk": lambda: describe_disk(root),
        "memory": describe_memory,
        "services": lambda: services(names, states),
        "release": lambda: releases(root),
        "http": lambda: ask_orchestrator(int(params["port"]), timeout),
        "running": lambda: _running(params, root, states, listening),
        "watchdogs": watchdogs,
    }
    if params.get("imports"):
        parts["imports_missing"] = lambda: imports_missing(venv, list(params["imports"]), timeout)
    if etcd:
        data_dir = etcd.get("data_dir") or "/var/lib/%s" % (params.get("etcd_service") or "etcd")
        parts["etcd"] = lambda: _etcd(etcd, data_dir, timeout)
        if params.get("mesh"):
            parts["mesh"] = lambda: _mesh(params["mesh"], etcd)
    if wanted:
        parts["certificates"] = lambda: certificates(wanted)
        parts["drift"] = lambda: node_drift(wanted, root, timeout, states, listening)
    # Each question inside a look is bounded by `timeout` as well; some looks ask twice.
    answers, errors = look(parts, 2 * timeout + GRACE)
    if lines and answers.get("services") and not is_well(answers):
        _logs(answers.get("services") or {}, lines, states.manager())
    running = answers.get("running") or {}
    drift = _drift(answers, errors)
    result: Dict[str, Any] = {
        "schema": SCHEMA,
        "platform": answers.get("platform"),
        "manager": manager,
        "user": answers.get("user"),
        "python": {"path": sys.executable, "version": "%d.%d.%d" % sys.version_info[:3]},
        "pythons": answers.get("pythons") or [],
        "disk": answers.get("disk"),
        "memory": answers.get("memory"),
        "clock": describe_clock(),
        "services": answers.get("services") or {},
        "processes": running.get("processes") or [],
        "listener": running.get("listener"),
        "watchdogs": answers.get("watchdogs") or [],
        "release": answers.get("release"),
        "imports_missing": answers.get("imports_missing"),
        "http": answers.get("http")
        or {page: unanswered(errors.get("http")) for page in ("health", "status")},
        "etcd": answers.get("etcd")
        or ({"error": errors["etcd"], "has_data": None} if "etcd" in errors else None),
        "mesh": answers.get("mesh"),
        "certificates": answers.get("certificates") or [],
        "drift": drift,
        "reach": reach(params["reach"], REACH_SECONDS) if _is_new(params, answers, drift) else None,
        "errors": errors,
        "voter": bool(params.get("voter")),
        "elapsed_ms": 0.0,
    }
    result["digests"] = {str(path): _digest(str(path)) for path in params.get("digests") or []}
    result["elapsed_ms"] = round((time.monotonic() - began) * 1000, 1)
    return result


def _is_new(params: Mapping[str, Any], answers: Mapping[str, Any], drift: List[Dict[str, Any]]) -> bool:
    """Tell whether what a node reaches matters before it is started: a running one says so by itself."""
    service = (answers.get("services") or {}).get(params["service"]) or {}
    return bool(params.get("reach")) and bool(drift) and service.get("active") != "active"


def _etcd(spec: Mapping[str, Any], data_dir: str, timeout: float) -> Dict[str, Any]:
    from .p2p_http import ask_etcd  # noqa: PLC0415  the TLS client is loaded on voters alone: it is the costliest

    return ask_etcd(spec, data_dir, timeout)


def _mesh(spec: Mapping[str, Any], etcd: Mapping[str, Any]) -> Optional[List[Dict[str, Any]]]:
    """Return what a voter tried of the others, None as long as it has no certificates of its own."""
    from .p2p_http import listed  # noqa: PLC0415  as above
    from .p2p_mesh import Own, dial  # noqa: PLC0415  as above

    try:
        own = Own(spec.get("tls") or {}, listed(etcd, MESH_SECONDS))
    except FileNotFoundError:
        return None
    return dial(spec.get("targets") or [], own, MESH_SECONDS)


def _compared(wanted: Optional[Mapping[str, Any]]) -> List[str]:
    try:
        return units_compared(wanted or {})
    except (KeyError, TypeError, ValueError):
        return []  # the comparison itself says what is wrong with it


def _units(params: Mapping[str, Any]) -> List[str]:
    names = [params["service"], params.get("etcd_service"), *(params.get("legacy_services") or [])]
    return list(dict.fromkeys(str(name) for name in names if name))


def _running(params: Mapping[str, Any], root: str, states: States, listening: Listeners) -> Dict[str, Any]:
    service, manager = str(params["service"]), states.manager()
    mine = [] if manager.name == "systemd" else [states()[service].pid]
    found = orchestrators(service, root, manager.name == "systemd", mine)
    return {"processes": found, "listener": listening(int(params["port"]), [item["pid"] for item in found])}


def _drift(answers: Mapping[str, Any], errors: Mapping[str, str]) -> List[Dict[str, Any]]:
    if "drift" in errors:
        return [{"part": "probe", "name": "drift", "why": errors["drift"], "restarts": []}]
    return list(answers.get("drift") or [])
