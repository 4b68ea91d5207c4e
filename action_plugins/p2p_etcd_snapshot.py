"""Action plugin: the part of p2p_etcd_snapshot that runs on the controller."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

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
    fetched.chmod(0o600)
    fetched.rename(directory / name)
    old = outdated((path.name for path in directory.iterdir()), keep)
    for one in old:
        (directory / one).unlink()
    return old


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible ships no type information
    """Has the module save a snapshot, and fetches it."""

    TRANSFERS_FILES = True
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the task.

        Returns:
            What p2p_etcd_snapshot documents.

        Raises:
            AnsibleActionFail: What arrived is not what was sent, or cannot be kept.
        """
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        directory = Path(str(arguments["directory"])).expanduser()
        keep = int(arguments.get("keep", 7))
        if self._task.check_mode:
            answer = self._module(arguments, task_vars)
            if "snapshot" in answer:
                answer["snapshot"] |= {"path": str(directory), "removed": []}
            return result | answer
        folder = self._make_tmp_path()
        try:
            answer = self._module(arguments | {"path": f"{folder}/store{SUFFIX}"}, task_vars)
            if answer.get("failed") or "snapshot" not in answer:
                return result | answer
            self._keep(answer["snapshot"], directory, keep)
        finally:
            self._remove_tmp_path(folder)
        return result | answer

    def _module(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        answer: dict[str, Any] = self._execute_module(
            module_name="p2p_etcd_snapshot", module_args=arguments, task_vars=task_vars
        )
        return answer

    def _keep(self, snapshot: dict[str, Any], directory: Path, keep: int) -> None:
        name = file_name(dt.datetime.now(dt.timezone.utc), int(snapshot["revision"]))
        fetched = directory / f".{name}.part"
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            fetched.touch(mode=0o600)
            self._connection.fetch_file(snapshot["path"], str(fetched))
            with fetched.open("rb") as handle:
                arrived = hashlib.file_digest(handle, "sha256").hexdigest()
            if arrived != snapshot["sha256"]:
                raise AnsibleActionFail(
                    f"the snapshot of the store did not arrive whole in {directory}: run again"
                )
            snapshot |= {"path": str(directory / name), "removed": store(fetched, directory, name, keep)}
        except OSError as error:
            raise AnsibleActionFail(
                f"the snapshot of the store cannot be kept in {directory}: {error.strerror or error}."
                " Make room or name another directory with etcd_snapshot_dir; nothing was changed"
            ) from error
        finally:
            if fetched.exists():
                fetched.unlink()
