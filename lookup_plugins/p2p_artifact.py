"""Gives a node the artefact of a release that suits it, built on the controller where it is not there yet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase
from ansible_collections.p2p.cluster.plugins.plugin_utils.artifact.build import BuildError, as_source
from ansible_collections.p2p.cluster.plugins.plugin_utils.artifact.shelf import Kept, Shelf
from ansible_collections.p2p.cluster.plugins.plugin_utils.artifact.since import since
from ansible_collections.p2p.cluster.plugins.plugin_utils.artifact.supply import supply
from ansible_collections.p2p.cluster.plugins.plugin_utils.artifact.target import UnfitError, need

DOCUMENTATION = r"""
name: p2p_artifact
short_description: The artefact of a release for a node
description:
  - Has uv resolve the lock for the node's platform and Python on the controller, and packs what it installs.
    The same lock gives the same contents on every controller.
  - An artefact is kept by release, platform and Python, and built once. A preview builds it too, since only
    then is it known that there are wheels for all of the lock.
options:
  _terms:
    description: The release's specification, with C(lock) and C(wheel).
    type: list
    elements: dict
    required: true
  release:
    description: Name of the release.
    type: str
    required: true
  probe:
    description: What P(p2p_probe#module) says of the node; C(platform), C(pythons) and C(release) are read.
    type: dict
    required: true
  pythons:
    description: Minor versions of Python that the lock has packages for, the one to take first before the
      others.
    type: list
    elements: str
    required: true
  folder:
    description: Folder of the artefacts.
    type: path
    required: true
  wheels:
    description: Folder of wheels to take in the place of an index.
    type: str
    default: ""
  given:
    description: An artefact that was built elsewhere, or a folder of such; nothing is built then.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: The release is on the node
  p2p_release:
    root: /opt/p2p-cluster
    name: "{{ name }}"
    artifact: "{{ lookup('p2p_artifact', spec, release=name, probe=probe, pythons=['3.11'], folder='~/x') }}"
"""

RETURN = r"""
_raw:
  description:
    - One dictionary with C(path) and C(sha256) of the archive, its C(size) in bytes, the artefact's
      C(digest), and what it is for, C(target) and C(python), with its C(packages) (name to version).
    - Where the node runs a release that this controller has an artefact of, C(since) is an archive of what
      that one lacks, with C(path) and C(sha256).
  type: list
  elements: dict
"""


def _since(kept: Kept, probe: Mapping[str, Any], shelf: Shelf) -> dict[str, Any]:
    manifest = (probe.get("release") or {}).get("manifest") or {}
    part = since(kept, str(manifest.get("artifact") or ""), shelf)
    return {"since": part._asdict()} if part else {}


class LookupModule(LookupBase):  # type: ignore[misc]  # Ansible ships no type information
    """The lookup p2p_artifact."""

    def run(
        self, terms: list[Mapping[str, Any]], variables: dict[str, Any] | None = None, **kwargs: object
    ) -> list[dict[str, Any]]:
        """Return an artefact for each specification.

        Raises:
            AnsibleError: there is none for the node.
        """
        self.set_options(var_options=variables, direct=kwargs)
        shelf = Shelf(Path(self.get_option("folder")).expanduser())
        given, release = self.get_option("given"), self.get_option("release")
        found = []
        for spec in terms:
            try:
                kept = supply(
                    as_source(spec, release, self.get_option("wheels")),
                    need(self.get_option("probe"), self.get_option("pythons")),
                    shelf,
                    Path(given).expanduser() if given else None,
                )
            except (BuildError, UnfitError) as error:
                raise AnsibleError(f"release {release}: {error}") from error
            found.append(kept._asdict() | _since(kept, self.get_option("probe"), shelf))
        return found
