"""Files of settings: options, several fleets, constructed groups, the cache, other plugins beside."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.inventory.conftest import Result, list_inventory

FLEET = """\
hosts:
  nebius-1: {ssh_host: 203.0.113.1, tailscale_ip: 100.64.0.1, region: eu, gpu_vram_gb: 80, p2p_enabled: true}
  gcp-1: {ssh_host: 203.0.113.2, status: needs_setup, gpu_vram_gb: 24, p2p_enabled: true}
  gcp-eu-1: {ssh_host: 203.0.113.3, status: offline, p2p_enabled: true}
  own-1: {ssh_host: 203.0.113.4, provider: nebius, p2p_enabled: true}
p2p_voters: [nebius-1]
"""
SETTINGS = """\
plugin: distributed_hosts
source: fleets/one.yaml
fleet_group: one
address: tailscale_ip
include_status: [needs_setup]
providers: {gcp-: gcp, gcp-eu-: gcp-eu}
compose:
  big: distributed_host.gpu_vram_gb >= 80
  first_voter: p2p_voters[0]
groups:
  quorum_of_one: p2p_quorum == 1 and p2p_is_voter
keyed_groups:
  - {key: distributed_host.region, prefix: region}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("settings")
    (folder / "fleets").mkdir()
    (folder / "fleets" / "one.yaml").write_text(FLEET)
    (folder / "one.distributed_hosts.yml").write_text(SETTINGS)
    (folder / "two_distributed_hosts.yaml").write_text(
        "hosts:\n  hetzner-1: {ssh_host: 203.0.113.9, p2p_enabled: true}\np2p_voters: [hetzner-1]\n"
    )
    return folder


@pytest.fixture(scope="module")
def both(folder: Path) -> Result:
    result = list_inventory(folder / "one.distributed_hosts.yml", folder / "two_distributed_hosts.yaml")
    assert result.code == 0, result.errors
    return result


def test_the_address_option(both: Result) -> None:
    assert both.hosts["nebius-1"]["ansible_host"] == "100.64.0.1"
    assert both.hosts["gcp-1"]["ansible_host"] == "203.0.113.2"


def test_the_longest_prefix_and_then_the_hosts_own_key_tell_the_provider(both: Result) -> None:
    assert (both.group("gcp"), both.group("gcp_eu")) == (["gcp-1"], ["gcp-eu-1"])
    assert both.group("nebius") == ["nebius-1", "own-1"]


def test_included_statuses_are_deployed_to(both: Result) -> None:
    assert both.group("p2p") == ["nebius-1", "gcp-1", "own-1", "hetzner-1"]


def test_two_fleets_keep_their_own_cluster_variables(both: Result) -> None:
    assert both.group("one") == ["nebius-1", "gcp-1", "gcp-eu-1", "own-1"]
    assert both.hosts["gcp-1"]["p2p_seeds"] == ["http://203.0.113.1:8770"]
    assert both.hosts["hetzner-1"]["p2p_seeds"] == ["http://203.0.113.9:8770"]


def test_constructed_variables_and_groups_see_the_host_and_the_cluster(both: Result) -> None:
    assert both.hosts["nebius-1"]["big"] is True
    assert "big" not in both.hosts["gcp-eu-1"]  # has no gpu_vram_gb, and strict is off
    assert both.hosts["gcp-1"]["first_voter"] == "nebius-1"
    assert both.group("quorum_of_one") == ["nebius-1"]
    assert both.group("region_eu") == ["nebius-1"]


def test_two_fleets_in_one_group_are_refused(folder: Path) -> None:
    second = folder / "three_distributed_hosts.yaml"
    second.write_text("hosts:\n  vultr-1: {ssh_host: 203.0.113.8}\n")
    result = list_inventory(folder / "two_distributed_hosts.yaml", second)
    assert result.code != 0
    assert (
        f"{second}:1:1: a second fleet beside {folder}/two_distributed_hosts.yaml in group 'all'"
        in result.errors
    )


def test_one_host_in_two_fleets_is_refused(folder: Path) -> None:
    second = folder / "four_distributed_hosts.yaml"
    second.write_text("hosts:\n  nebius-1: {ssh_host: 203.0.113.8}\n")
    result = list_inventory(folder / "one.distributed_hosts.yml", second)
    assert result.code != 0
    assert (
        f"{second}:2:3: host 'nebius-1' is also defined in {folder}/fleets/one.yaml; rename one"
        in result.errors
    )


def test_the_same_file_twice_is_one_fleet(folder: Path) -> None:
    fleet = folder / "two_distributed_hosts.yaml"
    assert list_inventory(fleet, fleet).code == 0


def test_options_from_the_environment(folder: Path) -> None:
    result = list_inventory(
        folder / "two_distributed_hosts.yaml",
        P2P_INVENTORY_FLEET_GROUP="mine",
        P2P_INVENTORY_INCLUDE_STATUS="offline,needs_setup",
        P2P_INVENTORY_ADDRESS="tailscale_ip",
    )
    assert result.group("mine") == ["hetzner-1"]


def test_the_voter_policy_from_the_environment(folder: Path) -> None:
    fleet = folder / "vast_distributed_hosts.yaml"
    fleet.write_text("hosts:\n  vast-1: {ssh_host: 203.0.113.1, p2p_enabled: true}\np2p_voters: [vast-1]\n")
    assert list_inventory(fleet).code == 0
    assert list_inventory(fleet, P2P_INVENTORY_VOTER_POLICY="enforce").code != 0


def test_the_fleet_joins_another_inventory(folder: Path) -> None:
    """As Molecule does: its own YAML file says how to connect, the fleet file says the rest."""
    (folder / "hosts.yml").write_text("all: {hosts: {hetzner-1: {ansible_connection: local, mine: 1}}}\n")
    result = list_inventory(
        folder / "two_distributed_hosts.yaml",
        folder / "hosts.yml",
        ANSIBLE_INVENTORY_ENABLED="distributed_hosts,yaml",
    )
    assert (result.code, result.hosts["hetzner-1"]["mine"]) == (0, 1)
    assert result.hosts["hetzner-1"]["p2p_node_id"] == "hetzner-1"


def test_the_cache_keeps_the_checked_file_and_notices_a_change(tmp_path: Path) -> None:
    fleet, cache = tmp_path / "distributed_hosts.yaml", tmp_path / "cache"
    settings = {
        "ANSIBLE_INVENTORY_CACHE": "True",
        "ANSIBLE_INVENTORY_CACHE_PLUGIN": "jsonfile",
        "ANSIBLE_INVENTORY_CACHE_CONNECTION": str(cache),
    }
    fleet.write_text(FLEET)
    first = list_inventory(fleet, **settings)
    assert first.code == 0, first.errors
    (entry,) = cache.iterdir()
    # Rewritten behind the plugin's back: what it then says shows where it read.
    entry.write_text(entry.read_text().replace("203.0.113.4", "203.0.113.44"))
    second = list_inventory(fleet, **settings)
    assert second.errors == first.errors  # warnings still have their lines
    assert second.hosts["own-1"]["ansible_host"] == "203.0.113.44"
    assert second.hosts["nebius-1"] == first.hosts["nebius-1"]
    fleet.write_text(FLEET.replace("203.0.113.4", "203.0.113.5"))
    assert list_inventory(fleet, **settings).hosts["own-1"]["ansible_host"] == "203.0.113.5"
    assert json.loads(entry.read_text())


def test_a_limit_does_not_change_the_cluster(folder: Path) -> None:
    fleet = folder / "fleets" / "limited_distributed_hosts.yaml"
    fleet.write_text(FLEET)
    whole, part = list_inventory(fleet), list_inventory(fleet, limit="gcp-1")
    assert list(part.hosts) == ["gcp-1"]
    assert part.hosts["gcp-1"] == whole.hosts["gcp-1"]
    assert part.hosts["gcp-1"]["p2p_voters"] == ["nebius-1"]
