"""Action plugin: refuses settings that a run cannot mean, all of them at once, before any node is asked.

Each role's `meta/argument_specs.yml` says what its settings are. The run's own values (`-e`) are also held
against the names that there are, since Ansible ignores one that nobody reads.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible.executor.process import worker
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase
from ansible.utils.vars import load_extra_vars

PROJECT = Path(__file__).resolve().parent.parent
PREFIXES = ("p2p_", "etcd_")
SHARED = ("playbooks/group_vars/all.yml", "playbooks/vars/lab.yml")
# Settings of earlier versions that were for the nodes, and what does the same now.
GONE = {
    "p2p_venv_lock": "p2p_release_lock",
    "p2p_venv_packages": "nothing: a node needs a Python alone",
    "p2p_venv_python": "p2p_release_python",
    "p2p_venv_wheelhouse": "p2p_release_wheels, a directory on the controller",
    "p2p_venv_wheels": "nothing: the controller builds releases, and nodes ask no package index",
}
Specs = dict[str, dict[str, Any]]


def specs(project: Path = PROJECT) -> Specs:
    """Return by role what its settings are, by name."""
    files = sorted(project.glob("roles/*/meta/argument_specs.yml"))
    loaded = {file.parts[-3]: yaml.safe_load(file.read_text(encoding="utf-8")) for file in files}
    return {role: spec["argument_specs"]["main"]["options"] for role, spec in loaded.items()}


def shared(project: Path = PROJECT) -> set[str]:
    """Return the names of the settings that belong to no role."""
    return {name for file in SHARED for name in yaml.safe_load((project / file).read_text(encoding="utf-8"))}


def unknown(given: Iterable[str], known: Iterable[str]) -> list[str]:
    """Return a line for each variable that looks like a setting of this project and is none.

    Args:
        given: Names of the run's own variables.
        known: Names of all settings.
    """
    names, lines = sorted(known), []
    for name in sorted(given):
        if name.startswith(PREFIXES) and name not in names:
            near = difflib.get_close_matches(name, names, 1)
            lines.append(
                f"-e {name}: there is no such setting"
                + (
                    f", perhaps {near[0]} is meant"
                    if near
                    else "; each role's meta/argument_specs.yml lists its own"
                )
            )
    return lines


def gone(given: Iterable[str]) -> list[str]:
    """Return a line for each variable that was a setting of an earlier version and is none any more."""
    return [
        f"{name}: there is no such setting any more; in its place there is {GONE[name]}"
        for name in sorted(set(given) & set(GONE))
    ]


def invalid(role: str, spec: Mapping[str, Any], values: Mapping[str, Any]) -> list[str]:
    """Return a line for each value that a role's specification does not allow."""
    validator = ArgumentSpecValidator(spec)
    found = validator.validate({name: values[name] for name in spec if name in values})
    return [f"settings of the role {role}: {line}" for line in found.error_messages]


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible ships no type information
    """Fails with all that is wrong with the settings."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Look at the settings.

        Options of the task: `assertions`, a list of `that` (true where all is well) and `fail_msg`.
        """
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        _, options = self.validate_argument_spec(
            argument_spec={
                "assertions": {
                    "type": "list",
                    "elements": "dict",
                    "default": [],
                    "options": {
                        "that": {"type": "bool", "required": True},
                        "fail_msg": {"type": "str", "required": True},
                    },
                }
            }
        )
        roles = specs()
        inventory = worker.current_worker._variable_manager._inventory
        of_nodes = inventory.get_host(variables["inventory_hostname"]).get_vars()
        known = shared().union(*roles.values(), inventory.groups["all"].get_vars(), of_nodes)
        wrong = gone(variables) + unknown(set(load_extra_vars(self._loader)) - set(GONE), known)
        for role, spec in roles.items():
            values = self._templar.template({name: variables[name] for name in spec if name in variables})
            wrong += invalid(role, spec, values)
        wrong += [item["fail_msg"].strip() for item in options["assertions"] if not item["that"]]
        if wrong:
            result |= {"failed": True, "msg": "\n".join(wrong)}
        return result | {"changed": False}
