"""Reads what a node said: a probe, or what a module returned."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec

from . import builtin, hearsay
from .probe import Probe
from .results import SCHEMAS, Result
from .texts import BLOCK, TooMuchError, block, cleaned, line

Answer = dict[str, Any]
# What a failure says of itself is told to people, cut.
MESSAGE = 4000
# Lines of a difference on each side, of one answer; and warnings of one.
DIFF_LINES, MOST_WARNINGS = 2000, 10
# Values of an answer: the largest fleet's probe has a tenth. The smallest takes Python a hundred bytes.
_MOST_VALUES = 200_000
_NO_JSON = "Module result deserialization failed"
# Nothing of it means something to a shell, and it names no folder above.
_INTERPRETER = re.compile(r"(/(?!\.\.?/)[A-Za-z0-9._+-]{1,64}){1,12}")


# msgspec works a schema out when it is first used, and threads that do so at the same time crash the process.
for _schema in (Probe, *SCHEMAS.values(), *builtin.SCHEMAS.values()):
    with contextlib.suppress(msgspec.ValidationError):
        msgspec.convert({}, _schema)


class UntrustedError(Exception):
    """An answer does not fit; the message says where and what."""


def untrusted(why: object) -> Answer:
    """Return the answer that stands for one that did not fit."""
    return {"changed": False, "failed": True, "untrusted": True, "msg": line(str(why), 300)}


def decoded(text: str | bytes) -> object:
    """Return the value of a JSON text.

    Raises:
        UntrustedError: it is none, or nests without end.
    """
    data = text.encode("utf-8", "replace") if isinstance(text, str) else text
    if sum(map(data.count, (b",", b"[", b"{"))) > _MOST_VALUES:
        raise UntrustedError(f"it has more than {_MOST_VALUES} values")
    try:
        try:
            return msgspec.json.decode(data)
        except msgspec.DecodeError as error:
            if "surrogate" not in str(error):
                raise
            # So Python writes a file's name that is no UTF-8; what is no text is taken out later.
            return json.loads(data)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise UntrustedError(f"it is no JSON: {line(str(error), 200)}") from None


def probe(raw: object, options: Mapping[str, Any]) -> Answer:
    """Return what a node says that it is.

    Args:
        raw: the value under `probe`.
        options: of p2p_probe, as the node was asked with. It speaks of what it was asked for and of nothing
            else: a store, other services, files and ports are left out.

    Raises:
        UntrustedError: something does not fit.
    """
    if isinstance(raw, Mapping):
        raw = hearsay.unsaid(_no_foreign_pages(raw))
    found: Answer = msgspec.to_builtins(_fit(raw, Probe, "probe"))
    units = [options.get("service"), options.get("etcd_service"), *(options.get("legacy_services") or [])]
    asked = {str(name) for name in units}
    found["services"] = {name: item for name, item in found["services"].items() if name in asked}
    found["etcd"] = found["etcd"] if options.get("etcd") else None
    lines = int(options.get("log_lines") or 0)
    for service in found["services"].values():
        service["log"] = service["log"][-lines:] if lines else []
    # By their last part: the node knows what `~` is.
    files = {str(path).rpartition("/")[2] for path in options.get("digests") or []}
    found["digests"] = {
        path: digest for path, digest in found["digests"].items() if path.rpartition("/")[2] in files
    }
    found["imports_missing"] = found["imports_missing"] and [
        name for name in found["imports_missing"] if name in (options.get("imports") or [])
    ]
    found["reach"] = _paired("reach", options.get("reach") or [], found["reach"])
    found["mesh"] = _paired("mesh", (options.get("mesh") or {}).get("targets") or [], found["mesh"])
    found["voter"] = bool(options.get("voter"))
    for page in found["http"].values():
        # Who reads that a page was answered reads its document.
        if page["status"] == HTTPStatus.OK and page["body"] is None:
            page |= {"status": None, "error": page["error"] or "what answers there gives no document"}
    return found


def _no_foreign_pages(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a probe without the pages of a listener that is no orchestrator, or that are no documents."""
    listener, http = raw.get("listener"), raw.get("http")
    if not isinstance(http, Mapping):
        return raw
    foreign = isinstance(listener, Mapping) and listener.get("orchestrator") is False and listener.get("pid")
    pages = {}
    for name, page in http.items():
        pages[name] = page
        if isinstance(page, Mapping) and foreign:
            pages[name] = {"error": "what listens there is no orchestrator"}
        elif isinstance(page, Mapping) and not isinstance(page.get("body"), Mapping):
            pages[name] = {**page, "body": None}
    return {**raw, "http": pages}


def _paired(
    what: str, asked: list[Mapping[str, Any]], found: list[Mapping[str, Any]] | None
) -> list[dict[str, Any]] | None:
    """Return the ports that were asked for, each with what the node says of it."""
    if found is None:
        return None
    if len(found) != len(asked):
        raise UntrustedError(f"probe.{what}: {len(found)} ports, {len(asked)} were asked for")
    return [{**ask, **answer} for ask, answer in zip(asked, found, strict=True)]


def _fit(raw: object, schema: type[msgspec.Struct], name: str) -> msgspec.Struct:
    try:
        return msgspec.convert(cleaned(raw, name), schema)
    except msgspec.ValidationError as error:
        told = str(error)
        where = re.search(r" - at `(?:key in )?`?\$?(.*?)`$", told)
        place = name + (where.group(1) if where else "")
        raise UntrustedError(f"{place}: {told.partition(' - at ')[0]}") from None
    except (TooMuchError, RecursionError) as error:
        raise UntrustedError(str(error) or "nested without end") from None


def result(module: str, raw: Mapping[str, Any], schema: type[Result] | None = None) -> Answer:
    """Return what a module returned on a node: the keys of its schema, or why it failed.

    Args:
        module: its name.
        raw: as Ansible hands it to an action plugin.
        schema: of a module that is not this project's.
    """
    schema = schema or SCHEMAS.get(module)
    try:
        if raw.get("failed"):
            return _failure(raw)
        if schema is None:
            return untrusted(f"it is no answer of {module}")
        if isinstance(raw.get("members"), list):
            raw = {**raw, "members": hearsay.members(raw["members"])}
        found: Answer = msgspec.to_builtins(_fit(_with_warnings(raw), schema, module))
    except UntrustedError as error:
        return untrusted(error)
    return shown(found) | interpreter(raw)


def shown(found: Answer) -> Answer:
    """Return an answer with no more of a difference, and no more warnings, than people read.

    To compare texts takes time that grows with the square of their lines.
    """
    left = DIFF_LINES
    diffs = found.get("diff") or []
    for diff in [diffs] if isinstance(diffs, dict) else diffs:
        for side in ("before", "after"):
            lines = str(diff.get(side) or "").splitlines(keepends=True)
            if len(lines) > left:
                diff[side] = "".join(lines[:left]) + f"({len(lines) - left} more lines)\n"
        left -= min(left, max(len(str(diff.get(side) or "").splitlines()) for side in ("before", "after")))
    if len(warnings := found.get("warnings") or []) > MOST_WARNINGS:
        more = f"and {len(warnings) - MOST_WARNINGS} more warnings"
        found["warnings"] = [*warnings[:MOST_WARNINGS], more]
    return found


def _with_warnings(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a result whose warnings are texts: some releases of Ansible make objects of them."""
    warnings = raw.get("warnings")
    if not isinstance(warnings, list | tuple):
        return raw
    texts = [getattr(getattr(item, "event", item), "msg", item) for item in warnings]
    return {**raw, "warnings": texts}


def _failure(raw: Mapping[str, Any]) -> Answer:
    """Return a failure with its texts cut; output that is no answer at all is none of ours."""
    if _NO_JSON in str(raw.get("msg")) and raw.get("rc") == 0:
        raise UntrustedError("it is no answer of the module")
    # Whether a node is reached is not its own to say.
    told = refusal({**raw, "failed": True, "unreachable": False})
    return told | {"changed": raw.get("changed") is True} | interpreter(raw)


def refusal(raw: Mapping[str, Any]) -> Answer:
    """Return why there is no answer, in texts that are cleaned and cut."""
    told: Answer = {"changed": False, "msg": block(str(raw.get("msg") or "no reason was given"), MESSAGE)}
    told |= {key: True for key in ("failed", "unreachable") if raw.get(key) is True}
    if raw.get("module_stderr"):
        told["module_stderr"] = block(str(raw["module_stderr"])[-BLOCK:], MESSAGE)
    return told


def interpreter(raw: Mapping[str, Any]) -> Answer:
    """Return the one fact that is kept, the interpreter that a node was found to have."""
    facts = raw.get("ansible_facts")
    path = facts.get("discovered_interpreter_python") if isinstance(facts, Mapping) else None
    plain = isinstance(path, str) and _INTERPRETER.fullmatch(path)
    return {"ansible_facts": {"discovered_interpreter_python": path}} if plain else {}
