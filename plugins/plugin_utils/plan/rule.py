"""The one rule of every step that destroys: what most of the store's members say, each about itself.

A function returns why its part of the rule stops a step, or nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.members import (
    Answer,
    Member,
    Store,
    blank,
    has_leader,
    tellers,
)


def why_another(store: Store, known: Mapping[str, Any]) -> str:
    """Return why a store is not the one that this controller knows.

    Args:
        store: From `the_store`.
        known: The store as this controller last saw it work, from the lookup `p2p_store_known`.
    """
    if not store.cluster_id or store.cluster_id == (known.get("cluster_id") or store.cluster_id):
        return ""
    return (
        f"the voters work in the store {store.cluster_id}, and the last run from this controller saw"
        f" {known['cluster_id']}: if recover.yml made theirs from another controller, {_adopt(known)}"
    )


def why_untrue(said: Mapping[str, str]) -> str:
    """Return why voters that contradict the others stop a step.

    Args:
        said: What each of them says, from `contradictions`.
    """
    told = "; ".join(f"{name}: {why}" for name, why in sorted(said.items()))
    return (
        f"not all voters tell of the same store: {told}. See on them which is true: a node of another"
        " cluster has to leave that first (remove.yml there), and a voter that lies leaves p2p_voters and is"
        " switched off"
        if told
        else ""
    )


def why_unnamed(members: Iterable[Member]) -> str:
    """Return why a list of members does not tell who they are: one name stands there twice, or none.

    A member that never started has no name yet.

    Args:
        members: Of the store, with the names that the controller knows (`the_store`).
    """
    called: dict[str, list[str]] = {}
    for member in members:
        if member["name"] or member.get("client_urls"):
            called.setdefault(str(member["name"]), []).append(str(member["id"]))
    told = [
        f"the members {_ids(ids)} are all called {name}" if name else f"the member {_ids(ids)} has no name"
        for name, ids in sorted(called.items())
        if len(ids) > 1 or not name
    ]
    return (
        f"the store's list does not tell who its members are: {'; '.join(told)}. See on the voters whose"
        " member is whose, and start the etcd of the one that has another's name under its own; or, if that"
        " one is stolen, remove it on another voter (etcdctl member remove <id in hex>); and run again"
        if told
        else ""
    )


def _ids(ids: Iterable[str]) -> str:
    return ", ".join(f"{one} (hex {int(one):x})" if one.isdecimal() else one for one in sorted(ids))


def why_unsure(store: Store, known: Mapping[str, Any], answers: Mapping[str, Answer]) -> str:
    """Return why too few members tell who the members are.

    More than half of those that the store lists have to tell the same list, and more than half of those that
    the controller knows: a few that leave out the others make no majority of their own.

    Args:
        store: From `the_store`.
        known: The store as this controller last saw it work, from the lookup `p2p_store_known`; or, without a
            `cluster_id`, whom else to count in `members`.
        answers: The registered result of `p2p_probe`, by node. A known member that says of itself that it
            holds no data votes no longer.
    """
    if not store.cluster_id:
        return "no member of the store answers: mend the voters, and run again"
    if why := why_unnamed(store.members):
        return why
    agreeing = set(tellers(store))
    listed = sorted(str(member["name"] or member["id"]) for member in store.members if not member["learner"])
    kept = [name for name in known.get("members") or {} if not blank(answers.get(name, {}))]
    only = f"{_only(agreeing)} the members {', '.join(listed)}"
    if len(agreeing.intersection(listed)) * 2 <= len(listed):
        return f"{only}; more than half of these must: see why the others do not, and run again"
    if kept and len(agreeing.intersection(kept)) * 2 <= len(kept):
        names = ", ".join(sorted(kept))
        whose, replaced = f"the voters {names}", ""
        if known.get("cluster_id"):
            whose = f"the members that the last run from this controller saw ({names})"
            replaced = f"; if voters.yml replaced them from another controller, {_adopt(known)}"
        return f"{only}; more than half of {whose} must: see why the others do not, and run again{replaced}"
    return ""


def _adopt(known: Mapping[str, Any]) -> str:
    """Return what mends a memory that is older than a change from another controller."""
    return (
        f"copy {known.get('file')} from there, or, if there is none, see on the voters that they are the"
        " cluster's, and move the file away"
    )


def _only(agreeing: Collection[str]) -> str:
    """Return the start of a sentence about those that list the members."""
    names = ", ".join(sorted(agreeing))
    return f"only {names} list{'s' * (len(agreeing) == 1)}" if agreeing else "nobody lists"


def why_disputed(store: Store, known: Mapping[str, Any]) -> str:
    """Return why members that contradict each other stop a step of a controller that knows no store.

    Without a memory a few voters of a shortened file are its majority: they have to be one of those members,
    too, that each other member lists which knows a leader.

    Args:
        store: From `the_store`.
        known: The store as this controller last saw it work, from the lookup `p2p_store_known`.
    """
    agreeing = set(tellers(store))
    others = []
    for name, told in store.told.items():
        listed = {str(member["name"] or member["id"]) for member in told["members"] if not member["learner"]}
        few = len(agreeing & listed) * 2 <= len(listed)
        if name not in agreeing and has_leader(told) and not told.get("learner") and few:
            others.append(name)
    if known.get("cluster_id") or not others:
        return ""
    return (
        f"this controller remembers no store, and {', '.join(sorted(others))} and"
        f" {', '.join(sorted(agreeing)) or 'others'} list different members: run again, and if they still do,"
        " see on the voters which is true"
    )
