"""Action plugin: the part of p2p_etcd_archive that runs on the controller."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase


def why_wrong(path: Path, sha256: str) -> str:
    """Return why a file of the controller is not the archive that is pinned, or nothing."""
    try:
        with path.open("rb") as handle:
            found = hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        return f"{path} on this machine: {error.strerror}; name the archive with etcd_archive_file"
    if found != sha256:
        return (
            f"{path} is not what was pinned: its SHA-256 is {found}, not {sha256}."
            " Nothing was changed; see where it comes from"
        )
    return ""


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible ships no type information
    """Runs p2p_etcd_archive, after sending a file of the controller where one is named and needed."""

    TRANSFERS_FILES = True
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the task.

        Returns:
            What p2p_etcd_archive documents.
        """
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        if not arguments.get("file"):
            return result | self._module(arguments, task_vars)
        found = self._module(arguments | {"look": True}, task_vars)
        if "archive" not in found or found["archive"]["there"]:
            return result | found
        words = {"version": str(arguments["version"]), "arch": found["archive"]["arch"]}
        name = str(arguments["file"])
        for word, value in words.items():
            name = name.replace(f"{{{word}}}", value)
        path = Path(name).expanduser()
        wrong = why_wrong(path, found["archive"]["sha256"])
        if wrong:
            return result | {"failed": True, "msg": f"etcd {words['version']} was not unpacked: {wrong}"}
        if self._task.check_mode:
            return result | found
        folder = self._make_tmp_path()
        try:
            sent = self._transfer_file(str(path), f"{folder}/archive.tar.gz")
            return result | self._module(arguments | {"path": sent}, task_vars)
        finally:
            self._remove_tmp_path(folder)

    def _module(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        answer: dict[str, Any] = self._execute_module(
            module_name="p2p_etcd_archive", module_args=arguments, task_vars=task_vars
        )
        return answer
