"""Callback plugin of the hostile tests: writes what the run knows of every node when it ends."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ansible.executor.stats import AggregateStats
from ansible.playbook.play import Play
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: hostile_end
type: aggregate
short_description: What a run knows of every node when it ends
description:
  - Writes to the file that the environment variable E(P2P_HOSTILE_END) names.
requirements:
  - enabled in configuration
"""


class CallbackModule(CallbackBase):  # type: ignore[misc]  # Ansible ships no type information
    """Writes the variables that the run itself set, by node, and the inventory's hosts and groups."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "hostile_end"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._play: Any = None

    def v2_playbook_on_play_start(self, play: Play) -> None:
        """Remember the play, which knows the variables."""
        self._play = play

    def v2_playbook_on_stats(self, stats: AggregateStats) -> None:
        """Write all."""
        manager = self._play.get_variable_manager()
        inventory = manager._inventory
        names = [*inventory.hosts, "localhost"]
        found = {
            "hosts": {name: dict(host.vars) for name, host in inventory.hosts.items()},
            "groups": {name: sorted(map(str, group.hosts)) for name, group in inventory.groups.items()},
            "group_vars": {name: dict(group.vars) for name, group in inventory.groups.items()},
            "set": {
                name: {
                    **manager._nonpersistent_fact_cache.get(name, {}),
                    **manager._vars_cache.get(name, {}),
                }
                for name in names
            },
            "facts": {name: _facts(manager, name) for name in names},
            "stats": {name: stats.summarize(name) for name in stats.processed},
        }
        Path(os.environ["P2P_HOSTILE_END"]).write_text(json.dumps(found, default=str), encoding="utf-8")


def _facts(manager: Any, name: str) -> dict[str, Any]:
    try:
        return dict(manager._fact_cache.get(name))
    except KeyError:
        return {}
