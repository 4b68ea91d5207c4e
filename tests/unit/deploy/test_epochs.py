"""Which recovery epochs are believed: a minority of the voters neither raises nor hides one."""

from __future__ import annotations

from typing import Any

from ansible_collections.p2p.cluster.plugins.plugin_utils.door.words import LARGEST_COUNT
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.epochs import (
    CLOCK_SKEW,
    LARGEST_TOLD_EPOCH,
    agreed_epoch,
    latest_believable,
    next_epoch,
    told_epoch,
)
from hypothesis import given
from hypothesis import strategies as st

from p2p_orchestrator.leadership import EPOCH_SPAN
from tests.unit.deploy.conftest import VOTERS, dead, voter

NOW = 1_800_000_000
EPOCHS = st.integers(0, NOW)
TERMS = st.integers(0, LARGEST_COUNT)


def tells(term: int) -> dict[str, Any]:
    """Return the answer of a voter whose orchestrator tells a term."""
    answer = voter("a")
    answer["probe"]["http"]["status"]["body"]["term"] = term
    return answer


def test_what_another_program_tells_is_no_epoch() -> None:
    answer = tells(7 * EPOCH_SPAN)
    assert told_epoch(answer) == 7
    answer["probe"]["listener"] = {"orchestrator": False}
    assert told_epoch(answer) == 0
    assert told_epoch(dead()) == told_epoch({}) == agreed_epoch({}, []) == 0


@given(true=EPOCHS, lies=st.lists(st.one_of(st.none(), TERMS), max_size=2), known=EPOCHS)
def test_two_of_five_neither_raise_nor_hide_what_the_others_agree_on(
    true: int, lies: list[int | None], known: int
) -> None:
    answers = {name: tells(true * EPOCH_SPAN + 1) for name in VOTERS}
    for name, term in zip(VOTERS, lies, strict=False):
        answers[name] = dead() if term is None else tells(term)
    assert agreed_epoch(answers, VOTERS) == true
    assert latest_believable(answers, VOTERS, now=NOW, known=known) == NOW + CLOCK_SKEW
    assert max(true, known) < next_epoch(answers, VOTERS, now=NOW, known=known) <= NOW + CLOCK_SKEW + 1


@given(
    terms=st.dictionaries(st.sampled_from(VOTERS), TERMS),
    known=st.integers(0, LARGEST_TOLD_EPOCH),
    now=st.integers(1, NOW),
)
def test_a_new_epoch_is_above_each_that_is_known_or_believed(
    terms: dict[str, int], known: int, now: int
) -> None:
    answers = {name: tells(term) for name, term in terms.items()}
    latest = latest_believable(answers, VOTERS, now=now, known=known)
    fresh = next_epoch(answers, VOTERS, now=now, known=known)
    assert fresh >= now
    assert fresh > known
    assert fresh > agreed_epoch(answers, VOTERS)
    assert all(fresh > told_epoch(answer) or told_epoch(answer) > latest for answer in answers.values())
    assert fresh <= latest + 1
