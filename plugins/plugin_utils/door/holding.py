"""An action plugin that has a node hold a record, and says which other run does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .action import Door
from .read import Answer, result


class Holding(Door):
    """Runs the module of the plugin's name."""

    def told(self, raw: Mapping[str, Any]) -> Answer:
        """Return the record; where another run holds it, also why this one cannot."""
        if not raw.get("failed") or not raw.get("record"):
            return super().told(raw)
        held = result(self.MODULE, {"changed": False, "record": raw["record"]})
        if held.get("untrusted"):
            return held
        return held | {"failed": True, "msg": self.why(held["record"])}

    def why(self, record: Mapping[str, Any]) -> str:
        """Return who holds the record, and what ends that."""
        raise NotImplementedError
