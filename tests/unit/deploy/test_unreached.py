"""What a run says of a node that gave no probe."""

from __future__ import annotations

from typing import Any

from filter_plugins.p2p_plan import plan
from filter_plugins.p2p_quorum import store_quorum
from filter_plugins.p2p_unreached import unreached
from tests.unit.deploy.conftest import VOTERS, voter

CHANGED = {
    "unreachable": True,
    "msg": "Failed to connect to the host via ssh: @@@@@@@@@@"
    "\r\n@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @"
    "\r\nHost key for [ssh5.example]:20101 has changed and you have requested strict checking."
    "\r\nHost key verification failed.",
}
SILENT = {
    "unreachable": True,
    "msg": "Failed to connect to the host via ssh: ssh: connect to host ssh5.example port 20102:"
    " Connection timed out",
}


def variables(port: int) -> dict[str, Any]:
    """Return the variables of a node behind a proxy that many share."""
    return {
        "ansible_host": "ssh5.example",
        "ansible_port": port,
        "ansible_ssh_args": "-o UserKnownHostsFile=/srv/known",
    }


def test_a_changed_host_key_is_told_with_what_accepts_it_for_that_node_alone() -> None:
    answers = {"vast-1": CHANGED, "vast-2": SILENT, "a": voter("a")}
    known = {"vast-1": variables(20101), "vast-2": variables(20102), "a": {}}
    told = unreached(answers, known)
    assert told["vast-1"].startswith("host_key_changed: its SSH host key is not the known one")
    assert told["vast-1"].endswith("; then: ssh-keygen -f /srv/known -R '[ssh5.example]:20101'")
    assert told["vast-2"] == "ssh: connect to host ssh5.example port 20102: Connection timed out"
    assert set(told) == {"vast-1", "vast-2"}


def test_the_plan_repeats_it() -> None:
    answers = {**{name: voter(name) for name in VOTERS}, "vast-1": CHANGED}
    voters = {name: answers[name] for name in VOTERS}
    found = plan(
        answers,
        VOTERS,
        store_quorum(voters),
        voter_answers=voters,
        now=1.0,
        unreached={"vast-1": "host_key_changed: …"},
    )
    assert found["unreachable"] == {"vast-1": "host_key_changed: …"}
