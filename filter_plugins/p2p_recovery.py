"""Whether a lost quorum is rebuilt, from whose data, and by which voters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from ansible_collections.p2p.cluster.plugins.plugin_utils.output.escape import line, paragraph
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.confirm import mistakes, names
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.epochs import (
    latest_believable,
    next_epoch,
    status_of,
)
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.tolerance import majority
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.why import first_line

Answer = Mapping[str, Any]
# Seconds for which a leader may hold although nobody hears of it: `takeover` of the orchestrator's `Timing`.
LEASE_SECONDS = 12.0


class Recovery(TypedDict):
    """A recovery before anything was done; lists hold node names in the fleet file's order.

    `members` form the new cluster, `sources` are those of them whose data are read first (one of them alone
    prepares a given `snapshot`), `left_out` says why other voters are no members: they could not be asked.
    `former` are those of them that voted when this controller last looked, and are not in the file.
    `answering` are the voters that could be asked, whether members or not.
    `told` is what each member says, `witnesses` what those of them say that speaks for a quorum. `refusal`
    says why nothing is done, `possible` whether nothing but a confirmation is missing, `confirmation` is what
    the operator has to name. `epoch` is the least that the recovery epoch becomes, `believed` the latest that
    data may tell and be preferred to others. The other keys are those of a deploy's plan that roles and the
    summary read.
    """

    members: list[str]
    sources: list[str]
    left_out: dict[str, str]
    former: list[str]
    answering: list[str]
    witnesses: dict[str, str]
    confirmation: list[str]
    snapshot: str
    token: str
    epoch: int
    believed: int
    refusal: str
    possible: bool
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
    known: Mapping[str, Any] | None = None,
    probed: Mapping[str, Answer] | None = None,
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
        epoch: The Unix time in seconds, which the recovery epoch becomes at least; more if this controller
            knows a later one, or a voter tells a term of one.
        known: The store as this controller last saw it work, from the lookup `p2p_store_known`. Members of
            it that the file no longer names are not asked, and count as voters that do not answer.
        probed: What every voter answered, those too that are left out of `answers` because they have
            another CA: a quorum may be theirs.
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
    remembered = known or {}
    former = [name for name in remembered.get("members") or {} if name not in voters]
    left_out |= dict.fromkeys(
        former, "it voted when this controller last looked, and is not in p2p_voters: it is not asked"
    )
    latest = int(remembered.get("epoch") or 0)
    holding = [name for name in members if _store(answers[name]).get("has_data") is not False]
    plan = Recovery(
        members=members,
        sources=members[:1] if snapshot else holding,
        left_out=left_out,
        former=former,
        answering=[name for name in voters if "probe" in (probed or answers).get(name, {})],
        witnesses=witnesses(probed or answers, voters),
        confirmation=list(left_out) or [cluster],
        snapshot=snapshot,
        token=f"{cluster}-{now}",
        epoch=next_epoch(answers, voters, now=epoch, known=latest),
        believed=latest_believable(answers, voters, now=epoch, known=latest),
        refusal="",
        possible=True,
        quorum=quorum,
        told={name: _told(answers[name]) for name in members},
        quorum_expected=True,
        bootstrap=[],
        joining=[],
        voters_at_once=members,
        voters_one_by_one=[],
    )
    plan["refusal"] = _refusal(plan, voters, holding)
    plan["possible"] = not plan["refusal"]
    if plan["possible"]:
        plan["refusal"] = _unconfirmed(plan, voters, cluster, names(confirmed), check=check)
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
        " voter is known to lie or to be broken, stop its p2p-etcd and p2p_orchestrator, or take it out of"
        " p2p_voters, and run again"
    )


def _refusal(plan: Recovery, voters: Sequence[str], holding: Sequence[str]) -> str:
    quorum = plan["quorum"]
    if _holds(quorum):
        return (
            f"{len(quorum['counting'])} of {len(quorum['members'])} members answer and agree, a quorum is"
            f" {quorum['quorum']}: nothing is lost. voters.yml replaces a voter, deploy.yml mends one"
        )
    if plan["witnesses"]:
        return why_not_lost(plan["witnesses"])
    if len(holding) >= majority(len(voters)) and not plan["snapshot"]:
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


def _unconfirmed(
    plan: Recovery, voters: Sequence[str], cluster: str, given: Sequence[str], *, check: bool
) -> str:
    """Return why the operator did not confirm this recovery, and how it is confirmed; "" if it was."""
    wanted = plan["confirmation"]
    if set(given) == set(wanted) or (check and not given):
        return ""
    wrong = mistakes(given, wanted, voters=voters, answering=plan["members"], cluster=cluster)
    told = f"p2p_recover_confirm: {'; '.join(wrong)}. " if wrong else ""
    confirm = f"confirm it with -e p2p_recover_confirm={','.join(wanted)}"
    makes = f"{told}A recovery makes a new store out of what one voter holds, and"
    if not plan["left_out"]:
        return line(
            f"{makes} puts aside what the others hold: once you want that, {confirm} (the cluster by name)"
        )
    shut_out = [f"{name} (no answer)" for name in _silent(plan)]
    shut_out += [f"{name} (it voted when this controller last looked)" for name in plan["former"]]
    return line(
        f"{makes} shuts out {', '.join(shut_out)}. If they run, out of reach of this machine, there will be"
        " two leaders: see with the provider, or from another network, that each is off or empty. Then"
        f" {confirm} (each of them by name)"
    )


def _silent(plan: Recovery) -> list[str]:
    """Return the file's voters that are left out."""
    return [name for name in plan["left_out"] if name not in plan["former"]]


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
    if not plan["possible"]:
        lines += [f"  {name}: {why}" for name, why in plan["left_out"].items()]
        return [paragraph(line) for line in lines]
    lines += [f"left out: {name} ({why})" for name, why in plan["left_out"].items()]
    origin = plan["snapshot"] or f"the most advanced data of {', '.join(plan['sources'])}"
    lines.append(f"a new store {verb} made from {origin}, with recovery epoch {plan['epoch']} or higher")
    lines.append(
        f"its members {verb} {', '.join(plan['members'])};"
        " their orchestrators and etcd stop meanwhile, old data are kept aside"
    )
    if check and not plan["refusal"]:
        lines.append(f"the run is confirmed with -e p2p_recover_confirm={','.join(plan['confirmation'])}")
    if plan["former"]:
        lines.append(
            f"see that no member runs on {', '.join(plan['former'])}: voters when this controller last looked"
        )
    if silent := _silent(plan):
        lines.append(
            f"afterwards name others in p2p_voters in the place of {', '.join(silent)}, and run voters.yml:"
            " it refuses voters that do not answer"
        )
    elif len(plan["members"]) % 2 == 0:
        lines.append("run voters.yml afterwards: the voters of the fleet file are an even number")
    return [paragraph(line) for line in lines]


def most_advanced(results: Sequence[Mapping[str, Any]], plan: Recovery) -> dict[str, Any]:
    """Return what the most advanced survivor holds, {} if nobody holds anything.

    Data of a later recovery win over all others, whatever their revision; in one cluster the revision and
    raft's applied index rise together. The smaller name wins a tie. Data of an epoch that one voter is not
    believed are taken where there are no others alone.

    Args:
        results: The registered results of `p2p_etcd_salvage`. One whose epoch was not raised as asked for
            contradicts itself, and is none.
        plan: The recovery.
    """
    found = [dict(result["salvaged"]) for result in results if "found" in (result.get("salvaged") or {})]
    found = [one for one in found if one["raised"] == max(one["epoch"] + 1, plan["epoch"])]
    rank = ("epoch", "revision", "applied", "term")
    return min(
        found,
        key=lambda one: (
            one["epoch"] > plan["believed"],
            *(-int(one[key]) for key in rank),
            one["node"],
        ),
        default={},
    )


def raised_epoch(source: Mapping[str, Any], plan: Recovery) -> int:
    """Return the recovery epoch that the new store got, no later than one voter is believed.

    Args:
        source: What the store was made of, as `most_advanced` gives it.
        plan: The recovery.
    """
    return min(int(source.get("raised") or 0), max(plan["epoch"], plan["believed"] + 1))


def _store(answer: Answer) -> Mapping[str, Any]:
    return (answer.get("probe") or {}).get("etcd") or {}


def _leader(store: Mapping[str, Any]) -> str:
    """Return the name of the store's leader as a member tells it, "" if it knows none."""
    leader = str(store.get("leader") or "0")
    names = {str(member["id"]): str(member.get("name") or "") for member in store.get("members") or []}
    return (names.get(leader) or f"the member {leader}") if leader.strip("0") else ""


def _evidence(answer: Answer) -> list[str]:
    """Return what of an answer says that there is a quorum."""
    leader, status = _leader(_store(answer)), status_of(answer) or {}
    words = [f"names {leader} as the store's leader"] if leader else []
    age = status.get("seconds_since_quorum")
    if status.get("leader_id"):
        words.append(f"its orchestrator names {status['leader_id']} as leader")
    elif status.get("voter_quorum_ok") if age is None else age < LEASE_SECONDS:
        when = "" if age is None else f" that was there {age:.0f} s ago"
        words.append(f"its orchestrator sees a quorum{when}")
    return words


def _told(answer: Answer) -> str:
    """Return what a voter says of the store: its data, its member, its orchestrator."""
    store, status, words = _store(answer), status_of(answer), _evidence(answer)
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
            "p2p_raised_epoch": raised_epoch,
            "p2p_recovery_plan": recovery_plan,
            "p2p_recovery_text": recovery_text,
            "p2p_recovery_witnesses": witnesses,
            "p2p_why_not_lost": why_not_lost,
        }
