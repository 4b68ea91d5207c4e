"""Action plugin: gives a node that has no Python the one of its distribution, with a shell alone."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.p2p.cluster.plugins.plugin_utils.door.texts import line

DOCUMENTATION = r"""
name: p2p_bootstrap
short_description: Installs Python on a node that has none
description:
  - Runs a shell script on the node, as root or through sudo without a password, which looks for apt-get, dnf
    or apk and installs python3. A node that has a python3 is left as it is.
  - In check mode the script only says what it would do.
options:
  timeout:
    description: Seconds that the installation may take.
    type: int
    default: 600
"""

EXAMPLES = r"""
- name: The node has a Python
  p2p_bootstrap:
"""

RETURN = r"""
actions:
  description: What was done or would be done, such as C(install python3 with apt-get).
  type: list
  elements: str
  returned: success
"""

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "node-python"
_ANSWER = re.compile(r"^p2p-bootstrap: (there|install|refused|failed) ?(.*)$", re.MULTILINE)
# Of what a node says, in characters.
MOST = 500


def answer(output: str, code: int, said: str) -> dict[str, Any]:
    """Return the result that a run of the script stands for.

    Args:
        output: what it printed.
        code: its exit code.
        said: what it printed to standard error.
    """
    found = _ANSWER.findall(output)
    if not found:
        reason = (said or output).strip().splitlines()[-1:] or [f"exit code {code} and no word"]
        told = line(reason[0], MOST)
        return {"failed": True, "msg": f"no Python, and the shell that would install one says: {told}"}
    kind, text = found[-1][0], line(found[-1][1], MOST)
    if kind in ("refused", "failed"):
        return {"failed": True, "msg": text}
    changed = kind == "install"
    diff = {
        "before_header": "python",
        "after_header": "python",
        "before": "",
        "after": "python3\n" if changed else "",
    }
    return {"changed": changed, "actions": [f"install {text}"] if changed else [], "diff": [diff]}


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible ships no type information
    """Runs the script."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Install Python, or say what would be.

        Returns:
            What is documented above.
        """
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, options = self.validate_argument_spec(argument_spec={"timeout": {"type": "int", "default": 600}})
        words = ["preview" if self._task.check_mode else "install", str(options["timeout"])]
        # As an argument: its standard input may be sudo's.
        command = " ".join(["sh", "-c", shlex.quote(SCRIPT.read_text()), "node-python", *words])
        done = self._low_level_execute_command(command)
        return result | answer(done["stdout"], done["rc"], done["stderr"])
