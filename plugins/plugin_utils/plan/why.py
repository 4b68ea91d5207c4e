"""Why a node gave no probe, in one line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_PREAMBLES = ("Task failed: ", "Failed to connect to the host via ssh: ")


def first_line(answer: Mapping[str, Any]) -> str:
    """Return the first line of what is said of a node that gave no probe, without Ansible's preamble.

    Args:
        answer: The registered result of `p2p_probe`. One that did not pass the door (`untrusted`) is named as
            such: its text says where, and nothing else of it is known.
    """
    line = next(iter(str(answer.get("msg") or "").strip().splitlines()), "no answer")
    for preamble in _PREAMBLES:
        line = line.removeprefix(preamble)
    return f"its answer is not to be believed: {line}; see health.yml" if answer.get("untrusted") else line
