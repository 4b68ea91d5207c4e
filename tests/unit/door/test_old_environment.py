"""What a user is told whose virtual environment is older than the checkout."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]


@pytest.mark.parametrize("callback", ["p2p_progress", "default"])
def test_a_missing_package_is_named_with_the_remedy(tmp_path: Path, callback: str) -> None:
    (tmp_path / "msgspec.py").write_text("raise ModuleNotFoundError(\"No module named 'msgspec'\")\n")
    fleet = tmp_path / "distributed_hosts.yaml"
    fleet.write_text("hosts:\n  vast-1:\n    ssh_host: 127.0.0.1\n    ssh_port: 9\n    status: ready\n")
    run = subprocess.run(
        ["ansible-playbook", "-i", str(fleet), "health.yml", "-e", f"p2p_health_report_dir={tmp_path}"],
        env={
            **os.environ,
            "PYTHONPATH": str(tmp_path),
            "ANSIBLE_STDOUT_CALLBACK": callback,
            "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"),
        },
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = " ".join((run.stdout + run.stderr).split())
    assert run.returncode != 0
    assert (
        "No module named 'msgspec': the virtual environment is older than this checkout. `make venv`" in said
    )
    assert "Traceback" not in said
    assert "probably a bug" not in said
