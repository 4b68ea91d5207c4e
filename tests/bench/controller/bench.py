"""What deploy.yml with nothing to do and health.yml cost the controller, beside another checkout.

    make bench-controller OPTIONS="--beside <checkout> [--nodes 64] [--rounds 7]"

Every node is this machine's own sshd under an address of the loopback network: a login is a real one, and
the answer is the recorded one of the node that was addressed. The checkouts take turns, each with a
directory of certificates and kept connections of its own. What sshd costs is no part of the processor
seconds, but of the wall time of both.
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import yaml

from tests.bench.deploy.measure import Cost, run
from tests.bench.scale import simulated

PROJECT = Path(__file__).resolve().parents[3]
ANSWER = """#!/bin/sh
# Started by sshd for every command: the third word is the address that was connected to.
cat >/dev/null
set -- $SSH_CONNECTION
exec cat "{folder}/$3"
"""
SSHD = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
PidFile none
AuthorizedKeysFile {folder}/user.pub
StrictModes no
UsePAM no
MaxStartups 1000
ForceCommand {folder}/answer
"""


def _key(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)


@contextmanager
def nodes(folder: Path) -> Iterator[int]:
    """Answer on every loopback address as the files in `folder`/answers say; give the port."""
    _key(folder / "host")
    _key(folder / "user")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    script = folder / "answer"
    script.write_text(ANSWER.format(folder=folder / "answers"), encoding="utf-8")
    script.chmod(0o755)
    settings = SSHD.format(port=port, folder=folder).replace("127.0.0.1", "0.0.0.0")  # noqa: S104  # all of 127.0.0.0/8
    (folder / "sshd_config").write_text(settings, encoding="utf-8")
    Path("/run/sshd").mkdir(exist_ok=True)
    sshd = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
    if sshd is None:
        raise SystemExit("sshd is missing: apt-get install openssh-server")
    with subprocess.Popen(
        [sshd, "-D", "-e", "-f", folder / "sshd_config"], stderr=subprocess.DEVNULL
    ) as server:
        try:
            for _ in range(100):
                time.sleep(0.1)
                with socket.socket() as one:
                    if one.connect_ex(("127.0.0.1", port)) == 0:
                        break
            yield port
        finally:
            server.terminate()


def fleet(folder: Path, nodes_folder: Path, port: int, count: int) -> Path:
    """Write a fleet file with a directory of certificates and known hosts of its own; return its path."""
    folder.mkdir()
    made = simulated.fleet(count)
    for host in made["hosts"].values():
        host |= {"ssh_port": port, "ssh_user": getpass.getuser(), "ssh_key": str(nodes_folder / "user")}
    path = folder / "distributed_hosts.yaml"
    path.write_text(yaml.safe_dump(made, sort_keys=False), encoding="utf-8")
    key = (nodes_folder / "host.pub").read_text(encoding="utf-8")
    (folder / "known_hosts").write_text(f"* {key}", encoding="utf-8")
    words = f"-o StrictHostKeyChecking=yes -o UserKnownHostsFile={folder}/known_hosts"
    settings = {
        "p2p_identity_state_dir": f"{folder}/identity",
        "ansible_ssh_args": f"{words} -o ControlMaster=auto -o ControlPersist=3s",
    }
    (folder / "group_vars").mkdir()
    (folder / "group_vars/all.yml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


def _play(checkout: Path, inventory: Path, playbook: str, count: int) -> Cost:
    words = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(inventory), playbook]
    words += ["-e", f"p2p_health_report_dir={inventory.parent}/reports"]
    with tempfile.TemporaryDirectory(prefix="cm") as sockets:
        settings = {"ANSIBLE_CONFIG": str(checkout / "ansible.cfg"), "ANSIBLE_SSH_CONTROL_PATH_DIR": sockets}
        cost, output = run(words, checkout, settings)
        time.sleep(3.5)  # until no connection is kept
    if playbook == "deploy.yml" and f"0 of {count} nodes will change" not in output:
        raise RuntimeError(f"deploy.yml found something to do:\n{output[-3000:]}")
    return cost


def _answers(folder: Path, count: int) -> None:
    """Write what each address answers, where all nodes are well."""
    folder.mkdir()
    hosts = simulated.fleet(count)["hosts"]
    for node, answer in simulated.answers(count, well=True).items():
        answer["probe"]["digests"] = {}  # of another cluster's CA
        text = f"p2p-probe:/usr/bin/python3\n{json.dumps(answer)}\n"
        (folder / hosts[node]["ssh_host"]).write_text(text, encoding="utf-8")


def _row(rounds: Sequence[Mapping[Path, Cost]]) -> list[str]:
    """Return for each figure the medians of both checkouts, and the median of the ratios of each round."""
    row = []
    for figure in ("cpu", "wall"):
        ours, theirs = (
            [getattr(one[side], figure) for one in rounds] for side in (PROJECT, _other(rounds[0]))
        )
        ratio = statistics.median(our / their for our, their in zip(ours, theirs, strict=True))
        row += [f"{statistics.median(ours):.2f}", f"{statistics.median(theirs):.2f}", f"{ratio:.3f}"]
    return row


def _other(one: Mapping[Path, Cost]) -> Path:
    return next(path for path in one if path != PROJECT)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--beside", type=Path, required=True, help="another checkout of the project")
    parser.add_argument("--nodes", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args(arguments)
    sides = (PROJECT, options.beside.resolve())
    print(
        f"{options.nodes} nodes, {os.cpu_count()} cores, medians of {options.rounds} rounds",
        "",
        "| | CPU, s | beside | ratio | wall, s | beside | ratio |",
        "|---|---|---|---|---|---|---|",
        sep="\n",
    )
    with tempfile.TemporaryDirectory(prefix="p2p-controller-") as name, nodes(Path(name)) as port:
        folder = Path(name)
        _answers(folder / "answers", options.nodes)
        fleets = {
            side: fleet(folder / f"fleet{index}", folder, port, options.nodes)
            for index, side in enumerate(sides)
        }
        for side in sides:
            _play(side, fleets[side], "deploy.yml", options.nodes)  # makes the certificates
        for playbook in ("deploy.yml", "health.yml"):
            rounds = [
                # Who is first changes, since a machine may grow slower.
                {
                    side: _play(side, fleets[side], playbook, options.nodes)
                    for side in sides[:: 1 - 2 * (turn % 2)]
                }
                for turn in range(options.rounds)
            ]
            print(f"| {playbook} |", " | ".join(_row(rounds)), "|", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
