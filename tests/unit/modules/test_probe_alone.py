"""The probe as its action plugin sends it: one shell command, run here for real."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from typing import Any

import pytest

from action_plugins.p2p_probe import command, parsed, payload
from module_utils.p2p_probe_options import OPTIONS, with_paths
from module_utils.p2p_probe_parts import is_well

PARAMS = {name: option.get("default") for name, option in OPTIONS.items()}


def _run(*interpreters: str, **given: Any) -> subprocess.CompletedProcess[bytes]:
    words = ["sh", "-c", "echo 'a banner'; " + command(list(interpreters))]
    return subprocess.run(words, input=payload({**PARAMS, **given}), capture_output=True, check=False)


def test_the_first_interpreter_that_is_there_runs_it() -> None:
    done = _run("/nonexistent/python3", sys.executable, port=1, root="/opt/~odd 'name'", digests=["/none"])
    found = parsed(done.stdout.decode())
    assert found is not None, done.stderr
    interpreter, answer = found
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
    found = parsed(done.stdout.decode())
    assert found is not None, done.stderr
    assert found[1]["probe"]["errors"] == {}


def test_without_an_interpreter_there_is_no_answer() -> None:
    done = _run("/nonexistent/python3")
    assert done.returncode == 127
    assert parsed(done.stdout.decode()) is None


def test_etcd_is_asked_where_it_is_wanted() -> None:
    found = parsed(_run(sys.executable, etcd={"endpoint": "http://127.0.0.1:1"}).stdout.decode())
    assert found is not None
    assert "refused" in found[1]["probe"]["etcd"]["error"]


@pytest.mark.parametrize(
    "output",
    ["", "banner\n", 'p2p-probe:/usr/bin/python3\n{"changed": fal', "p2p-probe:/usr/bin/python3\n[1]\n"],
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
