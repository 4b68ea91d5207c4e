"""Reads the controller's memory of canaries that did not do well."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.plugins.lookup import LookupBase
from ansible.utils.display import Display
from ansible_collections.p2p.cluster.plugins.plugin_utils.memory.canary import recall

DOCUMENTATION = r"""
name: p2p_canaries
short_description: The canaries that did not do well, as this controller remembers them
description:
  - Reads what the action p2p_canary keeps. A file that is none of this cluster's is not used, with a warning.
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
- name: The plan
  ansible.builtin.set_fact:
    p2p_plan: "{{ answers | p2p_plan(voters, quorum, canaries=lookup('p2p_canaries', file, cluster='p2p')) }}"
"""

RETURN = r"""
_raw:
  description:
    - For each path C(file), C(cluster), and C(failed), by node C(at) (seconds since the epoch) and C(how)
      (C(failed), C(lost), or C(unfinished) where its run never ended).
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
        failed, why = recall(path, cluster)
        if why:
            Display().warning(f"{why}, and is not used: remove it")
        return {"file": str(path), "cluster": cluster, "failed": failed}
