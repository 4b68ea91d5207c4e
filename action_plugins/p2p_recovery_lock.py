"""Action plugin: one recovery at a time from this controller.

It runs on the controller and asks no node. The record outlives a run that was killed; the next run of the
same machine sees that its process has ended, and takes it over.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.p2p.cluster.plugins.plugin_utils.memory.recovery import (
    HeldError,
    give_back,
    look,
    take,
)
from ansible_collections.p2p.cluster.plugins.plugin_utils.memory.runs import recovers

ARGUMENTS = {
    "state": {"type": "str", "choices": ["free", "held", "released"], "required": True},
    "file": {"type": "path", "required": True},
    "cluster": {"type": "str", "required": True},
    "run": {"type": "dict", "required": True},
    "breaking": {"type": "str", "default": ""},
}


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible ships no type information
    """Holds the record."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Take the record, give it back, or see that no other run holds it, as a preview does alone.

        Returns:
            Nothing that changed; a failure if another run holds it.
        """
        result: dict[str, Any] = super().run(tmp, task_vars)
        params = self.validate_argument_spec(argument_spec=ARGUMENTS)[1]
        result["changed"] = False
        path, cluster, run = Path(params["file"]).expanduser(), params["cluster"], params["run"]
        try:
            if params["state"] == "released":
                if not self._task.check_mode:
                    give_back(path, cluster, run)
            elif params["state"] == "free" or self._task.check_mode:
                look(path, cluster, run, params["breaking"])
            else:
                take(path, cluster, run, params["breaking"])
        except HeldError as held:
            result |= {"failed": True, "msg": recovers(held.record, "of this controller")}
        except OSError as error:
            result |= {"failed": True, "msg": f"{error.filename or path}: {error.strerror}"}
        except ValueError as error:
            result |= {"failed": True, "msg": f"{error}: remove it if no recovery goes on"}
        return result
