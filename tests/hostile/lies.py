"""Which voters lie how, whom the controller reaches, and what it is asked to do meanwhile."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import combinations_with_replacement, product

SILENT = "silent"
KINDS = ("furthest", "foreign", "alone", "renamed", "leads", "fewer", "apart", SILENT)
# What a node that does not vote claims of a store.
CLAIMS = ("", "own", "invented")
# By playbook, each in the order in which they disturb the next least.
STEPS = {
    "recover": ("recover",),
    "rollback": ("rollback",),
    "deploy": ("deploy",),
    "voters": ("voters-honest", "voters-liar"),
    "remove": ("remove-voter", "remove-node"),
}
VOTERS, PAIR = 5, 2


@dataclass(frozen=True)
class Stage:
    """How two voters lie, if any; and how many of the five the controller reaches."""

    lies: tuple[str, ...] = ()
    reached: int = VOTERS


@dataclass(frozen=True)
class Case:
    """A stage, what a node that does not vote claims, if anything, and what the run is asked to do."""

    step: str
    stage: Stage
    claim: str

    def __str__(self) -> str:
        """Return its name among the tests."""
        words = [self.step, *self.stage.lies, self.claim and f"claims-{self.claim}"]
        words.append("" if self.stage.reached == VOTERS else f"reaches-{self.stage.reached}")
        return "-".join(filter(None, words))


PAIRS = [Stage(pair) for pair in combinations_with_replacement(KINDS, PAIR)]
# Of those whom the controller reaches at least one tells the truth.
CUT_OFF = [
    *(Stage(reached=count) for count in (1, 2, 3)),
    *(Stage((lie, lie), PAIR + 1) for lie in KINDS if lie != SILENT),
]


def everything() -> list[Case]:
    """Return every pair and partition with every step; the claims take turns."""
    steps = [step for several in STEPS.values() for step in several]
    found = list(product(steps, [*PAIRS, *CUT_OFF]))
    return [Case(step, stage, CLAIMS[index % len(CLAIMS)]) for index, (step, stage) in enumerate(found)]


def sample(chance: random.Random) -> list[Case]:
    """Return one case of each playbook; all kinds of lies and a partition are among them."""
    kinds = chance.sample(KINDS, len(KINDS))
    kinds += [chance.choice(KINDS)] * (len(kinds) % PAIR)
    stages = [Stage(tuple(kinds[at : at + PAIR])) for at in range(0, len(kinds), PAIR)]
    stages.append(chance.choice(CUT_OFF))
    chance.shuffle(stages)
    steps = [chance.choice(several) for several in STEPS.values()]
    return [Case(step, stage, chance.choice(CLAIMS)) for step, stage in zip(steps, stages, strict=True)]
