"""Whether a lost quorum is rebuilt, from whose data, and by which voters."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from http import HTTPStatus
from typing import Any, TypedDict

from ansible_collections.p2p.cluster.plugins.plugin_utils.door.words import EPOCH_SPAN, LARGEST_EPOCH
from ansible_collections.p2p.cluster.plugins.plugin_utils.output.escape import line, paragraph
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.why import first_line

Answer = Mapping[str, Any]
# Seconds for which a leader may hold although nobody hears of it: `takeover` of the orchestrator's `Timing`.
LEASE_SECONDS = 12.0
# A voter may say whatever term it likes: so far it is believed, and as much is left for later recoveries.
LARGEST_TOLD_EPOCH = LARGEST_EPOCH // 2


class Recovery(TypedDict):
    """A recovery before anything was done; lists hold node names in the fleet file's order.

    `members` form the new cluster, `sources` are those of them whose data are read first (one of them alone
    prepares a given `snapshot`), `left_out` says why other voters are no members: they could not be asked.
    `told` is what each member says, `witnesses` what those of them say that speaks for a quorum. `refusal`
    says why nothing is done, `confirmation` is what the operator has to name. The other keys are those of a
    deploy's plan that roles and the summary read.
    """

    members: list[str]
    sources: list[str]
    left_out: dict[str, str]
    witnesses: dict[str, str]
    confirmation: list[str]
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
    confirmed: object = "",
    check: bool = False,
) -> Recovery:
    """Decide what a recovery does.

    Args:
        answers: The registered result of `p2p_probe` for each voter of the fleet file.
        voters: All of them, in the file's order.
        quorum: The live store, from `p2p_store_quorum`.
        cluster: The cluster's name.
        now: A time as text, part of the new cluster's token.
        epoch: What the recovery epoch becomes at least; more if a voter tells a term of a later one.
        snapshot: A snapshot on the controller to be used in place of a survivor's data.
        confirmed: What the operator gave to confirm: the names of all voters that could not be asked, in a
            list or separated by commas, or the cluster's name if there are none.
        check: Whether the run only previews, which needs no confirmation; one that is given has to be right.

    Returns:
        The plan. It refuses while a majority answers, while any voter says that there is a quorum, while a
        majority holds its data and could be started (unless a snapshot is given), without any survivor's
        data or snapshot, and without the confirmation.
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
        witnesses=witnesses(answers, members),
        confirmation=list(left_out) or [cluster],
        snapshot=snapshot,
        token=f"{cluster}-{now}",
        epoch=max([epoch, *(_epoch(answers[name]) + 1 for name in members)]),
        refusal="",
        quorum=quorum,
        told={name: _told(answers[name]) for name in members},
        quorum_expected=True,
        bootstrap=[],
        joining=[],
        voters_at_once=members,
        voters_one_by_one=[],
    )
    plan["refusal"] = _refusal(plan, voters, holding) or _unconfirmed(
        plan, voters, cluster, _names(confirmed), check=check
    )
    return plan


def witnesses(answers: Mapping[str, Answer], names: Sequence[str]) -> dict[str, str]:
    """Return which of these voters say that there is a quorum, and in which words.

    One of them is enough: those that it hears may be out of the controller's reach and well.

    Args:
        answers: The registered result of `p2p_probe` for each voter.
        names: Whose answers are looked at.
    """
    found = {name: _evidence(answers[name]) for name in names if "probe" in answers.get(name, {})}
    return {name: ", ".join(words) for name, words in found.items() if words}


def why_not_lost(told: Mapping[str, str]) -> str:
    """Return why a recovery is refused while there are `witnesses`, "" without any."""
    if not told:
        return ""
    each = "; ".join(f"{name} {words}" for name, words in told.items())
    return line(
        f"there may be a quorum, and a second store beside it would have a second leader: {each}. This"
        " controller may be cut off from the others: mend its connection, or run this from where it reaches"
        " them. A leader that was lost a moment ago is named for some seconds more: wait, and run again. If a"
        " voter is known to lie or to be broken, stop it or take it out of p2p_voters, and run again"
    )


def _refusal(plan: Recovery, voters: Sequence[str], holding: Sequence[str]) -> str:
    quorum, majority = plan["quorum"], len(voters) // 2 + 1
    if _holds(quorum):
        return (
            f"{len(quorum['counting'])} of {len(quorum['members'])} members answer and agree, a quorum is"
            f" {quorum['quorum']}: nothing is lost. voters.yml replaces a voter, deploy.yml mends one"
        )
    if plan["witnesses"]:
        return why_not_lost(plan["witnesses"])
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
    return ""


def _holds(quorum: Mapping[str, Any]) -> bool:
    return bool(quorum["members"]) and quorum["tolerates"] >= 0


def _names(confirmed: object) -> list[str]:
    """Return the names of a confirmation, each once; those of a text stand between commas or spaces."""
    parts = confirmed if isinstance(confirmed, list | tuple) else [confirmed or ""]
    return list(dict.fromkeys(name for part in parts for name in re.split(r"[,\s]+", str(part)) if name))


def _unconfirmed(
    plan: Recovery, voters: Sequence[str], cluster: str, given: Sequence[str], *, check: bool
) -> str:
    """Return why the operator did not confirm this recovery, and how it is confirmed; "" if it was."""
    wanted = plan["confirmation"]
    if set(given) == set(wanted) or (check and not given):
        return ""
    wrong = [_slip(name, plan, voters, cluster) for name in given if name not in wanted]
    forgotten = [name for name in wanted if name not in given]
    if given and plan["left_out"] and forgotten:
        wrong.append(f"it leaves out {', '.join(forgotten)}")
    told = f"p2p_recover_confirm: {'; '.join(wrong)}. " if wrong else ""
    cost, what = (
        (
            "shuts out the voters that do not answer now: once you know that they do not come back",
            "each of them",
        )
        if plan["left_out"]
        else ("puts aside what the others hold: once you want that", "the cluster")
    )
    return line(
        f"{told}A recovery makes a new store out of what one voter holds, and {cost}, confirm it with"
        f" -e p2p_recover_confirm={','.join(wanted)} ({what} by name)"
    )


def _slip(name: str, plan: Recovery, voters: Sequence[str], cluster: str) -> str:
    """Return what is wrong with a name that was given and not wanted."""
    if name in plan["members"]:
        return f"{name} answers, so that it is no missing voter"
    if name == cluster:
        return f"{name} is the cluster, and it is the voters that do not answer who are named"
    there = {one.casefold(): one for one in (*voters, *plan["confirmation"])}
    near = get_close_matches(name.casefold(), there, n=1)
    return f"{name} is no voter of the fleet file" + (f" (the nearest is {there[near[0]]})" if near else "")


def recovery_text(plan: Recovery, check: bool = False) -> list[str]:
    """Return a recovery in lines for people."""
    verb = "would be" if check or plan["refusal"] else "will be"
    quorum = plan["quorum"]
    state = "which is a quorum" if _holds(quorum) else "which is no quorum"
    lines = [
        f"etcd: {len(quorum['counting'])} of {len(quorum['members'])} members count, {state}"
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
    if check and not plan["refusal"]:
        lines.append(f"the run is confirmed with -e p2p_recover_confirm={','.join(plan['confirmation'])}")
    if plan["left_out"]:
        lines.append(
            "afterwards name others in p2p_voters in the place of those left out, and run voters.yml: it"
            " refuses voters that do not answer"
        )
    elif len(plan["members"]) % 2 == 0:
        lines.append("run voters.yml afterwards: the voters of the fleet file are an even number")
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


def _status(answer: Answer) -> Mapping[str, Any] | None:
    """Return what a voter's orchestrator says on /status, None if none answers."""
    probe = answer.get("probe") or {}
    page = (probe.get("http") or {}).get("status") or {}
    foreign = (probe.get("listener") or {}).get("orchestrator") is False
    return (page.get("body") or {}) if page.get("status") == HTTPStatus.OK and not foreign else None


def _epoch(answer: Answer) -> int:
    """Return the recovery epoch of the term that a voter's orchestrator tells, 0 for one that cannot be."""
    epoch = int((_status(answer) or {}).get("term") or 0) // EPOCH_SPAN
    return epoch if epoch <= LARGEST_TOLD_EPOCH else 0


def _leader(store: Mapping[str, Any]) -> str:
    """Return the name of the store's leader as a member tells it, "" if it knows none."""
    leader = str(store.get("leader") or "0")
    names = {str(member["id"]): str(member.get("name") or "") for member in store.get("members") or []}
    return (names.get(leader) or f"the member {leader}") if leader.strip("0") else ""


def _evidence(answer: Answer) -> list[str]:
    """Return what of an answer says that there is a quorum."""
    leader, status = _leader(_store(answer)), _status(answer) or {}
    words = [f"names {leader} as the store's leader"] if leader else []
    age = status.get("seconds_since_quorum")
    if status.get("leader_id"):
        words.append(f"its orchestrator names {status['leader_id']} as leader")
    elif status.get("voter_quorum_ok") and (age is None or age < LEASE_SECONDS):
        when = "" if age is None else f" that was there {age:.0f} s ago"
        words.append(f"its orchestrator sees a quorum{when}")
    return words


def _told(answer: Answer) -> str:
    """Return what a voter says of the store: its data, its member, its orchestrator."""
    store, status, words = _store(answer), _status(answer), _evidence(answer)
    has = store.get("has_data")
    held = "may hold data" if has is None else "holds data" if has else "holds no data"
    if has and store.get("member_id"):
        held += f" up to raft index {store['raft_index']}"
    if not _leader(store) and (store.get("member_id") or has is not False):
        words.insert(0, "knows no leader" if store.get("member_id") else "its member does not answer")
    if status is not None and not any(one.startswith("its orchestrator") for one in words):
        words.append("its orchestrator knows no leader")
    return ", ".join([held, *words])


class FilterModule:
    """Filters about a recovery."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {
            "p2p_most_advanced": most_advanced,
            "p2p_recovery_plan": recovery_plan,
            "p2p_recovery_text": recovery_text,
            "p2p_recovery_witnesses": witnesses,
            "p2p_why_not_lost": why_not_lost,
        }
