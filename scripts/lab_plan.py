#!/usr/bin/env python3
"""Which nodes the lab has: names, hardware and roles after a fleet file, addresses in a network of its own.

Prints one JSON object: ``subnet``, ``voters`` (names) and ``nodes``, each with ``name``, ``address``, ``nat``
(refuses what comes in, SSH aside), ``hook`` (of a container without systemd, the script that runs when it
starts; else empty) and ``host``, its entry for the lab's fleet file without the connection.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

Host = dict[str, Any]

NETWORK = "p2p-lab"
FIRST_ADDRESS = 11  # the bridge is .1; the rest below is free for a node that someone adds by hand
MAX_NODES = 200
# Every kind of node that the smallest lab must have besides its voters: NAT, container, virtual machine.
FIRST_PROVIDERS = ("vast", "runpod", "vultr")
# Of a real network that the lab has not.
FOREIGN_KEYS = {
    "ssh_host", "ssh_port", "ssh_user", "ssh_key", "ssh_proxy",
    "tailscale_ip", "needs_userspace_tailscale", "socks5_port",
    "force_relay_mode", "relay_primary", "p2p_public_host", "p2p_public_port", "note",
}  # fmt: skip
# What a provider runs when a container starts.
HOOKS = {"runpod": "/post_start.sh"}
IDENTITY_KEYS = {"vast_instance_id", "runpod_id", "nebius_id"}
CANDIDATES = tuple(
    ipaddress.IPv4Network(f"{prefix}.{third}.0/24")
    for prefix in ("10.213", "172.29", "192.168")
    for third in range(200, 232)
)


class PlanError(Exception):
    """The lab asked for cannot be planned; the message says why and what to do."""


def provider_of(name: str) -> str:
    """Return the provider that a node's name says, its part before the first hyphen."""
    return name.split("-", 1)[0]


def without(host: Host, keys: Iterable[str]) -> Host:
    """Return a copy of a host's entry without some of its keys."""
    dropped = set(keys)
    return {key: value for key, value in host.items() if key not in dropped}


def non_voters(hosts: dict[str, Host], voters: list[str]) -> Iterator[tuple[str, Host]]:
    """Yield nodes that do not vote, for ever, in the proportion of the fleet's providers.

    The order does not depend on how many are taken, so that a larger lab contains the smaller one. After
    one of each of ``FIRST_PROVIDERS`` the next node is of the provider with the largest quotient
    ``weight / (taken + 1)`` (the D'Hondt method). When a provider's nodes are used up its first one comes
    again as ``<name>-c2``, and so on.
    """
    pools: dict[str, list[str]] = {}
    for name, host in hosts.items():
        is_local = provider_of(name) in {"mac", "macbook", "local"} or host.get("ssh_host") == "localhost"
        if name not in voters and not is_local:
            pools.setdefault(provider_of(name), []).append(name)
    if not pools:
        raise PlanError("the fleet file has no node besides its voters and local machines")
    taken = dict.fromkeys(pools, 0)
    first = [provider for provider in FIRST_PROVIDERS if provider in pools]
    while True:
        provider = first.pop(0) if first else max(pools, key=lambda key: len(pools[key]) / (taken[key] + 1))
        turn, index = divmod(taken[provider], len(pools[provider]))
        taken[provider] += 1
        model = pools[provider][index]
        if turn:
            yield f"{model}-c{turn + 1}", without(hosts[model], IDENTITY_KEYS)
        else:
            yield model, hosts[model]


def plan(fleet: dict[str, Any], count: int, subnet: ipaddress.IPv4Network) -> dict[str, Any]:
    """Return the lab's plan.

    Args:
        fleet: A fleet file's content: ``hosts`` and ``p2p_voters``.
        count: How many nodes, the voters among them.
        subnet: The lab's network, /24.

    Raises:
        PlanError: ``count`` leaves no room for the voters or exceeds ``MAX_NODES``.
    """
    hosts: dict[str, Host] = fleet["hosts"]
    voters: list[str] = list(fleet["p2p_voters"])
    if not len(voters) <= count <= MAX_NODES:
        raise PlanError(
            f"LAB_NODES is {count}: the lab has its {len(voters)} voters and at most {MAX_NODES} nodes"
        )
    others = non_voters(hosts, voters)
    chosen = [(name, hosts[name]) for name in voters]
    chosen += [next(others) for _ in range(count - len(voters))]
    nodes = [
        {
            "name": name,
            "address": str(subnet[FIRST_ADDRESS + index]),
            "nat": bool(host.get("nat_blocked", False)),
            "hook": HOOKS.get(provider_of(name), "/root/onstart.sh") if host.get("is_container") else "",
            "host": without(host, FOREIGN_KEYS),
        }
        for index, (name, host) in enumerate(chosen)
    ]
    return {"subnet": str(subnet), "voters": voters, "nodes": nodes}


def free_subnet(taken: Iterable[ipaddress.IPv4Network]) -> ipaddress.IPv4Network:
    """Return the first candidate that overlaps none of the networks that this machine knows.

    Raises:
        PlanError: every candidate is taken.
    """
    known = list(taken)
    for candidate in CANDIDATES:
        if not any(candidate.overlaps(network) for network in known):
            return candidate
    raise PlanError(
        "no free /24 for the lab: this machine has routes to all candidates; name one with --subnet"
    )


def existing_subnet() -> ipaddress.IPv4Network | None:
    """Return the subnet of the lab's Docker network, or None if there is no such network."""
    answer = subprocess.run(
        ["docker", "network", "inspect", NETWORK], capture_output=True, text=True, check=False, timeout=30
    )
    if answer.returncode != 0:
        return None
    return ipaddress.IPv4Network(json.loads(answer.stdout)[0]["IPAM"]["Config"][0]["Subnet"])


def routed_networks() -> Iterator[ipaddress.IPv4Network]:
    """Yield every IPv4 network that this machine has a route to, the default route aside."""
    answer = subprocess.run(
        ["ip", "-json", "-4", "route", "show"], capture_output=True, text=True, check=True, timeout=30
    )
    for route in json.loads(answer.stdout):
        if route["dst"] != "default":
            yield ipaddress.IPv4Network(route["dst"], strict=False)


def main() -> int:
    """Print the plan as JSON; one line on stderr and exit code 2 if there is none."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nodes", type=int, default=8, help="how many nodes, the voters among them")
    parser.add_argument(
        "--fleet", type=Path, required=True, help="the fleet file that the lab is modelled on"
    )
    parser.add_argument("--subnet", type=ipaddress.IPv4Network, help="a /24; default: the first one free")
    arguments = parser.parse_args()
    try:
        fleet = yaml.safe_load(arguments.fleet.read_text(encoding="utf-8"))
        subnet = existing_subnet() or arguments.subnet or free_subnet(routed_networks())
        print(json.dumps(plan(fleet, arguments.nodes, subnet)))
    except (PlanError, OSError, yaml.YAMLError, subprocess.SubprocessError) as error:
        print(f"lab_plan: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
