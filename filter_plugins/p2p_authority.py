"""Whose certificates nodes carry: this controller's, or those of an authority that it does not know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypedDict

Answer = Mapping[str, Any]
NAME = "ca.crt"


class Told(TypedDict):
    """`seen` is the SHA-256 of `ca.crt` by node, for `p2p_identity_seen`; `refused` says who is left out."""

    seen: dict[str, str]
    refused: dict[str, str]


def digests(answers: Mapping[str, Answer]) -> dict[str, str]:
    """Return the SHA-256 of `ca.crt` on each node that has one, in whichever folder that is."""
    return {
        node: str(digest)
        for node, answer in answers.items()
        for path, digest in ((answer.get("probe") or {}).get("digests") or {}).items()
        if digest and path.rpartition("/")[2] == NAME
    }


def told(
    answers: Mapping[str, Answer],
    voters: Sequence[str],
    known: Collection[str] | None,
    takes_over: bool = False,
) -> Told:
    """Tell a controller that is the wrong one from a node that says something else than the others.

    The voters decide: where most of those that have a `ca.crt` carry one that never came from this
    controller, it is the wrong one, and `seen` holds all, so that p2p_certificate refuses the run. Where no
    voter has one, more than half of all nodes that answered have to carry such a one, or, if no voter
    answered either, more than half of those that have one. Otherwise a node that carries one is refused
    alone. Half is no majority.

    Args:
        answers: The registered result of `p2p_probe` for each node of the run and each voter, by name.
        voters: All voters of the fleet file.
        known: The SHA-256 of each bundle that this controller gave, from p2p_certificate; None where the
            cluster uses no certificates, and nobody is refused.
        takes_over: Whether the operator replaces a lost authority: then a controller without one is no wrong
            one, and whatever the nodes carry is theirs.
    """
    seen = digests(answers)
    if known is None or (takes_over and not known):
        return Told(seen=seen, refused={})
    strangers = [name for name, digest in seen.items() if digest not in known]
    electing = [name for name in voters if name in seen]
    if not electing:
        spoke = any("probe" in answers.get(name, {}) for name in voters)
        electing = [name for name in answers if "probe" in answers[name]] if spoke else list(seen)
    if len(set(strangers) & set(electing)) * 2 > len(electing):
        return Told(seen=seen, refused={})
    return Told(
        seen={name: digest for name, digest in seen.items() if digest in known},
        refused=dict.fromkeys(
            strangers,
            f"its {NAME} never came from this controller, and the voters do not say so of theirs: if it was"
            f" another cluster's node, run remove.yml there or delete that {NAME}, and run again. Nothing was"
            " written",
        ),
    )


def carriers(seen: Mapping[str, str], voters: Sequence[str]) -> list[str]:
    """Return the nodes whose `ca.crt` a lost authority is taken over from, voters first.

    They carry what most voters that have one carry, or, where none has, most nodes: no node's own word makes
    an authority that others trust.

    Args:
        seen: The SHA-256 of it by node.
        voters: All voters of the fleet file.
    """
    electing = [name for name in voters if seen.get(name)] or [name for name in seen if seen[name]]
    counts = Counter(seen[name] for name in electing)
    most = max(counts, key=lambda digest: (counts[digest], digest), default="")
    holding = [name for name in seen if most and seen[name] == most]
    return sorted(holding, key=lambda name: name not in voters)


def left_out(answers: Mapping[str, Answer], refused: Mapping[str, str]) -> dict[str, Answer]:
    """Return the answers, with nothing but the reason in those of nodes that are refused."""
    return {
        name: {"failed": True, "msg": refused[name]} if name in refused else answer
        for name, answer in answers.items()
    }


class FilterModule:
    """Filters about the authority of a cluster's certificates."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {
            "p2p_ca_carriers": carriers,
            "p2p_ca_told": told,
            "p2p_left_out": left_out,
        }
