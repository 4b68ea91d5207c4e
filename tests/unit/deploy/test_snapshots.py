"""Names and numbers of the snapshots that a controller keeps."""

from __future__ import annotations

import datetime as dt

from action_plugins.p2p_etcd_snapshot import file_name, outdated


def test_names_sort_as_their_times() -> None:
    noon = dt.datetime(2026, 11, 23, 12, 0, 0, tzinfo=dt.timezone.utc)
    east = noon.astimezone(dt.timezone(dt.timedelta(hours=9)))
    assert file_name(east, 42) == "20261123T120000Z-r42.db"
    assert file_name(noon, 9) < file_name(noon + dt.timedelta(seconds=1), 10)


def test_the_newest_are_kept_and_other_files_are_not_counted() -> None:
    names = [f"2026110{day}T000000Z-r{day}.db" for day in range(1, 10)]
    assert outdated([*names, "a-note.txt", ".20261101T000000Z-r1.db.part"], 7) == names[:2]
    assert outdated(names[:3], 7) == []
    assert outdated(names, 0) == names[:-1]
