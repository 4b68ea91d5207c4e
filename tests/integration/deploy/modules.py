"""One of the project's modules or action plugins, run by Ansible on this machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[3]


def call(name: str, words: dict[str, Any], home: Path, *, check: bool = False) -> dict[str, Any]:
    """Return what a module answers, with `failed`.

    Args:
        name: The module's.
        words: Its parameters.
        home: A directory of the test's own.
        check: Run it in check mode.
    """
    environment = {
        "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
        "HOME": str(home),
        "ANSIBLE_LIBRARY": str(PROJECT / "library"),
        "ANSIBLE_MODULE_UTILS": str(PROJECT / "module_utils"),
        "ANSIBLE_ACTION_PLUGINS": str(PROJECT / "action_plugins"),
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
    }
    ansible = [str(Path(sys.executable).with_name("ansible")), "-i", "localhost,", "-c", "local", "-o"]
    done = subprocess.run(
        [*ansible, *["--check"] * check, "localhost", "-m", name, "-a", json.dumps(words)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert "=>" in done.stdout, done.stdout + done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.split("=>", 1)[1])
    return {**answer, "failed": done.returncode != 0}
