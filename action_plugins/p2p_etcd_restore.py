"""Action plugin: sends a snapshot of the controller to where p2p_etcd_restore uses it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.p2p.cluster.plugins.plugin_utils.door.action import Door


class ActionModule(Door):
    """Runs p2p_etcd_restore."""

    TRANSFERS_FILES = True
    MODULE = "p2p_etcd_restore"

    def answer(self, variables: dict[str, Any]) -> dict[str, Any]:
        """Run the task.

        Returns:
            What p2p_etcd_restore documents.
        """
        if self._task.check_mode:
            return super().answer(variables)
        folder = self.folder()
        try:
            snapshot = Path(str(self._task.args["snapshot"])).expanduser()
            path = self._transfer_file(str(snapshot), f"{folder}/snapshot.db")
            return self.ask({**self._task.args, "path": path}, variables)
        finally:
            self._remove_tmp_path(folder)
