"""The interface to what decides: keys with revisions, one linearizable read, one compare-and-swap."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

LEADER = "leader"
TERM = "term"
EPOCH = "epoch"
ROSTER = "roster"


class StoreError(Exception):
    """The engine gave no answer, so a swap's outcome is unknown.

    Attributes:
        reached: False if nothing listens at the engine's address.
    """

    def __init__(self, message: str, *, reached: bool = True) -> None:
        super().__init__(message)
        self.reached = reached


@dataclass(frozen=True)
class Entry:
    """A key's value and the store's revision when it was last written; revision 0 is an absent key."""

    value: bytes = b""
    revision: int = 0


@dataclass(frozen=True)
class View:
    """The three keys of an election as one linearizable read saw them."""

    leader: Entry = Entry()
    term: Entry = Entry()
    epoch: Entry = Entry()


@dataclass(frozen=True)
class Swap:
    """Write all of `put` and remove all of `delete` if every key of `expect` is still as it was read."""

    expect: Mapping[str, Entry]
    put: Mapping[str, bytes] = field(default_factory=dict)
    delete: tuple[str, ...] = ()


class Store(Protocol):
    """What decides who leads. Both implementations raise `StoreError` where they have no answer."""

    kind: str

    async def read(self) -> View:
        """Return the keys of the election, linearizably."""

    async def get(self, key: str) -> Entry:
        """Return one key, linearizably."""

    async def swap(self, swap: Swap) -> int | None:
        """Return the revision of the write, or None if a key was not as expected and nothing was written."""

    async def close(self) -> None:
        """Let go of connections and locks."""
