"""The report's files on the controller."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from ansible_collections.p2p.cluster.plugins.plugin_utils.output.escape import json

from . import history
from .html import html
from .markdown import markdown
from .model import Fleet, Report
from .prometheus import prometheus


def write(report: Report, fleet: Fleet, folder: Path, keep: int) -> None:
    """Write the report's files, each in one step, and keep a copy for the next run's comparison.

    Args:
        report: The report; its `changes` are filled in here.
        fleet: The fleet that it is about.
        folder: Where the files go; it is made if it is missing.
        keep: How many reports are kept below `history`; 0 keeps none.

    Raises:
        OSError: The folder or a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "history"
    before = history.latest(kept, partial=report["cluster"]["scope"]["partial"])
    report["changes"] = history.compare(before, report) if before else None
    text = json(report) + "\n"
    files = {
        "health.json": text,
        "health.md": markdown(report, fleet),
        "health.html": html(report),
        "health.prom": prometheus(report),
    }
    for name, content in files.items():
        _replace(folder / name, content)
    if keep > 0:
        history.keep(kept, report, text, keep)


def _replace(path: Path, content: str) -> None:
    """Write a file so that a reader sees the old one or the new one, never a part."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(content)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
