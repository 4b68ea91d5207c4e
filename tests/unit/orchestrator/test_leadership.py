"""The rule, step by step; the simulator shows that the steps are enough."""

from dataclasses import replace

import pytest

from p2p_orchestrator.leadership import (
    EPOCH_SPAN,
    Answer,
    Kind,
    Leadership,
    Lost,
    Record,
    Swapped,
    Unknown,
)
from p2p_orchestrator.reader import UnfitError
from p2p_orchestrator.store import EPOCH, LEADER, TERM, Entry, View

OTHER = Record("voter-b", "ib", 1).encode()


def view(revision: int, term: int = 1) -> View:
    return View(Entry(OTHER, revision), Entry(str(term).encode(), 2))


def step(lead: Leadership, now: float, answer: Answer, took: float = 0.0) -> Kind:
    """Give the answer to what is due at `now`, `took` seconds later; return what was due."""
    request = lead.poll(now)
    assert request is not None
    lead.answer(request, now, now + took, answer)
    return request.kind


def leading(now: float = 0.0) -> Leadership:
    lead = Leadership("voter-a", "ia")
    assert step(lead, now, View()) is Kind.READ
    assert step(lead, now, Swapped(2)) is Kind.ACQUIRE
    return lead


def test_an_absent_record_is_taken_at_once_with_a_higher_term() -> None:
    lead = Leadership("voter-a", "ia")
    step(lead, 0.0, View(term=Entry(b"7", 5)))
    request = lead.poll(0.0)
    assert request is not None
    assert request.swap is not None
    assert request.swap.expect == {LEADER: Entry(), TERM: Entry(b"7", 5), EPOCH: Entry()}
    assert request.swap.put[TERM] == b"8"


def test_one_request_at_a_time() -> None:
    lead = Leadership("voter-a", "ia")
    assert lead.poll(0.0) is not None
    assert lead.poll(100.0) is None


def test_validity_counts_from_before_the_request_left() -> None:
    lead = Leadership("voter-a", "ia")
    step(lead, 0.0, View())
    step(lead, 1.0, Swapped(2), took=2.0)
    assert lead.is_leader(10.9)
    assert not lead.is_leader(11.0)


def test_an_answer_older_than_the_validity_makes_nobody_leader() -> None:
    lead = Leadership("voter-a", "ia")
    step(lead, 0.0, View())
    step(lead, 0.0, Swapped(2), took=10.0)
    assert not lead.is_leader(10.0)
    assert step(lead, 10.0, Lost()) is Kind.ACQUIRE


def test_a_holder_renews_and_only_that_extends() -> None:
    lead = leading()
    assert lead.poll(2.4) is None
    assert step(lead, 2.5, Swapped(3)) is Kind.RENEW
    assert lead.deadline == 12.5


def test_a_read_of_ones_own_record_does_not_extend() -> None:
    lead = leading()
    assert step(lead, 2.5, Unknown()) is Kind.RENEW
    assert step(lead, 4.5, View(Entry(Record("voter-a", "ia", 1).encode(), 3), Entry(b"1", 2))) is Kind.READ
    assert lead.deadline == 10.0
    assert step(lead, 4.5, Swapped(4)) is Kind.RENEW
    assert lead.deadline == 14.5


def test_a_renewal_confirmed_too_late_does_not_bring_it_back() -> None:
    lead = leading()
    assert step(lead, 8.0, Swapped(3), took=3.0) is Kind.RENEW
    assert not lead.is_leader(11.0)
    assert step(lead, 11.0, Swapped(4)) is Kind.ACQUIRE
    assert lead.term == 2


def test_a_lost_swap_demotes_at_once() -> None:
    lead = leading()
    step(lead, 2.5, Lost())
    assert not lead.is_leader(2.5)
    assert step(lead, 2.5, view(3)) is Kind.READ
    assert lead.poll(2.6) is None


def test_another_in_the_record_demotes_at_once() -> None:
    lead = leading()
    step(lead, 2.5, Unknown())
    step(lead, 3.5, view(9))
    assert not lead.is_leader(3.5)


def test_a_record_is_taken_over_after_it_was_seen_unchanged() -> None:
    lead = Leadership("voter-a", "ia")
    step(lead, 0.0, view(5), took=1.0)
    now = 1.0
    while lead.wake < 13.0:
        now = lead.wake
        assert step(lead, now, view(5)) is Kind.READ
    assert step(lead, 13.0, Swapped(6)) is Kind.ACQUIRE
    assert lead.is_leader(13.0)


def test_a_renewed_record_starts_the_wait_anew() -> None:
    lead = Leadership("voter-a", "ia")
    step(lead, 0.0, view(5))
    step(lead, 11.0, view(6))
    assert step(lead, 12.0, view(6)) is Kind.READ
    assert step(lead, 23.0, Lost()) is Kind.ACQUIRE


def test_only_the_same_incarnation_is_me() -> None:
    lead = Leadership("voter-a", "new")
    clone = View(Entry(Record("voter-a", "old", 1).encode(), 2), Entry(b"1", 2))
    step(lead, 0.0, clone)
    assert lead.poll(0.5) is None


def test_the_first_record_seen_is_not_believed_until_it_changes() -> None:
    lead = Leadership("voter-a", "ia")
    step(lead, 0.0, view(5))
    assert lead.leader(0.0) is None
    step(lead, 1.0, view(6))
    assert lead.leader(1.0) == ("voter-b", 9.0)
    step(lead, 2.0, view(6))
    assert lead.leader(9.5) == ("voter-b", 0.5)
    assert lead.leader(10.0) is None


def test_a_restored_snapshot_with_a_new_epoch_repeats_no_term() -> None:
    lead = Leadership("voter-a", "ia")
    step(lead, 0.0, View(term=Entry(b"3", 2), epoch=Entry(b"5", 4)))
    step(lead, 0.0, Swapped(9))
    assert lead.term == 5 * EPOCH_SPAN + 1
    assert lead.token is not None
    assert lead.token.number == (5, 9)


def test_resigning_demotes_first_and_then_clears_the_record() -> None:
    lead = leading()
    lead.resign()
    assert not lead.is_leader(0.1)
    request = lead.poll(0.1)
    assert request is not None
    assert request.kind is Kind.RESIGN
    lead.answer(request, 0.1, 0.2, Swapped(3))
    assert lead.resigned
    assert lead.poll(100.0) is None


def test_resigning_while_a_request_is_under_way_clears_what_it_wrote() -> None:
    lead = Leadership("voter-a", "ia")
    step(lead, 0.0, View())
    take = lead.poll(0.0)
    assert take is not None
    lead.resign()
    lead.answer(take, 0.0, 0.5, Swapped(2))
    assert not lead.is_leader(0.5)
    assert not lead.resigned
    assert step(lead, 0.5, Swapped(3)) is Kind.RESIGN
    assert lead.resigned


def test_a_refused_leader_write_demotes_its_own_term_only() -> None:
    lead = leading()
    old = lead.token
    assert old is not None
    lead.fenced(type(old)(Entry(b"0", 1), Entry()))
    assert lead.is_leader(1.0)
    lead.fenced(old)
    assert not lead.is_leader(1.0)


def test_an_engine_that_fails_fast_is_not_asked_in_a_loop() -> None:
    lead = Leadership("voter-a", "ia")
    step(lead, 0.0, View())
    step(lead, 0.0, Unknown())
    assert lead.poll(0.9) is None
    step(lead, 1.0, View())
    step(lead, 1.0, Lost())
    assert lead.poll(1.9) is None


@pytest.mark.parametrize("value", [b"", b"x", b"-1", b"1_0", b"1.5", b"\xff", b"9" * 20, b"9" * 5000])
@pytest.mark.parametrize("key", ["term", "epoch"])
def test_a_term_or_an_epoch_that_cannot_be_counted_on_from_is_an_error(key: str, value: bytes) -> None:
    lead = Leadership("voter-a", "ia")
    with pytest.raises(UnfitError):
        step(lead, 0.0, replace(View(), **{key: Entry(value, 2)}))
    assert lead.term == 0
    step(lead, 1.0, View(term=Entry(b" 7\n", 5)))
    assert lead.term == 7


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"[" * 100_000,
        b'{"node": "voter-b", "incarnation": "ib", "term": Infinity}',
        b'{"node": "voter-b", "incarnation": "ib", "term": 1e999}',
        b'{"node": "voter-b", "incarnation": "ib", "term": ' + b"9" * 401 + b"}",
        b'{"node": "voter-b", "incarnation": "ib", "term": true}',
        b'{"node": "voter b", "incarnation": "ib", "term": 1}',
        b'{"node": ["voter-b"], "incarnation": "ib", "term": 1}',
        b'{"node": "voter-b", "incarnation": "", "term": 1}',
        b'{"node": "voter-b", "term": 1}',
    ],
)
def test_a_record_that_is_none_names_nobody_and_is_taken_over_in_time(value: bytes) -> None:
    lead = Leadership("voter-a", "ia")
    step(lead, 0.0, View(Entry(OTHER, 2)))
    step(lead, 1.0, View(Entry(value, 3)))
    assert lead.record is None
    assert lead.leader(1.5) is None
    assert step(lead, 2.0, View(Entry(value, 3))) is Kind.READ
    assert step(lead, 13.0, Swapped(4)) is Kind.ACQUIRE
