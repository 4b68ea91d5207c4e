"""All the ways in which a node is not what it is meant to be."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping, Optional

from .p2p_checkout import checkout_drift
from .p2p_digest import service_wanted
from .p2p_environment import BrokenEnvironmentError, lacking
from .p2p_processes import listener
from .p2p_releases import root_drift
from .p2p_services import for_manager, manager_for, names_asked, restarts_service, service_drift
from .p2p_systemd import ServiceError, UnitState
from .p2p_takeover import Listening, action, find, forbidden, foreign

States = Callable[[], Mapping[str, UnitState]]


def _in_full(service: Mapping[str, Any]) -> Mapping[str, Any]:
    return service if "unit_sha256" in service else service_wanted(service)


def units_compared(wanted: Mapping[str, Any]) -> List[str]:
    """Return the units whose states a comparison needs."""
    managed = [name for item in wanted.get("services") or [] for name in names_asked(_in_full(item))]
    return managed + list((wanted.get("takeover") or {}).get("units") or [])


def node_drift(
    wanted: Mapping[str, Any],
    root: str,
    timeout: float,
    states: Optional[States] = None,
    listening: Listening = listener,
) -> List[Dict[str, Any]]:
    """Compare a node with what it is meant to be.

    Args:
        wanted: `release` (of the filter p2p_release_wanted), `checkout` and `environment` (the parameters of
          p2p_checkout and p2p_environment), `takeover` (those of p2p_takeover) and `services` (of
          p2p_service_wanted), each optional.
        root: where releases lie, unless the release says so itself.
        timeout: seconds that each question to the service manager may take.
        states: gives the states of `units_compared`; without it the service manager is asked here.
        listening: tells who listens on a port.

    Returns:
        For each difference `part`, `name`, `why`, and `restarts`, the services that its mending stops or
        restarts; `service` too where it is about a service and what that one reads.
    """
    found: List[Dict[str, Any]] = []
    services = [_in_full(item) for item in wanted.get("services") or []]
    release = wanted.get("release")
    if release:
        release = dict(release, root=release.get("root") or root)
        runners = [
            item["name"]
            for item in services
            if str(item.get("current") or "").startswith(release["root"] + "/")
        ]
        # A file of the release is put back in place; anything else gives a new release.
        found += [
            dict(item._asdict(), restarts=[] if item.part == "file" else runners)
            for item in root_drift(release)
        ]
    found += _checkout(wanted.get("checkout"), timeout)
    found += _environment(wanted.get("environment"), timeout)
    found += _takeover(wanted.get("takeover"), timeout, states, listening)
    for service in services:
        found += _service(service, timeout, states)
    return found


def _checkout(spec: Optional[Mapping[str, Any]], timeout: float) -> List[Dict[str, Any]]:
    if not spec:
        return []
    restarts = [str(spec["service"])]
    return [
        {"part": "checkout", "name": spec["path"], "why": why, "restarts": restarts}
        for why in checkout_drift(spec, timeout)
    ]


def _environment(spec: Optional[Mapping[str, Any]], timeout: float) -> List[Dict[str, Any]]:
    if not spec:
        return []
    try:
        lacks = lacking(spec, timeout)
    except BrokenEnvironmentError as trouble:
        return [{"part": "venv", "name": spec["venv"], "why": "%s" % trouble, "restarts": []}]
    return [{"part": "package", "name": line, "why": "missing", "restarts": []} for line in lacks]


def _takeover(
    spec: Optional[Mapping[str, Any]], timeout: float, states: Optional[States], listening: Listening
) -> List[Dict[str, Any]]:
    if not spec:
        return []
    why_not = foreign(spec, listening)
    found = [{"part": "port", "name": str(spec["port"]), "why": why_not, "restarts": []}] if why_not else []
    # What runs there now may be what the node takes part with.
    earlier = [] if why_not else find(spec, timeout, states)
    why_not = forbidden(earlier)
    if why_not:
        return [{"part": "port", "name": str(spec["port"]), "why": why_not, "restarts": []}]
    return found + [
        {"part": "legacy", "name": item.name, "why": action(item), "restarts": [spec["service"]]}
        for item in earlier
    ]


def _service(service: Mapping[str, Any], timeout: float, states: Optional[States]) -> List[Dict[str, Any]]:
    try:
        manager = manager_for(service["manager"], timeout, service.get("place"))
        service = for_manager(service, manager)
        known = states() if states else manager.states(names_asked(service))
    except ServiceError as error:
        return [{"part": "manager", "name": service["name"], "why": "%s" % error, "restarts": []}]
    name = service["name"]
    return [
        dict(item._asdict(), service=name, restarts=[name] if restarts_service(item) else [])
        for item in service_drift(service, manager, known)
    ]
