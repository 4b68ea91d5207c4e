"""Whether a voter may be stopped."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple, TypedDict

from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.members import (
    has_leader,
    living,
    the_store,
)
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.quorum import (
    Quorum,
    held_without,
    orchestrator_quorum,
    silent_pairs,
    store_quorum,
    why_not_counting,
)
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.rule import why_unsure
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.working import (
    leads_on,
    nobody_leads,
    rests,
    status,
    store_is_lost,
)

STORE = "etcd members"


class Verdict(TypedDict):
    """An answer of the gate: `allowed`, and in `reason` one sentence with the figures and the remedy.

    It is `settled` if the voters need not be asked again: one that refuses, or allows since nobody leads, may
    be the word of one moment.
    """

    allowed: bool
    settled: bool
    reason: str


class _Stop(NamedTuple):
    """A service that would stop: `what` it is one of, and who counts among these.

    `rests` says that it surely does not work, `leaderless` that it knows no leader, or that nobody does.
    `unsure` says why what is told of the others is not enough, or nothing.
    """

    what: str
    quorum: Quorum
    rests: bool
    leaderless: bool
    unsure: str


def by_node(results: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return the results of a task that looped over node names, by that name."""
    return {str(result["item"]): result for result in results}


def gate(
    answers: Mapping[str, Mapping[str, Any]],
    stopping: str,
    services: Collection[str],
    *,
    etcd_service: str,
    accept_outage: bool = False,
    known: Mapping[str, Any] | None = None,
) -> Verdict:
    """Decide whether services of the voter `stopping` may be stopped now.

    Args:
        answers: For each voter of the fleet file the registered result of its probe.
        stopping: Name of the node whose services would stop.
        services: Names of the services that would stop.
        etcd_service: Which of them is the store's; any other is the orchestrator.
        accept_outage: The operator said that a lost quorum is accepted.
        known: The store as this controller last saw it work, from the lookup `p2p_store_known`. It tells
            whose member is whose, and no more.

    Returns:
        Allowed when the others that count are a majority without this voter, as more than half of the voters
        tell, and when it does not count: its service surely does not work, or knows no leader. One of which
        that is not known is taken for one that counts, unless nobody leads.
    """
    if etcd_service in services and (other := _of_another_store(answers, stopping)):
        return Verdict(allowed=accept_outage, settled=accept_outage, reason=other)
    verdicts = [
        _spare(
            _member(answers, stopping, service, known or {})
            if service == etcd_service
            else _orchestrator(answers, stopping, service),
            stopping,
            accept_outage=accept_outage,
        )
        for service in services
    ]
    refused = [verdict for verdict in verdicts if not verdict["allowed"]]
    return Verdict(
        allowed=not refused,
        settled=all(verdict["settled"] for verdict in verdicts),
        reason="; ".join(verdict["reason"] for verdict in refused or verdicts) or "nothing of it stops",
    )


def _member(
    answers: Mapping[str, Mapping[str, Any]], stopping: str, service: str, known: Mapping[str, Any]
) -> _Stop:
    own = living(answers.get(stopping, {}))
    return _Stop(
        what=STORE,
        quorum=store_quorum(answers, known=known),
        rests=rests(answers.get(stopping, {}), service),
        leaderless=store_is_lost(answers, service) or (own is not None and not has_leader(own)),
        unsure=why_unsure(the_store(answers, answers, known), {"members": dict.fromkeys(answers)}, answers),
    )


def _orchestrator(answers: Mapping[str, Mapping[str, Any]], stopping: str, service: str) -> _Stop:
    own = status(answers.get(stopping, {}))
    return _Stop(
        what="orchestrators",
        quorum=orchestrator_quorum(answers),
        rests=rests(answers.get(stopping, {}), service),
        leaderless=nobody_leads(answers, service) or (own is not None and not own.get("leader_id")),
        unsure="",
    )


def _of_another_store(answers: Mapping[str, Mapping[str, Any]], stopping: str) -> str:
    """Return why a member is not stopped that works in another store than most voters tell of, or nothing."""
    told, store = living(answers.get(stopping, {})), the_store(answers, answers)
    if told is None or not has_leader(told) or str(told["cluster_id"]) == store.cluster_id:
        return ""
    return (
        f"the etcd member of {stopping} knows a leader in the store {told['cluster_id']}, and most voters"
        f" tell of {store.cluster_id}: see which is the cluster's, and stop the members of the other first"
        " (-e p2p_accept_outage=true stops it nevertheless)"
    )


def _spare(stop: _Stop, stopping: str, *, accept_outage: bool) -> Verdict:
    what, quorum = stop.what, stop.quorum
    counting, members = len(quorum["counting"]), len(quorum["members"])
    counts = stopping in quorum["counting"]
    free = f"{stopping} does not count among the {what}: stopping it is free"
    if not counts and (stop.rests or stop.leaderless):
        return Verdict(allowed=True, settled=stop.rests, reason=free)
    figures = f"{counting} of {members} {what} count, a quorum is {quorum['quorum']}"
    spared = held_without(quorum, stopping)
    if spared and not stop.unsure:
        return Verdict(
            allowed=True, settled=True, reason=f"{figures}: {stopping} may stop" if counts else free
        )
    if accept_outage:
        return Verdict(
            allowed=True, settled=True, reason=f"{figures}: {stopping} stops, as p2p_accept_outage allows"
        )
    nevertheless = "(-e p2p_accept_outage=true stops it nevertheless)"
    if spared:
        return Verdict(
            allowed=False,
            settled=False,
            reason=f"{stop.unsure}. {stopping} is not stopped: the quorum may be lost {nevertheless}",
        )
    broken = [f"{name} ({why})" for name, why in sorted(quorum["down"].items())]
    broken += silent_pairs(quorum, [stopping])
    if broken:
        remedy = f"mend first: {'; '.join(broken)}"
    else:
        remedy = "one or two voters cannot be kept up through a restart: add voters, or accept the outage"
    loses = "would lose it" if counts else "may lose it, for it may be one of those that hold it up"
    return Verdict(
        allowed=False,
        settled=False,
        reason=f"{figures}: stopping {stopping} {loses}; {remedy} {nevertheless}",
    )


def takes_part(
    answer: Mapping[str, Any], *, store: bool, listened: bool = True, settings: str | None = None
) -> bool:
    """Tell whether a voter counts again after a restart.

    It answers, names a leader, heard a majority, and has listened to the nodes for a whole window: were the
    leader stopped before that, nobody would know any more who is alive.

    Args:
        answer: The registered result of its probe.
        store: Whether it holds an etcd member, too.
        listened: Whether it must have listened. While the leader stays another voter may be stopped before,
            since the leader knows who is alive.
        settings: The text of its settings file, which it must run on; a release that does not tell is
            believed.
    """
    body = status(answer) or {}
    ready = leads_on(answer) and (not listened or body.get("listened", True))
    if settings is not None and "settings_sha256" in body:
        ready = ready and body["settings_sha256"] == hashlib.sha256(settings.encode()).hexdigest()
    member = living(answer)
    return ready and (not store or (member is not None and why_not_counting(member, 0) is None))


class FilterModule:
    """Filters about the quorum."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {
            "p2p_by_node": by_node,
            "p2p_gate": gate,
            "p2p_orchestrator_quorum": orchestrator_quorum,
            "p2p_store_quorum": store_quorum,
            "p2p_takes_part": takes_part,
        }
