"""Action plugin: the part of p2p_etcd_salvage that runs on the controller."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible ships no type information
    """Has the module make two snapshots, and fetches them."""

    TRANSFERS_FILES = True
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the task.

        Returns:
            What p2p_etcd_salvage documents.

        Raises:
            AnsibleActionFail: A file did not arrive whole.
        """
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        if self._task.check_mode:
            return result | self._module(arguments, task_vars)
        directory = Path(str(arguments["directory"])).expanduser()
        folder = self._make_tmp_path()
        try:
            words = {"work": folder}
            if arguments.get("snapshot"):
                given = Path(str(arguments["snapshot"])).expanduser()
                words["snapshot"] = self._transfer_file(str(given), f"{folder}/given.db")
            answer = self._module(arguments | words, task_vars)
            for kind in ("found", "prepared"):
                if kind in answer.get("salvaged", {}):
                    self._fetch(answer["salvaged"][kind], directory, f"{arguments['node']}.{kind}.db")
        finally:
            self._remove_tmp_path(folder)
        return result | answer

    def _module(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        answer: dict[str, Any] = self._execute_module(
            module_name="p2p_etcd_salvage", module_args=arguments, task_vars=task_vars
        )
        return answer

    def _fetch(self, snapshot: dict[str, Any], directory: Path, name: str) -> None:
        target = directory / name
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        target.unlink(missing_ok=True)
        target.touch(mode=0o600)
        self._connection.fetch_file(snapshot["path"], str(target))
        target.chmod(0o600)
        with target.open("rb") as handle:
            arrived = hashlib.file_digest(handle, "sha256").hexdigest()
        if arrived != snapshot["sha256"]:
            raise AnsibleActionFail(f"{target} did not arrive whole: run again")
        snapshot["path"] = str(target)
