"""An environment compared with the description that it came from, and sealed while it is as it was."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from module_utils.p2p_artifact import Artifact
from module_utils.p2p_installed import (
    check,
    check_interpreter,
    own_parts,
    packages_folder,
    seal,
    site_packages,
    unbroken,
)
from tests.support.artifacts import FILES, MINOR, artifact

MODES = {"tiny/__main__.py": "0755"}


@pytest.fixture
def wanted() -> Artifact:
    return artifact(modes=MODES)


@pytest.fixture
def site(tmp_path: Path, wanted: Artifact) -> Path:
    """The packages of an environment as installed."""
    folder = Path(packages_folder(str(tmp_path), MINOR))
    for path, item in wanted.files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(FILES[path])
        (folder / path).chmod(int(item.mode, 8))
    return folder


def problems(venv: Path, wanted: Artifact) -> list[str]:
    return [f"{item.package}: {item.why}" for item in check(str(venv), wanted)]


def test_an_environment_as_installed_has_no_problem(tmp_path: Path, site: Path, wanted: Artifact) -> None:
    assert problems(tmp_path, wanted) == []
    assert site_packages(str(tmp_path)) == str(site)
    assert site_packages(str(tmp_path / "none")) is None


Change = Callable[[Path], object]


def exchanged(site: Path) -> None:
    (site / "other.py").unlink()
    (site / "other.py").symlink_to(site / "tiny/__init__.py")


def foldered(site: Path) -> None:
    (site / "other.py").unlink()
    (site / "other.py").mkdir()


CHANGES: dict[str, tuple[Change, list[str]]] = {
    "a byte": (
        lambda site: (site / "tiny/__init__.py").write_text("VALUE = 9\n"),
        ["tiny: tiny/__init__.py differs from what was installed"],
    ),
    "a longer file": (
        lambda site: (site / "tiny/data.txt").write_text("x" * 99),
        ["tiny: tiny/data.txt differs from what was installed"],
    ),
    "a mode": (
        lambda site: (site / "tiny/__init__.py").chmod(0o666),
        ["tiny: tiny/__init__.py has the mode 0666, not 0644"],
    ),
    "a file that is not run any more": (
        lambda site: (site / "tiny/__main__.py").chmod(0o644),
        ["tiny: tiny/__main__.py has the mode 0644, not 0755"],
    ),
    "rights": (
        lambda site: (site / "other.py").chmod(0o4644),
        ["other: other.py has the mode 4644, not 0644"],
    ),
    "a file that is gone": (
        lambda site: (site / "tiny/data.txt").unlink(),
        ["tiny: tiny/data.txt is missing"],
    ),
    "a package that is gone": (lambda site: shutil.rmtree(site / "tiny"), ["tiny: missing"]),
    "a module that is gone": (lambda site: (site / "other.py").unlink(), ["other: missing"]),
    "what is said of a package": (
        lambda site: shutil.rmtree(site / "tiny-1.0.dist-info"),
        ["tiny: tiny-1.0.dist-info/METADATA is missing"],
    ),
    "a link": (exchanged, ["other: other.py is not a file"]),
    "a folder": (foldered, ["other: other.py is not a file"]),
    "a stray": (
        lambda site: (site / "sitecustomize.py").write_text(""),
        [": sitecustomize.py belongs to no package"],
    ),
    "a stray in a package": (
        lambda site: (site / "tiny/more.pth").write_text(""),
        [": tiny/more.pth belongs to no package"],
    ),
    "a link to a folder": (
        lambda site: (site / "elsewhere").symlink_to("/tmp"),  # noqa: S108
        [": elsewhere belongs to no package"],
    ),
}


@pytest.mark.parametrize(("change", "told"), CHANGES.values(), ids=CHANGES.keys())
def test_what_differs_is_named(
    tmp_path: Path, site: Path, wanted: Artifact, change: Change, told: list[str]
) -> None:
    change(site)
    assert problems(tmp_path, wanted) == told


def test_what_is_gone_or_changed_is_told_before_a_mode(tmp_path: Path, site: Path, wanted: Artifact) -> None:
    (site / "tiny/__init__.py").chmod(0o600)
    (site / "tiny/__main__.py").chmod(0o600)
    assert problems(tmp_path, wanted) == ["tiny: tiny/__init__.py has the mode 0600, not 0644 and 1 more"]
    (site / "tiny/__main__.py").write_text("x")
    (site / "tiny/data.txt").unlink()
    assert problems(tmp_path, wanted) == ["tiny: tiny/__main__.py differs from what was installed and 2 more"]


def test_bytecode_plays_no_part(tmp_path: Path, site: Path, wanted: Artifact) -> None:
    before = seal(str(tmp_path))
    for folder in (site, site / "tiny"):
        (folder / "__pycache__").mkdir()
        (folder / "__pycache__" / "x.pyc").write_text("")
    assert problems(tmp_path, wanted) == []
    assert seal(str(tmp_path)) == before


def test_only_some_strays_are_named(tmp_path: Path, site: Path, wanted: Artifact) -> None:
    for number in range(50):
        (site / f"stray{number:02}.py").write_text("")
    assert len(problems(tmp_path, wanted)) == 5


def test_an_environment_that_is_not_there_lacks_each_package(tmp_path: Path, wanted: Artifact) -> None:
    assert problems(tmp_path, wanted) == ["other: missing", "tiny: missing"]


def test_a_sealed_environment_is_unbroken_until_a_file_is_touched(tmp_path: Path, site: Path) -> None:
    sealed = seal(str(tmp_path))
    assert unbroken(str(tmp_path), sealed)
    times = (site / "other.py").stat()
    (site / "other.py").write_text("VALUE = 3\n")
    os.utime(site / "other.py", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert not unbroken(str(tmp_path), sealed)


TOUCHES: dict[str, Change] = {
    "a stray": lambda site: (site / "stray.py").write_text(""),
    "a file that is gone": lambda site: (site / "other.py").unlink(),
    "a mode": lambda site: (site / "other.py").chmod(0o666),
    "a folder's mode": lambda site: (site / "tiny").chmod(0o777),
    "a folder": lambda site: (site / "tiny/new").mkdir(),
    "a link": exchanged,
}


@pytest.mark.parametrize("touch", TOUCHES.values(), ids=TOUCHES.keys())
def test_whatever_touches_an_environment_breaks_its_seal(tmp_path: Path, site: Path, touch: Change) -> None:
    sealed = seal(str(tmp_path))
    touch(site)
    assert not unbroken(str(tmp_path), sealed)


@pytest.mark.parametrize("sealed", [None, "", "0" * 64, 7, True, []])
def test_what_is_no_seal_says_nothing(tmp_path: Path, sealed: object) -> None:
    assert not unbroken(str(tmp_path), sealed)
    assert not unbroken("/nonexistent", sealed)


def test_an_interpreter_that_cannot_run_it_is_named(tmp_path: Path) -> None:
    def why() -> str:
        return str(check_interpreter(str(tmp_path), "3.11"))

    link = tmp_path / "bin" / "python"
    assert why() == "venv/bin/python is missing"
    link.parent.mkdir()
    link.symlink_to("/nowhere/python3")
    assert why() == "venv/bin/python points to /nowhere/python3, which is gone"
    for name, told in (
        ("python3", "venv/bin/python is not executable"),
        (
            "python3.12",
            f"venv/bin/python points to {tmp_path}/python3.12, and the packages are for Python 3.11",
        ),
        ("python3.11", "None"),
    ):
        (tmp_path / name).write_text("")
        if name != "python3":
            (tmp_path / name).chmod(0o755)
        link.unlink()
        link.symlink_to(tmp_path / name)
        assert why() == told


def test_what_is_no_packages_is_compared_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").symlink_to(sys.executable)
    (tmp_path / "pyvenv.cfg").write_text("home = x\n")
    before = own_parts(str(tmp_path))
    assert before.keys() == {"bin/python", "pyvenv.cfg"}
    assert before["bin/python"] == f"-> {sys.executable}"
    (tmp_path / "bin/python").unlink()
    assert own_parts(str(tmp_path)).keys() == {"pyvenv.cfg"}
    (tmp_path / "pyvenv.cfg").chmod(0o600)
    assert own_parts(str(tmp_path))["pyvenv.cfg"].startswith("0600 ")
    (tmp_path / "pyvenv.cfg").unlink()
    assert own_parts(str(tmp_path)) == {}
