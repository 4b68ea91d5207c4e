"""The shapes that the parts of the report hand to each other; docs/health.schema.json publishes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

# The registered result of one node's probe, as Ansible gives it.
Answer = Mapping[str, Any]

# Worst first: the order of the report's rows, and of what is said of a node with several troubles.
STATES = (
    "unreachable",
    "auth_failed",
    "host_key_changed",
    "untrusted_answer",
    "no_python",
    "disk_full",
    "port_conflict",
    "legacy_service",
    "not_deployed",
    "missing_dependencies",
    "crash_looping",
    "stopped",
    "not_responding",
    "isolated",
    "wrong_leader",
    "clock_skew",
    "drifted",
    "starting",
    "ok",
)


@dataclass(frozen=True)
class Host:
    """A node as the fleet file has it.

    `ssh` is a login to paste, `sudo` what goes before a command that takes the rights of a deploy,
    `forget_key` what forgets its host key; all three are the shell's. `root` is the folder that it is
    deployed to, `bundled` whether it runs the project's own program.
    """

    name: str
    provider: str = "unknown"
    role: str = ""
    voter: bool = False
    hardware: str = ""
    address: str = ""
    port: int = 8770
    traits: tuple[str, ...] = ()
    ssh: str = "ssh"
    sudo: str = "sudo "
    forget_key: str = "ssh-keygen -R"
    root: str = "/opt/p2p-cluster"
    bundled: bool = True


@dataclass(frozen=True)
class Fleet:
    """What the report needs of the fleet file and of the run.

    `hosts` are the nodes that the run asked, `total` how many it would ask without `--limit`. `left_out`
    counts the hosts that are not deployed to, by why. `started` and `asked` are the controller's clock, in
    seconds since the epoch, before the first and after the last answer. `service` and `etcd_service` are
    names of units; `deploy` and `voters_play` are commands, the shell's.
    """

    hosts: Mapping[str, Host]
    voters: Sequence[str]
    total: int
    started: float
    asked: float
    file: str = "distributed_hosts.yaml"
    cluster: str = "p2p"
    left_out: Mapping[str, int] = field(default_factory=dict)
    seeds: Sequence[str] = ()
    service: str = "p2p_orchestrator"
    etcd_service: str = "p2p-etcd"
    deploy: str = "ansible-playbook deploy.yml"
    voters_play: str = "ansible-playbook voters.yml"
    local_wanted: bool = False
    min_free_mb: int = 500
    max_clock_skew: float = 10.0
    certificate_days: float = 14.0


@dataclass(frozen=True)
class Finding:
    """One trouble of a node: a state, what shows it, and the command that mends it."""

    state: str
    evidence: str
    remedy: str | None = None


class Voters(TypedDict):
    """The voters of the fleet file, those that live, and how many of those may still fail.

    `limited_by` is what allows fewer to fail than the number of those that live, or None.
    """

    configured: list[str]
    alive: list[str]
    quorum: int
    quorum_ok: bool
    tolerates: int
    limited_by: str | None


class Tried(TypedDict):
    """A way from a voter to a port of another: `service` is `etcd` or `heartbeat`, `outcome` the probe's."""

    source: str
    target: str
    service: str
    place: str
    outcome: str
    why: str


class Count(TypedDict):
    """Nodes of a provider, and how many of them run an orchestrator that answers."""

    nodes: int
    running: int


class Coverage(Count):
    """The same of all, and as a percentage."""

    percent: float


class Problem(TypedDict):
    """A trouble of the cluster, not of one node: `severity` is `critical` or `degraded`."""

    kind: str
    severity: str
    evidence: str
    remedy: str | None


class Scope(TypedDict):
    """How many nodes the run asked, of how many; `left_out` counts hosts that are not deployed to, by why."""

    asked: int
    of: int
    partial: bool
    left_out: dict[str, int]


class Cluster(TypedDict):
    """The cluster as its nodes agree on it."""

    name: str
    verdict: str
    summary: str
    leader_id: str | None
    leaders_reported: list[str]
    term: int | None
    voters: Voters
    mesh: list[Tried]
    coverage: Coverage
    by_provider: dict[str, Count]
    by_state: dict[str, int]
    problems: list[Problem]
    scope: Scope


class Also(TypedDict):
    """A further trouble of a node."""

    state: str
    evidence: str
    remedy: str | None


class Node(TypedDict):
    """One row of the report."""

    node_id: str
    provider: str
    role: str
    hardware: str
    voter: bool
    state: str
    running: bool
    leader_id: str | None
    alive_peers: int | None
    release: str | None
    evidence: str
    remedy: str | None
    also: list[Also]


class Change(TypedDict):
    """What a node was in the last report and is now; null where it was not in it."""

    node_id: str
    before: str | None
    now: str | None


class Changes(TypedDict):
    """What differs from the last report, that of `since`."""

    since: str
    verdict: list[str] | None
    leader: list[str | None] | None
    nodes: list[Change]


class Report(TypedDict):
    """The whole report."""

    schema: int
    generated_at: str
    cluster: Cluster
    nodes: list[Node]
    changes: Changes | None
