"""What a run did to voters that are well, asked from the inside."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from tests.hostile.voters import Cluster, wait_for
from tests.integration.identity.watch import Watch

# A leader that goes hands over; one that is killed is missed for its lease and an election.
LONGEST_GAP_S = 40.0
COUNTS_AGAIN_S = 60
Looks = Mapping[str, Any]


def led_badly(watch: Watch) -> list[str]:
    """Return whether two led at once, or nobody for long."""
    found = [f"two led at once: {pair}" for pair in watch.two_leaders()]
    gap = watch.gap()
    return [*found, f"nobody led for {gap:.0f} s"] if gap > LONGEST_GAP_S else found


def harm(cluster: Cluster, before: Looks, may_vote: Collection[str], *, refused: bool) -> list[str]:
    """Return what became of voters that have to be as they were.

    Args:
        cluster: The cluster after the run.
        before: These voters before it, from `Cluster.looks`.
        may_vote: Who may be a member.
        refused: Whether the run had to leave the lists of denied certificates alone.
    """
    found = []
    try:
        wait_for(lambda: _lost(before, cluster.looks(before)), COUNTS_AGAIN_S)
        cluster.settle(before)
    except AssertionError as error:
        found.append(str(error))
    kept = ("data", "aside", "denied") if refused else ("data", "aside")
    for name, now in cluster.looks(before).items():
        was = before[name]
        found += [f"{name}: {key} was {was[key]} and is {now[key]}" for key in kept if now[key] != was[key]]
        members = set(now["store"].get("members", ()))
        if not set(before) <= members <= set(may_vote):
            found.append(f"{name}: the members are {sorted(members)}")
    return found


def _lost(before: Looks, now: Looks) -> str:
    """Return which members do not count, or are others."""
    was, found = ({name: look["store"] for name, look in looks.items()} for looks in (before, now))
    told = [
        f"{name}: its member was {was[name]} and is {store}"
        for name, store in found.items()
        if any(store.get(key) != was[name][key] for key in ("cluster", "member"))
    ]
    return "; ".join(told)


def forgotten(cluster: Cluster, store: Looks) -> list[str]:
    """Return what the controller remembers wrongly of the store, and let it remember the truth."""
    known = json.loads(cluster.memory.read_text(encoding="utf-8"))
    true = {"cluster_id": store["cluster"], "members": store["members"]}
    cluster.memory.write_text(json.dumps({**known, **true}), encoding="utf-8")
    other = [name for name, number in true["members"].items() if known["members"].get(name, number) != number]
    same = known["cluster_id"] == true["cluster_id"] and not other
    return [] if same else [f"the controller remembers {known}, and true is {true}"]
