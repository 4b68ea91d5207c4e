"""Which store is the cluster's and who its members are, as most of those that may speak of it tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

Answer = Mapping[str, Any]
Member = Mapping[str, Any]
# What a node says of its own member and of the others, with `members` and `raft_index`.
Told = Mapping[str, Any]


class Store(NamedTuple):
    """A living store: its id, its members, and by node what those told that speak for it."""

    cluster_id: str
    members: Sequence[Member]
    told: Mapping[str, Told]


NONE = Store(cluster_id="", members=(), told={})


def living(answer: Answer) -> Told | None:
    """Return what the node's own member said of itself, or None when it did not answer."""
    etcd = (answer.get("probe") or {}).get("etcd")
    return etcd if etcd and etcd.get("member_id") and etcd.get("cluster_id") else None


def blank(answer: Answer) -> bool:
    """Tell whether a voter was seen to hold no data of a store."""
    return ((answer.get("probe") or {}).get("etcd") or {}).get("has_data") is False


def has_leader(told: Told) -> bool:
    """Tell whether a member knows a leader, which takes a majority."""
    return bool(told.get("leader")) and str(told["leader"]) != "0"


def most_told(stores: Mapping[str, Told]) -> Sequence[Member]:
    """Return the members as most of those members list these; no single one's word, however far it is.

    Args:
        stores: What nodes say, by name. Of two lists that as many of their own members tell, and as many
            nodes, the one told from further on is newer.
    """
    told = Counter(_view(store) for store in stores.values())

    def rank(store: Told) -> tuple[int, int, int]:
        view = _view(store)
        return len(_tellers(stores, view)), told[view], int(store.get("raft_index") or 0)

    first = max(stores.values(), key=rank, default=None)
    listed: Sequence[Member] = first["members"] if first else []
    return listed


def the_store(
    answers: Mapping[str, Answer], electors: Collection[str], known: Mapping[str, Any] | None = None
) -> Store:
    """Find the store that the cluster's voters tell.

    The electors choose it; with them speak those whom its list names. Whatever other nodes say of a store is
    not heard, however many they are.

    Args:
        answers: The registered result of `p2p_probe`, by node.
        electors: The nodes that are known to vote, or are meant to.
        known: The store as this controller last saw it work, from the lookup `p2p_store_known`.

    Returns:
        The known store where one of its members knows a leader, otherwise the one that most electors tell;
        `NONE` where no member of any elector answers. In a tie the one wins in which more know a leader, then
        the smaller id, so that two runs read the same store. Its members have the names by which the
        controller knows their ids.
    """
    known_id = str((known or {}).get("cluster_id") or "")
    stores = {name: told for name, answer in answers.items() if (told := living(answer)) is not None}
    votes = Counter(str(stores[name]["cluster_id"]) for name in electors if name in stores)
    if not votes:
        return NONE
    leading = Counter(
        str(stores[name]["cluster_id"]) for name in electors if name in stores and has_leader(stores[name])
    )

    def rank(cluster: str) -> tuple[bool, int, int, str]:
        lives = cluster == known_id and leading[cluster] > 0
        return not lives, -votes[cluster], -leading[cluster], cluster

    cluster_id = min(votes, key=rank)
    same = {name: told for name, told in stores.items() if str(told["cluster_id"]) == cluster_id}
    if cluster_id == known_id:
        same = _called_as_known(same, (known or {}).get("members") or {})
    members = most_told({name: told for name, told in same.items() if name in electors})
    listed = {(str(member["name"]), str(member["id"])) for member in members}
    heard = {
        name: told
        for name, told in same.items()
        if name in electors or (name, str(told["member_id"])) in listed
    }
    return Store(cluster_id=cluster_id, members=most_told(heard), told=heard)


def _called_as_known(stores: Mapping[str, Told], known: Mapping[str, Any]) -> dict[str, Told]:
    """Return what members of the known store say, with the names by which the controller knows their ids.

    A member gives its name itself, and may give another's; its id the store gave it. A node that was renamed
    has the new name if it says that this member is its own, and the one of the old name does not.

    Args:
        stores: What nodes say, by name.
        known: The ids of the members, by name.
    """
    names = {str(number): name for name, number in known.items() if number}
    own = {name: str(told["member_id"]) for name, told in stores.items()}

    def called(member: Member) -> str:
        number, now = str(member["id"]), str(member["name"])
        before = names.get(number, now)
        return now if own.get(now) == number != own.get(before) else before

    return {
        name: {**told, "members": [{**member, "name": called(member)} for member in told["members"]]}
        for name, told in stores.items()
    }


def electors(
    answers: Mapping[str, Answer], voters: Collection[str], known: Collection[str] = ()
) -> frozenset[str]:
    """Return who may say which store is the cluster's: the file's voters, and those that vote now.

    Args:
        answers: The registered result of `p2p_probe` for every node, by name.
        voters: The file's.
        known: The store's members, as this controller last saw it work.

    Returns:
        The file's voters and the known members. Where none are known, those too whom more than half of all
        running orchestrators, and at least two, name as the voters: a change of the voters has not reached
        the nodes yet.
    """
    if known:
        return frozenset((*voters, *known))
    named = [
        frozenset(map(str, (status.get("body") or {}).get("voter_node_ids") or []))
        for answer in answers.values()
        if (status := ((answer.get("probe") or {}).get("http") or {}).get("status") or {}).get("status")
        == HTTPStatus.OK
    ]
    most, count = Counter(named).most_common(1)[0] if named else (frozenset[str](), 0)
    return frozenset(voters) | (most if count >= 2 and count * 2 > len(named) else frozenset())  # noqa: PLR2004  # as said


def contradictions(answers: Mapping[str, Answer], store: Store, chosen_by: Collection[str]) -> dict[str, str]:
    """Return which electors and members say something that the store contradicts, and what.

    Args:
        answers: The registered result of `p2p_probe`, by node.
        store: What `the_store` found in them.
        chosen_by: The electors.
    """
    if not store.cluster_id:
        return {}
    listed: dict[str, list[str]] = {}
    for member in store.members:
        listed.setdefault(str(member["name"]), []).append(str(member["id"]))
    ids = {str(member["id"]) for member in store.members}
    found = {}
    for name, answer in answers.items():
        told = living(answer)
        if told is None or not has_leader(told) or (name not in chosen_by and name not in listed):
            continue
        cluster_id, member_id = str(told["cluster_id"]), str(told["member_id"])
        if cluster_id != store.cluster_id:
            found[name] = f"its member works in the store {cluster_id}, and others in {store.cluster_id}"
        elif member_id not in listed.get(name, [member_id]):
            numbers = " or ".join(listed[name])
            found[name] = f"its member calls itself {member_id}, and others call it {numbers}"
        elif member_id not in ids:
            found[name] = f"its member {member_id} works in the store, and others do not list it"
    return found


def tellers(store: Store) -> list[str]:
    """Return the members that list the members of the store as it does, and themselves as they are."""
    return _tellers(store.told, _view({"members": store.members}))


def _tellers(stores: Mapping[str, Told], view: frozenset[tuple[str, str, bool, bool]]) -> list[str]:
    listed = {(name, number) for number, name, _, _ in view}
    return [
        name
        for name, told in stores.items()
        if (name, str(told.get("member_id"))) in listed and _view(told) == view
    ]


def _view(store: Told) -> frozenset[tuple[str, str, bool, bool]]:
    return frozenset(
        (str(item["id"]), str(item["name"]), bool(item["learner"]), bool(item.get("client_urls")))
        for item in store["members"]
    )
