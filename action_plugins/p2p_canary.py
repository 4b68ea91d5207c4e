"""Action plugin: keeps the controller's memory of canaries that did not do well.

It runs on the controller and asks no node. A preview remembers nothing. A memory that cannot be written is a
warning: it makes the next run choose worse, and is no reason to end this one.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.p2p.cluster.plugins.plugin_utils.memory.canary import remember

ARGUMENTS = {
    "file": {"type": "path", "required": True},
    "cluster": {"type": "str", "required": True},
    "fleet": {"type": "list", "elements": "str", "required": True},
    "begun": {"type": "list", "elements": "str", "default": []},
    "ended": {"type": "dict", "default": {}},
}


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible ships no type information
    """Keeps the memory."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Write the memory anew.

        Returns:
            Nothing that changed: it is no node's.
        """
        result: dict[str, Any] = super().run(tmp, task_vars)
        params = self.validate_argument_spec(argument_spec=ARGUMENTS)[1]
        result["changed"] = False
        if self._task.check_mode:
            return result
        path = Path(params["file"]).expanduser()
        try:
            remember(
                path,
                params["cluster"],
                fleet=frozenset(params["fleet"]),
                now=time.time(),
                begun=params["begun"],
                ended={str(name): str(state) for name, state in params["ended"].items()},
            )
        except OSError as error:
            result["warnings"] = [
                f"{error.filename or path}: {error.strerror}. Which canary did not do well is not remembered"
            ]
        return result
