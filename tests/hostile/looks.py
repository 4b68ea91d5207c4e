"""What must hold after a run over hostile nodes, each a list of what does not."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from prometheus_client.parser import text_string_to_metric_families

from tests.hostile.fleet import Run

MOST_MEMORY = 400
# Between these a terminal acts, or a reader sees another order than there is.
_ACTS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)
# What every honest node has, and says by itself where it was not said for all.
_OWN = {"discovered_interpreter_python": "/usr/bin/python3"}
_PYTHON = (
    "Traceback (most recent call last)",
    "Unexpected Exception",
    "unexpected exception",
    "A worker was found",
)
# Times, and what is worked out of them.
_TIMES = frozenset(
    (
        *("unix", "asked", "started", "started_at", "not_after", "token", "epoch", "since", "uptime_seconds"),
        *(
            "renewed",
            "raised",
            "believed",
            "generated_at",
            "id",
            "attempts",
            "aside",
            "ca_not_after",
            "elapsed_ms",
            "ms",
            "seconds",
        ),
        *("path", "src", "repository", "age_seconds", "last_seen", "uuid", "ansible_failed_task", "crl"),
    )
)


def ended_badly(run: Run) -> list[str]:
    """Return signs that a run did not end as it is meant to."""
    found = [f"the output has: {text}" for text in _PYTHON if text in run.output]
    # Ansible's own: 2 where a node failed, 4 where one that is needed was not reached.
    if run.code not in (0, 2, 4) or not run.end or (run.code == 4 and "\nnot reached: " not in run.output):
        found.append(f"exit code {run.code}: {run.output[-1500:]}")
    if run.memory > MOST_MEMORY:
        found.append(f"{run.memory:.0f} MiB of memory")
    return found


def terminal(run: Run) -> list[str]:
    """Return what in the output a terminal would act on."""
    acts = Counter(match[0] for match in _ACTS.finditer(run.output))
    return [
        f"the output has {count} times {character!r}: {_around(run.output, character)!r}"
        for character, count in acts.items()
    ]


def _around(text: str, part: str) -> str:
    at = text.index(part)
    return text[max(0, at - 60) : at + 30]


def files(run: Run, canary: Path) -> list[str]:
    """Return what was written outside the project's own folders, or run."""
    found = [f"written: {name}" for name in run.written if name != canary.name]
    return [*found, *(["a command of a node was run"] if canary.exists() else [])]


# -- other nodes ------------------------------------------------------------------------------------------


def others(run: Run, alone: Run, hostile: Iterable[str]) -> list[str]:
    """Return how other nodes differ from a run in which the hostile ones cannot be reached.

    Whoever gives an answer that fits takes part: what is worked out of all answers is then another, what is
    known of each other node is not.
    """
    names, found = set(hostile), []
    if not run.end or not alone.end:
        return ["a run did not end with its summary"]
    believed = any("probe" in run.answer(name) for name in names)
    parts = ("hosts", "groups", "group_vars")
    found += [f"the inventory's {part} differ" for part in parts if run.end[part] != alone.end[part]]
    for name in sorted({*alone.end["set"], *run.end["set"]} - names):
        for part in ("set", "facts"):
            now, then = (_known(which.end[part].get(name, {}), names) for which in (run, alone))
            if part == "set" and believed:
                now, then = _of_each(now), _of_each(then)
            found += _differences(f"{name}: {part}", now, then)
    for name in names:
        # Facts are no variables here (inject_facts_as_vars).
        known = run.end["set"].get(name, {})
        strange = sorted(
            key for key in known if key.startswith("ansible_") and not key.startswith("ansible_failed_")
        )
        found += [f"{name}: it set {', '.join(strange)}"] if strange else []
        if len(str(run.end["facts"].get(name, {}).get("discovered_interpreter_python", ""))) > 200:
            found.append(f"{name}: an interpreter's path of any length")
    rows = [_rows(which, names) for which in (run, alone)]
    return found + _differences("the report", *rows)


def _of_each(known: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known of single nodes, and where the plan has them."""
    plan = known.get("p2p_plan") or {}
    stages = (
        "canary",
        "voters_at_once",
        "voters_one_by_one",
        "others",
        "unchanged",
        "joiners",
        "leavers",
        "target",
    )
    asked = (known.get("p2p_health_nodes") or {}).get("nodes")
    single = ("p2p_outcome", "p2p_node_leaving", "p2p_orchestrator_ran")
    return {
        **{key: known.get(key) for key in single},
        **{key: plan.get(key) for key in stages},
        "answers": asked,
        "rollback": (known.get("p2p_rollback") or {}).get("name"),
    }


def _known(value: Any, hostile: set[str]) -> Any:
    """Return a value without times and without what it says of hostile nodes."""
    if isinstance(value, Mapping):
        # A loop in which one node was not reached says so of itself; what does not fit is a failure.
        dropped = {*_TIMES, *hostile, *(("unreachable", "failed", "msg") if "results" in value else ())}
        return {key: _known(item, hostile) for key, item in value.items() if key not in dropped}
    if isinstance(value, list):
        return [_known(item, hostile) for item in value if not _about(item, hostile)]
    if isinstance(value, str):
        return "(of hostile nodes)" if any(name in value for name in hostile) else value
    return value


def _about(item: Any, hostile: set[str]) -> bool:
    if isinstance(item, Mapping):
        return any(
            item.get(key) in hostile for key in ("item", "name", "node", "node_id") if _text(item.get(key))
        )
    return _text(item) and item in hostile


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _differences(where: str, now: Any, then: Any) -> list[str]:
    if isinstance(now, Mapping) and isinstance(then, Mapping):
        return [
            line
            for key in sorted({*now, *then}, key=str)
            for line in _differences(f"{where}.{key}", now.get(key), then.get(key))
        ][:5]
    if isinstance(now, list) and isinstance(then, list) and len(now) == len(then):
        return [
            line
            for index, pair in enumerate(zip(now, then, strict=True))
            for line in _differences(f"{where}[{index}]", *pair)
        ][:5]
    # Where not all nodes told the same interpreter each is looked for by itself; none is given another's.
    if now is None and where.endswith(("discovered_interpreter_python", "p2p_health_nodes.ansible_facts")):
        return []
    if then is None and where.endswith(".ansible_facts") and now == _OWN:
        return []
    return [] if now == then else [f"{where}: {str(now)[:200]!r} is not {str(then)[:200]!r}"]


def _rows(run: Run, hostile: set[str]) -> Any:
    path = run.report / "health.json"
    if not path.exists():
        return {}
    rows = json.loads(path.read_text(encoding="utf-8"))["nodes"]
    return {row["node_id"]: _known(row, hostile) for row in rows if row["node_id"] not in hostile}


# -- reports ----------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """The elements of a page, with the names of their attributes, and its code."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: set[tuple[str, tuple[str, ...]]] = set()
        self.links: set[str] = set()
        self.code: list[str] = []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add((tag, tuple(sorted(name for name, _ in attrs))))
        self.links |= {value or "" for name, value in attrs if name in ("href", "src", "action", "srcset")}
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002  # the parser's
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.code.append(data)


def reports(run: Run, alone: Run) -> list[str]:
    """Return what a report holds beyond what the project puts there, as in the report of a run `alone`."""
    folder = run.report
    if not (folder / "health.json").exists():
        return []
    texts = {
        kind: (folder / f"health.{kind}").read_text(encoding="utf-8")
        for kind in ("html", "md", "prom", "json")
    }
    found = [
        f"health.{kind} holds {match[0]!r}"
        for kind, text in texts.items()
        for match in [_ACTS.search(text)]
        if match
    ]
    page, true = Page(texts["html"]), Page((alone.report / "health.html").read_text(encoding="utf-8"))
    # What a healthy fleet's page has no need of.
    known = {tag for tag, _ in true.elements} | {
        "section",
        "ul",
        "li",
        "strong",
        "div",
        "code",
        "button",
        "p",
    }
    handlers = {name for _, names in page.elements for name in names if name.startswith("on")}
    found += [f"the page has an element {tag}" for tag in sorted({tag for tag, _ in page.elements} - known)]
    found += [f"the page has a handler {name}" for name in sorted(handlers)]
    found += ["the page has links of its own"] if page.links - true.links else []
    found += ["the page's code is another"] if page.code != true.code else []
    found += _prometheus(texts["prom"]) + _markdown(texts["md"])
    try:
        json.loads(texts["json"], parse_constant=_refused)
    except ValueError as error:
        found.append(f"health.json: {error}")
    return found


def _refused(name: str) -> None:
    raise ValueError(f"it holds {name}")


def _prometheus(text: str) -> list[str]:
    try:
        families = list(text_string_to_metric_families(text))
    except ValueError as error:
        return [f"health.prom: {error}"]
    return [f"health.prom: {family.name}" for family in families if not family.name.startswith("p2p_")]


def _markdown(text: str) -> list[str]:
    """Return links, images and elements of a text that has none of its own."""
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(text)
    parts = [part for token in tokens for part in [token, *(token.children or [])]]
    strange = [part for part in parts if part.type in ("link_open", "image", "html_block", "html_inline")]
    return [f"health.md has {part.type}: {part.content or part.attrs}" for part in strange]
