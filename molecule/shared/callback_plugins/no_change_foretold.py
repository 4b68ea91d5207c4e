"""Callback plugin of the scenarios: a preview of a converged fleet that foretells a change has failed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import yaml
from ansible import constants, context
from ansible.executor.stats import AggregateStats
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: no_change_foretold
type: aggregate
short_description: Fails a preview that foretells a change after the scenario has converged
description:
  - Molecule's C(check) ends well whatever it foretells. Before C(converge) that is right, after it is not.
requirements:
  - enabled in configuration
"""


class CallbackModule(CallbackBase):  # type: ignore[misc]  # Ansible ships no type information
    """Ends the run with an error where Molecule would not."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "no_change_foretold"
    CALLBACK_NEEDS_ENABLED = True

    def v2_playbook_on_stats(self, stats: AggregateStats) -> None:
        """Exit with an error if anything would change on a converged scenario."""
        if not context.CLIARGS.get("check") or not _converged():
            return
        changed = {host: stats.summarize(host)["changed"] for host in sorted(stats.processed)}
        told = ", ".join(f"{host} ({count})" for host, count in changed.items() if count)
        if told:
            self._display.display(
                f"The fleet has converged, and a preview still foretells changes: {told}",
                color=constants.COLOR_ERROR,
            )
            sys.exit(1)


def _converged() -> bool:
    state = Path(os.environ["MOLECULE_STATE_FILE"])
    return state.exists() and bool((yaml.safe_load(state.read_text()) or {}).get("converged"))
