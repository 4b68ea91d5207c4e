"""A real node: one systemd container that all tests of this folder share, driven by real Ansible runs."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

HERE = Path(__file__).parent
PROJECT = HERE.parents[2]
IMAGE = os.environ.get("P2P_NODE_IMAGE", "p2p-cluster/node:debian-12")
# So that apt trusts the mirrors that this machine trusts.
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
ROOT = "/opt/p2p-cluster"
EMPTY: Mapping[str, str] = MappingProxyType({})

# Lines as a private key's text has them.
SECRET = base64.encodebytes(os.urandom(120)).decode()

UNIT = """\
[Unit]
Description=The stand-in
[Service]
Type=notify
Environment=P2P_CONFIG_DIGEST=@config_digest@
Environment=P2P_TEST_CONF=/etc/p2p-test/node.conf
WorkingDirectory=/opt/p2p-cluster/current
ExecStart=/opt/p2p-cluster/current/venv/bin/python -m p2p_orchestrator
TimeoutStartSec=15
[Install]
WantedBy=multi-user.target
"""


def small_lock(*names: str) -> str:
    """Return the part of the nodes' lock that is about some packages."""
    blocks = re.split(r"\n(?=[a-z])", "\n" + (PROJECT / "requirements" / "node.txt").read_text())
    return "\n".join(block for block in blocks if block.strip().split("==")[0] in names) + "\n"


class Node:
    """The container, and Ansible runs against it."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder

    def sh(self, script: str, *, check: bool = True) -> str:
        """Run a shell script as root inside, and return its output."""
        done = subprocess.run(
            ["docker", "exec", "-i", self.name, "bash", "-eu", "-c", script],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"{script}\nexited {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout.strip()

    def module(
        self,
        module: str,
        *,
        check_mode: bool = False,
        user: str = "root",
        variables: Mapping[str, str] = EMPTY,
        **args: Any,
    ) -> Any:
        """Run one module through `ansible` as a user, and return its answer, failed or not."""
        words = [
            module,
            *("-u", user),
            *(["-a", json.dumps(args)] if args else []),
            *(["--check", "--diff"] if check_mode else []),
            *(["-e", json.dumps(dict(variables))] if variables else []),
        ]
        tree = self.folder / f"tree-{uuid.uuid4().hex[:8]}"
        done = self._run("ansible", ["all", "-m", *words, "--tree", str(tree)])
        answers = list(tree.glob("*"))
        assert answers, done.stdout + done.stderr
        return dict(
            json.loads(answers[0].read_text()), failed=done.returncode != 0, said=done.stdout + done.stderr
        )

    def put(self, source: Path, target: str) -> None:
        """Copy a file from here into the container."""
        words = ["docker", "cp", str(source), f"{self.name}:{target}"]
        subprocess.run(words, check=True, capture_output=True)

    def play(self, playbook: str, **variables: Any) -> Any:
        """Run a playbook of this folder, and return what it wrote to `answers`."""
        return self.said(playbook, **variables)[1]

    def said(self, playbook: str, *words: str, **variables: Any) -> tuple[str, Any]:
        """Run a playbook of this folder, and return its output and what it wrote to `answers`."""
        answers = self.folder / f"answers-{uuid.uuid4().hex[:8]}.json"
        given = self.folder / "variables.json"
        given.write_text(
            json.dumps(
                {
                    "careful": False,
                    "artifacts": str(self.folder / "artifacts"),
                    **variables,
                    "answers": str(answers),
                }
            )
        )
        done = self._run("ansible-playbook", [str(HERE / "plays" / playbook), "-e", f"@{given}", *words])
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr, json.loads(answers.read_text())

    def _run(self, program: str, words: list[str]) -> subprocess.CompletedProcess[str]:
        variables = dict(os.environ, ANSIBLE_CONFIG=str(PROJECT / "ansible.cfg"), ANSIBLE_NOCOLOR="1")
        variables.update(ANSIBLE_INVENTORY_ENABLED="host_list", ANSIBLE_LOCALHOST_WARNING="false")
        return subprocess.run(
            [
                str(Path(sys.executable).with_name(program)),
                "-i",
                f"{self.name},",
                "-c",
                "community.docker.docker",
                *words,
            ],
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
            env=variables,
            cwd=PROJECT,
        )


class Fleet:
    """What the node is meant to be, as variables of `cycle.yml`; tests change a copy."""

    def __init__(self) -> None:
        self.lock = small_lock("idna", "psutil")
        self.program = str(HERE / "program")
        self.unit = UNIT
        self.release_files = [{"path": "share/notes.txt", "content": "one\n", "mode": "0640"}]
        self.service_files = [
            {"path": "/etc/p2p-test/node.conf", "content": "colour=blue\n", "mode": "0644", "owner": "root"},
            {"path": "/etc/p2p-test/tls/node.key", "mode": "0600", "secret": True},
        ]
        self.service_secrets = {"/etc/p2p-test/tls/node.key": SECRET}
        self.service_directories = [
            {"path": "/etc/p2p-test", "mode": "0755"},
            {"path": "/etc/p2p-test/tls", "mode": "0750", "owner": "root", "group": "games"},
        ]

    def variables(self) -> dict[str, Any]:
        """Return it as variables."""
        return dict(vars(self))


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """Start the container, wait until systemd is up, and remove it in the end."""
    name = f"p2p-modules-{uuid.uuid4().hex[:8]}"
    mounts = ["-v", f"{BUNDLE}:{BUNDLE}:ro"] if Path(BUNDLE).exists() else []
    subprocess.run(["docker", "network", "create", "--internal", name], check=True, capture_output=True)
    words = [
        "docker",
        "run",
        "-d",
        "--rm",
        "--name",
        name,
        "--network",
        name,
        "--cap-add",
        "SYS_ADMIN",
        "--tmpfs",
        "/run",
    ]
    words += ["--tmpfs", "/run/lock", "-v", "/sys/fs/cgroup:/sys/fs/cgroup:rw", "--stop-signal", "SIGRTMIN+3"]
    started = subprocess.run(
        [*words, *mounts, IMAGE, "/sbin/init"], capture_output=True, text=True, check=False
    )
    try:
        assert started.returncode == 0, f"{started.stderr}\nThe image {IMAGE} is built by scripts/lab-image."
        machine = Node(name, tmp_path_factory.mktemp("node"))
        machine.sh("until systemctl is-system-running | grep -Eq 'running|degraded'; do sleep 0.1; done")
        yield machine
    finally:
        subprocess.run(["docker", "rm", "-f", name], capture_output=True, check=False)
        subprocess.run(["docker", "network", "rm", name], capture_output=True, check=False)


@pytest.fixture(scope="session")
def fleet() -> Fleet:
    """Return what the node is meant to be."""
    return Fleet()


@pytest.fixture(scope="session")
def deployed(node: Node, fleet: Fleet) -> dict[str, Any]:
    """Deploy to the blank node once; return the answers of that first run."""
    # What Debian's etcd package would leave: an instance of its own that must not run.
    node.sh(
        "printf '[Service]\\nExecStart=/bin/sleep inf\\n' > /lib/systemd/system/etcd.service;"
        "systemctl daemon-reload; systemctl start etcd"
    )
    answers: dict[str, Any] = node.play("cycle.yml", careful=True, **fleet.variables())
    return answers
