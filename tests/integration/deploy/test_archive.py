"""Archives with upstream's layout, made here: what is unpacked, and what is refused before anything is."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path
from typing import Any

import pytest

from module_utils.p2p_etcd_archive import architecture
from tests.integration.deploy.modules import call

VERSION = "3.6.99"
SCRIPT = f"#!/bin/sh\necho 'etcd Version: {VERSION}'\n"


def pack(path: Path, *names: str, script: str = SCRIPT) -> str:
    """Write an archive of these members, and return its SHA-256."""
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(script), 0o755
            archive.addfile(member, io.BytesIO(script.encode()))
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Archive:
    """An archive on the controller, and the words that unpack it."""

    def __init__(self, home: Path, *names: str, script: str = SCRIPT) -> None:
        folder = f"etcd-v{VERSION}-linux-{architecture()}"
        self.home, self.root = home, home / "opt"
        self.path = home / f"{folder}.tar.gz"
        members = [f"{folder}/{name}" for name in names or ("etcd", "etcdctl", "README.md")]
        self.sha256 = pack(self.path, *members, script=script)
        pattern = str(home / "etcd-v{version}-linux-{arch}.tar.gz")
        self.words: dict[str, Any] = {"version": VERSION, "root": str(self.root), "file": pattern}

    def __call__(self, *, check: bool = False, sha256: str = "", **words: Any) -> dict[str, Any]:
        """Return what the module answers."""
        pinned = {architecture(): {VERSION: sha256 or self.sha256}}
        return call("p2p_etcd_archive", self.words | {"checksums": pinned} | words, self.home, check=check)


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path)


def test_a_file_of_the_controller_is_unpacked_once(archive: Archive) -> None:
    foretold = archive(check=True)
    assert foretold["changed"]
    assert not archive.root.exists()
    answer = archive()
    assert answer["changed"], answer
    assert sorted(path.name for path in (archive.root / VERSION).iterdir()) == [".sha256", "etcd", "etcdctl"]
    assert not archive()["changed"]
    assert not archive(check=True)["changed"]
    (archive.root / VERSION / "etcdctl").unlink()
    assert archive()["changed"]
    assert (archive.root / VERSION / "etcdctl").exists()
    assert [path.name for path in archive.root.iterdir()] == [VERSION]


def test_a_url_is_unpacked_too(archive: Archive) -> None:
    url = "file://" + archive.words["file"]
    assert archive(file="", url=url)["changed"]
    assert (archive.root / VERSION / "etcd").exists()


@pytest.mark.parametrize("check", [True, False], ids=["preview", "run"])
def test_a_wrong_checksum_is_refused_and_nothing_is_left(archive: Archive, check: bool) -> None:
    answer = archive(check=check, sha256="0" * 64)
    assert answer["failed"]
    assert "is not what was pinned" in answer["msg"]
    assert archive.sha256 in answer["msg"]
    assert not archive.root.exists()


def test_a_wrong_checksum_of_a_download_is_refused(archive: Archive) -> None:
    answer = archive(sha256="0" * 64, file="", url="file://" + archive.words["file"])
    assert answer["failed"]
    assert "is not what was pinned" in answer["msg"]
    assert not archive.root.exists()


def test_a_version_that_is_not_pinned_and_a_missing_file_are_named(archive: Archive) -> None:
    answer = archive(version="3.6.98")
    assert f"no SHA-256 of etcd 3.6.98 for {architecture()} is pinned (pinned: {VERSION})" in answer["msg"]
    assert "etcd_checksums_file" in answer["msg"]
    archive.path.unlink()
    answer = archive()
    assert "No such file or directory; name the archive with etcd_archive_file" in answer["msg"]
    answer = archive(file="", url="http://127.0.0.1:9/etcd.tar.gz")
    assert "http://127.0.0.1:9/etcd.tar.gz cannot be had" in answer["msg"]


@pytest.mark.parametrize(
    ("names", "script", "why"),
    [
        (("etcd",), SCRIPT, "holds no etcdctl"),
        (("etcd", "etcdctl"), SCRIPT.replace("99", "98"), "holds 3.6.98"),
        (("etcd", "etcdctl"), "#!/bin/sh\nexit 1\n", "holds a program that does not run"),
    ],
)
def test_another_content_is_refused_and_nothing_is_left(
    tmp_path: Path, names: tuple[str, ...], script: str, why: str
) -> None:
    archive = Archive(tmp_path, *names, script=script)
    answer = archive()
    assert answer["failed"]
    assert why in answer["msg"]
    assert list(archive.root.iterdir()) == []
