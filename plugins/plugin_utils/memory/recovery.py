"""Which run of this controller recovers a cluster's store: a record beside its CA, which needs no store."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from ansible_collections.p2p.cluster.plugins.plugin_utils.door.results import Record
from ansible_collections.p2p.cluster.plugins.plugin_utils.memory.file import keep, load, locked
from ansible_collections.p2p.cluster.plugins.plugin_utils.memory.runs import is_gone


class HeldError(Exception):
    """Another run holds the record; `record` says which."""

    def __init__(self, record: Mapping[str, Any]) -> None:
        """Keep the record."""
        super().__init__()
        self.record = record


def look(path: Path, cluster: str, run: Mapping[str, Any], breaking: str = "") -> None:
    """Do nothing if `take` would take the record. The arguments and errors are those of `take`."""
    try:
        found = load(path, cluster).get("record")
        record = msgspec.to_builtins(msgspec.convert(found, Record))
    except FileNotFoundError:
        return
    except (ValueError, RecursionError) as error:  # msgspec's are among them
        raise ValueError(f"{path} is no record of a recovery of {cluster}: {error}") from None
    if record["id"] not in (run["id"], breaking) and not is_gone(record):
        raise HeldError(record)


def take(path: Path, cluster: str, run: Mapping[str, Any], breaking: str = "") -> None:
    """Take the record, also from a run of this machine that has ended.

    Args:
        path: The record, made with its folder if need be.
        cluster: Which cluster is recovered.
        run: Who takes it, from `this_run`.
        breaking: `id` of a run that is known to be gone.

    Raises:
        HeldError: Another run holds it.
        OSError: It cannot be written, or its folder is not this user's alone.
        ValueError: What is there is no record.
    """
    with locked(path.parent):
        look(path, cluster, run, breaking)
        keep(path, cluster, {"record": run})


def give_back(path: Path, cluster: str, run: Mapping[str, Any]) -> None:
    """Give the record back if `run` holds it.

    Raises:
        OSError: It cannot be removed, or its folder is not this user's alone.
        ValueError: What is there is no record.
    """
    with locked(path.parent):
        try:
            found = load(path, cluster).get("record")
        except FileNotFoundError:
            return
        if isinstance(found, Mapping) and found.get("id") == run["id"]:
            path.unlink()
