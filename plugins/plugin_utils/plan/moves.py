"""Which of the store's members moved, and by which steps the store's list comes to say so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypedDict

from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.members import Store

# Nobody has an address there (RFC 6761), so that a member which is listed there is in nobody's way.
NOWHERE = "moving.invalid"


class Move(TypedDict):
    """A member that the store lists elsewhere than the fleet file has it.

    `name` is its node, `id` its id in decimal text, `listed` where the store has it, `wanted` the URL that
    the file gives.
    """

    name: str
    id: str
    listed: list[str]
    wanted: str


class Step(TypedDict):
    """One change of the list: the member `id` of the node `name` is at `peer_url` and `also_at`."""

    name: str
    id: str
    peer_url: str
    also_at: list[str]


class Turn(TypedDict):
    """What the list has to say `before` a member that moved restarts, and `after` it takes part again."""

    before: list[Step]
    after: list[Step]


def listed_at(store: Store) -> dict[str, frozenset[str]]:
    """Return where the store lists its members, by id, as far as more than half of them tell the same.

    Args:
        store: From `the_store`. Who tells its list may be the one that lies.
    """
    told: dict[str, Counter[frozenset[str]]] = {}
    for one in store.told.values():
        for member in one["members"]:
            urls = frozenset(map(str, member.get("peer_urls") or ()))
            told.setdefault(str(member["id"]), Counter())[urls] += 1
    most = {number: counts.most_common(1)[0] for number, counts in told.items()}
    return {number: urls for number, (urls, count) in most.items() if count * 2 > len(store.members) and urls}


def moved(store: Store, urls: Mapping[str, str]) -> list[Move]:
    """Return the voting members that the store lists elsewhere than the file has them, in the file's order.

    Args:
        store: From `the_store`.
        urls: The peer URL of each of the file's voters, by name.
    """
    found = listed_at(store)
    voting = {
        str(member["name"]): str(member["id"])
        for member in store.members
        if not member["learner"] and member.get("client_urls")
    }
    return [
        Move(name=name, id=voting[name], listed=sorted(found[voting[name]]), wanted=url)
        for name, url in urls.items()
        if found.get(voting.get(name, ""), {url}) != {url}
    ]


def why_not_there(
    found: Sequence[Move], store: Store, urls: Mapping[str, str], gone: Collection[str] = ()
) -> str:
    """Return why voters cannot be where the file has them, or nothing.

    Two voters with one address are a mistake of the file, and so is the address of a member that stays. Who
    joins where another one is still listed would start as that one.

    Args:
        found: From `moved`.
        store: From `the_store`.
        urls: The peer URL of each of the file's voters, by name.
        gone: Ids of members that the same run removes before.
    """
    going = {move["id"]: move["name"] for move in found}
    names = {str(member["id"]): str(member["name"] or member["id"]) for member in store.members}
    there = {
        url: number for number, listed in listed_at(store).items() if number not in gone for url in listed
    }
    for name, url in urls.items():
        one = next((move for move in found if move["name"] == name), None)
        twin = next((other for other, place_ in urls.items() if place_ == url and other != name), None)
        number = there.get(url, "")
        here = names.get(number, name)
        if one and (twin or (number and number not in going)):
            listed = ", ".join(map(place, one["listed"]))
            return (
                f"the fleet file has {name} at {place(url)}, where {twin or here} is: correct the address of"
                f" one of them; the store lists {name} at {listed}"
            )
        if not one and number in going and going[number] != name:
            return (
                f"{name} is to vote at {place(url)}, where the store lists {going[number]}, which moved: put"
                " p2p_voters back, run deploy.yml, which has it listed anew, and then change the voters"
            )
    return ""


def turns(found: Sequence[Move], order: Sequence[str]) -> dict[str, Turn]:
    """Return for each member that is listed anew how the store's list is changed at its turn.

    The store takes no address twice: one that is listed where another one is now makes way, and is listed
    nowhere until its own turn comes, if need be in a later run. Of one whose port alone changes both are
    listed until it restarted.

    Args:
        found: From `moved`, without a reason from `why_not_there`.
        order: The names of those that are listed anew, in the order of their turns.
    """
    listed = {move["name"]: set(move["listed"]) for move in found}
    by_name = {move["name"]: move for move in found}
    result: dict[str, Turn] = {}
    for name in order:
        move, url = by_name[name], by_name[name]["wanted"]
        ways = [other for other in listed if other != name and url in listed[other]]
        made = [_step(by_name[other], nowhere(by_name[other])) for other in ways]
        listed |= {other: {nowhere(by_name[other])} for other in ways} | {name: {url}}
        both = [old for old in move["listed"] if _another_port(old, url)]
        turn = Turn(before=[*made, _step(move, url, both)], after=[]) if both else Turn(before=[], after=made)
        turn["after"].append(_step(move, url))
        result[name] = turn
    return result


def _step(move: Move, url: str, also: Sequence[str] = ()) -> Step:
    return Step(name=move["name"], id=move["id"], peer_url=url, also_at=[*also])


def nowhere(move: Move) -> str:
    """Return an address at which nobody is, in the place of a member's own."""
    scheme, _, rest = move["wanted"].partition("://")
    return f"{scheme}://{move['id']}.{NOWHERE}:{rest.rpartition(':')[2]}"


def place(url: str) -> str:
    """Return a URL's host and port; any text is taken, since a member's list may hold one that is no URL."""
    return url.partition("://")[2].rstrip("/") or url


def _another_port(one: str, other: str) -> bool:
    """Tell whether URLs differ by their ports alone: until it restarts a member listens at the old one."""
    first, second = place(one).rpartition(":"), place(other).rpartition(":")
    return first[0] == second[0] and first[2] != second[2]


def text(move: Mapping[str, Any]) -> str:
    """Return a move in words."""
    listed, wanted = [place(url) for url in move["listed"]], place(move["wanted"])
    if listed == [wanted]:
        listed, wanted = move["listed"], move["wanted"]  # with TLS and without
    return f"the store lists {move['name']} at {', '.join(listed)}, and the fleet file has it at {wanted}"
