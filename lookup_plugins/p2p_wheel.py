"""Builds the orchestrator's wheel on the controller."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import functools
import hashlib
import io
import json
import logging
import os
import tempfile
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

DOCUMENTATION = r"""
name: p2p_wheel
short_description: Builds a Python package's wheel with flit_core
description:
  - Builds the wheel of a package on the controller, in-process, without a build environment or network.
  - The same sources give the same bytes on every controller, so that a release's name tells what is in it.
  - A package is built once a run, however many nodes and tasks ask for it.
options:
  _terms:
    description: Folders of packages, each with a pyproject.toml whose build backend is flit_core.
    type: list
    elements: path
    required: true
"""

EXAMPLES = r"""
- name: The orchestrator's wheel
  ansible.builtin.set_fact:
    wheel: "{{ lookup('p2p_wheel', playbook_dir ~ '/../orchestrator') }}"
"""

RETURN = r"""
_raw:
  description:
    - One dictionary a package, with C(filename), C(version), C(sha256) and C(content), the wheel in base64.
  type: list
  elements: dict
"""

# The first instant that a zip archive can hold: file times must not change a wheel's digest.
EPOCH = "315532800"


def build(folder: Path) -> dict[str, str]:
    """Build one wheel.

    Args:
        folder: the package, with its pyproject.toml.

    Returns:
        `filename`, `version`, `sha256` (hexadecimal) and `content` (base64).

    Raises:
        AnsibleError: if flit_core is missing, or the package is not one that it can build.
    """
    if not (folder / "pyproject.toml").is_file():
        raise AnsibleError(
            f"p2p_wheel: {folder} has no pyproject.toml: give the folder of the Python package"
        )
    try:
        # It ships no type information.
        from flit_core import buildapi  # type: ignore[import-untyped]  # noqa: PLC0415  missing is an answer of its own, not a broken plugin
    except ImportError as error:
        raise AnsibleError(
            "p2p_wheel: the controller lacks flit_core: pip install -r requirements/runtime.txt"
        ) from error
    with tempfile.TemporaryDirectory(prefix="p2p-wheel-") as target:
        epoch, os.environ["SOURCE_DATE_EPOCH"] = os.environ.get("SOURCE_DATE_EPOCH"), EPOCH
        try:
            # PEP 517: a backend works in the package's folder. Its chatter would land among Ansible's output.
            with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
                logging.getLogger("flit_core").setLevel(logging.ERROR)
                filename = buildapi.build_wheel(target)
        except Exception as error:
            raise AnsibleError(
                f"p2p_wheel: {folder} cannot be built: {error or type(error).__name__}"
            ) from error
        finally:
            if epoch is None:
                del os.environ["SOURCE_DATE_EPOCH"]
            else:
                os.environ["SOURCE_DATE_EPOCH"] = epoch
        filename = Path(filename).name
        content = (Path(target) / filename).read_bytes()
    return {
        "filename": filename,
        "version": filename.split("-")[1],
        "sha256": hashlib.sha256(content).hexdigest(),
        "content": base64.b64encode(content).decode("ascii"),
    }


def build_once(folder: Path, cache: Path) -> dict[str, str]:
    """Build a wheel, or take the one that another process of this run has built.

    Args:
        folder: the package.
        cache: a folder that lives as long as the run.

    Raises:
        AnsibleError: as `build`.
    """
    built = cache / f"p2p-wheel-{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}.json"
    with (cache / (built.name + ".lock")).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if built.exists():
            cached: dict[str, str] = json.loads(built.read_text())
            return cached
        wheel = build(folder)
        fresh = built.with_suffix(".new")
        fresh.write_text(json.dumps(wheel))
        fresh.replace(built)
        return wheel


_built = functools.cache(build_once)


class LookupModule(LookupBase):  # type: ignore[misc]  # Ansible ships no type information
    """The lookup."""

    def run(
        self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: object
    ) -> list[dict[str, str]]:
        """Build the wheel of each folder in `terms`."""
        self.set_options(var_options=variables, direct=kwargs)
        # Ansible's local tmp is made once a run and removed at its end; every forked worker knows it.
        cache = Path(str(constants.DEFAULT_LOCAL_TMP))
        cache.mkdir(parents=True, exist_ok=True)
        return [_built(Path(str(term)).expanduser().resolve(), cache) for term in terms]
