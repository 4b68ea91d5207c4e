"""Who is a member of the store, as most of those that were asked tell it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

Member = Mapping[str, Any]


def most_told(stores: Sequence[Mapping[str, Any]]) -> Sequence[Member]:
    """Return the members as most stores list these; no single one's word, however far it says that it is.

    Args:
        stores: What nodes say of their members, with `members` and `raft_index`. Of two lists that are told
            as often, the one told from further on is newer.
    """
    told = Counter(_view(store) for store in stores)
    first = max(
        stores, key=lambda store: (told[_view(store)], int(store.get("raft_index") or 0)), default=None
    )
    listed: Sequence[Member] = first["members"] if first else []
    return listed


def _view(store: Mapping[str, Any]) -> frozenset[tuple[str, str, bool, bool]]:
    return frozenset(
        (str(item["id"]), str(item["name"]), bool(item["learner"]), bool(item.get("client_urls")))
        for item in store["members"]
    )
