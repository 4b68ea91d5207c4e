"""Snapshots of a real etcd, kept on the controller."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

from module_utils.p2p_etcd_tool import restore, status
from module_utils.p2p_store import Key
from tests.integration.deploy.modules import call

CLIENT = shutil.which("etcdctl")
assert CLIENT, "etcdctl is not there: make test-integration unpacks it"
TOOLS = [str(Path(CLIENT).parent)]


def test_the_newest_are_kept_readable_by_their_owner_alone(member: tuple[str, str], tmp_path: Path) -> None:
    endpoint, data = member
    Key({"endpoint": endpoint}, "/p2p/lab/roster", 5).write({"alive": ["a"]}, 0)
    kept = tmp_path / "state" / "snapshots"
    etcd = {"endpoint": endpoint, "data_dir": data}
    words = {"etcd": etcd, "directory": str(kept), "keep": 2, "tools": TOOLS}
    foretold = call("p2p_etcd_snapshot", words, tmp_path, check=True)
    assert not foretold["failed"], foretold
    assert foretold["changed"]
    assert not kept.exists()

    kept.mkdir(parents=True)
    for old in ("20010101T000000Z-r5.db", "20010102T000000Z-r6.db"):
        (kept / old).touch()
    (kept / "notes.txt").touch()
    answer = call("p2p_etcd_snapshot", words, tmp_path)
    assert not answer["failed"], answer
    snapshot = answer["snapshot"]
    path = Path(snapshot["path"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert snapshot["revision"] > 1
    assert snapshot["removed"] == ["20010101T000000Z-r5.db"]
    assert sorted(one.name for one in kept.iterdir()) == sorted(
        ["20010102T000000Z-r6.db", path.name, "notes.txt"]
    )
    assert status(TOOLS, str(path), 30)["revision"] == snapshot["revision"]
    urls = {"a": "http://127.0.0.1:1"}
    restore(TOOLS, str(path), str(tmp_path / "new"), name="a", urls=urls, token="t", timeout=120)  # noqa: S106  # no secret
    assert (tmp_path / "new" / "member" / "snap" / "db").exists()


def test_a_member_that_is_down_and_a_missing_tool_are_named(member: tuple[str, str], tmp_path: Path) -> None:
    kept = str(tmp_path / "kept")
    words = {"etcd": {"endpoint": "http://127.0.0.1:9"}, "directory": kept, "tools": TOOLS}
    for check in (True, False):
        answer = call("p2p_etcd_snapshot", words, tmp_path, check=check)
        assert answer["failed"]
        assert "no snapshot of the store could be kept: http://127.0.0.1:9 does not answer" in answer["msg"]
    words = {"etcd": {"endpoint": member[0]}, "directory": str(tmp_path / "kept"), "tools": ["/nowhere"]}
    answer = call("p2p_etcd_snapshot", words, tmp_path)
    assert "etcdctl is in none of /nowhere: install it" in answer["msg"]
    assert not (tmp_path / "kept").exists()


def test_a_directory_that_cannot_be_written_is_named(member: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    kept = str(tmp_path / "file" / "kept")
    words = {"etcd": {"endpoint": member[0]}, "directory": kept, "tools": TOOLS}
    answer = call("p2p_etcd_snapshot", words, tmp_path)
    assert answer["failed"]
    assert "cannot be kept in" in answer["msg"]
    assert "etcd_snapshot_dir" in answer["msg"]
