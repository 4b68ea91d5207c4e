"""The lab as the ways of deploying see it, and copies of its fleet file."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

PROJECT = Path(__file__).resolve().parents[3]
ANSIBLE = Path(sys.executable).parent


class Node(NamedTuple):
    """How one node is logged in to."""

    name: str
    address: str
    port: int
    user: str
    key: str
    ssh_args: list[str]
    voter: bool

    def ssh(self, *command: str) -> list[str]:
        """Return the words that run a command there over a connection of its own."""
        # ssh takes the first value that it is given for an option.
        words = ["ssh", "-o", "ControlMaster=no", "-o", "ControlPath=none", "-o", "BatchMode=yes"]
        return [
            *words,
            *self.ssh_args,
            *["-i", self.key, "-p", str(self.port), f"{self.user}@{self.address}"],
            *command,
        ]


def nodes(inventory: Path) -> list[Node]:
    """Return the nodes that a deploy of a fleet file addresses.

    Raises:
        SystemExit: one of them is not a lab's: it has no key, or its address is not private.
    """
    listed = json.loads(
        subprocess.run(
            [str(ANSIBLE / "ansible-inventory"), "-i", str(inventory), "--list"],
            cwd=PROJECT,
            check=True,
            capture_output=True,
        ).stdout
    )
    found = []
    for name in listed["p2p"]["hosts"]:
        known: dict[str, Any] = listed["_meta"]["hostvars"][name]
        address, key = str(known["ansible_host"]), str(known.get("ansible_ssh_private_key_file", ""))
        if not (inventory.parent / "known_hosts").is_file() or Path(key).parent != inventory.parent:
            raise SystemExit(f"{inventory}: {name} is no node of a lab, and this bench changes nodes")
        args = shlex.split(str(known["ansible_ssh_args"]))
        port, user = int(known.get("ansible_port", 22)), str(known.get("ansible_user", "root"))
        found.append(Node(name, address, port, user, key, args, bool(known["p2p_is_voter"])))
    return found


def copy(
    inventory: Path, folder: Path, *, first: int | None = None, ringrift_path: str | None = None
) -> Path:
    """Write a fleet file anew.

    Args:
        inventory: the lab's.
        folder: where to; made here.
        first: keep so many hosts alone.
        ringrift_path: gives every host this path, one line of its node.conf.

    Returns:
        The new file.
    """
    fleet = yaml.safe_load(inventory.read_text(encoding="utf-8"))
    hosts = dict(list(fleet["hosts"].items())[:first])
    if ringrift_path:
        hosts = {name: {**host, "ringrift_path": ringrift_path} for name, host in hosts.items()}
    folder.mkdir(parents=True)
    shutil.copytree(inventory.parent / "group_vars", folder / "group_vars")
    made = folder / inventory.name
    made.write_text(yaml.safe_dump({**fleet, "hosts": hosts}, sort_keys=False), encoding="utf-8")
    return made


def close(control: Path) -> None:
    """End the connections that are kept in a folder, and remove it."""
    sockets: Sequence[Path] = list(control.glob("*")) if control.is_dir() else []
    for path in sockets:
        subprocess.run(
            ["ssh", "-O", "exit", "-o", f"ControlPath={path}", "x"], capture_output=True, check=False
        )
    shutil.rmtree(control, ignore_errors=True)
