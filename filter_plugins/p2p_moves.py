"""How a plan takes in voters that moved: their members are listed anew, each after its restart."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.members import the_store
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.moves import (
    Move,
    moved,
    text,
    turns,
    why_not_there,
)
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

    Where the quorum holds, each moved voter restarts at its turn. Where it is lost they do so all at once, as
    none of them counts: a member that lives on with another address goes on writing into connections of the
    earlier one, which break only after many minutes, while a fresh one reaches all that did not move.

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
    members = [member for member in store.members if not member["learner"] and member["client_urls"]]
    # Who joins is listed where the file has it.
    found = [move for move in moved(members, urls) if move["name"] not in plan.get("joiners", [])]
    if not found:
        return result
    worked_on = [move for move in found if move["name"] in plan["drift"]]
    result["moves"] = found
    result["move_refused"] = (
        why_not_there(found, store.members, urls)
        or _why_limited([move for move in found if move["name"] not in run])
        or (
            _why_unreached(found, [str(member["name"]) for member in members], store.told)
            if _lost(plan)
            else ""
        )
    )
    if result["move_refused"]:
        return result
    names = [move["name"] for move in worked_on]
    if _lost(plan):
        at_once = [name for name in plan["voters_one_by_one"] if name in names]
        result["voters_at_once"] = [*plan["voters_at_once"], *at_once]
        result["voters_one_by_one"] = [name for name in plan["voters_one_by_one"] if name not in at_once]
        result["quorum_expected"] = True
    # Who moved and does not count is in nobody's way, and is needed before one that counts may stop.
    down = {name for name in names if name not in plan["quorum"]["counting"]}
    result["voters_one_by_one"] = sorted(result["voters_one_by_one"], key=lambda name: name not in down)
    last = plan["quorum"]["leader"]
    result["readdressed"] = sorted(
        (name for name in names if name not in result["voters_one_by_one"]), key=lambda name: name == last
    )
    if result["readdressed"] and "record_holders" in plan:
        result["record_holders"] = list(urls)
    result["unchanged"] = [name for name in plan["unchanged"] if name not in names]
    by_name = {move["name"]: move for move in worked_on}
    order = [*result["readdressed"], *(name for name in result["voters_one_by_one"] if name in names)]
    result["move_turns"] = turns([by_name[name] for name in order])
    return result


def _lost(plan: Mapping[str, Any]) -> bool:
    return bool(plan["quorum"]["members"]) and plan["quorum"]["tolerates"] < 0


def _why_limited(left_out: Sequence[Move]) -> str:
    """Return why a run may not leave out voters that moved, or nothing."""
    if not left_out:
        return ""
    names = ", ".join(move["name"] for move in left_out)
    moves = "; ".join(map(text, left_out))
    return (
        f"{moves}. The others may be cut off from them, and every node gets their new addresses: run without"
        f" --limit, or with {names} in it"
    )


def _why_unreached(found: Sequence[Move], members: Sequence[str], told: Collection[str]) -> str:
    """Return why a restart of those that moved brings the quorum not back, or nothing.

    Two of which neither is where the list has it reach each other no more.
    """
    names = {move["name"] for move in found}
    living = [name for name in members if name in told]
    pairs = frozenset(frozenset((one, other)) for one in names for other in names if one != other)
    if may_lead(len(members), living, pairs) or len(living) < majority(len(members)):
        return ""
    moves = "; ".join(text(move) for move in found if move["name"] in living)
    return (
        f"{moves}. No member that lives is where the store lists it, so that they reach each other no more,"
        " and without a quorum the list cannot be mended: give one of them its earlier address back, or bring"
        " another one back that did not move, and run this again"
    )


class FilterModule:
    """Filters about voters that moved."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {"p2p_with_moves": with_moves}
