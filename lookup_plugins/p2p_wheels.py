"""Fetches the wheels of a lock on the controller, for nodes that have no way out to the package index."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

DOCUMENTATION = r"""
name: p2p_wheels
short_description: An archive of the wheels that a lock asks for on another machine
description:
  - Asks pip on the controller for the wheels, by hash, that suit the Python and the platform of a node.
  - An archive is kept by the digest of lock, Python and platform, and fetched once. A preview fetches it too,
    since only then is it known that the index has all of it.
options:
  _terms:
    description: Texts of locks.
    type: list
    elements: str
    required: true
  python:
    description: The node's Python, such as V(3.11).
    type: str
    required: true
  platform:
    description: What p2p_probe says of the node as C(platform).
    type: dict
    required: true
  folder:
    description: Folder of the archives.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: The wheels are on the node
  ansible.builtin.copy:
    src: "{{ lookup('p2p_wheels', lock, python='3.11', platform=probe.platform, folder='~/.cache/wheels') }}"
    dest: /opt/p2p-cluster/wheels/wheels.tar
    mode: "0644"
"""

RETURN = r"""
_raw:
  description: Path of an archive for each lock.
  type: list
  elements: path
"""

_PROJECT = Path(__file__).resolve().parent.parent
# Minor versions of glibc 2 that wheels are made for: the figure is the node's, each below it a word for pip.
_OLDEST_GLIBC, _NEWEST_GLIBC = 5, 99
_MACHINE = re.compile(r"[A-Za-z0-9_]{1,20}")
_PYTHON = re.compile(r"3\.[0-9]{1,2}")
_SECONDS = 300


def _requirements() -> ModuleType:
    """Return the module with the rules of markers, which nodes use too."""
    path = _PROJECT / "module_utils" / "p2p_requirements.py"
    spec = importlib.util.spec_from_file_location("p2p_requirements_shared", path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def tags(platform: Mapping[str, Any]) -> list[str]:
    """Return the platform tags that a node takes, the newest first.

    Raises:
        AnsibleError: if they are not known for its system, or it names one that there is not.
    """
    machine, libc = str(platform.get("machine")), str(platform.get("libc") or "")
    found = re.fullmatch(r"glibc 2\.([0-9]{1,3})", libc)
    if platform.get("system") != "Linux" or not (found or libc == "musl"):
        raise AnsibleError(
            f"p2p_wheels: wheels are fetched for Linux alone, not for {platform.get('system')} ({libc or 'C'}"
            " library unknown): set p2p_venv_wheels to index there, or p2p_venv_wheelhouse to a folder on it"
        )
    if not _MACHINE.fullmatch(machine):
        raise AnsibleError(
            f"p2p_wheels: the node says that its machine is {machine[:20]!r}, which no wheel is for"
        )
    if found and not _OLDEST_GLIBC <= int(found.group(1)) <= _NEWEST_GLIBC:
        raise AnsibleError(
            f"p2p_wheels: the node says that it has {libc}, and wheels are made for glibc 2.{_OLDEST_GLIBC}"
            f" to 2.{_NEWEST_GLIBC}: set p2p_venv_wheels to index there, or p2p_venv_wheelhouse to its folder"
        )
    if found is None:
        return [f"musllinux_1_{minor}_{machine}" for minor in (2, 1)]
    minors = range(int(found.group(1)), _OLDEST_GLIBC - 1, -1)
    old = ("manylinux2014", "manylinux2010", "manylinux1")
    return [f"manylinux_2_{minor}_{machine}" for minor in minors] + [f"{name}_{machine}" for name in old]


def asked(lock: str, python: str, machine: str) -> str:
    """Return the part of a lock that a Linux node with a Python installs, without its markers.

    Pip itself would weigh the markers for the controller.
    """
    rules = _requirements()
    environment = {
        "implementation_name": "cpython",
        "implementation_version": f"{python}.0",
        "os_name": "posix",
        "platform_machine": machine,
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "python_full_version": f"{python}.0",
        "python_version": python,
        "sys_platform": "linux",
    }
    kept = []
    for block in re.split(r"\n(?=[A-Za-z0-9])", "\n" + lock):
        head, newline, rest = block.strip("\n").partition("\n")
        requirement, _, marker = head.partition(";")
        marker = marker.strip().rstrip("\\").strip()
        if "==" not in requirement or (marker and not rules.marker_holds(marker, environment)):
            continue
        kept.append(f"{requirement.strip().rstrip(chr(92)).strip()} \\{newline}{rest}".rstrip())
    return "\n".join(kept) + "\n"


def archive(lock: str, python: str, platform: Mapping[str, Any], folder: Path) -> Path:
    """Return the archive of a lock's wheels for a node, fetched if it is not there.

    Raises:
        AnsibleError: if they cannot be had.
    """
    if not _PYTHON.fullmatch(python):
        raise AnsibleError(
            f"p2p_wheels: {python[:20]!r} is no Python that wheels are made for: name one with"
            " p2p_venv_python"
        )
    suits, text = tags(platform), asked(lock, python, str(platform.get("machine")))
    key = hashlib.sha256(json.dumps([text, python, suits]).encode()).hexdigest()[:24]
    folder.mkdir(parents=True, exist_ok=True)
    wanted = folder / f"{key}.tar"
    # Many nodes ask at the same time for the same.
    with (folder / f"{key}.lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not wanted.exists():
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                _fetch(text, python, suits, Path(scratch))
                fresh = Path(scratch) / "wheels.tar"
                with tarfile.open(fresh, "w") as stream:
                    for path in sorted(Path(scratch).glob("*.whl")):
                        stream.add(path, path.name, filter=_plain)
                fresh.replace(wanted)
    return wanted


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Take from a member what differs between controllers."""
    member.mtime = member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = 0o644
    return member


def _fetch(requirements: str, python: str, suits: list[str], folder: Path) -> None:
    listed = folder / "requirements.txt"
    listed.write_text(requirements)
    words = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    words += ["--require-hashes", "--only-binary=:all:", "--python-version", python, "--dest", str(folder)]
    words += [word for tag in suits for word in ("--platform", tag)]
    try:
        done = subprocess.run(
            [*words, "-r", str(listed)],
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS,
            env={**os.environ, "PIP_NO_INPUT": "1"},
        )
    except subprocess.TimeoutExpired as error:
        raise AnsibleError(f"p2p_wheels: pip on the controller took more than {_SECONDS} s") from error
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["no word"]
        raise AnsibleError(
            f"p2p_wheels: pip on the controller could not fetch the wheels for Python {python} on {suits[0]}:"
            f" {said[-1]}"
        )


class LookupModule(LookupBase):  # type: ignore[misc]  # Ansible ships no type information
    """The lookup p2p_wheels."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: object) -> list[str]:
        """Return the path of an archive for each lock in `terms`."""
        self.set_options(var_options=variables, direct=kwargs)
        folder = Path(str(self.get_option("folder"))).expanduser()
        python, platform = str(self.get_option("python")), self.get_option("platform")
        return [str(archive(str(term), python, platform, folder)) for term in terms]
