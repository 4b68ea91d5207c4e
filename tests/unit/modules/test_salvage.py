"""The recovery epoch that a survivor's data, or a snapshot, get; Molecule's `recover` has the real etcd."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from module_utils import p2p_etcd_salvage
from module_utils.p2p_etcd_salvage import Request, salvage


class Server:
    """What stands in for etcd on a copy of the data."""

    epoch = 0
    written = 0

    def __init__(self, *_: object) -> None:
        """Start nothing."""

    def wait(self) -> dict[str, int]:
        return {"raft_applied_index": 9, "raft_term": 2}

    def number(self, name: str) -> int:
        return type(self).epoch if name == "epoch" else 0

    def revision(self) -> int:
        return 7

    def save(self, name: str) -> dict[str, Any]:
        return {"path": name}

    def raise_epoch(self, epoch: int) -> None:
        type(self).written = epoch

    def stop(self) -> None:
        """Stop nothing."""


@pytest.mark.parametrize(
    ("found", "least", "raised"), [(0, 1_796_000_000, 1_796_000_000), (50, 50, 51), (90, 50, 91)]
)
def test_the_new_epoch_is_above_the_one_that_the_data_have(
    found: int, least: int, raised: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "old").mkdir()
    monkeypatch.setattr(p2p_etcd_salvage, "_Server", Server)
    monkeypatch.setattr(p2p_etcd_salvage, "restore", lambda *_, **__: None)
    monkeypatch.setattr(Server, "epoch", found)
    for snapshot in ("", "/s.db"):
        request = Request(
            spec={},
            tools=[],
            cluster="p2p",
            data_dir=str(tmp_path / "old"),
            snapshot=snapshot,
            epoch=least,
            work=str(tmp_path),
            timeout=1,
        )
        told = salvage(request)
        assert (told["epoch"], told["raised"], Server.written) == (found, raised, raised)
