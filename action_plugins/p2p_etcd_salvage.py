"""Action plugin: the part of p2p_etcd_salvage that runs on the controller."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.p2p.cluster.plugins.plugin_utils.door.fetch import Fetching

KINDS = ("found", "prepared")


class ActionModule(Fetching):
    """Has the module make two snapshots, and fetches them."""

    MODULE = "p2p_etcd_salvage"

    def answer(self, variables: dict[str, Any]) -> dict[str, Any]:
        """Run the task.

        Returns:
            What p2p_etcd_salvage documents.

        Raises:
            AnsibleActionFail: A file did not arrive whole.
        """
        arguments = dict(self._task.args)
        node = str(arguments["node"])
        if self._task.check_mode:
            return self._named(super().answer(variables), node)
        directory = Path(str(arguments["directory"])).expanduser()
        folder = self.folder()
        try:
            words = {"work": folder}
            if arguments.get("snapshot"):
                given = Path(str(arguments["snapshot"])).expanduser()
                words["snapshot"] = self._transfer_file(str(given), f"{folder}/given.db")
            answer = self._named(self.ask(arguments | words, variables), node)
            for kind in KINDS:
                if kind in answer.get("salvaged", {}):
                    told = answer["salvaged"][kind]
                    told["path"] = str(
                        self._kept(f"{folder}/{kind}.db", directory, f"{node}.{kind}.db", told)
                    )
        finally:
            self._remove_tmp_path(folder)
        return answer

    def _named(self, answer: dict[str, Any], node: str) -> dict[str, Any]:
        """Return an answer with the name that the controller has for its node."""
        if "salvaged" in answer:
            answer["salvaged"]["node"] = node
        return answer

    def _kept(self, source: str, directory: Path, name: str, told: dict[str, Any]) -> Path:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        target = directory / name
        target.unlink(missing_ok=True)
        self.fetch(source, target, told)
        return target
