"""Who reaches whom among the voters, as each of them tried the others' ports itself."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.members import the_store

ETCD, HEARTBEAT = "etcd", "heartbeat"
OPEN = "open"
# Two voters that exchange no message in either direction.
Pair = frozenset[str]


class Way(NamedTuple):
    """One voter's try of another's port: `service` is ETCD or HEARTBEAT, `outcome` that of `p2p_probe`.

    `place` is where it tried, `host:port`, or the URL that the store lists if this is another.
    """

    source: str
    target: str
    service: str
    place: str
    outcome: str
    why: str

    @property
    def open(self) -> bool:
        """Whether it got through to the right one."""
        return self.outcome == OPEN


def ways(answers: Mapping[str, Mapping[str, Any]]) -> list[Way]:
    """Return what the voters tried of each other.

    A member of the store calls another where the store's list has it, and nowhere else: what it tried there
    counts in the place of the fleet file's address. Which address that is, most members tell.

    Args:
        answers: The registered result of `p2p_probe`, by name of the node.
    """
    urls = _listed(the_store(answers, answers).told.values())
    found = []
    for name, answer in answers.items():
        for tried in (answer.get("probe") or {}).get("mesh") or []:
            target, place = str(tried["voter"]), _place(str(tried["host"]), int(tried["port"]))
            listed = urls.get(target) if tried["service"] == ETCD and tried.get("listed") else None
            elsewhere = listed and place not in [url.partition("://")[2].rstrip("/") for url in listed]
            told = tried["listed"] if elsewhere else tried
            found.append(
                Way(
                    source=name,
                    target=target,
                    service=str(tried["service"]),
                    place=str(listed[0]) if listed and elsewhere else place,
                    outcome=str(told["outcome"]),
                    why=str(told["why"]),
                )
            )
    return found


def meant(answers: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return where the fleet file has the voters' members, `host:port`, as they were to be tried.

    Args:
        answers: The registered result of `p2p_probe`, by name of the node.
    """
    return {
        str(tried["voter"]): _place(str(tried["host"]), int(tried["port"]))
        for answer in answers.values()
        for tried in (answer.get("probe") or {}).get("mesh") or []
        if tried["service"] == ETCD
    }


def _listed(told: Iterable[Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    """Return the members' addresses as most members list them, by name."""
    counts: dict[str, Counter[tuple[str, ...]]] = defaultdict(Counter)
    for one in told:
        for member in one["members"]:
            counts[str(member["name"])][tuple(member.get("peer_urls") or ())] += 1
    return {name: counted.most_common(1)[0][0] for name, counted in counts.items()}


def _place(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def apart(answers: Mapping[str, Mapping[str, Any]]) -> frozenset[Pair]:
    """Return the voters that exchange no message of the store, in pairs.

    One connection serves both directions, whoever opened it. What nobody tried is taken for open, and so is
    what one end alone tried if the other one was not to be asked.

    Args:
        answers: The registered result of `p2p_probe`, by name of the node.
    """
    outcomes = defaultdict(list)
    for way in ways(answers):
        if way.service == ETCD and way.target in answers:
            outcomes[frozenset((way.source, way.target))].append(way.open)
    return frozenset(pair for pair, opened in outcomes.items() if not any(opened))
