"""What a playbook has of artefacts: built ahead for all nodes, looked up for one, and compared."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.wheels import lock, wheel

PROJECT = Path(__file__).parents[3]
BOOK = """
- hosts: localhost
  connection: local
  gather_facts: false
  vars:
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
    names: [before, built, found, after, refusal]
  tasks:
    - name: What is known before is kept
      ansible.builtin.set_fact:
        before: "{{ lookup('p2p_artifact_digests', '1.0-a', folder=folder) }}"
    - name: What nodes lack is built
      p2p_artifacts:
        spec: {lock: "{{ locked }}"}
        release: 1.0-a
        needs: "{{ answers | p2p_needs(['3.12', '3.11']) }}"
        folder: "{{ folder }}"
        wheels: "{{ wheels }}"
      register: built
    - name: It is looked up for one
      ansible.builtin.set_fact:
        found: >-
          {{ lookup('p2p_artifact', {'lock': locked}, release='1.0-a', probe=answers.fit.probe,
                    pythons=['3.12', '3.11'], folder=folder, wheels='') }}
        after: "{{ lookup('p2p_artifact_digests', '1.0-a', folder=folder) }}"
    - name: There is none for another
      ansible.builtin.set_fact:
        never: >-
          {{ lookup('p2p_artifact', {'lock': locked}, release='1.0-a', probe=answers.old.probe,
                    pythons=['3.12', '3.11'], folder=folder, wheels='') }}
      register: refusal
      ignore_errors: true
    - name: What was found
      ansible.builtin.copy:
        content: "{{ dict(names | zip(names | map('extract', vars))) | to_json }}"
        dest: "{{ place }}/answers.json"
      check_mode: false
      diff: false
"""


def node(*versions: str, libc: str = "glibc 2.36") -> dict[str, Any]:
    """Return the answer of a node that lacks the release."""
    pythons = [
        {"path": f"/usr/bin/python{version}", "version": version, "named": False} for version in versions
    ]
    platform = {"system": "Linux", "machine": "x86_64", "libc": libc}
    drift = [{"part": "release", "name": "1.0-a", "why": "not there", "restarts": []}]
    return {"probe": {"platform": platform, "pythons": pythons, "drift": drift}}


@pytest.mark.parametrize("words", [(), ("--check",)])
def test_it_is_built_once_for_all_that_need_it(tmp_path: Path, words: tuple[str, ...]) -> None:
    path = wheel(tmp_path / "wheels", "foo")
    variables = {
        "place": str(tmp_path),
        "folder": str(tmp_path / "my artifacts"),
        "wheels": str(path.parent),
        "locked": lock(path),
        "answers": {"fit": node("3.9", "3.11"), "same": node("3.11"), "old": node("3.9")},
    }
    (tmp_path / "book.yml").write_text(BOOK)
    (tmp_path / "variables.json").write_text(json.dumps(variables))
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "book.yml"]
    done = subprocess.run(
        [*command, "-e", "@variables.json", *words],
        cwd=tmp_path,
        env={**os.environ, "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "answers.json").read_text())
    assert found["before"] == {}
    built, artifact = found["built"], found["found"]
    assert built["changed"] is False
    assert built["archives"] == [
        {
            "path": artifact["path"],
            "size": Path(artifact["path"]).stat().st_size,
            "digest": artifact["digest"],
            "for": "linux-x86_64-glibc-2.17, Python 3.11",
        }
    ]
    why = "its newest Python is 3.9, and the orchestrator needs 3.10 or newer"
    assert list(built["refused"]) == ["old"]
    assert built["refused"]["old"].startswith(why)
    assert built["refused"]["old"].endswith(". Nothing was written")
    assert artifact["packages"] == {"foo": "1.0"}
    assert found["after"] == {"linux-x86_64-glibc-2.17/3.11": artifact["digest"]}
    assert f"release 1.0-a: {why}" in found["refusal"]["msg"]
