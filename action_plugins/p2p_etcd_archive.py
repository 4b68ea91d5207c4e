"""Action plugin: the part of p2p_etcd_archive that runs on the controller."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from ansible_collections.p2p.cluster.plugins.plugin_utils.door.action import Door


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


class ActionModule(Door):
    """Runs p2p_etcd_archive, after sending a file of the controller where one is named and needed."""

    TRANSFERS_FILES = True
    MODULE = "p2p_etcd_archive"

    def answer(self, variables: dict[str, Any]) -> dict[str, Any]:
        """Run the task.

        Returns:
            What p2p_etcd_archive documents.
        """
        arguments = dict(self._task.args)
        if not arguments.get("file"):
            return super().answer(variables)
        found = self.ask(arguments | {"look": True}, variables)
        if "archive" not in found or found["archive"]["there"]:
            return found
        version, arch = str(arguments["version"]), found["archive"]["arch"]
        # What is pinned is the controller's word, not the node's.
        pinned = str((arguments["checksums"].get(arch) or {}).get(version, "")).lower()
        path = Path(str(arguments["file"]).replace("{version}", version).replace("{arch}", arch)).expanduser()
        wrong = why_wrong(path, pinned)
        if wrong:
            return {"failed": True, "msg": f"etcd {version} was not unpacked: {wrong}"}
        if self._task.check_mode:
            return found
        folder = self.folder()
        try:
            sent = self._transfer_file(str(path), f"{folder}/archive.tar.gz")
            return self.ask(arguments | {"path": sent}, variables)
        finally:
            self._remove_tmp_path(folder)
