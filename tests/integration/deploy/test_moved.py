"""A member of a real etcd whose address changes in the store's list."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from module_utils.p2p_members import Members
from tests.integration.deploy.modules import call

THERE, OLD_PORT = "https://192.0.2.7:2380", "https://192.0.2.7:2379"


class Moved:
    """The module, run by Ansible on this machine against the store."""

    def __init__(self, endpoint: str, home: Path) -> None:
        self.home, self.spec = home, {"endpoint": endpoint}
        self.store = Members(self.spec, 10, 5)
        self.id = str(self.store.list()[0]["id"])

    def __call__(self, peer_url: str, *, check: bool = False, **more: Any) -> dict[str, Any]:
        """Return what it answers."""
        words = {
            "state": "moved",
            "name": "a",
            "id": self.id,
            "peer_url": peer_url,
            "etcd": self.spec,
            **more,
        }
        return call("p2p_member", words, self.home, check=check)

    def urls(self) -> list[str]:
        """Return where the store lists its first member."""
        found: list[str] = next(item["peer_urls"] for item in self.store.list() if item["id"] == self.id)
        return found


@pytest.fixture
def moved(member: tuple[str, str], tmp_path: Path) -> Moved:
    return Moved(member[0], tmp_path)


def test_the_store_lists_a_member_where_it_is_now(moved: Moved) -> None:
    before = moved.urls()
    foretold = moved(THERE, check=True)
    assert (foretold["changed"], foretold["failed"], moved.urls()) == (True, False, before)
    assert moved(THERE, also_at=[OLD_PORT])["changed"]
    assert sorted(moved.urls()) == [OLD_PORT, THERE]
    assert not moved(THERE, also_at=[OLD_PORT])["changed"]
    done = moved(THERE)
    assert (done["changed"], moved.urls()) == (True, [THERE])
    assert "initial_cluster" not in done, "it is no first start"


def test_what_the_store_would_refuse_for_ever_is_told_at_once(moved: Moved) -> None:
    before, other = moved.urls(), moved("https://192.0.2.8:2380", id="7")
    assert "the store has no member 7: run again" in other["msg"]
    moved.store.until(
        lambda members: len(members) > 1,
        "/v3/cluster/member/add",
        {"peerURLs": [THERE], "isLearner": True},
    )
    began = time.monotonic()
    refused = moved(THERE)
    assert refused["failed"]
    assert " at https://192.0.2.7:2380: run again" in refused["msg"]
    assert moved.urls() == before
    assert time.monotonic() - began < 60, "it is not asked again for two minutes"
