"""Action plugin: runs the module p2p_recovery_record behind the door, and says who holds the record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.p2p.cluster.plugins.plugin_utils.door.holding import Holding
from ansible_collections.p2p.cluster.plugins.plugin_utils.memory.runs import is_gone, recovers


class ActionModule(Holding):
    """Runs p2p_recovery_record."""

    MODULE = "p2p_recovery_record"

    def answer(self, variables: dict[str, Any]) -> dict[str, Any]:
        """Run the task, and take the record from a run of this machine that has ended.

        Returns:
            What p2p_recovery_record documents.
        """
        found: dict[str, Any] = super().answer(variables)
        if found.get("failed") and is_gone(found.get("record")):
            return self.ask({**self._task.args, "breaking": found["record"]["id"]}, variables)
        return found

    def why(self, record: Mapping[str, Any]) -> str:
        """Return who holds the record, and what ends that."""
        return recovers(record, "of this voter")
