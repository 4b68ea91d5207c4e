"""How the nodes of a play are asked side by side: real threads, real processes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from ansible._internal._templating._access import AnsibleAccessContext
from ansible._internal._templating._datatag import DeprecatedAccessAuditContext
from ansible._internal._templating._jinja_bits import AnsibleEnvironment
from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from action_plugins.p2p_probe_fleet import Answer, Nodes, _shared, failed, made_once

PROJECT = Path(__file__).parents[3]


def test_all_are_asked_and_one_failure_is_one_answer() -> None:
    def broken() -> Answer:
        raise AnsibleConnectionFailure("Failed to connect to the host via ssh: gone")

    nodes = Nodes(2, 60)
    for number in range(8):
        nodes.ask(f"n{number}", lambda number=number: {"probe": number})  # type: ignore[misc]  # bound now
    nodes.ask("dead", broken)
    found = nodes.answers()
    assert [found[f"n{number}"] for number in range(8)] == [{"probe": number} for number in range(8)]
    assert found["dead"]["unreachable"] is True
    assert found["dead"]["msg"] == "Task failed: Failed to connect to the host via ssh: gone"
    assert "failed" not in found["dead"]


def test_questions_render_beside_each_other() -> None:
    """Each rendering enters its context and leaves it while all the others are inside theirs."""
    inside = threading.Barrier(8, timeout=60)
    leaving = [threading.Event() for _ in range(9)]
    leaving[0].set()

    def question(number: int) -> Answer:
        with DeprecatedAccessAuditContext():
            inside.wait()
            leaving[number].wait(60)  # the first to enter leaves first
        leaving[number + 1].set()
        return {"probe": number}

    AnsibleAccessContext.current()
    nodes = Nodes(8, 60)
    for number in range(8):
        nodes.ask(f"n{number}", lambda number=number: question(number))  # type: ignore[misc]  # bound now
    assert nodes.answers() == {f"n{number}": {"probe": number} for number in range(8)}


def test_so_many_wait_at_a_time_and_no_more() -> None:
    guard, go = threading.Lock(), threading.Event()
    waiting: list[int] = []
    most: list[int] = []

    def question() -> Answer:
        with guard:
            waiting.append(1)
            most.append(len(waiting))
            if len(waiting) == 3:
                go.set()
        go.wait(60)
        with guard:
            waiting.pop()
        return {}

    nodes = Nodes(3, 120)
    for number in range(9):
        nodes.ask(str(number), question)
    assert len(nodes.answers()) == 9
    assert max(most) == 3


def test_answers_come_in_the_order_asked_whoever_was_first() -> None:
    nodes, second_is_done = Nodes(2, 60), threading.Event()

    def first() -> Answer:
        second_is_done.wait(30)
        return {"probe": 1}

    def second() -> Answer:
        second_is_done.set()
        return {"probe": 2}

    nodes.ask("first", first)
    nodes.ask("second", second)
    assert list(nodes.answers().items()) == [("first", {"probe": 1}), ("second", {"probe": 2})]


def test_one_that_never_answers_holds_nobody_up() -> None:
    """What connects to a late one is ended: all of the process group, hence one of its own here."""
    script = """
import os, subprocess, sys
from action_plugins.p2p_probe_fleet import Nodes
nodes = Nodes(1, 2)
nodes.ask("late", lambda: {"rc": subprocess.run(["sh", "-c", "echo $$ >&2; exec sleep 600"]).returncode})
nodes.ask("next", lambda: {"probe": 1})
found = nodes.answers()
assert found["next"] == {"probe": 1}, found
assert found["late"]["failed"] and "Timed out after 2 second(s)" in found["late"]["msg"], found
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": "collections"},
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    late = int(done.stderr.split()[0])
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            os.kill(late, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail(f"process {late} still runs")


@pytest.mark.parametrize(
    ("error", "message"),
    [(AnsibleError("no value"), "Task failed: no value"), (KeyError("x"), "Task failed: KeyError: 'x'")],
)
def test_what_cannot_be_prepared_has_failed(error: Exception, message: str) -> None:
    assert failed(error) == {"changed": False, "failed": True, "msg": message}


def test_a_template_made_once_is_rendered_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    def rendered(**variables: object) -> object:
        templar = Templar(loader=DataLoader(), variables=variables)
        return templar.template(trust_as_template("{{ [one, 'a\\\\tb'] }}"))

    before = [rendered(one=1), rendered(one="x")]
    monkeypatch.setattr(AnsibleEnvironment, "from_string", made_once)
    assert [rendered(one=1), rendered(one="x"), rendered(one=1)] == [*before, before[0]]


HERE, THERE = ({"ansible_facts": {"discovered_interpreter_python": path}} for path in ("/usr/bin/a", "/b"))


@pytest.mark.parametrize(
    ("answers", "shared"),
    [
        ([HERE, HERE, {"unreachable": True}], "/usr/bin/a"),
        ([HERE, HERE, THERE], None),  # one node decides for nobody else
        ([THERE, {"probe": {}}], None),
        ([THERE, {"failed": True, "untrusted": True}], "/b"),  # is nobody's answer
        ([], None),
    ],
)
def test_an_interpreter_is_shared_where_all_nodes_have_it(answers: list[Answer], shared: str | None) -> None:
    found = _shared({str(number): answer for number, answer in enumerate(answers)})
    assert found == ({"ansible_facts": {"discovered_interpreter_python": shared}} if shared else {})


def test_why_a_node_is_not_reached_is_told_without_control_characters() -> None:
    error = AnsibleConnectionFailure("ssh: \x1b]0;owned\x07no way\nsecond line" + "x" * 9000)
    assert failed(error)["msg"].startswith("Task failed: ssh: ]0;ownedno way\nsecond line")
    assert len(failed(error)["msg"]) < 5000
