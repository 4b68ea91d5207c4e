"""The last reports, and what changed since the newest of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .model import Change, Changes, Report

PATTERN = "health-*.json"


def latest(folder: Path, *, partial: bool) -> dict[str, Any] | None:
    """Return the newest kept report: of the whole fleet, or for a partial run of any part.

    None if there is none; a file that is no report is passed over.
    """
    for path in sorted(folder.glob(PATTERN), reverse=True):
        found = _read(path)
        if found is not None and (partial or not found["cluster"]["scope"]["partial"]):
            return found
    return None


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        compare(found, {**found})  # type: ignore[typeddict-item]  # whatever lacks a part fails here
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found


def compare(before: dict[str, Any], now: Report) -> Changes:
    """Return what differs between two reports; a run of a part says nothing about the nodes outside it."""
    old = {node["node_id"]: node["state"] for node in before["nodes"]}
    new = {node["node_id"]: node["state"] for node in now["nodes"]}
    whole = not before["cluster"]["scope"]["partial"] and not now["cluster"]["scope"]["partial"]
    names = sorted(old.keys() | new.keys() if whole else old.keys() & new.keys())
    was, is_now = before["cluster"], now["cluster"]
    return Changes(
        since=before["generated_at"],
        verdict=[was["verdict"], is_now["verdict"]] if was["verdict"] != is_now["verdict"] else None,
        leader=[was["leader_id"], is_now["leader_id"]] if was["leader_id"] != is_now["leader_id"] else None,
        nodes=[
            Change(node_id=name, before=old.get(name), now=new.get(name))
            for name in names
            if old.get(name) != new.get(name)
        ],
    )


def keep(folder: Path, report: Report, text: str, count: int) -> None:
    """Keep a report's JSON under its time, and no more than the newest `count`."""
    folder.mkdir(parents=True, exist_ok=True)
    stamp = report["generated_at"].replace(":", "").replace("-", "")
    (folder / f"health-{stamp}.json").write_text(text, encoding="utf-8")
    for path in sorted(folder.glob(PATTERN), reverse=True)[count:]:
        path.unlink(missing_ok=True)
