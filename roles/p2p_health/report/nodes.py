"""What is wrong with one node: every trouble that its probe shows, the gravest first."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ansible_collections.p2p.cluster.plugins.plugin_utils.output.escape import shell

from . import remedy
from .adapter import Observation, Unit
from .model import STATES, Finding, Fleet, Host
from .unreached import unreached

# A service that keeps failing is back for less than this; an older process has survived its restarts.
SETTLED_SECONDS = 300.0
LOOPING_RESTARTS = 3
# The bundled program is ready in a few seconds; the original takes about 20 s to answer and up to 60 s to
# elect.
YOUNG_SECONDS = 60.0
MIN_INODES = 1000
# How etcd's log says that a member and its peers do not belong together.
_OTHER_CLUSTER = "cluster id mismatch"
_MANAGERS = re.compile(r"^(?:Start|Stopp)(?:ing|ed) |^Failed to start |^\S+\.service: ")
_NO_MODULE = ("ModuleNotFoundError: ", "ImportError: ")
_LAST_NAME = re.compile(r"([\w.]+)'?\Z")
_LONGEST_NAME = 100
# A mode alone keeps no module from being imported by whom it belongs to.
_BROKEN = re.compile(r" (?:is missing|is not a file|differs from what was installed)(?: and [0-9]+ more)?\Z")


@dataclass(frozen=True)
class Agreement:
    """Whom the nodes agree on as leader, and how many of them run an orchestrator that answers."""

    leader: str | None
    running: int


def findings(seen: Observation, host: Host, fleet: Fleet, agreed: Agreement) -> list[Finding]:
    """Return all troubles of a node, the gravest first; none if it is well.

    Args:
        seen: The node's probe.
        host: The node in the fleet file.
        fleet: The fleet, for names of services, bounds and commands.
        agreed: What the nodes agree on.
    """
    if not seen.reached:
        return [unreached(seen, host, fleet)]
    found = [*_machine(seen, host, fleet), *_service(seen, host, fleet)]
    if seen.running:
        found += _cluster(seen, host, fleet, agreed)
    found += _store(seen, host, fleet)
    if stale := _stale(seen, host, fleet):
        # What does not answer or waits for its store does so because of that.
        found = [
            one for one in found if one.state not in ("stopped", "not_responding", "starting", "isolated")
        ]
        found.append(stale)
    # A node that does not run, or runs something else, differs in ways that follow from that.
    follows = {finding.state for finding in found} & {"legacy_service", "missing_dependencies"}
    if seen.drift and not follows and (seen.running or not found):
        found.append(_drifted(seen, host, fleet))
    if not found and not seen.running:
        found.append(_silent(seen, host, fleet))
    by_state: dict[str, Finding] = {}
    for finding in found:
        by_state.setdefault(finding.state, finding)
    return sorted(by_state.values(), key=lambda finding: STATES.index(finding.state))


def _deploy(host: Host, fleet: Fleet) -> str:
    return remedy.deploy(fleet, host.name)


def _machine(seen: Observation, host: Host, fleet: Fleet) -> Iterator[Finding]:
    disk = seen.disk or {}
    free, inodes = disk.get("free_mb"), disk.get("inodes_free")
    path = shell(str(disk.get("path") or "/"))
    look = remedy.on(host, f"df -h -- {path}; {host.sudo}du -xh / | sort -h | tail -20")
    if free is not None and free < fleet.min_free_mb:
        yield Finding(
            "disk_full", f"{free} MB free on {disk.get('path')}, {fleet.min_free_mb} MB are needed", look
        )
    elif inodes is not None and inodes < MIN_INODES:
        yield Finding("disk_full", f"{inodes} inodes free on {disk.get('path')}", look)
    if seen.clock is not None:
        # The node told its time at some moment between these two.
        skew = max(fleet.started - seen.clock, seen.clock - fleet.asked, 0.0)
        if skew > fleet.max_clock_skew:
            word = "behind" if seen.clock < fleet.started else "ahead"
            synchronise = remedy.on(host, "sudo timedatectl set-ntp true; timedatectl")
            yield Finding("clock_skew", f"its clock is {_span(skew)} {word}", synchronise)
    listener = seen.listener
    pid = listener.get("pid") if listener else None
    # Nothing but a process of its own is a number to kill: 0 and less are groups, 1 is the machine.
    if listener and not listener.get("orchestrator") and not seen.running and type(pid) is int and pid > 1:
        name = listener.get("name") or "a process"
        yield Finding(
            "port_conflict",
            f"{name} (pid {pid}) listens on port {host.port}: {listener.get('cmdline') or name}",
            f"{remedy.on(host, f'{host.sudo}kill {pid}')} && {_deploy(host, fleet)}",
        )


def _service(seen: Observation, host: Host, fleet: Fleet) -> Iterator[Finding]:
    unit = seen.services.get(fleet.service)
    foreign = [item for item in seen.processes if item.get("kind") != "ours"]
    if foreign:
        item = foreign[0]
        by = f"the service {item['unit']}" if item.get("kind") == "legacy" else "hand or cron"
        since = f" since {_span(float(item['age_seconds']))}" if item.get("age_seconds") is not None else ""
        yield Finding(
            "legacy_service",
            f"pid {item.get('pid')}, started by {by}{since}: {item.get('cmdline')}",
            _deploy(host, fleet),
        )
    elif seen.watchdogs:
        first = seen.watchdogs[0]
        yield Finding(
            "legacy_service",
            f"{first['path']} would start another orchestrator: {first['line']}",
            _deploy(host, fleet),
        )
    else:
        for name, other in seen.services.items():
            if name not in (fleet.service, fleet.etcd_service) and _is_on(other):
                yield Finding(
                    "legacy_service", f"the old unit {name} is {_unit_words(other)}", _deploy(host, fleet)
                )
    missing, changed = _missing_modules(seen, unit), _changed_packages(seen)
    if missing or changed:
        how = "missing or changed" if set(changed) - set(missing) else "missing"
        names = ", ".join(dict.fromkeys([*missing, *changed]))
        yield Finding("missing_dependencies", f"{how} in its environment: {names}", _deploy(host, fleet))
    taken = seen.listener is not None and not seen.listener.get("orchestrator")
    if seen.running or foreign or taken:
        return
    yield from _not_running(seen, unit, host, fleet)


def _not_running(seen: Observation, unit: Unit | None, host: Host, fleet: Fleet) -> Iterator[Finding]:
    if seen.release is None and (unit is None or unit.load == "not-found") and not seen.processes:
        why = "no release, no service and no process was found"
        yield Finding("not_deployed", why, _deploy(host, fleet) + _local_flag(host))
        return
    if unit is None:
        return
    log = _last_line(unit)
    journal = remedy.look(host, seen.manager, fleet.service)
    young = unit.age is not None and unit.age < SETTLED_SECONDS
    if unit.sub == "auto-restart" or (unit.restarts >= LOOPING_RESTARTS and (unit.age is None or young)):
        code = f", exit status {unit.exit_status}" if unit.exit_status else ""
        yield Finding("crash_looping", f"restarted {unit.restarts} times{code}{log}", journal)
    elif unit.active == "activating":
        yield Finding("starting", f"its service is {_unit_words(unit)}", None)
    elif unit.active != "active" and not seen.processes:
        yield Finding("stopped", f"its service is {_unit_words(unit)}{log}", _deploy(host, fleet))


def _silent(seen: Observation, host: Host, fleet: Fleet) -> Finding:
    """Return the finding about a process that runs and does not answer, or about none at all."""
    why = seen.http_error or "no answer"
    age = seen.process_age
    if age is None:
        return Finding("stopped", f"no orchestrator runs; port {host.port}: {why}", _deploy(host, fleet))
    if age < YOUNG_SECONDS:
        return Finding("starting", f"started {_span(age)} ago, port {host.port}: {why}", None)
    journal = remedy.look(host, seen.manager, fleet.service)
    return Finding("not_responding", f"runs since {_span(age)}, port {host.port}: {why}", journal)


def _cluster(seen: Observation, host: Host, fleet: Fleet, agreed: Agreement) -> Iterator[Finding]:
    status = seen.status
    assert status is not None  # noqa: S101  # `running` means this
    young = status.uptime is not None and status.uptime < YOUNG_SECONDS
    if status.node_id is not None and status.node_id != host.name:
        why = f"the orchestrator here calls itself {status.node_id}"
        yield Finding("drifted", why, _deploy(host, fleet))
    if status.name_conflict:
        yield Finding("drifted", f"another machine in the cluster also calls itself {host.name}", None)
    if status.leader_id is None or not status.listened:
        if young:
            since = _span(status.uptime or 0.0)
            yield Finding("starting", f"started {since} ago and has not yet heard of a leader", None)
        else:
            yield _unled(seen, host, fleet, agreed)
    elif agreed.leader is not None and status.leader_id != agreed.leader:
        says = "itself" if status.leader_id == host.name else status.leader_id
        why = f"names {says} as leader, the others name {agreed.leader}"
        yield Finding("wrong_leader", why, remedy.look(host, seen.manager, fleet.service))
    elif status.alive_peers == 0 and agreed.running > 1:
        yield _unled(seen, host, fleet, agreed)
    if status.role == "leader" and agreed.leader not in (None, host.name):
        why = f"says that it leads, {agreed.leader} does"
        yield Finding("wrong_leader", why, remedy.look(host, seen.manager, fleet.service))


def _unled(seen: Observation, host: Host, fleet: Fleet, agreed: Agreement) -> Finding:
    status = seen.status
    assert status is not None  # noqa: S101  # only called for a node that answers
    parts = ["names no leader"] if status.leader_id is None else []
    if status.alive_peers is not None:
        parts.append(f"sees {status.alive_peers} live peers")
    if status.voters_alive is not None and status.voters:
        parts.append(f"{status.voters_alive} of {len(status.voters)} voters alive")
    if agreed.leader is None:
        return Finding("isolated", ", ".join(parts), None)
    seed = next((url for url in fleet.seeds), "")
    reach = remedy.on(host, f"curl -sS -m 5 {shell(f'{seed}/live')}")
    return Finding("isolated", f"{', '.join(parts)}; the others follow {agreed.leader}", reach)


def _store(seen: Observation, host: Host, fleet: Fleet) -> Iterator[Finding]:
    etcd, unit = seen.etcd, seen.services.get(fleet.etcd_service)
    if etcd is None or not host.voter:
        return
    journal = remedy.look(host, seen.manager, fleet.etcd_service)
    if etcd.error is not None:
        if unit is not None and unit.load == "not-found":
            yield Finding("not_deployed", "it votes, and has no etcd member", _deploy(host, fleet))
        elif unit is not None and (unit.sub == "auto-restart" or unit.restarts >= LOOPING_RESTARTS):
            yield Finding("crash_looping", f"{fleet.etcd_service} restarted {unit.restarts} times", journal)
        elif unit is not None and unit.active not in ("active", "activating"):
            yield Finding(
                "stopped",
                f"{fleet.etcd_service} is {_unit_words(unit)}{_last_line(unit)}",
                _deploy(host, fleet),
            )
        else:
            yield Finding("not_responding", f"its etcd member does not answer: {etcd.error}", journal)
    elif etcd.leader is None:
        yield Finding("isolated", "its etcd member knows no leader", journal)
    elif etcd.reads is False and not etcd.learner:
        yield Finding("isolated", "its etcd member names a leader, and no majority confirms it", journal)
    elif etcd.learner:
        yield Finding("starting", "its etcd member is a learner and does not vote yet", None)


def _stale(seen: Observation, host: Host, fleet: Fleet) -> Finding | None:
    """Return the finding about a member that the others turn away, because its data are of a lost cluster."""
    etcd, unit = seen.etcd, seen.services.get(fleet.etcd_service)
    if etcd is None or etcd.error is None or unit is None or not host.voter:
        return None
    if not any(_OTHER_CLUSTER in line.lower() for line in unit.log):
        return None
    folder = etcd.data_dir if etcd.data_dir.startswith("/") else "/var/lib/p2p-etcd"
    put_aside = (
        f"sudo systemctl stop {shell(fleet.etcd_service)}; sudo mv {shell(folder)} {shell(f'{folder}.stale')}"
    )
    return Finding(
        "isolated",
        f"the other voters turn its etcd member away: {folder} holds the data of another cluster, as one that"
        " was left out of a recovery does",
        f"{remedy.on(host, put_aside)} && {fleet.voters_play}",
    )


def _drifted(seen: Observation, host: Host, fleet: Fleet) -> Finding:
    told = [f"{item.get('part')} {item.get('name')}: {item.get('why')}" for item in seen.drift]
    more = f" and {len(told) - 2} more" if len(told) > 2 else ""  # noqa: PLR2004  # two fit a line
    return Finding("drifted", "; ".join(told[:2]) + more, _deploy(host, fleet))


def _missing_modules(seen: Observation, unit: Unit | None) -> list[str]:
    names = dict.fromkeys(seen.imports_missing)
    names |= dict.fromkeys(
        str(item.get("name"))
        for item in seen.drift
        if item.get("part") in ("venv", "package") and item.get("why") == "missing"
    )
    if unit is not None and not seen.running:
        for line in unit.log:
            # One pattern for all of it would try every end for every beginning: a line can have many.
            said = any(word in line for word in _NO_MODULE)
            if said and (found := _LAST_NAME.search(line.rstrip()[-_LONGEST_NAME:])):
                names[found.group(1)] = None
    return list(names)


def _changed_packages(seen: Observation) -> list[str]:
    """Return the packages of which a file is gone or has another content: they may not work any more."""
    changed = [
        str(item.get("name"))
        for item in seen.drift
        if item.get("part") == "package" and _BROKEN.search(str(item.get("why")))
    ]
    return list(dict.fromkeys(changed))


def _last_line(unit: Unit) -> str:
    """Return the program's own last line; what the service manager says of every restart explains nothing."""
    own = [line for line in unit.log if not _MANAGERS.search(line)]
    lines = own or unit.log
    return f"; last line: {lines[-1]}" if lines else ""


def _is_on(unit: Unit) -> bool:
    return unit.load not in ("not-found", "masked") and (
        unit.active in ("active", "activating") or unit.enabled == "enabled"
    )


def _unit_words(unit: Unit) -> str:
    words = f"{unit.active} ({unit.sub})"
    if unit.result not in (None, "", "success"):
        words += f", result {unit.result}"
    return f"{words}, {unit.enabled}" if unit.enabled else words


def _local_flag(host: Host) -> str:
    return " -e p2p_include_local=true" if host.provider == "local" else ""


def _span(seconds: float) -> str:
    """Return a length of time in its largest unit: `7 s`, `12 min`, `5 h`, `3 d`."""
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
