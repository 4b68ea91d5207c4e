"""What `forks` costs the controller: one task on simulated nodes, which take three seconds to answer.

    python -m tests.bench.settings.forks [--nodes 128]

No lab is needed: a program in the place of ssh gives an empty answer after that time.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import yaml

from tests.bench.deploy.fleet import ANSIBLE, PROJECT
from tests.bench.deploy.measure import run
from tests.bench.scale import simulated

FORKS = (8, 16, 32, 64, 128)
PLAY = """
- name: One trivial task
  hosts: p2p
  gather_facts: false
  tasks:
    - name: The node answers
      ansible.builtin.raw: "true"
      changed_when: false
"""


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nodes", type=int, default=128)
    options = parser.parse_args()
    print("| forks | s | CPU, s | memory, MiB |", "|---|---|---|---|", sep="\n")
    with tempfile.TemporaryDirectory(prefix="p2p-forks-") as name:
        folder = Path(name)
        ssh, play = folder / "ssh", folder / "play.yml"
        inventory = folder / "distributed_hosts.yaml"
        ssh.write_text("#!/bin/sh\nexec sleep 3\n", encoding="utf-8")
        ssh.chmod(0o755)
        play.write_text(PLAY, encoding="utf-8")
        inventory.write_text(yaml.safe_dump(simulated.fleet(options.nodes)), encoding="utf-8")
        for forks in FORKS:
            words = [str(ANSIBLE / "ansible-playbook"), "-i", str(inventory), str(play), f"--forks={forks}"]
            cost, _ = run([*words, "-e", f"ansible_ssh_executable={ssh}"], PROJECT, {})
            print(f"| {forks} | {cost.wall:.1f} | {cost.cpu:.1f} | {cost.memory:.0f} |", flush=True)


if __name__ == "__main__":
    main()
