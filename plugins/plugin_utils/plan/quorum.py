"""Which voters hold up the quorum, and how many of them may fail."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any, TypedDict

from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.links import Pair, apart
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.members import (
    electors,
    has_leader,
    living,
    the_store,
)
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.tolerance import (
    majority,
    may_lead,
    tolerated,
)
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.working import leads_on, status

# Raft entries that a member may be behind the furthest one and still count as caught up: about what
# a busy cluster writes in the second between two questions.
MAX_LAG = 1000
SILENT = "its etcd member does not answer"
# No node that a run reaches for: the fleet file does not hold it, or calls it something else than ready.
UNASKED = "it was not asked"
NOT_READ = "its etcd member confirms no read with a majority"


class Quorum(TypedDict):
    """The live cluster as its own members tell it.

    `members` are the names of the voting members, `counting` those that hold up the quorum now, `down`
    says why each of the others does not; `quorum` is the majority of `members`, `tolerates` how many of
    the counting may still fail (negative: the quorum is lost). `leader` is etcd's own leader. `apart` are
    pairs of the counting that exchange no messages.
    """

    members: list[str]
    counting: list[str]
    down: dict[str, str]
    quorum: int
    tolerates: int
    leader: str | None
    apart: list[list[str]]


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
        that cluster's id and its own member id, follows or is a leader, confirmed a read with a majority,
        is no learner, has no alarm and is caught up with most of those that answered. A voter that cannot
        be asked does not count.
    """
    remembered = known or {}
    heard = answers if voters is None else electors(answers, voters, remembered.get("members") or {})
    store = the_store(answers, heard, remembered)
    ours = store.told
    if not ours:
        return Quorum(members=[], counting=[], down={}, quorum=0, tolerates=0, leader=None, apart=[])
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
        why = why_not_counting(answer, index) if answer or name in answers else UNASKED
        if why is None:
            counting.append(name)
        else:
            down[name] = why
    quorum = majority(len(voting))
    pairs = apart(answers)
    # Who leads now is reached over connections that were made before, where a majority confirms reads.
    holds = len(counting) >= quorum and sum(ours[name].get("reads") is True for name in counting) >= quorum
    count = tolerated(len(voting), counting, pairs)
    leaders = Counter(str(answer["leader"]) for answer in ours.values() if has_leader(answer))
    leader = leaders.most_common(1)[0][0] if leaders else None
    return Quorum(
        members=sorted([*counting, *down]),
        counting=sorted(counting),
        down=down,
        quorum=quorum,
        tolerates=max(0, count) if holds else count,
        leader=voting.get(leader) if leader else None,
        apart=sorted(sorted(pair) for pair in pairs if pair <= set(counting)),
    )


def held_without(quorum: Mapping[str, Any], name: str, *, leaves: bool = False) -> bool:
    """Tell whether the other voters that count have a majority that exchanges messages.

    Args:
        quorum: From `store_quorum` or `orchestrator_quorum`.
        name: The voter that stops.
        leaves: Whether it is a member no longer afterwards.
    """
    # Of two members with one name each is one.
    members = sum(1 for one in quorum["members"] if not leaves or one != name)
    others = [one for one in quorum["counting"] if one != name]
    return may_lead(members, others, pairs_of(quorum))


def pairs_of(quorum: Mapping[str, Any]) -> frozenset[Pair]:
    """Return the pairs of a quorum that exchange no messages."""
    return frozenset(frozenset(pair) for pair in quorum.get("apart") or ())


def silent_pairs(quorum: Mapping[str, Any], gone: Collection[str] = ()) -> list[str]:
    """Return in words which voters that count exchange no messages.

    Args:
        quorum: From `store_quorum`.
        gone: Names of those that are left out.
    """
    pairs = [pair for pair in quorum.get("apart") or () if not set(pair).intersection(gone)]
    return [f"{one} and {other} (they exchange no messages)" for one, other in pairs]


def orchestrator_quorum(answers: Mapping[str, Mapping[str, Any]]) -> Quorum:
    """Return which voters' orchestrators name a leader and heard a majority.

    Args:
        answers: The registered result of each voter's probe.
    """
    down: dict[str, str] = {}
    leaders = Counter[str]()
    for name, answer in answers.items():
        if (body := status(answer)) and body.get("leader_id"):
            leaders[str(body["leader_id"])] += 1
        if not leads_on(answer):
            down[name] = _why_not_led(answer)
    quorum = majority(len(answers))
    return Quorum(
        members=sorted(answers),
        counting=sorted(set(answers) - set(down)),
        down=down,
        quorum=quorum,
        tolerates=tolerated(len(answers), set(answers) - set(down)),
        leader=leaders.most_common(1)[0][0] if leaders else None,
        apart=[],
    )


def why_apart(answer: Mapping[str, Any]) -> str:
    """Return why a node that answers does not take part in the cluster, as far as it tells.

    Args:
        answer: The registered result of its probe.
    """
    asked = (answer.get("probe") or {}).get("etcd") is not None
    return (
        (why_not_counting(living(answer), 0) if asked else None)
        or (None if leads_on(answer) else _why_not_led(answer))
        or "its orchestrator has not listened to the nodes for long enough, or runs on earlier settings"
    )


def _why_not_led(answer: Mapping[str, Any]) -> str:
    body = status(answer)
    if body is None:
        return "its orchestrator does not answer"
    return f"its orchestrator {'heard no majority of late' if body.get('leader_id') else 'names no leader'}"


def why_not_counting(answer: Mapping[str, Any] | None, furthest: int) -> str | None:
    """Return why a member does not hold up the quorum, None if it does.

    Args:
        answer: What it said of itself, None if nothing.
        furthest: The raft index that most members have reached.
    """
    if answer is None:
        return SILENT
    behind = furthest - int(answer["raft_index"])
    whys = {
        "its etcd member is a learner": answer.get("learner"),
        "its etcd member knows no leader": not has_leader(answer),
        NOT_READ: answer.get("reads") is False,
        f"its etcd member raised {', '.join(map(str, answer.get('alarms') or ()))}": answer.get("alarms"),
        f"its etcd member is {behind} entries behind": behind > MAX_LAG,
    }
    return next((why for why, true in whys.items() if true), None)
