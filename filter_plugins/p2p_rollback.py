"""Which release a rollback goes to, and what each node lacks to be on it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple, TypedDict

from ansible_collections.p2p.cluster.plugins.plugin_utils.door.words import RELEASE_NAME
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.nearest import did_you_mean

Answer = Mapping[str, Any]
# What a release's folder may be called: a node that tells of another one has none.
_NAME = re.compile(RELEASE_NAME)
_NAMES_SHOWN = 5


class Target(TypedDict):
    """Where a rollback goes: `name` of the release, or `why` there is none.

    `warnings` are lines about nodes that tell of another way than the one that is taken.
    """

    name: str
    why: str
    warnings: list[str]


class _Step(NamedTuple):
    """Of the two releases that a node runs and ran before, the one that was built there later comes first."""

    newer: str
    older: str


def target(answers: Mapping[str, Answer], wish: str = "", repository: str = "") -> Target:
    """Choose the one release that all nodes of a run go back to.

    The rule: of the nodes that answered and hold another release than the one that they run, more than half
    have to run and have run before the same two releases, whichever of them runs now. A rollback leaves the
    one that most of these nodes built later, and goes to the other. So no node's own word decides, neither
    about a release nor about a time, and a run that was interrupted, or is repeated, chooses the same again.
    Exactly half is no majority. One node alone, named with `--limit`, is all of the run's nodes.

    A deploy that stopped at its first nodes is undone as well, though few tell of it: it brought the release
    that this copy of the repository holds, which nobody can make up, and the way back from it has to lead to
    a release that more than half of all that answered ran. Not more may tell of the way there than back.

    Args:
        answers: The registered result of `p2p_probe` for each node, by name.
        wish: The release that the operator named; one node that holds it is enough.
        repository: The release that this copy of the repository holds.
    """
    found = {name: release for name, answer in answers.items() if (release := _release(answer))}
    there = Counter(held for release in found.values() for held in _held(release))
    if wish:
        if wish in there:
            return _to(wish)
        meant = did_you_mean(wish, there)
        return _nowhere(f"no node that answered has the release {wish}{meant}; there are {_listed(there)}")
    asked = [name for name, release in found.items() if len(_held(release)) > 1]
    steps = {name: step for name in asked if (step := _step(found[name]))}
    if not steps:
        return _nowhere(f"no node that answered has a release to go back to; there are {_listed(there)}")
    chosen = _undone(steps, found, repository) or _of_most(steps, len(asked))
    if chosen is None:
        told = Counter(f"from {step.newer} to {step.older}" for step in steps.values())
        ways = ", ".join(f"{way} ({count})" for way, count in sorted(told.items()))
        return _nowhere(
            f"no way back is that of more than half of the {len(asked)} nodes that hold another release than"
            f" the one they run: {ways}; name the release with -e p2p_rollback_to=<release>, or the nodes"
            f" with --limit. There are {_listed(there)}"
        )
    return _to(chosen.older, _others(steps, chosen))


def _undone(steps: Mapping[str, _Step], found: Mapping[str, Answer], repository: str) -> _Step | None:
    """Return the step of a deploy of this copy's release that reached few, if there was one.

    Of several it is the one to the release that most run now: they were not reached.
    """
    told = Counter(steps.values())
    run = Counter(release["name"] for release in found.values())
    ran = Counter(name for release in found.values() for name in {release["name"], release.get("previous")})
    ways = [
        step
        for step in told
        if step.newer == repository
        and ran[step.older] * 2 > len(found)
        and told[step] >= told[_Step(step.older, step.newer)]
    ]
    return max(ways, key=lambda step: (run[step.older], told[step], step), default=None)


def _of_most(steps: Mapping[str, _Step], asked: int) -> _Step | None:
    """Return the step that more than half of those asked tell, in the order that most of these tell."""
    pairs = Counter(frozenset(step) for step in steps.values())
    pair, count = pairs.most_common(1)[0]
    if count * 2 <= asked:
        return None
    orders = Counter(step for step in steps.values() if frozenset(step) == pair)
    step, tellers = orders.most_common(1)[0]
    return step if tellers * 2 > count else None


def _others(steps: Mapping[str, _Step], chosen: _Step) -> list[str]:
    """Return a line for each way back that nodes tell of and that is not taken."""
    tellers: dict[_Step, list[str]] = {}
    for name, step in steps.items():
        if frozenset(step) != frozenset(chosen):
            tellers.setdefault(step, []).append(name)
    return [
        f"{_shown(names)} ran {step.newer} after {step.older}, which decides nothing: most did not"
        for step, names in sorted(tellers.items())
    ]


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
    return release if release and _NAME.fullmatch(str(release.get("name") or "")) else None


def _held(release: Mapping[str, Any]) -> list[str]:
    """Return the names of a node's releases, the current one first."""
    named = [name for name in release.get("available") or [] if _NAME.fullmatch(str(name))]
    return list(dict.fromkeys([release["name"], *named]))


def _step(release: Mapping[str, Any]) -> _Step | None:
    """Return a node's current and previous release, or None where it had but one, or does not say when."""
    built, pair = release.get("built") or {}, [release["name"], release.get("previous")]
    if pair[1] not in _held(release)[1:] or not set(pair) <= set(built):
        return None
    newer, older = sorted(pair, key=lambda name: (float(built[name]), name), reverse=True)
    return _Step(newer, older)


def _to(name: str, warnings: list[str] | None = None) -> Target:
    return Target(name=name, why="", warnings=warnings or [])


def _nowhere(why: str) -> Target:
    return Target(name="", why=why, warnings=[])


def _shown(names: list[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _listed(there: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({there[name]} nodes)" for name in sorted(there)) or "none"


class FilterModule:
    """Filters about a rollback."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {"p2p_rollback_target": target, "p2p_rolled_back": rolled_back}
