"""A controller's directory of certificates, and the module's work on it without Ansible."""

from __future__ import annotations

import copy
import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from module_utils.p2p_certificate_directory import run


def member(node_id: str, *addresses: str, server: bool = False) -> dict[str, Any]:
    """Return a node as the module's parameters name it."""
    return {"node_id": node_id, "addresses": list(addresses), "server": server}


def fleet() -> list[dict[str, Any]]:
    """Return three voters and one node that does not vote."""
    voters = [member(f"hetzner-cpu{n}", f"192.0.2.{n}", f"100.64.0.{n}", server=True) for n in (1, 2, 3)]
    return [*voters, member("vast-28918742", "198.51.100.1")]


@dataclass
class Controller:
    """One controller's directory; each call is one run of the module.

    Attributes:
        root: The directory.
        now: The time that a run reckons from; None is the present.
        nodes: Whom a run issues to.
        defaults: Settings that every run of this controller has.
        warnings: What the last run warned of.
    """

    root: Path
    now: dt.datetime | None = None
    nodes: Sequence[dict[str, Any]] = field(default_factory=fleet)
    defaults: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def run(self, *, check_mode: bool = False, **changes: Any) -> dict[str, Any]:
        """Run with some settings changed."""
        params: dict[str, Any] = {
            "state_dir": str(self.root),
            "cluster": "lab",
            "passphrase": "",
            "nodes": list(self.nodes),
            "removed": [],
            "voters": [],
            "called": [],
            "seen": {},
            "known": [],
            "adopt": "",
            "adopt_sha256": "",
            "adopt_follows": False,
            "ca_days": 3650,
            "leaf_days": 90,
            "renew_below_days": 30,
            "rotate": "none",
            "only_look": False,
            "lock_seconds": 0,
        }
        params.update(copy.deepcopy(self.defaults))
        params.update(changes)
        now = self.now or dt.datetime.now(dt.timezone.utc)
        result, self.warnings = run(params, check_mode=check_mode, now=now)
        return result

    def later(self, days: float) -> None:
        """Let time pass."""
        assert self.now is not None, "the present passes by itself"
        self.now += dt.timedelta(days=days)

    def files(self) -> dict[str, tuple[bytes, int]]:
        """Return every file with its content and time of change, to compare before and after."""
        return {
            str(p.relative_to(self.root)): (p.read_bytes(), p.stat().st_mtime_ns)
            for p in sorted(self.root.rglob("*"))
            if p.is_file()
        }
