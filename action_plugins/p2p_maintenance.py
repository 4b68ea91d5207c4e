"""Action plugin: runs the module p2p_maintenance behind the door, and says who holds the record."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ansible_collections.p2p.cluster.plugins.plugin_utils.door.action import Door
from ansible_collections.p2p.cluster.plugins.plugin_utils.door.read import Answer, result
from ansible_collections.p2p.cluster.plugins.plugin_utils.output import escape


def held_by(record: Mapping[str, Any], now: float) -> str:
    """Return who holds the record, and what ends that.

    Args:
        record: as the door lets it through.
        now: seconds since the epoch.
    """
    ago = max(0, int(now - (record["renewed"] or record["since"])))
    return (
        f"{record['who']} holds the maintenance record with {record['playbook']}, last renewed {ago} s ago"
        f" ({record['id']}). Two runs never stop voters at the same time: wait for it, or, if that run is"
        f" gone for good, add -e p2p_maintenance_break={escape.shell(record['id'])}"
    )


class ActionModule(Door):
    """Runs p2p_maintenance."""

    MODULE = "p2p_maintenance"

    def told(self, raw: Mapping[str, Any]) -> Answer:
        """Return the record; where another run holds it, also why this one cannot."""
        if not raw.get("failed") or not raw.get("record"):
            return super().told(raw)
        held = result(self.MODULE, {"changed": False, "record": raw["record"]})
        if held.get("untrusted"):
            return held
        return held | {"failed": True, "msg": held_by(held["record"], time.time())}
