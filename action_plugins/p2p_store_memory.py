"""Action plugin: keeps the controller's memory of the cluster's store.

It runs on the controller and asks no node. A preview remembers nothing. A memory that cannot be written is a
warning: the store works, and the next run knows less.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.p2p.cluster.plugins.plugin_utils.memory.store import Kept, remember

ARGUMENTS = {
    "file": {"type": "path", "required": True},
    "cluster": {"type": "str", "required": True},
    "store": {
        "type": "dict",
        "required": True,
        "options": {
            "cluster_id": {"type": "str", "required": True},
            "members": {"type": "dict", "required": True},
            "epoch": {"type": "int", "required": True},
        },
    },
}


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible ships no type information
    """Keeps the memory."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Write the memory anew if the store is another one, or has other members or a later epoch.

        Returns:
            Nothing that changed: it is no node's.
        """
        result: dict[str, Any] = super().run(tmp, task_vars)
        params = self.validate_argument_spec(argument_spec=ARGUMENTS)[1]
        result["changed"] = False
        store = params["store"]
        if self._task.check_mode or not store["cluster_id"]:
            return result
        path = Path(params["file"]).expanduser()
        members = {str(name): str(number) for name, number in store["members"].items()}
        known = Kept(cluster_id=store["cluster_id"], members=members, epoch=store["epoch"])
        try:
            remember(path, params["cluster"], known)
        except OSError as error:
            result["warnings"] = [
                f"{error.filename or path}: {error.strerror}. Which store the cluster has is not remembered"
            ]
        return result
