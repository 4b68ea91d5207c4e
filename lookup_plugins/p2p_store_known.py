"""Reads the controller's memory of the cluster's store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.plugins.lookup import LookupBase
from ansible.utils.display import Display
from ansible_collections.p2p.cluster.plugins.plugin_utils.memory.store import recall

DOCUMENTATION = r"""
name: p2p_store_known
short_description: The cluster's store, as this controller last saw it work
description:
  - Reads what the action p2p_store_memory keeps.
  - A file that is none of this cluster's is not used, with a warning.
options:
  _terms:
    description: Paths of such files.
    type: list
    elements: path
    required: true
  cluster:
    description: Name of the cluster.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: The change
  ansible.builtin.set_fact:
    quorum: "{{ answers | p2p_store_quorum(voters, known=lookup('p2p_store_known', file, cluster='p2p')) }}"
"""

RETURN = r"""
_raw:
  description:
    - For each path C(file), C(cluster_id), and C(members), ids by name.
    - The last two are empty where nothing is known.
  type: list
  elements: dict
"""


class LookupModule(LookupBase):  # type: ignore[misc]  # Ansible ships no type information
    """The lookup."""

    def run(
        self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: object
    ) -> list[dict[str, Any]]:
        """Return what each file in `terms` holds."""
        self.set_options(var_options=variables, direct=kwargs)
        cluster = str(self.get_option("cluster"))
        return [self._recalled(Path(str(term)).expanduser(), cluster) for term in terms]

    @staticmethod
    def _recalled(path: Path, cluster: str) -> dict[str, Any]:
        known, warning = recall(path, cluster)
        if warning:
            Display().warning(warning)
        return {"file": str(path), **known}
