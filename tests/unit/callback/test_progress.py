"""The callback's words, and real plays whose output goes to a pipe."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from callback_plugins.p2p_progress import Node, duration, message_of, past, sentence, shorter, without_keys
from module_utils import p2p_release_tell, p2p_service_apply

PROJECT = Path(__file__).parents[3]
PATIENCE = 600
KEY = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----"
NODES = """
[all:vars]
ansible_python_interpreter={python}
[nodes]
a ansible_connection=local
b ansible_connection=local
c ansible_connection=local
[elsewhere]
dead ansible_host=127.0.0.9
"""

Play = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0:00"), (65, "1:05"), (3599.9, "59:59"), (3605, "1:00:05")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_every_phrase_of_the_modules_has_a_past() -> None:
    phrases = [
        *(phrase % "x" for phrase in p2p_service_apply._PHRASES.values()),
        *re.findall(r'\["?\(?"([a-z]+ [^"]*)"', Path(p2p_release_tell.__file__).read_text()),
        *("enable x", "disable x", "start x", "stop x", "mend mode or owner of x", "unmask x", "install x"),
    ]
    assert len(phrases) > 10
    assert [phrase for phrase in phrases if past(phrase) == phrase] == []


def test_a_node_is_told_in_one_sentence() -> None:
    node = Node(actions=["install psutil==7.2.2", "restart p2p_orchestrator.service"])
    assert sentence(node, preview=True) == "would install psutil==7.2.2, restart p2p_orchestrator.service"
    assert sentence(node, preview=False) == "installed psutil==7.2.2, restarted p2p_orchestrator.service"
    node.tasks.append("The service has a user of its own")
    assert sentence(node, preview=True).endswith(".service; also: The service has a user of its own")
    assert sentence(Node(tasks=["T"]), preview=True) == "would change: T"
    assert sentence(Node(tasks=["T"]), preview=False) == "changed: T"


def test_long_rows_of_the_same_verb_are_counted() -> None:
    phrases = [f"write /etc/{number}" for number in range(9)] + ["start a.service", "start b.service"]
    assert shorter(phrases) == ["write /etc/0 and 8 more", "start a.service", "start b.service"]
    assert shorter(["write x", "write x"]) == ["write x"]


def test_what_the_play_decided_goes_before_what_its_tasks_did() -> None:
    broken = Node(failures=[("T", "went wrong")], outcome={"state": "refused", "why": "no quorum"})
    assert broken.state(failed=False) == "refused"
    assert broken.why("refused") == "no quorum"
    held = Node(outcome={"state": "held", "why": "others failed"})
    assert held.state(failed=False) == "held"
    gone = Node(actions=["install x"], unreachable="timed out")
    assert gone.state(failed=False) == "unreachable"
    assert gone.why("unreachable") == "timed out"
    assert Node(unreachable="timed out", outcome={"state": "changed"}).state(failed=False) == "unchanged"


SURE = "Make sure this host can be reached over ssh:"


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ({"msg": "Task failed: Failed to connect to the host via ssh: refused\n"}, "refused"),
        ({"msg": "one\ntwo"}, "one\ntwo"),
        ({"msg": ["one", "two"]}, "one\ntwo"),
        ({"msg": "non-zero return code", "stderr": "no such file"}, "non-zero return code\nno such file"),
        ({"results": [{"item": 1}, {"item": 2, "failed": True, "msg": "bad"}]}, "2: bad"),
        ({"censored": "the output has been hidden"}, "its output is hidden (no_log)"),
        ({}, "no reason was given"),
        ({"msg": f'Data could not be sent to remote host "x". {SURE} '}, "no reason was given"),
        ({"msg": f"cannot load {KEY}"}, "cannot load (a PRIVATE KEY, not shown)"),
    ],
)
def test_what_a_failure_says(result: dict[str, object], text: str) -> None:
    assert message_of(result) == text


def test_keys_are_never_shown_though_their_end_is_missing() -> None:
    assert without_keys(f"a\n{KEY}\nb") == "a\n(a PRIVATE KEY, not shown)\nb"
    assert without_keys(KEY[:40] + "\nsecret") == "(a PRIVATE KEY, not shown)"


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """Return what runs a playbook, given as text, on three local nodes and one that does not answer."""
    inventory = tmp_path / "nodes.ini"
    inventory.write_text(NODES.format(python=sys.executable))
    ssh = tmp_path / "ssh"
    # It reads what it is sent: Ansible loses the reason of an ssh that hung up and has not ended yet.
    ssh.write_text("#!/bin/sh\n[ -t 0 ] || cat >/dev/null\necho 'ssh: no way to this host' >&2\nexit 255\n")
    ssh.chmod(0o755)
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"),
        "ANSIBLE_INVENTORY_ENABLED": "ini",
        "ANSIBLE_SSH_EXECUTABLE": str(ssh),
    }

    def run(
        text: str,
        *words: str,
        interrupt_at: Path | None = None,
        quiet: float = 1000,
        settings: Mapping[str, str] = MappingProxyType({}),
    ) -> subprocess.CompletedProcess[str]:
        book = tmp_path / "book.yml"
        book.write_text(text)
        # Unless asked for, no line comes between those that are asserted, however slow the machine.
        command = [Path(sys.executable).with_name("ansible-playbook"), "-i", inventory, book]
        process = subprocess.Popen(
            [*map(str, command), f"-efolder={tmp_path}", *words],
            cwd=PROJECT,
            env={**environment, "P2P_PROGRESS_QUIET_SECONDS": str(quiet), **settings},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        if interrupt_at:
            deadline = time.monotonic() + PATIENCE
            while not interrupt_at.exists() and time.monotonic() < deadline:
                time.sleep(0.1)
            process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    return run


FILES = """
- name: Files in batches
  hosts: nodes
  serial: 2
  gather_facts: false
  tasks:
    - name: A file is there
      ansible.builtin.copy:
        dest: "{{ folder }}/{{ inventory_hostname }}"
        content: |
          of {{ inventory_hostname }}
          -----BEGIN PRIVATE KEY-----
          c2VjcmV0
          -----END PRIVATE KEY-----
        mode: "0600"
    - name: A secret is there
      ansible.builtin.copy:
        dest: "{{ folder }}/{{ inventory_hostname }}.secret"
        content: hush-hush
        mode: "0600"
      no_log: true
"""


def test_a_preview_and_a_run_in_batches(play: Play, tmp_path: Path) -> None:
    preview = play(FILES, "--check", "--diff")
    assert preview.returncode == 0, preview.stdout + preview.stderr
    assert "A preview of book.yml: nothing is changed." in preview.stdout
    assert "c: would change: A file is there; A secret is there" in preview.stdout
    assert not (tmp_path / "a").exists()

    real = play(FILES, "--diff")
    lines = real.stdout.splitlines()
    assert [line.split("  ")[-1] for line in lines if "in batches" in line] == [
        "Files in batches: nodes 1 to 2 of 3",
        "Files in batches: node 3 of 3",
    ]
    assert "a: changed: A file is there; A secret is there" in lines
    assert "  changed          3  a, b, c" in lines
    assert "unchanged" not in real.stdout

    for shown in (preview.stdout, real.stdout):
        assert "b: A file is there\n--- before\n+++ after: " in shown
        assert "+of b\n+(a PRIVATE KEY, not shown)\n" in shown
        assert "c2VjcmV0" not in shown
        assert "hush-hush" not in shown
        assert "\033" not in shown, "no colour in a pipe"
        assert "ok: [" not in shown

    again = play(FILES, "--diff")
    assert re.search(
        r"\n\nbook.yml: 3 nodes in 0:\d\d\n  changed          0\n  unchanged        3  a, b, c\n$",
        again.stdout,
    )


FAILURES = """
- name: Who answers
  hosts: all
  gather_facts: false
  tasks:
    - name: Every node is asked
      ansible.builtin.ping:
      ignore_unreachable: true
    - name: The plan
      ansible.builtin.debug:
        msg: [first line, second line]
      run_once: true
    - name: A variable
      ansible.builtin.debug:
        var: inventory_hostname
      run_once: true
- name: What fails
  hosts: nodes
  gather_facts: false
  tasks:
    - name: Attempted
      when: inventory_hostname == 'a'
      block:
        - name: Rescued
          ansible.builtin.assert: {that: false, fail_msg: "a is kept back: see to it"}
      rescue:
        - name: Kept
          ansible.builtin.set_fact:
            p2p_outcome: {state: failed, why: "{{ ansible_failed_result.msg }}"}
    - name: Rescued for good
      when: inventory_hostname == 'c'
      block:
        - name: Tried first
          ansible.builtin.command: "false"
      rescue:
        - name: Tried next
          ansible.builtin.command: "true"
    - name: Ignored
      ansible.builtin.fail: {msg: not worth a word}
      ignore_errors: true
    - name: Broken
      ansible.builtin.fail: {msg: "b is broken: mend it\\nlike this"}
      when: inventory_hostname == 'b'
- name: The end
  hosts: all
  gather_facts: false
  tasks:
    - name: All is well
      ansible.builtin.assert: {that: false, fail_msg: not all is well}
      run_once: true
"""


def test_what_a_loop_changes_on_other_nodes_is_told_of_those(play: Play) -> None:
    done = play(
        """
- name: One host works on others
  hosts: c
  gather_facts: false
  tasks:
    - name: A file is there
      ansible.builtin.copy: {dest: "{{ folder }}/{{ item.0 }}", content: x, mode: "0600"}
      delegate_to: "{{ item.0 }}"
      loop: [[a], [b]]
"""
    )
    assert done.returncode == 0, done.stderr
    assert "a: changed: A file is there\nb: changed: A file is there\n" in done.stdout
    assert "item.0" not in done.stdout
    assert "c:" not in done.stdout


SPOOF = """
- hosts: a
  gather_facts: false
  tasks:
    - name: A voter is asked for all
      ansible.builtin.fail: {msg: "no\\n\\nbook.yml: 8 nodes in 0:10\\n  changed 8"}
      run_once: true
"""


def test_no_line_of_a_failure_poses_as_one_of_ours(play: Play) -> None:
    out = play(SPOOF).stdout
    assert "A voter is asked for all: failed\nno\n  \n  book.yml: 8 nodes in 0:10\n    changed 8\n" in out


def test_failures_are_told_once_and_in_full(play: Play) -> None:
    done = play(FAILURES)
    assert done.returncode == 2
    said = done.stdout + done.stderr
    assert "\nfirst line\nsecond line\ninventory_hostname: a\n" in done.stdout
    for once in (
        "a is kept back: see to it",
        "b is broken: mend it",
        "ssh: no way to this host",
    ):
        assert said.count(once) == 1, said
    # Where it happened, and in the last line.
    assert said.count("not all is well") == 2, said
    assert "not worth a word" not in said
    assert "[ERROR]" not in said
    assert "All is well: failed\nnot all is well\n" in done.stdout
    end = done.stdout[done.stdout.index("book.yml: 4 nodes") :]
    assert re.sub(r"\d:\d\d", "TIME", end) == (
        "book.yml: 4 nodes in TIME\n"
        "  changed          1  c\n"
        "  failed           2  a, b\n"
        "  not reached      1  dead\n"
        "\nfailed: a\n    a is kept back: see to it\n"
        "\nfailed: b\n    Broken: b is broken: mend it\n    like this\n"
        "\nnot reached: dead\n    ssh: no way to this host\n"
        "\nbook.yml failed: All is well: not all is well\n"
    )


LOST = """
- name: What needs all
  hosts: a:dead
  gather_facts: false
  tasks:
    - name: First
      ansible.builtin.copy: {dest: "{{ folder }}/x", content: x, mode: "0600"}
      when: inventory_hostname == 'a'
    - name: Asked of one
      ansible.builtin.ping:
      %s
    - name: Last
      ansible.builtin.command: "true"
"""


@pytest.mark.parametrize("how", ["any_errors_fatal: true", "delegate_to: dead\n      run_once: true"])
def test_a_run_that_ends_since_one_is_not_reached_says_so(play: Play, how: str) -> None:
    done = play(LOST % how)
    assert done.returncode == 4
    assert "\na: changed: First\n" in done.stdout
    assert done.stdout.endswith(
        "\nbook.yml failed: Asked of one: dead is not reached: ssh: no way to this host\n"
    )


def test_warnings_are_shown(play: Play) -> None:
    done = play(FILES.replace("hosts: nodes", "hosts: nodes:missing"))
    assert "Could not match supplied host pattern, ignoring: missing" in done.stderr + done.stdout
    deprecated = """
- hosts: a
  gather_facts: false
  tasks:
    - ansible.builtin.command: "true"
      when: "{{ true }}"
"""
    said = play(deprecated)
    assert "[WARNING]" in said.stderr + said.stdout


def test_v_gives_the_usual_output(play: Play) -> None:
    done = play(FILES, "-v")
    assert "PLAY [Files in batches]" in done.stdout
    assert "changed: [a] => {" in done.stdout
    assert "PLAY RECAP" in done.stdout
    assert "nodes in" not in done.stdout


SLOW = """
- name: Patience
  hosts: nodes
  gather_facts: false
  tasks:
    - name: A file is there
      ansible.builtin.copy: {dest: "{{ folder }}/{{ inventory_hostname }}", content: x, mode: "0600"}
    - name: Slow
      ansible.builtin.command: "{{ {'a': 'sleep 4', 'b': touch, 'c': last}[inventory_hostname] }}"
      changed_when: false
      vars: {touch: "touch {{ folder }}/reached"}
"""


def test_an_interrupted_run_still_tells_what_it_did(play: Play, tmp_path: Path) -> None:
    done = play(SLOW, "-elast='sleep 90'", interrupt_at=tmp_path / "reached")
    assert done.returncode != 0
    assert "book.yml was interrupted." in done.stdout
    assert "b: changed: A file is there" in done.stdout
    assert done.stdout.endswith("\n\nbook.yml failed: it was interrupted\n")


ENDED = """
- name: The plan
  hosts: nodes,elsewhere
  gather_facts: false
  tasks:
    - name: Every node is asked
      ansible.builtin.command: {argv: ["true"]}
      changed_when: false  # it only asks
    - name: A file is there
      ansible.builtin.copy: {dest: "{{ folder }}/{{ inventory_hostname }}", content: x, mode: "0600"}
      when: inventory_hostname in first
    - name: What was planned
      ansible.builtin.set_fact:
        p2p_plan: "{{ planned }}"
      run_once: true
    - name: The plan is refused
      block:
        - name: The file is fit
          ansible.builtin.fail: {msg: ["two voters have one address", "see docs"]}
          run_once: true
          when: fails
      rescue:
        - name: Nothing of it
          ansible.builtin.fail: {msg: "{{ ansible_failed_result.msg | first }}, still"}
          run_once: true
          when: not mends
- name: The work
  hosts: nodes
  gather_facts: false
  tasks:
    - name: A file is there as well
      ansible.builtin.copy: {dest: "{{ folder }}/{{ inventory_hostname }}2", content: x, mode: "0600"}
"""


def rows(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """Return the names behind each state."""
    found = re.findall(r"^  ([a-z ]+?) +\d+(?:  (.*))?$", done.stdout, re.MULTILINE)
    return {state: names for state, names in found if names}


@pytest.mark.parametrize(
    ("planned", "first", "states"),
    [
        # Nobody knows what there was to do.
        ({}, [], {"not done": "a, b, c"}),
        ({}, ["a"], {"changed": "a", "not done": "b, c"}),
        ({"members": ["a"]}, [], {"not done": "a, b, c"}),
        ({"others": ["b", "c"], "unchanged": ["a"]}, [], {"unchanged": "a", "not done": "b, c"}),
        # It was begun.
        ({"others": ["b"], "unchanged": ["a", "c"]}, ["b"], {"unchanged": "a, c", "not done": "b"}),
    ],
)
def test_a_run_that_failed_says_whom_it_did_not_come_to_and_why(
    play: Play, planned: dict[str, list[str]], first: list[str], states: dict[str, str]
) -> None:
    told = json.dumps({"planned": planned, "first": first, "fails": True, "mends": False})
    done = play(ENDED, "-e", told)
    assert done.returncode != 0
    assert rows(done) == {**states, "not reached": "dead"}
    assert done.stdout.endswith("\n\nbook.yml failed: Nothing of it: two voters have one address, still\n")


@pytest.mark.parametrize("fails", [False, True])
def test_a_run_that_went_through_did_not_fail(play: Play, fails: bool) -> None:
    told = json.dumps({"planned": {}, "first": ["a"], "fails": fails, "mends": True})
    # Of a task that runs once and fails, Ansible rescues the first node alone.
    done = play(ENDED, "-e", told, "--limit", "a")
    assert rows(done) == {"changed": "a"}
    assert "failed:" not in done.stdout.splitlines()[-1]


def test_a_task_that_takes_long_tells_how_far_it_is(play: Play) -> None:
    done = play(SLOW, "-elast='sleep 6'", quiet=2)
    assert re.search(r"   \d:\d\d    Slow: [1-3] of 3 nodes\n", done.stdout), done.stdout


# What a terminal obeys, as a node's command, file, task's reason, warning and item of a loop may hold it.
HOSTILE = r"""
- name: What nodes say
  hosts: a
  gather_facts: false
  vars:
    evil: "\u001b]0;title\u0007\u001b[31mred \u009b2J \u202etxt\u2066 \u200b \u007f"
  tasks:
    - name: A command says it
      ansible.builtin.command: {argv: [printf, "%s", "{{ evil }}"]}
      register: said
    - name: A file holds it
      ansible.builtin.copy: {dest: "{{ folder }}/held", content: "{{ evil }}{{ '%c' % 13 }}\n", mode: "0600"}
    - name: It is told
      ansible.builtin.debug: {msg: ["{{ said.stdout }}", {key: "{{ evil }}"}]}
    - name: It is a variable
      ansible.builtin.debug: {var: said.stdout}
    - name: "It is an item, and named {{ evil }}"
      ansible.builtin.command: {argv: ["true", "{{ item }}"]}
      loop: ["{{ evil }}"]
    - name: It is warned of
      p2p_told: {text: "{{ evil }}"}
    - name: It is why
      ansible.builtin.fail: {msg: "{{ evil }}\nchanged: not a line of its own"}
"""
TOLD = """
from ansible.module_utils.basic import AnsibleModule
module = AnsibleModule(argument_spec={"text": {"type": "str"}})
module.warn("warned " + module.params["text"])
module.deprecate("old " + module.params["text"], version="9.9")
text = module.params["text"]
module.exit_json(changed=True, actions=["write " + text], diff=[{"prepared": text}])
"""
COLOURS = re.compile("\x1b\\[[0-9;]*m")


@pytest.mark.parametrize("words", [[], ["-vvv"]], ids=["usual", "-vvv"])
def test_nothing_that_nodes_say_controls_the_terminal(play: Play, tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "library").mkdir()
    (tmp_path / "library/p2p_told.py").write_text(TOLD)
    done = play(HOSTILE, "--diff", *words)
    said = done.stdout + done.stderr
    assert done.returncode == 2, said
    for part in (r"\x1b]0;title\x07", r"\x9b2J", r"\u202etxt\u2066", r"\x7f", "warned ", "old ", r"\x0d"):
        assert part in said
    assert re.findall("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069]", said) == []


@pytest.mark.parametrize("words", [[], ["-v"]], ids=["usual", "-v"])
def test_colours_are_ours_alone(play: Play, words: list[str]) -> None:
    text = """
- hosts: a
  gather_facts: false
  tasks:
    - name: A file holds it
      ansible.builtin.copy: {dest: "{{ folder }}/held", content: "\\u001b[31mred\\n", mode: "0600"}
"""
    said = play(text, "--diff", *words, settings={"ANSIBLE_FORCE_COLOR": "1"}).stdout
    painted = [COLOURS.sub("", line) for line in said.splitlines() if COLOURS.search(line)]
    assert r"+\x1b[31mred" in painted, said
    assert any(line.startswith(("a: changed", "a    ")) for line in painted), said
    assert "\x1b" not in COLOURS.sub("", said)
