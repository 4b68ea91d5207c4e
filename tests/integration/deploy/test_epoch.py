"""The recovery epoch of a real etcd: raised before anybody leads, and never lowered."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from module_utils.p2p_epoch import Election
from p2p_orchestrator.leadership import EPOCH_SPAN, Leadership
from p2p_orchestrator.store import EPOCH, Swap, View
from p2p_orchestrator.store_etcd import EtcdStore
from tests.integration.deploy.modules import call


class Epoch:
    """The module, run by Ansible on this machine against the store."""

    def __init__(self, endpoint: str, home: Path) -> None:
        self.endpoint, self.home = endpoint, home

    def __call__(self, epoch: int, *, check: bool = False, **more: Any) -> dict[str, Any]:
        """Return what it answers."""
        words = {"cluster": "lab", "etcd": {"endpoint": self.endpoint}, "epoch": epoch, **more}
        return call("p2p_epoch", words, self.home, check=check)

    def view(self) -> View:
        """Return the election as an orchestrator reads it."""
        return asyncio.run(self._read())

    async def _read(self) -> View:
        store = EtcdStore(self.endpoint, "lab")
        try:
            return await store.read()
        finally:
            await store.close()

    def lead(self) -> int:
        """Let an orchestrator's rule win the next term, and return it."""
        return asyncio.run(self._won())

    async def _won(self) -> int:
        store, rule = EtcdStore(self.endpoint, "lab"), Leadership("a", "1")
        try:
            read = rule.poll(0.0)
            assert read is not None
            rule.answer(read, 0.0, 0.0, await store.read())
            acquire = rule.poll(100.0)
            assert acquire is not None
            assert acquire.swap is not None
            assert await store.swap(acquire.swap) is not None
            return int(acquire.swap.put["term"])
        finally:
            await store.close()


@pytest.fixture
def raising(member: tuple[str, str], tmp_path: Path) -> Epoch:
    return Epoch(member[0], tmp_path)


def test_terms_go_on_from_the_epoch_which_only_rises(raising: Epoch) -> None:
    first = raising(7)
    assert (first["changed"], first["epoch"]) == (True, 7)
    assert raising.view().epoch.value == b"7"
    assert raising.lead() == 7 * EPOCH_SPAN + 1
    for least in (7, 6):
        again = raising(least)
        assert (again["changed"], again["epoch"]) == (False, 7)
    assert raising(8)["changed"]
    assert raising.view().epoch.value == b"8"


def test_a_store_in_which_somebody_has_led_is_left_alone_where_that_is_asked(raising: Epoch) -> None:
    assert raising(7, unled=True)["changed"]
    assert raising(8, unled=True)["epoch"] == 8
    raising.lead()
    left = raising(9, unled=True)
    assert (left["changed"], left["epoch"]) == (False, 8)
    assert raising.view().epoch.value == b"8"


def test_a_preview_foretells_it_and_writes_nothing(raising: Epoch) -> None:
    foretold = raising(7, check=True)
    assert (foretold["changed"], foretold["epoch"]) == (True, 7)
    assert raising.view().epoch.revision == 0
    raising.endpoint = "http://127.0.0.1:9"
    assert raising(7, check=True)["changed"]
    unknown = raising(7, check=True, unled=True)
    assert (unknown["changed"], unknown["epoch"]) == (False, None)


def test_a_store_that_is_down_and_an_epoch_that_is_none_are_named(
    raising: Epoch, member: tuple[str, str]
) -> None:
    raising.endpoint = "http://127.0.0.1:9"
    down = raising(7, seconds=1)
    assert down["failed"]
    assert "http://127.0.0.1:9 does not answer" in down["msg"]
    raising.endpoint = member[0]
    asyncio.run(_spoil(member[0]))
    spoiled = raising(7, seconds=1)
    assert spoiled["failed"]
    assert "/p2p/lab/election/epoch holds no number" in spoiled["msg"]


async def _spoil(endpoint: str) -> None:
    store = EtcdStore(endpoint, "lab")
    try:
        await store.swap(Swap({}, put={EPOCH: b"seven"}))
    finally:
        await store.close()


def test_many_at_once_raise_it_to_the_highest(member: tuple[str, str]) -> None:
    won: list[tuple[int, int]] = []

    def raise_to(epoch: int) -> None:
        election = Election({"endpoint": member[0]}, "lab", 10)
        while (found := election.read()).epoch < epoch:
            if election.write(epoch, found):
                won.append((found.epoch, epoch))

    voters = [threading.Thread(target=raise_to, args=(epoch,)) for epoch in range(1, 9)]
    for one in voters:
        one.start()
    for one in voters:
        one.join()
    assert Election({"endpoint": member[0]}, "lab", 5).read().epoch == 8
    # Each was raised from what the one before it had written, in whatever order the threads noted it.
    steps = sorted(won)
    assert [0, *(after for _, after in steps)] == [*(before for before, _ in steps), 8]


def test_a_write_loses_against_a_term_that_began_meanwhile(raising: Epoch, member: tuple[str, str]) -> None:
    election = Election({"endpoint": member[0]}, "lab", 5)
    found = election.read()
    raising.lead()
    assert not election.write(7, found)
    assert election.read().epoch == 0
