"""How the live voters become those of the fleet file, one member of the store at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, TypedDict

from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.members import (
    Store,
    contradictions,
    electors,
    has_leader,
    living,
    tellers,
    the_store,
)
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.quorum import (
    held_without,
    pairs_of,
    silent_pairs,
)
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.rule import (
    why_another,
    why_disputed,
    why_unnamed,
    why_unsure,
    why_untrue,
)
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.tolerance import majority, may_lead
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.why import first_line
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.working import service_of

Answer = Mapping[str, Any]

_ALIVE = (
    "its own etcd member works, and the store does not list it: if it votes, put it in p2p_voters; if it is"
    " another cluster's, run remove.yml there; otherwise stop its p2p-etcd. Nothing was touched"
)

_SHUT_OUT = "its certificates are to be denied"

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
    whose data is gone; and those whose certificates are to be denied. Those that count come last: without the
    others etcd lets them go.
    `joiners` come in the file's order; `fresh` are those of them that start without data,
    `unlisted` those that the store does not list: what data they have is of an earlier member.
    `leavers` count now and vote no longer afterwards, the leader last, and `ids` are theirs in the store;
    `idle` hold what is left of a member
    and are none; `alive` says why those are left alone whose etcd works although the store does not list it.
    `join_via` and `leave_via` name the nodes whose members are told. `refused` says why nothing may be done,
    or nothing.
    """

    drop: list[Dropped]
    joiners: list[str]
    fresh: list[str]
    unlisted: list[str]
    leavers: list[str]
    ids: dict[str, str]
    idle: list[str]
    alive: dict[str, str]
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
    shut_out: Collection[str] = (),
) -> Change:
    """Work out which members come and go.

    A new member is added and promoted before an old one is removed: three voters stay three or four, of which
    one may fail, where the other order would leave two, of which none may.

    Args:
        answers: The registered result of `p2p_probe` for every node of the fleet, by name. Those that vote,
            or may do so, were asked about the store.
        voters: The file's.
        quorum: The live cluster, from `p2p_store_quorum` of the same answers and voters.
        peer_urls: Where each of the file's voters listens for the others, by name.
        etcd_service: Name of the store's service.
        accept_outage: The operator said that a lost quorum is accepted.
        known: The store as this controller last saw it work, from the lookup `p2p_store_known`.
        shut_out: Names of nodes whose certificates are to be denied. etcd goes on calling a member whose
            certificate is revoked, so that theirs are removed first, however well they work, and under
            whatever name.
    """
    remembered = known or {}
    heard = electors(answers, voters, remembered.get("members") or {})
    store = the_store(answers, heard, remembered)
    called = _called(store, {url: name for name, url in peer_urls.items()})
    members = dict(called)
    shut_ids = {str(number) for name, number in (remembered.get("members") or {}).items() if name in shut_out}
    shut = {name for name, member in members.items() if name in shut_out or str(member["id"]) in shut_ids}
    voting = {name for name, member in members.items() if not member["learner"] and member["client_urls"]}
    counting = [name for name in quorum["counting"] if name in voting]
    drop = [
        Dropped(id=str(member["id"]), name=name, why=why)
        for name, member in members.items()
        if (why := _why_dropped(name, member, voters, quorum, answers, shut_out=shut))
    ]
    leading = {quorum["leader"], *_leaders(answers.values())}
    drop.sort(key=lambda item: (item["name"] in counting, item["name"] in leading))
    dropped = {item["name"] for item in drop}
    joiners = [name for name in voters if name not in voting or name in dropped]
    remaining = {name for name in members if name not in dropped}
    leavers = [name for name in counting if name not in voters and name not in dropped]
    leavers.sort(key=lambda name: name in leading)
    staying = [name for name in counting if name in voters and name not in dropped]
    units = [
        name
        for name in answers
        if name not in voters
        and name not in voting
        and service_of(answers[name], etcd_service).get("load") == "loaded"
    ]
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
        ids={name: str(members[name]["id"]) for name in leavers},
        idle=[name for name in units if not _works(answers[name], etcd_service)],
        alive={name: _ALIVE for name in units if _works(answers[name], etcd_service)},
        join_via=next(iter([*staying, *leavers]), ""),
        leave_via=next(iter([*staying, *joiners]), ""),
        refused="",
    )
    result["refused"] = (
        why_another(store, remembered)
        or why_unnamed(store.members)
        or why_unnamed([{**member, "name": name} for name, member in called])
        or why_untrue(contradictions(answers, store, heard))
        or _why_no_store(quorum, [name for name in units if name not in heard])
        or _why_refused(result, voters, voting, quorum, answers, accept_outage=accept_outage)
        or why_disputed(store, remembered)
        or why_unsure(store, remembered, answers)
    )
    return result


def _works(answer: Answer, etcd_service: str) -> bool:
    """Tell whether a node's own etcd works, as it says itself.

    What is left of a member that was removed finds no leader and never gets ready.
    """
    told = living(answer)
    return has_leader(told) if told else service_of(answer, etcd_service).get("active") == "active"


def _called(store: Store, names: Mapping[str, str]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the store's members by their nodes' names; one that never started is known by its address.

    Where no node has the member's name, it is the one that says of itself that it is this member.
    """
    found = []
    nodes = {str(told["member_id"]): name for name, told in store.told.items()}
    for member in store.members:
        listed = [names[url] for url in member["peer_urls"] if url in names]
        called = str(member["name"] or next(iter(listed), member["id"]))
        found.append((called if called in store.told else nodes.get(str(member["id"]), called), member))
    return found


def _why_dropped(
    name: str,
    member: Mapping[str, Any],
    voters: Sequence[str],
    quorum: Mapping[str, Any],
    answers: Mapping[str, Answer],
    *,
    shut_out: Collection[str],
) -> str:
    if name in shut_out and name not in voters:
        return _SHUT_OUT
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


def _why_no_store(quorum: Mapping[str, Any], unheard: Sequence[str]) -> str:
    if quorum["members"]:
        return ""
    if unheard:
        return (
            f"members may run on {', '.join(sorted(unheard))}, and these are neither in p2p_voters nor does"
            " most of the fleet name them as its voters: keep one of the present voters in p2p_voters, and"
            " replace it in a second run"
        )
    return (
        "no member of a living store answered: deploy.yml forms the store of a new cluster, recover.yml"
        " rebuilds one that is lost"
    )


def _why_lost(found: Change, voters: Sequence[str], voting: Iterable[str], quorum: Mapping[str, Any]) -> str:
    """Return which step would leave fewer than a quorum, or nothing."""
    pairs = pairs_of(quorum)
    left = set(voting) - {item["name"] for item in found["drop"]}
    lost = set(quorum["counting"]).intersection(voting) - left
    counting = left.intersection(quorum["counting"])
    if lost and not may_lead(len(left), counting, pairs):
        return _would_lose(sorted(lost), counting, left, quorum, left)
    # Who joins is not known to be apart from anybody.
    left, counting = left.union(found["joiners"]), counting.union(found["joiners"])
    for name in found["leavers"]:
        left, counting = left - {name}, counting - {name}
        if not may_lead(len(left), counting, pairs):
            return _would_lose([name], counting, left, quorum, voters)
    return ""


def _would_lose(
    without: Sequence[str],
    counting: Collection[str],
    left: Collection[str],
    quorum: Mapping[str, Any],
    whom: Collection[str],
) -> str:
    """Return which voters are to be mended before others go."""
    broken = [f"{who} ({why})" for who, why in sorted(quorum["down"].items()) if who in whom]
    broken += silent_pairs(quorum, set(quorum["counting"]) - set(counting))
    return (
        f"without {', '.join(without)} {len(counting)} of {len(left)} members would count, a quorum is"
        f" {majority(len(left))}: mend first: {'; '.join(broken) or 'the others'}"
    )


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


def _leaders(answers: Iterable[Answer]) -> set[str | None]:
    statuses = [answer["probe"]["http"]["status"] for answer in answers if "probe" in answer]
    return {status["body"].get("leader_id") for status in statuses if status["status"] == HTTPStatus.OK}


def may_leave(
    quorum: Mapping[str, Any],
    name: str,
    orchestrators: Mapping[str, Any],
    *,
    unsure: str = "",
    accept_outage: bool = False,
) -> dict[str, Any]:
    """Tell whether a voter may be taken out of the live store now.

    Args:
        quorum: The live cluster, from `p2p_store_quorum`.
        name: The voter.
        orchestrators: Of the voters that stay, from `p2p_orchestrator_quorum`.
        unsure: Why too few members tell who the members are, from `p2p_why_unsure`, or nothing.
        accept_outage: The operator said that a lost quorum is accepted.

    Returns:
        `allowed` and `reason`, as the gate of a restart.
    """
    left = [one for one in quorum["counting"] if one != name]
    members = len([one for one in quorum["members"] if one != name])
    figures = f"without {name} {len(left)} of {members} members count, a quorum is {majority(members)}"
    down = {one: why for one, why in quorum["down"].items() if one != name}
    enough = name not in quorum["counting"] or held_without(quorum, name, leaves=True)
    if enough and orchestrators["tolerates"] < 0:
        enough, down = False, orchestrators["down"]
        figures = (
            f"{len(orchestrators['counting'])} of {len(orchestrators['members'])} orchestrators of the voters"
            f" that stay count, a quorum is {orchestrators['quorum']}"
        )
    if enough and unsure and name in quorum["counting"] and not accept_outage:
        return {"allowed": False, "reason": unsure}
    if enough or accept_outage:
        return {"allowed": True, "reason": figures}
    broken = [f"{one} ({why})" for one, why in sorted(down.items())] + silent_pairs(quorum, [name])
    return {"allowed": False, "reason": f"{figures}: mend first: {'; '.join(broken) or 'the others'}"}


def is_in(
    answers: Mapping[str, Answer],
    name: str,
    peer_url: str,
    present: Sequence[str],
    *,
    voting: bool,
    known: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Tell whether most members list a node that joins: it starts, or is counted on, then.

    Args:
        answers: The registered result of `p2p_probe` for each of the members, asked after the change; with
            `voting` of the node, too.
        name: The node.
        peer_url: Where its member listens for the others.
        present: Names of the members before anybody joined.
        voting: Whether it has to be a voting one, and to say of itself that it is in the same store.
        known: The store as this controller last saw it work, from the lookup `p2p_store_known`.

    Returns:
        `allowed` and `reason`, as the gate of a restart, `begun`, since the store was changed already, and
        `initial_cluster`, all members as most of them list these, for the node's first start.
    """
    store = the_store(answers, present, known)
    mine = next((member for member in store.members if peer_url in member["peer_urls"]), None)
    own = living(answers.get(name, {}))
    why = why_unsure(store, {"members": dict.fromkeys(present)}, answers)
    if not why and mine is None:
        why = f"most members do not list {name} at {peer_url}: run again"
    elif not why and mine and mine["name"] not in ("", name) and not _is_own(own, mine):
        # It would start as that one, whose votes it does not know.
        why = (
            f"the store lists {mine['name']} at {peer_url}, where {name} is to start: put p2p_voters back,"
            " and run deploy.yml, which lists that one anew"
        )
    elif not why and mine and voting and mine["learner"]:
        why = f"most members list {name} as a learner still: run again"
    elif not why and voting and (own is None or str(own["cluster_id"]) != store.cluster_id):
        told = f"works in the store {own['cluster_id']}" if own else "does not answer"
        why = f"the member of {name} {told}, and most others work in {store.cluster_id}"
    urls = {url: str(item["name"] or item["id"]) for item in store.members for url in item["peer_urls"]}
    pairs = sorted({**urls, peer_url: name}.items())
    return {
        "allowed": not why,
        "begun": True,
        "reason": why or f"most members list {name}",
        "initial_cluster": ",".join(f"{called}={url}" for url, called in pairs),
    }


def is_out(
    answers: Mapping[str, Answer],
    name: str,
    present: Sequence[str],
    *,
    known: Mapping[str, Any] | None = None,
    number: str = "",
) -> dict[str, Any]:
    """Tell whether most members list a node no more: its data may go.

    Args:
        answers: The registered result of `p2p_probe` for each voter, those that leave among them, asked after
            the removal.
        name: The node.
        present: Names of the members before anybody joined.
        known: The store as this controller last saw it work, from the lookup `p2p_store_known`.
        number: The id that its member had before. It may still be there under another name.

    Returns:
        `allowed` and `reason`, as the gate of a restart, and `begun`, since the store was changed already.
    """
    others = {voter: answer for voter, answer in answers.items() if voter != name}
    listed = {str(member["id"]): str(member["name"]) for member in the_store(others, others, known).members}
    why = unsure(others, [voter for voter in present if voter != name], known or {})
    if not why and (name in listed.values() or number in listed):
        told = ", ".join(sorted(listed.values()))
        why = f"the store has the members {told}, though {name} was removed; run again"
    return {"allowed": not why, "begun": True, "reason": why or f"the store does not list {name}"}


def unsure(answers: Mapping[str, Answer], present: Sequence[str], known: Mapping[str, Any]) -> str:
    """Return why too few members tell who the members are, or nothing.

    Args:
        answers: The registered result of `p2p_probe` for each voter, those that leave among them.
        present: Names of the members before anybody joined. Those that left hold no data any more.
        known: The store as this controller last saw it work, from the lookup `p2p_store_known`.
    """
    store = the_store(answers, answers, known)
    return why_unsure(store, {"members": dict.fromkeys(present)}, answers)


def voter_plan(plan: Mapping[str, Any], found: Change, voters: Sequence[str]) -> dict[str, Any]:
    """Return a deploy's plan with those that come and go in lists of their own.

    Args:
        plan: From `p2p_plan`, of the file as it is.
        found: From `p2p_voter_change`.
        voters: The file's.

    Returns:
        The plan, with `joiners`, `leavers` (with the idle ones), `present` (the members before the change,
        without those removed at once), `told_at_once`, `told`, `record_holders` and `change`.
    """
    moved = {*found["joiners"], *found["leavers"], *found["idle"], *found["alive"]}
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
    result["refused"] = {**plan["refused"], **found["alive"]}
    aside = {**plan["unreachable"], **result["refused"]}
    idle = [name for name in found["idle"] if name not in aside]
    for name in [*found["joiners"], *found["leavers"]]:
        if name in aside and not found["refused"]:
            does = "is to vote" if name in found["joiners"] else "is to leave"
            found = {**found, "refused": f"{name} {does} and cannot be worked on: {aside[name]}"}
    quorum = dict(plan["quorum"])
    gone = {item["name"] for item in found["drop"]}
    # Whose store is asked for the maintenance record: not that of one that is removed first.
    quorum["counting"] = sorted(
        set(quorum["counting"]) - gone, key=lambda one: (one in found["leavers"], one)
    )
    return result | {
        "batches": [len(result["others"])] if result["others"] else [],
        "joining": found["fresh"],
        "joiners": found["joiners"],
        "leavers": [*idle, *found["leavers"]],
        "present": sorted(set(quorum["members"]) - gone),
        "quorum": quorum,
        "quorum_expected": True,
        # Who is told at once whom to deny: whoever votes now and can be told, though it leaves in this run.
        "told_at_once": [
            name
            for name in dict.fromkeys([*voters, *found["leavers"]])
            if name not in aside and name not in found["joiners"]
        ],
        # Who is told, when all is over, which certificates of earlier voters are denied.
        "told": [name for name in voters if name not in aside],
        # Who gives the maintenance record back in the end: all that vote then, if one was needed.
        "record_holders": list(voters) if [*result["voters_one_by_one"], *moved, *found["drop"]] else [],
        "change": found,
    }


def why_not_alone(answers: Mapping[str, Answer], voters: Sequence[str], known: Mapping[str, Any]) -> str:
    """Return why the certificates of earlier voters are not to be denied yet, or nothing.

    Args:
        answers: The registered result of `p2p_probe` for the file's voters, after the change.
        voters: The file's.
        known: The store as this controller last saw it work, from the lookup `p2p_store_known`.
    """
    store = the_store(answers, voters, known)
    members = {str(member["id"]): str(member["name"] or member["id"]) for member in store.members}
    former = {str(number) for name, number in (known.get("members") or {}).items() if name not in voters}
    others = {name for number, name in members.items() if name not in voters or number in former}
    agreeing = set(tellers(store)).intersection(voters)
    if len(agreeing) * 2 <= len(voters):
        told = f"only {', '.join(sorted(agreeing))}" if agreeing else "none"
        return f"{told} of the voters {', '.join(voters)} can tell who votes, and more than half must"
    if why := why_unnamed(store.members):
        return why
    return f"the store still has the members {', '.join(sorted(others))}" if others else ""


def change_text(found: Change) -> list[str]:
    """Return the change of the voters in lines for people."""
    if not [*found["drop"], *found["joiners"], *found["leavers"], *found["idle"]]:
        return ["the live voters are the file's"]
    lines = []
    for item in found["drop"]:
        since = "" if item["why"] == _SHUT_OUT else ", since it holds up nothing"
        lines.append(f"removed first{since}: {item['name']} ({item['why']})")
    lines += [f"joins as a learner, catches up and votes: {name}" for name in found["joiners"]]
    lines += [f"hands over, leaves the store and votes no longer: {name}" for name in found["leavers"]]
    lines += [f"loses what is left of its member: {name}" for name in found["idle"]]
    return lines


def _is_own(own: Mapping[str, Any] | None, member: Mapping[str, Any]) -> bool:
    """Tell whether a node says that a member is its own: it had another name when that started."""
    return own is not None and str(own["member_id"]) == str(member["id"])


class FilterModule:
    """Filters about a change of the voters."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {
            "p2p_is_in": is_in,
            "p2p_is_out": is_out,
            "p2p_may_leave": may_leave,
            "p2p_why_not_alone": why_not_alone,
            "p2p_voter_change": change,
            "p2p_voter_change_text": change_text,
            "p2p_voter_plan": voter_plan,
            "p2p_why_unsure": unsure,
        }
