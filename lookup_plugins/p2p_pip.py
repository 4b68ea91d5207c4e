"""Gives nodes whose Python brings no pip the one that came with the controller's."""

from __future__ import annotations

import base64
import hashlib
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

DOCUMENTATION = r"""
name: p2p_pip
short_description: The wheel of pip that came with the controller's Python
description:
  - What C(ensurepip) would install, for nodes whose Python lacks it. No network is asked.
options: {}
"""

EXAMPLES = r"""
- name: A release on a node without python3-venv
  p2p_release:
    root: /opt/p2p-cluster
    name: 1.0-a
    lock: "{{ lookup('file', 'node.txt') }}"
    pip: "{{ lookup('p2p_pip') }}"
"""

RETURN = r"""
_raw:
  description: One dictionary with C(filename), C(version), C(sha256) and C(content), the wheel in base64.
  type: list
  elements: dict
"""


def bundled() -> dict[str, str]:
    """Return the wheel: `filename`, `version`, `sha256` (hexadecimal) and `content` (base64).

    Raises:
        AnsibleError: if this Python came without one.
    """
    ensurepip = find_spec("ensurepip")
    folders = [sysconfig.get_config_var("WHEEL_PKG_DIR"), "/usr/share/python-wheels"]
    if ensurepip is not None and ensurepip.origin:
        folders.insert(0, str(Path(ensurepip.origin).parent / "_bundled"))
    wheels = [path for folder in folders if folder for path in sorted(Path(folder).glob("pip-*.whl"))]
    if not wheels:
        raise AnsibleError(
            f"p2p_pip: the controller's Python ({sys.executable}) came without pip's wheel: install"
            " its package python3-venv, or python3-venv on the nodes that lack it"
        )
    content = wheels[-1].read_bytes()
    return {
        "filename": wheels[-1].name,
        "version": wheels[-1].name.split("-")[1],
        "sha256": hashlib.sha256(content).hexdigest(),
        "content": base64.b64encode(content).decode("ascii"),
    }


class LookupModule(LookupBase):  # type: ignore[misc]  # Ansible ships no type information
    """The lookup p2p_pip."""

    def run(self, *_: object, **__: object) -> list[dict[str, str]]:
        """Return the wheel."""
        return [bundled()]
