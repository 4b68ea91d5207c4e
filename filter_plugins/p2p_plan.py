"""What a deploy has to do, worked out from what every node said of itself."""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, TypedDict

from ansible_collections.p2p.cluster.plugins.plugin_utils.artifact.target import MADE
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan import forming
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.confirm import names
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.epochs import next_epoch
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.members import blank, the_store
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.rule import why_unsure
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.tolerance import majority
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.why import first_line
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.working import (
    nobody_leads,
    rests,
    service_of,
    store_is_lost,
)

Answer = Mapping[str, Any]
_NO_ROOT = re.compile(r"sudo password|sudo: a password is required|not in the sudoers file", re.IGNORECASE)


# For how long a canary that did not do well speaks against its provider, in seconds.
_RECENT = 30 * 86400
_HOW = {
    "failed": "failed as the canary on {day}",
    "lost": "was lost as the canary on {day}",
    "unfinished": "was the canary of a run on {day} that never ended",
}


class Plan(TypedDict):
    """Who is touched, and in which order; every list holds node names.

    `unchanged` needs nothing. `canary` is the node that is changed before all others, if there is one;
    `canary_why` says why it is not the first, or nothing, and `canaries` is what the controller remembers.
    `voters_at_once` start or are mended without stopping anything that runs, `voters_one_by_one` restart
    something (the leader last), `others` do not vote, those that run first; `batches` are their numbers.
    `unreachable` and `refused` say why a node is left out. `bootstrap` are voters that may form a new store,
    `joining` voters of a living store that never started; `token` names a store that is formed now.
    `least_epoch` is what the recovery epoch is raised to before an orchestrator starts, 0 if it stays; with
    `unled` only in a store in which nobody has led so far. `misnamed` says which names of p2p_form_without
    are wrong.
    `quorum` is the live store before the run; `quorum_expected` says whether a majority counts once the
    voters of `voters_at_once` do. `drift` says what differs on a node, `stops` which running services its
    mending stops. `warnings` are lines about ports that a new node misses. `split` says why the run may not
    go on, because it would change who votes. `bootstrapped` says how a node without Python got one; in a
    preview it is in `foretold` instead: what else it needs is seen once it has one.
    """

    unchanged: list[str]
    canary: list[str]
    canary_why: str
    canaries: Mapping[str, Any]
    store: Mapping[str, Any]
    voters_at_once: list[str]
    voters_one_by_one: list[str]
    others: list[str]
    batches: list[int]
    bootstrap: list[str]
    joining: list[str]
    unreachable: dict[str, str]
    refused: dict[str, str]
    token: str
    least_epoch: int
    unled: bool
    misnamed: str
    quorum: Mapping[str, Any]
    quorum_expected: bool
    drift: dict[str, list[str]]
    stops: dict[str, list[str]]
    warnings: list[str]
    split: str
    foretold: dict[str, str]
    bootstrapped: dict[str, str]


def plan(
    answers: Mapping[str, Answer],
    voters: Sequence[str],
    quorum: Mapping[str, Any],
    *,
    voter_answers: Mapping[str, Answer],
    now: float,
    service: str = "p2p_orchestrator",
    etcd_service: str = "",
    batches: Sequence[str | int] | str | int = ("100%",),
    accept_outage: bool = False,
    going_over: Sequence[str] = (),
    preflight: Mapping[str, Any] | None = None,
    unreached: Mapping[str, str] | None = None,
    bootstrapped: Mapping[str, Mapping[str, Any]] | None = None,
    canaries: Mapping[str, Any] | None = None,
    hostvars: Mapping[str, Mapping[str, Any]] | None = None,
    store: Mapping[str, Any] | None = None,
    cluster: str = "",
    form_without: object = None,
) -> Plan:
    """Sort the nodes of a run by what they need.

    Args:
        answers: The registered result of `p2p_probe` for each node of the run, by name.
        voters: All voters of the fleet file, in its order.
        quorum: The live cluster, from `p2p_store_quorum`.
        voter_answers: The same as `answers` for every voter of the fleet file, in the run or not.
        now: Seconds since the epoch; part of a new store's name.
        service: Name of the orchestrator's service.
        etcd_service: Name of the store's, "" where there is none.
        batches: How many of the nodes that run and do not vote are changed at a time, as numbers or as
            percentages of them; the last one is repeated.
        accept_outage: The operator said that a lost quorum is accepted.
        going_over: Nodes that change to another program. Voters among them do so all at once, since the old
            and the new program do not elect together.
        preflight: Which new nodes reach no majority of the voters or are not fit, from `p2p_preflight` and
            `p2p_fitness`.
        unreached: Why a node gave no probe, and what mends it, from `p2p_unreached`.
        bootstrapped: What became of nodes without Python, from `p2p_bootstrapped`.
        canaries: Those that did not do well, from the lookup `p2p_canaries`.
        hostvars: Ansible's, asked for providers where there are such canaries.
        store: The store as this controller last saw it work, from the lookup `p2p_store_known`.
        cluster: The cluster's name.
        form_without: The voters without which the operator wants a new store formed, in a list or separated
            by commas; None in a playbook that forms none.

    Returns:
        The plan. A voter whose store is empty starts only where that is safe: a majority of the run is blank,
        and `forming.judge` allows it (bootstrap), or the living members list it as never started (joining).
    """
    result = Plan(
        unchanged=[],
        canary=[],
        canary_why="",
        canaries=canaries or {},
        store=store or {},
        voters_at_once=[],
        voters_one_by_one=[],
        others=[],
        batches=[],
        bootstrap=[],
        joining=[],
        unreachable={},
        refused={},
        token=f"{int(now)}",
        least_epoch=0,
        unled=False,
        misnamed="",
        quorum=quorum,
        quorum_expected=False,
        drift={},
        stops={},
        warnings=list((preflight or {}).get("warnings", [])),
        split="",
        foretold={},
        bootstrapped={name: item["why"] for name, item in (bootstrapped or {}).items() if item["changed"]},
    )
    leading = [
        name
        for name, nobody in ((service, nobody_leads), (etcd_service, store_is_lost))
        if name and not accept_outage and not nobody(voter_answers, name)
    ]
    cut_off, known = (preflight or {}).get("refused", {}), unreached or {}
    for name, answer in answers.items():
        if answer.get("unreachable"):
            result["unreachable"][name] = known.get(name) or _why(answer)
        elif answer.get("untrusted"):
            result["refused"][name] = first_line(answer)
        elif name in cut_off:
            result["refused"][name] = cut_off[name]
        elif "probe" not in answer and name in result["bootstrapped"]:
            result["foretold"][name] = result["bootstrapped"].pop(name)
            result["drift"][name] = [result["foretold"][name]]
            result["stops"][name] = []
            _sort(name, voters, result, at_once=False)
        elif "probe" not in answer:
            given = (bootstrapped or {}).get(name)
            result["refused"][name] = given["why"] if given else known.get(name) or _why(answer)
        elif name in voters and answer["probe"].get("manager", "systemd") != "systemd":
            result["refused"][name] = (
                "it votes, and systemd does not run it: take it out of p2p_voters. Nothing was touched"
            )
        elif taken := [item for item in answer["probe"]["drift"] if item["part"] == "port"]:
            result["refused"][name] = taken[0]["why"]
        else:
            drift = answer["probe"]["drift"]
            result["drift"][name] = [f"{item['part']} {item['name']}: {item['why']}" for item in drift]
            result["stops"][name] = _stopped(answer, leading if name in voters else ())
            _sort(name, voters, result, at_once=name in going_over)
    _settle_empty_stores(
        voters,
        quorum,
        voter_answers,
        result,
        now=now,
        cluster=cluster,
        form_without=form_without,
        voting=[name for name in answers if name not in voters and _votes(answers[name], etcd_service)],
    )
    counting = {*quorum["counting"], *result["voters_at_once"]}
    result["quorum_expected"] = len(counting) * 2 > len(voters)
    leaders = _leaders(voter_answers.values())
    last = {quorum["leader"], *leaders}
    result["voters_one_by_one"].sort(key=lambda voter: (voter in leaders, voter in last))
    result["split"] = _why_undecided(voters, quorum, voter_answers, result["store"]) or why_split(
        voters, quorum, answers, voter_answers, accept_outage=accept_outage
    )
    if any(last) and not going_over and quorum["tolerates"] >= 0:
        _choose_canary(result, hostvars or {}, now)
    # `-e p2p_batches=10%` gives one word, no list of them.
    _batch(result, [batches] if isinstance(batches, (str, int)) else batches)
    return result


def _choose_canary(result: Plan, hostvars: Mapping[str, Mapping[str, Any]], now: float) -> None:
    """Let one node that does not vote go before the others that change.

    It is the first that did not do badly as the canary before, of another provider if there is one: else one
    node could hold back every run. Where all did badly it is the one that did so longest ago.
    """
    touched = [*result["voters_at_once"], *result["voters_one_by_one"], *result["others"]]
    if len(touched) == 1:
        return
    if not result["others"]:
        return
    failed: Mapping[str, Any] = result["canaries"].get("failed") or {}

    def provider(name: str) -> str:
        return str(hostvars[name].get("p2p_provider", "")) if name in hostvars else ""

    recent = {provider(name): name for name, one in failed.items() if now - one["at"] < _RECENT}
    # One that runs now shows most: it restarts as the others will.
    by_default = sorted(result["others"], key=lambda name: not result["stops"][name])

    def rank(name: str) -> tuple[bool, float, bool, bool]:
        bad = failed.get(name)
        away = bool(failed) and provider(name) in recent
        return bool(bad), bad["at"] if bad else 0.0, not result["stops"][name], away

    chosen = min(by_default, key=rank)
    result["canary"].append(chosen)
    result["others"].remove(chosen)
    first = by_default[0]
    if chosen in failed:
        result["canary_why"] = (
            f"{_told(chosen, failed)}, and so did the others that could be it, none of them longer ago"
        )
    elif chosen != first:
        bad = first if first in failed else recent[provider(first)]
        which = "a node of another provider" if provider(bad) != provider(chosen) else "another node"
        result["canary_why"] = f"{_told(bad, failed)}, so {which} goes first"


def _told(name: str, failed: Mapping[str, Any]) -> str:
    day = dt.datetime.fromtimestamp(failed[name]["at"], dt.UTC).strftime("%Y-%m-%d")
    return f"{name} {_HOW[failed[name]['how']].format(day=day)}"


def _batch(result: Plan, batches: Sequence[str | int]) -> None:
    """Cut the nodes that do not vote into batches; those that run nothing yet come last, all at once."""
    running = [name for name in result["others"] if result["stops"][name]]
    fresh = [name for name in result["others"] if not result["stops"][name]]
    result["others"] = running + fresh
    sizes: list[int] = []
    while sum(sizes) < len(running):
        size = str(batches[min(len(sizes), len(batches) - 1)])
        share = len(running) * int(size[:-1]) // 100 if size.endswith("%") else int(size)
        sizes.append(max(1, min(share, len(running) - sum(sizes))))
    if fresh:
        sizes[-1:] = [(sizes[-1] if sizes else 0) + len(fresh)]
    result["batches"] = sizes


def _why_undecided(
    voters: Sequence[str],
    quorum: Mapping[str, Any],
    voter_answers: Mapping[str, Answer],
    known: Mapping[str, Any],
) -> str:
    """Return why nobody can say whether the file's voters are the live ones, or nothing.

    That is asked where they are others than those that the store's members tell, or that were known: a few
    voters of a shortened file are its majority.

    Args:
        voters: The file's.
        quorum: The live cluster, from `p2p_store_quorum`.
        voter_answers: What each of the file's voters answered.
        known: The store as this controller last saw it work, from the lookup `p2p_store_known`.
    """
    kept = known.get("members") or {}
    unasked = [name for name in voters if name not in voter_answers]
    if unasked or not quorum["members"] or set(voters) == set(kept or voters) == set(quorum["members"]):
        return ""
    store = the_store(voter_answers, voters, known)
    why = why_unsure(store, known if kept else {"members": dict.fromkeys(voters)}, voter_answers)
    if not why:
        return ""
    names = ", ".join(voters)
    return f"the file's voters ({names}) may not be the live ones, and only voters.yml changes these: {why}"


def why_split(
    voters: Sequence[str],
    quorum: Mapping[str, Any],
    answers: Mapping[str, Answer],
    voter_answers: Mapping[str, Answer],
    *,
    accept_outage: bool,
) -> str:
    """Return why a run may not go on because the file's voters are not the live ones, or nothing.

    Args:
        voters: The file's.
        quorum: The live cluster, from `p2p_store_quorum`.
        answers: What each node of the run answered.
        voter_answers: What each of the file's voters answered.
        accept_outage: The operator said that a lost quorum is accepted.
    """
    missing = [name for name in voters if name not in answers]
    live = _live_voters(quorum, voter_answers)
    # A node that does not vote may have missed an earlier change; it is believed if no voter says anything,
    # and not alone: in a cluster of one voter, too, two nodes name it.
    if not live and not missing:
        live = _live_voters(quorum, answers, at_least=2)
    # A member that never started has no name yet, only an id: the number tells then.
    unnamed = [name for name in live if name.isdigit()]
    if not live or set(live) == set(voters):
        return ""
    if unnamed and set(live) - set(unnamed) <= set(voters) and len(live) == len(voters):
        return ""
    differs = f"the file's voters ({', '.join(voters)}) are not the live ones ({', '.join(live)})"
    if quorum["members"]:
        return (
            f"{differs}. A deploy changes no voters, and one with --limit would split the change:"
            " run voters.yml, or put p2p_voters back"
        )
    if missing:
        return f"{differs}. A change of the voters takes all of them: run without --limit"
    if accept_outage:
        return ""
    return (
        f"{differs}. The cluster has no store that could keep its leader through this: accept that nobody"
        " leads for a moment with -e p2p_accept_outage=true, or put p2p_voters back"
    )


def _live_voters(quorum: Mapping[str, Any], answers: Mapping[str, Answer], at_least: int = 1) -> list[str]:
    """Return who votes now: etcd's members, else whom most of the running orchestrators name.

    Args:
        quorum: The live cluster, from `p2p_store_quorum`.
        answers: What each node answered.
        at_least: How many orchestrators have to name the same.
    """
    if quorum["members"]:
        return list(quorum["members"])
    named = Counter(
        tuple(sorted(status["body"].get("voter_node_ids") or []))
        for answer in answers.values()
        if "probe" in answer and (status := answer["probe"]["http"]["status"])["status"] == HTTPStatus.OK
    )
    most, count = named.most_common(1)[0] if named else ((), 0)
    return list(most) if count >= at_least else []


def _stopped(answer: Answer, leading: Collection[str]) -> list[str]:
    """Return the services that work and stop while the node's drift is mended.

    One that starts again and again, or waits for the others, does not work: it is mended beside them.

    Args:
        answer: The registered result of the node's probe.
        leading: Services of a voter that a majority may count on. Of these, one that is starting works, and
            one that could not be looked at.
    """
    probe = answer["probe"]
    restarted = {service for item in probe["drift"] for service in item["restarts"]}
    working = {name for name, service in probe["services"].items() if service.get("active") == "active"}
    for item in probe["drift"]:
        # An orchestrator of an earlier deployment takes part as well as ours does.
        if item["part"] == "legacy" and probe.get("processes"):
            working.update(item["restarts"])
        # How it differs could not be looked at, nor whether that takes a restart.
        if item["part"] in ("manager", "probe"):
            restarted.update(name for name in leading if item["part"] == "probe" or name == item["name"])
    working.update(name for name in leading if not rests(answer, name))
    return sorted(restarted & working)


def _sort(name: str, voters: Sequence[str], result: Plan, *, at_once: bool) -> None:
    """Put a node that answered into the list of what it needs."""
    if not result["drift"][name]:
        result["unchanged"].append(name)
    elif name not in voters:
        result["others"].append(name)
    elif result["stops"][name] and not at_once:
        result["voters_one_by_one"].append(name)
    else:
        result["voters_at_once"].append(name)


def _settle_empty_stores(
    voters: Sequence[str],
    quorum: Mapping[str, Any],
    voter_answers: Mapping[str, Answer],
    result: Plan,
    *,
    now: float,
    cluster: str,
    form_without: object,
    voting: Sequence[str],
) -> None:
    """Decide which voters with an empty store may start, and refuse the others."""
    given = names(form_without)
    result["misnamed"] = forming.slips(given, voters, result["store"], cluster, lives=bool(quorum["members"]))
    stores = {
        name: answer["probe"]["etcd"]
        for name, answer in voter_answers.items()
        if "probe" in answer and answer["probe"]["etcd"] is not None
    }
    if len(voters) == 1 or not stores:
        return
    # Also one that does not differ: an etcd that fails for want of data is now and then met while it starts.
    mine = [name for name in voters if name in result["drift"] and blank(voter_answers.get(name, {}))]
    epoch = next_epoch(voter_answers, voters, now=int(now), known=int(result["store"].get("epoch") or 0))
    if not quorum["members"] and not any(store["has_data"] for store in stores.values()):
        if form_without is None:
            _refuse(mine, "no store lives, and only deploy.yml forms a new one: run it", result)
        elif len(mine) * 2 <= len(voters):
            _refuse(
                mine,
                f"a new cluster needs {majority(len(voters))} of its {len(voters)} voters in one run,"
                f" this one has {len(mine)}: run without --limit, or see why the others are unreachable or"
                " refused",
                result,
            )
        else:
            verdict = forming.judge(
                voters, voter_answers, given, known=result["store"], cluster=cluster, voting=voting
            )
            result["misnamed"] = verdict.mistake
            if verdict.refusal:
                _refuse(mine, verdict.refusal, result)
            else:
                _form(mine, result, epoch if verdict.earlier else 0)
        return
    if form_without is not None and forming.few_led(voters, voter_answers):
        result["least_epoch"], result["unled"] = epoch, True
    listed = the_store(voter_answers, voters, result["store"])
    known = result["store"] if result["store"].get("members") else {"members": dict.fromkeys(voters)}
    # One that starts under the id of a member whose data are gone forgets its vote: not on the word of few.
    sure = not why_unsure(listed, known, voter_answers)
    never_started = {member["name"] for member in listed.members if sure and not member["client_urls"]}
    result["joining"] = [name for name in mine if name in never_started]
    still = [name for name in result["joining"] if name in result["unchanged"]]
    _take_out(still, result)
    result["voters_at_once"] += still
    _refuse(
        [name for name in mine if name not in never_started],
        "its etcd data is gone, and the other voters still count on it: run voters.yml, which removes its"
        " member and lets it join again"
        if quorum["members"]
        else _why_not_blank([name for name, store in stores.items() if store["has_data"]], len(voters)),
        result,
    )


def _votes(answer: Answer, etcd_service: str) -> bool:
    """Tell whether a node says of itself that it votes, or has a member of the store."""
    probe = answer.get("probe") or {}
    page = (probe.get("http") or {}).get("status") or {}
    loaded = service_of(answer, etcd_service).get("load") == "loaded"
    return bool((page.get("body") or {}).get("voter")) or loaded


def _why_not_blank(holding: Sequence[str], voters: int) -> str:
    """Return why a blank voter does not start beside those that hold data of which nothing runs."""
    who = ", ".join(holding)
    if len(holding) * 2 > voters:
        return f"{who} hold etcd data but do not run: run again when they do"
    holds, are = ("holds", "is") if len(holding) == 1 else ("hold", "are")
    return (
        f"{who} {holds} etcd data and {are} no majority of the {voters} voters: bring the others' data back,"
        " or see recover.yml --check"
    )


def _form(founders: Sequence[str], result: Plan, epoch: int) -> None:
    """Let voters form a new store: together, since none of them gets ready before most of them run."""
    _take_out(founders, result)
    result["bootstrap"], result["least_epoch"] = list(founders), epoch
    result["voters_at_once"] += founders


def _refuse(refused: Sequence[str], why: str, result: Plan) -> None:
    _take_out(refused, result)
    result["refused"].update(dict.fromkeys(refused, why))


def _take_out(voters: Sequence[str], result: Plan) -> None:
    """Take voters out of the lists of what they need."""
    for listed in (result["unchanged"], result["voters_at_once"], result["voters_one_by_one"]):
        listed[:] = [name for name in listed if name not in voters]


def _leaders(answers: Iterable[Answer]) -> set[str | None]:
    """Return whom the nodes name as leader."""
    statuses = [answer["probe"]["http"]["status"] for answer in answers if "probe" in answer]
    return {status["body"].get("leader_id") for status in statuses if status["status"] == HTTPStatus.OK}


def the_plan(hostvars: Mapping[str, Any]) -> Plan | dict[str, Any]:
    """Return the run's plan, whichever hosts hold it; empty before there is one."""
    found: Iterable[Plan] = (hostvars[host]["p2p_plan"] for host in hostvars if "p2p_plan" in hostvars[host])
    return next(iter(found), {})


def planned(hostvars: Mapping[str, Any], part: str) -> list[str]:
    """Return a list of the run's plan, for a play's `hosts`; empty before there is a plan."""
    names: list[str] = dict(the_plan(hostvars)).get(part, [])
    return names


def any_drift(answers: Mapping[str, Answer]) -> bool:
    """Tell whether there is a node that is not what it is meant to be."""
    return any(answer["probe"]["drift"] for answer in answers.values() if "probe" in answer)


def settings_alone(answer: Answer, service: str) -> bool:
    """Tell whether a node differs in nothing but what one service reads: its unit and the texts beside it.

    Mending that takes no look at the release, the user or the store.

    Args:
        answer: The registered result of its probe.
        service: The unit's name without `.service`.
    """
    return all(_of_settings(item, service) for item in answer["probe"]["drift"])


def release_alone(answer: Answer, service: str) -> bool:
    """Tell whether a node differs in nothing but the release that a service runs from, and what that reads.

    Mending that takes no look at the user or the store.

    Args:
        answer: As for `settings_alone`.
        service: As for `settings_alone`.
    """
    return all(item["part"] in MADE or _of_settings(item, service) for item in answer["probe"]["drift"])


def _of_settings(item: Mapping[str, Any], service: str) -> bool:
    return item.get("service") == service and (
        item["part"] == "restart"
        or (item["part"] in ("file", "live", "unit") and item["why"] == "content differs")
    )


def only(answers: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return the entries of the given names."""
    return {name: answer for name, answer in answers.items() if name in names}


def _why(answer: Answer) -> str:
    """Return the first line of what Ansible said of a node that gave no probe, without its preamble."""
    line = first_line(answer)
    if _NO_ROOT.search(line):
        line += (
            ": the user is not root and has no sudo without a password; give it that, or another ssh_user,"
            " or a folder of that user's to deploy to without root (rootless_dir). Nothing was written"
        )
    return line


class FilterModule:
    """Filters about a deploy."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {
            "p2p_any_drift": any_drift,
            "p2p_only": only,
            "p2p_plan": plan,
            "p2p_planned": planned,
            "p2p_release_alone": release_alone,
            "p2p_settings_alone": settings_alone,
            "p2p_the_plan": the_plan,
        }
