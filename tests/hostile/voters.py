"""Five real voters and two nodes that do not vote: containers that the project's own playbooks deploy to."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tests.hostile.fleet import Run, Sandbox, program

IMAGE = os.environ.get("P2P_VOTER_IMAGE", "p2p-cluster/node:debian-12-etcd")
NODES = (
    *("hetzner-cpu31", "hetzner-cpu32", "vultr-a100-31", "nebius-h100-31", "lambda-gh200-31"),
    *("nebius-h100-32", "vultr-a100-32"),
)
VOTERS = 5
OPTIONS = (
    *("--cap-add", "SYS_ADMIN", "--cap-add", "SYS_PTRACE", "--cap-add", "NET_ADMIN"),
    *("--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"),
    *("--cgroupns", "private", "--tmpfs", "/run", "--tmpfs", "/run/lock"),
)
PORT = 8770
RUN_S = 600
SETTLED_S = 120
ADDRESS = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
BOOTED = "until systemctl is-system-running | grep -Eq 'running|degraded'; do sleep 0.2; done"
HOST = {
    "ssh_user": "root",
    "role": "training",
    "status": "ready",
    "p2p_enabled": True,
    "memory_gb": 64,
    "cpus": 16,
}
EMPTY: Mapping[str, Sequence[str]] = MappingProxyType({})
# As an earlier deploy leaves its release: what runs does not depend on the folder's name.
EARLIER = r"""
cd /opt/p2p-cluster/releases && older=0.9.0-0123456789ab
cp -a "$(basename "$(readlink ../current)")" $older && ln -sfn releases/$older ../previous
sed -i -E 's/^( "created_at"): .*/\1: 1.0,/; s/^( "name"): .*/\1: "'$older'",/' $older/manifest.json
"""
INSIDE = Path(__file__).with_name("inside.py").read_text(encoding="utf-8")


def docker(*words: str, given: str = "") -> str:
    """Return what a command of Docker prints.

    Raises:
        AssertionError: It fails.
    """
    done = subprocess.run(["docker", *words], input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"docker {shlex.join(words)}: {done.stderr}"
    return done.stdout.strip()


def wait_for(what: Callable[[], str], seconds: float) -> None:
    """Wait until nothing is told that is still missing.

    Raises:
        AssertionError: Something is after so long, in seconds.
    """
    deadline = time.monotonic() + seconds
    while missing := what():
        assert time.monotonic() < deadline, missing
        time.sleep(0.5)


class Cluster:
    """The containers, the fleet file, and runs of playbooks over them.

    `voters` are those that vote. Who finds harm done calls the cluster `spoiled`.
    """

    def __init__(self, folder: Path) -> None:
        self.sandbox = Sandbox(folder / "s")
        self.prefix = f"p2p-liars-{uuid.uuid4().hex[:6]}"
        self.voters: tuple[str, ...] = NODES[:VOTERS]
        self.addresses: dict[str, str] = {}
        self.spoiled = False
        # A setting of the store: another restarts its members.
        self.hours = 1
        self._folder, self._key = folder, folder / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self._key)], check=True)
        (folder / "given").mkdir()
        (folder / "given/authorized_keys").write_text(self._key.with_suffix(".pub").read_text())

    @property
    def others(self) -> list[str]:
        """The nodes that do not vote."""
        return [name for name in NODES if name not in self.voters]

    @property
    def containers(self) -> list[str]:
        """The containers of all nodes."""
        return [f"{self.prefix}-{name}" for name in NODES]

    @property
    def memory(self) -> Path:
        """What the controller knows of the store."""
        return self.sandbox.state / "store/p2p.json"

    def start(self) -> None:
        """Start the containers and deploy to them; each has an earlier release to go back to."""
        self.voters, self.spoiled = NODES[:VOTERS], False
        docker("network", "create", "--internal", self.prefix)
        with ThreadPoolExecutor() as pool:
            self.addresses = dict(zip(NODES, pool.map(self._start, NODES), strict=True))
        run = self.run("deploy.yml", self.voters)
        assert run.code == 0, run.output[-4000:]
        for name in NODES:
            self.on(name, EARLIER)
        self.settle()

    def _start(self, node: str) -> str:
        mounts = ["-v", f"{self._folder}/given:/etc/p2p-lab/ssh:ro"]
        words = ["--name", f"{self.prefix}-{node}", "--hostname", node, "--network", self.prefix]
        docker("run", "-d", *words, *OPTIONS, *mounts, IMAGE)
        self.on(node, f"timeout 120 bash -c {shlex.quote(BOOTED)}")
        return docker("inspect", "-f", ADDRESS, f"{self.prefix}-{node}")

    def stop(self) -> None:
        """Remove them, and what the controller knows of them."""
        for words in (["rm", "-f", "--volumes", *self.containers], ["network", "rm", self.prefix]):
            subprocess.run(["docker", *words], capture_output=True, check=False)
        shutil.rmtree(self.sandbox.state, ignore_errors=True)
        self._known.unlink(missing_ok=True)

    @contextmanager
    def frozen(self, nodes: Sequence[str]) -> Iterator[None]:
        """Let these machines stand still meanwhile, while the others have a leader."""
        names = [f"{self.prefix}-{name}" for name in nodes]
        if names:
            docker("pause", *names)
        try:
            self.settle([name for name in self.voters if name not in nodes])
            yield
        finally:
            if names:
                docker("unpause", *names)

    def on(self, node: str, script: str) -> str:
        """Run a script as root on a node; return its output."""
        return docker("exec", f"{self.prefix}-{node}", "bash", "-euc", script)

    @property
    def _known(self) -> Path:
        return self.sandbox.folder / "fleet/log/known"

    def run(
        self, playbook: str, voters: Sequence[str], *words: str, liars: Mapping[str, Sequence[str]] = EMPTY
    ) -> Run:
        """Run a playbook to its end.

        Args:
            playbook: One of the project's.
            voters: Those of the fleet file.
            words: More of its command.
            liars: By node the words that stand before those of ssh; none for one that is not reached.
        """
        hosts = {
            name: {**HOST, "ssh_host": address, "ssh_key": str(self._key)}
            for name, address in self.addresses.items()
        }
        fleet = self.sandbox.folder / "fleet"
        (fleet / "distributed_hosts.yaml").write_text(
            json.dumps({"hosts": hosts, "p2p_voters": list(voters)}), encoding="utf-8"
        )
        ssh = f"ssh -o UserKnownHostsFile={self._known} -o StrictHostKeyChecking=no"
        program(fleet / "ssh", _way(ssh, {self.addresses[name]: before for name, before in liars.items()}))
        given = ("-e", f"etcd_compaction_retention={self.hours}h")
        return self.sandbox.run(playbook, *given, *words, seconds=RUN_S)

    def look(self, node: str) -> dict[str, Any]:
        """Return what a node's store really is, from the inside."""
        found: dict[str, Any] = json.loads(
            docker("exec", "-i", f"{self.prefix}-{node}", "python3", "-", given=INSIDE)
        )
        return found

    def looks(self, nodes: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Return the same of several."""
        names = list(nodes)
        with ThreadPoolExecutor() as pool:
            return dict(zip(names, pool.map(self.look, names), strict=True))

    def health(self, node: str) -> dict[str, Any]:
        """Return what a node's orchestrator answers, {} if it does not."""
        connection = HTTPConnection(self.addresses[node], PORT, timeout=5)
        try:
            connection.request("GET", "/health")
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
        except (OSError, HTTPException, ValueError):
            return {}
        finally:
            connection.close()
        return answer

    def settle(self, nodes: Collection[str] = ()) -> None:
        """Wait until these voters, by default all, name one node that leads.

        Raises:
            AssertionError: They do not in time.
        """
        wait_for(partial(self._unsettled, nodes or self.voters), SETTLED_S)

    def _unsettled(self, nodes: Collection[str]) -> str:
        told = {name: self.health(name).get("leader_id") for name in nodes}
        (one, *more) = set(told.values())
        # One that stands still is named until its lease is over.
        leads = not more and one in self.addresses and self.health(one).get("role") == "leader"
        return "" if leads else str(told)


def _way(ssh: str, lies: Mapping[str, Sequence[str]]) -> str:
    """Return the shell's words that reach every node, through what speaks for those that lie."""
    silent = 'echo "ssh: connect to host $word port 22: Connection timed out" >&2; exit 255'
    rest = f'{ssh} "$@"'
    cases = " ".join(
        f"{address}) {f'exec {shlex.join(words)} {rest}' if words else silent} ;;"
        for address, words in lies.items()
    )
    return f"for word; do case $word in {cases} esac; done; exec {rest}" if lies else f"exec {rest}"
