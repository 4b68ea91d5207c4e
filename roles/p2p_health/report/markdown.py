"""The report in Markdown: the status report that people used to write by hand, section by section."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ansible_collections.p2p.cluster.plugins.plugin_utils.output.escape import (
    code_block,
    code_span,
    shell,
)
from ansible_collections.p2p.cluster.plugins.plugin_utils.output.escape import markdown as escape

from .model import STATES, Fleet, Node, Report
from .terminal import role

TITLES = {
    "unreachable": "SSH Connectivity Issues",
    "auth_failed": "SSH Refuses the Login",
    "host_key_changed": "Host Key Changed",
    "untrusted_answer": "Answer Not Believed",
    "no_python": "No Usable Python",
    "disk_full": "Disk Full",
    "port_conflict": "Port Taken by Another Program",
    "legacy_service": "Earlier Deployment Still There",
    "not_deployed": "P2P Never Deployed",
    "missing_dependencies": "Missing Dependencies",
    "crash_looping": "Crashes and Restarts",
    "stopped": "Stopped",
    "not_responding": "Runs and Does Not Answer",
    "isolated": "Cut Off from the Cluster",
    "wrong_leader": "Follows Another Leader",
    "clock_skew": "Clock Is Wrong",
    "drifted": "Differs from What Was Deployed",
    "starting": "Still Starting",
}


def markdown(report: Report, fleet: Fleet) -> str:
    """Return the report as one Markdown document."""
    cluster = report["cluster"]
    sections = [
        _head(report, fleet),
        _summary(report),
        _voters(report, fleet),
        _nodes(report, fleet),
        _issues(report),
        _commands(fleet),
        _endpoints(fleet),
        _reference(fleet),
        _provenance(report),
    ]
    title = "# P2P Cluster Status Report" + (
        "" if cluster["name"] == "p2p" else f": {escape(cluster['name'])}"
    )
    return "\n\n".join([title, *sections]) + "\n"


def _head(report: Report, fleet: Fleet) -> str:
    return (
        f"> **Report Date**: {escape(report['generated_at'])}\n"
        f"> **Status**: {escape(report['cluster']['verdict'].upper())}\n"
        f"> **Config Source of Truth**: {code_span(fleet.file)}"
    )


def _summary(report: Report) -> str:
    cluster = report["cluster"]
    voters, coverage, scope = cluster["voters"], cluster["coverage"], cluster["scope"]
    leader = code_span(cluster["leader_id"]) if cluster["leader_id"] else "none"
    term = f", term {escape(str(cluster['term']))}" if cluster["term"] is not None else ""
    state = (
        f"tolerates {voters['tolerates']} more failures" if voters["quorum_ok"] else "**the quorum is lost**"
    )
    quorum = (
        f"{len(voters['configured'])} voters configured, quorum requires {voters['quorum']},"
        f" {len(voters['alive'])} alive; {state}"
    )
    lines = [
        "## Executive Summary",
        "",
        escape(f"{cluster['verdict'].capitalize()}: {cluster['summary']}."),
        "",
        f"- **Voter Quorum**: {quorum if voters['configured'] else '**the fleet file names no voters**'}",
        f"- **Cluster Coverage**: {coverage['running']} of {coverage['nodes']} nodes with P2P running"
        f" ({coverage['percent']}% of the nodes asked)",
        f"- **Leader**: {leader}{term}",
    ]
    if scope["partial"]:
        lines.append(f"- **Scope**: a part, {scope['asked']} of {scope['of']} nodes were asked")
    if scope["left_out"]:
        told = ", ".join(f"{count} {why}" for why, count in scope["left_out"].items())
        lines.append(f"- **Not Asked** (by the fleet file): {escape(told)}")
    changes = report["changes"]
    if changes is not None:
        lines.append(f"- **Changes** since {escape(changes['since'])}: {_changes(report)}")
    return "\n".join(lines)


def _changes(report: Report) -> str:
    changes = report["changes"]
    told: list[str] = []
    if changes is not None:
        if changes["verdict"]:
            told.append(escape(f"verdict {changes['verdict'][0]} → {changes['verdict'][1]}"))
        if changes["leader"]:
            told.append(escape(f"leader {changes['leader'][0] or 'none'} → {changes['leader'][1] or 'none'}"))
        told += [
            code_span(item["node_id"]) + " " + escape(f"{item['before'] or 'new'} → {item['now'] or 'gone'}")
            for item in changes["nodes"]
        ]
    return "; ".join(told) or "none"


def _voters(report: Report, fleet: Fleet) -> str:
    rows = []
    known = {node["node_id"]: node for node in report["nodes"]}
    for name in report["cluster"]["voters"]["configured"]:
        host, node = fleet.hosts.get(name), known.get(name)
        alive = "Active" if name in report["cluster"]["voters"]["alive"] else "Down"
        if node is not None and node["state"] not in ("ok", "starting"):
            alive += f" ({node['state']})"
        rows.append(
            (
                name,
                _provider(host.provider) if host else "",
                host.hardware if host else "",
                host.address if host else "",
                alive + (", leads" if name == report["cluster"]["leader_id"] else ""),
            )
        )
    table = _table(("Voter Node", "Provider", "Hardware", "IP", "Status"), _escaped(rows))
    told = f"## Current Voter Configuration\n\nFrom {code_span(fleet.file)} (authoritative):\n\n{table}"
    shut = [way for way in report["cluster"]["mesh"] if way["outcome"] != "open"]
    if not shut:
        return told
    ways = [
        (way["source"], way["target"], way["service"], way["place"], way["outcome"], way["why"])
        for way in shut
    ]
    listed = _table(("From", "To", "Service", "At", "Outcome", "Why"), _escaped(ways))
    return f"{told}\n\n### Ways That Are Closed\n\n{listed}"


def _nodes(report: Report, fleet: Fleet) -> str:
    providers = [
        (_provider(name), str(count["nodes"]), str(count["running"]), _notes(name, report, fleet))
        for name, count in report["cluster"]["by_provider"].items()
    ]
    nodes = [
        (
            node["node_id"],
            node["provider"],
            role(node),
            node["leader_id"] or "",
            "" if node["alive_peers"] is None else str(node["alive_peers"]),
            node["state"],
        )
        for node in report["nodes"]
    ]
    return "\n\n".join(
        [
            "## Cluster Node Summary",
            "### By Provider",
            _table(("Provider", "Nodes", "P2P Running", "Notes"), _escaped(providers)),
            "### By Node",
            _table(("Node", "Provider", "Role", "Leader", "Alive Peers", "State"), _escaped(nodes)),
        ]
    )


def _notes(provider: str, report: Report, fleet: Fleet) -> str:
    hosts = [host for host in fleet.hosts.values() if host.provider == provider]
    traits = dict.fromkeys(trait for host in hosts for trait in host.traits)
    voters = sum(host.voter for host in hosts)
    broken: dict[str, int] = {}
    for node in report["nodes"]:
        if node["provider"] == provider and node["state"] != "ok":
            broken[node["state"]] = broken.get(node["state"], 0) + 1
    notes = [*traits, *([f"{voters} voter{'s' if voters > 1 else ''}"] if voters else [])]
    return ", ".join([*notes, *(f"{count} {state}" for state, count in broken.items())])


def _issues(report: Report) -> str:
    parts = [f"## Known Issues ({report['generated_at'][:10]})"]
    number = 0
    if report["cluster"]["problems"]:
        number += 1
        lines = [f"{number}. **The Cluster**:", ""]
        for problem in report["cluster"]["problems"]:
            lines += _item(
                escape(f"{problem['kind']} ({problem['severity']})"), problem["evidence"], problem["remedy"]
            )
        parts.append("\n".join(lines).rstrip())
    for state in STATES:
        nodes = [node for node in report["nodes"] if node["state"] == state]
        if not nodes or state == "ok":
            continue
        number += 1
        count = f"{len(nodes)} node{'s' if len(nodes) > 1 else ''}"
        lines = [f"{number}. **{TITLES[state]}** ({count}):", ""]
        for node in nodes:
            lines += _node_items(node)
        parts.append("\n".join(lines).rstrip())
    if number == 0:
        parts.append("None.")
    return "\n\n".join(parts)


def _node_items(node: Node) -> list[str]:
    name = code_span(node["node_id"])
    lines = _item(name, node["evidence"], node["remedy"])
    for other in node["also"]:
        lines += _item(f"{name} also {escape(other['state'])}", other["evidence"], other["remedy"])
    return lines


def _item(name: str, evidence: str, remedy: str | None) -> list[str]:
    lines = [f"   - {name}: {escape(evidence)}"]
    return [*lines, "", code_block(remedy, indent=5), ""] if remedy else lines


def _commands(fleet: Fleet) -> str:
    playbook = fleet.deploy.removesuffix("deploy.yml")
    commands = [
        f"{playbook}health.yml                       # this report",
        f"{playbook}health.yml --limit 'runpod-*'    # of a part",
        f"{playbook}deploy.yml --check --diff        # preview",
        f"{playbook}deploy.yml                       # deploy to all, or mend what differs",
        f"{playbook}deploy.yml --limit vast          # one provider",
        f"{playbook}deploy.yml -e p2p_include_local=true",
    ]
    return "## Deployment Commands\n\n" + code_block("\n".join(commands))


def _endpoints(fleet: Fleet) -> str:
    url = next(iter(fleet.seeds), "http://<node-ip>:8770")
    commands = [
        f"curl -s {shell(f'{url}/health')}                         # 200 if all is well, else 503",
        f"curl -s {shell(f'{url}/status')} | python3 -m json.tool  # leader, peers, voters",
        f"curl -s {shell(f'{url}/metrics')}                        # Prometheus",
    ]
    return "## Health Check Endpoints\n\n" + code_block("\n".join(commands))


def _reference(fleet: Fleet) -> str:
    named = dict(zip(fleet.seeds, fleet.voters, strict=False))
    width = max((len(url) for url in fleet.seeds), default=0)
    seeds = [f"{url.ljust(width)}  # {named.get(url, '')}" for url in fleet.seeds]
    variables = _table(
        ("Variable", "Value", "Description"),
        [
            ("`NODE_ID`", "the node's name in the fleet file", "Node identifier in the mesh"),
            ("`P2P_PORT`", "8770, or the file's `p2p_port`", "Port of the orchestrator"),
            ("`P2P_SEEDS`", "the URLs above", "Comma-separated seed peer URLs"),
            ("`RINGRIFT_PATH`", "the file's `ringrift_path`", "Root ringrift directory"),
        ],
    )
    return "\n\n".join(
        [
            "## Configuration Reference",
            "### Seed Peers (from voters)",
            code_block("\n".join(seeds), language=""),
            "### Environment Variables",
            variables,
        ]
    )


def _provenance(report: Report) -> str:
    scope = report["cluster"]["scope"]
    return (
        "## Report Provenance\n\n"
        f"Made by `health.yml` from one probe of each of {scope['asked']} nodes; one that could not be"
        " reached is a row above.\nThe same facts: `health.json`, `health.html`, `health.prom`; earlier"
        " reports: `history/`."
    )


def _provider(name: str) -> str:
    return {"vast": "Vast.ai", "runpod": "RunPod", "aws": "AWS"}.get(name, name.capitalize())


def _escaped(rows: Iterable[Sequence[str]]) -> list[list[str]]:
    return [[escape(cell) for cell in row] for row in rows]


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of cells that are Markdown already."""
    cells = [list(titles), *map(list, rows)]
    widths = [max(3, *(len(row[at]) for row in cells)) for at in range(len(titles))]
    lines = [
        "| " + " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) + " |"
        for row in cells
    ]
    return "\n".join([lines[0], "| " + " | ".join("-" * width for width in widths) + " |", *lines[1:]])
