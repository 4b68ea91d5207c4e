"""A cluster that Molecule deployed, and runs of the playbooks on it that can be killed."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[3]
RUN_S = 1200
PLAIN = {"ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1"}
CONF = "/etc/ringrift/node.conf"
SERVICES = ("p2p_orchestrator", "p2p-etcd")
# A node that has a way out has it by Docker's own network.
_ADDRESS = (
    "{{range $name, $net := .NetworkSettings.Networks}}"
    '{{if ne $name "bridge"}}{{$net.IPAddress}}{{end}}{{end}}'
)

Ask = Callable[[str], dict[str, Any]]


def fleet_file() -> Path:
    """Return the scenario's fleet file."""
    return Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"], "distributed_hosts.yaml")


def environment() -> dict[str, str]:
    """Return the environment of a run: the scenario's, where a preview may foretell changes."""
    return {name: value for name, value in os.environ.items() if name != "ANSIBLE_CALLBACKS_ENABLED"} | PLAIN


class Run:
    """One run of a program of Ansible on the scenario's nodes, begun at once.

    Args:
        words: The program and its words.
        log: Where its output goes.
        fleet: The fleet file; the scenario's own by default.
    """

    def __init__(self, words: Sequence[str], log: Path, *, fleet: Path | None = None) -> None:
        inventories = ["-i", os.environ["MOLECULE_INVENTORY_FILE"], "-i", str(fleet or fleet_file())]
        self.log = log
        with log.open("w") as out:
            self._process = subprocess.Popen(
                [*words, *inventories],
                cwd=ROOT,
                env=environment(),
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def pause(self) -> None:
        """Let it do nothing more, and live."""
        self._send(signal.SIGSTOP)

    def kill(self) -> None:
        """End it and all that it started, with no chance to clean up; nothing if it has ended."""
        if not self.over:
            self._send(signal.SIGKILL)
            self._process.wait()

    def _send(self, number: signal.Signals) -> None:
        # Ansible's workers have sessions of their own: the process group misses them.
        family = psutil.Process(self._process.pid)
        for process in (*family.children(recursive=True), family):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def wait(self) -> tuple[int, str]:
        """Return its exit code, and what it printed with single spaces."""
        try:
            code = self._process.wait(RUN_S)
        finally:
            self.kill()
        return code, self.text()

    def text(self) -> str:
        """Return what it has printed so far, with single spaces and without the marks of long lines."""
        return " ".join(self.log.read_text().split())


def module(node: str, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return what one of the project's modules answers when it runs on a node."""
    inventory = os.environ["MOLECULE_INVENTORY_FILE"]
    words = ["ansible", node, "-m", name, "-a", json.dumps(arguments), "-i", inventory]
    env = environment()
    run = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=600)
    assert run.returncode == 0, run.stdout + run.stderr
    answer: dict[str, Any] = json.loads(run.stdout[run.stdout.index("{") :])
    return answer


def on(node: str, *command: str) -> str:
    """Return what a command on a node prints."""
    return docker("exec", node, *command)


def docker(*words: str) -> str:
    """Return what a command of Docker prints."""
    return subprocess.run(
        ["docker", *words], capture_output=True, text=True, check=True, timeout=300
    ).stdout.strip()


def address(node: str) -> str:
    """Return a node's address on the scenario's network."""
    return docker("inspect", "--format", _ADDRESS, node)


def status(node: str) -> dict[str, Any]:
    """Return what a node answers on /status, or {} when it does not answer."""
    if not (host := address(node)):
        return {}  # its machine is off
    try:
        # From here: a Python started on the node for each question would keep it busy.
        with closing(http.client.HTTPConnection(host, 8770, timeout=10)) as connection:
            connection.request("GET", "/status")
            response = connection.getresponse()
            answer: dict[str, Any] = json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError):
        return {}
    return answer if response.status == http.HTTPStatus.OK else {}


def leader(nodes: Sequence[str], ask: Ask = status) -> str | None:
    """Return the leader that all these nodes name, or None; `ask` returns what one answers on /status."""
    named = {ask(node).get("leader_id") for node in nodes}
    one: str | None = named.pop()
    return None if named else one


def settled(nodes: Sequence[str], voters: Sequence[str], seconds: float = 180, ask: Ask = status) -> str:
    """Return the leader, one of the voters, once all these nodes name it."""
    found: list[str] = []

    def agreed() -> bool:
        if (one := leader(nodes, ask)) is not None and one in voters:
            found.append(one)
        return bool(found)

    wait_for(agreed, seconds, lambda: str({name: ask(name) for name in nodes}))
    return found[0]


def release(node: str) -> str:
    """Return the name of the release that a node runs."""
    return Path(on(node, "readlink", "/opt/p2p-cluster/current")).name


def drift(*nodes: str) -> None:
    """Change the settings of these nodes by hand, so that a deploy restarts their orchestrators."""
    for node in nodes:
        on(node, "sh", "-c", f"echo '# by hand' >> {CONF}")


def drifted(node: str) -> bool:
    """Tell whether a node's settings are still those that `drift` left."""
    return "# by hand" in on(node, "cat", CONF)


def processes(node: str) -> list[str]:
    """Return the main processes of the project's services on a node."""
    return on(node, "systemctl", "show", "--property", "MainPID", "--value", *SERVICES).split()


def wait_for(condition: Callable[[], bool], seconds: float, what: Callable[[], str]) -> None:
    """Fail with `what` unless the condition comes true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.25)


@contextmanager
def stopped(node: str) -> Iterator[None]:
    """Keep a node's machine off."""
    docker("stop", "--time", "10", node)
    try:
        yield
    finally:
        docker("start", node)
