"""Which store a run saw work, so that the next one knows it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.p2p.cluster.plugins.plugin_utils.memory.store import Kept, nothing
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.members import has_leader, the_store


def seen(hostvars: Mapping[str, Any], voters: Sequence[str]) -> Kept:
    """Return the store that most of its own members tell, as each of them last answered in this run.

    Args:
        hostvars: Ansible's.
        voters: The file's.

    Returns:
        Nothing where fewer than a majority of the members tell of it and know a leader.
    """
    none: Mapping[str, Any] = {}
    planned = next((hostvars[host] for host in hostvars if "p2p_plan" in hostvars[host]), none)
    asked = {str(one["item"]): one for one in (planned.get("p2p_voters_asked") or {}).get("results", [])}
    probed = {**(planned.get("p2p_health_nodes") or {}).get("nodes", {}), **asked}
    answers = {
        name: answer for name in voters if (answer := _last(hostvars.get(name, none)) or probed.get(name))
    }
    store = the_store(answers, voters)
    voting = [item for item in store.members if not item["learner"]]
    telling = [told for told in store.told.values() if has_leader(told) and not told.get("learner")]
    if not voting or len(telling) * 2 <= len(voting) or not all(item["name"] for item in voting):
        return nothing()
    return Kept(cluster_id=store.cluster_id, members={str(item["name"]): str(item["id"]) for item in voting})


def _last(known: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a voter answered after it was changed, or before it was."""
    for name in ("p2p_node_now", "p2p_member_node"):
        if "probe" in (found := known.get(name) or {}):
            answer: Mapping[str, Any] = found
            return answer
    return {}


class FilterModule:
    """Filters about the store."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {"p2p_store_seen": seen}
