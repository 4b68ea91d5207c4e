"""The maintenance record in a real etcd: one run at a time, and a stale one broken by name alone."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest

from module_utils.p2p_store import Key

PROJECT = Path(__file__).parents[3]
ALICE = {"id": "alice-1", "who": "alice@laptop", "playbook": "deploy.yml", "since": 1.0}
BOB = {"id": "bob-1", "who": "bob@desk", "playbook": "rollback.yml", "since": 2.0}


class Record:
    """The module, run by Ansible on this machine against the store."""

    def __init__(self, endpoint: str, home: Path) -> None:
        self.endpoint, self.home = endpoint, home
        self.key = Key({"endpoint": endpoint}, "/p2p/lab/maintenance", 5)

    def __call__(self, state: str, run: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        """Return the module's answer; `check` runs it in check mode."""
        check = ["--check"] if more.pop("check", False) else []
        words = {
            "state": state,
            "cluster": "lab",
            "etcd": {"endpoint": self.endpoint},
            "run": run or {},
            **more,
        }
        environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(self.home),
            "ANSIBLE_LIBRARY": str(PROJECT / "library"),
            "ANSIBLE_MODULE_UTILS": str(PROJECT / "module_utils"),
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        }
        ansible = [
            str(Path(sys.executable).with_name("ansible")),
            "-i",
            "localhost,",
            "-c",
            "local",
            "-o",
            *check,
        ]
        done = subprocess.run(
            [*ansible, "localhost", "-m", "p2p_maintenance", "-a", json.dumps(words)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert "=>" in done.stdout, done.stdout + done.stderr
        answer: dict[str, Any] = json.loads(done.stdout.split("=>", 1)[1])
        return {**answer, "failed": done.returncode != 0}


@pytest.fixture
def record(member: tuple[str, str], tmp_path: Path) -> Record:
    return Record(member[0], tmp_path)


def test_one_run_at_a_time_holds_it(record: Record) -> None:
    assert record("read")["record"] is None
    assert record("held", ALICE)["record"]["who"] == "alice@laptop"
    refused = record("held", BOB)
    assert refused["failed"]
    assert "alice@laptop holds the maintenance record with deploy.yml" in refused["msg"]
    assert "-e p2p_maintenance_break=alice-1" in refused["msg"]
    assert not record("held", ALICE)["failed"]
    record("released", BOB)
    assert record("read")["record"]["id"] == "alice-1"
    record("released", ALICE)
    assert record("read")["record"] is None


def test_a_stale_one_is_broken_by_its_name_alone(record: Record) -> None:
    record("held", ALICE)
    assert record("held", BOB, breaking="alice-0")["failed"]
    assert record("held", BOB, breaking="alice-1")["record"]["id"] == "bob-1"
    lost = record("held", ALICE)
    assert lost["failed"]
    assert "bob@desk" in lost["msg"]


def test_a_preview_takes_nothing_and_is_refused_alike(record: Record) -> None:
    assert not record("held", ALICE, check=True)["failed"]
    assert record.key.read().value is None
    record("held", ALICE)
    assert record("held", BOB, check=True)["failed"]
    record("released", ALICE, check=True)
    assert record.key.read().value is not None


def test_a_write_loses_against_a_later_one(record: Record) -> None:
    entry = record.key.read()
    assert record.key.write(ALICE, entry.revision)
    assert not record.key.write(BOB, entry.revision)
    assert record.key.read().value == ALICE
    assert not record.key.remove(entry.revision)


def test_a_store_that_does_not_answer_for_a_moment_is_asked_again(
    record: Record, member: tuple[str, str]
) -> None:
    (process,) = (one for one in psutil.process_iter(["cmdline"]) if member[1] in (one.info["cmdline"] or ()))
    process.suspend()
    later = threading.Timer(6, process.resume)
    later.start()
    try:
        answer = record("held", ALICE, timeout=1, seconds=60)
    finally:
        later.join()
    assert not answer["failed"], answer
    assert answer["record"]["id"] == "alice-1"


def test_a_store_that_is_down_is_named(record: Record) -> None:
    record.endpoint = "http://127.0.0.1:9"
    answer = record("held", ALICE, seconds=1)
    assert answer["failed"]
    assert "http://127.0.0.1:9 does not answer" in answer["msg"]
