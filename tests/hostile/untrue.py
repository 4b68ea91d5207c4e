"""What hostile nodes and voters say to an orchestrator: each field false in many ways, in a seed's order."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from tests.unit.orchestrator import lies

INFO: dict[str, Any] = {
    "host": "h",
    "port": 8770,
    "scheme": "http",
    "role": "follower",
    "leader_id": "",
    "version": "1",
    "gpu_name": "",
    "cpu_count": 1,
    "memory_gb": 1,
    "has_gpu": False,
    "disk_cleanup_needed": False,
    "cpu_percent": 5.0,
    "memory_percent": 5.0,
    "disk_percent": 5.0,
    "disk_free_gb": 5.0,
    "load_score": 5.0,
}
FALSE: tuple[Any, ...] = (
    lies.LONG,
    float("nan"),
    float("-inf"),
    -1,
    2**53,
    1e308,
    True,
    None,
    "",
    "x" * 4_000,
    "\x1b[2J\x00\r\n",
    "<script>",
    "../../etc/passwd",
    "\ud800",
    [lies.LONG],
    [[[]]] * 50,
    {"a b": lies.LONG},
    {"": {"": {}}},
)
HUGE = 2**53 - 1
Item = TypeVar("Item")


def changed(honest: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return every field with every false value, those of `info` as `info.<field>`; `...` is none at all."""
    fields = [*honest, *(f"info.{key}" for key in honest["info"])]
    return [(field, value) for field in fields for value in (*FALSE, ...)]


def apply(honest: dict[str, Any], field: str, value: Any) -> dict[str, Any]:
    """Return what was honest with one field changed."""
    made = {**honest, "info": dict(honest["info"])}
    inner, _, key = field.rpartition(".")
    place = made["info"] if inner else made
    if value is ...:
        del place[key]
    else:
        place[key] = value
    return made


def heartbeat(**changes: Any) -> dict[str, Any]:
    """Return a heartbeat as nodes send it, with some fields changed."""
    return {"cluster": "p2p", "incarnation": "i", "info": INFO, **changes}


def by_turns(chance: random.Random, groups: Iterable[list[Item]]) -> list[Item]:
    """Return all items in a random order in which every group has its turn before one has its second."""
    mixed = [chance.sample(group, len(group)) for group in groups]
    rounds = [list(item) for item in itertools.zip_longest(*mixed)]
    for items in rounds:
        chance.shuffle(items)
    return [item for items in rounds for item in items if item is not None]


def heartbeats(seed: str, me: str, others: list[str]) -> Iterator[tuple[str, bytes]]:
    """Return for ever in whose name a node sends what: lies, replays, inventions and names of others."""
    chance = random.Random(seed)  # noqa: S311  # repeatable
    old = json.dumps(heartbeat(incarnation="old")).encode()
    groups = [
        [(me, json.dumps(apply(heartbeat(), field, value)).encode()) for _, value in changes]
        for field, changes in itertools.groupby(changed(heartbeat()), lambda change: change[0])
    ]
    raw = (lies.DEEP[:8_000], b"", b"\xff" * 99, b"[]", b"9" * 8_000, b" " * 9_000)
    groups += [[(me, body) for body in raw], [(me, old)] * 9, [(name, old) for name in others]]
    number = 0
    while True:
        for name, body in by_turns(chance, groups):
            yield name, body
            number += 1
            if number % 2:
                invented = {"incarnation": f"i-{number}", "heard": [[f"no-{number}", "i", 1.0, 1.0]]}
                yield chance.choice([me, me, f"no-{number}"]), json.dumps(heartbeat(**invented)).encode()


def answers(seed: str, me: str, others: list[str]) -> list[tuple[bool, bytes]]:
    """Return responses of a voter, each with whether it holds no answer at all."""
    chance = random.Random(seed)  # noqa: S311  # repeatable
    groups: dict[str, list[tuple[bool, bytes]]] = {}
    for what, response in lies.responses(me):
        field, _, value = what.partition(": ")
        groups.setdefault(field if value else "", []).append((True, response))
    for number in range(100):
        # Each field by itself is as it may be.
        told = lies.answer(
            me,
            leader_id=chance.choice([me, None, "no-1", *others]),
            term=chance.choice([0, 1, 4, HUGE]),
            remaining=chance.choice([0.0, 1e-9, 8.0, 1e15]),
            quorum_age=chance.choice([None, 0.0, 1e15]),
            alive=chance.choice([0, 1_000_000]),
            known=chance.choice([0, 1_000_000]),
            conflict=chance.choice([True, False]),
            voters={name: chance.choice(["alive", "dead", "unknown"]) for name in (me, *others)},
            info={**INFO, "cpu_percent": chance.choice([-1e15, 1e15]), "version": "<b>" * 100},
        )
        groups.setdefault(f"fit {number % 5}", []).append((False, lies.http(json.dumps(told).encode())))
    return by_turns(chance, groups.values())


def reports(seed: str, me: str, others: list[str]) -> Iterator[bytes]:
    """Return for ever what a voter sends another in its heartbeats: whom it claims to have heard."""
    chance = random.Random(seed)  # noqa: S311  # repeatable
    number = 0
    while True:
        number += 1
        names = [f"no-{chance.randrange(10**9)}" for _ in range(chance.choice([0, 10, 1_000]))]
        rows: list[Any] = [[name, "i", 1.0, 0.0] for name in names]
        rows += [[name, f"i-{chance.randrange(10**9)}", 9.0, 0.0] for name in (me, *others) for _ in range(9)]
        if number % 3 == 0:
            rows.append(
                chance.choice([[], ["a b", "i", 1, 1], ["no-1", "i", -1, lies.LONG], lies.LONG, None])
            )
        yield json.dumps(heartbeat(incarnation=f"i-{number}", heard=rows)).encode()
