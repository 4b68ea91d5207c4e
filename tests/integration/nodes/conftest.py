"""A small fleet of nodes as they come, each a container that lacks something else, and deploys to it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]
IMAGE = os.environ.get("P2P_NODE_IMAGE", "p2p-cluster/node:debian-12")
VOTER_IMAGE = os.environ.get("P2P_VOTER_IMAGE", "p2p-cluster/node:debian-12-etcd")
# So that apt trusts the mirrors that this machine trusts.
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
WITHOUT_PYTHON = (
    "apt-get purge -qq -y python3 'python3.*-minimal' 'libpython3*' >/dev/null 2>&1; ! command -v python3"
)
# As Debian without python3-venv, and less.
WITHOUT_VENV = "rm -rf /usr/lib/python3.*/ensurepip /usr/lib/python3.*/venv /usr/share/python-wheels"
# One that has a name only, by which a node's Pythons are told apart.
OLD_PYTHON = "cd /usr/bin; mv python3.11 python3.9; ln -sfn python3.9 python3; ! command -v python3.11"
SUDO = "useradd -m ubuntu; echo 'ubuntu ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/ubuntu"

FLEET = """\
hosts:
  hetzner-voter: &node {{ssh_host: {0}-voter, status: ready, p2p_enabled: true}}
  vultr-bare: {{<<: *node, ssh_host: {0}-bare}}
  aws-no-venv: {{<<: *node, ssh_host: {0}-no-venv, ssh_user: ubuntu}}
  nebius-offline: {{<<: *node, ssh_host: {0}-offline}}
  runpod-old: {{<<: *node, ssh_host: {0}-old}}
  lambda-full: {{<<: *node, ssh_host: {0}-full}}
p2p_voters: [hetzner-voter]
"""
PREPARED = {
    "voter": "true",
    "bare": WITHOUT_PYTHON,
    "no-venv": f"{WITHOUT_VENV}; {SUDO}",
    "offline": "ip route del default",
    "old": OLD_PYTHON,
    "full": "mkdir -p /opt && mount -t tmpfs -o size=100m none /opt",
}
# Its Python is the distribution's.
OUTWARD = "bare"


class Fleet:
    """The containers, and the playbooks of this project run against them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = f"p2p-nodes-{uuid.uuid4().hex[:6]}"
        self.file = folder / "distributed_hosts.yaml"
        self.file.write_text(FLEET.format(self.name))
        (folder / "group_vars").mkdir()
        (folder / "group_vars" / "p2p.yml").write_text("ansible_connection: community.docker.docker\n")

    def start(self) -> None:
        """Start all containers, and take from each what it lacks."""
        subprocess.run(
            ["docker", "network", "create", "--internal", self.name], check=True, capture_output=True
        )
        with ThreadPoolExecutor() as pool:
            list(pool.map(self._start, PREPARED))

    def _start(self, node: str) -> None:
        mounts = ["-v", f"{BUNDLE}:{BUNDLE}:ro"] if Path(BUNDLE).exists() else []
        words = ["docker", "run", "-d", "--rm", "--name", f"{self.name}-{node}", "--network", self.name]
        words += [
            "--cap-add",
            "SYS_ADMIN",
            "--cap-add",
            "SYS_PTRACE",
            "--cap-add",
            "NET_ADMIN",
            "--tmpfs",
            "/run",
            "--tmpfs",
            "/run/lock",
        ]
        words += ["-v", "/sys/fs/cgroup:/sys/fs/cgroup:rw", "--stop-signal", "SIGRTMIN+3"]
        image = VOTER_IMAGE if node == "voter" else IMAGE
        subprocess.run([*words, *mounts, image, "/sbin/init"], check=True, capture_output=True)
        if node == OUTWARD:
            self._bridge("connect")
        self.sh(node, "until systemctl is-system-running | grep -Eq 'running|degraded'; do sleep 0.2; done")
        self.sh(node, PREPARED[node])

    def _bridge(self, how: str) -> None:
        words = ["docker", "network", how, "bridge", f"{self.name}-{OUTWARD}"]
        subprocess.run(words, check=True, capture_output=True)

    def close(self) -> None:
        """Take its way out from the node that has one."""
        self._bridge("disconnect")

    @property
    def containers(self) -> list[str]:
        """The containers of all nodes."""
        return [f"{self.name}-{node}" for node in PREPARED]

    def stop(self) -> None:
        """Remove all containers."""
        subprocess.run(["docker", "rm", "-f", *self.containers], capture_output=True, check=False)
        subprocess.run(["docker", "network", "rm", self.name], capture_output=True, check=False)

    def sh(self, node: str, script: str, *, check: bool = True) -> str:
        """Run a shell script as root on a node, and return its output."""
        done = subprocess.run(
            ["docker", "exec", "-i", f"{self.name}-{node}", "sh", "-c", script],
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert not check or done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    def run(self, playbook: str, *words: str, **variables: object) -> tuple[int, str]:
        """Run a playbook; return its exit code and what it printed, each run of blanks as one."""
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
            "P2P_STATE_DIR": str(self.folder / "state"),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            # What an index gave once is not fetched again.
            "UV_CACHE_DIR": str(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "uv"),
        }
        program = str(Path(sys.executable).with_name("ansible-playbook"))
        done = subprocess.run(
            [program, "-i", str(self.file), playbook, "-e", json.dumps(variables), *words],
            cwd=PROJECT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=1500,
            check=False,
        )
        return done.returncode, " ".join((done.stdout + done.stderr).split())


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Start the fleet, and remove it in the end."""
    found = Fleet(tmp_path_factory.mktemp("nodes"))
    try:
        found.start()
        yield found
    finally:
        found.stop()
