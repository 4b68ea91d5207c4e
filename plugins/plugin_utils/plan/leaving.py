"""Whether a node may leave the cluster, and its certificates be denied."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.members import (
    Answer,
    Member,
    Store,
    contradictions,
    electors,
    has_leader,
    living,
    the_store,
)
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.rule import (
    why_another,
    why_disputed,
    why_unnamed,
    why_unsure,
    why_untrue,
)

_FIRST = "change the voters first: take it out of p2p_voters and run voters.yml"
_STOLEN = ". If it was stolen, set its status to destroyed, and name it to voters.yml in p2p_identity_removed"
_GONE = (
    "; if that store is gone for good, form the new one first: deploy.yml -e p2p_form_without=…, with the"
    " names that deploy.yml gives"
)
_FIRST_STORELESS = f"{_FIRST.removesuffix('voters.yml')}deploy.yml -e p2p_accept_outage=true"


def still_voting(
    leaving: Sequence[str],
    voter_answers: Mapping[str, Answer],
    *,
    voters: Sequence[str],
    answers: Mapping[str, Answer],
    known: Mapping[str, Any] | None = None,
    dropped: Collection[Mapping[str, Any]] = (),
) -> dict[str, str]:
    """Return why nodes may not leave, and what has to be done first, by name.

    A node that nobody's word makes a member leaves, however few voters answer. Of one that may be a member
    more than half of the members have to tell that it is none, and no voter may contradict them. A member is
    known by its name and by its id: the name it gives itself.

    Args:
        leaving: Names of the nodes that are to leave, or whose certificates are to be denied.
        voter_answers: The registered result of `p2p_probe` for the file's voters, and for other nodes that
            are known to have voted.
        voters: The voters of the fleet file.
        answers: The same for the nodes that leave; what they say of themselves counts.
        known: The store as this controller last saw it work, from the lookup `p2p_store_known`.
        dropped: Members that are removed before anybody's certificates are denied, each `id` and `name`.
    """
    remembered = known or {}
    kept = remembered.get("members") or {}
    everybody = {**answers, **voter_answers}
    heard = electors(voter_answers, voters, kept)
    store = the_store(everybody, heard, remembered)
    listed = {str(member["id"]): str(member["name"]) for member in store.members}
    names, gone = {*listed.values()}, {str(item["name"]) for item in dropped}
    gone_ids = {str(item["id"]) for item in dropped}
    doubt = (
        why_another(store, remembered)
        or why_unnamed(store.members)
        or why_untrue(contradictions(everybody, store, heard))
        or why_disputed(store, remembered)
        or why_unsure(store, remembered if kept else {"members": dict.fromkeys(voters)}, everybody)
    )
    storeless = [answer for answer in voter_answers.values() if "probe" in answer and not _store(answer)]
    first = _FIRST
    if storeless and not any(_store(answer) for answer in voter_answers.values()) and not kept:
        doubt = first = _FIRST_STORELESS
    reasons = {}
    for name in leaving:
        own, number = answers.get(name, {}), str(kept.get(name) or "")
        if name in gone and (not number or number in gone_ids or number not in listed):
            continue
        if name in voters:
            reasons[name] = f"it is one of p2p_voters; {first}"
        elif name in names or number in listed:
            alias = "" if name in names else f" as {listed[number] or number}"
            reasons[name] = (
                f"etcd counts it among its members{alias}; {first}{_STOLEN if first == _FIRST else ''}"
            )
        elif _works_in(store, str(remembered.get("cluster_id") or ""), own):
            reasons[name] = (
                f"its own etcd member works in the cluster's store; {first}. If it lies, switch it off and"
                " call it `status: destroyed` in the fleet file"
            )
        elif doubt and (why := _why_member(name, own, voters, voter_answers, kept)):
            reasons[name] = f"{why}; {doubt}{_GONE if name in kept and not store.cluster_id else ''}"
    return reasons


def why_not_denied(voting: Mapping[str, str]) -> str:
    """Return why a run does not go on that would deny these nodes' certificates, or nothing.

    Args:
        voting: From `still_voting`.
    """
    told = "; ".join(f"{name}: {why}" for name, why in voting.items())
    return f"p2p_identity_removed: {told}. Nobody's certificates were denied" if told else ""


def _works_in(store: Store, known_id: str, own: Answer) -> bool:
    """Tell whether a node's own member is one of the store's, or follows a leader in the cluster's store."""
    told = living(own)
    if told is None:
        return False
    listed = str(told["member_id"]) in {str(member["id"]) for member in store.members}
    return listed or (has_leader(told) and str(told["cluster_id"]) in (store.cluster_id, known_id))


def _why_member(
    name: str, own: Answer, voters: Sequence[str], answers: Mapping[str, Answer], kept: Mapping[str, str]
) -> str:
    """Return whose word makes a node a member, be it a single one's, or nothing."""
    listing = [
        voter
        for voter, answer in answers.items()
        if voter != name and name in {member["name"] for member in _store(answer).get("members") or []}
    ]
    naming = [
        voter
        for voter, answer in answers.items()
        if voter != name and name in (_status(answer).get("voter_node_ids") or [])
    ]
    if name in kept:
        return "the last run from this controller saw it among the store's members"
    if listing:
        return f"{', '.join(listing)} told that it is a member of the store"
    if naming:
        return f"the running voters count it among them ({', '.join(naming)})"
    if len(voters) > 1 and "probe" in own and _store(own).get("has_data") is not False:
        return "it may hold etcd data"
    if unnamed := [voter for voter, answer in answers.items() if voter != name and _unnamed(answer, kept)]:
        return f"{', '.join(unnamed)} told of a member that may be it under another name"
    return ""


def _unnamed(answer: Answer, kept: Mapping[str, str]) -> bool:
    """Tell whether a voter lists members whose names, and ids, do not tell who they are."""
    listed: Sequence[Member] = _store(answer).get("members") or []
    names = {str(number): name for name, number in kept.items() if number}
    called = [{**item, "name": names.get(str(item["id"]), item["name"])} for item in listed]
    return bool(why_unnamed(called))


def _status(answer: Answer) -> Mapping[str, Any]:
    """Return what a node's orchestrator says on /status."""
    found: Mapping[str, Any] = ((answer.get("probe") or {}).get("http") or {}).get("status") or {}
    return found.get("body") or {}


def _store(answer: Answer) -> Mapping[str, Any]:
    return (answer.get("probe") or {}).get("etcd") or {}
