"""The inventory plugin beside Ansible's own ``yaml`` plugin: same hosts, groups and variables.

    .venv/bin/python tests/bench/inventory/compare.py [--hosts 1000 10000] [--runs 3]

Each figure is a median of ``ansible-inventory --list`` with one plugin enabled. The command has one thread
and waits for nothing, so CPU time decides, which the neighbours on a shared machine disturb least; wall time
is printed too. Exits non-zero when the plugin takes more than a quarter of the other's time for 10,000 hosts,
or more than half, net of Ansible's own start, for fewer.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import yaml

REPOSITORY = Path(__file__).parents[3]
COMMAND = str(Path(sys.executable).parent / "ansible-inventory")
PROVIDERS = ("vast", "runpod", "nebius", "vultr", "hetzner")
LARGE_FLEET, LARGE_RATIO, SMALL_RATIO = 10_000, 0.25, 0.5


def fleet(hosts: int) -> dict[str, Any]:
    """Return a fleet file's content with that many hosts, with the keys that hosts have in the wild."""
    entries = {}
    for index in range(hosts):
        provider = PROVIDERS[index % len(PROVIDERS)]
        entries[f"{provider}-{index:05d}"] = {
            "ssh_host": f"10.{index >> 16 & 255}.{index >> 8 & 255}.{index & 255}",
            "ssh_port": 20000 + index % 1000,
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
    voters = [name for name in entries if name.startswith(("nebius", "vultr", "hetzner"))][:5]
    return {"hosts": entries, "p2p_voters": voters}


class Run(NamedTuple):
    """One run of the command: wall time and CPU time, in seconds, and what it printed."""

    wall: float
    cpu: float
    output: str


def run(source: Path, plugin: str, *more: str) -> Run:
    """Run ``ansible-inventory --list`` with one plugin enabled; return what it took and printed."""
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"),
        "ANSIBLE_INVENTORY_ENABLED": plugin,
    }
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    words = [COMMAND, "-i", str(source), "--list", *more]
    done = subprocess.run(words, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True)
    after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - began
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(wall, cpu, done.stdout)


def as_yaml_inventory(listed: dict[str, Any], shared: list[str]) -> dict[str, Any]:
    """Turn what ``--list`` gave into an inventory of the ``yaml`` plugin.

    Args:
        listed: The JSON of ``ansible-inventory --list``.
        shared: Names of the variables that belong to the group ``all``.
    """
    hostvars = listed["_meta"]["hostvars"]
    first = next(iter(hostvars.values()))
    own = {host: {k: v for k, v in values.items() if k not in shared} for host, values in hostvars.items()}
    groups = {
        name: {"hosts": dict.fromkeys(group["hosts"])}
        for name, group in listed.items()
        if name not in ("_meta", "all", "ungrouped") and "hosts" in group
    }
    return {"all": {"hosts": own, "vars": {name: first[name] for name in shared}, "children": groups}}


SHARED = [
    *("p2p_voters", "p2p_seeds", "p2p_quorum"),
    *("p2p_voter_warnings", "p2p_documentation_addresses", "p2p_fleet_file"),
]


def compare(hosts: int, runs: int, start: float) -> dict[str, Any]:
    """Measure one size of fleet with both plugins, in turns."""
    with tempfile.TemporaryDirectory() as name:
        ours, theirs = Path(name) / "distributed_hosts.yaml", Path(name) / "hosts.yml"
        ours.write_text(yaml.dump(fleet(hosts), Dumper=yaml.CSafeDumper, sort_keys=False))
        listed = json.loads(run(ours, "distributed_hosts").output)
        content = as_yaml_inventory(listed, SHARED)
        theirs.write_text(yaml.dump(content, Dumper=yaml.CSafeDumper, sort_keys=False))
        if json.loads(run(theirs, "yaml").output)["_meta"] != listed["_meta"]:
            sys.exit("the two inventories differ: the comparison would mean nothing")
        pairs = [(run(ours, "distributed_hosts"), run(theirs, "yaml")) for _ in range(runs)]
    plugin, other = (statistics.median(each.cpu for each in side) for side in zip(*pairs, strict=True))
    plugin_wall, other_wall = (
        statistics.median(each.wall for each in side) for side in zip(*pairs, strict=True)
    )
    return {
        "hosts": hosts,
        "distributed_hosts_cpu_s": round(plugin, 2),
        "yaml_cpu_s": round(other, 2),
        "ratio": round(plugin / other, 3),
        "ratio_net_of_start": round((plugin - start) / (other - start), 3),
        "distributed_hosts_wall_s": round(plugin_wall, 2),
        "yaml_wall_s": round(other_wall, 2),
    }


def main() -> int:
    """Print one JSON line for each size; return 1 where a limit is broken."""
    parser = argparse.ArgumentParser(description="Time the inventory plugin beside Ansible's yaml plugin.")
    parser.add_argument("--hosts", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        one = Path(name) / "distributed_hosts.yaml"
        one.write_text(yaml.safe_dump(fleet(1)))
        start = statistics.median(run(one, "distributed_hosts").cpu for _ in range(arguments.runs))
    print(json.dumps({"start_of_ansible_s": round(start, 2)}))
    broken = False
    for hosts in arguments.hosts:
        result = compare(hosts, arguments.runs, start)
        print(json.dumps(result), flush=True)
        broken |= result["ratio_net_of_start"] > SMALL_RATIO
        broken |= hosts >= LARGE_FLEET and result["ratio"] > LARGE_RATIO
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
