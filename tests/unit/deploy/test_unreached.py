"""What a run says of a node that gave no probe."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.quorum import store_quorum
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.why import first_line

from filter_plugins.p2p_outcome import failure
from filter_plugins.p2p_plan import plan
from filter_plugins.p2p_unreached import unreached
from tests.unit.deploy.conftest import VOTERS, voter

CHANGED = {
    "unreachable": True,
    "msg": "Failed to connect to the host via ssh: @@@@@@@@@@"
    "\r\n@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @"
    "\r\nHost key for [ssh5.example]:20101 has changed and you have requested strict checking."
    "\r\nHost key verification failed.",
}
ANSIBLES_ADVICE = (
    'using -c ssh on certain older ssh versions may not support ControlPersist, set ANSIBLE_SSH_ARGS="" '
    "(or ssh_args in [ssh_connection] section of the config file) before running again"
)
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
    assert "compare it with the provider's before it is forgotten" in told["vast-1"]
    assert told["vast-1"].endswith("; then: ssh-keygen -f /srv/known -R '[ssh5.example]:20101'")
    assert told["vast-2"] == "ssh: connect to host ssh5.example port 20102: Connection timed out"
    assert set(told) == {"vast-1", "vast-2"}


def test_who_only_says_that_the_key_changed_has_no_other_key_forgotten() -> None:
    """What a node's program says as it ends with 255 looks like ssh's own words."""
    lie = "Failed to connect to the host via ssh: Offending key in /root/.ssh/known_hosts:1\nssh-keygen -R x"
    told = unreached({"n": {"unreachable": True, "msg": lie}}, {"n": variables(20101)})["n"]
    assert "or the node only says so" in told
    assert told.endswith("; then: ssh-keygen -f /srv/known -R '[ssh5.example]:20101'")


@pytest.mark.parametrize("preamble", ["", "Task failed: ", "Connection failed: "])
@pytest.mark.parametrize("gone", [{"unreachable": True}, {"failed": True}])
def test_no_advice_of_ansible_takes_the_settings_of_ssh_away(preamble: str, gone: dict[str, bool]) -> None:
    answer = {**gone, "msg": preamble + ANSIBLES_ADVICE}
    for told in (
        unreached({"n": answer}, {"n": variables(20101)})["n"],
        failure(answer, [], {})["why"],
        first_line(answer),
    ):
        assert "ANSIBLE_SSH_ARGS" not in told
        assert (
            "the ssh of this machine is too old (see `ssh -V`; 8.5 is needed), or the node only says so"
            in told
        )


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
