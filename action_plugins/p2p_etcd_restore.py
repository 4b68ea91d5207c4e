"""Action plugin: sends a snapshot of the controller to where p2p_etcd_restore uses it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible ships no type information
    """Runs p2p_etcd_restore."""

    TRANSFERS_FILES = True
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the task.

        Returns:
            What p2p_etcd_restore documents.
        """
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        if self._task.check_mode:
            return result | self._module(arguments, task_vars)
        folder = self._make_tmp_path()
        try:
            snapshot = Path(str(arguments["snapshot"])).expanduser()
            path = self._transfer_file(str(snapshot), f"{folder}/snapshot.db")
            return result | self._module(arguments | {"path": path}, task_vars)
        finally:
            self._remove_tmp_path(folder)

    def _module(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        answer: dict[str, Any] = self._execute_module(
            module_name="p2p_etcd_restore", module_args=arguments, task_vars=task_vars
        )
        return answer
