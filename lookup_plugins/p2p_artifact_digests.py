"""Gives the digests of the artefacts of a release that this controller has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.plugins.lookup import LookupBase
from ansible_collections.p2p.cluster.plugins.plugin_utils.artifact.given import digests
from ansible_collections.p2p.cluster.plugins.plugin_utils.artifact.shelf import Shelf

DOCUMENTATION = r"""
name: p2p_artifact_digests
short_description: The digests of the artefacts of a release
description:
  - What a node's release is compared with, as far as this controller has an artefact for its platform and
    Python. Nothing is built for it.
options:
  _terms:
    description: Names of releases.
    type: list
    elements: str
    required: true
  folder:
    description: Folder of the artefacts.
    type: path
    required: true
  given:
    description: An artefact that was built elsewhere, or a folder of such; it goes before what this
      controller has.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: What a release is to be made of
  ansible.builtin.debug:
    msg: "{{ lookup('p2p_artifact_digests', '1.0.0-ab12cd34ef56', folder='~/.cache/artifacts') }}"
"""

RETURN = r"""
_raw:
  description: For each release the digests by what they are for, such as C(linux-x86_64-glibc-2.17/3.11).
  type: list
  elements: dict
"""


class LookupModule(LookupBase):  # type: ignore[misc]  # Ansible ships no type information
    """The lookup p2p_artifact_digests."""

    def run(
        self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: object
    ) -> list[dict[str, str]]:
        """Return the digests for each name in `terms`."""
        self.set_options(var_options=variables, direct=kwargs)
        shelf = Shelf(Path(self.get_option("folder")).expanduser())
        given = self.get_option("given")
        return [
            shelf.digests(str(release)) | (digests(Path(given).expanduser(), str(release)) if given else {})
            for release in terms
        ]
