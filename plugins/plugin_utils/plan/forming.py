"""Whether a deploy may form a new store: beside nobody who may hold an earlier one's data but by name."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.p2p.cluster.plugins.plugin_utils.output.escape import line

from .confirm import mistakes, unknown
from .epochs import status_of
from .members import blank

Answer = Mapping[str, Any]
SETTING = "p2p_form_without"


class Verdict(NamedTuple):
    """An answer to whether a new store may be formed.

    `refusal` says why not, with the remedies, "" if it may be. `mistake` says what is wrong with the names
    that the operator gave. `earlier` tells whether there was, or may have been, a store before.
    """

    refusal: str
    mistake: str
    earlier: bool


def unseen(voters: Sequence[str], answers: Mapping[str, Answer], members: Collection[str]) -> dict[str, str]:
    """Return who may hold an earlier store's data, and why nobody knows.

    Args:
        voters: The fleet file's.
        answers: The registered result of `p2p_probe` for each of them.
        members: The members of the store that the controller remembers.
    """
    found = {name: _why(answers.get(name, {})) for name in voters if not blank(answers.get(name, {}))}
    return found | {name: "it was a member, and is not asked" for name in members if name not in voters}


def judge(
    voters: Sequence[str],
    answers: Mapping[str, Answer],
    given: Sequence[str],
    *,
    known: Mapping[str, Any],
    cluster: str,
    voting: Collection[str] = (),
) -> Verdict:
    """Decide whether a new store may be formed, where no voter is seen to hold one's data.

    Every voter was seen blank, and the controller remembers no store; or the operator names each that was not
    seen, members of the remembered store among them. Where all of these were seen, it is the cluster's name.

    Args:
        voters: The fleet file's.
        answers: The registered result of `p2p_probe` for each of them.
        given: The names that the operator gave.
        known: The store as this controller last saw it work, from the lookup `p2p_store_known`.
        cluster: The cluster's name.
        voting: Other nodes that say of themselves that they vote, or have a member.
    """
    missing = unseen(voters, answers, known.get("members") or {})
    missing |= {name: "it votes, and is no voter of the fleet file" for name in voting if name not in missing}
    wanted = list(missing) or [cluster] * bool(known.get("cluster_id"))
    if set(given) == set(wanted):
        return Verdict(refusal="", mistake="", earlier=bool(wanted))
    seen = [name for name in voters if name not in missing]
    wrong = mistakes(given, wanted, voters=voters, answering=seen, cluster=cluster)
    remedy = _remedy(missing, voters, known, wanted) if wanted else f"nobody is missing: leave {SETTING} out"
    mistake = f"{_told(wrong)}. {remedy[0].upper()}{remedy[1:]}" if given else ""
    return Verdict(refusal=remedy, mistake=mistake, earlier=bool(wanted))


def slips(
    given: Sequence[str], voters: Sequence[str], known: Mapping[str, Any], cluster: str, *, lives: bool
) -> str:
    """Return which of the names that were given nobody has, "" without any: for where no store is formed.

    `lives` tells whether a store lives; the other arguments are those of `judge`.
    """
    told = _told(unknown(given, [*voters, *(known.get("members") or {}), cluster]))
    return f"{told}. The store lives: leave {SETTING} out" if told and lives else told


def few_led(voters: Sequence[str], answers: Mapping[str, Answer]) -> bool:
    """Tell whether no more than half of the voters' orchestrators know a term.

    A run that was killed may then have formed a store and given it no recovery epoch.

    Args:
        voters: The fleet file's.
        answers: The registered result of `p2p_probe` for each of them.
    """
    told = [name for name in voters if (status_of(answers.get(name, {})) or {}).get("term")]
    return len(told) * 2 <= len(voters)


def _why(answer: Answer) -> str:
    if answer.get("untrusted"):
        return "its answer is not to be believed"
    return "its store could not be looked at" if "probe" in answer else "it does not answer"


def _remedy(
    missing: Mapping[str, str], voters: Sequence[str], known: Mapping[str, Any], wanted: Sequence[str]
) -> str:
    """Return why no store is formed unless those in `wanted` are named."""
    members = known.get("members") or {}
    confirm = f"-e {SETTING}={','.join(wanted)}"
    before = f"the last run saw a store with the members {', '.join(members)}" if members else ""
    if not missing:
        return (
            f"{before}, and all of them are blank: recover.yml rebuilds it from a snapshot; if it is gone for"
            f" good, a new one is formed with {confirm} (the cluster's name)"
        )
    who = ", ".join(f"{name} ({why})" for name, why in missing.items())
    it, holds, is_gone = ("it", "it holds", "is") if len(missing) == 1 else ("them", "they hold", "are")
    return (
        (f"{before}; " if before else "")
        + f"no new store is formed while an earlier one's data may be on {who}:"
        f" {_ways(missing, voters, members)}; if {holds} none, or {is_gone} gone for good, form the new one"
        f" without {it} with {confirm}"
    )


def _ways(missing: Collection[str], voters: Collection[str], members: Collection[str]) -> str:
    """Return how those that were not seen come to be seen."""
    silent = [name for name in missing if name in voters]
    unasked = [name for name in missing if name not in voters]
    ways = []
    if silent:
        # In the place of a known member another one helps nothing.
        other = "" if set(silent) & set(members) else ", or name another in p2p_voters"
        ways.append(f"bring {', '.join(silent)} back{other}")
    if unasked:
        ways.append(f"name {', '.join(unasked)} in p2p_voters again")
    return "; ".join(ways)


def _told(wrong: Sequence[str]) -> str:
    return line(f"{SETTING}: {'; '.join(wrong)}") if wrong else ""
