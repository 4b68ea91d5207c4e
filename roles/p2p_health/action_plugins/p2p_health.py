"""Action plugin: makes the health report out of what the probes registered. Runs on the controller alone."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from ansible import constants
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.color import stringc
from ansible.utils.display import Display

PACKAGE = "p2p_health_report"
_VERDICTS = {"critical": ("critical",), "degraded": ("critical", "degraded")}


def _package() -> None:
    """Make roles/p2p_health/report importable: Ansible does not put a role's folders on the import path."""
    if PACKAGE in sys.modules:
        return
    folder = Path(__file__).resolve().parent.parent / "report"
    spec = importlib.util.spec_from_file_location(
        PACKAGE, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None:
        raise AnsibleActionFail(f"{folder} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules[PACKAGE] = module
    spec.loader.exec_module(module)


def _part(name: str) -> ModuleType:
    _package()
    return importlib.import_module(f"{PACKAGE}.{name}")


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible ships no type information
    """Makes the report, or says first who has to be asked again."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Make the report.

        Returns:
            With `again`, if an election is under way, the `nodes` that have to be asked once more, and no
            report. Otherwise the `verdict`, and `failed` with a `msg` if it is as bad as `fail_on` or worse.

        Raises:
            AnsibleActionFail: No node was asked, or a file cannot be written.
        """
        super().run(tmp, task_vars)
        variables = task_vars or {}
        arguments = self.validate_argument_spec(
            argument_spec={
                "again": {"type": "bool", "default": False},
                "started": {"type": "float", "required": True},
                "settings": {"type": "dict", "default": {}},
                "report_dir": {"type": "path", "required": True},
                "history": {"type": "int", "default": 0},
                "fail_on": {"type": "str", "choices": ["critical", "degraded"], "default": "critical"},
            }
        )[1]
        ssh = constants.config.get_config_value("ssh_args", plugin_type="connection", plugin_name="ssh")
        settings = {
            "here": Path.cwd(),
            "ssh_args": ssh,
            "started": arguments["started"],
            "asked": time.time(),
            **arguments["settings"],
        }
        asked = (variables.get("p2p_health_nodes") or {}).get("nodes", {})
        answers, fleet = _part("fleet").gather(asked, variables["hostvars"], variables["groups"], settings)
        again = _part("build").election_under_way(answers, fleet) if arguments["again"] else []
        if again:
            return {"changed": False, "nodes": again}
        if not answers:
            raise AnsibleActionFail(
                "No node was asked: the run holds no node of the group p2p (status ready and p2p_enabled)."
                " `ansible-inventory --graph` shows the groups."
            )
        report = _part("build").report(answers, fleet)
        folder = Path(arguments["report_dir"])
        try:
            _part("write").write(report, fleet, folder, arguments["history"])
        except OSError as error:
            raise AnsibleActionFail(f"the report cannot be written to {folder}: {error}") from error
        Display().display(
            "\n" + "\n".join(_part("terminal").table(report, stringc)) + f"\n{folder}/health.json"
        )
        verdict = report["cluster"]["verdict"]
        summary = f"{verdict}: {report['cluster']['summary']}"
        return {
            "changed": False,
            "failed": verdict in _VERDICTS[arguments["fail_on"]],
            "verdict": verdict,
            "msg": summary,
        }
