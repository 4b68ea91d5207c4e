"""A cluster of real etcd members and real agents on this machine, each host with an address of its own.

On loopback the hosts are 127.77.N.x; with `network=True` each is a network namespace on a bridge, so that it
can be cut off.
"""

import http.client
import itertools
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[3]
ETCD = shutil.which("etcd")
EVENT = re.compile(r"event=(\S+) at=(\S+)")
FIELD = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|\S+)')
# What a killed run left behind is in the way of few.
_numbers = itertools.cycle(random.sample(range(250), 250))


def _place() -> tuple[int, socket.socket]:
    """Return a number that no other cluster on this machine has, and what holds it until that is closed."""
    while True:
        number, held = next(_numbers), socket.socket()
        try:
            held.bind((f"127.77.{number}.254", 8769))
        except OSError:
            held.close()
        else:
            return number, held


def run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)


def now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def wait(what: str, check: Callable[[], Any], seconds: float) -> Any:
    """Return the first true value of `check`, asked every 0.1 s. Raises AssertionError after `seconds`."""
    end = now() + seconds
    while True:
        value = check()
        if value:
            return value
        assert now() < end, f"not within {seconds:.1f} s: {what}"
        time.sleep(0.1)


class Process:
    """A program with its log, which can be killed, frozen and started again."""

    def __init__(self, words: list[str], log: Path, env: dict[str, str] | None = None) -> None:
        self.words = words
        self.log = log
        self.env = env
        self.killed: list[float] = []
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.words, stdout=log, stderr=log, env=self.env, stdin=subprocess.DEVNULL
            )

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
            self.killed.append(now())

    def terminate(self, seconds: float = 60.0) -> tuple[int, float]:
        """Stop it in order; return the exit code and the seconds that it took."""
        assert self.process is not None
        begin = now()
        self.process.terminate()
        code = self.process.wait(seconds)
        self.killed.append(now())
        return code, now() - begin

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None


class Agent(Process):
    """An orchestrator."""

    def __init__(self, name: str, address: str, words: list[str], log: Path, env: dict[str, str]) -> None:
        super().__init__(words, log, env)
        self.name = name
        self.address = address

    def get(self, path: str, seconds: float = 10.0) -> tuple[int, Any]:
        """Return HTTP status and decoded body; status 0 if it does not answer."""
        url = f"http://{self.address}:8770{path}"
        try:
            try:
                with urllib.request.urlopen(url, timeout=seconds) as reply:
                    code, data = reply.status, reply.read()
            except urllib.error.HTTPError as error:
                code, data = error.code, error.read()
        except (OSError, http.client.HTTPException):
            return 0, {}
        return code, json.loads(data) if data[:1] == b"{" else data.decode()

    def status(self) -> dict[str, Any]:
        return dict(self.get("/status")[1])

    @property
    def leader(self) -> str | None:
        leader = self.get("/health")[1].get("leader_id")
        return None if leader is None else str(leader)

    def events(self) -> list[dict[str, str]]:
        """Return the events of the log, each a map of its fields."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return [dict(FIELD.findall(line)) for line in lines if EVENT.search(line)]

    def led(self) -> list[tuple[float, float, int]]:
        """Return from when to when and in which term it believed itself leader (boot time; inf: still).

        A process that was killed believed until then at most.
        """
        result: list[tuple[float, float, int]] = []
        begin: tuple[float, int] | None = None
        for event in self.events():
            at, name = float(event["at"]), event["event"]
            if begin and name in ("leader_acquired", "started"):
                end = min((t for t in self.killed if t >= begin[0]), default=at)
                result.append((begin[0], end, begin[1]))
                begin = None
            if name == "leader_acquired":
                begin = (float(event["since"]), int(event["term"]))
            elif name == "leader_lost" and begin:
                result.append((begin[0], float(event["until"]), begin[1]))
                begin = None
        if begin:
            end = min((t for t in self.killed if t >= begin[0]), default=float("inf"))
            result.append((begin[0], end, begin[1]))
        return result


class Cluster:
    """Hosts 1 to `voters` run an etcd member and an agent; those after them an agent."""

    def __init__(
        self, path: Path, voters: int, others: int = 0, *, network: bool = False, **env: str
    ) -> None:
        self.path = path
        self.network = network
        self.number, self._held = _place()
        self.bridge = f"p2pt{self.number}"
        self.extra = env
        self.voters = [f"voter-{i}" for i in range(1, voters + 1)]
        self.names = [*self.voters, *(f"vast-{i}" for i in range(1, others + 1))]
        self.addresses = {name: self._address(i) for i, name in enumerate(self.names, 1)}
        if network:
            self._make_network()
        self.members = {name: self._member(name) for name in self.voters}
        self.agents = {name: self.agent(name, name) for name in self.names}

    def __enter__(self) -> Self:
        """Start everything."""
        for process in (*self.members.values(), *self.agents.values()):
            process.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave nothing behind."""
        for process in (*self.agents.values(), *self.members.values()):
            process.kill()
        self._held.close()
        if self.network:
            subprocess.run(["ip", "link", "del", f"{self.bridge}m"], check=False, capture_output=True)
            for name in (*self.names, "switch"):
                subprocess.run(["ip", "netns", "del", self.space(name)], check=False, capture_output=True)

    def _address(self, number: int) -> str:
        return f"10.77.{self.number}.{number}" if self.network else f"127.77.{self.number}.{number}"

    def space(self, name: str) -> str:
        return f"{self.bridge}-{name}"

    def _make_network(self) -> None:
        """Join all hosts and this process by a bridge in a namespace of its own, free of local rules."""
        switch, mine = self.space("switch"), f"{self.bridge}m"
        run("ip", "netns", "add", switch)
        run("ip", "-n", switch, "link", "add", "br0", "type", "bridge")
        run("ip", "-n", switch, "link", "set", "br0", "up")
        run("ip", "link", "add", mine, "type", "veth", "peer", "name", "v0", "netns", switch)
        run("ip", "-n", switch, "link", "set", "v0", "master", "br0", "up")
        run("ip", "addr", "add", f"10.77.{self.number}.254/24", "dev", mine)
        run("ip", "link", "set", mine, "up")
        for i, name in enumerate(self.names, 1):
            space = self.space(name)
            run("ip", "netns", "add", space)
            run(
                "ip",
                "-n",
                switch,
                "link",
                "add",
                f"v{i}",
                "type",
                "veth",
                "peer",
                "name",
                "eth0",
                "netns",
                space,
            )
            run("ip", "-n", switch, "link", "set", f"v{i}", "master", "br0", "up")
            run("ip", "-n", space, "addr", "add", f"{self.addresses[name]}/24", "dev", "eth0")
            run("ip", "-n", space, "link", "set", "eth0", "up")
            run("ip", "-n", space, "link", "set", "lo", "up")

    def _inside(self, name: str, words: Iterable[str]) -> list[str]:
        return [*(["ip", "netns", "exec", self.space(name)] if self.network else []), *words]

    def cut(self, name: str, *directions: str) -> None:
        """Drop what host `name` sends (OUTPUT) or receives (INPUT), but on its loopback."""
        assert self.network, "a partition needs namespaces"
        device = {"INPUT": "-i", "OUTPUT": "-o"}
        for chain in directions:
            run(*self._inside(name, ["iptables", "-A", chain, device[chain], "eth0", "-j", "DROP"]))

    def heal(self, name: str) -> None:
        run(*self._inside(name, ["iptables", "-F"]))

    def reach(self, name: str, path: str) -> tuple[int, Any]:
        """Ask an agent from its own host, also while that is cut off."""
        words = ["curl", "-s", "-m", "5", "-w", "\n%{http_code}", f"http://{self.addresses[name]}:8770{path}"]
        done = subprocess.run(self._inside(name, words), check=False, capture_output=True, text=True)
        body, _, code = done.stdout.rpartition("\n")
        return int(code or 0), json.loads(body) if body.startswith("{") else {}

    def _client(self, name: str) -> str:
        return f"http://{'127.0.0.1' if self.network else self.addresses[name]}:2379"

    def _member(self, name: str) -> Process:
        peer = f"http://{self.addresses[name]}:2380"
        everyone = ",".join(f"{voter}=http://{self.addresses[voter]}:2380" for voter in self.voters)
        words = [str(ETCD), "--name", name, "--data-dir", str(self.path / f"etcd-{name}")]
        words += ["--listen-client-urls", self._client(name), "--advertise-client-urls", self._client(name)]
        words += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
        words += ["--initial-cluster", everyone, "--initial-cluster-state", "new", "--log-level", "warn"]
        words += ["--heartbeat-interval", "300", "--election-timeout", "3000", "--pre-vote"]
        return Process(self._inside(name, words), self.path / f"etcd-{name}.log")

    def agent(self, name: str, host: str, **env: str) -> Agent:
        """Return an agent called `name` on the host `host`, not started."""
        address = self.addresses[host]
        words = [sys.executable, "-m", "p2p_orchestrator", "--host", address]
        settings = {
            **os.environ,
            "PYTHONPATH": str(ROOT / "orchestrator" / "src"),
            "NODE_ID": name,
            "P2P_SEEDS": ",".join(f"http://{self.addresses[voter]}:8770" for voter in self.voters),
            "P2P_VOTERS": ",".join(self.voters),
            "RINGRIFT_PATH": str(self.path),
            "P2P_DATA_DIR": str(self.path / f"data-{name}"),
            **({"P2P_ETCD_ENDPOINT": self._client(name)} if name in self.voters else {}),
            **self.extra,
            **env,
        }
        return Agent(name, address, self._inside(host, words), self.path / f"agent-{name}.log", settings)

    def etcd_leader(self) -> str | None:
        """Return the voter whose member leads etcd."""
        for name in self.voters:
            if not self.members[name].running:
                continue
            request = ["curl", "-s", "-m", "5", "-d", "{}", f"{self._client(name)}/v3/maintenance/status"]
            done = subprocess.run(self._inside(name, request), check=False, capture_output=True, text=True)
            reply = json.loads(done.stdout) if done.stdout.startswith("{") else {}
            if reply.get("leader") and reply["leader"] == reply["header"]["member_id"]:
                return name
        return None

    def agreed(self, names: Iterable[str] | None = None) -> str | None:
        """Return the leader that all of `names` (default: all that run) name, and that says so itself."""
        asked = list(names) if names is not None else [n for n, agent in self.agents.items() if agent.running]
        leaders = {self.agents[name].leader for name in asked}
        leader = leaders.pop() if len(leaders) == 1 else None
        if leader is None or self.agents[leader].status().get("role") != "leader":
            return None
        return leader

    def check_leaders(self) -> list[tuple[float, float, int, str]]:
        """Assert that no two agents ever believed at once, and that terms rise; return who led and when."""
        led = sorted((*span, name) for name, agent in self.agents.items() for span in agent.led())
        for before, after in itertools.pairwise(led):
            assert before[1] <= after[0], f"two leaders at once: {before} and {after}"
            assert before[2] < after[2], f"a term twice: {before} and {after}"
        return led
