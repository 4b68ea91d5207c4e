"""Plans and outcomes hold what nodes say, and none of it poses as a line of theirs or controls a terminal."""

from __future__ import annotations

import re
from typing import Any

import pytest

from filter_plugins.p2p_outcome import outcome_text, plan_text
from filter_plugins.p2p_recovery import recovery_text
from filter_plugins.p2p_removal import removal_text
from filter_plugins.p2p_unreached import unreached

EVIL = "\x1b]0;t\x07\x9b2J\u202e\nunchanged: 9 nodes: a\r\netcd: 3 of 3 members count"
QUORUM = {"members": ["v"], "counting": [], "quorum": 1, "tolerates": -1, "down": {"v": EVIL}}
STAGES: dict[str, Any] = {
    name: [] for name in ("canary", "voters_at_once", "voters_one_by_one", "others", "batches", "unchanged")
}
PLAN = {
    **STAGES,
    "quorum": QUORUM,
    "stops": {},
    "foretold": {"p": EVIL},
    "bootstrapped": {"q": EVIL},
    "warnings": [EVIL],
    "unreachable": {"x": EVIL},
    "refused": {"y": EVIL},
}
OUTCOMES = {
    state: ({} if state in ("changed", "unchanged") else {"x": EVIL})
    for state in ("changed", "unchanged", "failed", "not done", "held", "refused", "unreachable")
}
RECOVERY: Any = {
    "quorum": {"members": [], "counting": []},
    "told": {"v": EVIL},
    "left_out": {"w": EVIL},
    "former": [],
    "possible": True,
    "snapshot": "",
    "sources": [],
    "members": [],
    "epoch": 1,
    "refusal": "",
    "confirmation": [],
}
SSH = {"ansible_host": "host", "ansible_ssh_args": ""}
TEXTS = {
    "plan": plan_text(PLAN),
    "outcome": outcome_text(OUTCOMES),
    "removal": removal_text({**PLAN, "revocations": {}, "gone": [], "contradicting": {"v": EVIL}}),
    "recovery": recovery_text(RECOVERY),
    "recovery refused": recovery_text(RECOVERY | {"possible": False}),
    "unreached": list(
        unreached(
            {
                "x": {"failed": True, "msg": EVIL},
                "y": {"failed": True, "untrusted": True, "msg": EVIL},
                "z": {"unreachable": True, "msg": f"Permission denied {EVIL}"},
            },
            {"x": SSH, "y": SSH, "z": SSH},
        ).values()
    ),
}


@pytest.mark.parametrize("what", TEXTS)
def test_what_nodes_say_is_no_line_and_no_control(what: str) -> None:
    told = "\n".join(TEXTS[what])
    assert r"\x1b]0;t\x07\x9b2J\u202e" in told
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e]", told)
    lines = [line for line in told.splitlines() if line.startswith(("unchanged: 9", "etcd: 3"))]
    assert lines == []
