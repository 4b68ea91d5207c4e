"""A lost directory of certificates is taken over from what most of all voters carry, whoever of them lies."""

from __future__ import annotations

import base64
import copy
import json
import os
import random
import shutil
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.hostile.fleet import CA, GOOD, HOSTILE, UNREACHABLE, VOTERS, Replies, Run, Sandbox, reply
from tests.hostile.runs import deployed

Value = TypeVar("Value")
OTHER = b"-----BEGIN CERTIFICATE-----\nof a thief\n-----END CERTIFICATE-----\n"
SEED = os.environ["HOSTILE_SEED"]
ALONE = ("--limit", next(name for name in GOOD if name not in VOTERS))


def _some(values: Sequence[Value], many: int) -> list[Value]:
    """Return a few values, which ones by the seed; all of them with FULL=1."""
    chance = random.Random(f"{SEED} {len(values)}")  # noqa: S311  # repeatable
    return list(values) if os.environ.get("FULL") else chance.sample(values, many)


def gives(bundle: bytes) -> Replies:
    """Return how a node answers that is asked for its bundle."""
    told = {"changed": False, "content": base64.b64encode(bundle).decode(), "encoding": "base64"}
    return {"slurp": [reply(json.dumps(told) + "\n")]}


class Lost:
    """A fleet whose controller lost its directory after a deploy; `bundle` is what the nodes carry."""

    def __init__(self, folder: Path, shared: Path) -> None:
        there = deployed(shared)
        self.sandbox = Sandbox(folder, there)
        self.state = self.sandbox.state
        shutil.rmtree(self.state)
        known = json.loads((there / "end.json").read_text())["set"][VOTERS[0]]
        self.bundle = known["p2p_identity_result"]["ca_bundle"].encode()
        assert sha256(self.bundle).hexdigest() == self.sandbox.digest
        for name, answer in self.sandbox.answers().items():
            self.sandbox.play(name, answer, gives(self.bundle))

    def lie(self, name: str, how: str) -> None:
        """Let a node tell of another bundle, give another, do both, carry none, or say nothing."""
        answer: dict[str, Any] = copy.deepcopy(self.sandbox.answers()[name])
        if how in ("told", "both", "none"):
            answer["probe"]["digests"] = {CA: None if how == "none" else sha256(OTHER).hexdigest()}
        given = gives(OTHER if how in ("given", "both") else self.bundle)
        self.sandbox.play(name, answer, {"*": [UNREACHABLE]} if how == "silent" else given)

    def run(self, *words: str) -> Run:
        """Run the take-over, every hostile node that does not vote telling of another bundle."""
        for name in HOSTILE:
            if name not in VOTERS:
                self.lie(name, "both")
        return self.sandbox.run("deploy.yml", "-e", "p2p_identity_rotate=true", *words)


@pytest.fixture
def lost(tmp_path: Path, shared: Path) -> Lost:
    """Return such a fleet."""
    return Lost(tmp_path / "s", shared)


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """Return what chooses the liars, by the seed of this run."""
    return random.Random(f"{SEED} {request.node.name}")  # noqa: S311  # not for secrets


@pytest.mark.parametrize("how", _some(["told", "given", "both", "silent", "none"], 2))
def test_two_of_five_voters_change_nothing_of_what_is_taken_over(
    how: str, lost: Lost, chance: random.Random
) -> None:
    liars = chance.sample(VOTERS, 2)
    for name in liars:
        lost.lie(name, how)
    found = lost.run(*ALONE)
    assert found.code in (0, 2), found.output
    assert (lost.state / "previous.pem").read_bytes() == lost.bundle, (liars, found.output)
    assert (lost.state / "next.pem").exists()
    assert not (lost.state / "ca.pem").exists()
    contradicted = "another ca.crt than 3 of 5 voters carry" in " ".join(found.output.split())
    assert contradicted == (how in ("told", "both")), (liars, found.output)


@pytest.mark.parametrize("words", _some([ALONE, (*ALONE, "--check"), ()], 1))
@pytest.mark.parametrize("how", _some(["told", "both", "silent", "none"], 2))
def test_without_three_of_five_nothing_is_taken_over(
    how: str, words: tuple[str, ...], lost: Lost, chance: random.Random
) -> None:
    others = chance.sample(VOTERS, 3)
    for name, lies in zip(others, [how, "silent", "none"], strict=True):
        lost.lie(name, lies)
    found = lost.run(*words)
    said = " ".join(found.output.split())
    assert found.code == 2, found.output
    assert "only where 3 of the 5 voters of the fleet file carry the same ca.crt" in said
    for name in VOTERS:
        assert name in said
    assert not list(lost.state.rglob("*.pem"))
