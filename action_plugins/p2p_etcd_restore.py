"""Action plugin: sends a snapshot of the controller to where p2p_etcd_restore uses it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.p2p.cluster.plugins.plugin_utils.door.action import Door


class ActionModule(Door):
    """Runs p2p_etcd_restore."""

    TRANSFERS_FILES = True
    MODULE = "p2p_etcd_restore"

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the task.

        Returns:
            What p2p_etcd_restore documents.
        """
        if self._task.check_mode:
            return super().run(tmp, task_vars)
        folder = self.folder()
        try:
            snapshot = Path(str(self._task.args["snapshot"])).expanduser()
            path = self._transfer_file(str(snapshot), f"{folder}/snapshot.db")
            return self.ask({**self._task.args, "path": path}, task_vars)
        finally:
            self._remove_tmp_path(folder)
