"""What nodes need of a release, in a few lines for however many nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from ansible_collections.p2p.cluster.plugins.plugin_utils.artifact.target import (
    Need,
    UnfitError,
    lacks_release,
    need,
)


class Group(TypedDict):
    """Nodes that need the same: its `targets` (name and uv's name of each) for one `python`."""

    targets: list[list[str]]
    python: str
    nodes: list[str]


class Needs(TypedDict):
    """What is to be built: by group, and by node why nothing is built for it."""

    groups: list[Group]
    refused: dict[str, str]


def needs(answers: Mapping[str, Any], known: Sequence[str]) -> Needs:
    """Return what the nodes need that lack something of the release.

    Args:
        answers: The registered result of `p2p_probe` for each node, by name.
        known: The minor versions of Python that the lock has packages for.
    """
    groups: dict[Need, list[str]] = {}
    refused = {}
    for name, answer in answers.items():
        probe = answer.get("probe") or {}
        if lacks_release(probe):
            found = _need(probe, known)
            if isinstance(found, Need):
                groups.setdefault(found, []).append(name)
            else:
                refused[name] = found
    return {
        "groups": [
            {"targets": [list(target) for target in one.targets], "python": one.python, "nodes": names}
            for one, names in groups.items()
        ],
        "refused": refused,
    }


def _need(probe: Mapping[str, Any], known: Sequence[str]) -> Need | str:
    try:
        return need(probe, known)
    except UnfitError as error:
        return str(error)


class FilterModule:
    """Filters about what is built."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {"p2p_lacks_release": lacks_release, "p2p_needs": needs}
