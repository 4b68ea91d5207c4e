"""Every playbook over hostile nodes: runs end, and nothing reaches the operator or another node."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.hostile import cases, looks
from tests.hostile.cases import Case
from tests.hostile.fleet import HOSTILE, Run, Sandbox, healthy
from tests.hostile.runs import Maker, Stage
from tests.hostile.scenarios import SCENARIOS

FULL = bool(os.environ.get("FULL"))
SEED = os.environ["HOSTILE_SEED"]
MANY = len(SCENARIOS["health-many"].hostile)


def _count() -> int:
    return sum(1 for _ in cases.corners(healthy()[HOSTILE[0]], "x"))


CORNERS = range(-(-_count() // MANY))
RANDOM = range(6 if FULL else 1)
# Where one node's word counts by itself, a believed one may change what is done to others.
COMPARED = [name for name in SCENARIOS if name not in ("voters-via", "health-all", "recover-from")]
OF_MODULES = ["deploy", "deploy-voter", "voters-via", "rollback", "remove", "recover-from"]


def _first(scenarios: Sequence[str], key: Callable[[str], str]) -> list[str]:
    """Return one scenario of each kind, which ones by the seed; all of them with FULL=1."""
    mixed = sorted(scenarios, key=lambda name: random.Random(f"{SEED} {name}").random())  # noqa: S311  # repeatable
    return list(scenarios) if FULL else list({key(name): name for name in mixed}.values())


def _modes(scenarios: Sequence[str]) -> list[Any]:
    """Return each scenario previewed and real with FULL=1, otherwise the one or the other."""
    return [
        pytest.param(name, preview, id=f"{name}-{'preview' if preview else 'real'}")
        for name in scenarios
        for preview in (True, False)
        if FULL or preview == (random.Random(f"{SEED} {name}").random() < 0.5)  # noqa: S311  # repeatable
    ]


# Each playbook, and of the modules one that changes nodes and one that goes back, or takes away.
SAMPLE = _first(COMPARED, lambda name: SCENARIOS[name].playbook)
MODULES = _first(OF_MODULES, lambda name: str(SCENARIOS[name].playbook in ("deploy.yml", "voters.yml")))


def _wrong(run: Run, sandbox: Sandbox, then: Run | None, scenario: str) -> list[str]:
    chosen = SCENARIOS[scenario]
    found = [*looks.ended_badly(run), *looks.terminal(run), *looks.files(run, sandbox.canary)]
    believed = any("probe" in run.answer(name) for name in chosen.hostile)
    voter = any(name.startswith("hetzner-v") for name in chosen.hostile)
    if then is not None and run.end and not (voter and believed):
        found += looks.others(run, then, chosen.hostile)
    if then is not None:
        found += looks.reports(run, then)
    return found


def _told(found: list[str], chosen: dict[str, Case], run: Run) -> str:
    nodes = [f"{name}: {case.name[:1500]}" for name, case in chosen.items()]
    return "\n".join([f"HOSTILE_SEED={SEED}", *found, *nodes, run.output[-1500:]])


def _check(scenario: str, preview: bool, maker: Maker, stage: Stage) -> None:
    run, sandbox, chosen = stage.play(scenario, preview, maker)
    found = _wrong(run, sandbox, stage.alone(scenario, preview) if scenario in COMPARED else None, scenario)
    assert not found, _told(found, chosen, run)


@pytest.mark.parametrize("part", CORNERS)
def test_a_health_report_of_corner_cases(part: int, stage: Stage) -> None:
    hostile = SCENARIOS["health-many"].hostile

    def maker(name: str, answer: dict[str, Any], canary: str) -> Case:
        every = list(cases.corners(answer, canary))
        return every[(part * MANY + hostile.index(name)) % len(every)]

    _check("health-many", False, maker, stage)


@pytest.mark.parametrize("number", RANDOM)
@pytest.mark.parametrize(("scenario", "preview"), _modes(SAMPLE))
def test_answers_of_the_probe(scenario: str, preview: bool, number: int, stage: Stage) -> None:
    chance = random.Random(f"{SEED} probe {scenario} {preview} {number}")  # noqa: S311  # repeatable

    def maker(_: str, answer: dict[str, Any], canary: str) -> Case:
        if chance.random() < 0.4:
            return chance.choice(list(cases.corners(answer, canary)))
        return cases.by_seed(answer, canary, chance)

    _check(scenario, preview, maker, stage)


@pytest.mark.parametrize("number", RANDOM)
@pytest.mark.parametrize(("scenario", "preview"), _modes(MODULES))
def test_answers_of_modules(scenario: str, preview: bool, number: int, stage: Stage) -> None:
    chance = random.Random(f"{SEED} modules {scenario} {preview} {number}")  # noqa: S311

    def maker(_: str, _answer: dict[str, Any], canary: str) -> Case:
        if chance.random() < 0.5:
            return chance.choice(list(cases.module_corners(canary)))
        return cases.modules(canary, chance)

    _check(scenario, preview, maker, stage)
