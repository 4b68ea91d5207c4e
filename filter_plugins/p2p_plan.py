"""What a deploy has to do, worked out from what every node said of itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

Answer = Mapping[str, Any]


class Plan(TypedDict):
    """Who is touched, and in which order; every list holds node names.

    `unchanged` needs nothing. `voters_at_once` start or are mended without stopping anything that runs,
    `voters_one_by_one` restart something (the leader last), `others` do not vote. `unreachable` and
    `refused` say why a node is left out. `bootstrap` are voters that may form a new store, `joining`
    voters of a living store that never started; `token` names a store that is formed now.
    `drift` says what differs on a node, `stops` which running services its mending stops.
    """

    unchanged: list[str]
    voters_at_once: list[str]
    voters_one_by_one: list[str]
    others: list[str]
    bootstrap: list[str]
    joining: list[str]
    unreachable: dict[str, str]
    refused: dict[str, str]
    token: str
    drift: dict[str, list[str]]
    stops: dict[str, list[str]]


def plan(
    answers: Mapping[str, Answer],
    voters: Sequence[str],
    quorum: Mapping[str, Any],
    *,
    voter_answers: Mapping[str, Answer],
    leaders: Sequence[str | None] = (),
) -> Plan:
    """Sort the nodes of a run by what they need.

    Args:
        answers: The registered result of `p2p_probe` for each node of the run, by name.
        voters: All voters of the fleet file, in its order.
        quorum: The live cluster, from `p2p_live_quorum`.
        voter_answers: The same as `answers` for every voter of the fleet file, in the run or not.
        leaders: Nodes that restart last: etcd's leader and the orchestrators'.

    Returns:
        The plan. A voter whose store is empty starts only where that is safe: all of a majority are blank
        and nobody holds data (bootstrap), or the living members list it as never started (joining).
    """
    result = Plan(
        unchanged=[],
        voters_at_once=[],
        voters_one_by_one=[],
        others=[],
        bootstrap=[],
        joining=[],
        unreachable={},
        refused={},
        drift={},
    )
    empty_stores = _empty_stores(answers, voters, quorum, voter_answers, result)
    for name, answer in answers.items():
        if answer.get("unreachable"):
            result["unreachable"][name] = _why(answer)
            continue
        if "probe" not in answer:
            result["refused"][name] = _why(answer)
            continue
        probe = answer["probe"]
        drift = probe["drift"]
        result["drift"][name] = [f"{item['part']} {item['name']}: {item['why']}" for item in drift]
        if not drift:
            result["unchanged"].append(name)
        elif name not in voters:
            result["others"].append(name)
        elif name in empty_stores:
            result["refused"][name] = empty_stores[name]
        elif _stops_something(probe):
            result["voters_one_by_one"].append(name)
        else:
            result["voters_at_once"].append(name)
    leading = {leader for leader in leaders if leader}
    result["voters_one_by_one"].sort(key=lambda voter: voter in leading)
    return result


def _empty_stores(
    answers: Mapping[str, Answer],
    voters: Sequence[str],
    quorum: Mapping[str, Any],
    voter_answers: Mapping[str, Answer],
    result: Plan,
) -> dict[str, str]:
    """Decide which voters with an empty store may start; return why the others may not, by name.

    Fills `bootstrap` and `joining` of `result`.
    """
    if len(voters) == 1:
        return {}
    stores = {name: answer["probe"]["etcd"] for name, answer in voter_answers.items() if "probe" in answer}
    empty = [name for name in voters if name in stores and not stores[name].get("has_data")]
    mine = [name for name in empty if name in answers]
    if not mine:
        return {}
    if len(empty) == len(stores) and not quorum["members"]:
        if len(mine) * 2 > len(voters):
            result["bootstrap"] = mine
            return {}
        why = (
            f"a new cluster needs {len(voters) // 2 + 1} of the {len(voters)} voters in one run, this one has"
            f" {len(mine)}: run without --limit, or mend the voters that do not answer"
        )
        return dict.fromkeys(mine, why)
    never_started = {
        str(member["name"])
        for store in stores.values()
        for member in store.get("members", [])
        if not member["client_urls"]
    }
    result["joining"] = [name for name in mine if name in never_started]
    why = (
        "its etcd data is gone, and the other voters still count on it: replace it with voters.yml"
        if quorum["members"]
        else "the other voters hold etcd data but do not run: run again when they do"
    )
    return {name: why for name in mine if name not in never_started}


def _stops_something(probe: Mapping[str, Any]) -> bool:
    """Tell whether mending this node's drift stops a service that runs."""
    running = {name for name, service in probe["services"].items() if service["active"] == "active"}
    return bool(running & {service for item in probe["drift"] for service in item["restarts"]})


def _why(answer: Answer) -> str:
    """Return the first line of what Ansible said of a node that gave no probe."""
    return str(answer.get("msg") or "no answer").strip().splitlines()[0]


class FilterModule:
    """Filters about a deploy."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {"p2p_plan": plan}
