"""Whether the run that holds the maintenance record is alive."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

from filter_plugins.p2p_run import is_gone, this_run

PROJECT = Path(__file__).parents[3]


def test_a_run_is_the_same_in_every_task_and_knows_itself_alive() -> None:
    mine = this_run("deploy.yml")
    assert mine == this_run("deploy.yml")
    assert not is_gone(mine)
    assert mine["id"] and "@" in mine["who"]


def test_a_run_that_ended_is_gone() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        record = {**this_run("x"), "pid": process.pid, "started": psutil.Process(process.pid).create_time()}
        assert not is_gone(record)
        process.communicate(b"\n")
    assert is_gone(record)


def test_a_process_id_that_was_given_out_again_is_another_run() -> None:
    mine = this_run("x")
    assert is_gone({**mine, "started": mine["started"] - 3600})


def test_a_run_of_another_machine_is_never_called_gone() -> None:
    assert not is_gone({**this_run("x"), "place": "elsewhere/0/0", "pid": 2**22 + 1})
    assert not is_gone(None)


def test_all_tasks_of_a_play_name_the_playbooks_own_process(tmp_path: Path) -> None:
    playbook = tmp_path / "play.yml"
    task: dict[str, Any] = {
        "ansible.builtin.copy": {
            "content": "{{ 'x' | p2p_this_run | to_json }}",
            "dest": f"{tmp_path}/{{{{ item }}}}",
        },
        "loop": ["a", "b"],
    }
    playbook.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": [task]}]))
    process = subprocess.Popen(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", "localhost,", "-c", "local", playbook],
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(tmp_path),
            "ANSIBLE_FILTER_PLUGINS": str(PROJECT / "filter_plugins"),
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        },
        stdout=subprocess.PIPE,
        text=True,
    )
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    found = [json.loads((tmp_path / name).read_text()) for name in "ab"]
    assert found[0] == found[1]
    assert found[0]["pid"] == process.pid
