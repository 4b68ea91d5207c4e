"""What an attack on the product found, by its number; each was there before there was a door.

Elsewhere, since they take real nodes or are about single functions: H1 (keys in the journal) and H2 (folders
that another user made) in tests/integration/modules and tests/unit/modules; what ssh offers to a node and how
much of an answer is read in tests/integration/ssh.
"""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.hostile import looks
from tests.hostile.cases import Case, said
from tests.hostile.fleet import (
    HOSTILE,
    HOSTILE_VOTER,
    NAMES,
    UNREACHABLE,
    VOTERS,
    WELL,
    Replies,
    Run,
    Sandbox,
    probe_text,
    reply,
)
from tests.hostile.payloads import CANARY, CONNECTION, MISSHAPEN, TEXTS
from tests.hostile.runs import Maker, Stage
from tests.hostile.scenarios import OLD, SCENARIOS
from tests.hostile.standin import good

Change = Callable[[dict[str, Any]], None]
ONE = HOSTILE[0]


def _one(change: Change, name: str = ONE, interpreter: str = "/usr/bin/python3") -> Maker:
    """Return what makes one node answer the probe with a changed document, and the others the truth."""

    def maker(node: str, answer: dict[str, Any], canary: str) -> Case:
        if node != name:
            return Case("true", {})
        found = copy.deepcopy(answer)
        change(found)
        return Case("changed", said(probe_text(found, interpreter), canary))

    return maker


def _each(changes: Sequence[Change], names: Sequence[str] = tuple(HOSTILE)) -> Maker:
    """Return what makes each hostile node answer the probe with a change of its own."""

    def maker(node: str, answer: dict[str, Any], canary: str) -> Case:
        return _one(changes[names.index(node)], node)(node, answer, canary)

    return maker


def _modules(**told: dict[str, Any]) -> Maker:
    """Return what makes a node's modules answer as told."""

    def maker(_node: str, _answer: dict[str, Any], canary: str) -> Case:
        texts = {name: json.dumps(answer).replace(CANARY, canary) + "\n" for name, answer in told.items()}
        return Case("modules", {name: [reply(text)] for name, text in texts.items()})

    return maker


def _set(path: str, value: Any) -> Change:
    def change(answer: dict[str, Any]) -> None:
        keys = path.split(".")
        holder: Any = answer["probe"]
        for key in keys[:-1]:
            holder = holder[int(key) if isinstance(holder, list) else key]
        holder[keys[-1]] = value

    return change


def _report(run: Run) -> dict[str, Any]:
    assert (run.report / "health.json").exists(), run.output
    report: dict[str, Any] = json.loads((run.report / "health.json").read_text(encoding="utf-8"))
    return report


def _row(run: Run, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(row for row in _report(run)["nodes"] if row["node_id"] == name)
    return found


@pytest.mark.parametrize("key", ["add_host", "ansible_facts"])
def test_c1_a_result_changes_no_other_node(key: str, stage: Stage) -> None:
    told = {"host_name": VOTERS[1], "host_vars": CONNECTION} if key == "add_host" else CONNECTION
    maker = _one(lambda answer: answer.update({key: told}))
    run, sandbox, _ = stage.play("remove", True, maker)
    assert looks.files(run, sandbox.canary) == []
    assert looks.others(run, stage.alone("remove", True), HOSTILE) == []


def test_c1_neither_does_that_of_a_module(stage: Stage) -> None:
    control = {"add_host": {"host_name": VOTERS[1], "host_vars": CONNECTION}, "ansible_facts": CONNECTION}
    modules = ("user", "file", "p2p_service", "p2p_release")

    def maker(name: str, answer: dict[str, Any], canary: str) -> Case:
        module = modules[HOSTILE.index(name)]
        told = {**good.answer(module, good.PARAMS), **control}
        return _modules(**{module: told})(name, answer, canary)

    run, sandbox, _ = stage.play("remove", False, maker)
    assert looks.files(run, sandbox.canary) == []
    assert looks.others(run, stage.alone("remove", False), HOSTILE) == []


# Each node by another of Ansible's own modules, which Ansible would obey if it saw their answers.
@pytest.mark.parametrize("scenario", ["deploy", "remove"])
def test_a_module_of_ansibles_own_ends_no_run_and_tells_of_no_other_node(scenario: str, stage: Stage) -> None:
    shapes = [MISSHAPEN[name] for name in ("statistics", "a plan", "a verdict", "numbers")]

    def maker(name: str, answer: dict[str, Any], canary: str) -> Case:
        told = {"changed": True, **shapes[HOSTILE.index(name)]}
        return _modules(user=told, file=told, copy=told, getent=told)(name, answer, canary)

    run, _, _ = stage.play(scenario, False, maker)
    assert looks.ended_badly(run) == []
    assert "not-a-node" not in run.output
    assert f"{scenario}.yml: " in run.output
    assert re.search(r"^  (changed|failed) +\d", run.output, re.MULTILINE), "the summary is there"
    assert looks.others(run, stage.alone(scenario, False), HOSTILE) == []


def test_a_difference_of_many_lines_holds_nobody_up(stage: Stage) -> None:
    long = {"before": "a\n" * 70_000, "after": "b\na\n" * 70_000}
    told = {**good.answer("p2p_service", good.PARAMS), "diff": [long]}
    maker = _modules(p2p_service=told, p2p_release={"changed": True, "diff": [long] * 3})
    run, _, _ = stage.play("deploy", True, maker)
    assert looks.ended_badly(run) == []
    # Other tests may have the processors meanwhile.
    assert run.processor < 60


def test_c3_a_snapshot_is_fetched_without_a_shell(stage: Stage) -> None:
    snapshot = {**good.answer("p2p_etcd_snapshot", good.PARAMS)["snapshot"], "path": TEXTS["sftp line"]}
    maker = _modules(p2p_etcd_snapshot={"changed": True, "snapshot": snapshot})
    run, sandbox, _ = stage.play("voters-via", False, maker)
    assert any(line["kind"] == "p2p_etcd_snapshot" for line in sandbox.asked(VOTERS[0])), run.output
    assert looks.files(run, sandbox.canary) == []


def test_c3_what_a_voter_holds_is_fetched_without_a_shell(stage: Stage) -> None:
    salvaged = good.answer("p2p_etcd_salvage", good.PARAMS)["salvaged"]
    for kind in ("found", "prepared"):
        salvaged[kind] |= {"path": TEXTS["sftp line"]}
    maker = _modules(p2p_etcd_salvage={"changed": True, "salvaged": salvaged})
    run, sandbox, _ = stage.play("recover-from", False, maker)
    assert any(line["kind"] == "p2p_etcd_salvage" for line in sandbox.asked(VOTERS[1])), run.output
    assert looks.files(run, sandbox.canary) == []


@pytest.mark.parametrize("scenario", ["voters-via", *(["recover-from"] if os.environ.get("FULL") else [])])
def test_c3_a_temporary_folder_is_not_where_a_node_says(scenario: str, stage: Stage) -> None:
    def maker(_node: str, _answer: dict[str, Any], canary: str) -> Case:
        folder = f"/etc/x' {canary}"
        return Case("folder", {"shell": [reply(f"ansible-tmp-1-2-3={folder}\n")]})

    run, sandbox, _ = stage.play(scenario, False, maker)
    assert looks.files(run, sandbox.canary) + looks.ended_badly(run) == []


@pytest.mark.parametrize("asked_before", [0, 1])
def test_c4_a_leader_that_one_voter_names_stops_a_recovery(asked_before: int, stage: Stage) -> None:
    def maker(_node: str, answer: dict[str, Any], _canary: str) -> Case:
        found = copy.deepcopy(answer)
        found["probe"]["etcd"]["leader"] = found["probe"]["etcd"]["members"][0]["id"]
        return Case("a leader", {"probe": [WELL] * asked_before + [reply(probe_text(found))]})

    run, sandbox, _ = stage.play("recover-from", False, maker)
    assert run.code != 0
    assert f"{VOTERS[1]} names hetzner-v" in run.output
    assert "This controller may be cut off from the others" in run.output
    touched = {line["kind"] for name in VOTERS[:2] for line in sandbox.asked(name)}
    assert not touched & {"p2p_service", "p2p_etcd_salvage", "p2p_etcd_restore"}


@pytest.mark.parametrize("last", [reply(good.LARGE), UNREACHABLE], ids=["too-much", "silence"])
@pytest.mark.parametrize(
    ("scenario", "module", "lost"),
    [("recover-from", "p2p_recovery_record", VOTERS[1]), ("voters-via", "p2p_maintenance", VOTERS[0])],
)
def test_a_run_that_loses_a_node_which_it_needs_says_so(
    scenario: str, module: str, lost: str, last: dict[str, Any], stage: Stage
) -> None:
    run, _, _ = stage.play(scenario, False, lambda *_: Case("lost", {module: [last]}))
    assert looks.ended_badly(run) == []
    failed = SCENARIOS[scenario].playbook
    assert re.search(rf"\n{failed} failed: [^\n]+: {lost} is not reached: [^\n]+\n\Z", run.output), run.output


def test_h4_a_pasted_command_is_one_command(stage: Stage) -> None:
    def change(answer: dict[str, Any]) -> None:
        answer["probe"]["processes"] = []
        owner = {
            "name": TEXTS["shell quote"],
            "cmdline": TEXTS["shell quote"],
            "owner": TEXTS["shell quotes"],
        }
        answer["probe"]["listener"] = {**owner, "pid": TEXTS["shell quote"], "orchestrator": False}
        for page in answer["probe"]["http"].values():
            page |= {"status": None, "body": None}
        answer["probe"]["services"]["p2p_orchestrator"] |= {"active": "inactive", "sub": "dead", "pid": None}

    run, sandbox, _ = stage.play("health", False, _one(change))
    row = _row(run, ONE)
    pasted = [row["remedy"], *(item["remedy"] for item in row["also"])]
    for name in ("ssh", "ansible-playbook", "sudo", "systemctl"):
        (sandbox.folder / "tmp" / name).write_text("#!/bin/sh\n")
        (sandbox.folder / "tmp" / name).chmod(0o755)
    for line in filter(None, pasted):
        subprocess.run(
            ["/bin/sh", "-c", line],
            cwd=sandbox.folder / "cwd",
            env={
                "PATH": ":".join([str(sandbox.folder / "tmp"), "/usr/bin", "/bin"]),
                "HOME": f"{sandbox.folder}/home",
            },
            check=False,
            capture_output=True,
            timeout=20,
        )
    assert not sandbox.canary.exists(), pasted


def test_h5_no_text_of_a_node_is_part_of_the_page(stage: Stage) -> None:
    paths = (
        "http.status.body.alive_peers",
        "http.status.body.term",
        "http.health.body.term",
        "disk.used_percent",
    )
    maker = _each([_set(path, TEXTS["image with code"]) for path in paths])
    run, _, _ = stage.play("health", False, maker)
    assert looks.reports(run, stage.alone("health", False)) == []


def test_h5_no_term_of_a_voter_is_part_of_the_page(stage: Stage) -> None:
    change = _set("http.status.body.term", TEXTS["image with code"])
    run, _, _ = stage.play("health-voter", False, _one(change, HOSTILE_VOTER))
    assert looks.reports(run, stage.alone("health-voter", False)) == []


def test_h5_a_listener_that_is_not_ours_is_no_voter(stage: Stage) -> None:
    def change(answer: dict[str, Any]) -> None:
        answer["probe"]["listener"] = {
            "pid": 7,
            "name": "nginx",
            "cmdline": "nginx",
            "owner": "www-data",
            "orchestrator": False,
        }
        answer["probe"]["processes"] = []

    run, _, _ = stage.play("health-voter", False, _one(change, HOSTILE_VOTER))
    assert HOSTILE_VOTER not in _report(run)["cluster"]["voters"]["alive"]


@pytest.mark.parametrize("name", [ONE, HOSTILE_VOTER])
def test_a_false_digest_of_the_ca_ends_no_run(name: str, stage: Stage) -> None:
    scenario = "deploy" if name == ONE else "deploy-voter"
    change = _set("digests", {"/etc/ringrift/tls/ca.crt": "0" * 64})
    run, _, _ = stage.play(scenario, True, _one(change, name))
    assert run.end["set"][VOTERS[2]].get("p2p_outcome", {}).get("state") == "changed", run.output


@pytest.mark.parametrize("playbook", ["health", "deploy"])
def test_a_wrong_type_ends_no_run(playbook: str, stage: Stage) -> None:
    wrong: dict[str, Any] = {
        "services.p2p_orchestrator.restarts": "x",
        "clock": "x",
        "http.status.body.leader_id": [],
        "release.built": "x",
    }
    run, _, _ = stage.play(playbook, True, _each([_set(path, value) for path, value in wrong.items()]))
    assert looks.ended_badly(run) == []
    assert {name: run.answer(name).get("untrusted") for name in HOSTILE} == dict.fromkeys(HOSTILE, True)
    assert looks.others(run, stage.alone(playbook, True), HOSTILE) == []
    if playbook == "health":
        states = {name: _row(run, name)["state"] for name in HOSTILE}
        assert states == dict.fromkeys(HOSTILE, "untrusted_answer")


def test_no_text_of_a_node_controls_the_terminal(stage: Stage) -> None:
    def says(text: str) -> Change:
        def change(answer: dict[str, Any]) -> None:
            answer["probe"]["processes"].append(
                {"kind": "manual", "pid": 7, "cmdline": text, "age_seconds": 1, "owner": "a", "unit": None}
            )
            answer["probe"]["watchdogs"] = [{"path": "/etc/crontab", "line": text}]
            answer["probe"]["services"]["p2p_orchestrator"]["log"] = [text]
            answer["probe"]["errors"] = {"disk": text}

        return change

    names = (
        "colour",
        "clipboard",
        "hyperlink",
        "CSI of eight bits",
        "bidi",
        "carriage return",
        "title",
        "NUL",
    )
    told = [f"python {TEXTS[name]}" for name in names]
    run, _, _ = stage.play("health-some", False, _each([says(text) for text in told], NAMES[len(VOTERS) :]))
    assert {_row(run, name)["state"] for name in NAMES[len(VOTERS) :]} == {"legacy_service"}
    assert looks.terminal(run) == []


def test_one_node_chooses_no_release_for_all(stage: Stage) -> None:
    newer, older = "9.9.9-ffffffffffff", "0.0.1-ffffffffffff"

    def change(answer: dict[str, Any]) -> None:
        release = answer["probe"]["release"]
        release |= {"name": newer, "previous": older, "available": [older], "built": {newer: 9e9, older: 8e9}}

    run, _, _ = stage.play("rollback", True, _one(change))
    assert run.end["set"][VOTERS[0]]["p2p_rollback"]["name"] == OLD
    assert looks.others(run, stage.alone("rollback", True), HOSTILE) == []


def test_one_node_s_interpreter_is_not_that_of_others(stage: Stage) -> None:
    lacking: Replies = {"*": [reply("", stderr="sh: 1: python3: not found\n", rc=127)]}

    def maker(node: str, answer: dict[str, Any], canary: str) -> Case:
        if node != ONE:
            return Case("no interpreter", lacking)
        return Case("its own", said(probe_text(answer, "/opt/mine/python3"), canary))

    run, _, _ = stage.play("health-all", False, maker)
    known = {name: run.end["facts"].get(name, {}).get("discovered_interpreter_python") for name in NAMES}
    assert [name for name, path in known.items() if path == "/opt/mine/python3" and name != ONE] == []


def test_a_c_library_of_many_digits_is_believed_by_nobody(stage: Stage) -> None:
    change = _set("platform.libc", "glibc 2.2000000")
    run, _, _ = stage.play("health", False, _one(change))
    assert _row(run, ONE)["state"] == "untrusted_answer"


def test_no_link_of_a_node_is_one_in_markdown(stage: Stage) -> None:
    def change(answer: dict[str, Any]) -> None:
        answer["probe"]["processes"].append(
            {
                "kind": "manual",
                "pid": 7,
                "age_seconds": 1,
                "owner": "a",
                "unit": None,
                "cmdline": TEXTS["Markdown link"],
            }
        )

    run, _, _ = stage.play("health", False, _one(change))
    assert "192.0.2.1" in json.dumps(_row(run, ONE))
    assert looks.reports(run, stage.alone("health", False)) == []


@pytest.mark.parametrize("path", ['~/x"; touch @CANARY@; "', "~/x$(touch @CANARY@)", "~/x`touch @CANARY@`"])
def test_a_path_of_the_fleet_file_is_no_command(path: str, tmp_path: Path) -> None:
    """A path reaches a node's settings and commands, which a shell reads: the fleet file is refused."""
    sandbox = Sandbox(tmp_path / "s")
    file = sandbox.folder / "fleet/distributed_hosts.yaml"
    given = path.replace(CANARY, str(sandbox.canary))
    file.write_text(
        file.read_text().replace(
            "ringrift_path: ~/ringrift/ai-service", f"ringrift_path: {json.dumps(given)}"
        )
    )
    run = sandbox.run("deploy.yml", "--check", "--diff")
    assert run.code != 0
    assert "ringrift_path" in run.output
    assert not sandbox.canary.exists()
