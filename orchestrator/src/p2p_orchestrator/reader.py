"""Reads what others wrote: each value has a type and a bound, and what does not fit is not read at all.

Whoever wrote it may lie: a node, a voter, whoever reached the store. What an error says holds none of it.
"""

import json
from collections.abc import AsyncIterable
from typing import Any, NoReturn

from p2p_orchestrator.config import NAME

TEXT = 256
WHOLE = 2**53 - 1
"""The largest whole number that every reader of JSON reads exactly."""
FIGURE = 1e15
DIGITS = 20


class UnfitError(ValueError):
    """A value has another type than it should, or is beyond its bound."""


def _whole(digits: str) -> int:
    # Before it becomes a number, which takes long for many digits.
    if len(digits) > DIGITS:
        raise UnfitError(f"a number of more than {DIGITS} digits")
    return int(digits)


def _constant(name: str) -> NoReturn:
    raise UnfitError(f"{name}, which is no JSON")


_DECODER = json.JSONDecoder(parse_int=_whole, parse_constant=_constant)


def decode(data: bytes) -> dict[str, Any]:
    """Return the object that `data` holds as JSON in UTF-8. Raises UnfitError if it holds none."""
    try:
        found = _DECODER.decode(data.decode())
    except UnfitError:
        raise
    except (ValueError, RecursionError) as error:
        raise UnfitError("not JSON") from error
    return mapping(found, "it")


async def body(chunks: AsyncIterable[bytes], most: int) -> bytes:
    """Return all `chunks` as one. Raises UnfitError after more than `most` bytes."""
    data = bytearray()
    async for chunk in chunks:
        data += chunk
        if len(data) > most:
            raise UnfitError(f"longer than {most} bytes")
    return bytes(data)


def _refuse(value: object, what: str, wanted: str) -> NoReturn:
    raise UnfitError(f"{what} is {type(value).__name__}, not {wanted}")


def mapping(value: object, what: str, most: int | None = None) -> dict[str, Any]:
    """Return an object of JSON, of `most` fields at most. Raises UnfitError."""
    if type(value) is not dict:
        _refuse(value, what, "an object")
    if most is not None and len(value) > most:
        raise UnfitError(f"{what} has more than {most} fields")
    return value


def items(value: object, what: str, most: int) -> list[Any]:
    """Return a list of `most` items at most. Raises UnfitError."""
    if type(value) is not list:
        _refuse(value, what, "a list")
    if len(value) > most:
        raise UnfitError(f"{what} has more than {most} items")
    return value


def whole(value: object, what: str, most: int = WHOLE) -> int:
    """Return a whole number from 0 to `most`. Raises UnfitError."""
    if type(value) is not int:
        _refuse(value, what, "a whole number")
    if not 0 <= value <= most:
        raise UnfitError(f"{what} is not from 0 to {most}")
    return value


def digits(value: str | bytes, what: str) -> int:
    """Return the whole number that `value` spells in few digits. Raises UnfitError."""
    text = value.strip()
    if not text.isdigit() or not text.isascii() or len(text) > DIGITS:
        raise UnfitError(f"{what} is no whole number")
    return int(text)


def number(value: object, what: str, least: float = 0.0, most: float = FIGURE) -> float:
    """Return a finite number from `least` to `most`. Raises UnfitError."""
    if type(value) not in (int, float):
        _refuse(value, what, "a number")
    # One that is not a number at all lies between no two.
    if not least <= value <= most:  # type: ignore[operator]  # a number, as was just seen
        raise UnfitError(f"{what} is not from {least:g} to {most:g}")
    return float(value)  # type: ignore[arg-type]  # as above


def text(value: object, what: str, most: int | None = None) -> str:
    """Return a text, of `most` characters at most, that UTF-8 can hold. Raises UnfitError."""
    if type(value) is not str:
        _refuse(value, what, "a text")
    if most is not None and len(value) > most:
        raise UnfitError(f"{what} is longer than {most} characters")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise UnfitError(f"{what} has half a character") from error
    return value


def flag(value: object, what: str) -> bool:
    """Return true or false. Raises UnfitError."""
    if type(value) is not bool:
        _refuse(value, what, "true or false")
    return value


def name(value: object, what: str) -> str:
    """Return a node's name. Raises UnfitError."""
    if type(value) is not str or not NAME.fullmatch(value):
        raise UnfitError(f"{what} is not a node's name")
    return value
