"""Which store a run sees: whom it asks, who contradicts the others, and what the next one knows it by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.p2p.cluster.plugins.plugin_utils.memory.store import Kept, nothing
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.epochs import agreed_epoch
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.members import (
    Answer,
    contradictions,
    electors,
    has_leader,
    tellers,
    the_store,
)
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.rule import why_unnamed, why_unsure
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.working import service_of


def seen(hostvars: Mapping[str, Any], voters: Sequence[str], *, raised: int = 0) -> Kept:
    """Return the store that most of its own members tell, as each of them last answered in this run.

    Args:
        hostvars: Ansible's.
        voters: The file's, or those that a recovery has made members.
        raised: The recovery epoch that this run gave the store, 0 if none.

    Returns:
        The store, with the latest recovery epoch that most of the voters' orchestrators reach. Nothing where
        fewer than a majority of the members, or of these voters, tell of it and know a leader; nor where they
        are no majority of the known members that this run has not taken out: two that lie would be remembered
        as all there are. A recovery asks nobody who is gone.
    """
    none: Mapping[str, Any] = {}
    planned = next((hostvars[host] for host in hostvars if "p2p_plan" in hostvars[host]), none)
    asked = {str(one["item"]): one for one in (planned.get("p2p_voters_asked") or {}).get("results", [])}
    probed = {**(planned.get("p2p_health_nodes") or {}).get("nodes", {}), **asked}
    answers = {
        name: answer for name in voters if (answer := _last(hostvars.get(name, none)) or probed.get(name))
    }
    plan = planned.get("p2p_plan") or {}
    store = the_store(answers, voters, {} if raised else plan.get("store"))
    voting = {str(item["name"]): str(item["id"]) for item in store.members if not item["learner"]}
    telling = [name for name in tellers(store) if name in voting and has_leader(store.told[name])]
    if (
        not voting
        or why_unnamed(store.members)
        or "" in voting
        or len(telling) * 2 <= max(len(voting), len(voters))
    ):
        return nothing()
    if not raised and why_unsure(store, _still_known(hostvars, plan), probed):
        return nothing()
    return Kept(cluster_id=store.cluster_id, members=voting, epoch=max(raised, agreed_epoch(answers, voters)))


def _still_known(hostvars: Mapping[str, Any], plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return the store that was known, without the members that this run took out of it."""
    known: Mapping[str, Any] = plan.get("store") or {}
    dropped = (plan.get("change") or {}).get("drop", [])
    gone = {str(item["name"]) for item in dropped}
    ids = {str(item.get("id")) for item in dropped}
    for name in plan.get("leavers") or []:
        if (hostvars.get(name, {}).get("p2p_outcome") or {}).get("state") == "changed":
            gone.add(name)
    members = {
        name: number
        for name, number in (known.get("members") or {}).items()
        if name not in gone and str(number) not in ids
    }
    return {**known, "members": members}


def _last(known: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a voter answered after it was changed, nothing if it was not."""
    answer: Mapping[str, Any] = known.get("p2p_node_now") or {}
    return answer if "probe" in answer else {}


def contradicting(
    answers: Mapping[str, Answer], voters: Sequence[str], known: Mapping[str, Any]
) -> dict[str, str]:
    """Return which voters say something of the store that the others contradict, and what.

    Args:
        answers: The registered result of `p2p_probe`, by node.
        voters: The file's.
        known: The store as this controller last saw it work, from the lookup `p2p_store_known`.
    """
    heard = electors(answers, voters, known.get("members") or {})
    store = the_store(answers, heard, known)
    return contradictions(answers, store, heard)


def unasked(
    answers: Mapping[str, Answer], voters: Sequence[str], known: Mapping[str, Any], etcd_service: str
) -> list[str]:
    """Return which nodes are still to be asked about the store, or asked again, after all were probed.

    Args:
        answers: The registered result of `p2p_probe` for every node, by name; the file's voters and the known
            members were asked about the store.
        voters: The file's.
        known: The store as this controller last saw it work, from the lookup `p2p_store_known`.
        etcd_service: Name of the store's service.

    Returns:
        Those that most orchestrators name as voters, that the store lists as members, or that have its
        service, where they were not asked; and those asked whose member has data and knows no leader: it may
        be between two.
    """
    heard = electors(answers, voters, known.get("members") or {})
    store = the_store(answers, heard, known)
    speak = heard.union(str(member["name"]) for member in store.members)
    found = []
    for name, answer in answers.items():
        loaded = service_of(answer, etcd_service).get("load") == "loaded"
        if "probe" in answer and (name in speak or loaded):
            told = answer["probe"].get("etcd")
            if told is None or (told.get("has_data") and not has_leader(told)):
                found.append(name)
    return found


class FilterModule:
    """Filters about the store."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {
            "p2p_store_contradicting": contradicting,
            "p2p_store_seen": seen,
            "p2p_store_unasked": unasked,
        }
