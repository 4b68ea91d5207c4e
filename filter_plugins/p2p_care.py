"""Which members of the store need their database made smaller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

MB = 1 << 20


class Care(TypedDict):
    """`store_care` are the voters whose members are defragmented, etcd's leader last.

    `store_full` says that the store has raised NOSPACE and takes no writes until that is mended.
    """

    store_care: list[str]
    store_full: bool


def store_care(
    answers: Mapping[str, Mapping[str, Any]], run: Sequence[str], *, min_mb: float, percent: float
) -> Care:
    """Decide which members are worth a defragmentation.

    Args:
        answers: For each voter the registered result of its probe.
        run: The nodes that the run works on.
        min_mb: How many MB of a database have to be free.
        percent: How many percent of it, too.

    Returns:
        Where the store is full all members, if the run works on all of them: its alarm is everybody's.
        Otherwise those of the run that have enough free.
    """
    stores = {
        name: etcd
        for name, answer in answers.items()
        if (etcd := (answer.get("probe") or {}).get("etcd")) and etcd.get("member_id")
    }
    order = sorted(stores, key=lambda name: (stores[name]["member_id"] == stores[name].get("leader"), name))
    full = any("NOSPACE" in str(alarm) for etcd in stores.values() for alarm in etcd.get("alarms") or [])
    if full:
        whole = set(stores) <= set(run)
        return Care(store_care=order if whole else [], store_full=whole)
    worth = [name for name in order if name in run and _pays(stores[name], float(min_mb), float(percent))]
    return Care(store_care=worth, store_full=False)


def _pays(etcd: Mapping[str, Any], min_mb: float, percent: float) -> bool:
    size = int(etcd.get("db_size") or 0)
    free = size - int(etcd.get("db_size_in_use") or size)
    return free >= min_mb * MB and free * 100 >= percent * size


class FilterModule:
    """Filters about the store's database."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {"p2p_store_care": store_care}
