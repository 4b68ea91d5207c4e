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
# What this machine knows about its way to the package index, shared with the nodes if it is there.
SHARED = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pip.conf")
WITHOUT_PYTHON = (
    "apt-get purge -qq -y python3 'python3.*-minimal' 'libpython3*' >/dev/null 2>&1; ! command -v python3"
)
# As Debian without python3-venv.
WITHOUT_ENSUREPIP = "rm -rf /usr/lib/python3.*/ensurepip /usr/share/python-wheels"
NO_INDEX = (
    "mkdir -p /root/.config/pip;"
    "printf '[global]\\nindex-url = http://127.0.0.1:9/\\nextra-index-url =\\n' > /root/.config/pip/pip.conf"
)
SUDO = "useradd -m ubuntu; echo 'ubuntu ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/ubuntu"

FLEET = """\
hosts:
  hetzner-voter: &node {{ssh_host: {0}-voter, status: ready, p2p_enabled: true}}
  vultr-bare: {{<<: *node, ssh_host: {0}-bare}}
  aws-no-pip: {{<<: *node, ssh_host: {0}-no-pip, ssh_user: ubuntu}}
  nebius-offline: {{<<: *node, ssh_host: {0}-offline}}
  lambda-full: {{<<: *node, ssh_host: {0}-full}}
p2p_voters: [hetzner-voter]
"""
PREPARED = {
    "voter": "true",
    "bare": WITHOUT_PYTHON,
    "no-pip": f"{WITHOUT_ENSUREPIP}; {SUDO}",
    "offline": NO_INDEX,
    "full": "mkdir -p /opt && mount -t tmpfs -o size=100m none /opt",
}


class Fleet:
    """The containers, and the playbooks of this project run against them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = f"p2p-nodes-{uuid.uuid4().hex[:6]}"
        self.file = folder / "distributed_hosts.yaml"
        self.file.write_text(FLEET.format(self.name))
        (folder / "host_vars").mkdir()
        (folder / "host_vars" / "nebius-offline.yml").write_text("p2p_venv_wheels: controller\n")
        (folder / "group_vars").mkdir()
        (folder / "group_vars" / "p2p.yml").write_text("ansible_connection: community.docker.docker\n")

    def start(self) -> None:
        """Start all containers, and take from each what it lacks."""
        subprocess.run(["docker", "network", "create", self.name], check=True, capture_output=True)
        with ThreadPoolExecutor() as pool:
            list(pool.map(self._start, PREPARED))

    def _start(self, node: str) -> None:
        mounts = [word for path in SHARED if Path(path).exists() for word in ("-v", f"{path}:{path}:ro")]
        words = ["docker", "run", "-d", "--rm", "--name", f"{self.name}-{node}", "--network", self.name]
        words += [
            "--cap-add",
            "SYS_ADMIN",
            "--cap-add",
            "SYS_PTRACE",
            "--tmpfs",
            "/run",
            "--tmpfs",
            "/run/lock",
        ]
        words += ["-v", "/sys/fs/cgroup:/sys/fs/cgroup:rw", "--stop-signal", "SIGRTMIN+3"]
        subprocess.run([*words, *mounts, IMAGE, "/sbin/init"], check=True, capture_output=True)
        self.sh(node, "until systemctl is-system-running | grep -Eq 'running|degraded'; do sleep 0.2; done")
        self.sh(node, PREPARED[node])

    def stop(self) -> None:
        """Remove all containers."""
        names = [f"{self.name}-{node}" for node in PREPARED]
        subprocess.run(["docker", "rm", "-f", *names], capture_output=True, check=False)
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
