"""Action plugin: the part of p2p_etcd_snapshot that runs on the controller."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible_collections.p2p.cluster.plugins.plugin_utils.door.fetch import Fetching

SUFFIX = ".db"


def file_name(now: dt.datetime, revision: int) -> str:
    """Return a snapshot's file name: names sort as the times at which they were made.

    Args:
        now: Aware.
        revision: The store's.
    """
    return f"{now.astimezone(dt.timezone.utc):%Y%m%dT%H%M%SZ}-r{revision}{SUFFIX}"


def outdated(names: Iterable[str], keep: int) -> list[str]:
    """Return which of the files of a directory are snapshots that are no longer kept.

    Args:
        names: All of them.
        keep: How many snapshots stay, the newest; at least one does.
    """
    snapshots = sorted(name for name in names if name.endswith(SUFFIX) and not name.startswith("."))
    return snapshots[: -max(1, keep)]


def store(fetched: Path, directory: Path, name: str, keep: int) -> list[str]:
    """Put a fetched snapshot among those that are kept.

    Returns:
        The names of older ones that were removed.
    """
    fetched.rename(directory / name)
    old = outdated((path.name for path in directory.iterdir()), keep)
    for one in old:
        (directory / one).unlink()
    return old


class ActionModule(Fetching):
    """Has the module save a snapshot, and fetches it."""

    MODULE = "p2p_etcd_snapshot"

    def answer(self, variables: dict[str, Any]) -> dict[str, Any]:
        """Run the task.

        Returns:
            What p2p_etcd_snapshot documents.

        Raises:
            AnsibleActionFail: What arrived is not what was sent, or cannot be kept.
        """
        arguments = dict(self._task.args)
        directory = Path(str(arguments["directory"])).expanduser()
        if self._task.check_mode:
            answer = super().answer(variables)
            if "snapshot" in answer:
                answer["snapshot"] |= {"path": str(directory), "removed": []}
            return answer
        folder = self.folder()
        try:
            path = f"{folder}/store{SUFFIX}"
            answer = self.ask(arguments | {"path": path}, variables)
            if "snapshot" in answer:
                answer["snapshot"] |= self._keep(
                    path, answer["snapshot"], directory, int(arguments.get("keep", 7))
                )
        finally:
            self._remove_tmp_path(folder)
        return answer

    def _keep(self, source: str, told: dict[str, Any], directory: Path, keep: int) -> dict[str, Any]:
        if None in told.values():
            raise AnsibleActionFail("the node saved no snapshot of the store: run again")
        name = file_name(dt.datetime.now(dt.timezone.utc), told["revision"])
        fetched = directory / f".{name}.part"
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.fetch(source, fetched, told)
            return {"path": str(directory / name), "removed": store(fetched, directory, name, keep)}
        except OSError as error:
            raise AnsibleActionFail(
                f"the snapshot of the store cannot be kept in {directory}: {error.strerror or error}."
                " Make room or name another directory with etcd_snapshot_dir; nothing was changed"
            ) from error
        finally:
            with contextlib.suppress(OSError):
                fetched.unlink()
