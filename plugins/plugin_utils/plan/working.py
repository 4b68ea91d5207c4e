"""Whether a voter works, as far as it can be known: what is starting, or could not be looked at, may."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.members import has_leader, living

Answer = Mapping[str, Any]
# Seconds after which a majority that was heard is no proof any more: `WINDOW` of the orchestrator.
WINDOW_SECONDS = 15.0


def service_of(answer: Answer, name: str) -> Mapping[str, Any]:
    """Return what a node's service manager says of a service, {} if it could not be asked."""
    found: Mapping[str, Any] = ((answer.get("probe") or {}).get("services") or {}).get(name) or {}
    return found


def rests(answer: Answer, name: str) -> bool:
    """Tell whether a node says that a service of its own surely does not work."""
    service = service_of(answer, name)
    return (
        service.get("load") == "not-found"
        or service.get("active") in ("inactive", "failed")
        # It ended, and waits for its next try.
        or service.get("sub") == "auto-restart"
    )


def status(answer: Answer) -> Mapping[str, Any] | None:
    """Return what a node's orchestrator says on /status, None if it does not answer."""
    page = ((answer.get("probe") or {}).get("http") or {}).get("status") or {}
    return (page.get("body") or {}) if page.get("status") == HTTPStatus.OK else None


def leads_on(answer: Answer) -> bool:
    """Tell whether a node's orchestrator names a leader and heard a majority within the window.

    An answer of the store proves a majority. Whom an orchestrator hears by itself does not: while the voters
    change, those that came hear nothing yet of those that stay. A program that tells no time of such a proof
    says itself whether it hears a majority.
    """
    body = status(answer) or {}
    age = body.get("seconds_since_quorum")
    heard = body.get("voter_quorum_ok") is not False if age is None else age <= WINDOW_SECONDS
    return heard and bool(body.get("leader_id"))


def store_is_lost(answers: Mapping[str, Answer], etcd_service: str) -> bool:
    """Tell whether no majority holds the store: more than half of the voters say so, and none the contrary.

    Args:
        answers: The registered result of `p2p_probe` for each voter.
        etcd_service: Name of the store's service. One that is starting has not found a majority yet.
    """
    if any(has_leader(told) for answer in answers.values() if (told := living(answer))):
        return False
    without = [
        name
        for name, answer in answers.items()
        if living(answer) or rests(answer, etcd_service) or _starting(answer, etcd_service)
    ]
    return len(without) * 2 > len(answers)


def nobody_leads(answers: Mapping[str, Answer], service: str) -> bool:
    """Tell whether more than half of the voters' orchestrators know no leader, and none names one.

    Args:
        answers: The registered result of `p2p_probe` for each voter.
        service: Name of the orchestrator's service.
    """
    if any((status(answer) or {}).get("leader_id") for answer in answers.values()):
        return False
    without = [
        name
        for name, answer in answers.items()
        if status(answer) is not None or rests(answer, service) or _starting(answer, service)
    ]
    return len(without) * 2 > len(answers)


def _starting(answer: Answer, service: str) -> bool:
    return service_of(answer, service).get("active") == "activating"
