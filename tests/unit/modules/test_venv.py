"""Environments checked file by file, interpreters, and pip's failures in short."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from module_utils.p2p_python import OLDEST, PythonError, ask, candidates, choose
from module_utils.p2p_run import Outcome, last_lines, run
from module_utils.p2p_venv import (
    check_interpreter,
    check_packages,
    describe,
    installed,
    pip_failure,
    unbroken,
)


def install(venv: Path, name: str, version: str, files: dict[str, str]) -> None:
    """Put a package into an environment as pip does."""
    site = venv / "lib" / "python3.11" / "site-packages"
    info = site / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nName: no\n")
    rows = [f"{info.name}/METADATA,,", f"{info.name}/RECORD,,"]
    for path, text in files.items():
        (site / path).parent.mkdir(exist_ok=True)
        (site / path).write_text(text)
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        rows.append(f"{path},sha256={digest},{len(text)}")
    (info / "RECORD").write_text("\n".join(rows) + "\n")


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    """An environment of two packages."""
    install(tmp_path, "Foo_Bar", "1.0", {"foo/__init__.py": "a = 1\n", "foo/x.py": ""})
    install(tmp_path, "other", "2.0", {"other.py": ""})
    return tmp_path


WANTED = {"foo-bar": "1.0", "other": "2.0"}


def problems(
    venv: Path, wanted: dict[str, str] | None = None, records: dict[str, str] | None = None
) -> list[str]:
    return [
        f"{item.package}: {item.why}" for item in check_packages(str(venv), wanted or WANTED, records or {})
    ]


def test_an_environment_as_installed(venv: Path) -> None:
    assert problems(venv) == []
    assert describe(str(venv))["packages"] == WANTED
    assert problems(venv, records=describe(str(venv))["records"]) == []


def test_a_sealed_environment_is_unbroken_until_a_file_is_touched(venv: Path) -> None:
    site = venv / "lib" / "python3.11" / "site-packages"
    sealed = describe(str(venv))["seal"]
    assert unbroken(str(venv), sealed)
    (site / "foo" / "__pycache__").mkdir()
    (site / "foo" / "__pycache__" / "x.pyc").write_text("")
    assert unbroken(str(venv), sealed)

    same = (site / "other.py").read_bytes()
    times = (site / "other.py").stat()
    (site / "other.py").write_bytes(same[:-1] + b"#")
    os.utime(site / "other.py", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert not unbroken(str(venv), sealed)


@pytest.mark.parametrize(
    "touch",
    [
        lambda site: (site / "stray.py").write_text(""),
        lambda site: (site / "other.py").unlink(),
        lambda site: (site / "other.py").chmod(0o666),
        lambda site: (site / "foo").chmod(0o777),
        lambda site: (site / "foo" / "new").mkdir(),
    ],
)
def test_whatever_touches_an_environment_breaks_its_seal(venv: Path, touch: Callable[[Path], object]) -> None:
    sealed = describe(str(venv))["seal"]
    touch(venv / "lib" / "python3.11" / "site-packages")
    assert not unbroken(str(venv), sealed)


def test_what_is_wrong_already_is_not_sealed(venv: Path) -> None:
    (venv / "lib" / "python3.11" / "site-packages" / "other.py").chmod(0o666)
    assert describe(str(venv))["seal"] == ""
    assert not unbroken(str(venv), "")
    assert not unbroken("/nonexistent", "0" * 64)


def test_what_differs_is_named(venv: Path) -> None:
    site = venv / "lib" / "python3.11" / "site-packages"
    records = describe(str(venv))["records"]
    (site / "foo" / "__pycache__").mkdir()
    (site / "foo" / "__pycache__" / "x.pyc").write_text("")
    assert problems(venv) == []
    (site / "foo" / "__init__.py").write_text("a = 2\n")
    assert "foo/__init__.py differs from what was installed" in problems(venv)[0]
    (site / "foo" / "x.py").unlink()
    assert problems(venv)[0].endswith("and 1 more")
    (site / "other.py").chmod(0o666)
    assert "other.py is writable by others (0666)" in problems(venv)[1]
    (site / "other.py").chmod(0o600)
    assert "not readable by all" in problems(venv)[1]
    (site / "other.py").chmod(0o644)
    with (site / "other-2.0.dist-info" / "RECORD").open("a") as record:
        record.write("\n")
    assert problems(venv, records=records)[1] == "other: its RECORD differs from what was installed"
    (site / "sitecustomize.py").write_text("")
    assert problems(venv)[-1] == ": lib/python3.11/site-packages/sitecustomize.py belongs to no package"


def test_packages_that_are_missing_other_or_too_many(venv: Path) -> None:
    assert problems(venv, {"foo-bar": "1.1", "gone": "1"}) == [
        "foo-bar: 1.0, not 1.1",
        "other: 2.0 does not belong here",
        "gone: missing",
    ]
    assert installed(str(venv / "none")) == {}


def test_an_interpreter_that_cannot_run(tmp_path: Path) -> None:
    assert check_interpreter(str(tmp_path)) == "venv/bin/python is missing"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to("/nowhere/python3")
    assert "points to /nowhere/python3, which is gone" in str(check_interpreter(str(tmp_path)))
    (tmp_path / "bin" / "python").unlink()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    assert check_interpreter(str(tmp_path)) == "venv/pyvenv.cfg is missing"
    (tmp_path / "pyvenv.cfg").write_text("")
    assert check_interpreter(str(tmp_path)) is None


def test_this_interpreter_answers() -> None:
    found = ask(sys.executable)
    assert found.version == sys.version_info[:3]
    assert found.markers["python_full_version"] == ".".join(map(str, sys.version_info[:3]))
    assert found.in_venv == (sys.prefix != sys.base_prefix)


def fake_python(path: Path, version: str, *, venv: bool) -> None:
    path.parent.mkdir(exist_ok=True)
    answer: dict[str, object] = {"venv": venv, "in_venv": False, "pip_wheel": "/x/pip.whl", "executable": "x"}
    answer["markers"] = {"python_full_version": version}
    path.write_text(f"#!/bin/sh\necho '{json.dumps(answer)}'\n")
    path.chmod(0o755)


@pytest.fixture
def path_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the only place where interpreters are looked for."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/nonexistent")
    monkeypatch.setattr("module_utils.p2p_python._FOLDERS", ())
    monkeypatch.setattr(
        "module_utils.p2p_python.glob.glob",
        lambda pattern: (
            sorted(map(str, Path(pattern).parent.glob("python3*")))
            if "*" not in str(Path(pattern).parent)
            else []
        ),
    )
    return tmp_path / "bin"


def test_the_newest_that_can_make_environments(path_only: Path) -> None:
    fake_python(path_only / "python3.9", "3.9.1", venv=True)
    fake_python(path_only / "python3.10", "3.10.1", venv=True)
    fake_python(path_only / "python3.12", "3.12.1", venv=False)
    fake_python(path_only / "python3.10-config", "3.10.1", venv=True)
    assert [Path(path).name for path in candidates()] == ["python3.12", "python3.10", "python3.9"]
    assert choose().path == str(path_only / "python3.10")
    (path_only / "python3.10").unlink()
    with pytest.raises(
        PythonError, match=r"lacks venv or ensurepip: install the package .*python3\.12-venv|distribution"
    ):
        choose()
    (path_only / "python3.12").unlink()
    with pytest.raises(PythonError, match=r"no Python 3\.10 or newer found \(.*python3\.9 is 3\.9\.1\)"):
        choose()
    (path_only / "python3.9").unlink()
    with pytest.raises(PythonError, match="none at all"):
        choose()
    assert OLDEST == (3, 10)


def test_an_environment_on_the_path_does_not_hide_the_python_that_it_links_to(
    path_only: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_python(path_only / "python3.11", "3.11.1", venv=True)
    linked = tmp_path / "app" / "bin" / "python3"
    linked.parent.mkdir(parents=True)
    linked.symlink_to(path_only / "python3.11")
    (tmp_path / "app" / "pyvenv.cfg").write_text("home = x\n")
    monkeypatch.setenv("PATH", f"{linked.parent}:{path_only}")
    assert candidates() == [str(path_only / "python3.11")]


def test_a_python_that_does_not_run(tmp_path: Path) -> None:
    with pytest.raises(PythonError, match=r"does not run|No such file"):
        choose(str(tmp_path / "python3"))


@pytest.mark.parametrize(
    ("err", "words"),
    [
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", "renew the lock"),
        (
            "WARNING: Retrying: NewConnectionError('...')\nERROR: No matching distribution found for x==1",
            "not reached",
        ),
        (
            "ERROR: Could not find a version that satisfies x==1 (from versions: none)",
            "no wheel for this Python",
        ),
        (
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
            "free space",
        ),
        ("", "no output"),
    ],
)
def test_pip_failures_name_the_remedy(err: str, words: str) -> None:
    text = pip_failure(Outcome(1, "", err), None)
    assert words in text
    assert "Remedy" in text


def test_a_failure_with_a_wheelhouse() -> None:
    assert "missing from /w" in pip_failure(Outcome(1, "", "ERROR: No matching distribution found"), "/w")


def test_commands_end() -> None:
    assert run(["sh", "-c", "echo a; echo b >&2; exit 3"], 5) == Outcome(3, "a\n", "b\n")
    assert "no end after" in run(["sh", "-c", "sleep 30 & sleep 30"], 0.2).err
    assert run(["/no/such/program"], 1).code is None
    assert last_lines("a\n\nb\nc" + "d" * 500, 2, 5) == "b\ncdddd"
