"""Whether a lost quorum is rebuilt, from whose data, and by which voters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from ansible_collections.p2p.cluster.plugins.plugin_utils.output.escape import paragraph
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.why import first_line

Answer = Mapping[str, Any]


class Recovery(TypedDict):
    """A recovery before anything was done; lists hold node names in the fleet file's order.

    `members` form the new cluster, `sources` are those of them whose data are read first (one of them alone
    prepares a given `snapshot`), `left_out` says why other voters are no members. `refusal` says why nothing
    is done. The other keys are those of a deploy's plan that roles and the summary read.
    """

    members: list[str]
    sources: list[str]
    left_out: dict[str, str]
    snapshot: str
    token: str
    epoch: int
    refusal: str
    quorum: Mapping[str, Any]
    told: dict[str, str]
    quorum_expected: bool
    bootstrap: list[str]
    joining: list[str]
    voters_at_once: list[str]
    voters_one_by_one: list[str]


def recovery_plan(
    answers: Mapping[str, Answer],
    voters: Sequence[str],
    quorum: Mapping[str, Any],
    *,
    cluster: str,
    now: str,
    epoch: int,
    snapshot: str = "",
    confirmed: str = "",
    check: bool = False,
) -> Recovery:
    """Decide what a recovery does.

    Args:
        answers: The registered result of `p2p_probe` for each voter of the fleet file.
        voters: All of them, in the file's order.
        quorum: The live store, from `p2p_store_quorum`.
        cluster: The cluster's name.
        now: A time as text, part of the new cluster's token.
        epoch: What the recovery epoch becomes at least.
        snapshot: A snapshot on the controller to be used in place of a survivor's data.
        confirmed: The cluster's name as the operator gave it to confirm.
        check: Whether the run only previews, which needs no confirmation.

    Returns:
        The plan. It refuses while a majority answers, or while a majority holds its data and could be started
        (unless a snapshot is given), without any survivor's data or snapshot, and without the confirmation.
    """
    members, left_out = [], {}
    for name in voters:
        answer = answers.get(name, {})
        if "probe" in answer:
            members.append(name)
        else:
            left_out[name] = first_line(answer)
    holding = [name for name in members if _store(answers[name]).get("has_data") is not False]
    plan = Recovery(
        members=members,
        sources=members[:1] if snapshot else holding,
        left_out=left_out,
        snapshot=snapshot,
        token=f"{cluster}-{now}",
        epoch=epoch,
        refusal="",
        quorum=quorum,
        told={name: _told(_store(answers[name])) for name in members},
        quorum_expected=True,
        bootstrap=[],
        joining=[],
        voters_at_once=members,
        voters_one_by_one=[],
    )
    plan["refusal"] = _refusal(plan, voters, holding, cluster, "" if check else confirmed, check=check)
    return plan


def _refusal(
    plan: Recovery,
    voters: Sequence[str],
    holding: Sequence[str],
    cluster: str,
    confirmed: str,
    *,
    check: bool,
) -> str:
    quorum, majority = plan["quorum"], len(voters) // 2 + 1
    if quorum["members"] and quorum["tolerates"] >= 0:
        return (
            f"{len(quorum['counting'])} of {len(quorum['members'])} members answer and agree, a quorum is"
            f" {quorum['quorum']}: nothing is lost. voters.yml replaces a voter, deploy.yml mends one"
        )
    if len(holding) >= majority and not plan["snapshot"]:
        return (
            f"{', '.join(holding)} hold the store's data, a majority of the {len(voters)} voters: start them"
            " with deploy.yml. Only if their data are of no use, name a snapshot with"
            " -e p2p_recover_snapshot=<file>"
        )
    if not plan["members"]:
        return "none of the voters answers: nothing can be rebuilt on them"
    if not plan["sources"]:
        return (
            "none of the voters that answer holds the store's data: name a snapshot with"
            " -e p2p_recover_snapshot=<file>"
        )
    if not check and confirmed != cluster:
        return (
            "a recovery makes a new store out of what one voter holds, and shuts out the voters that do not"
            f" answer now: confirm it with the cluster's name, -e p2p_recover_confirm={cluster}"
        )
    return ""


def recovery_text(plan: Recovery, check: bool = False) -> list[str]:
    """Return a recovery in lines for people."""
    verb = "would be" if check else "will be"
    quorum = plan["quorum"]
    lines = [
        f"etcd: {len(quorum['counting'])} of {len(quorum['members'])} members count, the quorum is lost"
        if quorum["members"]
        else "etcd: no member answers"
    ]
    lines += [f"  {name}: {told}" for name, told in plan["told"].items()]
    lines += [f"left out: {name} ({why})" for name, why in plan["left_out"].items()]
    origin = plan["snapshot"] or f"the most advanced data of {', '.join(plan['sources']) or 'nobody'}"
    lines.append(f"a new store {verb} made from {origin}, with recovery epoch {plan['epoch']} or higher")
    lines.append(
        f"its members {verb} {', '.join(plan['members']) or 'nobody'};"
        " their orchestrators and etcd stop meanwhile, old data are kept aside"
    )
    if len(plan["members"]) % 2 == 0 or plan["left_out"]:
        lines.append("run voters.yml afterwards: the voters of the fleet file are not all members")
    return [paragraph(line) for line in lines]


def most_advanced(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the most advanced survivor holds, {} if nobody holds anything.

    Data of a later recovery win over all others, whatever their revision; in one cluster the revision and
    raft's applied index rise together. The smaller name wins a tie.

    Args:
        results: The registered results of `p2p_etcd_salvage`.
    """
    found = [dict(result["salvaged"]) for result in results if "found" in (result.get("salvaged") or {})]
    rank = ("epoch", "revision", "applied", "term")
    return min(found, key=lambda one: (*(-int(one[key]) for key in rank), one["node"]), default={})


def _store(answer: Answer) -> Mapping[str, Any]:
    return (answer.get("probe") or {}).get("etcd") or {}


def _told(store: Mapping[str, Any]) -> str:
    if store.get("has_data") is False:
        return "holds no data"
    if store.get("member_id"):
        return f"holds data up to raft index {store['raft_index']}, and knows no majority"
    return "holds data, and its member does not answer"


class FilterModule:
    """Filters about a recovery."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {
            "p2p_most_advanced": most_advanced,
            "p2p_recovery_plan": recovery_plan,
            "p2p_recovery_text": recovery_text,
        }
