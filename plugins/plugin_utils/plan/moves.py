"""Which of the store's members moved, and by which steps the store's list comes to say so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict
from urllib.parse import urlsplit

from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.members import Member

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


def moved(members: Iterable[Member], urls: Mapping[str, str]) -> list[Move]:
    """Return the members that the store lists elsewhere than the file has them, in the file's order.

    Args:
        members: Of the store, from `the_store`.
        urls: The peer URL of each of the file's voters, by name.
    """
    listed = {str(member["name"]): member for member in members if member.get("peer_urls")}
    return [
        Move(name=name, id=str(member["id"]), listed=list(member["peer_urls"]), wanted=url)
        for name, url in urls.items()
        if (member := listed.get(name)) and set(member["peer_urls"]) != {url}
    ]


def why_not_there(found: Sequence[Move], members: Iterable[Member], urls: Mapping[str, str]) -> str:
    """Return why members cannot be listed where the file has them, or nothing.

    Two voters with one address are a mistake of the file, and so is the address of a member that stays.

    Args:
        found: From `moved`.
        members: Of the store, from `the_store`.
        urls: The peer URL of each of the file's voters, by name.
    """
    going = {move["id"] for move in found}
    staying = {
        url: str(member["name"] or member["id"])
        for member in members
        if str(member["id"]) not in going
        for url in member["peer_urls"]
    }
    for move in found:
        other = next(
            (name for name, url in urls.items() if url == move["wanted"] and name != move["name"]),
            staying.get(move["wanted"]),
        )
        if other:
            return (
                f"the fleet file has {move['name']} at {place(move['wanted'])}, where {other} is: correct the"
                f" address of one of them; the store lists {move['name']} at"
                f" {', '.join(map(place, move['listed']))}"
            )
    return ""


def turns(found: Sequence[Move]) -> dict[str, Turn]:
    """Return for each member that moved how the store's list is changed at its turn.

    The store takes no address twice: one that is listed where another one is now makes way, and is listed
    nowhere until its own turn comes. Of one whose port alone changes both are listed until it restarted.

    Args:
        found: From `moved`, in the order of their turns, without a reason from `why_not_there`.
    """
    listed = {move["name"]: set(move["listed"]) for move in found}
    by_name = {move["name"]: move for move in found}
    result: dict[str, Turn] = {}
    for move in found:
        name, url = move["name"], move["wanted"]
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
    parts = urlsplit(move["wanted"])
    return f"{parts.scheme}://{move['id']}.{NOWHERE}:{parts.port}"


def place(url: str) -> str:
    """Return a URL's host and port."""
    return urlsplit(url).netloc


def _another_port(one: str, other: str) -> bool:
    """Tell whether URLs differ by their ports alone: until it restarts a member listens at the old one."""
    first, second = urlsplit(one), urlsplit(other)
    return first.hostname == second.hostname and first.port != second.port


def text(move: Mapping[str, Any]) -> str:
    """Return a move in words."""
    listed = ", ".join(map(place, move["listed"]))
    return f"the store lists {move['name']} at {listed}, and the fleet file has it at {place(move['wanted'])}"
