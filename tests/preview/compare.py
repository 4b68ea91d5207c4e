"""Predicted against actual: two runs over the same state, task by task and node by node."""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Event = Mapping[str, Any]
# Play, place of the task in its file, and its how-many-eth time on the node.
Key = tuple[str, str, int]
MOST_LINES, MOST_COLUMNS = 20, 160
# What only the run itself makes: keys, certificates, the name of a new store.
_OPEN = re.compile(r"\(would be[^()]*\)\n?")


@dataclass
class Row:
    """One node: which tasks a preview called changed, and which a run then changed, with the same diff."""

    predicted: list[str] = field(default_factory=list)
    actual: list[str] = field(default_factory=list)
    agreed: int = 0
    differences: list[str] = field(default_factory=list)

    @property
    def fidelity(self) -> float:
        """Percentage of the tasks predicted or changed on which both agree; 100 where there is none."""
        total = self.agreed + len(self.differences)
        return 100.0 * self.agreed / total if total else 100.0


def problems(events: Iterable[Event]) -> list[str]:
    """Return what went wrong in a run."""
    return [
        f"{event['node']}: {event['task']}: {event['status']}: {event['message']}"
        for event in events
        if event["status"] in ("failed", "unreachable")
    ]


def changed(events: Iterable[Event]) -> dict[str, dict[Key, Event]]:
    """Return the changed tasks of each node."""
    times: Counter[tuple[str, str, str]] = Counter()
    found: dict[str, dict[Key, Event]] = {}
    for event in events:
        place = (event["node"], event["play"], event["path"])
        times[place] += 1
        found.setdefault(event["node"], {})
        if event["changed"]:
            found[event["node"]][event["play"], event["path"], times[place]] = event
    return found


def compare(preview: Sequence[Event], real: Sequence[Event]) -> dict[str, Row]:
    """Return a row for each node that either run came to."""
    predicted, actual = changed(preview), changed(real)
    return {
        node: _row(predicted.get(node, {}), actual.get(node, {})) for node in sorted({*predicted, *actual})
    }


def _row(predicted: Mapping[Key, Event], actual: Mapping[Key, Event]) -> Row:
    row = Row([event["task"] for event in predicted.values()], [event["task"] for event in actual.values()])
    for key in dict.fromkeys([*predicted, *actual]):
        difference = _difference(predicted.get(key), actual.get(key))
        if difference:
            row.differences.append(f"{key[0]}: {difference}")
        else:
            row.agreed += 1
    return row


def _difference(predicted: Event | None, actual: Event | None) -> str:
    if predicted is None or actual is None:
        event = predicted or actual or {}
        why = "changed, not predicted" if predicted is None else "predicted, not changed"
        return f"{event['task']}: {why} ({', '.join(event['actions'])})"
    for part in ("actions", "diff"):
        for was, now in unfulfilled(predicted[part], actual[part]):
            lines = difflib.unified_diff(
                was.splitlines(), now.splitlines(), "predicted", "actual", lineterm="", n=0
            )
            shown = [line[:MOST_COLUMNS] for line in lines][:MOST_LINES]
            return "\n      ".join([f"{predicted['task']}: other {part}", *shown])
    return ""


def unfulfilled(predicted: object, actual: object) -> Iterator[tuple[str, str]]:
    """Yield the texts of two diffs that are not as predicted; for `(would be …)` anything may come."""
    if isinstance(predicted, Mapping) and isinstance(actual, Mapping) and predicted.keys() == actual.keys():
        for key in predicted:
            yield from unfulfilled(predicted[key], actual[key])
    elif isinstance(predicted, list) and isinstance(actual, list) and len(predicted) == len(actual):
        for was, now in zip(predicted, actual, strict=True):
            yield from unfulfilled(was, now)
    elif isinstance(predicted, str) and isinstance(actual, str):
        fixed = map(re.escape, _OPEN.split(predicted))
        if not re.fullmatch(".+".join(fixed), actual, re.DOTALL):
            yield predicted, actual
    elif predicted != actual:
        yield json.dumps(predicted, indent=1), json.dumps(actual, indent=1)


def drifts(events: Iterable[Event]) -> dict[str, list[Any]]:
    """Return how each node differs from what it is meant to be, as the first probe of a run told."""
    found: dict[str, list[Any]] = {}
    for event in events:
        found = event["drift"] | found
    return found


def drift_disagreements(
    report: Mapping[str, Any], health: Sequence[Event], preview: Sequence[Event]
) -> list[str]:
    """Return where the health report and the preview do not say the same of a node.

    Args:
        report: `reports/health.json`.
        health: The events of the run of health.yml that made it.
        preview: Those of a preview of deploy.yml over the same state.
    """
    found = []
    seen, foretold, touched = drifts(health), drifts(preview), changed(preview)
    for node in report["nodes"]:
        name, state = node["node_id"], node["state"]
        if seen.get(name) != foretold.get(name):
            found.append(f"{name}: health found {seen.get(name)}, the preview {foretold.get(name)}")
        if bool(seen.get(name)) != bool(touched.get(name)):
            found.append(
                f"{name}: health found the drift {seen.get(name)}, the preview touches {touched.get(name)}"
            )
        if (state == "ok") == bool(seen.get(name)):
            found.append(f"{name}: health calls it {state} with the drift {seen.get(name)}")
    return found
