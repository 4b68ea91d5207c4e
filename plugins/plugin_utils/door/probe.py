"""The schema of a probe: what p2p_probe documents, and nothing else."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from .words import (
    FEW,
    Count,
    Decimal,
    ExitStatus,
    HttpCode,
    Libc,
    Line,
    Milliseconds,
    ModuleName,
    NodeName,
    NodeNameOrNone,
    PackageName,
    Percent,
    ProcessId,
    PythonVersion,
    ReleaseName,
    Seconds,
    ServiceName,
    Sha256,
    Small,
    Target,
    Url,
    Version,
    Word,
    WordOrNone,
)

Many = Meta(max_length=20_000)
Few = Meta(max_length=FEW)


class Platform(Struct, kw_only=True):
    """The operating system, the machine and what contains it."""

    system: Word
    distribution: Line = ""
    version: Line = ""
    kernel: Line = ""
    machine: Word
    libc: Libc | None = None
    hostname: Line = ""
    container: Line | None = None
    cpus: Small | None = None


class User(Struct, kw_only=True):
    """Who the probe ran as."""

    name: Line
    uid: Count
    home: Line
    root: bool
    sudo: bool | None = None


class Interpreter(Struct, kw_only=True):
    """The Python that ran the probe."""

    path: Line
    version: PythonVersion


class Python(Struct, kw_only=True):
    """A Python of the node."""

    path: Line
    version: PythonVersion | None = None
    named: bool = False


class Disk(Struct, kw_only=True):
    """The file system that releases lie on."""

    path: Line
    total_mb: Count
    free_mb: Count
    used_percent: Percent
    inodes_free: Count | None = None


class Memory(Struct, kw_only=True):
    """Memory, and the load of the last minute."""

    total_mb: Count | None = None
    available_mb: Count | None = None
    load: Annotated[float, Meta(ge=0, le=1e6)] | None = None


class Clock(Struct, kw_only=True):
    """The wall clock."""

    unix: Seconds
    synchronised: bool | None = None
    uptime_seconds: Seconds | None = None


class Service(Struct, kw_only=True):
    """What the service manager says of a service."""

    load: Word
    active: Word
    sub: WordOrNone = ""
    enabled: Word | None = None
    unit_path: Line | None = None
    unit_sha256: Sha256 | None = None
    drop_ins: Annotated[list[Line], Few] = []
    reload_needed: bool = False
    restarts: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 0
    # supervisord and launchd say it in words: `not running`, `supervisord does not run`.
    result: Line | None = None
    exit_status: ExitStatus | None = None
    pid: ProcessId | None = None
    started_at: Seconds | None = None
    config_digest: Line | None = None
    cwd: Line | None = None
    look: Line = ""
    log: Annotated[list[Line], Few] = []


class Process(Struct, kw_only=True):
    """An orchestrator that runs."""

    kind: Literal["ours", "legacy", "manual"]
    pid: ProcessId
    cmdline: Line
    age_seconds: Seconds | None = None
    owner: Line | None = None
    unit: Line | None = None


class Listener(Struct, kw_only=True):
    """Who listens on the orchestrator's port."""

    pid: ProcessId | None = None
    name: Line | None = None
    cmdline: Line | None = None
    owner: Line | None = None
    orchestrator: bool | None = None


class Watchdog(Struct, kw_only=True):
    """A line of cron that would start an orchestrator."""

    path: Line
    line: Line


class Manifest(Struct, kw_only=True):
    """What a release says of itself."""

    name: ReleaseName
    created_at: Seconds | None = None
    python: Line | None = None
    packages: Annotated[dict[PackageName, Version], Few] | None = None
    python_version: PythonVersion | None = None
    artifact: Sha256 | None = None
    target: Target | None = None


class Release(Struct, kw_only=True):
    """The current release, and those that a rollback could go to."""

    current: Line | None = None
    name: ReleaseName | None = None
    manifest: Manifest | None = None
    previous: ReleaseName | None = None
    available: Annotated[list[ReleaseName], Few] = []
    built: Annotated[dict[ReleaseName, Seconds], Few] = {}


class Peer(Struct, kw_only=True):
    """Another node as an orchestrator sees it."""

    name: NodeName
    alive: bool | None = None


class Store(Struct, kw_only=True):
    """How an orchestrator gets on with its store."""

    error: Line | None = None
    kind: Word | None = None
    ok: bool | None = None


class StatusBody(Struct, kw_only=True):
    """What is read of an orchestrator's /status; what it does not say stays unsaid."""

    role: Word | UnsetType = UNSET
    node_id: NodeNameOrNone | None = None
    leader_id: NodeNameOrNone | None = None
    effective_leader_id: NodeNameOrNone | None = None
    term: Count | None = None
    alive_peers: Small | None = None
    voter: bool | UnsetType = UNSET
    voter_node_ids: Annotated[list[NodeName], Few] | None = None
    voters_alive: Small | None = None
    voter_quorum_ok: bool | None = None
    seconds_since_quorum: Seconds | None = None
    peers: Annotated[list[Peer], Many] | None = None
    listened: bool | UnsetType = UNSET
    uptime_seconds: Seconds | None = None
    name_conflict: bool = False
    store: Store | None = None
    settings_sha256: Sha256 | UnsetType | None = UNSET
    version: Line | None = None


class HealthBody(Struct, kw_only=True):
    """What is read of an orchestrator's /health."""

    healthy: bool | None = None
    node_id: NodeNameOrNone | None = None
    role: Word | UnsetType = UNSET
    leader_id: NodeNameOrNone | None = None
    term: Count | None = None
    uptime_seconds: Seconds | None = None


class Page(Struct, kw_only=True):
    """An answer over HTTP without its body."""

    status: HttpCode | None = None
    ms: Milliseconds | None = None
    error: Line | None = None


class StatusPage(Page, kw_only=True):
    """The answer of /status."""

    body: StatusBody | None = None


class HealthPage(Page, kw_only=True):
    """The answer of /health."""

    body: HealthBody | None = None


class Http(Struct, kw_only=True):
    """What the orchestrator answers."""

    health: HealthPage
    status: StatusPage


class Member(Struct, kw_only=True):
    """A member of the store, as another lists it."""

    id: Decimal
    name: NodeNameOrNone = ""
    learner: bool = False
    peer_urls: Annotated[list[Url], Few] = []
    client_urls: Annotated[list[Url], Few] = []


class Etcd(Struct, kw_only=True):
    """What the node's own member says; without an answer `error` says why."""

    has_data: bool | None = None
    data_dir: Line = ""
    ms: Milliseconds | None = None
    error: Line | None = None
    member_id: Decimal | None = None
    cluster_id: Decimal | None = None
    leader: Decimal | None = None
    raft_index: Count = 0
    raft_applied_index: Count = 0
    raft_term: Count = 0
    learner: bool = False
    reads: bool | None = None
    alarms: Annotated[list[Line], Few] = []
    version: Version | None = None
    db_size: Count = 0
    db_size_in_use: Count = 0
    members: Annotated[list[Member], Few] = []


class Certificate(Struct, kw_only=True):
    """When a certificate ends."""

    path: Line
    not_after: Seconds


Part = Literal[
    "checkout",
    "directory",
    "enabled",
    "file",
    "legacy",
    "live",
    "manager",
    "masked",
    "package",
    "port",
    "probe",
    "release",
    "reload",
    "restart",
    "state",
    "unit",
    "venv",
]


class Drift(Struct, kw_only=True):
    """How the node differs from what it is meant to be."""

    part: Part
    name: Line
    why: Line
    restarts: Annotated[list[ServiceName], Few] = []
    service: ServiceName | UnsetType = UNSET


class Reached(Struct, kw_only=True):
    """Whether a port that the controller named is reached."""

    outcome: Literal["open", "refused", "blocked"]
    why: Line = ""


class Dialled(Struct, kw_only=True):
    """Whether a voter gets through to another one, at the place that the controller named."""

    outcome: Literal["open", "refused", "blocked", "foreign", "untrusted"]
    why: Line = ""


class Tried(Dialled, kw_only=True):
    """The same with that of the address that the store's list has, if it is another."""

    listed: Dialled | None = None


class Probe(Struct, kw_only=True):
    """What a node is, by its own word."""

    schema: Literal[1]
    platform: Platform | None = None
    manager: Literal["systemd", "supervisord", "launchd"]
    user: User | None = None
    python: Interpreter | None = None
    pythons: Annotated[list[Python], Few] = []
    disk: Disk | None = None
    memory: Memory | None = None
    clock: Clock | None = None
    services: Annotated[dict[ServiceName, Service], Few]
    processes: Annotated[list[Process], Few] = []
    listener: Listener | None = None
    watchdogs: Annotated[list[Watchdog], Few] = []
    release: Release | None = None
    imports_missing: Annotated[list[ModuleName], Few] | None = None
    http: Http
    etcd: Etcd | None = None
    certificates: Annotated[list[Certificate], Few] = []
    drift: Annotated[list[Drift], Many]
    digests: Annotated[dict[Line, Sha256 | None], Few] = {}
    reach: Annotated[list[Reached], Few] | None = None
    mesh: Annotated[list[Tried], Few] | None = None
    errors: Annotated[dict[Word, Line], Few] = {}
    voter: bool = False
    elapsed_ms: Milliseconds = 0.0
