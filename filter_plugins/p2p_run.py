"""Which run this is, and whether another run that this machine started is still alive."""

from __future__ import annotations

from typing import Any

from ansible_collections.p2p.cluster.plugins.plugin_utils.memory.runs import is_gone, this_run


class FilterModule:
    """Filters about runs."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {"p2p_run_is_gone": is_gone, "p2p_this_run": this_run}
