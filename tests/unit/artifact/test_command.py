"""`make artifacts` builds what a deploy does, without a network where it has the wheels."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.p2p.cluster.module_utils.p2p_digest import release_name
from ansible_collections.p2p.cluster.plugins.plugin_utils.artifact.build import as_source
from ansible_collections.p2p.cluster.plugins.plugin_utils.artifact.shelf import Shelf
from ansible_collections.p2p.cluster.plugins.plugin_utils.artifact.supply import supply
from ansible_collections.p2p.cluster.plugins.plugin_utils.artifact.target import PLATFORMS, need

from lookup_plugins.p2p_wheel import build
from tests.support.wheels import lock, wheel

PROJECT = Path(__file__).parents[3]
# What the program asks for, in the least versions that it takes.
NEEDED = {"aiohttp": "3.9", "prometheus-client": "0.20", "psutil": "5.9", "PyYAML": "6.0"}
MUSL = "cp312-cp312-musllinux_1_2_aarch64"
# What a probe tells of nodes for which the words of the command are.
NODES: dict[str, Mapping[str, str]] = {
    "linux-x86_64": {"system": "Linux", "machine": "x86_64", "libc": "glibc 2.36"},
    "linux-aarch64-musl": {"system": "Linux", "machine": "aarch64", "libc": "musl"},
}


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """A folder of wheels for all that the program needs, one of them for a single platform and Python."""
    for name, version in NEEDED.items():
        wheel(tmp_path / "wheels", name, version)
    wheel(tmp_path / "wheels", "fast", tag=MUSL)
    return tmp_path / "wheels"


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the command as the Makefile does, with no index within reach."""
    module = "ansible_collections.p2p.cluster.plugins.plugin_utils.artifact"
    return subprocess.run(
        [sys.executable, "-m", module, *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": f"{PROJECT}/collections:{PROJECT}", "UV_OFFLINE": "1"},
    )


def test_it_builds_what_a_deploy_builds(tmp_path: Path, wheels: Path) -> None:
    text = lock(*(path for path in sorted(wheels.glob("*.whl")) if MUSL not in path.name))
    # A deploy reads a lock without the blanks at its end, and ends it with a newline.
    (tmp_path / "lock.txt").write_text(f"{text}\n\n", encoding="utf-8")
    words = ("--lock", f"{tmp_path}/lock.txt", "--wheels", str(wheels), "--to", f"{tmp_path}/out")
    platforms = (
        "--platform",
        "linux-x86_64",
        "--platform",
        "linux-aarch64-musl",
        "--platform",
        "linux-x86_64",
    )
    done = run(*words, *platforms, "--python", "3.11", "--python", "3.12")
    assert (done.returncode, done.stderr) == (0, "")

    spec: dict[str, Any] = {"lock": text, "wheel": build(PROJECT / "orchestrator"), "files": []}
    release = release_name(spec, spec["wheel"]["version"])
    source, shelf, lines = as_source(spec, release, str(wheels)), Shelf(tmp_path / "shelf"), []
    for platform in NODES.values():
        for version in ("3.11", "3.12"):
            pythons = [{"path": "/usr/bin/python3", "version": version}]
            kept = supply(source, need({"platform": platform, "pythons": pythons}, [version]), shelf)
            path = tmp_path / "out" / Path(kept.path).name
            assert path.read_bytes() == Path(kept.path).read_bytes()
            lines.append(f"{path} {kept.size} {kept.digest}")
    assert done.stdout.splitlines() == lines
    assert all(Path(line).name.startswith(release) for line in lines)


def test_what_cannot_be_built_is_one_line_and_stops_no_other(tmp_path: Path, wheels: Path) -> None:
    (tmp_path / "lock.txt").write_text(lock(*sorted(wheels.glob("*.whl"))), encoding="utf-8")
    words = ("--lock", f"{tmp_path}/lock.txt", "--wheels", str(wheels), "--to", f"{tmp_path}/out")
    done = run(*words, "--platform", "macos-arm64", "--platform", "linux-aarch64-musl", "--python", "3.12")
    assert done.returncode == 1
    assert done.stderr.startswith("error: macos-arm64, Python 3.12: fast==1.0 has no wheel for Python 3.12")
    assert done.stderr.count("\n") == 1
    assert "linux-aarch64-musl-py3.12.tar.xz " in done.stdout
    assert done.stdout.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("--platform", "linux-x86"),
            "argument --platform: 'linux-x86' is none of linux-x86_64, linux-aarch64, ",
        ),
        (("--python", "3.1"), "argument --python: '3.1' is no minor version from 3.10 on, such as 3.11"),
        (("--lock", "/nowhere/lock.txt"), "--lock: /nowhere/lock.txt: No such file or directory"),
        (("--wheels", "/nowhere"), "linux-x86_64, Python 3.11: --wheels: /nowhere is no directory"),
    ],
)
def test_a_slip_is_one_line(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    done = run("--to", f"{tmp_path}/out", *words)
    assert done.returncode != 0
    assert done.stderr.startswith(f"error: {said}")
    assert (done.stdout, done.stderr.count("\n")) == ("", 1)


def test_each_platform_is_one_that_nodes_may_have() -> None:
    firsts = {
        word: need({"platform": told, "pythons": [{"path": "", "version": "3.11"}]}, ["3.11"]).targets[0]
        for word, told in PLATFORMS.items()
    }
    assert {word: target.word.replace("-glibc-2.17", "") for word, target in firsts.items()} == {
        word: word for word in PLATFORMS
    }
