"""In which stages a run works on nodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Only a change of the voters has `joiners` and `leavers`.
_STAGES = ("canary", "joiners", "leavers", "voters_at_once", "readdressed", "voters_one_by_one", "others")


def touched(plan: Mapping[str, Any]) -> list[str]:
    """Return all nodes that a run of this plan changes."""
    return list(dict.fromkeys(name for stage in _STAGES for name in plan.get(stage, [])))
