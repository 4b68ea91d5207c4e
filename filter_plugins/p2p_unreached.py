"""Why a node of a run gave no probe, in the health report's words and with its remedy."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from ansible import constants
from ansible.errors import AnsibleFilterError
from ansible.plugins.loader import connection_loader
from ansible_collections.p2p.cluster.plugins.plugin_utils.output.escape import line

PACKAGE = "p2p_health_report"
# What the state's name says is said by the list that the node stands in.
_PLAIN = ("unreachable", "not_responding")


def _part(name: str) -> ModuleType:
    """Import a part of the report: Ansible does not put a role's folders on the import path."""
    if PACKAGE not in sys.modules:
        folder = Path(__file__).resolve().parent.parent / "roles" / "p2p_health" / "report"
        spec = importlib.util.spec_from_file_location(
            PACKAGE, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        if spec is None or spec.loader is None:
            raise AnsibleFilterError(f"{folder} cannot be loaded")
        sys.modules[PACKAGE] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[PACKAGE])
    return importlib.import_module(f"{PACKAGE}.{name}")


def unreached(
    answers: Mapping[str, Mapping[str, Any]], hostvars: Mapping[str, Mapping[str, Any]]
) -> dict[str, str]:
    """Return why each node without a probe gave none; where a login is refused, with what mends it.

    Args:
        answers: The registered result of `p2p_probe` for each node of a run, by name.
        hostvars: Ansible's.
    """
    names = [name for name, answer in answers.items() if "probe" not in answer]
    connection_loader.get("ssh", class_only=True)  # its settings are known once it is loaded
    ssh = constants.config.get_config_value("ssh_args", plugin_type="connection", plugin_name="ssh")
    settings = {"here": Path.cwd(), "ssh_args": ssh, "started": 0.0, "asked": 0.0}
    known = {name: hostvars[name] for name in names}
    fleet = _part("fleet").gather(answers, known, {"p2p": names}, settings)[1]
    found = {}
    for name in names:
        finding = _part("unreached").unreached(
            _part("adapter").observe(answers[name]), fleet.hosts[name], fleet
        )
        plain = finding.state in _PLAIN
        why = line(finding.evidence)
        found[name] = why if plain else f"{finding.state}: {why}; then: {finding.remedy}"
    return found


class FilterModule:
    """Filters about nodes that did not answer."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {"p2p_unreached": unreached}
