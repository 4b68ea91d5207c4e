"""Ansible's own modules run for real, behind the door, on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).parents[3]
BOOK = """
- hosts: localhost
  connection: local
  gather_facts: false
  vars:
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
    names: [written, again, mode, sent, read, ran, failed, root, nobody, gone]
  tasks:
    - name: It is written
      p2p_builtin: {copy: {dest: "{{ folder }}/a", content: "one\\n", mode: "0640"}}
      register: written
    - name: It is written again
      p2p_builtin: {copy: {dest: "{{ folder }}/a", content: "one\\n", mode: "0640"}}
      register: again
    - name: Its mode alone differs
      p2p_builtin: {copy: {dest: "{{ folder }}/a", content: "one\\n", mode: "0600"}}
      register: mode
    - name: A file is sent
      p2p_builtin: {copy: {src: "{{ folder }}/sent", dest: "{{ folder }}/to/", directory_mode: "0755"}}
      register: sent
    - name: It is read
      p2p_builtin: {slurp: {src: "{{ folder }}/there"}}
      register: read
    - name: A program runs
      p2p_builtin: {command: {argv: [echo, "a  b"]}}
      register: ran
    - name: A program fails
      p2p_builtin: {command: {argv: [ls, /nowhere]}}
      register: failed
      failed_when: false
    - name: Who is root is known
      p2p_builtin: {getent: {database: passwd, key: root, fail_key: false}}
      register: root
    - name: Nobody has this name
      p2p_builtin: {getent: {database: passwd, key: p2p-nobody, fail_key: false}}
      register: nobody
    - name: It is gone
      p2p_builtin: {file: {path: "{{ item }}", state: absent}}
      loop: ["{{ folder }}/there", "{{ folder }}/never"]
      register: gone
    - name: What was answered
      ansible.builtin.copy:
        content: "{{ dict(names | zip(names | map('extract', vars))) | to_json }}"
        dest: "{{ folder }}/answers.json"
      check_mode: false
      diff: false
"""


def played(folder: Path, *words: str) -> tuple[dict[str, Any], str]:
    """Run the tasks; return what each registered, and the output."""
    (folder / "there").write_text("text\n")
    (folder / "sent").write_bytes(b"\0\1")
    (folder / "book.yml").write_text(BOOK)
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "book.yml"]
    done = subprocess.run(
        [*command, "-e", f"folder={folder}", *words],
        cwd=folder,
        env={**os.environ, "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads((folder / "answers.json").read_text())
    return found, done.stdout


@pytest.mark.parametrize("words", [(), ("--diff",), ("--check", "--diff")])
def test_modules_answer_as_they_do_without_the_door(tmp_path: Path, words: tuple[str, ...]) -> None:
    found, output = played(tmp_path, *words)
    check = "--check" in words
    assert not [name for name, one in found.items() if one.get("untrusted")], found
    assert found["written"]["changed"] is True
    assert found["again"]["changed"] is check
    assert found["mode"]["changed"] is True
    assert found["sent"]["changed"] is True
    assert found["read"]["content"] == "dGV4dAo="
    assert found["ran"]["stdout"] == ("" if check else "a  b")
    assert check or "No such file" in found["failed"]["msg"]
    assert found["root"]["entry"][4].startswith("/")
    assert found["nobody"]["entry"] is None
    assert [one["changed"] for one in found["gone"]["results"]] == [True, False]
    assert (tmp_path / "there").exists() is check
    assert check or (tmp_path / "a").stat().st_mode & 0o777 == 0o600
    assert check or (tmp_path / "to/sent").read_bytes() == b"\0\1"
    if "--diff" in words:
        assert "+one" in output
        assert "-state: file" in output
        assert check or "-mode: 0640\n+mode: 0600" in output
