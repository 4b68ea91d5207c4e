"""Values of a node made fit for a schema: no control characters, no text or number without end."""

from __future__ import annotations

import math

LINE, BLOCK = 2000, 1 << 20
DEEPEST = 12
# Keys whose texts have lines; of all others a line break becomes a space.
BLOCKS = frozenset({"msg", "module_stderr", "before", "after", "content"})


class TooMuchError(ValueError):
    """A value that no answer of ours holds: too deep, too large, or of a type that JSON does not have."""


def line(text: str, most: int = LINE) -> str:
    """Return a text as one line without control and format characters, cut at `most` characters."""
    return _cut(text if text.isprintable() else _printable(text, ""), most)


def block(text: str, most: int = BLOCK) -> str:
    """Return a text with its line breaks and tabs, otherwise as `line`."""
    return _cut(text if text.isprintable() else _printable(text, "\n\t"), most)


def _printable(text: str, kept: str) -> str:
    return "".join(
        char if char.isprintable() or char in kept else " " if char.isspace() else "" for char in text
    )


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[:most] + "…"


def cleaned(value: object, key: str = "", depth: int = 0) -> object:
    """Return a value of JSON with all its texts cleaned, those of keys too.

    Args:
        value: what a decoder of JSON made.
        key: under which key it lies.
        depth: in how many lists and objects it lies.

    Raises:
        TooMuchError: it nests deeper than DEEPEST, or holds a number that is not finite or beyond 64 bits.
    """
    if isinstance(value, str):
        plain = str.__str__(value)  # of what Ansible adds on the controller it makes a type of its own
        return block(plain) if key in BLOCKS else line(plain)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if value.bit_length() > 64:  # noqa: PLR2004  # etcd's largest
            raise TooMuchError(f"{key or 'the answer'}: a number of {value.bit_length()} bits")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise TooMuchError(f"{key or 'the answer'}: a number that is not finite")
        return float(value)
    if depth >= DEEPEST:
        raise TooMuchError(f"{key or 'the answer'}: nested deeper than {DEEPEST}")
    if isinstance(value, dict):
        return {
            line(str(name), 300): cleaned(item, str(name) if isinstance(name, str) else key, depth + 1)
            for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [cleaned(item, key, depth + 1) for item in value]
    raise TooMuchError(f"{key or 'the answer'}: a {type(value).__name__}")
