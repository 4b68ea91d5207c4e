"""What nodes and voters send each other and keep in the roster, each part read within its bounds.

Fields that are not known are passed over: a newer release may send them.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from p2p_orchestrator import reader
from p2p_orchestrator.config import NAME
from p2p_orchestrator.membership import MAX_NODES, Row
from p2p_orchestrator.reader import TEXT, UnfitError

INCARNATION = re.compile(r"[A-Za-z0-9._-]{1,64}")
MAX_ROWS = 2 * MAX_NODES
MAX_AGE = 1e9
ROW_FIELDS = 4
_AGES = (float, int)


@dataclass(frozen=True)
class Heartbeat:
    """A heartbeat; `dropped` says how many of a voter's rows did not fit."""

    cluster: str
    incarnation: str
    info: dict[str, Any]
    heard: list[Row]
    dropped: int


def heartbeat(data: bytes, *, voter: bool) -> Heartbeat:
    """Return the heartbeat in `data`; whom its sender heard is read of a `voter` alone.

    Raises:
        UnfitError: It is none.
    """
    body = reader.decode(data)
    heard = reader.items(body.get("heard", []), "heard", MAX_ROWS) if voter else []
    kept = rows(heard)
    return Heartbeat(
        cluster=reader.text(body.get("cluster"), "cluster"),
        incarnation=incarnation(body.get("incarnation")),
        info=figures(body.get("info")),
        heard=kept,
        dropped=len(heard) - len(kept),
    )


def incarnation(value: object) -> str:
    """Return what tells one process of a node from another. Raises UnfitError."""
    if type(value) is not str or not INCARNATION.fullmatch(value):
        raise UnfitError("the incarnation is none")
    return value


def _cut(value: object, what: str) -> str:
    return reader.text(value, what)[:TEXT]


def _figure(value: object, what: str) -> float:
    return reader.number(value, what, -reader.FIGURE)


FIELDS: Mapping[str, Callable[[object, str], Any]] = {
    "host": _cut,
    "port": reader.whole,
    "scheme": _cut,
    "role": _cut,
    "leader_id": _cut,
    "version": _cut,
    "gpu_name": _cut,
    "cpu_count": reader.whole,
    "memory_gb": reader.whole,
    "has_gpu": reader.flag,
    "disk_cleanup_needed": reader.flag,
    "cpu_percent": _figure,
    "memory_percent": _figure,
    "disk_percent": _figure,
    "disk_free_gb": _figure,
    "load_score": _figure,
}
"""What a node may tell of itself, and what reads it."""


def figures(info: object) -> dict[str, Any]:
    """Return those fields of `info` that a node may tell of itself; texts are cut.

    Raises:
        UnfitError: A field has another type or no finite value.
    """
    told = reader.mapping(info, "info")
    return {key: read(told[key], key) for key, read in FIELDS.items() if told.get(key) is not None}


def rows(heard: list[Any]) -> list[Row]:
    """Return what another voter heard: names, incarnations, ages of their first and last heartbeat.

    A row with an incarnation that is none is left out alone: its voter may be of a release that passes on
    what any node says.

    Raises:
        UnfitError: A row is none.
    """
    result = []
    for row in heard:
        if type(row) is not list or len(row) != ROW_FIELDS:
            raise UnfitError("heard has a row that is not one")
        node, process, first, last = row
        if type(node) is not str or type(process) is not str or not NAME.fullmatch(node):
            raise UnfitError("heard has a row without a name")
        # What is no number lies between no two.
        ages = type(first) in _AGES and type(last) in _AGES and 0 <= first <= MAX_AGE
        if not ages or not 0 <= last <= MAX_AGE:
            raise UnfitError("heard has a row without ages")
        if INCARNATION.fullmatch(process):
            result.append((node, process, float(first), float(last)))
    return result


def roster_names(data: bytes) -> list[str]:
    """Return the names in a roster. Raises UnfitError if it is none."""
    nodes = reader.mapping(reader.decode(data).get("nodes"), "nodes", MAX_NODES)
    return [reader.name(node, "a name") for node in nodes]
