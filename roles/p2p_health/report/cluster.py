"""What the nodes agree on: who leads, who votes, whether there is a quorum. No node's own word is enough."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.p2p.cluster.plugins.plugin_utils.output.escape import shell
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.tolerance import majority

from . import remedy as mend
from .adapter import Observation, Status
from .mesh import tolerance
from .model import Answer, Fleet, Problem, Voters
from .nodes import YOUNG_SECONDS

Observations = Mapping[str, Observation]


@dataclass(frozen=True)
class Leadership:
    """`leader` is who leads, if the nodes agree; `claims` who says so of itself; `named` whom all name."""

    leader: str | None
    claims: tuple[str, ...]
    named: tuple[str, ...]
    term: int | None


def statuses(seen: Observations) -> dict[str, Status]:
    """Return the /status of every node that answered."""
    return {name: one.status for name, one in seen.items() if one.status is not None}


def leadership(seen: Observations, voting: Sequence[str]) -> Leadership:
    """Work out who leads.

    A single voter that says it leads does, if the other voters that name anyone mostly name it too. If the
    named one was not asked, or could not be reached, a majority of the voters that answered must name it. One
    that answered and denies does not lead, whoever names it. Nodes that do not vote are heard only where no
    voter answers; one of them leads only if the voters, or most of all that answered, say so.

    Args:
        seen: What is known of each node.
        voting: The voters of the fleet file.
    """
    everyone = statuses(seen)
    answered = _heard(everyone, seen, voting)
    votes = Counter(status.leader_id for status in answered.values() if status.leader_id is not None)
    claims = sorted(
        name
        for name, status in everyone.items()
        if status.role == "leader" and (name in voting or _followed(name, answered))
    )
    named = sorted({*(one.leader_id for one in everyone.values() if one.leader_id is not None), *claims})
    leader: str | None = None
    if len(claims) == 1:
        others = votes.copy()
        others.pop(claims[0], None)
        leader = claims[0] if not others or votes[claims[0]] >= max(others.values()) else None
    elif not claims and votes:
        first, count = min(votes.items(), key=lambda item: (-item[1], item[0]))
        leader = first if first not in everyone and count * 2 > len(answered) else None
    terms = [status.term for status in answered.values() if status.term is not None]
    of_leader = everyone[leader].term if leader in everyone else max(terms, default=None)
    return Leadership(leader, tuple(claims), tuple(named), of_leader)


def _heard(everyone: Mapping[str, Status], seen: Observations, voting: Sequence[str]) -> dict[str, Status]:
    """Return the nodes that have a say: the voters, if any answers.

    Where voters were asked and none answers, one node alone has no say about them.
    """
    of_voters = {name: status for name, status in everyone.items() if name in voting}
    alone = len(everyone) == 1 and any(name in voting for name in seen)
    return of_voters or ({} if alone else dict(everyone))


def _followed(name: str, answered: Mapping[str, Status]) -> bool:
    """Tell whether most of those that have a say name a node, itself left out."""
    others = [status.leader_id for other, status in answered.items() if other != name]
    return sum(1 for named in others if named == name) * 2 > len(others)


def voters(answers: Mapping[str, Answer], seen: Observations, fleet: Fleet) -> Voters:
    """Count the voters that live.

    A voter lives if it answers and is not alone, or if most of the voters that could hear it say that they
    do: one that SSH cannot reach may well hold up the quorum. Other nodes are asked about it only where no
    voter answers. The quorum also needs etcd's own: a member names a leader, and a majority confirms it.
    """
    configured = list(fleet.voters)
    quorum = majority(len(configured))
    alive = [name for name in configured if _lives(name, seen, configured)]
    stores = [one.etcd for name, one in seen.items() if one.etcd is not None and name in configured]
    answering = [etcd for etcd in stores if etcd.error is None]
    store_ok = not stores or any(etcd.leader and etcd.reads is not False for etcd in answering)
    # All asked members are silent: if others vote unseen, the leader that the nodes name has its lease from
    # them.
    if stores and not answering:
        store_ok = len(configured) - len(stores) >= quorum and leadership(seen, configured).leader is not None
    ok = bool(configured) and len(alive) >= quorum and store_ok
    count, limit = tolerance(answers, seen, fleet, alive)
    return Voters(
        configured=configured,
        alive=alive,
        quorum=quorum,
        quorum_ok=ok,
        tolerates=max(0, count) if ok else 0,
        limited_by=limit if ok else None,
    )


def _lives(name: str, seen: Observations, configured: Sequence[str]) -> bool:
    own = seen.get(name)
    others = {other: status for other, status in statuses(seen).items() if other != name}
    heard = [
        status.peers[name]
        for status in _heard(others, seen, configured).values()
        if status.peers.get(name) is not None
    ]
    vouched = sum(1 for alive in heard if alive) * 2 > len(heard)
    if own is not None and own.reached:
        if own.status is None:
            return False
        alone = own.status.leader_id is None and own.status.alive_peers == 0 and len(configured) > 1
        young = own.status.uptime is not None and own.status.uptime < YOUNG_SECONDS
        # Others may not have heard it yet after its start.
        return not alone and (not heard or vouched or young)
    return vouched


def problems(
    seen: Observations, fleet: Fleet, led: Leadership, counted: Voters, between: Iterable[Problem]
) -> list[Problem]:
    """Return the troubles of the cluster, the critical ones first; `between` are those of ways."""
    found = [
        *_critical(seen, fleet, led, counted),
        *between,
        *_voting(seen, fleet, led, counted),
        *_stores(seen, fleet),
        *_certificates(seen, fleet),
    ]
    return sorted(found, key=lambda problem: problem["severity"] != "critical")


def _critical(seen: Observations, fleet: Fleet, led: Leadership, counted: Voters) -> Iterator[Problem]:
    answered = statuses(seen)
    if not counted["configured"]:
        yield _problem("no_voters", "critical", f"{fleet.file} names no p2p_voters", None)
    elif not counted["quorum_ok"]:
        dead = [name for name in counted["configured"] if name not in counted["alive"]]
        if len(counted["alive"]) >= counted["quorum"]:
            named = any(one.etcd is not None and one.etcd.leader for one in seen.values())
            what = "a leader that no majority confirms" if named else "no leader"
            why = f"the voters' orchestrators answer, their etcd members know {what}"
        else:
            why = (
                f"{len(counted['alive'])} of {len(counted['configured'])} voters live,"
                f" a quorum is {counted['quorum']}; not alive: {', '.join(dead)}"
            )
        if len(counted["configured"]) > 1:
            why += "; if their data are gone for good: recover.yml --check"
        remedy = mend.deploy(fleet, *dead) if dead else None
        yield _problem("no_quorum", "critical", why, remedy)
    if len(led.claims) > 1:
        terms = ", ".join(f"{name} (term {answered[name].term})" for name in led.claims)
        loser = min(led.claims, key=lambda name: (answered[name].term or 0, name))
        remedy = (
            mend.on(fleet.hosts[loser], f"sudo systemctl restart {shell(fleet.service)}")
            if loser in fleet.hosts
            else None
        )
        yield _problem(
            "two_leaders", "critical", f"{len(led.claims)} nodes say that they lead: {terms}", remedy
        )
    elif led.leader is None:
        why = f"none of the {len(answered)} nodes that answered leads"
        if led.named:
            why += f"; they name {', '.join(led.named)}"
        remedy = None
        if counted["quorum_ok"] and counted["alive"]:
            first = counted["alive"][0]
            if first in fleet.hosts:
                manager = seen[first].manager if first in seen else ""
                remedy = mend.look(fleet.hosts[first], manager, fleet.service)
        yield _problem("no_leader", "critical", why if answered else "no node answered", remedy)


def _voting(seen: Observations, fleet: Fleet, led: Leadership, counted: Voters) -> Iterator[Problem]:
    if led.leader is not None and led.leader not in fleet.voters:
        yield _problem(
            "leader_not_voter", "degraded", f"{led.leader} leads and is no voter", fleet.voters_play
        )
    differing: dict[tuple[str, ...], list[str]] = {}
    for name, status in statuses(seen).items():
        if status.voters is not None and set(status.voters) != set(fleet.voters):
            differing.setdefault(tuple(sorted(status.voters)), []).append(name)
    for names, nodes in sorted(differing.items()):
        what = _difference(names, fleet.voters)
        yield _problem(
            "voters_differ",
            "degraded",
            f"{_few(nodes)} {'goes' if len(nodes) == 1 else 'go'} by other voters than {fleet.file}: {what}",
            mend.deploy(fleet, *nodes),
        )
    if counted["configured"] and len(counted["configured"]) % 2 == 0:
        count = len(counted["configured"])
        why = f"{count} voters tolerate no more failures than {count - 1}: add or remove one in {fleet.file}"
        yield _problem("even_voters", "degraded", why, fleet.voters_play)


def _stores(seen: Observations, fleet: Fleet) -> Iterator[Problem]:
    # Only voters hold the store.
    stores = {
        name: one.etcd
        for name, one in seen.items()
        if name in fleet.voters and one.etcd is not None and one.etcd.error is None
    }
    clusters: dict[str, list[str]] = {}
    for name, etcd in stores.items():
        clusters.setdefault(str(etcd.cluster_id), []).append(name)
    if len(clusters) > 1:
        told = "; ".join(f"{_few(names)}: {cluster}" for cluster, names in sorted(clusters.items()))
        yield _problem(
            "store_split",
            "degraded",
            f"the voters' etcd members are in different clusters: {told}",
            fleet.voters_play,
        )
    members: dict[tuple[str, ...], list[str]] = {}
    for name, etcd in stores.items():
        # A member that never started has no name yet: its id stands for it.
        names = tuple(
            sorted(
                member or key
                for key, member in etcd.members.items()
                if member not in etcd.learners or not member
            )
        )
        if set(names) != set(fleet.voters):
            members.setdefault(names, []).append(name)
    for names, tellers in sorted(members.items()):
        what = _difference(names, fleet.voters)
        yield _problem(
            "store_voters_differ",
            "degraded",
            f"etcd on {_few(tellers)} has other members than {fleet.file} has voters: {what}",
            fleet.voters_play,
        )
    versions: dict[str, list[str]] = {}
    for name, etcd in stores.items():
        if etcd.version is not None:
            versions.setdefault(etcd.version, []).append(name)
    if len(versions) > 1:
        told = "; ".join(f"{_few(names)}: {version}" for version, names in sorted(versions.items()))
        yield _problem(
            "store_versions_differ",
            "degraded",
            f"the voters' etcd members run different versions: {told}",
            fleet.deploy,
        )
    for name, etcd in stores.items():
        for alarm in etcd.alarms:
            remedy = fleet.deploy if alarm == "NOSPACE" else None
            if remedy is None and name in fleet.hosts:
                log = f"sudo {mend.journal(fleet.etcd_service)}; df -h"
                remedy = mend.on(fleet.hosts[name], log)
            yield _problem("store_alarm", "degraded", f"etcd on {name} raised the alarm {alarm}", remedy)


def _certificates(seen: Observations, fleet: Fleet) -> Iterator[Problem]:
    for name, one in seen.items():
        ending = sorted(
            (days, path)
            for path, until in one.certificates
            if (days := (until - fleet.asked) / 86400) < fleet.certificate_days
        )
        if ending:
            days, path = ending[0]
            told = f"ran out {-days:.0f} days ago" if days < 0 else f"runs out in {days:.0f} days"
            more = f" (and {len(ending) - 1} more)" if ending[1:] else ""
            yield _problem(
                "certificate_expires",
                "degraded",
                f"{path} on {name} {told}{more}",
                mend.deploy(fleet, name),
            )


def _difference(theirs: Sequence[str], ours: Sequence[str]) -> str:
    extra, missing = sorted(set(theirs) - set(ours)), sorted(set(ours) - set(theirs))
    parts = [f"{sign}{name}" for sign, names in (("+", extra), ("-", missing)) for name in names]
    return " ".join(parts)


def _few(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{', '.join(names[:2])} and {len(names) - 2} more"  # noqa: PLR2004  # as many as fit a line


def _problem(kind: str, severity: str, evidence: str, remedy: str | None) -> Problem:
    return Problem(kind=kind, severity=severity, evidence=evidence, remedy=remedy)
