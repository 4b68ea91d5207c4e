"""One recovery at a time from one controller: the record beside its CA."""

from __future__ import annotations

import json
import multiprocessing
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.p2p.cluster.plugins.plugin_utils.memory.recovery import (
    HeldError,
    give_back,
    look,
    take,
)
from ansible_collections.p2p.cluster.plugins.plugin_utils.memory.runs import this_run

from tests.unit.deploy.conftest import PROJECT, Playbook

RUNS = 8


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "recovery" / "p2p.json"


def run(number: int = 0, **more: Any) -> dict[str, Any]:
    """Return a run of this process, which lives."""
    mine = this_run("recover.yml")
    return {**mine, "id": f"{mine['id']}-{number}", **more}


def test_one_run_at_a_time_holds_it(path: Path) -> None:
    look(path, "p2p", run(1))
    assert not path.parent.exists()
    take(path, "p2p", run(1))
    take(path, "p2p", run(1))
    for refused in (take, look):
        with pytest.raises(HeldError) as held:
            refused(path, "p2p", run(2))
        assert held.value.record["id"] == run(1)["id"]
    give_back(path, "p2p", run(2))
    assert path.exists()
    give_back(path, "p2p", run(1))
    assert not path.exists()
    give_back(path, "p2p", run(1))
    take(path, "p2p", run(2))


def test_a_run_of_this_machine_that_has_ended_frees_it(path: Path) -> None:
    take(path, "p2p", run(1, started=1.0))
    take(path, "p2p", run(2))
    with pytest.raises(HeldError):
        take(path, "p2p", run(3))


def test_a_run_of_another_machine_is_replaced_by_its_name_alone(path: Path) -> None:
    elsewhere = run(1, place="elsewhere/0/0", started=1.0)
    take(path, "p2p", elsewhere)
    for breaking in ("", "other"):
        with pytest.raises(HeldError):
            take(path, "p2p", run(2), breaking)
    take(path, "p2p", run(2), elsewhere["id"])


@pytest.mark.parametrize("record", [None, [], {}, {"id": "; touch x"}, {"id": "a", "pid": "x"}])
def test_what_is_no_record_stops_a_run_and_stays(path: Path, record: object) -> None:
    take(path, "p2p", run(1))
    path.write_text(json.dumps({"schema": 1, "cluster": "p2p", "record": record}))
    for refused in (take, look):
        with pytest.raises(ValueError, match="is no record of a recovery of p2p"):
            refused(path, "p2p", run(2))
    give_back(path, "p2p", run(2))
    assert path.exists()


def _takes(path: Path, number: int, start: Barrier, told: Any) -> None:
    mine = run(number)
    start.wait()
    try:
        take(path, "p2p", mine)
        told.put(mine["id"])
    except HeldError as held:
        told.put("refused by " + held.record["id"])


@pytest.mark.parametrize("left", [False, True])
def test_of_runs_that_begin_at_once_exactly_one_goes_on(path: Path, left: bool) -> None:
    if left:
        take(path, "p2p", run(99, started=1.0))
    context = multiprocessing.get_context("fork")
    start, told = context.Barrier(RUNS), context.SimpleQueue()
    runs = [context.Process(target=_takes, args=(path, number, start, told)) for number in range(RUNS)]
    for one in runs:
        one.start()
    found = [told.get() for _ in runs]
    for one in runs:
        one.join(60)
    (winner,) = (one for one in found if not one.startswith("refused"))
    assert found.count(f"refused by {winner}") == RUNS - 1


FLEET = """\
hosts:
  vast-1: &host {ssh_host: 127.0.0.2, ssh_user: root, role: selfplay, status: ready, p2p_enabled: true}
  vast-2: {<<: *host, ssh_host: 127.0.0.3}
  vast-3: {<<: *host, ssh_host: 127.0.0.4}
p2p_voters: [vast-1, vast-2, vast-3]
"""


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    path = tmp_path / "distributed_hosts.yaml"
    path.write_text(FLEET)
    return path


WARN = ("-e", "p2p_voter_policy=warn")


@pytest.mark.parametrize("mode", [(), ("--check",)])
def test_a_playbook_asks_no_voter_while_another_run_recovers_and_then_leaves_nothing(
    path: Path, fleet: Path, tmp_path: Path, mode: tuple[str, ...], playbook: Playbook
) -> None:
    other = run(1, who="ann@desk", pid=7, place="elsewhere/0/0", since=5.0)
    take(path, "p2p", other)
    code, output = playbook("recover.yml", fleet, *WARN, *mode)
    assert code != 0
    assert (
        "ann@desk holds the recovery record of this controller with recover.yml, process 7, since" in output
    )
    assert "since 1970-01-01 00:00:05 UTC" in output
    assert f"add -e p2p_maintenance_break={other['id']}" in output
    assert not (tmp_path / "asked").exists()
    assert json.loads(path.read_text())["record"]["id"] == other["id"]

    code, output = playbook("recover.yml", fleet, *WARN, *mode, "-e", f"p2p_maintenance_break={other['id']}")
    assert code != 0
    assert "none of the voters answers" in output
    # A preview took nothing. A run took it, and gave it back when it was refused.
    assert path.exists() == bool(mode)


def test_a_playbook_that_stops_voters_is_refused_meanwhile(
    path: Path, fleet: Path, tmp_path: Path, playbook: Playbook
) -> None:
    take(path, "p2p", run(1, who="ann@desk", place="elsewhere/0/0"))
    play = tmp_path / "play.yml"
    words: dict[str, Any] = {
        "__playbook": "deploy.yml",
        "p2p_plan": {"voters_one_by_one": [], "quorum": {}},
        "p2p_recover_lock_file": str(path),
        "p2p_cluster": "p2p",
        "p2p_maintenance_break": "",
    }
    task = {"ansible.builtin.import_tasks": str(PROJECT / "playbooks/tasks/maintenance_begin.yml")}
    play.write_text(json.dumps([{"hosts": "voters", "gather_facts": False, "vars": words, "tasks": [task]}]))
    code, output = playbook(str(play), fleet)
    assert code != 0
    assert "ann@desk holds the recovery record of this controller" in output
    path.unlink()
    assert playbook(str(play), fleet)[0] == 0
    assert not (tmp_path / "asked").exists()
