"""A fleet of its own: systemd containers without anything of this project, one a start state."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.preview.states import JOINS, NETWORK, START_STATES, VOTERS
from tests.support.no_index import of_containers

PROJECT = Path(__file__).parents[2]
IMAGE = "p2p-cluster/node:debian-12"
# So that apt trusts the mirrors that this machine trusts.
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
OPTIONS = (
    *("--cap-add", "SYS_ADMIN", "--cap-add", "SYS_PTRACE", "--tmpfs", "/run", "--tmpfs", "/run/lock"),
    *("-v", "/sys/fs/cgroup:/sys/fs/cgroup:rw", "--stop-signal", "SIGRTMIN+3", "--network", NETWORK),
)
BOOTED = "until systemctl is-system-running | grep -Eq 'running|degraded'; do sleep 0.1; done"
PATIENCE = 900
AT_ONCE = 4

# All that a preview must leave as it is: files, packages, units, and the processes that last. Whatever is
# done to a file or a folder sets the time of its last change, which nobody can set. That of a home itself
# tells only that a run's temporary folder was there, and is gone. When a process started is told in ticks of
# the kernel: a clock that is set moves what ps tells.
STATE = r"""
find /etc /opt /root /home /usr/local -xdev \
  '(' -path /root -o -path '/home/*' ! -path '/home/*/*' ')' -printf '%y %m %U %G %p\n' \
  -o -printf '%y %m %U %G %s %i %C@ %p %l\n' | sort
sha256sum /var/lib/dpkg/status
systemctl list-unit-files --no-legend --no-pager
systemctl show '*.service' '*.socket' -p Id,ActiveState,MainPID,NRestarts,ActiveEnterTimestamp
mine=$(ps -o sid= -p $$)
ps -eo pid,ppid,sid,args --no-headers | awk -v mine="$mine" '$3 != mine'
cat /proc/[0-9]*/stat 2>/dev/null |
  awk -v mine="$mine" '{ pid = $1; sub(/^.*\) /, ""); if ($4 != mine) print pid, $20 }'
"""


def _docker(*words: str, check: bool = True) -> str:
    done = subprocess.run(["docker", *words], capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise RuntimeError(f"docker {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def shell(node: str, script: str) -> str:
    """Run a script as root on a node, and return what it wrote.

    Raises:
        RuntimeError: if it fails.
    """
    return _docker("exec", node, "bash", "-eu", "-c", script)


class Fleet:
    """The containers, and runs of playbooks over them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.reports, self.identity = folder / "reports", folder / "identity"
        self._hosts = {
            name: {
                # Told an `ssh_user`, the connection to a container asks for Docker's version at every task.
                "ssh_host": name,
                "role": "test",
                "status": "ready",
                "p2p_enabled": True,
                "memory_gb": 1,
                "cpus": 1,
            }
            for name in START_STATES
        }
        self._fleet, self._reach = folder / "distributed_hosts.yaml", folder / "connections.yml"
        self.write(VOTERS)
        self._runs = 0

    def write(self, voters: Iterable[str], among: Iterable[str] = START_STATES) -> None:
        """Write the fleet file: who votes, among these nodes; and how they are reached."""
        hosts = {name: self._hosts[name] for name in among}
        self._fleet.write_text(json.dumps({"hosts": hosts, "p2p_voters": list(voters)}))
        # Variables of a run would be stronger than what a task on the controller says.
        reach = {name: {"ansible_connection": "community.docker.docker"} for name in hosts}
        self._reach.write_text(json.dumps({"all": {"hosts": reach}}))

    def run(self, playbook: str, *words: str) -> list[dict[str, Any]]:
        """Run a playbook of the project, and return its events; its output is kept in the folder.

        Raises:
            RuntimeError: if it exits with an error.
        """
        self._runs += 1
        stem = self.folder / f"{self._runs:02}-{Path(playbook).stem}"
        events, output = stem.with_suffix(".jsonl"), stem.with_suffix(".txt")
        events.touch()
        folders = [PROJECT / "callback_plugins", PROJECT / "tests/preview/callback_plugins"]
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"),
            "ANSIBLE_INVENTORY_ENABLED": "distributed_hosts,yaml",
            "ANSIBLE_CALLBACK_PLUGINS": ":".join(map(str, folders)),
            "ANSIBLE_CALLBACKS_ENABLED": "preview_events",
            "P2P_PREVIEW_EVENTS": str(events),
            "P2P_STATE_DIR": str(self.identity),
        }
        command = [str(Path(sys.executable).with_name("ansible-playbook"))]
        command += ["-i", str(self._fleet), "-i", str(self._reach), playbook]
        command += ["-e", f"p2p_health_report_dir={self.reports}", *words]
        with output.open("w") as stream:
            done = subprocess.run(
                command,
                cwd=PROJECT,
                env=environment,
                stdout=stream,
                stderr=subprocess.STDOUT,
                timeout=PATIENCE,
                check=False,
            )
        if done.returncode:
            raise RuntimeError(
                f"{playbook} {' '.join(words)} exited {done.returncode}:\n{output.read_text()[-6000:]}"
            )
        return [json.loads(line) for line in events.read_text().splitlines()]

    def state(self) -> dict[str, str]:
        """Return what a preview must leave as it is: of each node, and of the controller's certificates."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            found = dict(
                zip(START_STATES, pool.map(lambda node: shell(node, STATE), START_STATES), strict=True)
            )
        files = sorted(path for path in self.identity.rglob("*") if path.is_file())
        found["this machine"] = "\n".join(
            f"{path} {path.stat().st_mtime_ns} {hashlib.sha256(path.read_bytes()).hexdigest()}"
            for path in files
        )
        return found


@contextmanager
def containers(names: Sequence[str]) -> Iterator[None]:
    """Start the fleet's containers and network; remove them in the end, and what an earlier run left."""
    _remove(names)
    _docker("network", "create", "--internal", NETWORK)
    mounts = ["-v", f"{BUNDLE}:{BUNDLE}:ro"] if Path(BUNDLE).exists() else []
    try:
        for name in names:
            image = f"{IMAGE}-etcd" if name in VOTERS else IMAGE
            _docker("run", "-d", "--name", name, "--hostname", name, *OPTIONS, *mounts, image, "/sbin/init")
        for name in names:
            shell(name, f"timeout 300 bash -c {json.dumps(BOOTED)}")
        found = of_containers(names)
        if found:
            raise RuntimeError(f"nodes reach a package index: {found}")
        # It installs the distribution's etcd.
        _docker("network", "connect", "bridge", JOINS)
        yield
    finally:
        _remove(names)


def _remove(names: Sequence[str]) -> None:
    _docker("rm", "--force", "--volumes", *names, check=False)
    _docker("network", "rm", NETWORK, check=False)


def wait_for_cluster(nodes: Iterable[str], seconds: float = 240) -> None:
    """Wait until every voter's orchestrator answers that there is a quorum.

    Raises:
        RuntimeError: if that takes longer.
    """
    ask = "import urllib.request as r; r.urlopen('http://127.0.0.1:8770/health', timeout=10)"
    deadline = time.monotonic() + seconds
    for node in nodes:
        while True:
            try:
                shell(node, f'python3 -c "{ask}"')
                break
            except RuntimeError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(1)
