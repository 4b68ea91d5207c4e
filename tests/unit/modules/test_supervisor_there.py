"""Where supervisord is started from: an environment that has it, and none that lacks it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from module_utils.p2p_supervisor_text import start_words
from module_utils.p2p_supervisord import Supervisord
from module_utils.p2p_systemd import ServiceError


def test_an_environment_without_supervisor_is_named(tmp_path: Path) -> None:
    binaries = tmp_path / "release [1]" / "venv" / "bin"
    manager = Supervisord(1, {"folder": str(tmp_path / "supervisor"), "bin": str(binaries)})
    with pytest.raises(ServiceError, match=r"the environment of .*/venv/bin has no supervisor"):
        manager.bring_up("x", False, 1, 0)
    package = binaries.parent / "lib/python3.11/site-packages/supervisor"
    package.mkdir(parents=True)
    assert not manager._is_installed()
    (package / "supervisord.py").write_text("")
    assert manager._is_installed()


def test_no_module_beside_it_is_taken_for_its_own(tmp_path: Path) -> None:
    binaries = tmp_path / "bin"
    binaries.mkdir()
    (binaries / "python").write_text('#!/bin/sh\necho "$@"; env\n')
    (binaries / "python").chmod(0o755)
    words = start_words(str(binaries), "/etc/x y.conf", "/home/p2p")
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    assert said[0] == "-I -m supervisor.supervisord -c /etc/x y.conf"
    assert {line.partition("=")[0] for line in said[1:]} <= {"HOME", "PATH", "PWD", "SHLVL", "_", "OLDPWD"}
