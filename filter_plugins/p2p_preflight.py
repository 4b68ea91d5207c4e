"""Whether a node that is new reaches the voters' ports: what it has to try, and what follows from that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict
from urllib.parse import urlsplit

Answer = Mapping[str, Any]
REMEDY = "open these ports (docs/security.md lists them) and run again"


class Preflight(TypedDict):
    """`refused` says by node why it cannot take part; `warnings` are lines about ports that are missed."""

    refused: dict[str, str]
    warnings: list[str]


def targets(
    voters: Sequence[str],
    seeds: Sequence[str],
    node: str,
    heartbeat_port: int,
    peer_port: int,
    *,
    proxy: int | None = None,
) -> list[dict[str, Any]]:
    """Return the ports that a node connects to, for `p2p_probe`.

    Args:
        voters: All voters of the fleet file, in its order.
        seeds: Their URLs, in the same order.
        node: The node's name.
        heartbeat_port: Where voters take heartbeats, 0 if they take none.
        peer_port: Where etcd's members talk to each other, 0 for a node that is none of them.
        proxy: Port of the node's own SOCKS5 proxy, if its orchestrator's connections go through one.

    Returns:
        Each with `voter`, `host`, `port`, and `service`, which is `orchestrator` or `etcd`; `proxy` if the
        way is through one.
    """
    hosts = [urlsplit(seed) for seed in seeds]
    # Two voters at one endpoint are one seed: then nobody knows whose it is.
    names = voters if len(voters) == len(seeds) else [str(url.hostname) for url in hosts]
    found = []
    for name, url in zip(names, hosts, strict=True):
        if name != node:
            default = 443 if url.scheme == "https" else 80
            ports = [
                (url.port or default, "orchestrator"),
                (heartbeat_port, "orchestrator"),
                (peer_port, "etcd"),
            ]
            found += [
                {"voter": name, "host": str(url.hostname), "port": int(port), "service": service}
                | ({"proxy": proxy} if proxy and service == "orchestrator" else {})
                for port, service in ports
                if port
            ]
    return found


def preflight(answers: Mapping[str, Answer], voter_answers: Mapping[str, Answer]) -> Preflight:
    """Weigh which voters the new nodes of a run reach.

    Voters that do not answer the run either say nothing about a node's network, and are left out.

    Args:
        answers: The registered result of `p2p_probe` for each node of the run, by name.
        voter_answers: The same for every voter of the fleet file, in the run or not.

    Returns:
        Who is refused, because it reaches no majority of the voters, and what else is missed.
    """
    result = Preflight(refused={}, warnings=[])
    dead = [name for name, answer in voter_answers.items() if "probe" not in answer]
    for name, answer in answers.items():
        tried = [item for item in answer.get("probe", {}).get("reach") or [] if item["voter"] not in dead]
        missed = [item for item in tried if _closed(item, voter_answers.get(item["voter"], {}))]
        if not missed:
            continue
        asked = {item["voter"] for item in tried} | ({name} & set(voter_answers))
        reached = asked - {item["voter"] for item in missed}
        ends = ", ".join(
            f"{item['voter']} at {item['host']}:{item['port']} ({item['why']})" for item in missed
        )
        if len(reached) * 2 > len(asked):
            result["warnings"].append(f"{name} does not reach {ends}: {REMEDY}")
        else:
            result["refused"][name] = (
                f"{name} reaches {len(reached)} of {len(asked)} voters, which is no majority:"
                f" not {ends}; {REMEDY}"
            )
    return result


def _closed(item: Mapping[str, Any], answer: Answer) -> bool:
    """Tell whether a port is closed to a node: it gets no answer, or is refused where somebody listens.

    Nobody listens yet on a voter that is to start, and that says nothing: its machine is reached.
    """
    if item["outcome"] != "refused":
        return bool(item["outcome"] == "blocked")
    probe = answer.get("probe", {})
    if item["service"] == "etcd":
        return bool(probe.get("etcd")) and probe["etcd"].get("error") is None
    http = probe.get("http") or {}
    return http.get("status", {}).get("status") is not None


class FilterModule:
    """Filters about who reaches whom."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {"p2p_preflight": preflight, "p2p_reach_targets": targets}
