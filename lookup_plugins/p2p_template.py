"""Renders a file with the variables of a host, without a copy of them all."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase
from ansible.template import trust_as_template

DOCUMENTATION = r"""
name: p2p_template
short_description: Renders a template file with a host's variables
description:
  - Does what P(ansible.builtin.template#lookup) does by default, for files of a full path.
  - That one copies all variables of the host at each call, which in a fleet of 1,000 nodes costs each of them
    seconds, since the certificates of all nodes are among the variables.
options:
  _terms:
    description: Full paths of template files.
    type: list
    elements: path
    required: true
"""

EXAMPLES = r"""
- name: The unit's text
  ansible.builtin.set_fact:
    unit: "{{ lookup('p2p_template', role_path ~ '/templates/p2p_orchestrator.service.j2') }}"
"""

RETURN = r"""
_raw:
  description: The rendered texts.
  type: list
  elements: str
"""


class LookupModule(LookupBase):  # type: ignore[misc]  # Ansible ships no type information
    """Renders files."""

    def run(
        self, terms: list[str], variables: MutableMapping[str, Any] | None = None, **_: object
    ) -> list[str]:
        """Return the rendered text of each file.

        Raises:
            AnsibleError: a file cannot be read, or its template fails.
        """
        # In layers: a copy would render all variables.
        layers = [variables] if variables else []
        known = ChainMap(*layers, {"ansible_managed": constants.DEFAULT_MANAGED_STR})
        return [self._rendered(Path(term), known) for term in terms]

    def _rendered(self, path: Path, variables: ChainMap[str, Any]) -> str:
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise AnsibleError(f"p2p_template: {path} cannot be read: {error.strerror}") from error
        templar = self._templar.copy_with_new_env(available_variables=variables)
        return str(templar.template(trust_as_template(text), escape_backslashes=False))
