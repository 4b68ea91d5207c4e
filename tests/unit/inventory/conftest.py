"""How the tests of the inventory run the real ``ansible-inventory`` command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[3]
HOME = "/home/operator"  # so that expanded paths are the same everywhere


@dataclass(frozen=True)
class Result:
    """What one run of ``ansible-inventory`` gave."""

    code: int
    output: str
    errors: str

    @property
    def inventory(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.output)
        return found

    @property
    def hosts(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = self.inventory["_meta"]["hostvars"]
        return found

    def group(self, name: str) -> list[str]:
        return list(self.inventory.get(name, {}).get("hosts", []))


def list_inventory(*sources: Path, limit: str | None = None, **environment: str) -> Result:
    """Run ``ansible-inventory --list`` with the repository's own settings.

    Args:
        sources: Inventory sources, in order.
        limit: A pattern of hosts, as for ``--limit``.
        environment: Variables beside or instead of those of the test run.
    """
    command = [str(Path(sys.executable).parent / "ansible-inventory"), "--list"]
    for source in sources:
        command += ["-i", str(source)]
    if limit:
        command += ["--limit", limit]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "P2P_"))}
    settings = {"HOME": HOME, "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        env={**clean, **settings, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="session")
def example_fleet() -> Result:
    """The committed example fleet."""
    return list_inventory(REPOSITORY / "inventory" / "distributed_hosts.yaml")
