"""The way to a node, against a real sshd in a container: what it is offered, and how much of it is read."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[3] / "scripts"
IMAGE = os.environ.get("P2P_NODE_IMAGE", "p2p-cluster/node:debian-12")
# An operator's own configuration that offers all there is, and reaches a node through a jump host.
CONFIG = """\
Host *
  ForwardAgent yes
  PermitLocalCommand yes
  LocalCommand touch /tmp/local-%n
  RemoteForward 9999 127.0.0.1:22
  StrictHostKeyChecking accept-new
  ControlMaster auto
  ControlPersist 5
  ControlPath /tmp/control-%C
Host node
  HostName 127.0.0.1
  ProxyJump jump
Host jump direct
  HostName 127.0.0.1
"""
PREPARE = f"""
set -e
mkdir -p -m 700 /root/.ssh
ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519
cat /root/.ssh/id_ed25519.pub >> /root/.ssh/authorized_keys
cat > /root/.ssh/config <<'END'
{CONFIG}END
ssh-agent -a /tmp/agent >/dev/null
until ssh -F /dev/null -o StrictHostKeyChecking=accept-new 127.0.0.1 true 2>/dev/null; do sleep 0.1; done
"""


class Machine:
    """A container that is the operator's machine and the node at once."""

    def __init__(self) -> None:
        self.name = f"p2p-ssh-{uuid.uuid4().hex[:6]}"

    def start(self) -> None:
        """Start it."""
        words = ["docker", "network", "create", "--internal", self.name]
        subprocess.run(words, check=True, capture_output=True)
        words = ["docker", "run", "-d", "--rm", "--name", self.name, "--network", self.name]
        words += ["-v", f"{SCRIPTS}:/scripts:ro", IMAGE, "/usr/local/sbin/p2p-lab-container"]
        subprocess.run(words, check=True, capture_output=True)
        assert self.sh(PREPARE)[0] == 0

    def sh(self, script: str) -> tuple[int, bytes, bytes]:
        """Run a script; return its exit code, its output and what it said."""
        words = ["docker", "exec", "-e", "SSH_AUTH_SOCK=/tmp/agent", self.name, "sh", "-c", script]
        done = subprocess.run(words, capture_output=True, check=False, timeout=60)
        return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """A machine with an sshd, and an operator who has logged in to it."""
    made = Machine()
    try:
        made.start()
        yield made
    finally:
        for words in (["rm", "-f"], ["network", "rm"]):
            subprocess.run(["docker", *words, made.name], capture_output=True, check=False)


@pytest.mark.parametrize("host", ["direct", "node"])
def test_no_agent_no_local_command_and_no_forwarding(machine: Machine, host: str) -> None:
    look = f"""{host} 'echo "agent=$SSH_AUTH_SOCK"; exit 7'; code=$?; ls -d /tmp/local-*; exit $code"""
    # As ssh itself would have it.
    assert b"agent=/tmp/" in machine.sh(f"ssh {look}")[1]
    machine.sh("rm -f /tmp/local-* /tmp/control-*; pkill -f 'ssh: /tmp/control'")
    code, out, _ = machine.sh(f"/scripts/node-ssh {look}")
    assert (code, out) == (7, b"agent=\n")
    machine.sh("pkill -f 'ssh: /tmp/control'; rm -f /tmp/control-*")


def test_output_and_words_arrive_apart_and_input_goes_in(machine: Machine) -> None:
    code, out, said = machine.sh("printf 'a\\0b' | /scripts/node-ssh direct 'cat; echo oh >&2; exit 3'")
    assert (code, out) == (3, b"a\0b")
    assert said.endswith(b"oh\n")


def test_what_is_said_first_is_heard_first(machine: Machine) -> None:
    """Whoever becomes root waits for the word that it worked before the program is sent."""
    script = "echo ready; read -r word; echo got $word"
    shell = (
        "rm -f /tmp/in /tmp/out; mkfifo /tmp/in /tmp/out;"
        f" /scripts/node-ssh direct '{script}' < /tmp/in > /tmp/out &"
        " exec 3> /tmp/in 4< /tmp/out; read -r first <&4; echo $first-two >&3; cat <&4"
    )
    assert machine.sh(f"timeout 10 sh -c {shlex.quote(shell)}")[1] == b"got ready-two\n"


def test_an_unreachable_node_says_why(machine: Machine) -> None:
    code, out, said = machine.sh("/scripts/node-ssh -p 9 direct true")
    assert (code, out) == (255, b"")
    assert b"Connection refused" in said


@pytest.mark.parametrize(
    ("flood", "most"),
    [("cat /dev/zero", 4 << 20), ("head -c 5000000 /dev/zero >&2", 128 << 10)],
)
@pytest.mark.parametrize("words", ["", "-vvvv"])
def test_an_answer_without_end_is_cut(machine: Machine, flood: str, most: int, words: str) -> None:
    began = time.monotonic()
    _, out, said = machine.sh(f"timeout 30 /scripts/node-ssh {words} direct '{flood}'")
    assert time.monotonic() - began < 25
    # dd counts what it reads, and may read less than a block.
    assert most // 8 < len(out) + len(said)
    assert len(out) <= 4 << 20
    assert len(said) <= 128 << 10


@pytest.mark.parametrize("host", ["direct", "node"])
def test_a_master_does_not_keep_an_answer_waiting(machine: Machine, host: str) -> None:
    machine.sh("pkill -f 'ssh: /tmp/control'; rm -f /tmp/control-*")
    began = time.monotonic()
    for words in ("-vvv", "", "", "-vvv"):
        # The master may keep it, and Ansible waits for it no longer than for the program.
        assert machine.sh(f"/scripts/node-ssh {words} {host} 'echo here' 2>/tmp/said")[1] == b"here\n"
    assert time.monotonic() - began < 4  # the master itself stays for five seconds
    # One that is there serves who asks for more words, too.
    assert b"mux_client_request_session" in machine.sh("cat /tmp/said")[1]


def test_files_go_to_a_node_by_no_other_way(machine: Machine, tmp_path: Path) -> None:
    subprocess.run(
        ["docker", "cp", "-q", f"{machine.name}:/root/.ssh/id_ed25519", tmp_path / "key"], check=True
    )
    words = [
        "docker",
        "inspect",
        "-f",
        "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}",
        machine.name,
    ]
    address = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    fleet = tmp_path / "distributed_hosts.yaml"
    fleet.write_text(
        f"hosts: {{node: {{ssh_host: {address}, ssh_user: root, ssh_key: {tmp_path}/key, status: ready}}}}\n"
    )
    log = tmp_path / "asked"
    for name in ("ssh", "sftp", "scp"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho "{name} $*" >> {log}\nexec {name} "$@"\n')
        (tmp_path / name).chmod(0o755)
    arguments = f"-o UserKnownHostsFile={tmp_path}/known -o StrictHostKeyChecking=accept-new"
    settings = {f"ANSIBLE_{name.upper()}_EXECUTABLE": str(tmp_path / name) for name in ("ssh", "sftp", "scp")}
    done = subprocess.run(
        [
            *[str(Path(sys.executable).with_name("ansible")), "-i", str(fleet), "node"],
            *["-m", "ansible.builtin.copy", "-a", "content=here dest=/tmp/sent"],
        ],
        env={
            **os.environ,
            **settings,
            "ANSIBLE_SSH_ARGS": arguments,
            "ANSIBLE_CONFIG": str(SCRIPTS.parent / "ansible.cfg"),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert machine.sh("cat /tmp/sent")[1] == b"here"
    asked = log.read_text().splitlines()
    assert any(" of=" in line for line in asked)  # dd, which takes it
    assert all(line.startswith("ssh -F ") and "ForwardAgent=no" in line for line in asked), asked
