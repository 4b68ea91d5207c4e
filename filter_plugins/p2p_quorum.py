"""Whether a voter may be stopped: the one place where the quorum is counted."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from http import HTTPStatus
from typing import Any, TypedDict

from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.members import (
    electors,
    has_leader,
    living,
    the_store,
)

# Raft entries that a member may be behind the furthest one and still count as caught up: about what
# a busy cluster writes in the second between two questions.
MAX_LAG = 1000
SILENT = "its etcd member does not answer"
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
    """An answer of the gate: `allowed`, and in `reason` one sentence with the figures and the remedy."""

    allowed: bool
    reason: str


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
    store = the_store(answers, heard, str(remembered.get("cluster_id") or ""))
    ours = store.told
    if not ours:
        return Quorum(members=[], counting=[], down={}, quorum=0, tolerates=0, leader=None)
    voting = {str(member["id"]): str(member["name"]) for member in store.members if not member["learner"]}
    # What a majority of them has reached: a single one may say whatever it likes.
    reached = sorted((int(member["raft_index"]) for member in ours.values()), reverse=True)
    index = reached[majority(len(reached)) - 1]
    names_by_id: dict[str, str] = {}
    for name, told in ours.items():
        # Whom the list calls so it is, whoever else says the same of itself.
        if (own := str(told["member_id"])) not in names_by_id or voting.get(own) == name:
            names_by_id[own] = name
    down: dict[str, str] = {}
    counting: list[str] = []
    for member_id, listed in voting.items():
        name = names_by_id.get(member_id, listed or member_id)
        answer = ours[name] if member_id in names_by_id else None
        why = _why_not_counting(answer, index)
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
    """Return which voters' orchestrators take part now; the arguments are those of `store_quorum`."""
    down: dict[str, str] = {}
    leaders = Counter[str]()
    for name, answer in answers.items():
        status = (answer.get("probe") or {}).get("http", {}).get("status", {})
        if status.get("status") != HTTPStatus.OK:
            down[name] = "its orchestrator does not answer"
        elif status["body"].get("leader_id"):
            leaders[str(status["body"]["leader_id"])] += 1
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
) -> Verdict:
    """Decide whether services of the voter `stopping` may be stopped now.

    Args:
        answers: For each voter of the fleet file the registered result of its probe.
        stopping: Name of the node whose services would stop.
        services: Names of the services that would stop.
        etcd_service: Which of them is the store's; any other is the orchestrator.
        accept_outage: The operator said that a lost quorum is accepted.

    Returns:
        Allowed when the node does not count in any of the services, or when the others that count are
        still a majority without it.
    """
    if etcd_service in services and (other := _of_another_store(answers, stopping)):
        return Verdict(allowed=accept_outage, reason=other)
    verdicts = [
        _spare(store_quorum(answers), stopping, STORE, accept_outage=accept_outage)
        if service == etcd_service
        else _spare(orchestrator_quorum(answers), stopping, "orchestrators", accept_outage=accept_outage)
        for service in services
    ]
    refused = [verdict for verdict in verdicts if not verdict["allowed"]]
    return Verdict(
        allowed=not refused,
        reason="; ".join(verdict["reason"] for verdict in refused or verdicts) or "nothing of it stops",
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


def _spare(quorum: Quorum, stopping: str, what: str, *, accept_outage: bool) -> Verdict:
    counting, members = len(quorum["counting"]), len(quorum["members"])
    # Members know no leader without a majority: where some do, those that are silent hold it up with them.
    if what == STORE and quorum["down"].get(stopping) == SILENT and 0 < counting < quorum["quorum"]:
        if accept_outage:
            return Verdict(allowed=True, reason=f"{stopping} stops, as p2p_accept_outage allows")
        return Verdict(
            allowed=False,
            reason=f"{counting} of {members} {what} answer and still know a leader, which takes"
            f" {quorum['quorum']}: {stopping} may be one of them although it is silent; see on the voters"
            " why etcd does not answer, and run again (-e p2p_accept_outage=true stops it nevertheless)",
        )
    if stopping not in quorum["counting"]:
        return Verdict(
            allowed=True, reason=f"{stopping} does not count among the {what}: stopping it is free"
        )
    figures = f"{counting} of {members} {what} count, a quorum is {quorum['quorum']}"
    if counting - 1 >= quorum["quorum"]:
        return Verdict(allowed=True, reason=f"{figures}: {stopping} may stop")
    if accept_outage:
        return Verdict(allowed=True, reason=f"{figures}: {stopping} stops, as p2p_accept_outage allows")
    remedy = (
        "mend first: " + "; ".join(f"{name} ({why})" for name, why in sorted(quorum["down"].items()))
        if quorum["down"]
        else "one or two voters cannot be kept up through a restart: add voters, or accept the outage"
    )
    return Verdict(
        allowed=False,
        reason=f"{figures}: stopping {stopping} would lose it; {remedy}"
        " (-e p2p_accept_outage=true stops it nevertheless)",
    )


def takes_part(
    answer: Mapping[str, Any], *, store: bool, listened: bool = True, settings: str | None = None
) -> bool:
    """Tell whether a voter counts again after a restart.

    It answers, knows a leader and has listened to the nodes for a whole window: were the leader stopped
    before that, nobody would know any more who is alive.

    Args:
        answer: The registered result of its probe.
        store: Whether it holds an etcd member, too.
        listened: Whether it must have listened. While the leader stays another voter may be stopped before,
            since the leader knows who is alive.
        settings: The text of its settings file, which it must run on; a release that does not tell is
            believed.
    """
    probe = answer.get("probe") or {}
    status = probe.get("http", {}).get("status", {})
    body = status.get("body") or {}
    ready = bool(body.get("leader_id")) and (not listened or body.get("listened", True))
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
