"""A fleet of nodes that a program in the place of ssh plays, and runs of playbooks over it in a sandbox."""

from __future__ import annotations

import copy
import json
import math
import os
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

from tests.bench.scale import simulated
from tests.hostile.standin.good import NOW

PROJECT = Path(__file__).parents[2]
HERE = Path(__file__).parent
COUNT = 13
NAMES = simulated.names(COUNT)
VOTERS = NAMES[: simulated.VOTERS]
# Strangers' machines: the last ones, so that none of them is the canary, and one that votes.
HOSTILE = NAMES[-4:]
HOSTILE_VOTER = VOTERS[3]
GOOD = [name for name in NAMES if name not in HOSTILE]
CA = "/etc/ringrift/tls/ca.crt"
BOUND_SECONDS = 240
# A process counts the memory of who started it as its own, and pytest holds all that it has built up.
_MEASURED = (
    "import resource, subprocess, sys;"
    "code = subprocess.call(sys.argv[2:]);"
    "most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss;"
    "open(sys.argv[1], 'w').write(str(most));"
    "sys.exit(code % 256)"
)
# How the names of variables end that lead to an index.
_WAYS = ("_proxy", "uv_index", "uv_default_index", "uv_index_url", "ssl_cert_file", "ssl_cert_dir")
UNREACHABLE = {
    "stdout": "",
    "stderr": "ssh: connect to host 127.0.0.1 port 22: Connection timed out\r\n",
    "rc": 255,
}
WELL: dict[str, Any] = {"good": True}
Reply = Mapping[str, Any]
Replies = Mapping[str, Sequence[Reply]]


def reply(text: str, **rest: Any) -> dict[str, Any]:
    """Return a reply that says `text`."""
    return {"stdout": text.encode("utf-8", "surrogatepass").decode("latin-1"), **rest}


def probe_text(answer: Mapping[str, Any], interpreter: str = "/usr/bin/python3") -> str:
    """Return what the probe's program prints."""
    return f"p2p-probe:{interpreter}\n{json.dumps(answer)}\n"


@dataclass
class Run:
    """A run that has ended.

    `processor` is what it and all that it started took, in seconds, `memory` the largest of its processes in
    MiB. `end` is what the run knew of every node.
    """

    code: int
    output: str
    seconds: float
    processor: float
    memory: float
    end: dict[str, Any]
    written: list[str]
    report: Path

    def answer(self, node: str) -> dict[str, Any]:
        """Return what the run's first probe of a node gave, {} if none did."""
        for known in self.end.get("set", {}).values():
            nodes = known.get("p2p_health_nodes", {}).get("nodes", {})
            if node in nodes:
                found: dict[str, Any] = nodes[node]
                return found
            for asked in known.get("p2p_voters_asked", {}).get("results", []):
                if asked.get("item") == node:
                    voter: dict[str, Any] = asked
                    return voter
        leaving: dict[str, Any] = self.end.get("set", {}).get(node, {}).get("p2p_node_leaving", {})
        return leaving


def healthy(count: int = COUNT, digest: str = "") -> dict[str, dict[str, Any]]:
    """Return what the nodes of a healthy fleet answer; `digest` is the SHA-256 of their CA's bundle."""
    found = simulated.answers(count, well=True)
    for answer in found.values():
        probe = answer["probe"]
        probe["clock"]["unix"] = NOW
        probe["digests"] = {CA: digest} if digest else {}
    return found


class Sandbox:
    """A home, a temporary folder and a fleet of its own; whatever a run writes elsewhere in it is told."""

    def __init__(self, folder: Path, deployed: Path | None = None, count: int = COUNT) -> None:
        self.folder, self.digest, self.count = folder, "", count
        for name in ("home/.ssh", "tmp", "cwd", "fleet/nodes", "fleet/log"):
            (folder / name).mkdir(parents=True)
        for name in ("home/.ssh/id_cluster", "home/.ssh/config", "home/.bashrc", "cwd/ansible.cfg.txt"):
            (folder / name).write_text("# mine\n", encoding="utf-8")
        (folder / "home/.ssh/id_cluster").chmod(0o600)
        self.state = folder / "state"
        if deployed is not None:
            shutil.copytree(deployed / "state", self.state)
            known = json.loads((deployed / "end.json").read_text())["set"][VOTERS[0]]
            self.digest = known["p2p_identity_result"]["ca_bundle_sha256"]
        # Whatever makes a shell, an interpreter or a program of the operator's machine run makes this file.
        self.canary = folder / "ran"
        fleet = folder / "fleet"
        (fleet / "distributed_hosts.yaml").write_text(
            yaml.safe_dump(simulated.fleet(count), sort_keys=False), encoding="utf-8"
        )
        played = shlex.join([sys.executable, "-IS", str(HERE / "standin/ssh.py"), str(fleet)])
        program(fleet / "ssh", f'exec {played} "$@"')
        program(fleet / "sftp", f'exec sftp -S {fleet}/ssh "$@"')
        self.addresses = {name: host["ssh_host"] for name, host in simulated.fleet(count)["hosts"].items()}
        for name, answer in self.answers().items():
            self.play(name, answer)

    def answers(self) -> dict[str, dict[str, Any]]:
        """Return what the nodes of a healthy fleet answer the probe."""
        return healthy(self.count, self.digest)

    def play(self, name: str, answer: Mapping[str, Any], replies: Replies | None = None) -> None:
        """Say how a node answers: the probe with `answer`, and what is in `replies` with that."""
        node = {"name": name, "probe": probe_text(answer), "replies": replies or {}}
        path = self.folder / f"fleet/nodes/{self.addresses[name]}.json"
        path.write_text(json.dumps(node), encoding="utf-8")

    def asked(self, name: str) -> list[dict[str, str]]:
        """Return what a node was asked, in the order."""
        path = self.folder / f"fleet/log/{self.addresses[name]}"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def run(self, playbook: str, *words: str, seconds: float = BOUND_SECONDS) -> Run:
        """Run a playbook of the project to its end.

        Raises:
            AssertionError: It takes longer than `seconds`.
        """
        for log in (self.folder / "fleet/log").iterdir():
            log.unlink()
        end = self.folder / "end.json"
        end.unlink(missing_ok=True)
        before = self._files()
        settings = {
            "p2p_max_fail_percentage": 100,
            "p2p_health_election_wait": 1,
            "p2p_health_timeout": 20,
            "p2p_health_report_dir": str(self.folder / "reports"),
        }
        playbooks = str(Path(sys.executable).with_name("ansible-playbook"))
        memory = self.folder / "memory.txt"
        memory.unlink(missing_ok=True)
        command = [
            *(sys.executable, "-IS", "-c", _MEASURED, str(memory)),
            playbooks,
            "-i",
            str(self.folder / "fleet/distributed_hosts.yaml"),
            str(PROJECT / playbook),
        ]
        began = time.monotonic()
        with (self.folder / "output.txt").open("wb") as stream:
            process = subprocess.Popen(
                [*command, "-e", json.dumps(settings), *words],
                cwd=self.folder / "cwd",
                env=self._environment(end),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            late = threading.Timer(seconds, lambda: os.killpg(process.pid, 9))
            late.start()
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            late.cancel()
        output = (self.folder / "output.txt").read_bytes().decode("utf-8", "surrogateescape")
        took = time.monotonic() - began
        assert took < seconds, f"{playbook} did not end in {seconds} s:\n{output[-3000:]}"
        return Run(
            code=process.returncode,
            output=output,
            seconds=took,
            processor=used.ru_utime + used.ru_stime,
            memory=int(memory.read_text()) / 1024 if memory.exists() else math.inf,
            # Runs are compared with those of other sandboxes.
            end=json.loads(end.read_text().replace(str(self.folder), "(sandbox)")) if end.exists() else {},
            written=self._strange(before),
            report=self.folder / "reports",
        )

    def _environment(self, end: Path) -> dict[str, str]:
        folders = [PROJECT / "callback_plugins", HERE / "callback_plugins"]
        return {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(self.folder / "home"),
            # What an index gave once is not fetched again for each sandbox, and reached as ever.
            "UV_CACHE_DIR": str(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "uv"),
            **{name: value for name, value in os.environ.items() if name.lower().endswith(_WAYS)},
            "TMPDIR": str(self.folder / "tmp"),
            "LANG": "C.UTF-8",
            "USER": "operator",
            "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_CALLBACK_PLUGINS": ":".join(map(str, folders)),
            "ANSIBLE_CALLBACKS_ENABLED": "hostile_end",
            # Started by the project's own way to nodes (scripts/node-ssh).
            "ANSIBLE_SSH_EXECUTABLE": str(self.folder / "fleet/ssh"),
            "ANSIBLE_SFTP_EXECUTABLE": str(self.folder / "fleet/sftp"),
            "P2P_HOSTILE_END": str(end),
            "P2P_STATE_DIR": str(self.state),
        }

    def _files(self) -> dict[str, str]:
        return {
            str(
                path.relative_to(self.folder)
            ): f"{path.stat().st_mode:o} {sha256(path.read_bytes()).hexdigest()}"
            for path in self.folder.rglob("*")
            if path.is_file() and not path.is_symlink()
        }

    def _strange(self, before: Mapping[str, str]) -> list[str]:
        """Return which files were written, or taken away, that are not this project's."""
        after = self._files()
        own = (
            "state/",
            "reports/",
            "fleet/log/",
            "end.json",
            "output.txt",
            "memory.txt",
            "home/.ansible/",
            "home/.cache/",
            "home/.rustup/",
        )
        return sorted(
            name
            for name in {*before, *after}
            if before.get(name) != after.get(name) and not name.startswith(own)
        )


def drifted(answer: Mapping[str, Any], *parts: str) -> dict[str, Any]:
    """Return an answer of a node that differs from what it is meant to be in some parts."""
    why = {"file": "/etc/ringrift/node.conf", "release": "1.0.1-000000000000"}
    found: dict[str, Any] = copy.deepcopy(dict(answer))
    found["probe"]["drift"] = [
        {"part": part, "name": why[part], "why": "content differs", "restarts": ["p2p_orchestrator"]}
        for part in parts
    ]
    return found


def program(path: Path, line: str) -> None:
    """Write a shell script of one line."""
    path.write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
    path.chmod(0o755)
