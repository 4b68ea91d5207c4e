"""How long a look at the whole fleet takes: health.yml beside two other ways, well and with dead nodes.

    python tests/bench/health/bench.py inventory/lab/distributed_hosts.yaml --dead 8

The floor is one bare `ssh <node> true` a node, all at once. The script is what people use: 20 threads
that log in five times a node (`pgrep`, `curl` twice, `df`, `which docker`). A dead node is one whose SSH
port takes the connection and never says a word, as a machine behind a dead tunnel does. Everything
starts without a kept connection; the ways take turns.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

PROJECT = Path(__file__).resolve().parents[3]
LOOKS = (
    "pgrep -f p2p_orchestrator",
    "curl -s -m 5 http://127.0.0.1:8770/health",
    "curl -s -m 5 http://127.0.0.1:8770/status",
    "df -h /",
    "which docker",
)
THREADS = 20
TIMEOUT = 10


def _tool(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


@contextlib.contextmanager
def silent_ports(count: int) -> Iterator[list[int]]:
    """Give ports of this machine that accept connections and never answer."""
    sockets = [socket.create_server(("127.0.0.1", 0), backlog=128) for _ in range(count)]
    try:
        yield [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def with_dead(inventory: Path, folder: Path, ports: Sequence[int]) -> Path:
    """Write the fleet file anew, with its last nodes that do not vote behind silent ports."""
    fleet = yaml.safe_load(inventory.read_text(encoding="utf-8"))
    others = [name for name in fleet["hosts"] if name not in fleet["p2p_voters"]]
    if len(others) < len(ports):
        raise SystemExit(f"{inventory} has {len(others)} nodes that do not vote, {len(ports)} are to be dead")
    for name, port in zip(others[::-1], ports, strict=False):
        fleet["hosts"][name] |= {"ssh_host": "127.0.0.1", "ssh_port": port}
    made = folder / inventory.name
    made.write_text(yaml.safe_dump(fleet, sort_keys=False), encoding="utf-8")
    if (inventory.parent / "group_vars").is_dir():
        shutil.copytree(inventory.parent / "group_vars", folder / "group_vars", dirs_exist_ok=True)
    return made


def logins(inventory: Path) -> dict[str, list[str]]:
    """Return for each node the words that log in to it without a kept connection."""
    listed = subprocess.run(
        [_tool("ansible-inventory"), "-i", str(inventory), "--list"],
        cwd=PROJECT,
        check=True,
        capture_output=True,
        text=True,
    )
    found = json.loads(listed.stdout)
    nodes: dict[str, list[str]] = {}
    for name in found["p2p"]["hosts"]:
        known: dict[str, Any] = found["_meta"]["hostvars"][name]
        words = [str(known.get("ansible_ssh_args", "")), f"-o ConnectTimeout={TIMEOUT} -o BatchMode=yes"]
        split = subprocess.run(
            ["xargs", "-n1"], input=" ".join(words), capture_output=True, text=True, check=True
        ).stdout.splitlines()
        # ssh takes the first value that it is given for an option.
        login = ["ssh", "-o", "ControlMaster=no", "-o", "ControlPath=none", *split]
        if key := known.get("ansible_ssh_private_key_file"):
            login += ["-i", str(Path(key).expanduser())]
        nodes[name] = [
            *login,
            "-p",
            str(known.get("ansible_port", 22)),
            f"{known.get('ansible_user', 'root')}@{known['ansible_host']}",
        ]
    return nodes


def _ssh(login: Sequence[str], command: str) -> int:
    return subprocess.run([*login, command], capture_output=True, check=False).returncode


def floor(nodes: dict[str, list[str]]) -> None:
    """Log in to every node once, all at the same time."""
    with concurrent.futures.ThreadPoolExecutor(len(nodes)) as pool:
        list(pool.map(lambda login: _ssh(login, "true"), nodes.values()))


def script(nodes: dict[str, list[str]]) -> None:
    """Do what people's scripts do: log in to every node for each thing that they want to know."""
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda login: [_ssh(login, look) for look in LOOKS], nodes.values()))


def health(inventory: Path, forks: int, nodes: int, dead: int) -> None:
    """Run health.yml; raise RuntimeError if it did not see the fleet as it is."""
    with tempfile.TemporaryDirectory(prefix="p2p") as folder:
        done = subprocess.run(
            [
                _tool("ansible-playbook"),
                "-i",
                str(inventory),
                f"--forks={forks}",
                "health.yml",
                f"-ep2p_health_report_dir={folder}/reports",
            ],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "ANSIBLE_SSH_CONTROL_PATH_DIR": f"{folder}/c"},
        )
        for path in Path(folder, "c").glob("*"):
            subprocess.run(
                ["ssh", "-O", "exit", "-o", f"ControlPath={path}", "x"], capture_output=True, check=False
            )
        report = Path(folder, "reports", "health.json")
        seen = json.loads(report.read_text(encoding="utf-8"))["cluster"] if report.exists() else None
    if seen is None or (seen["coverage"]["nodes"], seen["by_state"].get("unreachable", 0)) != (nodes, dead):
        raise RuntimeError(
            f"health.yml saw {seen and seen['by_state']}:\n{done.stdout[-3000:]}{done.stderr[-2000:]}"
        )


def _timed(way: Callable[[], None]) -> float:
    began = time.monotonic()
    way()
    return time.monotonic() - began


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("inventory", type=Path)
    parser.add_argument("--dead", type=int, default=8, help="nodes that do not answer in the second half (8)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, of which the median counts (3)")
    parser.add_argument("--forks", type=int, default=64)
    options = parser.parse_args()
    inventory = options.inventory.resolve()
    print("| nodes | dead | bare ssh, s | script, s | health.yml, s | of the floor | of the script |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, silent_ports(options.dead) as ports:
        for dead, file in ((0, inventory), (options.dead, with_dead(inventory, Path(folder), ports))):
            nodes = logins(file)
            ways: list[Callable[[], None]] = [
                lambda nodes=nodes: floor(nodes),  # type: ignore[misc]  # bound now, called in this round
                lambda nodes=nodes: script(nodes),  # type: ignore[misc]  # as above
                lambda nodes=nodes, file=file, dead=dead: health(  # type: ignore[misc]  # as above
                    file, options.forks, len(nodes), dead
                ),
            ]
            times = [[_timed(way) for way in ways] for _ in range(options.rounds)]
            bare, plain, ours = (statistics.median(column) for column in zip(*times, strict=True))
            print(
                f"| {len(nodes)} | {dead} | {bare:.1f} | {plain:.1f} | {ours:.1f} |"
                f" {ours / bare:.1f} | {ours / plain:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
