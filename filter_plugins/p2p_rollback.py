"""Which release a rollback goes to, and what each node lacks to be on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from statistics import median
from typing import Any, TypedDict

Answer = Mapping[str, Any]


class Target(TypedDict):
    """Where a rollback goes: `name` of the release, or `why` there is none."""

    name: str
    why: str


def target(answers: Mapping[str, Answer], wish: str = "") -> Target:
    """Choose the one release that all nodes of a run go back to.

    Of the two releases that a node runs and ran before, the one that was built there later is what a rollback
    leaves, whichever of them runs now. So a run that was interrupted, or is repeated, chooses the same again.

    Args:
        answers: The registered result of `p2p_probe` for each node, by name.
        wish: The release that the operator named; without it, the one that came before the fleet's newest.
    """
    found = {name: release for name, answer in answers.items() if (release := _release(answer))}
    there = Counter(held for release in found.values() for held in _held(release))
    if wish:
        missing = f"no node that answered has the release {wish}; there are {_listed(there)}"
        return Target(name=wish, why="") if wish in there else Target(name="", why=missing)
    steps = {name: step for name, release in found.items() if (step := _step(release))}
    if not steps:
        why = f"no node that answered has a release to go back to; there are {_listed(there)}"
        return Target(name="", why=why)
    newest = max(
        {newer for newer, _ in steps.values()},
        # A clock that is wrong on one node decides nothing.
        key=lambda newer: (
            median(found[name]["built"][newer] for name in steps if steps[name][0] == newer),
            newer,
        ),
    )
    older = Counter(older for newer, older in steps.values() if newer == newest)
    return Target(name=max(older, key=lambda name: (older[name], name)), why="")


def rolled_back(answers: Mapping[str, Answer], name: str, service: str) -> dict[str, Answer]:
    """Return the nodes' answers as if release `name` were what they are meant to have, for `p2p_plan`.

    Args:
        answers: The registered result of `p2p_probe` for each node, compared with its `current` release.
        name: The release that the nodes go back to.
        service: The service that runs it.

    Returns:
        The answers; a node that does not have the release gets one that says so, without `probe`.
    """
    return {node: _rolled_back(answer, name, service) for node, answer in answers.items()}


def _rolled_back(answer: Answer, name: str, service: str) -> Answer:
    if "probe" not in answer:
        return answer
    release = _release(answer)
    if release is None:
        return {"msg": "it has no release: deploy.yml brings it one"}
    if name not in _held(release):
        held = ", ".join(_held(release))
        return {
            "msg": f"it has {held} and not {name}:"
            " run deploy.yml from the version of the repository that holds it"
        }
    if release["name"] == name:
        return answer
    drift = {
        "part": "release",
        "name": name,
        "why": f"not current: {release['name']} is",
        "restarts": [service],
    }
    return {**answer, "probe": {**answer["probe"], "drift": [drift]}}


def _release(answer: Answer) -> Mapping[str, Any] | None:
    """Return what a node says of its releases, or None if it runs none."""
    release: Mapping[str, Any] | None = (answer.get("probe") or {}).get("release")
    return release if release and release.get("name") else None


def _held(release: Mapping[str, Any]) -> list[str]:
    """Return the names of a node's releases, the current one first."""
    return list(dict.fromkeys([release["name"], *release["available"]]))


def _step(release: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return a node's current and previous release, the one that was built later first."""
    pair = [release["name"], release["previous"]]
    if None in pair or not set(pair) <= set(release["built"]):
        return None
    newer, older = sorted(pair, key=lambda name: float(release["built"][name]), reverse=True)
    return newer, older


def _listed(there: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({there[name]} nodes)" for name in sorted(there)) or "none"


class FilterModule:
    """Filters about a rollback."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {"p2p_rollback_target": target, "p2p_rolled_back": rolled_back}
