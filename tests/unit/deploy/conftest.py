"""Answers of voters as `p2p_probe` gives them, in the few keys that planning and the gate read."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).parents[3]
Answer = dict[str, Any]
Playbook = Callable[..., tuple[int, str]]
VOTERS = ("a", "b", "c", "d", "e")
IDS = {name: str(number) for number, name in enumerate(VOTERS, start=1)}


def members(started: tuple[str, ...] = VOTERS) -> list[dict[str, Any]]:
    """Return etcd's member list; those not in `started` never published a client URL."""
    return [
        {
            "id": IDS[name],
            "name": name,
            "learner": False,
            "peer_urls": [f"https://{name}:2380"],
            "client_urls": ["https://127.0.0.1:2379"] * (name in started),
        }
        for name in VOTERS
    ]


def voter(name: str, *, follows: str | None = "a", **etcd: Any) -> Answer:
    """Return the answer of a voter whose services all work; `etcd` overrides what its member says."""
    return {
        "probe": {
            "drift": [],
            "services": {
                "p2p-etcd": {"active": "active", "load": "loaded"},
                "p2p_orchestrator": {"active": "active"},
            },
            "http": {"status": {"status": 200, "body": {"leader_id": follows}}},
            "etcd": {
                "has_data": True,
                "error": None,
                "member_id": IDS.get(name),
                "cluster_id": "77",
                "leader": IDS["a"],
                "raft_index": 5000,
                "learner": False,
                "alarms": [],
                "members": members(),
                **etcd,
            },
        }
    }


def blank() -> Answer:
    """Return the answer of a voter on which nothing was ever deployed."""
    drift = [
        {
            "part": "state",
            "name": "p2p_orchestrator.service",
            "why": "not running",
            "restarts": ["p2p_orchestrator"],
        }
    ]
    return {
        "probe": {
            "drift": drift,
            "services": {"p2p-etcd": {"active": "inactive"}, "p2p_orchestrator": {"active": "inactive"}},
            "http": {"status": {"status": None, "body": None}},
            "etcd": {"has_data": False, "error": "connection refused"},
        }
    }


def dead() -> Answer:
    """Return the answer of a node that SSH does not reach."""
    return {"unreachable": True, "msg": "Failed to connect to the host via ssh: timed out\nmore"}


@pytest.fixture
def healthy() -> Callable[[], dict[str, Answer]]:
    """Return a maker of the answers of five voters that are all well."""
    return lambda: {name: voter(name) for name in VOTERS}


FLEET = """\
hosts:
  vast-1: &host {ssh_host: 127.0.0.2, ssh_user: root, role: selfplay, status: ready, p2p_enabled: true}
  nebius-1: {<<: *host, ssh_host: 127.0.0.3}
  vast-2: {<<: *host, ssh_host: 127.0.0.4, status: destroyed}
p2p_voters: [nebius-1]
"""


@pytest.fixture
def fleet_file(tmp_path: Path) -> Path:
    """Write a small fleet file."""
    path = tmp_path / "distributed_hosts.yaml"
    path.write_text(FLEET)
    return path


@pytest.fixture
def playbook(tmp_path: Path) -> Playbook:
    """Return what runs a playbook as a user does, with an ssh that reaches nobody.

    It gives the exit code and all that was printed, on one line. The ssh keeps the addresses it was asked for
    in a file `asked` beside it.
    """
    ssh = tmp_path / "ssh"
    ssh.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\necho "no way to this host" >&2\nexit 255\n')
    ssh.chmod(0o755)
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_SSH_EXECUTABLE": str(ssh),
        "P2P_STATE_DIR": str(tmp_path / "state"),
    }

    def run(name: str, inventory: Path, *arguments: str) -> tuple[int, str]:
        result = subprocess.run(
            [Path(sys.executable).with_name("ansible-playbook"), "-i", inventory, name, *arguments],
            cwd=PROJECT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        return result.returncode, " ".join((result.stdout + result.stderr).split())

    return run
