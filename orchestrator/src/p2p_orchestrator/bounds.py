"""What each may take, as pure code: so much a second, so many places. Times are seconds of any one clock."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from types import MappingProxyType
from typing import Generic, TypeVar

Item = TypeVar("Item")
KEYS = 4_096
"""So many keys are remembered, those that asked last."""
IPV6_HOST_BITS = 64


def origin(address: str) -> str:
    """Return under which key an address counts: whoever has one of IPv6 has 2**64 of them."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        if not found.is_loopback:
            return f"{IPv6Address(int(found) >> IPV6_HOST_BITS << IPV6_HOST_BITS)}/{IPV6_HOST_BITS}"
    return str(found)


@dataclass(frozen=True)
class Rate:
    """So much a second on average.

    Attributes:
        second: How much.
        burst: How much at once, by one that took nothing for long.
    """

    second: float
    burst: float


class Allowance:
    """Lets each key take what a rate allows.

    Args:
        rate: What each key may take.
    """

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._left: dict[str, tuple[float, float]] = {}

    def left(self, key: str, now: float) -> float:
        """Return what `key` may take now; less than nothing if it owes."""
        left, since = self._left.get(key, (self._rate.burst, now))
        return min(self._rate.burst, left + max(0.0, now - since) * self._rate.second)

    def take(self, key: str, now: float, cost: float = 1.0) -> bool:
        """Take `cost` for `key` and return True, or take nothing and return False.

        What costs more than a burst is allowed to one that has all of it left, and is owed.
        """
        left = self.left(key, now)
        allowed = left >= min(cost, self._rate.burst)
        self._left.pop(key, None)  # the dictionary's order is who asked last
        self._left[key] = (left - cost if allowed else left, now)
        if len(self._left) > KEYS:
            del self._left[next(iter(self._left))]
        return allowed


class Room(Generic[Item]):
    """Places by key. Who comes always gets one: if there is none left, somebody else has to go.

    That is the one that was there longest of the key with too many, else of the key with the most: who takes
    many places displaces itself.

    Args:
        places: How many there are.
        each: How many of them one key may have.
        own: Keys that have so many places of their own, which no other key takes from them.
    """

    def __init__(self, places: int, each: int, own: Mapping[str, int] = MappingProxyType({})) -> None:
        self._places = places
        self._each = each
        self._own = own
        self._items: dict[str, dict[Item, None]] = {}
        self._count = 0

    def enter(self, key: str, item: Item) -> Item | None:
        """Give `item` a place, and return who lost it."""
        self._items.setdefault(key, {})[item] = None
        self._count += 1
        if len(self._items[key]) > self._own.get(key, self._each):
            return self._oldest(key)
        if key not in self._own and self._count - self._count_own() > self._places:
            # Of keys with as many it is the first, which came first.
            others = (other for other in self._items if other not in self._own)
            return self._oldest(max(others, key=lambda other: len(self._items[other])))
        return None

    def leave(self, key: str, item: Item) -> None:
        """Free the place of `item`, if it has one."""
        if item in self._items.get(key, ()):
            self._remove(key, item)

    def turn(self, may: Callable[[str], bool]) -> Item | None:
        """Take out who waits longest of the first key that may, and let that key wait for all others."""
        for key in self._items:
            if may(key):
                item = self._oldest(key)
                if key in self._items:
                    self._items[key] = self._items.pop(key)
                return item
        return None

    def __len__(self) -> int:
        """Return how many places are taken."""
        return self._count

    def __iter__(self) -> Iterator[Item]:
        """Go over a copy: who is told to go may leave meanwhile."""
        return iter([item for items in self._items.values() for item in items])

    def _count_own(self) -> int:
        return sum(len(self._items.get(key, ())) for key in self._own)

    def _oldest(self, key: str) -> Item:
        item = next(iter(self._items[key]))
        self._remove(key, item)
        return item

    def _remove(self, key: str, item: Item) -> None:
        del self._items[key][item]
        self._count -= 1
        if not self._items[key]:
            del self._items[key]
