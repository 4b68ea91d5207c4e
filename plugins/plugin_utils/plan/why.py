"""Why a node gave no probe, in one line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_PREAMBLES = ("Task failed: ", "Failed to connect to the host via ssh: ")
# Ansible then advises settings without those that keep a node's ssh in bounds.
_ADVICE = re.compile(r"using -c ssh on certain older ssh versions.*", re.IGNORECASE | re.DOTALL)
_TOO_OLD = (
    "ssh says that it does not know ControlPersist: the ssh of this machine is too old (see `ssh -V`; 8.5 is"
    " needed), or the node only says so"
)


def without_advice(text: str) -> str:
    """Return an error text with words of ours where Ansible advises to give up the settings of ssh."""
    return _ADVICE.sub(_TOO_OLD, text)


def first_line(answer: Mapping[str, Any]) -> str:
    """Return the first line of what is said of a node that gave no probe, without Ansible's preamble.

    Args:
        answer: The registered result of `p2p_probe`. One that did not pass the door (`untrusted`) is named as
            such: its text says where, and nothing else of it is known.
    """
    line = next(iter(without_advice(str(answer.get("msg") or "")).strip().splitlines()), "no answer")
    for preamble in _PREAMBLES:
        line = line.removeprefix(preamble)
    return f"its answer is not to be believed: {line}; see health.yml" if answer.get("untrusted") else line
