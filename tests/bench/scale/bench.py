"""The inventory, the plan and the health report of large fleets, simulated: no node is asked.

    make bench-scale [OPTIONS="--nodes 1000 5000 --plays 1000"]

The answers of the probe are recorded ones (tests/bench/scale/record.py) under other names; one node in
twenty does not answer, and one in ten has drifted. Figures are processor seconds, which neighbours on a
shared machine disturb least, and the largest memory of the process. `--plays` also runs the playbooks as
they are, with a program in the place of ssh that gives the recorded answer of the node that it is asked for.
Exits 1 if something takes more than twice as long a node in the largest fleet as in the smallest.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.quorum import store_quorum

from filter_plugins.p2p_outcome import outcomes, plan_text
from filter_plugins.p2p_plan import plan
from filter_plugins.p2p_preflight import preflight
from roles.p2p_health.report import build, terminal, write
from roles.p2p_health.report import fleet as report_fleet
from tests.bench.deploy.measure import Cost, run

from . import simulated

PROJECT = Path(__file__).resolve().parents[3]
BIN = Path(sys.executable).parent
WORSE = 2.0
# Below this the start of Python is most of it.
LONG = 0.5
SSH = """#!/bin/sh
# In the place of ssh: the last words are the address and the command.
while [ $# -gt 2 ]; do shift; done
cat >/dev/null
[ -e "{folder}/$1" ] || {{ echo "ssh: connect to host $1: Connection timed out" >&2; exit 255; }}
cat "{folder}/$1"
"""


def _inventory(count: int, folder: Path) -> Path:
    """Write a fleet file, and what the plays need beside it; return its path."""
    folder.mkdir(parents=True)
    path = folder / "distributed_hosts.yaml"
    path.write_text(yaml.safe_dump(simulated.fleet(count), sort_keys=False), encoding="utf-8")
    settings = {"p2p_identity_state_dir": f"{folder}/identity"}
    (folder / "group_vars").mkdir()
    (folder / "group_vars/all.yml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


# -- the parts, each in a process of its own ------------------------------------------------------------


def _plan(count: int) -> Callable[[], None]:
    answers = simulated.answers(count)
    voters = simulated.names(count)[: simulated.VOTERS]
    of_voters = {name: answers[name] for name in voters}

    def part() -> None:
        made = plan(
            answers,
            voters,
            store_quorum(of_voters),
            voter_answers=of_voters,
            now=time.time(),
            batches=["10%", "30%", "100%"],
            preflight=preflight(answers, of_voters),
        )
        touched = len(made["others"]) + len(made["canary"])
        if not touched or not plan_text(made):
            raise RuntimeError(f"the plan touches {touched} nodes")
        outcomes({name: {"p2p_outcome": {"state": "changed"}} for name in answers}, made)

    return part


def _health(count: int) -> Callable[[], None]:
    answers = simulated.answers(count)
    hosts = simulated.fleet(count)["hosts"]
    voters = simulated.names(count)[: simulated.VOTERS]
    hostvars: dict[str, dict[str, Any]] = {
        name: {
            "distributed_host": host,
            "ansible_host": host["ssh_host"],
            "ansible_port": host["ssh_port"],
            "ansible_user": host["ssh_user"],
            "ansible_ssh_private_key_file": host["ssh_key"],
            "p2p_provider": name.split("-", 1)[0],
            "p2p_is_voter": name in voters,
            "p2p_voters": voters,
            "p2p_fleet_file": "/fleet/distributed_hosts.yaml",
        }
        for name, host in hosts.items()
    }

    def part() -> None:
        settings = {"started": time.time() - 5, "asked": time.time(), "ssh_args": "", "here": Path.cwd()}
        given, known = report_fleet.gather(answers, hostvars, {"p2p": list(hosts)}, settings)
        made = build.report(given, known)
        dead = made["cluster"]["by_state"].get("unreachable", 0)
        if made["cluster"]["coverage"]["nodes"] != count or not dead:
            raise RuntimeError(f"the report is about {made['cluster']['coverage']} and {dead} dead nodes")
        with tempfile.TemporaryDirectory() as folder:
            # Twice, since the second compares with the first.
            write.write(made, known, Path(folder), 30)
            write.write(made, known, Path(folder), 30)
        terminal.table(made, lambda text, _: text)

    return part


PARTS = {"the plan": _plan, "the health report": _health}


def _alone(name: str, count: int) -> None:
    """Run one part in this process, and print what it cost."""
    part = PARTS[name](count)
    before = time.process_time()
    part()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([time.process_time() - before, memory]))


# -- all of them ----------------------------------------------------------------------------------------


def _parts(count: int, folder: Path) -> dict[str, tuple[float, float]]:
    """Return processor seconds and memory in MiB of each part."""
    inventory = _inventory(count, folder / str(count))
    words = [str(BIN / "ansible-inventory"), "-i", str(inventory), "--list", "--output", os.devnull]
    cost, _ = run(words, PROJECT, {})
    found = {"the inventory, `ansible-inventory --list`": (cost.cpu, cost.memory)}
    for name in PARTS:
        words = [sys.executable, "-m", "tests.bench.scale.bench", "--part", name, "--nodes", str(count)]
        _, output = run(words, PROJECT, {})
        cpu, memory = json.loads(output.splitlines()[-1])
        found[name] = (cpu, memory)
    return found


def _plays(count: int, folder: Path) -> dict[str, Cost]:
    """Return what the playbooks cost where all nodes are well, by their names."""
    inventory = _inventory(count, folder / f"plays{count}")
    given = inventory.parent / "answers"
    given.mkdir()
    hosts = simulated.fleet(count)["hosts"]
    for name, answer in simulated.answers(count, well=True).items():
        answer["probe"]["digests"] = {}  # of another cluster's CA
        text = f"p2p-probe:/usr/bin/python3\n{json.dumps(answer)}\n"
        (given / hosts[name]["ssh_host"]).write_text(text, encoding="utf-8")
    ssh = inventory.parent / "ssh"
    ssh.write_text(SSH.format(folder=given), encoding="utf-8")
    ssh.chmod(0o755)
    play = [str(BIN / "ansible-playbook"), "-i", str(inventory)]
    # Started by the project's own way to nodes, whose cost is part of it.
    played = {"ANSIBLE_SSH_EXECUTABLE": str(ssh)}
    costs = {}
    # The first run makes the certificates, the second has nothing to do.
    for name in ("deploy.yml, certificates made", "deploy.yml, nothing to do"):
        costs[name], output = run([*play, "deploy.yml"], PROJECT, played)
        if f"0 of {count} nodes will change" not in output:
            raise RuntimeError(f"deploy.yml found something to do:\n{output[-3000:]}")
    costs["health.yml"], _ = run(
        [*play, "health.yml", f"-ep2p_health_report_dir={inventory.parent}/reports"], PROJECT, played
    )
    return costs


def _superlinear(found: dict[int, dict[str, tuple[float, float]]]) -> list[str]:
    """Return which parts take more a node in the largest fleet than in the smallest."""
    small, large = min(found), max(found)
    worse = []
    for name, (cpu, _) in found[large].items():
        ratio = (cpu / large) / (found[small][name][0] / small)
        if cpu > LONG and ratio > WORSE:
            worse.append(f"{name}: {ratio:.1f} times as long a node with {large} nodes as with {small}")
    return worse


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nodes", type=int, nargs="+", default=[1000, 5000])
    parser.add_argument("--plays", type=int, nargs="*", default=[], help="run the playbooks on so many nodes")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.part:
        _alone(options.part, options.nodes[0])
        return 0
    with tempfile.TemporaryDirectory(prefix="p2p-scale-") as name:
        found = {count: _parts(count, Path(name)) for count in options.nodes}
        print("| | nodes | CPU, s | memory, MiB |", "|---|---|---|---|", sep="\n")
        for part in next(iter(found.values())):
            for count, costs in found.items():
                print(f"| {part} | {count:,} | {costs[part][0]:.2f} | {costs[part][1]:.0f} |", flush=True)
        for count in options.plays:
            for part, cost in _plays(count, Path(name)).items():
                print(
                    f"| {part}: {cost.wall:.0f} s | {count:,} | {cost.cpu:.0f} | {cost.memory:.0f} |",
                    flush=True,
                )
    worse = _superlinear(found)
    print(*worse, sep="\n", file=sys.stderr)
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
