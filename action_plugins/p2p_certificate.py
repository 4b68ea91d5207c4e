"""Action plugin: runs the module p2p_certificate in Ansible's own process.

It works on the controller's own files. A module is packed, started and loaded for each call, which takes
several times what there is to do, and every run waits for it before the first node is asked.
"""

from __future__ import annotations

import datetime as dt
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import ansible.module_utils
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

PROJECT = Path(__file__).resolve().parent.parent


def _module() -> ModuleType:
    """Load the module, whose imports are found as they are when Ansible has packed it."""
    parts = str(PROJECT / "module_utils")
    if parts not in ansible.module_utils.__path__:
        ansible.module_utils.__path__.append(parts)
    path = PROJECT / "library" / "p2p_certificate.py"
    spec = importlib.util.spec_from_file_location("p2p_certificate_module", path)
    if spec is None or spec.loader is None:
        raise AnsibleActionFail(f"{path} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible ships no type information
    """Runs p2p_certificate."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module.

        Returns:
            What p2p_certificate documents.

        Raises:
            AnsibleActionFail: cryptography is missing, or something is refused.
        """
        result: dict[str, Any] = super().run(tmp, task_vars)
        module = _module()
        if not module.HAS_CRYPTOGRAPHY:
            raise AnsibleActionFail(
                "the controller lacks cryptography: pip install -r requirements/runtime.txt"
            )
        params = self.validate_argument_spec(argument_spec=module.arguments())[1]
        try:
            found: dict[str, Any]
            found, warnings = module.run(
                params, check_mode=self._task.check_mode, now=dt.datetime.now(dt.timezone.utc)
            )
        except module.CertificateError as error:
            raise AnsibleActionFail(str(error)) from None
        if warnings:
            result["warnings"] = warnings
        return result | found
