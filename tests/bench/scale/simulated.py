"""A fleet of simulated nodes: the fleet file, and what each node's probe answers after a recorded one."""

from __future__ import annotations

import copy
import json
import time
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).with_name("recorded")
PROVIDERS = ("vast", "runpod", "nebius", "vultr", "hetzner", "lambda", "aws")
VOTERS = 5
# So many in a hundred nodes do not answer, or are not what they are meant to be.
DEAD, DRIFTED = 5, 10


def names(count: int) -> list[str]:
    """Return the nodes, the voters first."""
    voters = [f"hetzner-v{index}" for index in range(VOTERS)]
    return voters + [
        f"{PROVIDERS[index % len(PROVIDERS)]}-{index:05}" for index in range(count - len(voters))
    ]


def _address(number: int) -> str:
    """Return the address of a node by its number, the first is 1."""
    return f"127.{1 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"


def peer_url(name: str, count: int) -> str:
    """Return where a node's member of the store listens in a fleet of `count`."""
    return f"https://{_address(names(count).index(name) + 1)}:2380"


def fleet(count: int) -> dict[str, Any]:
    """Return a fleet file's content; every address leads back to this machine."""
    hosts = {}
    for index, name in enumerate(names(count), start=1):
        provider = name.split("-", 1)[0]
        hosts[name] = {
            "ssh_host": _address(index),
            "ssh_port": 9,
            "ssh_user": "root",
            "ssh_key": "~/.ssh/id_cluster",
            "ringrift_path": "~/ringrift/ai-service",
            "venv_activate": "source ~/ringrift/ai-service/venv/bin/activate",
            "role": "gpu_selfplay",
            "status": "ready",
            "gpu": "RTX 4090",
            "gpu_vram_gb": 24,
            "cpus": 32,
            "memory_gb": 64,
            "p2p_enabled": True,
            "nat_blocked": provider == "vast",
            "is_container": provider in ("vast", "runpod"),
        }
    return {"hosts": hosts, "p2p_voters": list(hosts)[:VOTERS]}


def answers(count: int, *, well: bool = False) -> dict[str, dict[str, Any]]:
    """Return for each node what Ansible would register.

    Args:
        count: how many nodes.
        well: all of them are as they should be; otherwise some are dead and some have drifted.
    """
    kinds = {kind: json.loads((RECORDED / f"{kind}.json").read_text()) for kind in ("voter", "node")}
    everyone = names(count)
    voters = everyone[:VOTERS]
    now = time.time()
    result: dict[str, dict[str, Any]] = {}
    for index, name in enumerate(everyone):
        # Spread evenly, so that a fleet of a few dozen has each kind too.
        place = 100 if well or name in voters else index * 37 % 100
        if place < DEAD:
            result[name] = {"unreachable": True, "changed": False, "msg": "Connection timed out"}
            continue
        result[name] = _named(kinds["voter" if name in voters else "node"], name, voters, everyone, now)
        if place < DEAD + DRIFTED:
            result[name]["probe"]["drift"] = [
                {
                    "part": "file",
                    "name": "/etc/ringrift/node.conf",
                    "why": "content differs",
                    "restarts": ["p2p_orchestrator"],
                }
            ]
    return result


def _named(
    recorded: dict[str, Any], name: str, voters: list[str], everyone: list[str], now: float
) -> dict[str, Any]:
    """Return a recorded answer as another node's, given now."""
    answer = copy.deepcopy(recorded)
    probe = answer["probe"]
    passed = now - probe["clock"]["unix"]
    probe["clock"]["unix"] = now
    for certificate in probe["certificates"]:
        certificate["not_after"] += passed
    for service in probe["services"].values():
        service["started_at"] = service["started_at"] and service["started_at"] + passed
    leads = name == voters[0]
    for document in ("health", "status"):
        body = probe["http"][document]["body"]
        body |= {"node_id": name, "leader_id": voters[0], "role": "leader" if leads else "follower"}
        if document == "status":
            body["effective_leader_id"] = voters[0]
            body["voter_node_ids"] = voters
            known = everyone if name in voters else voters
            body["peers"] = [{"name": other, "alive": True} for other in known if other != name]
            body["alive_peers"] = len(body["peers"])
    if probe.get("etcd"):
        members = probe["etcd"]["members"]
        for member, voter in zip(members, voters, strict=True):
            member |= {"name": voter, "peer_urls": [peer_url(voter, len(everyone))]}
        probe["etcd"]["member_id"] = members[voters.index(name)]["id"]
        probe["etcd"]["leader"] = members[0]["id"]
    return answer
