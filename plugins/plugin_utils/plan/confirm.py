"""The names by which an operator confirms an exception: exactly those that have to be named."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from difflib import get_close_matches


def names(given: object) -> list[str]:
    """Return the names of a confirmation, each once; those of a text stand between commas or spaces."""
    parts = given if isinstance(given, list | tuple) else [given or ""]
    return list(dict.fromkeys(name for part in parts for name in re.split(r"[,\s]+", str(part)) if name))


def mistakes(
    given: Sequence[str],
    wanted: Sequence[str],
    *,
    voters: Collection[str],
    answering: Collection[str],
    cluster: str,
) -> list[str]:
    """Return what is wrong with the names that were given, nothing if none was.

    Args:
        given: As `names` read them.
        wanted: Those that have to be named: nodes that do not answer, or the cluster alone.
        voters: The fleet file's.
        answering: Which of them answer.
        cluster: The cluster's name.
    """
    wrong = [_slip(name, [*voters, *wanted], answering, cluster) for name in given if name not in wanted]
    forgotten = [name for name in wanted if name not in (*given, cluster)]
    return wrong + [f"it leaves out {', '.join(forgotten)}"] * bool(given and forgotten)


def unknown(given: Sequence[str], known: Collection[str]) -> list[str]:
    """Return what is wrong with those of the given names that nobody has."""
    return [_nobody(name, known) for name in given if name not in known]


def _slip(name: str, known: Collection[str], answering: Collection[str], cluster: str) -> str:
    """Return what is wrong with a name that was given and not wanted."""
    if name in answering:
        return f"{name} answers, so that it is no missing voter"
    if name == cluster:
        return f"{name} is the cluster, and it is the voters that do not answer who are named"
    return _nobody(name, known)


def _nobody(name: str, known: Collection[str]) -> str:
    there = {one.casefold(): one for one in known}
    near = get_close_matches(name.casefold(), there, n=1)
    return f"{name} is no voter of the fleet file" + (f" (the nearest is {there[near[0]]})" if near else "")
