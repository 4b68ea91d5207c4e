"""One probe of every node, beside a play of one trivial task and a bare ``ssh host true``.

    .venv/bin/python tests/bench/probe/bench.py inventory/lab/distributed_hosts.yaml [--runs 3]

Each figure is a median of wall times, all nodes of the group ``p2p`` at once: `cold` with no SSH connection
open, `warm` over kept ones. What the probe itself took on the nodes is printed too. Exits non-zero if a node
does not answer.
"""

from __future__ import annotations

import argparse
import configparser
import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PROJECT = HERE.parents[2]
BIN = Path(sys.executable).parent


def hosts(inventory: Path) -> dict[str, dict[str, Any]]:
    """Return the connection variables of the nodes that the plays address, by name."""
    words = [str(BIN / "ansible-inventory"), "-i", str(inventory), "--list"]
    listed = json.loads(subprocess.run(words, check=True, capture_output=True, cwd=PROJECT).stdout)
    members: set[str] = set()
    todo = ["p2p"]
    while todo:
        group = listed.get(todo.pop(), {})
        members |= set(group.get("hosts", []))
        todo += group.get("children", [])
    members -= set(listed.get("local", {}).get("hosts", []))
    return {name: listed["_meta"]["hostvars"][name] for name in sorted(members)}


def configured_ssh_args() -> str:
    """Return the SSH options of the project's ansible.cfg."""
    settings = configparser.ConfigParser(interpolation=None)
    settings.read(PROJECT / "ansible.cfg")
    return settings.get("ssh_connection", "ssh_args", fallback="")


def ssh_words(variables: dict[str, Any], control: Path) -> list[str]:
    """Return the command that runs ``true`` on a node over a connection that is kept in `control`."""
    words = ["ssh", "-o", f"ControlPath={control}/%C", "-o", "ControlMaster=auto", "-o", "ControlPersist=60"]
    words += shlex.split(str(variables.get("ansible_ssh_args") or configured_ssh_args()))
    words += shlex.split(str(variables.get("ansible_ssh_common_args", "")))
    words += ["-o", "BatchMode=yes", "-p", str(variables.get("ansible_port", 22))]
    if variables.get("ansible_ssh_private_key_file"):
        words += ["-i", str(variables["ansible_ssh_private_key_file"])]
    return [*words, f"{variables.get('ansible_user', 'root')}@{variables['ansible_host']}", "true"]


def bare_ssh(fleet: dict[str, dict[str, Any]], control: Path) -> None:
    """Run ``ssh host true`` on all nodes at once.

    Raises:
        SystemExit: if one does not answer.
    """
    running = {name: subprocess.Popen(ssh_words(fleet[name], control)) for name in fleet}
    failed = [name for name, process in running.items() if process.wait()]
    if failed:
        raise SystemExit(f"ssh failed: {', '.join(failed)}")


def play(playbook: str, inventory: Path, control: Path, *extra: str) -> None:
    """Run one of this folder's playbooks.

    Raises:
        SystemExit: if it fails.
    """
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"),
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(control),
    }
    words = [str(BIN / "ansible-playbook"), "-i", str(inventory), str(HERE / playbook)]
    done = subprocess.run(
        [*words, *extra], env=environment, cwd=PROJECT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{playbook} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")


def close(control: Path) -> None:
    """End the SSH connections kept in a folder."""
    for path in control.iterdir():
        if path.is_socket():
            subprocess.run(
                ["ssh", "-o", f"ControlPath={path}", "-O", "exit", "x"], capture_output=True, check=False
            )


def measured(function: Callable[[Path], None], control: Path) -> tuple[float, float]:
    """Return how long a function takes without and with connections to use, in seconds."""
    close(control)
    times = []
    for _ in range(2):
        began = time.monotonic()
        function(control)
        times.append(time.monotonic() - began)
    return times[0], times[1]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("inventory", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args(arguments)
    inventory = options.inventory.resolve()
    fleet = hosts(inventory)
    if not fleet:
        raise SystemExit(f"{inventory}: no node in the group p2p")
    with tempfile.TemporaryDirectory(prefix="p2p-bench-") as folder:
        # Socket paths are short: 104 bytes is the limit of the oldest system.
        controls = [Path(tempfile.mkdtemp(prefix="b", dir="/tmp")) for _ in range(3)]
        elapsed = Path(folder) / "elapsed.json"
        extra = ["-e", json.dumps({"project": str(PROJECT), "elapsed": str(elapsed)})]
        ways: dict[str, Callable[[Path], None]] = {
            "ssh host true": lambda control: bare_ssh(fleet, control),
            "play of one ping": lambda control: play("ping.yml", inventory, control),
            "play of one probe": lambda control: play("probe.yml", inventory, control, *extra),
        }
        figures: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        try:
            for _ in range(options.runs):  # side by side: the machine's other load falls on all of them
                for (name, function), control in zip(ways.items(), controls, strict=True):
                    figures[name].append(measured(function, control))
            on_nodes = json.loads(elapsed.read_text())
        finally:
            for control in controls:
                close(control)
                shutil.rmtree(control, ignore_errors=True)  # a connection may still be closing
    print(f"{len(fleet)} nodes, {os.cpu_count()} cores, median of {options.runs} runs, seconds")
    print(f"{'':20}{'cold':>8}{'warm':>8}")
    for name, pairs in figures.items():
        cold, warm = (statistics.median(column) for column in zip(*pairs, strict=True))
        print(f"{name:20}{cold:8.2f}{warm:8.2f}")
    median, largest = statistics.median(on_nodes), max(on_nodes)
    print(f"on the nodes, the probe itself: median {median:.0f} ms, max {largest:.0f} ms")


if __name__ == "__main__":
    main()
