"""Whose certificates nodes carry: this controller's, or those of an authority that it does not know."""

from __future__ import annotations

from base64 import b64decode
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any, TypedDict

from ansible_collections.p2p.cluster.plugins.plugin_utils.output.escape import paragraph
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.tolerance import majority

Answer = Mapping[str, Any]
NAME = "ca.crt"
# Digits of a digest that people are shown.
_SHOWN = 12


class Told(TypedDict):
    """`seen` is the SHA-256 of `ca.crt` by node, for `p2p_identity_seen`; `refused` says who is left out.

    `answered` are the voters that answered, with or without that file.
    """

    seen: dict[str, str]
    refused: dict[str, str]
    answered: list[str]


class Takeover(TypedDict):
    """What a lost authority is taken over from.

    `digest` is the SHA-256 of the bundle, empty if there is none to take over; `carriers` are the voters that
    carry it; `warning` names those that carry another; `refusal` says why nothing can be decided.
    """

    digest: str
    carriers: list[str]
    warning: str
    refusal: str


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
    answered = [name for name in voters if "probe" in answers.get(name, {})]
    if known is None or (takes_over and not known):
        return Told(seen=seen, refused={}, answered=answered)
    strangers = [name for name, digest in seen.items() if digest not in known]
    electing = [name for name in voters if name in seen]
    if not electing:
        electing = [name for name in answers if "probe" in answers[name]] if answered else list(seen)
    if len(set(strangers) & set(electing)) * 2 > len(electing):
        return Told(seen=seen, refused={}, answered=answered)
    return Told(
        seen={name: digest for name, digest in seen.items() if digest in known},
        refused=dict.fromkeys(
            strangers,
            f"its {NAME} never came from this controller, and the voters do not say so of theirs: if it was"
            f" another cluster's node, run remove.yml there or delete that {NAME}, and run again. Nothing was"
            " written",
        ),
        answered=answered,
    )


def takeover(seen: Mapping[str, str], voters: Sequence[str], answered: Collection[str] = ()) -> Takeover:
    """Decide what a controller that lost its authority takes over: what most of all voters carry.

    Voters that do not answer count among all, since they may carry another one: most of those that answer is
    not enough. Nodes that do not vote are not asked. Where nobody carries any, and most voters say so, there
    is nothing to take over.

    Args:
        seen: The SHA-256 of `ca.crt` by node.
        voters: All voters of the fleet file.
        answered: Who answered, with or without such a file.
    """
    told = {name: seen[name] for name in voters if seen.get(name)}
    digest, count = next(iter(Counter(told.values()).most_common(1)), ("", 0))
    if count * 2 > len(voters):
        others = {name: other for name, other in told.items() if other != digest}
        return Takeover(
            digest=digest,
            carriers=[name for name, carried in told.items() if carried == digest],
            warning=_contradiction(others, digest, count, len(voters)) if others else "",
            refusal="",
        )
    bare = [name for name in voters if name in answered and name not in told]
    if not any(seen.values()) and len(bare) * 2 > len(voters):
        return Takeover(digest="", carriers=[], warning="", refusal="")
    return Takeover(digest="", carriers=[], warning="", refusal=_no_majority(told, voters, bare))


def _contradiction(others: Mapping[str, str], digest: str, count: int, voters: int) -> str:
    return paragraph(
        f"{_each(others)}: another {NAME} than {count} of {voters} voters carry ({_short(digest)}), which is"
        " the one that is taken over. See what is on it before the next stage of the rotation"
    )


def _no_majority(told: Mapping[str, str], voters: Sequence[str], bare: Collection[str]) -> str:
    silent = [name for name in voters if name not in told and name not in bare]
    parts = [
        _each(told),
        f"{', '.join(bare)}: without any" if bare else "",
        f"{', '.join(silent)}: no answer" if silent else "",
    ]
    needed = majority(len(voters))
    return paragraph(
        f"A lost CA is taken over only where {needed} of the {len(voters)} voters of the fleet file carry the"
        f" same {NAME}, whatever other nodes carry. There is no such majority:"
        f" {'; '.join(part for part in parts if part)}. Restore the directory of certificates from its backup"
        " (docs/security.md); or mend these voters, take those that are gone for good out of p2p_voters, and"
        " run this again. Nothing was changed."
    )


def _each(told: Mapping[str, str]) -> str:
    return ", ".join(f"{name} ({_short(digest)})" for name, digest in told.items())


def _short(digest: str) -> str:
    return digest[:_SHOWN]


def bundle_read(results: Iterable[Mapping[str, Any]], digest: str) -> str:
    """Return the bundle that has a digest among those that were read from nodes, or nothing.

    Args:
        results: What `slurp` gave for each, a failure or none of its own making too.
        digest: The SHA-256 that the bundle has to have, in hexadecimal.
    """
    read = (_content(result) for result in results)
    return next((content.decode() for content in read if sha256(content).hexdigest() == digest), "")


def _content(result: Mapping[str, Any]) -> bytes:
    """Return what was read from a node, nothing where that is no text."""
    try:
        content = b64decode(str(result.get("content") or ""), validate=True)
        content.decode()
    except ValueError:
        return b""
    return content


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
            "p2p_ca_read": bundle_read,
            "p2p_ca_takeover": takeover,
            "p2p_ca_told": told,
            "p2p_left_out": left_out,
        }
