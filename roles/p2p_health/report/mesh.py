"""Whether the voters get through to each other, and how many of them may fail with the ways that are open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.links import (
    ETCD,
    HEARTBEAT,
    Way,
    apart,
    meant,
    ways,
)
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.members import the_store
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.moves import listed_at, moved, text
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.quorum import store_quorum
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.tolerance import majority, tolerated

from . import remedy as mend
from .adapter import Observation
from .model import Answer, Fleet, Problem, Tried

Observations = Mapping[str, Observation]
_SERVICES = {ETCD: "etcd", HEARTBEAT: "heartbeats' port"}
# How p2p_mesh begins what it says of a voter's own certificate.
OWN = "this voter's own certificate"


def between(
    answers: Mapping[str, Answer], seen: Observations, fleet: Fleet, alive: Collection[str]
) -> list[Way]:
    """Return the ways between voters that were tried and lead to what works, open or closed.

    Args:
        answers: The registered result of each node's probe.
        seen: What is known of each node.
        fleet: The fleet, whose voters these are about.
        alive: The voters that live.
    """
    asked = {name: answers[name] for name in fleet.voters if name in answers}
    return [way for way in ways(asked) if _works(way, seen.get(way.target), alive)]


def _works(way: Way, seen: Observation | None, alive: Collection[str]) -> bool:
    """Tell whether what a way leads to works: what is stopped is told as such."""
    if seen is None or not seen.reached:
        return way.target in alive
    if way.service == ETCD:
        return seen.etcd is not None and seen.etcd.error is None
    # Who runs without knowing that it votes takes no heartbeats yet.
    return seen.status is not None and way.target in (seen.status.voters or [way.target])


def tolerance(
    answers: Mapping[str, Answer], seen: Observations, fleet: Fleet, alive: Collection[str]
) -> tuple[int, str | None]:
    """Return how many of the voters that live may fail, and what limits it beside their number.

    A voter that SSH cannot reach counts among etcd's members if the others hear it.

    Args:
        answers: The registered result of each node's probe.
        seen: What is known of each node.
        fleet: The fleet, whose voters these are about.
        alive: The voters that live.

    Returns:
        The least of what the orchestrators, etcd's members and the ways between these allow; and which of
        the latter two allows less than the orchestrators, or None.
    """
    spare = len(alive) - majority(len(fleet.voters))
    asked = {name: answers[name] for name in fleet.voters if name in answers}
    unseen = [name for name in alive if not (name in seen and seen[name].reached)]
    of_members = _of_store({name: _without_ways(answer) for name, answer in asked.items()}, unseen)
    of_ways = _of_store(asked, unseen)
    if of_ways is None or of_members is None:
        return spare, None
    if of_ways < min(spare, of_members):
        return of_ways, "the ways between the voters"
    return (of_members, "etcd's members") if of_members < spare else (spare, None)


def _of_store(asked: Mapping[str, Answer], unseen: Collection[str]) -> int | None:
    """Return how many of etcd's members may fail, those among them that live unseen; None without a store."""
    store = store_quorum(asked)
    counting = [*store["counting"], *(name for name in store["down"] if name in unseen)]
    return tolerated(len(store["members"]), counting, apart(asked)) if store["members"] else None


def _without_ways(answer: Answer) -> Answer:
    return {**answer, "probe": {**answer["probe"], "mesh": None}} if answer.get("probe") else answer


def rows(found: Iterable[Way]) -> list[Tried]:
    """Return ways as the report has them."""
    return [
        Tried(
            source=way.source,
            target=way.target,
            service=way.service,
            place=way.place,
            outcome=way.outcome,
            why=way.why,
        )
        for way in found
    ]


def problems(found: Iterable[Way], seen: Observations, fleet: Fleet) -> Iterator[Problem]:
    """Return the closed ways by the voter at whose end most of them are: there it is to be mended."""
    left = [way for way in found if not way.open]
    while left:
        ends = Counter(end for way in left for end in (way.target, way.source))
        sources = {way.source for way in left}
        # Of a single way nobody but its source says that it is closed.
        one = min(ends, key=lambda name: (-ends[name], name not in sources, name))
        mine = [way for way in left if one in (way.target, way.source)]
        left = [way for way in left if way not in mine]
        yield Problem(
            kind="voters_apart",
            severity="degraded",
            evidence="; ".join(_told(one, mine)),
            remedy=_remedy(one, mine, seen, fleet),
        )


def moves(answers: Mapping[str, Answer], fleet: Fleet) -> Iterator[Problem]:
    """Return the voters that the store lists elsewhere than the fleet file has them.

    Args:
        answers: The registered result of each node's probe.
        fleet: The fleet, whose voters these are about.
    """
    asked = {name: answers[name] for name in fleet.voters if name in answers}
    store = the_store(asked, asked)
    scheme = next((url.partition("://")[0] for urls in listed_at(store).values() for url in urls), "https")
    urls = {name: f"{scheme}://{place}" for name, place in meant(asked).items()}
    if found := moved(store, {name: urls[name] for name in fleet.voters if name in urls}):
        yield Problem(
            kind="voter_moved",
            severity="degraded",
            evidence=f"{'; '.join(map(text, found))}. Correct the file, or have the list say what it says",
            remedy=fleet.deploy,
        )


def _told(one: str, mine: Sequence[Way]) -> Iterator[str]:
    into: dict[tuple[str, str, str], list[str]] = {}
    out: dict[tuple[str, str], list[str]] = {}
    for way in mine:
        why = way.why or way.outcome
        if way.target == one:
            into.setdefault((_SERVICES[way.service], way.place, why), []).append(way.source)
        else:
            out.setdefault((_SERVICES[way.service], why), []).append(f"{way.target} at {way.place}")
    for (what, place, why), sources in into.items():
        yield f"{one}: {', '.join(sources)} cannot reach its {what} at {place} ({why})"
    for (what, why), targets in out.items():
        yield f"{one} cannot reach the {what} of {', '.join(targets)} ({why})"


def _elsewhere(mine: Sequence[Way]) -> bool:
    """Tell whether a way leads to what the store's list has and the fleet file has not."""
    return any("://" in way.place for way in mine)


def _remedy(one: str, mine: Sequence[Way], seen: Observations, fleet: Fleet) -> str | None:
    """Return what mends it or shows why, None where no command of one line does."""
    if _elsewhere(mine):
        return fleet.deploy
    if any(way.outcome == "untrusted" for way in mine):
        # What is wrong with a voter's own certificate it says itself.
        own = all(way.source == one and way.why.startswith(OWN) for way in mine)
        ends = {one} if own else {end for way in mine for end in (way.source, way.target)}
        return mend.deploy(fleet, *sorted(ends))
    look = "sudo ss -ltnp; sudo nft list ruleset; sudo iptables -S"
    return mend.on(fleet.hosts[one], look) if one in seen and seen[one].reached else None
