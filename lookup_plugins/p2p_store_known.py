"""Reads the controller's memory of the cluster's store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.p2p.cluster.plugins.plugin_utils.memory.store import recall

DOCUMENTATION = r"""
name: p2p_store_known
short_description: The cluster's store, as this controller last saw it work
description:
  - Reads what the action p2p_store_memory keeps.
  - A file that is there and cannot be used is an error, since no memory allows more than a true one.
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
    - For each path C(file), C(cluster_id), C(members), ids by name, and C(epoch), the latest recovery epoch.
    - They are empty, and 0, where nothing is known.
  type: list
  elements: dict
"""


class LookupModule(LookupBase):  # type: ignore[misc]  # Ansible ships no type information
    """The lookup."""

    def run(
        self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: object
    ) -> list[dict[str, Any]]:
        """Return what each file in `terms` holds.

        Raises:
            AnsibleLookupError: One is there and cannot be used.
        """
        self.set_options(var_options=variables, direct=kwargs)
        cluster = str(self.get_option("cluster"))
        return [self._recalled(Path(str(term)).expanduser(), cluster) for term in terms]

    @staticmethod
    def _recalled(path: Path, cluster: str) -> dict[str, Any]:
        known, why = recall(path, cluster)
        if why:
            raise AnsibleLookupError(
                f"{why}. What a run may do rests on it: mend that, or, if the file is not this cluster's,"
                " move it away. Nothing was changed."
            )
        return {"file": str(path), **known}
