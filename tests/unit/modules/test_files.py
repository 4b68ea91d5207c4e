"""Managed files and directories on a real file system."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from module_utils.p2p_digest import wanted_directory, wanted_file
from module_utils.p2p_files import (
    check_writable,
    directory_reasons,
    file_diff,
    file_reasons,
    make_directory,
    ownership,
    write_file,
)


def test_a_file_is_written_and_found_as_wanted(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.conf"
    wanted = wanted_file({"path": str(path), "content": "grün\n", "mode": "0640"})
    assert file_reasons(wanted) == ["missing"]
    write_file(str(path), "grün\n".encode(), wanted)
    assert file_reasons(wanted) == []
    assert [entry.name for entry in path.parent.iterdir()] == ["a.conf"], "no temporary file is left"


def test_what_differs_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.conf"
    path.write_text("1")
    path.chmod(0o600)
    wanted = wanted_file(
        {"path": str(path), "content": "2", "mode": "0644", "owner": "nobody", "group": "nogroup"}
    )
    reasons = file_reasons(wanted)
    assert reasons[0] == "content differs"
    assert reasons[1] == "mode 0600, not 0644"
    assert "owner" in reasons[2]
    assert reasons[2].endswith("not nobody")
    assert reasons[3].endswith("not nogroup")


def test_owners_may_be_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("1")
    path.chmod(0o644)
    wanted = wanted_file(
        {"path": str(path), "content": "1", "owner": str(os.geteuid()), "group": str(os.getegid())}
    )
    assert file_reasons(wanted) == []


def test_a_symlink_or_directory_is_no_file(tmp_path: Path) -> None:
    wanted = wanted_file({"path": str(tmp_path / "a"), "content": "1"})
    (tmp_path / "b").write_text("1")
    (tmp_path / "a").symlink_to(tmp_path / "b")
    assert file_reasons(wanted) == ["not a regular file"]
    write_file(wanted["path"], b"1", wanted)
    assert not (tmp_path / "a").is_symlink()
    with pytest.raises(ValueError, match="is a directory"):
        check_writable(wanted_file({"path": str(tmp_path), "content": ""}))


@pytest.mark.parametrize(("key", "words"), [("owner", "user no-such-one"), ("group", "group no-such-one")])
def test_an_owner_that_does_not_exist(tmp_path: Path, key: str, words: str) -> None:
    wanted = wanted_file({"path": str(tmp_path / "a"), "content": "1", key: "no-such-one"})
    with pytest.raises(ValueError, match=f"{tmp_path}/a: the {words} does not exist here: create it first"):
        check_writable(wanted)


def test_relative_paths_are_refused() -> None:
    with pytest.raises(ValueError, match="must be absolute"):
        check_writable(wanted_file({"path": "a", "content": ""}))


def test_directories(tmp_path: Path) -> None:
    wanted = wanted_directory({"path": str(tmp_path / "d" / "e"), "mode": "0750"})
    assert directory_reasons(wanted) == ["missing"]
    make_directory(wanted)
    assert directory_reasons(wanted) == []
    Path(wanted["path"]).chmod(0o700)
    assert directory_reasons(wanted) == ["mode 0700, not 0750"]
    (tmp_path / "f").write_text("")
    other = wanted_directory({"path": str(tmp_path / "f")})
    assert directory_reasons(other) == ["not a directory"]
    with pytest.raises(ValueError, match="move it away"):
        make_directory(other)


def test_a_diff_shows_text_and_never_a_secret(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old\n")
    path.chmod(0o644)
    wanted = wanted_file({"path": str(path), "content": "new\n"})
    assert file_diff(wanted, "new\n", secret=False)["before"] == "old\n"
    hidden = file_diff(wanted, "new\n", secret=True)
    assert hidden["after"] == f"sha256:{wanted['sha256']}\n"
    assert "old" not in hidden["before"]
    # A preview's placeholder for a key that the run makes has no digest that would come true.
    foretold = file_diff(wanted, "(would be issued for a)", secret=True)
    assert foretold["after"] == "(would be made in the run)\n"
    path.chmod(0o600)
    moded = file_diff(wanted, "new\n", secret=False)
    assert moded["before"].startswith(f"# {ownership(str(path))}\n")
    assert moded["after"].startswith("# 0644 ")
    assert file_diff(wanted, None, secret=False)["after"] == ""
