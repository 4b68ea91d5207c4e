"""From the nodes' answers to the report: a pure function."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timezone

from .adapter import Observation, observe
from .cluster import Leadership, leadership, problems, statuses, voters
from .mesh import between, moves, rows
from .mesh import problems as apart
from .model import (
    STATES,
    Also,
    Answer,
    Cluster,
    Count,
    Coverage,
    Finding,
    Fleet,
    Host,
    Node,
    Problem,
    Report,
    Scope,
    Tried,
    Voters,
)
from .nodes import Agreement, findings

SCHEMA = 1


def report(answers: Mapping[str, Answer], fleet: Fleet) -> Report:
    """Turn what every node said into the report.

    Args:
        answers: For each node of `fleet.hosts` what Ansible registered for its probe; a node without an
            answer is unreachable.
        fleet: The fleet file and the run.

    Returns:
        The report, in the shape of docs/health.schema.json, without what changed since the last one. The
        worst nodes come first, equal ones by name.
    """
    seen = {name: observe(answers.get(name, {"unreachable": True})) for name in fleet.hosts}
    led, counted = leadership(seen, fleet.voters), voters(answers, seen, fleet)
    tried = between(answers, seen, fleet, counted["alive"])
    agreed = Agreement(leader=led.leader, running=sum(one.running for one in seen.values()))
    found = {name: findings(seen[name], host, fleet, agreed) for name, host in fleet.hosts.items()}
    nodes = sorted(
        (_node(host, seen[name], found[name]) for name, host in fleet.hosts.items()),
        key=lambda node: (STATES.index(node["state"]), not node["voter"], node["node_id"]),
    )
    troubles = problems(seen, fleet, led, counted, [*apart(tried, seen, fleet), *moves(answers, fleet)])
    broken = [node for node in nodes if counts_as_broken(node, fleet)]
    return Report(
        schema=SCHEMA,
        generated_at=datetime.fromtimestamp(fleet.asked, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        cluster=_cluster(
            nodes=nodes,
            troubles=troubles,
            broken=broken,
            fleet=fleet,
            led=led,
            counted=counted,
            mesh=rows(tried),
        ),
        nodes=nodes,
        changes=None,
    )


def counts_as_broken(node: Node, fleet: Fleet) -> bool:
    """Tell whether a node takes from the cluster's health; the operator's own machines may be left out."""
    if node["state"] == "ok":
        return False
    return not (node["state"] == "not_deployed" and node["provider"] == "local" and not fleet.local_wanted)


def election_under_way(answers: Mapping[str, Answer], fleet: Fleet) -> list[str]:
    """Return the nodes to ask a second time, because their first answers show a cluster between two leaders.

    Returns:
        The nodes that ran an orchestrator, if they name no one leader and the voters could have one; nodes
        that have just started and not yet heard, or that name another leader than the rest, otherwise. A dead
        node is not asked again.
    """
    seen = {name: observe(answers.get(name, {"unreachable": True})) for name in fleet.hosts}
    answered, led = statuses(seen), leadership(seen, fleet.voters)
    if led.leader is None:
        alive = sum(1 for name in fleet.voters if name in answered)
        return sorted(answered) if alive * 2 > len(fleet.voters) else []
    return sorted(
        name for name, status in answered.items() if status.leader_id != led.leader or not status.listened
    )


def _node(host: Host, seen: Observation, found: list[Finding]) -> Node:
    first = found[0] if found else Finding("ok", "")
    return Node(
        node_id=host.name,
        provider=host.provider,
        role=host.role,
        hardware=host.hardware,
        voter=host.voter,
        state=first.state,
        running=seen.running,
        leader_id=seen.status.leader_id if seen.status else None,
        alive_peers=seen.status.alive_peers if seen.status else None,
        release=seen.release,
        evidence=first.evidence,
        remedy=first.remedy,
        also=[Also(state=item.state, evidence=item.evidence, remedy=item.remedy) for item in found[1:]],
    )


def _cluster(
    *,
    nodes: list[Node],
    troubles: list[Problem],
    broken: list[Node],
    fleet: Fleet,
    led: Leadership,
    counted: Voters,
    mesh: list[Tried],
) -> Cluster:
    providers: dict[str, Count] = {}
    for node in sorted(nodes, key=lambda item: item["provider"]):
        count = providers.setdefault(node["provider"], Count(nodes=0, running=0))
        count["nodes"] += 1
        count["running"] += node["running"]
    running = sum(node["running"] for node in nodes)
    states = Counter(node["state"] for node in nodes)
    verdict = "healthy"
    if broken or troubles:
        verdict = "critical" if any(item["severity"] == "critical" for item in troubles) else "degraded"
    return Cluster(
        name=fleet.cluster,
        verdict=verdict,
        summary=_summary(
            verdict=verdict,
            troubles=troubles,
            broken=broken,
            fleet=fleet,
            led=led,
            counted=counted,
            running=running,
        ),
        leader_id=led.leader,
        leaders_reported=list(led.named),
        term=led.term,
        voters=counted,
        mesh=mesh,
        coverage=Coverage(
            nodes=len(nodes),
            running=running,
            percent=round(100.0 * running / len(nodes), 1) if nodes else 0.0,
        ),
        by_provider=providers,
        by_state={state: states[state] for state in reversed(STATES) if states[state]},
        problems=troubles,
        scope=Scope(
            asked=len(nodes),
            of=fleet.total,
            partial=len(nodes) < fleet.total,
            left_out=dict(fleet.left_out),
        ),
    )


def _quorum(counted: Voters) -> str:
    if not counted["configured"]:
        return "no voters"
    alive = f"{len(counted['alive'])} of {len(counted['configured'])} voters"
    if counted["quorum_ok"]:
        limit = f": {counted['limited_by']} allow no more" if counted["limited_by"] else ""
        return f"quorum ({alive}, tolerates {counted['tolerates']}{limit})"
    return f"no quorum ({alive}, needs {counted['quorum']})"


def _summary(
    *,
    verdict: str,
    troubles: list[Problem],
    broken: list[Node],
    fleet: Fleet,
    led: Leadership,
    counted: Voters,
    running: int,
) -> str:
    """Return the verdict in one line, without the word itself."""
    if len(led.claims) > 1:
        lead = f"{len(led.claims)} leaders ({', '.join(led.claims)})"
    elif led.leader:
        lead = f"{led.leader} leads" + (f" in term {led.term}" if led.term is not None else "")
    else:
        lead = "no leader"
    parts = [
        lead,
        _quorum(counted),
        f"{running} of {len(fleet.hosts)} nodes run",
    ]
    if broken:
        parts.append(f"{len(broken)} broken")
    warnings = [item for item in troubles if item["severity"] == "degraded"]
    if warnings and verdict != "healthy":
        parts.append(f"{len(warnings)} warning{'s' if len(warnings) > 1 else ''}")
    if len(fleet.hosts) < fleet.total:
        parts.append(f"only {len(fleet.hosts)} of {fleet.total} were asked")
    return ", ".join(parts)
