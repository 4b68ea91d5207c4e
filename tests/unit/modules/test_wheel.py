"""The lookup that builds the orchestrator's wheel."""

from __future__ import annotations

import base64
import io
import os
import shutil
import zipfile
from pathlib import Path

import pytest
from ansible.errors import AnsibleError

from lookup_plugins.p2p_wheel import build, build_once

PACKAGE = Path(__file__).parents[2] / "integration" / "modules" / "program"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of a small package, with other times and some litter."""
    copy = tmp_path / "package"
    shutil.copytree(PACKAGE, copy, copy_function=shutil.copy)
    litter = copy / "src" / "p2p_orchestrator" / "__pycache__"
    litter.mkdir(exist_ok=True)
    (litter / "x.cpython-311.pyc").write_text("")
    return copy


def test_the_same_sources_give_the_same_bytes(package: Path) -> None:
    first, second = build(PACKAGE), build(package)
    assert first == second
    assert first["filename"] == "p2p_orchestrator-1.0.0-py3-none-any.whl"
    assert first["version"] == "1.0.0"
    names = zipfile.ZipFile(io.BytesIO(base64.b64decode(first["content"]))).namelist()
    assert "p2p_orchestrator/__main__.py" in names
    assert not [name for name in names if "pycache" in name]


def test_another_source_gives_other_bytes(package: Path) -> None:
    (package / "src" / "p2p_orchestrator" / "extra.py").write_text("")
    assert build(package)["sha256"] != build(PACKAGE)["sha256"]


def test_it_is_built_once_a_run(package: Path, tmp_path: Path) -> None:
    first = build_once(package, tmp_path)
    (package / "src" / "p2p_orchestrator" / "extra.py").write_text("")
    assert build_once(package, tmp_path) == first


def test_the_folder_and_environment_are_left_alone(monkeypatch: pytest.MonkeyPatch, package: Path) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    before = Path.cwd()
    build(package)
    assert Path.cwd() == before
    assert os.environ["SOURCE_DATE_EPOCH"] == "1700000000"


def test_broken_packages_are_named(package: Path, tmp_path: Path) -> None:
    with pytest.raises(AnsibleError, match=r"has no pyproject\.toml: give the folder"):
        build(tmp_path)
    (package / "pyproject.toml").write_text("[project\n")
    with pytest.raises(AnsibleError, match=f"{package} cannot be built: "):
        build(package)
    (package / "pyproject.toml").write_text(
        '[project]\nname = "nothing-here"\nversion = "1"\ndescription = "x"\n'
    )
    with pytest.raises(AnsibleError, match="cannot be built"):
        build(package)
