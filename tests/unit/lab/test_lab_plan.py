"""The lab's plan: a small fleet in the large one's proportions, on addresses nobody else uses."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.lab_plan import CANDIDATES, PlanError, free_subnet, plan, provider_of

ROOT = Path(__file__).parents[3]
SUBNET = IPv4Network("10.213.200.0/24")


@pytest.fixture(name="fleet", scope="module")
def fixture_fleet() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(
        (ROOT / "inventory/distributed_hosts.yaml").read_text(encoding="utf-8")
    )
    return content


def test_the_default_lab_has_all_voters_and_every_kind_of_node(fleet: dict[str, Any]) -> None:
    made = plan(fleet, 8, SUBNET)
    names = [node["name"] for node in made["nodes"]]
    assert names[:5] == made["voters"] == fleet["p2p_voters"]
    assert [provider_of(name) for name in names[5:]] == ["vast", "runpod", "vultr"]
    assert [node["nat"] for node in made["nodes"]] == [False] * 5 + [True, False, False]


def test_a_larger_lab_contains_the_smaller_one_at_the_same_addresses(fleet: dict[str, Any]) -> None:
    large = plan(fleet, 64, SUBNET)["nodes"]
    for count in range(5, 64):
        assert plan(fleet, count, SUBNET)["nodes"] == large[:count]


def test_the_seeds_size_gives_the_seeds_fleet_without_its_local_machines(fleet: dict[str, Any]) -> None:
    names = {node["name"] for node in plan(fleet, 29, SUBNET)["nodes"]}
    assert names == {name for name in fleet["hosts"] if provider_of(name) not in {"mac", "local"}}


def test_beyond_the_seeds_size_names_and_addresses_stay_unique(fleet: dict[str, Any]) -> None:
    nodes = plan(fleet, 200, SUBNET)["nodes"]
    assert len({node["name"] for node in nodes}) == len({node["address"] for node in nodes}) == 200
    share = Counter(provider_of(node["name"]) for node in nodes)
    assert share["vast"] > share["runpod"] > share["nebius"]
    ids = [node["host"]["vast_instance_id"] for node in nodes if "vast_instance_id" in node["host"]]
    assert len(ids) == len(set(ids))


def test_nothing_of_the_real_network_reaches_the_lab(fleet: dict[str, Any]) -> None:
    for node in plan(fleet, 29, SUBNET)["nodes"]:
        assert not {"ssh_host", "tailscale_ip", "socks5_port", "relay_primary", "ssh_key"} & set(node["host"])
        assert {"role", "status", "p2p_enabled", "memory_gb", "cpus"} <= set(node["host"])


@pytest.mark.parametrize("count", [-1, 0, 4, 201])
def test_an_impossible_size_is_refused_by_name(fleet: dict[str, Any], count: int) -> None:
    with pytest.raises(PlanError, match=f"LAB_NODES is {count}"):
        plan(fleet, count, SUBNET)


def test_the_subnet_avoids_what_is_routed() -> None:
    assert free_subnet([]) == CANDIDATES[0]
    assert free_subnet([IPv4Network("10.0.0.0/8")]) == IPv4Network("172.29.200.0/24")
    assert free_subnet([CANDIDATES[0].supernet(new_prefix=23)]) == CANDIDATES[2]
    with pytest.raises(PlanError, match="--subnet"):
        free_subnet(CANDIDATES)
