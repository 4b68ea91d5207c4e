"""The interpreters of a node: which there are, what they say, and the one that runs a release."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from module_utils.p2p_node import describe_pythons
from module_utils.p2p_python import PythonError, ask, candidates, choose, version_by_name
from module_utils.p2p_run import Outcome, last_lines, run
from tests.support.artifacts import MINOR


def fake_python(path: Path, version: str, *, in_venv: bool = False, implementation: str = "cpython") -> Path:
    """Write a script that says what an interpreter would."""
    path.parent.mkdir(parents=True, exist_ok=True)
    answer: dict[str, object] = {"in_venv": in_venv, "base": str(path), "implementation": implementation}
    answer["version"] = [int(part) for part in version.split(".")]
    path.write_text(f"#!/bin/sh\necho '{json.dumps(answer)}'\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def path_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the only place where interpreters are looked for."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:relative:/nonexistent")
    monkeypatch.setattr("module_utils.p2p_python._FOLDERS", ())
    monkeypatch.setattr("module_utils.p2p_python.glob.glob", lambda _: [])
    return tmp_path / "bin"


def test_this_interpreter_answers() -> None:
    found = ask(sys.executable)
    assert found.version == sys.version_info[:3]
    assert found.in_venv == (sys.prefix != sys.base_prefix)
    assert version_by_name(found.base) in (None, MINOR)
    assert Path(found.base).exists()
    assert "pyvenv.cfg" not in {path.name for path in Path(found.base).parent.parent.iterdir()}


def test_the_base_has_its_version_in_its_name_where_there_is_such_a_one(tmp_path: Path) -> None:
    real = fake_python(tmp_path / "python3.11", "3.11.2")
    link = tmp_path / "python3"
    link.symlink_to(real.name)
    real.write_text(real.read_text().replace(f'"base": "{real}"', f'"base": "{link}"'))
    assert ask(str(link)).base == str(real)
    # What lies elsewhere may move with an upgrade.
    other = fake_python(tmp_path / "elsewhere" / "python3.12", "3.12.1")
    link.unlink()
    link.symlink_to(other)
    other.write_text(other.read_text().replace(f'"base": "{other}"', f'"base": "{link}"'))
    assert ask(str(link)).base == str(link)


def test_those_are_found_that_run_and_the_newest_first(path_only: Path) -> None:
    for name, version in (("python3.9", "3.9.1"), ("python3.10", "3.10.1"), ("python3.12", "3.12.1")):
        fake_python(path_only / name, version)
    fake_python(path_only / "python3.10-config", "3.10.1")
    (path_only / "python3.14").write_text("")
    (path_only / "python3").symlink_to("python3.12")
    (path_only / "python").symlink_to("python3.12")
    assert [version_by_name(path) for path in candidates()] == ["3.12", "3.10", "3.9"]


def test_an_environment_on_the_path_does_not_hide_the_python_that_it_links_to(
    path_only: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_python(path_only / "python3.11", "3.11.1")
    linked = tmp_path / "app" / "bin" / "python3"
    linked.parent.mkdir(parents=True)
    linked.symlink_to(path_only / "python3.11")
    (tmp_path / "app" / "pyvenv.cfg").write_text("home = x\n")
    monkeypatch.setenv("PATH", f"{linked.parent}:{path_only}")
    assert candidates() == [str(path_only / "python3.11")]


def test_the_one_that_the_packages_are_for_is_chosen(path_only: Path) -> None:
    for version in ("3.10", "3.11", "3.12"):
        fake_python(path_only / f"python{version}", f"{version}.1")
    assert choose("3.11").path == str(path_only / "python3.11")
    with pytest.raises(PythonError) as refused:
        choose("3.13")
    assert str(refused.value) == (
        "no Python 3.13 found, which the packages are for ("
        + "; ".join(f"{path_only}/python3.{minor}" for minor in (12, 11, 10))
        + ")"
    )


def test_one_whose_name_does_not_tell_its_version_is_asked(path_only: Path) -> None:
    fake_python(path_only / "python3", "3.11.4")
    assert choose("3.11").version == (3, 11, 4)
    with pytest.raises(PythonError, match=r"no Python 3\.10 found.*python3 is 3\.11\.4\)"):
        choose("3.10")


def test_one_whose_name_lies_is_not_chosen(path_only: Path) -> None:
    fake_python(path_only / "python3.11", "3.9.1")
    with pytest.raises(PythonError, match=r"python3\.11 is 3\.9\.1\)"):
        choose("3.11")


def test_one_of_an_environment_is_chosen_only_where_it_was_named(path_only: Path) -> None:
    path = str(fake_python(path_only / "python3.11", "3.11.1", in_venv=True))
    with pytest.raises(PythonError, match=r"python3\.11 is 3\.11\.1 of a virtual environment"):
        choose("3.11")
    assert choose("3.11", path).path == path


def test_where_there_is_none_it_is_said(path_only: Path) -> None:
    with pytest.raises(PythonError, match="none at all"):
        choose("3.11")
    with pytest.raises(PythonError, match=r"does not run: .*No such file"):
        choose("3.11", str(path_only / "python3"))


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("exit 3", "does not run: no output"),
        ("echo 'bad interpreter' >&2; exit 1", "does not run: bad interpreter"),
        ("echo hello", "is no Python: it said 'hello"),
        ("echo '{}'", "is no Python"),
        ("echo '[1]'", "is no Python"),
        ("exec sleep 20", "no end after 0.3 s"),
    ],
)
def test_what_is_no_python_is_named(tmp_path: Path, script: str, why: str) -> None:
    path = tmp_path / "python3"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    with pytest.raises(PythonError) as refused:
        ask(str(path), 0.3)
    assert why in str(refused.value)


def test_another_implementation_is_not_taken(tmp_path: Path) -> None:
    path = fake_python(tmp_path / "python3.11", "3.11.1", implementation="pypy")
    with pytest.raises(PythonError, match="is pypy, and packages are for CPython"):
        ask(str(path))


def test_the_named_one_is_described_before_all_others(path_only: Path, tmp_path: Path) -> None:
    fake_python(path_only / "python3.12", "3.12.1")
    broken = path_only / "python3"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    mine = str(fake_python(tmp_path / "mine" / "py", "3.10.1"))
    others = [
        {"path": str(path_only / "python3.12"), "version": "3.12", "named": False},
        {"path": str(broken), "version": None, "named": False},
    ]
    assert describe_pythons() == others
    assert describe_pythons(mine) == [{"path": mine, "version": "3.10", "named": True}, *others]
    assert describe_pythons(str(tmp_path / "none"))[0] == {
        "path": str(tmp_path / "none"),
        "version": None,
        "named": True,
    }
    assert [item["path"] for item in describe_pythons(str(broken))] == [
        str(broken),
        str(path_only / "python3.12"),
    ]


def test_a_script_that_is_named_like_a_python_is_asked(path_only: Path) -> None:
    fake_python(path_only / "python3.14", "3.13.1")
    shim = path_only / "python3.13"
    shim.write_text("#!/bin/sh\necho 'pyenv: python3.13: command not found' >&2; exit 127\n")
    shim.chmod(0o755)
    (path_only / "python3.12").write_bytes(b"\x7fELF")
    (path_only / "python3.12").chmod(0o755)
    found = {Path(str(item["path"])).name: item["version"] for item in describe_pythons()}
    assert found == {"python3.14": "3.13", "python3.13": None, "python3.12": "3.12"}


def test_commands_end() -> None:
    assert run(["sh", "-c", "echo a; echo b >&2; exit 3"], 5) == Outcome(3, "a\n", "b\n")
    assert "no end after" in run(["sh", "-c", "sleep 30 & sleep 30"], 0.2).err
    assert run(["/no/such/program"], 1).code is None
    assert last_lines("a\n\nb\nc" + "d" * 500, 2, 5) == "b\ncdddd"


@pytest.mark.skipif(os.geteuid() != 0, reason="others ask what they like")
@pytest.mark.parametrize("whose", ["its own", "its folder", "above", "a link", "a group's", "anybody's"])
def test_root_asks_no_interpreter_that_others_may_exchange(path_only: Path, whose: str) -> None:
    python, ran = fake_python(path_only / "python3", "3.11.2"), path_only / "ran"
    python.write_text(python.read_text() + f": >{ran}\n")
    path_only.chmod(0o755)
    assert [item["version"] for item in describe_pythons()] == ["3.11"]
    ran.unlink()
    theirs = path_only.parent / "theirs"
    theirs.mkdir()
    if whose == "anybody's":
        path_only.chmod(0o777)
    elif whose == "a group's":
        os.chown(path_only, 0, 65534)
        path_only.chmod(0o775)
    elif whose == "a link":
        # Root's link and root's program, and between them a link in a folder of another user's.
        python.rename(path_only / "real")
        (theirs / "l").symlink_to(path_only / "real")
        python.symlink_to(theirs / "l")
        os.chown(theirs, 65534, 65534)
    else:
        place = {"its own": python, "its folder": path_only, "above": path_only.parent}[whose]
        os.chown(place, 65534, 65534)
    assert [item["version"] for item in describe_pythons()] == [None]
    assert not ran.exists()
    assert describe_pythons(str(python))[0]["version"] == "3.11", "the operator names it"
