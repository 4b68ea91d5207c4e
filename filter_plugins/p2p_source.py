"""Which of the two programs runs on a node: the bundled orchestrator, or the original from a checkout."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

NAMES_SHOWN = 5
_ACTIVATE = re.compile(
    r"""(?:^|[\s;&])(?:source|\.)\s+(?:"([^"\x00-\x1f\x7f]+)/bin/activate"|'([^'\x00-\x1f\x7f]+)/bin/activate'"""
    r"""|["']?([^\s"';&\x00-\x1f\x7f]+)/bin/activate)"""
)


def running(answer: Mapping[str, Any]) -> set[str]:
    """Return `bundled` and `checkout` as far as they run on a node.

    Args:
        answer: The registered result of its probe.
    """
    processes = (answer.get("probe") or {}).get("processes") or []
    return {"checkout" if "p2p_orchestrator.py" in process["cmdline"] else "bundled" for process in processes}


def going_over(answers: Mapping[str, Mapping[str, Any]], source: str, *, cutover: bool) -> list[str]:
    """Return the nodes that a cut-over takes from the other program to `source`.

    Args:
        answers: What each node answered.
        source: What the run deploys.
        cutover: The operator said that the fleet goes over.
    """
    return [name for name, answer in answers.items() if cutover and running(answer) - {source}]


def why_mixed(
    answers: Mapping[str, Mapping[str, Any]],
    source: str,
    *,
    voters: Sequence[str],
    cutover: bool,
    limited: bool,
) -> str:
    """Return why a run may not go on because the fleet would run two different programs, or nothing.

    The two do not elect together: a fleet goes over as a whole, and only when told so. Once most voters run
    what is deployed, it has gone over, and a node that still runs the other takes no part in it; nor does one
    where no voter runs the other. Voters that did not answer may run it, if half of those that did say so.

    Args:
        answers: What each node of the run, and each voter, answered.
        source: What the run deploys, `bundled` or `checkout`.
        voters: All voters of the fleet file.
        cutover: The operator said that the fleet goes over.
        limited: Whether the run leaves nodes out.
    """
    others = [name for name, answer in answers.items() if running(answer) - {source}]
    over = [name for name in voters if source in running(answers.get(name, {}))]
    answered = [name for name, answer in answers.items() if "probe" in answer]
    silent = not set(voters) <= set(answered)
    elect = bool(set(voters) & set(others)) or (silent and len(others) * 2 >= len(answered))
    if not others or (voters and not elect) or len(over) * 2 > len(voters) or (cutover and not limited):
        return ""
    shown = ", ".join(others[:NAMES_SHOWN]) + (
        f" and {len(others) - NAMES_SHOWN} more" if others[NAMES_SHOWN:] else ""
    )
    remedy = (
        "a cut-over takes the whole fleet: run without --limit"
        if cutover
        else f"to cut the whole fleet over, run without --limit and with -e p2p_orchestrator_source={source}"
        " -e p2p_cutover=true; nobody leads for about a minute"
    )
    other = "the original orchestrator" if source == "bundled" else "the bundled orchestrator"
    return (
        f"{shown} run {other}, which does not elect together with p2p_orchestrator_source={source}: {remedy}"
    )


def checkout_venv(activate: str, ai_service: str, user: str) -> str:
    """Return the folder of a checkout's virtual environment.

    Args:
        activate: Shell text of the fleet file, such as `source ~/ringrift/ai-service/venv/bin/activate`.
        ai_service: The checkout's `ai-service`, where a relative path starts; its `venv` is the default.
        user: Owner of the checkout, whose home `~` and `$HOME` are.
    """
    found = _ACTIVATE.search(activate)
    path = next(filter(None, found.groups())) if found else "venv"
    path = re.sub(r"^(~|\$HOME|\$\{HOME\})(?=/|$)", f"~{user}", path)
    return path if path.startswith(("/", "~")) else f"{ai_service}/{path}"


class FilterModule:
    """Filters about the two programs."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {
            "p2p_checkout_venv": checkout_venv,
            "p2p_going_over": going_over,
            "p2p_why_mixed": why_mixed,
        }
