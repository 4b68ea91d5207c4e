"""The one place that reads a probe: p2p_probe's documented answer becomes an Observation."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .model import Answer


@dataclass(frozen=True)
class Unit:
    """A service as the service manager has it.

    `age` is seconds since its process started.
    """

    load: str = "not-found"
    active: str = "inactive"
    sub: str = "dead"
    enabled: str | None = None
    restarts: int = 0
    exit_status: int | None = None
    result: str | None = None
    age: float | None = None
    log: tuple[str, ...] = ()


@dataclass(frozen=True)
class Etcd:
    """What a voter's own etcd member says; `error` if it does not answer."""

    error: str | None = None
    member_id: str | None = None
    cluster_id: str | None = None
    leader: str | None = None
    learner: bool = False
    reads: bool | None = None
    alarms: tuple[str, ...] = ()
    version: str | None = None
    data_dir: str = ""
    members: Mapping[str, str] = field(default_factory=dict)
    learners: tuple[str, ...] = ()


@dataclass(frozen=True)
class Status:
    """What an orchestrator answers on /health and /status; None where it does not say."""

    node_id: str | None
    role: str
    leader_id: str | None
    term: int | None
    alive_peers: int | None
    voters: tuple[str, ...] | None
    voters_alive: int | None
    peers: Mapping[str, bool | None]
    listened: bool
    uptime: float | None
    name_conflict: bool
    store_error: str | None


@dataclass(frozen=True)
class Observation:
    """What is known of one node.

    `reached` is false without a probe that can be believed; `refusal` then says why. `untrusted` tells that
    it gave an answer which is none of a probe. `manager` is what manages its services.
    """

    reached: bool
    refusal: str = ""
    unreachable: bool = False
    untrusted: bool = False
    manager: str = ""
    services: Mapping[str, Unit] = field(default_factory=dict)
    processes: Sequence[Mapping[str, Any]] = ()
    listener: Mapping[str, Any] | None = None
    watchdogs: Sequence[Mapping[str, Any]] = ()
    release: str | None = None
    imports_missing: tuple[str, ...] = ()
    status: Status | None = None
    http_error: str | None = None
    etcd: Etcd | None = None
    disk: Mapping[str, Any] | None = None
    clock: float | None = None
    drift: Sequence[Mapping[str, Any]] = ()
    certificates: Sequence[tuple[str, float]] = ()

    @property
    def running(self) -> bool:
        """Whether an orchestrator answers here."""
        return self.status is not None

    @property
    def process_age(self) -> float | None:
        """Seconds that the orchestrator's process has run, or None if there is none."""
        ages = [float(item["age_seconds"]) for item in self.processes if item.get("age_seconds") is not None]
        return max(ages, default=None)


def observe(answer: Answer) -> Observation:
    """Read one node's registered result.

    Args:
        answer: The result of p2p_probe, or what Ansible registers when the node cannot be reached or the
            module fails.

    Returns:
        What is known of the node. A part that the probe does not give is empty or None, never guessed.
    """
    probe = answer.get("probe")
    if not isinstance(probe, Mapping):
        return Observation(
            reached=False,
            refusal=_why(answer),
            unreachable=bool(answer.get("unreachable", False)),
            untrusted=bool(answer.get("untrusted", False)),
        )
    clock = probe.get("clock") or {}
    now = clock.get("unix")
    listener = probe.get("listener")
    # What another program answers on the port says nothing of an orchestrator.
    foreign = listener is not None and listener.get("pid") is not None and not listener.get("orchestrator")
    http = {} if foreign else probe.get("http") or {}
    return Observation(
        reached=True,
        manager=str(probe.get("manager") or ""),
        services={str(name): _unit(unit, now) for name, unit in (probe.get("services") or {}).items()},
        processes=list(probe.get("processes") or []),
        listener=listener,
        watchdogs=list(probe.get("watchdogs") or []),
        release=(probe.get("release") or {}).get("name"),
        imports_missing=tuple(probe.get("imports_missing") or ()),
        status=_status(http),
        http_error="another program answers" if foreign else _http_error(http),
        etcd=_etcd(probe.get("etcd")),
        disk=probe.get("disk"),
        clock=float(now) if now is not None else None,
        drift=list(probe.get("drift") or []),
        certificates=[
            (str(item["path"]), float(item["not_after"])) for item in probe.get("certificates") or []
        ],
    )


def _why(answer: Answer) -> str:
    texts = [str(answer.get(key) or "").strip() for key in ("msg", "module_stderr")]
    return "\n".join(text for text in texts if text) or "no answer"


def _unit(unit: Mapping[str, Any], now: float | None) -> Unit:
    started = unit.get("started_at")
    return Unit(
        load=str(unit.get("load") or "not-found"),
        active=str(unit.get("active") or "inactive"),
        sub=str(unit.get("sub") or "dead"),
        enabled=unit.get("enabled"),
        restarts=int(unit.get("restarts") or 0),
        exit_status=unit.get("exit_status"),
        result=unit.get("result"),
        age=float(now) - float(started) if now is not None and started is not None else None,
        log=tuple(str(line) for line in unit.get("log") or ()),
    )


def _http_error(http: Mapping[str, Any]) -> str | None:
    status = http.get("status") or {}
    if isinstance(status.get("body"), Mapping):
        return None
    if status.get("error"):
        return str(status["error"])
    return f"/status answered {status['status']} without a document" if status.get("status") else "no answer"


def _status(http: Mapping[str, Any]) -> Status | None:
    body = (http.get("status") or {}).get("body")
    if not isinstance(body, Mapping) or "role" not in body:
        return None
    health = (http.get("health") or {}).get("body")
    uptime = body.get("uptime_seconds")
    if uptime is None and isinstance(health, Mapping):
        uptime = health.get("uptime_seconds")
    voters = body.get("voter_node_ids")
    store = body.get("store")
    return Status(
        node_id=body.get("node_id"),
        role=str(body.get("role") or ""),
        leader_id=body.get("effective_leader_id") or body.get("leader_id") or None,
        term=body.get("term"),
        alive_peers=body.get("alive_peers"),
        voters=tuple(map(str, voters)) if isinstance(voters, list) else None,
        voters_alive=body.get("voters_alive"),
        peers=_peers(body.get("peers")),
        listened=bool(body.get("listened", True)),
        uptime=float(uptime) if uptime is not None else None,
        name_conflict=bool(body.get("name_conflict", False)),
        store_error=store.get("error") if isinstance(store, Mapping) else None,
    )


def _peers(peers: object) -> dict[str, bool | None]:
    """Read peers as the probe cuts them down (a list), or as /status itself has them (a map)."""
    if isinstance(peers, Mapping):
        return {str(name): item.get("is_alive") for name, item in peers.items() if isinstance(item, Mapping)}
    if isinstance(peers, list):
        return {str(item["name"]): item.get("alive") for item in peers}
    return {}


def _etcd(etcd: Mapping[str, Any] | None) -> Etcd | None:
    if not etcd:
        return None
    if not etcd.get("member_id"):
        return Etcd(error=str(etcd.get("error") or "no answer"), data_dir=str(etcd.get("data_dir") or ""))
    members = {str(item["id"]): str(item.get("name") or "") for item in etcd.get("members") or []}
    return Etcd(
        error=None,
        member_id=str(etcd["member_id"]),
        cluster_id=str(etcd.get("cluster_id")),
        leader=str(etcd["leader"]) if str(etcd.get("leader") or "0") != "0" else None,
        learner=bool(etcd.get("learner")),
        reads=etcd.get("reads"),
        version=str(etcd["version"]) if etcd.get("version") else None,
        # A member without a leader says so among its errors: that is told by `leader`.
        alarms=tuple(
            sorted(
                {
                    found.group(1)
                    for text in etcd.get("alarms") or []
                    if (found := re.search(r"\b(NOSPACE|CORRUPT)\b", str(text)))
                }
            )
        ),
        members=members,
        learners=tuple(
            str(item.get("name") or "") for item in etcd.get("members") or [] if item.get("learner")
        ),
    )
