"""Whether a node's machine can hold what a deploy would put there: disk, rights, clock."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.p2p.cluster.plugins.plugin_utils.artifact.target import lacks_release

Answer = Mapping[str, Any]
FEWEST_INODES = 5000
_NO_PYTHON = re.compile(
    r"module interpreter .* was not found|python[\d.]*: (?:command )?not found|no python interpreter"
    r"|python[\d.]*: no such file|ansible-core requires a minimum",
    re.IGNORECASE,
)


def fitness(
    answers: Mapping[str, Answer],
    voters: Sequence[str],
    *,
    asked: float,
    answered: float,
    min_free_mb: int,
    max_clock_skew: float,
) -> dict[str, Any]:
    """Weigh the machines of a run, for bundled releases.

    Args:
        answers: The registered result of `p2p_probe` for each node of the run, by name.
        voters: All voters of the fleet file.
        asked: When the first node was asked, in seconds since the epoch.
        answered: When the last one had answered.
        min_free_mb: Megabytes that a release needs.
        max_clock_skew: Seconds that a node's clock may be wrong without a word.

    Returns:
        In the form of `p2p_preflight`: `refused`, by node why nothing is written there, and `warnings`.
    """
    refused: dict[str, str] = {}
    warnings: list[str] = []
    for name, answer in answers.items():
        probe = answer.get("probe")
        if not probe:
            continue
        drift = probe.get("drift") or []
        why = _disk(probe, min_free_mb) if lacks_release(probe) else ""
        if not why and drift and name in voters and not (probe.get("user") or {}).get("root", True):
            why = (
                "it votes, and etcd needs root: let its ssh_user be root or use sudo without a password, or"
                " take it out of p2p_voters"
            )
        if why:
            refused[name] = f"{why}. Nothing was written"
        skew = _skew(probe, asked, answered)
        if abs(skew) > max_clock_skew:
            warnings.append(
                f"the clock of {name} is {abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}: certificates"
                " may not be valid there yet, or no longer; `timedatectl set-ntp true` on it"
            )
    return {"refused": refused, "warnings": warnings}


def _disk(probe: Mapping[str, Any], needed: int) -> str:
    disk = probe.get("disk") or {}
    free, inodes = disk.get("free_mb"), disk.get("inodes_free")
    if free is not None and free < needed:
        return (
            f"only {free} MB are free below {disk['path']} and a release needs {needed}: free space there, or"
            " lower p2p_orchestrator_min_free_mb"
        )
    if inodes is not None and inodes < FEWEST_INODES:
        return f"only {inodes} inodes are free below {disk['path']}, {FEWEST_INODES} are needed: remove files"
    return ""


def _skew(probe: Mapping[str, Any], asked: float, answered: float) -> float:
    """Return by how many seconds a clock is ahead, less than 0 if it is behind; it was read in between."""
    told = (probe.get("clock") or {}).get("unix")
    if told is None:
        return 0.0
    return max(0.0, float(told) - answered) or min(0.0, float(told) - asked)


def without_python(answers: Mapping[str, Answer]) -> list[str]:
    """Return the nodes that gave no probe since they have no Python."""
    return [
        name
        for name, answer in answers.items()
        if "probe" not in answer
        and not answer.get("unreachable")
        and not answer.get("untrusted")
        and _NO_PYTHON.search(f"{answer.get('msg', '')}\n{answer.get('module_stderr', '')}")
    ]


def bootstrapped(given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what became of the nodes that had no Python.

    Args:
        given: The registered result of a loop of `p2p_bootstrap` over them; empty if it did not run.

    Returns:
        By node `changed`, whether a Python was installed or would be, and `why`, what was done or why nothing
        can be.
    """
    return {
        item["item"]: {
            "changed": bool(item.get("changed")),
            "why": ", ".join(item.get("actions") or []) or str(item.get("msg") or "it has one now"),
        }
        for item in given.get("results", [])
    }


class FilterModule:
    """Filters about machines."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {
            "p2p_bootstrapped": bootstrapped,
            "p2p_fitness": fitness,
            "p2p_without_python": without_python,
        }
