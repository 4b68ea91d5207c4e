"""Action plugin: runs the module p2p_maintenance behind the door, and says who holds the record."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ansible_collections.p2p.cluster.plugins.plugin_utils.door.holding import Holding
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


class ActionModule(Holding):
    """Runs p2p_maintenance."""

    MODULE = "p2p_maintenance"

    def why(self, record: Mapping[str, Any]) -> str:
        """Return who holds the record, and what ends that."""
        return held_by(record, time.time())
