"""Whether a node may leave the cluster, and what is left of it to be removed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.p2p.cluster.plugins.plugin_utils.output.escape import paragraph
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.leaving import still_voting, why_not_denied
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.nearest import did_you_mean
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.why import first_line

Answer = Mapping[str, Any]
_BETWEEN = re.compile("[,:]")
_NAME = re.compile(r"\w[\w.-]*")
# A range and a regular expression may hold what stands between names.
_NO_NAMES = re.compile(r"[\[~@]")


def limit_unknown(limit: str, groups: Mapping[str, Iterable[str]]) -> str:
    """Return what is wrong with the names of a `--limit`: Ansible only warns of one that it does not know.

    Args:
        limit: As it was given. One that holds more than names, such as a range or a regular expression, is
            Ansible's affair.
        groups: The inventory's groups with their hosts.
    """
    known = {*groups, *(host for hosts in groups.values() for host in hosts)}
    words = [] if _NO_NAMES.search(limit) else [word.strip() for word in _BETWEEN.split(limit)]
    unknown = [word for word in dict.fromkeys(words) if _NAME.fullmatch(word) and word not in known]
    told = ", ".join(f"{word!r}{did_you_mean(word, known)}" for word in unknown)
    return f"--limit: no node or group of the fleet file is called {told}" if unknown else ""


def removal_plan(
    leaving: Sequence[str], answers: Mapping[str, Answer], ready: Sequence[str], fleet_file: str
) -> dict[str, Any]:
    """Sort the nodes that leave by what can be done on them.

    Args:
        leaving: Their names.
        answers: The registered result of `p2p_probe` for each; one that was not to be asked has one without
            `probe`, marked as skipped.
        ready: Names of the nodes that the fleet file calls ready.
        fleet_file: Its path, for people.

    Returns:
        The keys of a `p2p_plan` that `p2p_outcomes` reads: `others` are cleaned, `unreachable` should have
        answered, `refused` cannot be looked at. `gone` are those that nobody expects to answer.
    """
    result: dict[str, Any] = {
        **{
            key: []
            for key in ("unchanged", "canary", "voters_at_once", "voters_one_by_one", "others", "gone")
        },
        "unreachable": {},
        "refused": {},
    }
    for name in leaving:
        answer = answers[name]
        told = (
            f"{first_line(answer)}. What is on it stays:"
            f" run this again when it answers, or call it `status: destroyed` in {fleet_file}"
        )
        if "probe" in answer:
            result["others"].append(name)
        elif answer.get("skipped") or (answer.get("unreachable") and name not in ready):
            result["gone"].append(name)
        else:
            result["unreachable" if answer.get("unreachable") else "refused"][name] = told
    return result


def had_store(answer: Answer, service: str) -> bool:
    """Tell whether a node has, or may have, anything of an etcd member of ours."""
    units = answer["probe"]["services"].get(service) or {}
    return units.get("load", "not-found") != "not-found" or _store(answer).get("has_data") is not False


def not_told(results: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return on which nodes a looped copy did not succeed, and why; each item starts with the node's name."""
    failed = [result for result in results if result.get("unreachable") or result.get("msg")]
    return {str(result["item"][0]): first_line(result) for result in failed}


def removal_text(plan: Mapping[str, Any], check: bool = False) -> list[str]:
    """Return in lines for people what a removal does.

    Args:
        plan: As `p2p_removal_plan` gives it, with `revocations`, as `p2p_certificate` gives it, and
            `contradicting`, from `p2p_store_contradicting`.
        check: Whether the run only previews.
    """
    verb = "would be" if check else "will be"
    lines = revoked_text(plan["revocations"], becomes=f"{verb} denied by the voters")
    if not lines:
        lines.append("this cluster uses no certificates, so there is none to deny")
    if plan["others"]:
        lines.append(f"services, files and users of ours {verb} removed from {', '.join(plan['others'])}")
    if plan["gone"]:
        lines.append(
            f"nothing is removed from {', '.join(plan['gone'])}, which no longer answer or are destroyed"
        )
    for state in ("unreachable", "refused"):
        lines += [f"{state}: {name} ({why})" for name, why in sorted(plan[state].items())]
    lines += [f"{name} contradicts the other voters: {why}" for name, why in plan["contradicting"].items()]
    return [paragraph(line) for line in lines]


def revoked_text(
    revocations: Mapping[str, Mapping[str, int]], check: bool = False, becomes: str = "", news: bool = False
) -> list[str]:
    """Return in lines for people what of the nodes that leave is denied, and what there was nothing of.

    Args:
        revocations: By name how many certificates are `revoked` by this run, and were `before`.
        check: Whether the run only previews.
        becomes: What becomes of the certificates; by default that they were revoked on the controller.
        news: Whether nodes that were denied before are left out.
    """
    lines = []
    for name, counts in revocations.items():
        if counts["revoked"]:
            done = "would be" if check else "was" if counts["revoked"] == 1 else "were"
            lines.append(f"{name}: {_certificates(counts['revoked'])} {becomes or f'{done} revoked'}")
        elif counts["before"] and news:
            continue
        elif counts["before"]:
            lines.append(f"{name}: denied already ({_certificates(counts['before'])})")
        else:
            lines.append(f"{name}: no certificate of this controller is valid, so there is none to deny")
    return [paragraph(line) for line in lines]


def _certificates(count: int) -> str:
    return f"{count} certificate{'s' if count > 1 else ''}"


def _store(answer: Answer) -> Mapping[str, Any]:
    return (answer.get("probe") or {}).get("etcd") or {}


class FilterModule:
    """Filters about a removal."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {
            "p2p_had_store": had_store,
            "p2p_limit_unknown": limit_unknown,
            "p2p_not_told": not_told,
            "p2p_removal_plan": removal_plan,
            "p2p_removal_text": removal_text,
            "p2p_revoked_text": revoked_text,
            "p2p_still_voting": still_voting,
            "p2p_why_not_denied": why_not_denied,
        }
