"""How a plan takes in voters that moved: their members are listed anew, each after its restart."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.links import meant
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.members import Store, the_store
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.moves import (
    Move,
    moved,
    place,
    text,
    turns,
    why_not_there,
)
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.quorum import store_quorum
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.tolerance import majority, may_lead

Answer = Mapping[str, Any]


def with_moves(
    plan: Mapping[str, Any],
    answers: Mapping[str, Answer],
    urls: Mapping[str, str],
    *,
    run: Collection[str],
    known: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return a plan in which the store lists each of its voters where the file has it.

    Where the quorum holds, each moved voter restarts at its turn. Where it is lost those of them that do not
    count restart all at once: a member that lives on with another address goes on writing into connections of
    the earlier one, which break only after many minutes, while a fresh one reaches all that did not move.

    Args:
        plan: From `p2p_plan` or `p2p_voter_plan`.
        answers: The registered result of the probe of each of the file's voters, by name.
        urls: The peer URL of each of these, by name.
        run: The nodes that the run works on.
        known: The store as this controller last saw it work, from the lookup `p2p_store_known`.

    Returns:
        The plan with `moves`, who moved; `move_turns`, what is done about each of them that is worked on;
        `readdressed`, those of them that are listed anew in a stage of its own, since they do not restart one
        by one; and `move_refused`, why the run may not go on, or nothing.
    """
    result = {**plan, "moves": [], "move_turns": {}, "readdressed": [], "move_refused": ""}
    store = the_store(answers, urls, known or {})
    # Who joins is listed where the file has it.
    found = [move for move in moved(store, urls) if move["name"] not in plan.get("joiners", [])]
    if not found:
        return result
    dropped = [str(item["id"]) for item in (plan.get("change") or {}).get("drop", [])]
    reaching = _may_lead(found, store)
    result["moves"] = found
    result["move_refused"] = (
        _why_unsettled(found, answers)
        or why_not_there(found, store, urls, dropped)
        or _why_limited([move for move in found if move["name"] not in run])
        or (_why_unreached(found, store) if _lost(plan["quorum"]) and not reaching else "")
    )
    if result["move_refused"]:
        return result
    names = [move["name"] for move in found if move["name"] in plan["drift"]]
    names = [name for name in names if name not in plan["refused"]]
    # Who moved and does not count is in nobody's way, and is needed before one that counts may stop.
    down = [name for name in names if name not in plan["quorum"]["counting"]]
    one_by_one = sorted(plan["voters_one_by_one"], key=lambda name: name not in down)
    if _lost(plan["quorum"]) and reaching:
        result["voters_at_once"] = [*plan["voters_at_once"], *(name for name in one_by_one if name in down)]
        one_by_one = [name for name in one_by_one if name not in down]
        result["quorum_expected"] = True
    result["voters_one_by_one"] = one_by_one
    last = plan["quorum"]["leader"]
    result["readdressed"] = sorted(
        (name for name in names if name not in one_by_one), key=lambda name: name == last
    )
    if result["readdressed"] and "record_holders" in plan:
        result["record_holders"] = list(urls)
    result["unchanged"] = [name for name in plan["unchanged"] if name not in names]
    order = [*result["readdressed"], *(name for name in one_by_one if name in names)]
    result["move_turns"] = turns(found, order)
    return result


def moved_and_lost(
    answers: Mapping[str, Answer], urls: Mapping[str, str], known: Mapping[str, Any] | None = None
) -> list[str]:
    """Return the voters, to be asked again, if a member moved and the quorum seems lost.

    Args:
        answers: The registered result of the probe of each of the file's voters, by name.
        urls: The peer URL of each of these, by name.
        known: The store as this controller last saw it work, from the lookup `p2p_store_known`.
    """
    store = the_store(answers, urls, known or {})
    return [*urls] if moved(store, urls) and _lost(store_quorum(answers, known=known)) else []


def _lost(quorum: Mapping[str, Any]) -> bool:
    return bool(quorum["members"]) and quorum["tolerates"] < 0


def _living(store: Store) -> list[str]:
    return [str(member["name"]) for member in store.members if str(member["name"]) in store.told]


def _may_lead(found: Sequence[Move], store: Store) -> bool:
    """Tell whether the members that live have a majority that exchanges messages once they restarted.

    Two of which neither is where the list has it reach each other no more.
    """
    names = {move["name"] for move in found}
    pairs = frozenset(frozenset((one, other)) for one in names for other in names if one != other)
    return may_lead(len(store.members), _living(store), pairs)


def _why_unsettled(found: Sequence[Move], answers: Mapping[str, Answer]) -> str:
    """Return why it is not sure where a member is meant to be, or nothing.

    A play's first host says it for all, each voter for those that it tries.
    """
    places = meant(answers)
    for move in found:
        wanted = place(move["wanted"])
        if (other := places.get(move["name"], wanted)) != wanted:
            return (
                f"{move['name']} is meant to be at {wanted} by one node's settings, and at {other} by"
                " another's: set etcd_peer_port and p2p_host for all nodes alike"
            )
    return ""


def _why_limited(left_out: Sequence[Move]) -> str:
    """Return why a run may not leave out voters that moved, or nothing."""
    if not left_out:
        return ""
    names = ", ".join(move["name"] for move in left_out)
    moves = "; ".join(map(text, left_out))
    return (
        f"{moves}. The others may be cut off from them, and every node gets their new addresses: run without"
        f" --limit, or with {names} in it; a voter whose status is not ready is part of no run"
    )


def _why_unreached(found: Sequence[Move], store: Store) -> str:
    """Return why the list cannot be mended where those that live are enough, or nothing."""
    living = _living(store)
    if len(living) < majority(len(store.members)):
        return ""
    moves = "; ".join(text(move) for move in found if move["name"] in living)
    return (
        f"{moves}. No member that lives is where the store lists it, so that they reach each other no more,"
        " and without a quorum the list cannot be mended: give one of them its earlier address back, or bring"
        " another one back that did not move, and run this again (docs/operations.md, A voter moves)"
    )


class FilterModule:
    """Filters about voters that moved."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {"p2p_moved_and_lost": moved_and_lost, "p2p_with_moves": with_moves}
