"""A `check` of a Molecule scenario after `converge` fails on any change that it foretells."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).parents[3]
DEPLOYED_ELSEWHERE = {"identity", "known_issues", "recover", "upgrade", "voters"}
"""Scenarios that begin with a deploy which the others preview and repeat."""
PLAY = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.copy: {dest: "{{ folder }}/made", content: x, mode: "0600"}
"""


@pytest.mark.parametrize(
    ("converged", "made", "words", "code"),
    [
        (False, False, ["--check"], 0),
        (True, False, ["--check"], 1),
        (True, True, ["--check"], 0),
        (True, False, [], 0),
    ],
    ids=["before converge", "after converge", "nothing to do", "no preview"],
)
def test_a_preview_after_converge_may_foretell_nothing(
    tmp_path: Path, converged: bool, made: bool, words: list[str], code: int
) -> None:
    config = yaml.safe_load((PROJECT / ".config/molecule/config.yml").read_text())
    settings = {
        name: str(value).replace("${MOLECULE_PROJECT_DIRECTORY}", str(PROJECT))
        for name, value in config["provisioner"]["env"].items()
        if "CALLBACK" in name
    }
    (tmp_path / "state.yml").write_text(f"converged: {converged}\n".lower())
    (tmp_path / "play.yml").write_text(PLAY)
    if made:
        (tmp_path / "made").write_text("x")
        (tmp_path / "made").chmod(0o600)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    done = subprocess.run(
        [
            *(str(Path(sys.executable).with_name("ansible-playbook")), str(tmp_path / "play.yml")),
            *("-i", "localhost,", "-c", "local", f"-efolder={tmp_path}", *words),
            f"-eansible_python_interpreter={sys.executable}",
        ],
        cwd=tmp_path,
        env={**clean, **settings, "MOLECULE_STATE_FILE": str(tmp_path / "state.yml")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert ("still foretells changes: localhost (1)" in done.stdout) is bool(code)


def test_scenarios_preview_before_converge_and_after_idempotence() -> None:
    shared = yaml.safe_load((PROJECT / ".config/molecule/config.yml").read_text())
    for scenario in (PROJECT / "molecule").glob("*/molecule.yml"):
        own = yaml.safe_load(scenario.read_text()).get("scenario", {})
        steps = own.get("test_sequence", shared["scenario"]["test_sequence"])
        if scenario.parent.name in DEPLOYED_ELSEWHERE:
            assert not {"check", "idempotence"} & {*steps}, scenario
            continue
        first, second = (place for place, step in enumerate(steps) if step == "check")
        assert first < steps.index("converge") < steps.index("idempotence") < second, scenario
