"""Whatever passes the door makes a report: each field of a probe at the ends of what its type allows."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # ships no type information
import pytest
from ansible_collections.p2p.cluster.plugins.plugin_utils.door import read
from ansible_collections.p2p.cluster.plugins.plugin_utils.door.probe import Probe
from msgspec import inspect

from roles.p2p_health.report.build import election_under_way, report
from roles.p2p_health.report.terminal import table
from roles.p2p_health.report.write import write
from tests.unit.health.fleet_of_five import VOTERS, fleet
from tests.unit.health.hostile import WORST

SCHEMA = json.loads((Path(__file__).parents[3] / "docs" / "health.schema.json").read_text())
NAMES = ("p2p_orchestrator", "p2p-etcd", "ringrift-p2p")
# Some of these fit every pattern of the schema.
OTHER_WORDS = (
    "",
    "leader",
    "active",
    "0",
    "18446744073709551615",
    "1.0",
    "http://a:1/",
    "f" * 64,
    "glibc 2.31",
)
WORDS = (*NAMES, *VOTERS, *OTHER_WORDS, WORST)
OPTIONS = {"service": NAMES[0], "etcd_service": NAMES[1], "legacy_services": NAMES[2:], "imports": ["leader"]}


def _value(kind: Any, chance: random.Random) -> Any:
    """Return a value of a type of the schema, mostly from its ends."""
    match kind:
        case inspect.StructType():
            given = [field for field in kind.fields if field.required or chance.random() < 0.8]
            found: Any = {field.encode_name: _value(field.type, chance) for field in given}
        case inspect.UnionType():
            # What is left out is of the last kind; a text that may be nothing is told by its pattern.
            rest = [
                one for one in kind.types if not isinstance(one, inspect.CustomType | inspect.LiteralType)
            ]
            found = _value(chance.choice(rest), chance)
        case inspect.ListType():
            found = [_value(kind.item_type, chance) for _ in range(chance.choice((0, 1, 3)))]
        case inspect.DictType():
            found = {_value(kind.key_type, chance): _value(kind.value_type, chance) for _ in range(3)}
        case inspect.LiteralType():
            found = chance.choice(kind.values)
        case inspect.IntType() | inspect.FloatType():
            found = chance.choice((kind.ge, kind.le, max(kind.ge or 0, 1)))
        case inspect.StrType():
            found = chance.choice([word for word in WORDS if re.search(kind.pattern or "", word)])
        case _:
            found = chance.choice((True, False)) if isinstance(kind, inspect.BoolType) else None
    return found


def _target(chance: random.Random) -> dict[str, Any]:
    """Return a port of some voter, as the controller asks for it."""
    service, voter = chance.choice(("etcd", "heartbeat")), chance.choice(VOTERS)
    return {"voter": voter, "host": "192.0.2.1", "port": 2380, "service": service, "name": f"{voter}.p2p.p2p"}


@pytest.mark.parametrize("seed", range(20))
def test_what_passes_the_door_makes_a_report(seed: int, tmp_path: Path) -> None:
    chance, schema = random.Random(seed), inspect.type_info(Probe)  # noqa: S311  # the same every time
    about, answers = fleet(), {}
    for name in about.hosts:
        raw = _value(schema, chance) | {"reach": None}
        asked = {"targets": [_target(chance) for _ in raw.get("mesh") or ()]}
        options = {**OPTIONS, "mesh": asked, "etcd": {"endpoint": ""} if name in VOTERS else None}
        answers[name] = {"changed": False, "probe": read.probe(raw, options)}
    election_under_way(answers, about)
    made = report(answers, about)
    write(made, about, tmp_path, 1)
    jsonschema.validate(json.loads((tmp_path / "health.json").read_text()), SCHEMA)
    assert len(made["nodes"]) == len(about.hosts)
    assert table(made)


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"unreachable": True, "msg": ""},
        {"failed": True, "msg": WORST},
        {"failed": True, "msg": "x", "module_stderr": WORST},
        read.untrusted(WORST),
        read.refusal({"failed": True, "msg": [WORST]}),
    ],
)
def test_no_probe_makes_a_report(answer: dict[str, Any], tmp_path: Path) -> None:
    made = report({VOTERS[0]: answer}, fleet())
    write(made, fleet(), tmp_path, 0)
    jsonschema.validate(json.loads((tmp_path / "health.json").read_text()), SCHEMA)
