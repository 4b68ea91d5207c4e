"""The seed's fleet as Ansible sees it: the whole inventory, and what the seed document says of it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.unit.inventory.conftest import REPOSITORY, Result, list_inventory

HERE = Path(__file__).parent
VOTERS = ["nebius-backbone-1", "nebius-h100-3", "hetzner-cpu1", "hetzner-cpu2", "vultr-a100-20gb"]


def test_the_whole_inventory_is_the_golden_one(example_fleet: Result) -> None:
    golden = json.loads((HERE / "golden" / "example_fleet.json").read_text())
    found = json.loads(example_fleet.output.replace(str(REPOSITORY), "<repository>"))
    assert found == golden


def test_the_example_has_no_problem_and_no_warning(example_fleet: Result) -> None:
    assert (example_fleet.code, example_fleet.errors) == (0, "")


def test_the_providers_have_the_numbers_of_the_seed(example_fleet: Result) -> None:
    sizes = {
        provider: len(example_fleet.group(provider))
        for provider in ("vast", "runpod", "nebius", "vultr", "hetzner", "local")
    }
    assert sizes == {"vast": 14, "runpod": 7, "nebius": 3, "vultr": 2, "hetzner": 3, "local": 2}
    assert example_fleet.group("voters") == VOTERS


def test_every_address_of_the_example_is_a_documentation_address(example_fleet: Result) -> None:
    listed = example_fleet.hosts["mac-studio"]["p2p_documentation_addresses"]
    assert sorted(listed) == sorted(example_fleet.hosts)


def test_the_real_voters_give_the_five_seeds_of_the_seed_document() -> None:
    fleet = list_inventory(HERE / "fixtures" / "seed_distributed_hosts.yaml")
    variables = fleet.hosts["vast-28918742"]
    assert variables["p2p_voters"] == VOTERS
    assert variables["p2p_quorum"] == 3
    assert not set(VOTERS) & set(variables["p2p_documentation_addresses"])
    assert variables["p2p_seeds"] == [
        "http://89.169.112.47:8770",
        "http://89.169.110.128:8770",
        "http://46.62.147.150:8770",
        "http://135.181.39.239:8770",
        "http://208.167.249.164:8770",
    ]
