"""The probe as its action plugin sends it: one shell command, run here for real."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from typing import Any

import pytest
from ansible_collections.p2p.cluster.plugins.plugin_utils.door.read import probe

from action_plugins.p2p_probe import command, parsed, payload
from module_utils.p2p_probe_options import OPTIONS, with_paths
from module_utils.p2p_probe_parts import is_well

PARAMS = {name: option.get("default") for name, option in OPTIONS.items()}


def _run(*interpreters: str, **given: Any) -> subprocess.CompletedProcess[bytes]:
    words = ["sh", "-c", "echo 'a banner'; " + command(list(interpreters))]
    return subprocess.run(words, input=payload({**PARAMS, **given}), capture_output=True, check=False)


def _answer(output: bytes) -> tuple[str, dict[str, Any]]:
    found = parsed(output.decode())
    assert found is not None, output
    return found[0], json.loads(found[1])


def test_the_first_interpreter_that_is_there_runs_it() -> None:
    done = _run("/nonexistent/python3", sys.executable, port=1, root="/opt/~odd 'name'", digests=["/none"])
    interpreter, answer = _answer(done.stdout)
    assert interpreter == answer["probe"]["python"]["path"] == sys.executable
    assert answer["probe"]["digests"] == {"/none": None}
    assert answer["probe"]["errors"] == {}
    assert answer["probe"]["http"]["status"]["status"] is None


def test_an_interpreter_of_another_version_compiles_the_texts() -> None:
    params = {**PARAMS, "port": 1}
    head, _, rest = payload(params).partition(b"\n")
    magic, *lengths = head.split()
    assert magic.decode() == importlib.util.MAGIC_NUMBER.hex()
    compiled = bytes(int(lengths[0]))  # is not even looked at
    other = b" ".join([b"00000000", *lengths]) + b"\n" + compiled + rest[int(lengths[0]) :]
    words = ["sh", "-c", command([sys.executable])]
    done = subprocess.run(words, input=other, capture_output=True, check=False)
    assert _answer(done.stdout)[1]["probe"]["errors"] == {}


def test_without_an_interpreter_there_is_no_answer() -> None:
    done = _run("/nonexistent/python3")
    assert done.returncode == 127
    assert parsed(done.stdout.decode()) is None


def test_etcd_is_asked_where_it_is_wanted() -> None:
    _, answer = _answer(_run(sys.executable, etcd={"endpoint": "http://127.0.0.1:1"}).stdout)
    assert "refused" in answer["probe"]["etcd"]["error"]


def test_what_this_machine_answers_passes_the_door() -> None:
    etcd = {"endpoint": "http://127.0.0.1:1"}
    _, answer = _answer(_run(sys.executable, port=1, digests=["/etc/hostname"], etcd=etcd).stdout)
    found = probe(answer["probe"], {**PARAMS, "digests": ["/etc/hostname"]})
    raw = answer["probe"]
    for key in ("disk", "memory", "platform", "python", "pythons", "processes", "user", "release", "errors"):
        assert found[key] == raw[key]
    # The door's schema and what a node answers have the same parts.
    assert found.keys() == raw.keys()
    for name, service in raw["services"].items():
        assert found["services"][name] == service


@pytest.mark.parametrize(
    "output",
    ["", "banner\n", "a banner without an end p2p-probe:/usr/bin/python3\n{}\n"],
)
def test_what_is_no_answer(output: str) -> None:
    assert parsed(output) is None


def test_paths_are_those_of_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    found = with_paths({**PARAMS, "root": "~/p2p", "digests": ["$HOME/ca.crt"], "service": "~"})
    assert (found["root"], found["digests"], found["service"]) == ("/home/me/p2p", ["/home/me/ca.crt"], "~")


UNIT = {"load": "loaded", "active": "active", "restarts": 0}
WELL: dict[str, Any] = {
    "services": {
        "p2p_orchestrator": UNIT,
        "ringrift-p2p": {**UNIT, "load": "not-found", "active": "inactive"},
    },
    "http": {"status": {"status": 200}},
    "etcd": None,
}


@pytest.mark.parametrize(
    ("given", "well"),
    [
        ({}, True),
        ({"services": {"p2p_orchestrator": {**UNIT, "active": "failed"}}}, False),
        ({"services": {"p2p_orchestrator": {**UNIT, "restarts": 3}}}, False),
        ({"http": {"status": {"status": None}}}, False),
        ({"http": None}, False),
        ({"etcd": {"error": "timed out"}}, False),
    ],
)
def test_journals_are_read_where_something_is_wrong(given: dict[str, Any], well: bool) -> None:
    assert is_well(WELL | given) is well
