"""A directory of certificates in a temporary folder, and the module's work on it without Ansible."""

from __future__ import annotations

import copy
import datetime as dt
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from library import p2p_certificate as subject

NOW = dt.datetime(2026, 1, 1, 12, tzinfo=dt.timezone.utc)


@dataclass
class Controller:
    """One controller's directory; each call is one run of the module."""

    root: Path
    now: dt.datetime = NOW
    defaults: dict[str, Any] = field(default_factory=dict)

    def run(self, *, check_mode: bool = False, **changes: Any) -> dict[str, Any]:
        """Run with the fleet of four and some settings changed."""
        params: dict[str, Any] = {
            "state_dir": str(self.root),
            "cluster": "lab",
            "passphrase": "",
            "nodes": fleet(),
            "removed": [],
            "seen": {},
            "adopt": "",
            "ca_days": 3650,
            "leaf_days": 90,
            "renew_below_days": 30,
            "rotate": "none",
            "lock_seconds": 0,
        }
        params.update(copy.deepcopy(self.defaults))
        params.update(changes)
        return subject.run(params, check_mode=check_mode, now=self.now)[0]

    def later(self, days: float) -> None:
        """Let time pass."""
        self.now += dt.timedelta(days=days)

    def files(self) -> dict[str, tuple[bytes, int]]:
        """Return every file with its content and time of change, to compare before and after."""
        return {
            str(p.relative_to(self.root)): (p.read_bytes(), p.stat().st_mtime_ns)
            for p in sorted(self.root.rglob("*"))
            if p.is_file()
        }


def fleet() -> list[dict[str, Any]]:
    """Three voters and one node that does not vote."""
    voters = [
        {"node_id": f"hetzner-cpu{n}", "addresses": [f"192.0.2.{n}", f"100.64.0.{n}"], "server": True}
        for n in (1, 2, 3)
    ]
    return [*voters, {"node_id": "vast-28918742", "addresses": ["198.51.100.1"], "server": False}]


@pytest.fixture
def controller(tmp_path: Path) -> Controller:
    """A controller that has never deployed anything."""
    return Controller(tmp_path / "config" / "p2p-cluster" / "lab")
