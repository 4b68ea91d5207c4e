"""What the client that asks all voters may conclude from when it asked and when it was answered."""

from __future__ import annotations

import pytest

from tests.integration.identity.watch import Span, Watch

Times = tuple[float, float]
A = [(0.0, 0.1), (1.0, 1.1)]


def watch(*leads: tuple[str, int, list[Times]]) -> Watch:
    """Return a client that heard these say that they lead."""
    found = Watch({name: "192.0.2.1" for name, _, _ in leads})
    for name, term, times in leads:
        answer = {"role": "leader", "leader_id": name, "term": term}
        found.answers.setdefault(name, []).extend((*pair, answer) for pair in times)
    return found


@pytest.mark.parametrize(
    "leads",
    [
        pytest.param([("a", 1, A), ("b", 2, [(1.2, 1.3)])], id="one-after-the-other"),
        pytest.param([("a", 1, [(0.0, 1.5)]), ("b", 2, [(0.9, 1.0)])], id="an-answer-long-on-its-way"),
        pytest.param([("a", 1, A), ("b", 2, [(1.0, 1.2)])], id="at-the-same-moment"),
        pytest.param([("a", 1, A), ("a", 3, [(2.0, 2.1)])], id="the-same-voter-again"),
    ],
)
def test_nothing_is_proven(leads: list[tuple[str, int, list[Times]]]) -> None:
    assert watch(*leads).two_leaders() == []


@pytest.mark.parametrize(
    "leads",
    [
        pytest.param([("a", 1, A), ("b", 2, [(0.3, 0.4)])], id="within-the-other-s-time"),
        pytest.param([("a", 2, [(0.3, 0.4)]), ("b", 1, A)], id="whatever-the-order-of-the-voters"),
        pytest.param([("a", 1, A), ("b", 1, [(5.0, 5.1)])], id="in-the-same-term"),
        pytest.param([("a", 2, A), ("b", 1, [(5.0, 5.1)])], id="terms-go-back"),
    ],
)
def test_two_led_or_the_terms_went_back(leads: list[tuple[str, int, list[Times]]]) -> None:
    [(one, other)] = watch(*leads).two_leaders()
    assert {one.voter, other.voter} == {"a", "b"}


def test_a_lead_reaches_from_its_first_answer_to_its_last() -> None:
    assert watch(("a", 1, A)).spans() == [Span("a", 1, A[0], A[1])]
