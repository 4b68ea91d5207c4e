"""Which node is changed first: another one when one did not do well, as the controller remembers it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.p2p.cluster.plugins.plugin_utils.memory.canary import recall, remember
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.quorum import store_quorum

from filter_plugins.p2p_outcome import plan_text
from filter_plugins.p2p_plan import Plan, plan
from tests.unit.deploy.conftest import PROJECT, VOTERS, blank, voter

NOW = 1_800_000_000.0
DAY = 86400.0
FLEET = ("vast-1", "vast-2", "hetzner-1", "vast-3", "runpod-new")


def make(**failed: tuple[float, str]) -> Plan:
    """Return the plan of a run over nodes that all differ, of which runpod-new runs nothing.

    Args:
        failed: Nodes (with `_` for `-`), how many days ago they did not do well as the canary, and how.
    """
    answers: dict[str, Any] = {name: voter(name) for name in VOTERS}
    for name in FLEET:
        answers[name] = blank() if name.endswith("-new") else voter("a")
        answers[name]["probe"]["drift"] = [
            {"part": "file", "name": "/etc/x", "why": "content differs", "restarts": ["p2p_orchestrator"]}
        ]
    memory = {
        name.replace("_", "-"): {"at": NOW - days * DAY, "how": how} for name, (days, how) in failed.items()
    }
    return plan(
        answers,
        VOTERS,
        store_quorum({name: answers[name] for name in VOTERS}),
        voter_answers={name: answers[name] for name in VOTERS},
        now=NOW,
        canaries={"file": "f", "cluster": "p2p", "failed": memory},
        hostvars={name: {"p2p_provider": name.partition("-")[0]} for name in FLEET},
    )


@pytest.mark.parametrize(
    ("failed", "chosen", "why"),
    [
        ({}, "vast-1", ""),
        ({"gone_9": (1, "failed")}, "vast-1", ""),
        (
            {"vast_1": (0, "failed")},
            "hetzner-1",
            "vast-1 failed as the canary on 2027-01-15, so a node of another provider goes first",
        ),
        (
            {"vast_2": (2, "lost")},
            "hetzner-1",
            "vast-2 was lost as the canary on 2027-01-13, so a node of another provider goes first",
        ),
        # Long ago it says something about the node, and nothing about its provider.
        (
            {"vast_1": (40, "unfinished")},
            "vast-2",
            "vast-1 was the canary of a run on 2026-12-06 that never ended, so another node goes first",
        ),
        ({"vast_1": (9, "failed"), "hetzner_1": (8, "failed")}, "vast-2", "so another node goes first"),
        # One that runs nothing yet shows less, but more than one that failed.
        (
            dict.fromkeys(("vast_1", "vast_2", "vast_3", "hetzner_1"), (1, "failed")),
            "runpod-new",
            "so a node of another provider goes first",
        ),
        (
            {"vast_1": (1, "failed"), "vast_2": (2, "failed"), "vast_3": (9, "failed")}
            | {"hetzner_1": (4, "failed"), "runpod_new": (5, "failed")},
            "vast-3",
            "vast-3 failed as the canary on 2027-01-06, and so did the others that could be it",
        ),
    ],
)
def test_the_canary_is_another_one_when_one_failed(
    failed: dict[str, tuple[float, str]], chosen: str, why: str
) -> None:
    result = make(**failed)
    assert result["canary"] == [chosen]
    assert sorted([chosen, *result["others"]]) == sorted(FLEET)
    assert why in result["canary_why"]
    line = next(line for line in plan_text(result) if line.startswith("first, as the canary: "))
    assert line.startswith(f"first, as the canary: {chosen} (")
    assert line.endswith(f"; {result['canary_why']}") is bool(why)


def test_no_node_can_hold_back_every_run() -> None:
    failed: dict[str, tuple[float, str]] = {}
    seen = []
    for day in range(len(FLEET)):
        (name,) = make(**failed)["canary"]
        seen.append(name)
        failed[name.replace("-", "_")] = (float(10 - day), "failed")
    assert sorted(seen) == sorted(FLEET)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return where the memory is; its folder is not there yet."""
    return tmp_path / "state" / "canary" / "p2p.json"


def names(file: Path) -> dict[str, str]:
    failed, warning = recall(file, "p2p")
    assert warning == ""
    return {name: one["how"] for name, one in failed.items()}


def test_what_is_remembered_and_what_is_forgotten(file: Path) -> None:
    assert recall(file, "p2p") == ({}, "")
    remember(file, "p2p", fleet=FLEET, now=1, begun=["vast-1"])
    assert names(file) == {"vast-1": "unfinished"}
    remember(file, "p2p", fleet=FLEET, now=2, ended={"vast-1": "failed"})
    remember(file, "p2p", fleet=FLEET, now=3, begun=["vast-2"])
    remember(file, "p2p", fleet=FLEET, now=4, ended={"vast-2": "unreachable", "vast-3": "changed"})
    assert recall(file, "p2p")[0] == {
        "vast-1": {"at": 2.0, "how": "failed"},
        "vast-2": {"at": 4.0, "how": "lost"},
    }
    # A run that ended before it said what became of its canary.
    remember(file, "p2p", fleet=FLEET, now=5, begun=["hetzner-1"])
    remember(file, "p2p", fleet=FLEET, now=6, ended={"hetzner-1": ""})
    remember(file, "p2p", fleet=("vast-1", "hetzner-1"), now=7, ended={"vast-1": "changed"})
    assert names(file) == {"hetzner-1": "unfinished"}
    assert file.stat().st_mode & 0o777 == 0o600
    assert [file.parent.stat().st_mode & 0o777, file.parent.parent.stat().st_mode & 0o777] == [0o700] * 2
    assert list(file.parent.iterdir()) == [file]


GOOD = {"schema": 1, "cluster": "p2p", "failed": {"vast-1": {"at": 1, "how": "failed"}}}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "[" * 100_000,
        "\udcff",
        json.dumps({**GOOD, "schema": 2}),
        json.dumps({**GOOD, "cluster": "other"}),
        json.dumps({**GOOD, "failed": []}),
        json.dumps({**GOOD, "failed": {"../x": {"at": 1, "how": "failed"}}}),
        json.dumps({**GOOD, "failed": {"vast-1": {"at": "1", "how": "failed"}}}),
        json.dumps({**GOOD, "failed": {"vast-1": {"at": 1e300, "how": "failed"}}}),
        json.dumps({**GOOD, "failed": {"vast-1": {"at": 1e12, "how": "failed"}}}),
        json.dumps({**GOOD, "failed": {"vast-1": {"at": float("nan"), "how": "failed"}}}),
        json.dumps({**GOOD, "failed": {"vast-1": {"at": 1, "how": "{{ x }}"}}}),
        json.dumps({**GOOD, "failed": {"vast-1": None}}),
        json.dumps({"schema": 1, "cluster": "p2p"}),
        json.dumps({**GOOD, "more": "x" * (1 << 20)}),
    ],
)
def test_a_broken_or_foreign_memory_is_not_used_and_is_replaced(file: Path, text: str) -> None:
    remember(file, "p2p", fleet=FLEET, now=1, begun=["vast-1"])
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    failed, warning = recall(file, "p2p")
    assert failed == {}
    assert warning.startswith(f"{file} is no memory of the canaries of p2p (")
    remember(file, "p2p", fleet=FLEET, now=1, begun=["vast-2"])
    assert names(file) == {"vast-2": "unfinished"}


def test_what_others_could_have_put_there_is_not_read(file: Path, tmp_path: Path) -> None:
    remember(file, "p2p", fleet=FLEET, now=1, begun=["vast-1"])
    file.chmod(0o644)
    assert "chmod 600" in recall(file, "p2p")[1]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text(json.dumps(GOOD))
    elsewhere.chmod(0o600)
    file.unlink()
    file.symlink_to(elsewhere)
    assert recall(file, "p2p")[0] == {}
    remember(file, "p2p", fleet=FLEET, now=1, begun=["vast-2"])
    assert elsewhere.read_text() == json.dumps(GOOD)
    assert names(file) == {"vast-2": "unfinished"}
    os.mkfifo(file.with_name("fifo"))
    assert recall(file.with_name("fifo"), "p2p")[0] == {}
    file.parent.chmod(0o755)
    with pytest.raises(OSError, match="chmod 700"):
        remember(file, "p2p", fleet=FLEET, now=1)


PLAY = """\
- hosts: vast-1
  connection: local
  gather_facts: false
  vars:
    ansible_python_interpreter: "{{{{ ansible_playbook_python }}}}"
    p2p_plan: {{canaries: "{{{{ lookup('p2p_canaries', '{file}', cluster='p2p') }}}}"}}
  tasks:
    - ansible.builtin.import_tasks: {project}/playbooks/tasks/attempt_canary.yml
      vars:
        __steps: {steps}
        p2p_cluster: p2p
    - ansible.builtin.debug:
        msg: "outcome {{{{ p2p_outcome.state }}}}"
"""
WELL = "- ansible.builtin.set_fact: {x: 1}"
FAILS = "- ansible.builtin.assert: {that: false}"
LOST = """
- ansible.builtin.raw: x
  register: p2p_node_now
  vars: {ansible_connection: ssh, ansible_ssh_executable: ./ssh}
"""


@pytest.mark.parametrize(
    ("steps", "words", "left"),
    [
        (WELL, (), {}),
        (FAILS, (), {"vast-1": "failed"}),
        (LOST, (), {"vast-1": "lost"}),
        (FAILS, ("--check",), None),
    ],
    ids=["well", "failed", "lost", "preview"],
)
def test_a_run_remembers_its_canary(
    steps: str, words: tuple[str, ...], left: dict[str, str] | None, file: Path, tmp_path: Path
) -> None:
    with started(steps, words, file, tmp_path) as run:
        output, _ = run.communicate(timeout=120)
    assert run.returncode == 0, output
    if left is None:
        assert not file.exists()
    else:
        assert names(file) == left, output


def test_a_run_that_is_killed_leaves_its_canary_behind(file: Path, tmp_path: Path) -> None:
    there = tmp_path / "there"
    with started(f"- ansible.builtin.command: sh -c 'touch {there}; sleep 60'", (), file, tmp_path) as run:
        deadline = time.monotonic() + 60
        while not there.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(run.pid, signal.SIGKILL)
        run.communicate(timeout=60)
    assert names(file) == {"vast-1": "unfinished"}


def started(steps: str, words: tuple[str, ...], file: Path, folder: Path) -> subprocess.Popen[str]:
    """Start a run that changes a canary by `steps`."""
    (folder / "ssh").write_text("#!/bin/sh\nexit 255\n")
    (folder / "ssh").chmod(0o755)
    (folder / "steps.yml").write_text(steps)
    (folder / "play.yml").write_text(PLAY.format(project=PROJECT, file=file, steps=folder / "steps.yml"))
    return subprocess.Popen(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", "vast-1,", "play.yml", *words],
        cwd=folder,
        env={**os.environ, "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
