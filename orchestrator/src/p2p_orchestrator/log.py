"""Structured logs: one line an event, `key=value`, on standard error."""

import contextlib
import json
import sys
import threading
from datetime import datetime, timezone

from p2p_orchestrator.clock import boottime

Value = str | float | int | bool | None
_lock = threading.Lock()


def _text(value: Value) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, str) and (not value or not value.isprintable() or set(value) & set(' ="\\')):
        return json.dumps(value)
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def event(name: str, level: str = "info", **fields: Value) -> None:
    """Write one line: the time (UTC, and `at`, seconds since boot), the level, the event and its fields."""
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
    words = [f"{now}Z", f"level={level}", f"event={name}", f"at={boottime():.3f}"]
    words += [f"{key}={_text(value)}" for key, value in fields.items()]
    # A full disk, or a log that nobody reads any more, is no reason to stop what the line is about.
    with _lock, contextlib.suppress(OSError, ValueError):
        print(" ".join(words), file=sys.stderr, flush=True)
