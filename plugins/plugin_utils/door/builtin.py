"""What Ansible's own modules return, as far as it is used, and how their answers become that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Any

from msgspec import Meta

from .results import Result
from .words import Base64, Line

Value = Mapping[str, Any]
# Bytes of what `slurp` reads, in the characters of base64: a bundle of certificates is a few kilobytes.
_LARGEST = 1 << 18


class Ran(Result, kw_only=True):
    """command: what the program printed."""

    stdout: Line = ""


class Content(Result, kw_only=True):
    """slurp: a file."""

    content: Base64

    def __post_init__(self) -> None:
        """Refuse what is larger than any bundle of certificates."""
        if len(self.content) > _LARGEST:
            raise ValueError(f"a content of {len(self.content)} characters")


class Entry(Result, kw_only=True):
    """getent: the fields of the entry that was asked for, without its key; null where there is none."""

    entry: Annotated[list[Line], Meta(max_length=20)] | None = None


SCHEMAS: dict[str, type[Result]] = {
    "command": Ran,
    "copy": Result,
    "file": Result,
    "getent": Entry,
    "slurp": Content,
    "user": Result,
}


# What of a file's attributes a difference shows.
_ATTRIBUTES = ("state", "mode", "owner", "group")


def _attributes(raw: Value, arguments: Value) -> Value:
    """Return an answer about a file whose differences are in texts, those of its attributes too."""
    diff = raw.get("diff")
    path = str(arguments.get("path") or arguments.get("dest") or "")
    if isinstance(diff, Mapping):
        return {**raw, "diff": _in_texts(diff, path)}
    if isinstance(diff, list):
        return {**raw, "diff": [_in_texts(one, path) if isinstance(one, Mapping) else one for one in diff]}
    return raw


def _in_texts(diff: Value, path: str) -> Value:
    sides = {side: diff[side] for side in ("before", "after") if isinstance(diff.get(side), Mapping)}
    texts = {
        side: "".join(f"{key}: {value[key]}\n" for key in _ATTRIBUTES if key in value)
        for side, value in sides.items()
    }
    return {**diff, **texts, **{f"{side}_header": path for side in sides}}


def _reason(raw: Value, _: Value) -> Value:
    """Return an answer of `command` whose message ends with what a program that failed said."""
    if raw.get("failed") and raw.get("stderr"):
        return {**raw, "msg": f"{raw.get('msg')}: {raw['stderr']}"}
    return raw


def _entry(raw: Value, arguments: Value) -> Value:
    """Return an answer of `getent` with the one entry in the place of facts."""
    facts = raw.get("ansible_facts")
    table = facts.get(f"getent_{arguments.get('database')}") if isinstance(facts, Mapping) else None
    entry = table.get(str(arguments.get("key"))) if isinstance(table, Mapping) else None
    return {**raw, "entry": entry}


_SHAPED: Mapping[str, Callable[[Value, Value], Value]] = MappingProxyType(
    {"copy": _attributes, "file": _attributes, "getent": _entry, "command": _reason}
)


def shaped(module: str, raw: Value, arguments: Value) -> Value:
    """Return an answer in the shape of the module's schema, still as the node gave it.

    Args:
        module: The module's name.
        raw: Its answer.
        arguments: What it was called with.
    """
    shape = _SHAPED.get(module)
    return shape(raw, arguments) if shape else raw
