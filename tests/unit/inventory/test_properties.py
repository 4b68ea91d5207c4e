"""Random fleets: the plugin never crashes, and what it accepts keeps the promises of its documentation."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleParserError
from ansible.inventory.data import InventoryData
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import inventory_loader
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.inventory.conftest import REPOSITORY

PROVIDERS = ("vast", "runpod", "nebius", "vultr", "hetzner", "lambda", "aws", "local", "unknown")
STATUSES = ("ready", "offline", "retired", "destroyed", "proxy_only", "pending_setup", "needs_setup")

text = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8)
ports = st.one_of(st.integers(1, 65535), st.integers(1, 65535).map(str))
addresses = st.one_of(
    st.ip_addresses().map(str),
    st.from_regex(r"[a-z][a-z0-9-]{0,8}(\.[a-z]{2,3})?", fullmatch=True),
    st.just("localhost"),
)
flags = st.sampled_from([True, False, None, "true", "no", 1, 0])
plain = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), text, st.dates()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(text, inner, max_size=3)),
    max_leaves=6,
).filter(lambda value: not any(marker in repr(value) for marker in ("{{", "{%", "{#")))
names = st.builds(
    "{}{}".format,
    st.sampled_from([*(f"{provider}-" for provider in PROVIDERS), "mac-studio", "macbook", "gcp-"]),
    st.from_regex(r"[a-z0-9]{1,4}", fullmatch=True),
)
good_hosts = st.fixed_dictionaries(
    {"ssh_host": addresses},
    optional={
        "ssh_port": ports,
        "ssh_user": st.just("root"),
        "ssh_key": st.sampled_from(["~/.ssh/id", "/k", None]),
        "role": st.sampled_from(["gpu_selfplay", "coordinator", "cpu-cmaes", "", None]),
        "status": st.sampled_from([*STATUSES, None]),
        "p2p_enabled": flags,
        "nat_blocked": flags,
        "is_container": flags,
        "is_ephemeral": flags,
        "tailscale_ip": st.ip_addresses(v=4).map(str),
        "p2p_port": ports,
        "p2p_public_host": st.one_of(addresses, addresses.map("http://h:1/{}".format)),
        "p2p_public_port": ports,
        "ringrift_path": st.sampled_from(["~/ringrift", "/r/ai-service", "ai-service/", None]),
        "note": plain,
    },
)


@st.composite
def good_fleets(draw: st.DrawFn) -> dict[str, Any]:
    """Fleets that the documentation allows."""
    hosts = draw(st.dictionaries(names, good_hosts, min_size=1, max_size=8))
    voters = draw(st.lists(st.sampled_from(sorted(hosts)), unique=True, max_size=5))
    jump, *behind = draw(st.lists(st.sampled_from(sorted(hosts)), unique=True, min_size=1))
    for name in behind:
        hosts[name]["ssh_proxy"] = jump
    return {"hosts": hosts, "p2p_voters": voters, "sync_routing": draw(plain)}


keys = st.one_of(
    text,
    st.sampled_from(
        ["ssh_host", "ssh_port", "ssh_user", "ssh_key", "ssh_proxy", "tailscale_ip", "role", "status"]
    ),
    st.sampled_from(
        ["provider", "p2p_enabled", "p2p_port", "p2p_public_host", "p2p_public_port", "ringrift_path"]
    ),
)
oddities = st.sampled_from(["{{ x }}", "-oX", "a b", "", "a:1", 0, 65536, "voters", "h1", b"x", {1: 2}])
wild_values = st.one_of(plain, oddities)
wild_hosts = st.one_of(st.dictionaries(keys, wild_values, max_size=6), wild_values)
wild_fleets = st.fixed_dictionaries(
    {},
    optional={
        "hosts": st.one_of(
            st.dictionaries(st.one_of(st.just("h1"), text, st.integers()), wild_hosts), wild_values
        ),
        "p2p_voters": st.one_of(st.lists(wild_values, max_size=4), wild_values),
        "other": wild_values,
    },
)


@pytest.fixture(scope="module", autouse=True)
def _plugin_folder() -> None:
    inventory_loader.add_directory(str(REPOSITORY / "inventory_plugins"))


def parse(path: Path, content: str) -> InventoryData:
    """Read a file with the plugin, as Ansible would."""
    path.write_text(content, encoding="utf-8")
    inventory = InventoryData()
    try:
        inventory_loader.get("distributed_hosts").parse(inventory, DataLoader(), str(path))
    except AnsibleParserError as error:
        assert not inventory.hosts  # a refused file adds nothing
        lines = [
            line
            for line in str(error).split(f"{path}:")[1:]
            if re.match(r"[0-9]+:[0-9]+: .*; ", line, re.DOTALL)
        ]
        assert lines, str(error)
        raise
    inventory.reconcile_inventory()
    return inventory


def members(inventory: InventoryData, group: str) -> list[str]:
    return [host.name for host in inventory.groups[group].hosts] if group in inventory.groups else []


relaxed = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)


@relaxed
@given(fleet=good_fleets())
def test_a_fleet_that_is_allowed_keeps_every_promise(fleet: dict[str, Any], tmp_path: Path) -> None:
    inventory = parse(
        tmp_path / "distributed_hosts.yaml", yaml.safe_dump(fleet, sort_keys=False, allow_unicode=True)
    )
    hosts, cluster = fleet["hosts"], inventory.groups["all"].vars
    variables = {name: host.vars for name, host in inventory.hosts.items()}

    assert {name: host["distributed_host"] for name, host in variables.items()} == hosts
    ready = {
        name
        for name, host in hosts.items()
        if (host.get("status") or "ready") == "ready" and host.get("p2p_enabled") in (True, "true", 1)
    }
    assert set(members(inventory, "p2p")) == ready
    assert set(members(inventory, "non_voters")) == ready - set(fleet["p2p_voters"])
    of_provider = [name for provider in PROVIDERS for name in members(inventory, provider)]
    assert sorted(of_provider) == sorted(hosts)  # every host in exactly one
    assert members(inventory, "voters") == cluster["p2p_voters"] == fleet["p2p_voters"]
    urls = [variables[voter]["p2p_advertise_url"] for voter in fleet["p2p_voters"]]
    assert cluster["p2p_seeds"] == list(dict.fromkeys(urls))
    assert 2 * cluster["p2p_quorum"] > len(fleet["p2p_voters"]) >= 2 * (cluster["p2p_quorum"] - 1)
    assert {name for name, host in variables.items() if host["p2p_is_voter"]} == set(fleet["p2p_voters"])
    assert all(host["p2p_node_id"] == name for name, host in variables.items())
    local = {name for name, host in variables.items() if host.get("ansible_connection") == "local"}
    assert local == {name for name, host in hosts.items() if host["ssh_host"] == "localhost"}
    json.dumps(variables, sort_keys=True, default=str)  # as --list does


@relaxed
@given(fleet=wild_fleets)
def test_a_wild_fleet_is_accepted_or_refused_with_a_place_and_a_remedy(fleet: object, tmp_path: Path) -> None:
    with contextlib.suppress(AnsibleParserError):
        parse(tmp_path / "distributed_hosts.yaml", yaml.safe_dump(fleet))


@relaxed
@given(
    content=st.one_of(st.text(max_size=60), st.text("hosts: a-b\n{}[]&*!|>'\"%#?,p2p_voters", max_size=60))
)
def test_any_text_at_all_is_accepted_or_refused(content: str, tmp_path: Path) -> None:
    with contextlib.suppress(AnsibleParserError):
        parse(tmp_path / "distributed_hosts.yaml", content)
