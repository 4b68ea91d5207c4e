"""Action plugin: builds what the nodes of a run need of a release, before any of them is changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.p2p.cluster.plugins.plugin_utils.artifact.build import BuildError, Source, as_source
from ansible_collections.p2p.cluster.plugins.plugin_utils.artifact.shelf import Kept, Shelf
from ansible_collections.p2p.cluster.plugins.plugin_utils.artifact.supply import supply
from ansible_collections.p2p.cluster.plugins.plugin_utils.artifact.target import Need, Target


def supplied(source: Source, need: Need, shelf: Shelf, given: Path | None) -> Kept | str:
    """Return an artefact, or why it cannot be had."""
    try:
        return supply(source, need, shelf, given)
    except BuildError as error:
        return str(error)


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible ships no type information
    """Has the artefacts, in a preview too: only then is it known whether there are wheels for all."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Have them.

        Options of the task: `needs`, of the filter p2p_needs, and `spec`, `release`, `folder`, `wheels` and
        `given`, as the lookup p2p_artifact has them.

        Returns:
            `refused`, by node why nothing is written there, and `archives`, what a node is given.
        """
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, options = self.validate_argument_spec(
            argument_spec={
                "spec": {"type": "dict", "required": True},
                "release": {"type": "str", "required": True},
                "needs": {"type": "dict", "required": True},
                "folder": {"type": "path", "required": True},
                "wheels": {"type": "str", "default": ""},
                "given": {"type": "str", "default": ""},
            }
        )
        source = as_source(options["spec"], options["release"], options["wheels"])
        given = Path(options["given"]).expanduser() if options["given"] else None
        shelf = Shelf(Path(options["folder"]).expanduser())
        refused, kept = dict(options["needs"]["refused"]), []
        for group in options["needs"]["groups"]:
            need = Need(tuple(Target(*names) for names in group["targets"]), group["python"])
            found = supplied(source, need, shelf, given)
            if isinstance(found, Kept):
                kept.append(found)
            else:
                refused |= dict.fromkeys(group["nodes"], found)
        return result | {
            "changed": False,
            "archives": [
                {
                    "path": one.path,
                    "size": one.size,
                    "digest": one.digest,
                    "for": f"{one.target}, Python {one.python}",
                }
                for one in kept
            ],
            "refused": {name: f"{text}. Nothing was written" for name, text in refused.items()},
        }
