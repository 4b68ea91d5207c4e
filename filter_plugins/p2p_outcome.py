"""What a run says it will do, whether it goes on, and what it did in the end, node by node."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.p2p.cluster.plugins.plugin_utils.output.escape import paragraph
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.moves import text as move_text
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.quorum import why_apart
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.stages import touched
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.why import without_advice

NAMES_SHOWN = 12


def plan_text(plan: Mapping[str, Any], check: bool = False) -> list[str]:
    """Return a plan in lines for people and their terminals.

    Args:
        plan: As `p2p_plan` gives it.
        check: Whether the run only previews.
    """
    quorum, verb = plan["quorum"], "would change" if check else "will change"
    changing = touched(plan)
    still = len(plan["unchanged"])
    lines = [f"{len(changing)} of {len(changing) + still} nodes {verb}, {still} are as they should be"]
    if quorum["members"]:
        lines.append(
            f"etcd: {len(quorum['counting'])} of {len(quorum['members'])} members count,"
            f" a quorum is {quorum['quorum']}: "
            + (f"{quorum['tolerates']} may fail" if quorum["tolerates"] >= 0 else "it is lost")
        )
        lines += [f"  {name} does not count: {why}" for name, why in sorted(quorum["down"].items())]
        lines += [f"  {one} and {other} exchange no messages" for one, other in quorum.get("apart") or ()]
    elif plan["bootstrap"]:
        above = f", with recovery epoch {plan['least_epoch']}" if plan.get("least_epoch") else ""
        lines.append(f"etcd: a new store is formed by {_names(plan['bootstrap'])}{above}")
    lines += [f"moved: {move_text(move)}" for move in plan.get("moves") or ()]
    if plan.get("store_care"):
        why = "it is full, and takes no writes" if plan["store_full"] else "much of it is free"
        lines.append(
            f"etcd's database is made smaller, one member at a time ({why}): {_names(plan['store_care'])}"
        )
    for name in plan["canary"]:
        other = plan.get("canary_why")
        lines.append(f"first, as the canary: {_one(plan, name)}" + (f"; {other}" if other else ""))
    if any(plan["stops"].get(name) for name in plan["voters_at_once"]):
        lines.append(
            f"voters that go over all at once, nobody leads meanwhile: {_names(plan['voters_at_once'])}"
        )
    elif plan["voters_at_once"]:
        lines.append(
            f"voters that start or are mended, nothing that counts stops: {_names(plan['voters_at_once'])}"
        )
    if plan.get("readdressed"):
        lines.append(
            f"voters that the store lists where they are now, one at a time: {_names(plan['readdressed'])}"
        )
    spare = quorum["tolerates"] - 1
    for place, name in enumerate(plan["voters_one_by_one"]):
        lines.append(
            f"voter {place + 1} of {len(plan['voters_one_by_one'])}, alone: {_one(plan, name)}"
            + (f"; meanwhile {spare} more may fail" if quorum["members"] and spare >= 0 else "")
        )
    start = 0
    for number, size in enumerate(plan["batches"], start=1):
        batch = plan["others"][start : start + size]
        lines.append(f"batch {number} of {len(plan['batches'])}, nodes that do not vote: {_names(batch)}")
        start += size
    for name, what in sorted(plan.get("foretold", {}).items()):
        lines.append(f"no Python on {name}: would {what}, and then do what a new node needs")
    lines += [
        f"no Python on {name}: {what}, done" for name, what in sorted(plan.get("bootstrapped", {}).items())
    ]
    lines += [f"warning: {line}" for line in plan["warnings"]]
    for what in ("unreachable", "refused"):
        lines += [f"{what}: {name} ({why})" for name, why in sorted(plan[what].items())]
    return [paragraph(line) for line in lines]


def _one(plan: Mapping[str, Any], name: str) -> str:
    stops = plan["stops"].get(name) or []
    return f"{name} ({'restarts ' + ' and '.join(stops) if stops else 'nothing of it stops'})"


def _names(names: Sequence[str]) -> str:
    if not names:
        return "none"
    shown = ", ".join(names[:NAMES_SHOWN])
    more = len(names) - NAMES_SHOWN
    count = f"{len(names)} node" + ("s" if len(names) > 1 else "")
    return f"{count}: {shown}" + (f" and {more} more" if more > 0 else "")


def brake(
    hostvars: Mapping[str, Any], plan: Mapping[str, Any], stage: str, max_fail_percentage: float = 0
) -> str:
    """Return why a run stops before a stage, or nothing.

    A canary that failed or was lost, or a voter that did not join, stops everything, a voter that did not
    come back all that comes after it, and too many failures of nodes that do not vote the rest of these.
    Other nodes that cannot be reached are no failures.

    Args:
        hostvars: Ansible's, with `p2p_outcome` on the nodes that were tried.
        plan: As `p2p_plan` gives it.
        stage: `joiners`, `leavers`, `voters_at_once`, `voters_one_by_one` or `others`.
        max_fail_percentage: How many percent of the nodes tried so far may have failed before `others` stop.
    """
    tried = {name: outcome for name in plan["canary"] if (outcome := _outcome(hostvars, name))}
    if why := _voters_brake(hostvars, plan, tried, stage):
        return why
    if stage != "others":
        return ""
    tried |= {name: outcome for name in plan["others"] if (outcome := _outcome(hostvars, name))}
    # Those that were held back were not tried: they would thin the failures out until the run goes on.
    tried = {name: outcome for name, outcome in tried.items() if outcome["state"] != "held"}
    failed = [name for name, outcome in tried.items() if outcome["state"] == "failed"]
    if failed and len(failed) * 100 > float(max_fail_percentage) * len(tried):
        return (
            f"{len(failed)} of {len(tried)} nodes failed so far, more than"
            f" p2p_max_fail_percentage={float(max_fail_percentage):g} allows"
        )
    return ""


def _voters_brake(
    hostvars: Mapping[str, Any], plan: Mapping[str, Any], canary: Mapping[str, dict[str, Any]], stage: str
) -> str:
    for name, outcome in canary.items():
        if outcome["state"] == "failed":
            return f"the canary {name} failed"
        if outcome["state"] == "unreachable":
            return f"the canary {name} was lost while it was changed; in the next run another goes first"
    for name in plan.get("joiners", []):
        if (_outcome(hostvars, name) or {"state": "changed"})["state"] != "changed":
            return f"the voter {name} did not join"
    for name in [*plan.get("leavers", []), *plan["voters_one_by_one"]] if stage != "voters_at_once" else []:
        if (_outcome(hostvars, name) or {}).get("stopped"):
            return f"the voter {name} did not come back"
    return ""


def _outcome(hostvars: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    found: dict[str, Any] | None = hostvars[name].get("p2p_outcome")
    return found


def failure(
    result: Mapping[str, Any], earlier: Iterable[Mapping[str, Any]], verdict: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the outcome of a node on which a task failed.

    Args:
        result: `ansible_failed_result`.
        earlier: Registered results before it. One that did not reach the node is the real reason: the run
            goes on after it until a task misses its result.
        verdict: What the gate said of the node, empty if it was not asked. One with `begun` came after the
            node was changed.

    Returns:
        `state`, `why`, and `stopped`: whether services of a voter may have been stopped.
    """
    if verdict and not verdict["allowed"] and not verdict.get("begun"):
        return {"state": "refused", "why": verdict["reason"], "stopped": False}
    gone = next((item for item in earlier if item.get("unreachable")), result)
    told = str(gone.get("msg") or "no reason was given")
    if gone.get("probe"):
        # It was asked until there was no more to wait for, and Ansible has no words for that.
        told = f"it does not take part again: {why_apart(gone)}"
    why = without_advice(told).strip().removeprefix("Task failed: ")
    return {
        "state": "unreachable" if gone.get("unreachable") else "failed",
        "why": why.removeprefix("Failed to connect to the host via ssh: "),
        "stopped": bool(verdict),
    }


def reached(results: Sequence[Mapping[str, Any]], verdict: Mapping[str, Any]) -> dict[str, Any]:
    """Return the outcome of a node on which no task failed: one that was lost meanwhile is not changed.

    Args:
        results: Registered results of its tasks.
        verdict: As for `failure`.
    """
    lost = [result for result in results if result.get("unreachable")]
    return failure(lost[0], [], verdict) if lost else {"state": "changed"}


def outcomes(hostvars: Mapping[str, Any], plan: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return by state, and in it by node, what became of every node of a run.

    Args:
        hostvars: Ansible's, with `p2p_outcome` on the nodes that were tried.
        plan: As `p2p_plan` gives it.

    Returns:
        `changed` and `unchanged` (with nothing to say), `failed`, `not done` (the run ended before), `held`
        (not tried, since others failed), `refused` and `unreachable`, each with the reason.
    """
    result: dict[str, dict[str, str]] = {
        "changed": {},
        "unchanged": dict.fromkeys(plan["unchanged"], ""),
        "failed": {},
        "not done": {},
        "held": {},
        "refused": dict(plan["refused"]),
        "unreachable": dict(plan["unreachable"]),
    }
    cared = [name for name in plan.get("store_care", []) if name in result["unchanged"]]
    for name in cared:
        del result["unchanged"][name]
    for name in [*touched(plan), *cared]:
        outcome = _outcome(hostvars, name)
        if outcome is None and name in plan.get("foretold", {}):
            outcome = {"state": "changed"}
        outcome = outcome or {"state": "not done", "why": "the run ended before"}
        result[outcome["state"]][name] = outcome.get("why", "")
    return result


def outcome_text(found: Mapping[str, Mapping[str, str]], check: bool = False) -> list[str]:
    """Return what became of the nodes in lines for people and their terminals.

    Args:
        found: As `p2p_outcomes` gives it.
        check: Whether the run only previewed.
    """
    lines = [f"{'would change' if check else 'changed'}: {_names(list(found['changed']))}"]
    lines.append(f"unchanged: {_names(list(found['unchanged']))}")
    for state, title in (
        ("failed", "failed"),
        ("not done", "not done"),
        ("held", "held back"),
        ("refused", "refused"),
        ("unreachable", "unreachable"),
    ):
        lines += [f"{title}: {name}: {why}" for name, why in sorted(found[state].items())]
    return [paragraph(line) for line in lines]


def not_done(found: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return how many nodes are not as they should be, one phrase for each state that there is."""
    titles = {
        "failed": "failed",
        "not done": "were not done",
        "held": "were held back",
        "refused": "were refused",
        "unreachable": "are unreachable",
    }
    return [f"{len(found[state])} {title}" for state, title in titles.items() if found[state]]


class FilterModule:
    """Filters about the course of a run."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {
            "p2p_brake": brake,
            "p2p_failure": failure,
            "p2p_not_done": not_done,
            "p2p_outcome_text": outcome_text,
            "p2p_outcomes": outcomes,
            "p2p_plan_text": plan_text,
            "p2p_reached": reached,
        }
