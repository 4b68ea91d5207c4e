"""A task whose time is over leaves no program behind that talks to a node."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

PROJECT = Path(__file__).parents[3]
PLAY = """\
- hosts: node
  gather_facts: false
  tasks:
    - p2p_package: {name: [x]}
      timeout: 2
"""


def test_an_ssh_that_never_answers_ends_with_its_task(tmp_path: Path) -> None:
    silent, play, fleet = (tmp_path / name for name in ("ssh", "play.yml", "distributed_hosts.yaml"))
    silent.write_text("#!/bin/sh\nexec sleep 987\n")
    silent.chmod(0o755)
    play.write_text(PLAY)
    fleet.write_text(
        "hosts: {node: {ssh_host: 127.0.0.9, ssh_user: root, status: ready, p2p_enabled: true}}\n"
    )
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", fleet, play],
        env={
            **os.environ,
            "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"),
            "ANSIBLE_SSH_EXECUTABLE": str(silent),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "Timed out after 2 second" in done.stdout, done.stdout + done.stderr
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        left = [one for one in psutil.process_iter(["cmdline"]) if one.info["cmdline"] == ["sleep", "987"]]
        if not left:
            return
        time.sleep(0.1)
    raise AssertionError(left)
