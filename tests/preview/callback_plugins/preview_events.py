"""Callback plugin of the preview harness: writes every result of a run to a file, one JSON object a line."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.executor.task_result import CallbackTaskResult
from ansible.playbook.play import Play
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: preview_events
type: aggregate
short_description: Every result of a run as JSON lines
description:
  - Writes to the file that the environment variable E(P2P_PREVIEW_EVENTS) names.
requirements:
  - enabled in configuration
"""


class CallbackModule(CallbackBase):  # type: ignore[misc]  # Ansible ships no type information
    """Writes what a comparison of two runs needs."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "preview_events"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._file = Path(os.environ["P2P_PREVIEW_EVENTS"])
        self._play = ""

    def v2_playbook_on_play_start(self, play: Play) -> None:
        """Remember the play."""
        self._play = play.get_name()

    def v2_runner_on_ok(self, result: CallbackTaskResult) -> None:
        """Write it."""
        self._write("ok", result)

    def v2_runner_on_failed(self, result: CallbackTaskResult, ignore_errors: bool = False) -> None:
        """Write it."""
        self._write("ignored" if ignore_errors else "failed", result)

    def v2_runner_on_unreachable(self, result: CallbackTaskResult) -> None:
        """Write it."""
        self._write("unreachable", result)

    def _write(self, status: str, result: CallbackTaskResult) -> None:
        told = result.result
        parts = told.get("results") if result.task.loop else None
        items: list[dict[str, Any]] = parts or [told]
        delegate = result.task.delegate_to  # in a loop it is a template still
        event = {
            "play": self._play,
            "path": result.task.get_path(),
            "task": result.task.name or result.task.get_name(),
            "node": delegate if delegate and "{{" not in delegate else result.host.get_name(),
            "status": status,
            "changed": bool(told.get("changed")),
            "actions": [phrase for item in items for phrase in item.get("actions") or []],
            "diff": [item["diff"] for item in items if item.get("diff")],
            "drift": _drift(result.host.get_name(), told),
            "message": told.get("msg"),
        }
        with self._file.open("a") as stream:
            stream.write(json.dumps(event, default=str) + "\n")


def _drift(host: str, told: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return what a probe found: of the node that it ran on, or of all that one task asked."""
    asked = told.get("nodes")
    answers = asked if isinstance(asked, Mapping) else {host: told}
    probes = {node: answer["probe"] for node, answer in answers.items() if answer.get("probe")}
    return {node: probe["drift"] for node, probe in probes.items() if probe.get("drift") is not None}
