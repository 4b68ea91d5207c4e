"""The report for Prometheus' textfile collector, in its text exposition format (version 0.0.4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from ansible_collections.p2p.cluster.plugins.plugin_utils.output.escape import prometheus as escape

from .model import STATES, Report

VERDICTS = ("healthy", "degraded", "critical")


def prometheus(report: Report) -> str:
    """Return the report as metrics: one series per node, and one per state whether or not a node is in it."""
    cluster = report["cluster"]
    voters, coverage = cluster["voters"], cluster["coverage"]
    name = {"cluster": cluster["name"]}
    states = cluster["by_state"]
    when = datetime.fromisoformat(report["generated_at"].replace("Z", "+00:00")).timestamp()
    blocks = [
        _metric(
            "verdict",
            "Whether this is the verdict.",
            [({**name, "verdict": word}, word == cluster["verdict"]) for word in VERDICTS],
        ),
        _metric(
            "has_leader", "Whether the nodes agree on one leader.", [(name, cluster["leader_id"] is not None)]
        ),
        _metric(
            "leaders_reported", "Nodes that are named as leader.", [(name, len(cluster["leaders_reported"]))]
        ),
        _metric("voters_configured", "Voters of the fleet file.", [(name, len(voters["configured"]))]),
        _metric("voters_alive", "Voters that live.", [(name, len(voters["alive"]))]),
        _metric("voters_quorum", "Voters that are a majority.", [(name, voters["quorum"])]),
        _metric("quorum_ok", "Whether there is a quorum.", [(name, voters["quorum_ok"])]),
        _metric("voters_tolerated", "Voters that may still fail.", [(name, voters["tolerates"])]),
        _metric("nodes", "Nodes that were asked.", [(name, coverage["nodes"])]),
        _metric("nodes_running", "Nodes whose orchestrator answers.", [(name, coverage["running"])]),
        _metric(
            "partial", "Whether only a part of the fleet was asked.", [(name, cluster["scope"]["partial"])]
        ),
        _metric("generated_timestamp_seconds", "When the report was made.", [(name, int(when))]),
        _metric(
            "provider_nodes",
            "Nodes of a provider.",
            [({**name, "provider": key}, count["nodes"]) for key, count in cluster["by_provider"].items()],
        ),
        _metric(
            "provider_nodes_running",
            "Nodes of a provider whose orchestrator answers.",
            [({**name, "provider": key}, count["running"]) for key, count in cluster["by_provider"].items()],
        ),
        _metric(
            "state_nodes",
            "Nodes in a state.",
            [({**name, "state": state}, states.get(state, 0)) for state in reversed(STATES)],
        ),
        _metric(
            "node_ok",
            "Whether a node is well; the label says what it is.",
            [
                (
                    {
                        **name,
                        "node": node["node_id"],
                        "provider": node["provider"],
                        "voter": str(node["voter"]).lower(),
                        "state": node["state"],
                    },
                    node["state"] == "ok",
                )
                for node in report["nodes"]
            ],
        ),
    ]
    if cluster["term"] is not None:
        blocks.append(_metric("term", "The leader's term.", [(name, cluster["term"])]))
    return "".join(blocks)


def _metric(name: str, text: str, series: Iterable[tuple[Mapping[str, str], float]]) -> str:
    lines = [f"# HELP p2p_health_{name} {text}", f"# TYPE p2p_health_{name} gauge"]
    for labels, value in series:
        told = ",".join(f'{key}="{escape(label)}"' for key, label in labels.items())
        lines.append(f"p2p_health_{name}{{{told}}} {int(value)}")
    return "\n".join(lines) + "\n"
