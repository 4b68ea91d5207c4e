"""What hostile nodes answer: corner cases that always run, and others made by a seed out of true answers."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.hostile.fleet import UNREACHABLE, Replies, Reply, probe_text, reply
from tests.hostile.payloads import (
    CANARY,
    CONTROL,
    LISTS,
    MISSHAPEN,
    NESTED,
    NUMBERS,
    TAGGED,
    TEXTS,
    TYPES,
    VALUES,
    Raw,
)
from tests.hostile.standin import good

Document = dict[str, Any]
Place = tuple[str | int, ...]


@dataclass(frozen=True)
class Case:
    """One hostile node: what it answers, by what it is asked (`tests/hostile/standin/ssh.py`)."""

    name: str
    replies: Replies = field(hash=False)


# -- documents --------------------------------------------------------------------------------------------


class Written:
    """Writes documents in which raw text stands for values."""

    def __init__(self, document: Any, canary: str) -> None:
        self._raw: list[str] = []
        text = json.dumps(self._marked(document))
        for index, raw in enumerate(self._raw):
            text = text.replace(f'"@RAW{index}@"', raw)
        self.text = text.replace(CANARY, canary)

    def _marked(self, value: Any) -> Any:
        if isinstance(value, Raw):
            self._raw.append(value.text)
            return f"@RAW{len(self._raw) - 1}@"
        if isinstance(value, dict):
            return {key: self._marked(item) for key, item in value.items()}
        return [self._marked(item) for item in value] if isinstance(value, list) else value


def places(document: Any, above: Place = ()) -> Iterator[Place]:
    """Return the way to every value of a document but the whole."""
    items: Any = ()
    if isinstance(document, dict):
        items = document.items()
    elif isinstance(document, list):
        items = enumerate(document)
    for key, value in items:
        yield (*above, key)
        yield from places(value, (*above, key))


def put(document: Any, place: Place, value: Any) -> None:
    """Put a value in a place of a document."""
    for key in place[:-1]:
        document = document[key]
    document[place[-1]] = value


def mutate(document: Document, chance: random.Random, most: int = 3) -> tuple[str, Document]:
    """Return a document that is changed in one or several places, and what was done to it."""
    found, told = copy.deepcopy(document), []
    for _ in range(chance.randint(1, most)):
        place = chance.choice(list(places(found)))
        name = chance.choice(list(VALUES))
        how = chance.choice(("put", "put", "put", "put", "key", "remove", "twice", "control"))
        if how == "control":
            name = chance.choice(list(CONTROL))
            found[name] = copy.deepcopy(CONTROL[name])
        elif how == "put":
            put(found, place, copy.deepcopy(VALUES[name]))
        else:
            holder: Any = found
            for key in place[:-1]:
                holder = holder[key]
            if how == "twice" and isinstance(holder, dict):
                holder[f"{place[-1]}"] = Raw(f'1, "{place[-1]}": {json.dumps([])}')
            elif how == "key" and isinstance(holder, dict):
                holder[str(VALUES[name])[:200]] = copy.deepcopy(VALUES[name])
            else:
                del holder[place[-1]]
        told.append(f"{how} {name} at {'.'.join(map(str, place))[:80]}")
        # What stands in the place of a value has no places of its own.
        if not any(True for _ in places(found)):
            break
    return "; ".join(told), found


# -- probes -----------------------------------------------------------------------------------------------


def said(text: str, canary: str, **rest: Any) -> Replies:
    """Return the replies of a node whose probe prints `text`, whichever way it is asked."""
    text = text.replace(CANARY, canary)
    # The way around, through the module itself, has no line with the interpreter.
    alone = text.partition("\n")[2] if text.startswith("p2p-probe:") else text
    return {"probe": [reply(text, **rest)], "p2p_probe": [reply(alone, **rest)]}


def _frames(answer: Document) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Return answers whose document is true, and whose frame is not."""
    plain = probe_text(answer)
    document = plain.partition("\n")[2]
    for name, interpreter in {
        "spaces": "/usr/bin/python3 -c x",
        "a shell": f"sh -c 'touch {CANARY}' ;",
        "a path upwards": "../../bin/python3",
        "escapes": "/usr/bin/python3\x1b[31m",
        "a template": f"{{{{ lookup('ansible.builtin.pipe', 'touch {CANARY}') }}}}",
        "nothing": "",
        "a megabyte": "/" + "a" * (1 << 20),
    }.items():
        yield f"interpreter: {name}", probe_text(answer, interpreter), {}
    yield "no newline", plain.rstrip("\n"), {}
    yield "no document", "p2p-probe:/usr/bin/python3\n", {}
    yield "nothing", "", {}
    yield "half", plain[: len(plain) // 2], {}
    yield "text before", f"Welcome!\n\x1b[31m{CANARY}\n{plain}", {}
    yield "text before the mark on its line", f"Welcome! {plain}", {}
    yield "a second mark", plain + plain.replace("/usr/bin/python3", f"touch {CANARY}"), {}
    yield "text after", f"{plain}\x1b]0;mine\x07{CANARY}\n", {}
    yield "lines in the document", f"p2p-probe:/usr/bin/python3\n{json.dumps(answer, indent=1)}\n", {}
    yield "a byte order mark", "\ufeff" + document, {}
    yield "bytes that are no text", plain.replace("Linux", "\udcff\udcfe"), {}
    yield "a list", "p2p-probe:/usr/bin/python3\n[]\n", {}
    yield "a text", 'p2p-probe:/usr/bin/python3\n"probe"\n', {}
    yield "the probe is a text", 'p2p-probe:/usr/bin/python3\n{"probe": "x"}\n', {}
    yield "the probe is null", 'p2p-probe:/usr/bin/python3\n{"changed": false, "probe": null}\n', {}
    yield "the probe is empty", 'p2p-probe:/usr/bin/python3\n{"changed": false, "probe": {}}\n', {}
    yield "an exit code", plain, {"rc": 7}
    yield "ssh's exit code", plain, {"rc": 255, "stderr": "\x1b]0;mine\x07Permission denied (publickey)."}
    yield "a flood of errors", plain, {"stderr": "\x1b[31mx" * 500_000}
    yield (
        "errors that look like ssh's",
        "",
        {"rc": 255, "stderr": "@    WARNING: REMOTE HOST IDENTIFICATION\x1b[2J"},
    )
    yield "6 MiB", f"p2p-probe:/usr/bin/python3\n{json.dumps({**answer, 'x': 'x' * (6 << 20)})}\n", {}
    yield "without end", plain.rstrip("\n"), {"how": "endless"}
    yield "a byte a second", plain, {"how": "dribble"}
    yield "silence", "", {"how": "hang"}
    yield "an answer, then silence", plain, {"how": "hang"}


_TOLD: dict[str, Place] = {
    "a process": ("probe", "processes", 0, "cmdline"),
    "a listener": ("probe", "listener", "cmdline"),
    "a path": ("probe", "disk", "path"),
    "an error": ("probe", "errors", "disk"),
    "a host's name": ("probe", "platform", "hostname"),
    "a release": ("probe", "release", "name"),
    "a leader": ("probe", "http", "status", "body", "leader_id"),
}


def corners(answer: Document, canary: str) -> Iterator[Case]:
    """Return the cases that always run: each kind of value, frame and key once."""
    for name, text, rest in _frames(answer):
        yield Case(f"frame: {name}", said(text, canary, **rest))
    for name, value in CONTROL.items():
        yield Case(f"key: {name}", _probe({**answer, name: value}, canary))
    yield Case("keys: all", _probe({**answer, **CONTROL}, canary))
    for name, keys in MISSHAPEN.items():
        yield Case(f"keys: {name}", _probe({**answer, **keys}, canary))
    for name, value in TAGGED.items():
        tagged = copy.deepcopy(answer)
        tagged["probe"]["platform"]["hostname"] = value
        yield Case(f"tagged: {name}", _probe(tagged, canary))
    spots = list(_TOLD.items())
    for index, (name, value) in enumerate(TEXTS.items()):
        where, place = spots[index % len(spots)]
        yield Case(f"{where}: {name}", _probe(_with(answer, place, value), canary))
    numbers: list[Place] = [
        ("probe", "clock", "unix"),
        ("probe", "services", "p2p_orchestrator", "restarts"),
        ("probe", "http", "status", "body", "alive_peers"),
        ("probe", "disk", "free_mb"),
        ("probe", "processes", 0, "pid"),
    ]
    for index, (name, value) in enumerate({**NUMBERS, **NESTED, **LISTS}.items()):
        place = numbers[index % len(numbers)]
        yield Case(f"{place[-1]}: {name}", _probe(_with(answer, place, value), canary))
    for part in answer["probe"]:
        kind = list(TYPES)[len(part) % len(TYPES)]
        yield Case(f"{part}: {kind}", _probe(_with(answer, ("probe", part), TYPES[kind]), canary))


def _with(answer: Document, place: Place, value: Any) -> Document:
    found = copy.deepcopy(answer)
    if place[1] == "processes":
        found["probe"]["processes"][0]["kind"] = "manual"
    if place[1] == "listener" and found["probe"]["listener"]:
        found["probe"]["listener"]["orchestrator"] = False
    put(found, place, value)
    return found


def _probe(answer: Document, canary: str) -> Replies:
    return said(f"p2p-probe:/usr/bin/python3\n{Written(answer, canary).text}\n", canary)


def by_seed(answer: Document, canary: str, chance: random.Random) -> Case:
    """Return a case whose probe is made of a true answer."""
    told, document = mutate(answer, chance)
    return Case(f"probe: {told}", _probe(document, canary))


# -- modules ----------------------------------------------------------------------------------------------


def modules(canary: str, chance: random.Random) -> Case:
    """Return a case whose probe is true, and whose modules and shell are not."""
    replies: dict[str, list[Reply]] = {}
    told = []
    for module in good.MODULES:
        true = good.answer(module, good.PARAMS)
        how, document = mutate(true, chance, most=2)
        if chance.random() < 0.5:
            key = chance.choice(list(CONTROL))
            document[key], how = copy.deepcopy(CONTROL[key]), f"{how}; {key}"
        replies[module] = [reply(Written(document, canary).text + "\n")]
        told.append(f"{module}: {how}")
    if chance.random() < 0.3:
        name = chance.choice(list(TEXTS))
        replies["shell"] = [reply(f"{TEXTS[name]}=/tmp/{TEXTS[name]}\n".replace(CANARY, canary))]
        told.append(f"shell: {name}")
    return Case("modules: " + "; ".join(told), replies)


def module_corners(canary: str) -> Iterator[Case]:
    """Return cases in which every module says the same."""
    texts = {
        "nothing": "",
        "no JSON": "\x1b[2J<html>\n",
        "a list": "[]\n",
        "a text": '"x"\n',
        "null": "null\n",
        "100,000 lists": "[" * 100_000,
        "text around": "Welcome\x1b[2J\n{}\nbye\x1b[2J\n",
        "empty": "{}\n",
        "failed with escapes": json.dumps(
            {"failed": True, "msg": "".join(TEXTS[key] for key in list(TEXTS)[:26])}
        ),
        "keys": Written({"changed": True, **CONTROL}, canary).text,
        "facts": Written({"changed": True, "ansible_facts": CONTROL["ansible_facts"]}, canary).text,
        "add_host": Written({"changed": True, "add_host": CONTROL["add_host"]}, canary).text,
        "add_group": Written({"changed": True, "add_group": "voters"}, canary).text,
        "tagged": Written(
            {"changed": True, "actions": list(TAGGED.values()), "msg": TAGGED["event"]}, canary
        ).text,
        "6 MiB": json.dumps({"changed": True, "actions": [good.LARGE]}),
    }
    for name, keys in MISSHAPEN.items():
        texts[name] = Written({"changed": True, **keys}, canary).text
    yield Case("modules: not reached", {name: [UNREACHABLE] for name in good.MODULES})
    for name, text in texts.items():
        one: list[Reply] = [reply(text.replace(CANARY, canary))]
        yield Case(f"modules: {name}", dict.fromkeys(good.MODULES, one))
