"""Whether a voter may be stopped: the one place where the quorum is counted."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple, TypedDict

from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.members import (
    electors,
    has_leader,
    living,
    the_store,
)
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.rule import why_unsure
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.working import (
    leads_on,
    nobody_leads,
    rests,
    status,
    store_is_lost,
)

# Raft entries that a member may be behind the furthest one and still count as caught up: about what
# a busy cluster writes in the second between two questions.
MAX_LAG = 1000
SILENT = "its etcd member does not answer"
# No node that a run reaches for: the fleet file does not hold it, or calls it something else than ready.
UNASKED = "it was not asked"
STORE = "etcd members"


class Quorum(TypedDict):
    """The live cluster as its own members tell it.

    `members` are the names of the voting members, `counting` those that hold up the quorum now, `down`
    says why each of the others does not; `quorum` is the majority of `members`, `tolerates` how many of
    the counting may still fail (negative: the quorum is lost). `leader` is etcd's own leader.
    """

    members: list[str]
    counting: list[str]
    down: dict[str, str]
    quorum: int
    tolerates: int
    leader: str | None


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


def majority(voters: int) -> int:
    """Return how many of `voters` are a true majority."""
    return voters // 2 + 1


def by_node(results: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return the results of a task that looped over node names, by that name."""
    return {str(result["item"]): result for result in results}


def store_quorum(
    answers: Mapping[str, Mapping[str, Any]],
    voters: Collection[str] | None = None,
    known: Mapping[str, Any] | None = None,
) -> Quorum:
    """Read the live cluster out of what each voter's own etcd member says.

    Args:
        answers: The registered result of a node's probe, by its name; without `probe` when it could not be
            asked. Of the fleet file's voters, or, with `voters`, of every node.
        voters: The file's voters. Then those that vote now, and no other node, are heard with them.
        known: The store as this controller last saw it work, from the lookup `p2p_store_known`.

    Returns:
        The cluster that most of these tell. A member counts only if it answered for itself with
        that cluster's id and its own member id, follows or is a leader, is no learner, has no alarm and
        is caught up with most of those that answered. A voter that cannot be asked does not count.
    """
    remembered = known or {}
    heard = answers if voters is None else electors(answers, voters, remembered.get("members") or {})
    store = the_store(answers, heard, remembered)
    ours = store.told
    if not ours:
        return Quorum(members=[], counting=[], down={}, quorum=0, tolerates=0, leader=None)
    voting = {str(member["id"]): str(member["name"]) for member in store.members if not member["learner"]}
    # What a majority of them has reached: a single one may say whatever it likes.
    reached = sorted((int(member["raft_index"]) for member in ours.values()), reverse=True)
    index = reached[majority(len(reached)) - 1]
    names_by_id: dict[str, str] = {}
    for name, told in ours.items():
        listed = voting.get(own := str(told["member_id"]), "")
        # Whom the list calls so it is, whoever else says the same of itself, there or not.
        if listed == name or (listed not in answers and own not in names_by_id):
            names_by_id[own] = name
    down: dict[str, str] = {}
    counting: list[str] = []
    for member_id, listed in voting.items():
        name = names_by_id.get(member_id, listed or member_id)
        if (
            member_id not in names_by_id
            and name in names_by_id.values()
            and list(voting.values()).count(name) > 1
        ):
            name = member_id  # The list calls another one so, too, and that one says it of itself.
        answer = ours[name] if member_id in names_by_id else None
        why = _why_not_counting(answer, index) if answer or name in answers else UNASKED
        if why is None:
            counting.append(name)
        else:
            down[name] = why
    quorum = majority(len(voting))
    leaders = Counter(str(answer["leader"]) for answer in ours.values() if has_leader(answer))
    leader = leaders.most_common(1)[0][0] if leaders else None
    return Quorum(
        members=sorted([*counting, *down]),
        counting=sorted(counting),
        down=down,
        quorum=quorum,
        tolerates=len(counting) - quorum,
        leader=voting.get(leader) if leader else None,
    )


def orchestrator_quorum(answers: Mapping[str, Mapping[str, Any]]) -> Quorum:
    """Return which voters' orchestrators name a leader and heard a majority.

    Args:
        answers: The registered result of each voter's probe.
    """
    down: dict[str, str] = {}
    leaders = Counter[str]()
    for name, answer in answers.items():
        body = status(answer)
        if body is None:
            down[name] = "its orchestrator does not answer"
            continue
        if body.get("leader_id"):
            leaders[str(body["leader_id"])] += 1
        if not leads_on(answer):
            what = "heard no majority of late" if body.get("leader_id") else "names no leader"
            down[name] = f"its orchestrator {what}"
    quorum = majority(len(answers))
    return Quorum(
        members=sorted(answers),
        counting=sorted(set(answers) - set(down)),
        down=down,
        quorum=quorum,
        tolerates=len(answers) - len(down) - quorum,
        leader=leaders.most_common(1)[0][0] if leaders else None,
    )


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
    spared = counting - counts >= quorum["quorum"]
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
    if quorum["down"]:
        down = "; ".join(f"{name} ({why})" for name, why in sorted(quorum["down"].items()))
        remedy = f"mend first: {down}"
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
    return ready and (not store or (member is not None and _why_not_counting(member, 0) is None))


def _why_not_counting(answer: Mapping[str, Any] | None, furthest: int) -> str | None:
    if answer is None:
        return SILENT
    if answer.get("learner"):
        return "its etcd member is a learner"
    if not has_leader(answer):
        return "its etcd member knows no leader"
    if answer.get("alarms"):
        return "its etcd member raised " + ", ".join(map(str, answer["alarms"]))
    if furthest - int(answer["raft_index"]) > MAX_LAG:
        return f"its etcd member is {furthest - int(answer['raft_index'])} entries behind"
    return None


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
