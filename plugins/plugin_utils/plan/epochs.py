"""Recovery epochs: which the cluster has had, as far as anybody's word for it goes.

An epoch is the Unix time of the recovery that raised it, or one more than an earlier one that was later.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from http import HTTPStatus
from typing import Any

from ansible_collections.p2p.cluster.plugins.plugin_utils.door.words import EPOCH_SPAN, LARGEST_EPOCH

Answer = Mapping[str, Any]
# Nobody's word goes further: as much is left for later recoveries.
LARGEST_TOLD_EPOCH = LARGEST_EPOCH // 2
# How far apart the clocks of two controllers may be, in seconds.
CLOCK_SKEW = 24 * 3600


def status_of(answer: Answer) -> Mapping[str, Any] | None:
    """Return what a node's orchestrator says on /status, None if none answers.

    Args:
        answer: The registered result of `p2p_probe`.
    """
    probe = answer.get("probe") or {}
    page = (probe.get("http") or {}).get("status") or {}
    foreign = (probe.get("listener") or {}).get("orchestrator") is False
    return (page.get("body") or {}) if page.get("status") == HTTPStatus.OK and not foreign else None


def told_epoch(answer: Answer) -> int:
    """Return the epoch of the term that a node's orchestrator tells, 0 for one that cannot be."""
    epoch = int((status_of(answer) or {}).get("term") or 0) // EPOCH_SPAN
    return epoch if epoch <= LARGEST_TOLD_EPOCH else 0


def agreed_epoch(answers: Mapping[str, Answer], voters: Collection[str]) -> int:
    """Return the latest epoch that more than half of the voters reach, which no minority can raise.

    Args:
        answers: The registered result of `p2p_probe`, by node.
        voters: All of them; one without an answer reaches 0.
    """
    told = sorted((told_epoch(answers.get(name, {})) for name in voters), reverse=True)
    return told[len(told) // 2] if told else 0


def latest_believable(answers: Mapping[str, Answer], voters: Collection[str], *, now: int, known: int) -> int:
    """Return the latest epoch that a single voter is believed.

    A true one is no time to come, unless an earlier one was; such a one the controller knows, or a majority
    tells it.

    Args:
        answers: The registered result of `p2p_probe`, by node.
        voters: All of them.
        now: Unix time in seconds.
        known: The latest epoch that this controller has seen, 0 if none.
    """
    return max(now + CLOCK_SKEW, known, agreed_epoch(answers, voters))


def next_epoch(answers: Mapping[str, Answer], voters: Collection[str], *, now: int, known: int) -> int:
    """Return an epoch for a new store: at least `now`, and above each that is known or believed.

    The arguments are those of `latest_believable`.
    """
    latest = latest_believable(answers, voters, now=now, known=known)
    told = (told_epoch(answers.get(name, {})) for name in voters)
    return max(now, known + 1, *(epoch + 1 for epoch in told if epoch <= latest))
