"""What each setting of ansible.cfg is worth: three trivial tasks on a lab, with one of them changed.

    python -m tests.bench.settings.bench inventory/lab/distributed_hosts.yaml [--only forks timeout]

Every run starts without an open connection, but for the one that is to find them. The variants take turns;
figures are medians. In the runs of `timeout` one node takes a connection and stays silent.
"""

from __future__ import annotations

import argparse
import configparser
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.bench.deploy.fleet import ANSIBLE, PROJECT, close, nodes
from tests.bench.deploy.measure import Cost, FailedError, median, run
from tests.bench.health.bench import silent_ports, with_dead

PATHS = ("plugins", "library", "module_utils", "roles_path")


class Variant(NamedTuple):
    """A way to set things: settings of ansible.cfg by section and key, and what does not stand there."""

    name: str
    settings: Mapping[tuple[str, str], str] = {}
    strategy: str = "linear"
    kept: bool = False
    multiplexed: bool = True
    silent: bool = False


VARIANTS = {
    "as it is": [Variant("ansible.cfg as it is")],
    "forks": [
        Variant(f"`forks = {number}`", {("defaults", "forks"): number}) for number in ("5", "10", "32", "128")
    ],
    "pipelining": [Variant("`pipelining = False`", {("connection", "pipelining"): "False"})],
    "connections": [
        Variant("connections of an earlier run (`ControlPersist`)", kept=True),
        Variant("a login for every command (`ControlMaster=no`)", multiplexed=False),
    ],
    "gathering": [Variant("`gathering = implicit`", {("defaults", "gathering"): "implicit"})],
    "poll": [
        Variant("`internal_poll_interval = 0.001`", {("defaults", "internal_poll_interval"): "0.001"}),
    ],
    "strategy": [Variant("the strategy `free`", strategy="free")],
    "timeout": [
        Variant("`timeout = 10`, a node silent", silent=True),
        Variant("`timeout = 30`, a node silent", {("defaults", "timeout"): "30"}, silent=True),
    ],
}


def _configuration(variant: Variant, path: Path) -> None:
    """Write the project's ansible.cfg with other settings."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(PROJECT / "ansible.cfg")
    for key, value in parser["defaults"].items():
        # Relative ones are seen from the file.
        if key.endswith(PATHS):
            parser["defaults"][key] = str(PROJECT / value)
    for (section, key), value in variant.settings.items():
        parser[section][key] = value
    with path.open("w", encoding="utf-8") as stream:
        parser.write(stream)


def _measured(variant: Variant, inventory: Path, ssh_args: Sequence[str], folder: Path) -> Cost:
    """Run the play once.

    Raises:
        FailedError: it failed, though no node is silent.
    """
    configuration, control = folder / "ansible.cfg", folder / "c"
    _configuration(variant, configuration)
    words = [str(ANSIBLE / "ansible-playbook"), "-i", str(inventory)]
    words.append(str(Path(__file__).with_name("three_tasks.yml")))
    if not variant.multiplexed:
        # The first value that ssh is given for an option counts.
        joined = " ".join(["-o ControlMaster=no -o ControlPath=none", *map(_quoted, ssh_args)])
        words += ["-e", json.dumps({"ansible_ssh_args": joined})]
    if variant.silent:
        words += ["-e", '{"ansible_ignore_unreachable": true}']
    environment = {
        "ANSIBLE_CONFIG": str(configuration),
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(control),
        "P2P_BENCH_STRATEGY": variant.strategy,
    }
    try:
        if variant.kept:
            run(words, PROJECT, environment)
        with contextlib.suppress(FailedError) if variant.silent else contextlib.nullcontext():
            return run(words, PROJECT, environment)[0]
    finally:
        close(control)
    raise FailedError(f"{variant.name}: the silent node ended the run")


def _quoted(word: str) -> str:
    return f"'{word}'" if " " in word else word


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("inventory", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    options = parser.parse_args(arguments)
    inventory = options.inventory.resolve()
    fleet = nodes(inventory)
    variants = [variant for name in options.only for variant in VARIANTS[name]]
    costs: dict[str, list[Cost]] = {variant.name: [] for variant in variants}
    with tempfile.TemporaryDirectory(prefix="p2ps", dir="/tmp") as name, silent_ports(1) as ports:
        folder = Path(name)
        (folder / "dead").mkdir()
        dead = with_dead(inventory, folder / "dead", ports)
        for _ in range(options.rounds):
            for variant in variants:
                file = dead if variant.silent else inventory
                cost = _measured(variant, file, fleet[0].ssh_args, folder)
                costs[variant.name].append(cost)
                print(f"{variant.name}: {cost.wall:.1f} s", file=sys.stderr, flush=True)
    print(f"{len(fleet)} nodes, {os.cpu_count()} cores, medians of {options.rounds} rounds\n")
    print("| | s | controller's CPU, s | controller's memory, MiB |", "|---|---|---|---|", sep="\n")
    for what, found in costs.items():
        cost = median(found)
        print(f"| {what} | {cost.wall:.1f} | {cost.cpu:.1f} | {cost.memory:.0f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
