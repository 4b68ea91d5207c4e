"""How the live voters become those of the fleet file, one member of the store at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, TypedDict

from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.members import (
    Store,
    contradictions,
    electors,
    living,
    tellers,
    the_store,
)
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.why import first_line

Answer = Mapping[str, Any]

# Learners and their promotion were tried from this version on.
OLDEST = (3, 4, 23)


class Dropped(TypedDict):
    """A member that is removed before anything else: its id in the store, its name, and why."""

    id: str
    name: str
    why: str


class Change(TypedDict):
    """What turns the live members into the file's voters.

    `drop` are members that hold up nothing: dead ones, leftovers of a change that was not finished, and those
    whose data is gone. `joiners` come in the file's order; `fresh` are those of them that start without data,
    `unlisted` those that the store does not list: what data they have is of an earlier member.
    `leavers` count now and vote no longer afterwards, the leader last; `idle` hold what is left of a member
    and are none. `join_via` and `leave_via` name the nodes whose members are told. `refused` says why nothing
    may be done, or nothing.
    """

    drop: list[Dropped]
    joiners: list[str]
    fresh: list[str]
    unlisted: list[str]
    leavers: list[str]
    idle: list[str]
    join_via: str
    leave_via: str
    refused: str


def change(
    answers: Mapping[str, Answer],
    voters: Sequence[str],
    quorum: Mapping[str, Any],
    peer_urls: Mapping[str, str],
    *,
    etcd_service: str,
    accept_outage: bool = False,
    known: Mapping[str, Any] | None = None,
) -> Change:
    """Work out which members come and go.

    A new member is added and promoted before an old one is removed: three voters stay three or four, of which
    one may fail, where the other order would leave two, of which none may.

    Args:
        answers: The registered result of `p2p_probe` for every node of the fleet, by name.
        voters: The file's.
        quorum: The live cluster, from `p2p_store_quorum` of the same answers and voters.
        peer_urls: Where each of the file's voters listens for the others, by name.
        etcd_service: Name of the store's service.
        accept_outage: The operator said that a lost quorum is accepted.
        known: The store as this controller last saw it work, from the lookup `p2p_store_known`.
    """
    remembered = known or {}
    heard = electors(answers, voters, remembered.get("members") or {})
    store = the_store(answers, heard, str(remembered.get("cluster_id") or ""))
    members = _members(store, {url: name for name, url in peer_urls.items()})
    voting = {name for name, member in members.items() if not member["learner"] and member["client_urls"]}
    counting = [name for name in quorum["counting"] if name in voting]
    drop = [
        Dropped(id=str(member["id"]), name=name, why=why)
        for name, member in members.items()
        if (why := _why_dropped(name, member, voters, quorum, answers))
    ]
    dropped = {item["name"] for item in drop}
    joiners = [name for name in voters if name not in voting or name in dropped]
    remaining = {name for name in members if name not in dropped}
    leavers = [name for name in counting if name not in voters and name not in dropped]
    leading = {quorum["leader"], *_leaders(answers.values())}
    leavers.sort(key=lambda name: name in leading)
    staying = [name for name in counting if name in voters and name not in dropped]
    result = Change(
        drop=drop,
        joiners=joiners,
        fresh=[
            name
            for name in joiners
            if name not in remaining or _store(answers, name).get("has_data") is not True
        ],
        unlisted=[name for name in joiners if name not in remaining],
        leavers=leavers,
        idle=[
            name
            for name in answers
            if name not in voters and name not in voting and _has_unit(answers[name], etcd_service)
        ],
        join_via=next(iter([*staying, *leavers]), ""),
        leave_via=next(iter([*staying, *joiners]), ""),
        refused="",
    )
    result["refused"] = (
        _why_another(store, remembered)
        or _why_untrue(contradictions(answers, store, heard))
        or _why_refused(result, voters, voting, quorum, answers, accept_outage=accept_outage)
        or _why_unsure(store)
    )
    return result


def _members(store: Store, names: Mapping[str, str]) -> dict[str, Mapping[str, Any]]:
    """Return the store's members by their nodes' names; one that never started is known by its address.

    Where no node has the member's name, it is the one that says of itself that it is this member.
    """
    found: dict[str, Mapping[str, Any]] = {}
    nodes = {str(told["member_id"]): name for name, told in store.told.items()}
    for member in store.members:
        listed = [names[url] for url in member["peer_urls"] if url in names]
        called = member["name"] or next(iter(listed), member["id"])
        found[str(called if str(called) in store.told else nodes.get(str(member["id"]), called))] = member
    return found


def _why_untrue(said: Mapping[str, str]) -> str:
    """Return why a voter that contradicts the others stops the change, or nothing."""
    told = "; ".join(f"{name}: {why}" for name, why in sorted(said.items()))
    return (
        f"not all voters tell of the same store: {told}. See on them which is true: a node of another"
        " cluster has to leave that first (remove.yml there), and a voter that lies leaves p2p_voters and is"
        " switched off"
        if told
        else ""
    )


def _why_another(store: Store, known: Mapping[str, Any]) -> str:
    """Return why a store is not the one that this controller knows, or nothing."""
    if not store.cluster_id or store.cluster_id == (known.get("cluster_id") or store.cluster_id):
        return ""
    return (
        f"the voters work in the store {store.cluster_id}, and the last run from this controller saw"
        f" {known['cluster_id']}: if recover.yml made theirs from another controller, remove {known['file']}"
        " and run again"
    )


def _why_unsure(store: Store) -> str:
    """Return why too few members tell who the members are, or nothing."""
    voting = sorted(str(member["name"] or member["id"]) for member in store.members if not member["learner"])
    agreeing = sorted(tellers(store))
    if len(set(agreeing).intersection(voting)) * 2 > len(voting):
        return ""
    return (
        f"the store has the members {', '.join(voting)}, as {', '.join(agreeing) or 'none of them'} alone"
        " tells: more than half of them have to say the same; run again when they answer"
    )


def _why_dropped(
    name: str,
    member: Mapping[str, Any],
    voters: Sequence[str],
    quorum: Mapping[str, Any],
    answers: Mapping[str, Answer],
) -> str:
    if member["learner"] or not member["client_urls"]:
        return "" if name in voters else "left over from a change that was not finished"
    if name in quorum["counting"]:
        return ""
    if name not in voters:
        return str(quorum["down"].get(name) or "it does not count")
    return "its data is gone" if _store(answers, name).get("has_data") is False else ""


def _why_refused(
    found: Change,
    voters: Sequence[str],
    voting: Iterable[str],
    quorum: Mapping[str, Any],
    answers: Mapping[str, Answer],
    *,
    accept_outage: bool,
) -> str:
    if not quorum["members"]:
        return _why_no_store(answers)
    if quorum["tolerates"] < 0:
        down = "; ".join(f"{name} ({why})" for name, why in sorted(quorum["down"].items()))
        return (
            f"{len(quorum['counting'])} of {len(quorum['members'])} members count, a quorum is"
            f" {quorum['quorum']}, and without one no member can be changed: mend {down}, or rebuild the"
            " store with recover.yml"
        )
    if len(voters) % 2 == 0:
        fewer = len(voters) - 1
        return (
            f"{len(voters)} voters tolerate no more failures than {fewer}: name an odd number in p2p_voters"
        )
    if why := _why_versions(found, quorum, answers):
        return why
    for name in found["joiners"]:
        answer = answers.get(name) or {"msg": "it is not among the nodes of the group p2p"}
        if "probe" not in answer:
            return f"{name} is to vote and cannot be asked: {first_line(answer)}"
    return "" if accept_outage else _why_lost(found, voters, voting, quorum)


def _why_no_store(answers: Mapping[str, Answer]) -> str:
    if unheard := sorted(name for name, answer in answers.items() if living(answer)):
        return (
            f"members run on {', '.join(unheard)}, and these are neither in p2p_voters nor does most of the"
            " fleet name them as its voters: keep one of the present voters in p2p_voters, and replace it"
            " in a second run"
        )
    return (
        "no member of a living store answered: deploy.yml forms the store of a new cluster, recover.yml"
        " rebuilds one that is lost"
    )


def _why_lost(found: Change, voters: Sequence[str], voting: Iterable[str], quorum: Mapping[str, Any]) -> str:
    """Return which step would leave fewer than a quorum, or nothing."""
    left = set(voting) - {item["name"] for item in found["drop"]}
    members = len(left) + len(found["joiners"])
    counting = len(left.intersection(quorum["counting"])) + len(found["joiners"])
    for name in found["leavers"]:
        members, counting = members - 1, counting - 1
        if counting < members // 2 + 1:
            down = "; ".join(f"{who} ({why})" for who, why in sorted(quorum["down"].items()) if who in voters)
            return (
                f"without {name} {counting} of {members} members would count, a quorum is {members // 2 + 1}:"
                f" mend first: {down or 'the others'}"
            )
    return ""


def _why_versions(found: Change, quorum: Mapping[str, Any], answers: Mapping[str, Answer]) -> str:
    """Return why the members' versions allow no change, or nothing."""
    if not [*found["drop"], *found["joiners"], *found["leavers"]]:
        return ""
    known = {name: str(_store(answers, name).get("version") or "") for name in quorum["counting"]}
    known = {name: version for name, version in known.items() if version}
    told = ", ".join(f"{name} {version}" for name, version in sorted(known.items()))
    if len(set(known.values())) > 1:
        return f"the members run different versions of etcd ({told}): make them one with deploy.yml first"
    if any(_number(version) < OLDEST for version in known.values()):
        oldest = ".".join(map(str, OLDEST))
        return f"etcd is older than {oldest} ({told}): raise it on all voters first"
    return ""


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.partition("-")[0].split(".") if part.isdecimal())


def _store(answers: Mapping[str, Answer], name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = (answers.get(name, {}).get("probe") or {}).get("etcd") or {}
    return found


def _has_unit(answer: Answer, service: str) -> bool:
    known = ((answer.get("probe") or {}).get("services") or {}).get(service) or {}
    return known.get("load") == "loaded"


def _leaders(answers: Iterable[Answer]) -> set[str | None]:
    statuses = [answer["probe"]["http"]["status"] for answer in answers if "probe" in answer]
    return {status["body"].get("leader_id") for status in statuses if status["status"] == HTTPStatus.OK}


def may_leave(
    quorum: Mapping[str, Any],
    name: str,
    orchestrators: Mapping[str, Any],
    *,
    accept_outage: bool = False,
) -> dict[str, Any]:
    """Tell whether a voter may be taken out of the live store now.

    Args:
        quorum: The live cluster, from `p2p_store_quorum`.
        name: The voter.
        orchestrators: Of the voters that stay, from `p2p_orchestrator_quorum`.
        accept_outage: The operator said that a lost quorum is accepted.

    Returns:
        `allowed` and `reason`, as the gate of a restart.
    """
    left = [one for one in quorum["counting"] if one != name]
    members = len([one for one in quorum["members"] if one != name])
    needed = members // 2 + 1
    figures = f"without {name} {len(left)} of {members} members count, a quorum is {needed}"
    down = {one: why for one, why in quorum["down"].items() if one != name}
    enough = name not in quorum["counting"] or len(left) >= needed
    if enough and orchestrators["tolerates"] < 0:
        enough, down = False, orchestrators["down"]
        figures = (
            f"{len(orchestrators['counting'])} of {len(orchestrators['members'])} orchestrators of the voters"
            f" that stay count, a quorum is {orchestrators['quorum']}"
        )
    if enough or accept_outage:
        return {"allowed": True, "reason": figures}
    names = "; ".join(f"{one} ({why})" for one, why in sorted(down.items()))
    return {"allowed": False, "reason": f"{figures}: mend first: {names or 'the others'}"}


def voter_plan(plan: Mapping[str, Any], found: Change, voters: Sequence[str]) -> dict[str, Any]:
    """Return a deploy's plan with those that come and go in lists of their own.

    Args:
        plan: From `p2p_plan`, of the file as it is.
        found: From `p2p_voter_change`.
        voters: The file's.

    Returns:
        The plan, with `joiners`, `leavers` (with the idle ones), `told`, `record_holders` and `change`.
    """
    moved = {*found["joiners"], *found["leavers"], *found["idle"]}
    lists = ("unchanged", "voters_at_once", "voters_one_by_one", "others")
    # Who votes matters more than a canary: the first node that is changed is a voter that joins.
    result = {
        **plan,
        "others": [*plan["canary"], *plan["others"]],
        "canary": [],
        "canary_why": "",
        "split": "",
    }
    result |= {key: [name for name in result[key] if name not in moved] for key in lists}
    aside = {**plan["unreachable"], **plan["refused"]}
    idle = [name for name in found["idle"] if name not in aside]
    for name in [*found["joiners"], *found["leavers"]]:
        if name in aside and not found["refused"]:
            does = "is to vote" if name in found["joiners"] else "is to leave"
            found = {**found, "refused": f"{name} {does} and cannot be worked on: {aside[name]}"}
    quorum = dict(plan["quorum"])
    quorum["counting"] = sorted(quorum["counting"], key=lambda name: name in found["leavers"])
    return result | {
        "batches": [len(result["others"])] if result["others"] else [],
        "joining": found["fresh"],
        "joiners": found["joiners"],
        "leavers": [*idle, *found["leavers"]],
        "quorum": quorum,
        "quorum_expected": True,
        # Who is told, when all is over, which certificates of earlier voters are denied.
        "told": [name for name in voters if name not in aside],
        # Who gives the maintenance record back in the end: all that vote then, if one was needed.
        "record_holders": list(voters) if [*result["voters_one_by_one"], *moved, *found["drop"]] else [],
        "change": found,
    }


def change_text(found: Change) -> list[str]:
    """Return the change of the voters in lines for people."""
    if not [*found["drop"], *found["joiners"], *found["leavers"], *found["idle"]]:
        return ["the live voters are the file's"]
    lines = [
        f"removed first, since it holds up nothing: {item['name']} ({item['why']})" for item in found["drop"]
    ]
    lines += [f"joins as a learner, catches up and votes: {name}" for name in found["joiners"]]
    lines += [f"hands over, leaves the store and votes no longer: {name}" for name in found["leavers"]]
    lines += [f"loses what is left of its member: {name}" for name in found["idle"]]
    return lines


class FilterModule:
    """Filters about a change of the voters."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {
            "p2p_may_leave": may_leave,
            "p2p_voter_change": change,
            "p2p_voter_change_text": change_text,
            "p2p_voter_plan": voter_plan,
        }
