"""Whether the run that holds a record is alive, and how it is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
from ansible_collections.p2p.cluster.plugins.plugin_utils.memory.runs import is_gone, recovers, this_run

from module_utils.p2p_recovery_record import hold, read

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


def test_who_recovers_is_told_in_words_that_can_be_pasted() -> None:
    record = {
        "id": "desk-1-2",
        "who": "a\x1b[2J@b\nok: [v1]",
        "playbook": "recover.yml",
        "since": 5.0,
        "pid": 7,
    }
    told = recovers(record, "of this voter")
    assert told.startswith("a\\x1b[2J@b ok: [v1] holds the recovery record of this voter with recover.yml")
    assert "process 7, since 1970-01-01 00:00:05 UTC (desk-1-2)" in told
    assert "No other run stops voters meanwhile" in told
    assert told.endswith("add -e p2p_maintenance_break=desk-1-2")


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


def test_a_voter_that_another_run_recovers_is_not_started(tmp_path: Path) -> None:
    """Its services are stopped because its store is made anew, and a deploy would take them for failed."""
    record = tmp_path / "recovery" / "p2p.json"
    steps = [
        {"ansible.builtin.import_tasks": f"{PROJECT}/playbooks/tasks/no_recovery.yml"},
        {"ansible.builtin.file": {"path": f"{tmp_path}/started", "state": "touch", "mode": "0600"}},
    ]
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "vars": {"p2p_recover_record": str(record), "etcd_wanted": True, "p2p_maintenance_break": ""},
        "tasks": steps,
    }
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    other = {
        "id": "desk-1-2",
        "who": "ann@desk",
        "playbook": "recover.yml",
        "since": 5.0,
        "place": "desk/1/2",
        "pid": 7,
        "started": 5.0,
    }

    def run(*words: str) -> tuple[int, str]:
        done = subprocess.run(
            [
                Path(sys.executable).with_name("ansible-playbook"),
                *("-i", "localhost,", "-c", "local", "play.yml", "-e"),
                json.dumps({"ansible_python_interpreter": sys.executable}),
                *words,
            ],
            cwd=tmp_path,
            env={**os.environ, "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        return done.returncode, " ".join((done.stdout + done.stderr).split())

    hold(str(record), other, "", anew=True)
    code, output = run()
    assert code != 0
    assert "ann@desk holds the recovery record of this voter with recover.yml" in output
    assert not (tmp_path / "started").exists()
    assert read(str(record)) == other
    code, output = run("-e", "p2p_maintenance_break=desk-1-2")
    assert code == 0, output
    assert (tmp_path / "started").exists()
    assert read(str(record)) == other, "a look takes nothing"
