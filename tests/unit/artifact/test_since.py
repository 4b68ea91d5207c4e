"""What of an artefact is sent to a node that runs an older one."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.p2p.cluster.module_utils.p2p_archive import opened
from ansible_collections.p2p.cluster.plugins.plugin_utils.artifact.build import BuildError, Source
from ansible_collections.p2p.cluster.plugins.plugin_utils.artifact.given import take
from ansible_collections.p2p.cluster.plugins.plugin_utils.artifact.shelf import Kept, Shelf
from ansible_collections.p2p.cluster.plugins.plugin_utils.artifact.since import since
from ansible_collections.p2p.cluster.plugins.plugin_utils.artifact.supply import supply
from ansible_collections.p2p.cluster.plugins.plugin_utils.artifact.target import Need, targets

from tests.support.wheels import lock, wheel

NEED = Need(targets({"system": "Linux", "machine": "x86_64", "libc": "musl"}), "3.11")


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "shelf")


def built(shelf: Shelf, wheels: Path, release: str) -> Kept:
    """Return the artefact of a folder of wheels."""
    return supply(Source(release, lock(*sorted(wheels.glob("*.whl"))), None, wheels), NEED, shelf)


@pytest.fixture
def two(tmp_path: Path, shelf: Shelf) -> tuple[Kept, Kept]:
    """An older and a newer artefact, of which one package has changed."""
    wheel(tmp_path / "a", "foo", files={"foo.py": "VALUE = 1\n"})
    wheel(tmp_path / "b", "foo", files={"foo.py": "VALUE = 2\n"})
    for folder in ("a", "b"):
        wheel(tmp_path / folder, "bar", files={"bar.py": "VALUE = 3\n", "bar_data.txt": "x" * 90_000})
    return built(shelf, tmp_path / "a", "1.0-a"), built(shelf, tmp_path / "b", "1.0-b")


def test_only_what_the_older_one_has_not_is_sent(two: tuple[Kept, Kept], shelf: Shelf) -> None:
    older, newer = two
    part = since(newer, older.digest, shelf)
    assert part is not None
    with opened(part.path, newer.digest) as (found, _, files):
        assert [path for path, _, _ in files] == ["foo.py"]
    with opened(newer.path, newer.digest) as (whole, _, _):
        assert found == whole
    assert since(newer, older.digest, shelf) == part


@pytest.mark.parametrize("digest", ["", "0" * 64, "../../../etc/passwd", "*"])
def test_what_is_not_known_here_gets_the_whole(two: tuple[Kept, Kept], shelf: Shelf, digest: str) -> None:
    assert since(two[1], digest, shelf) is None
    assert since(two[1], two[1].digest, shelf) is None


def test_where_the_older_one_is_damaged_the_whole_is_sent(two: tuple[Kept, Kept], shelf: Shelf) -> None:
    Path(two[0].path).write_bytes(b"torn")
    assert since(two[1], two[0].digest, shelf) is None


def test_it_is_no_artefact_of_its_own(two: tuple[Kept, Kept], shelf: Shelf, tmp_path: Path) -> None:
    older, newer = two
    part = since(newer, older.digest, shelf)
    assert part is not None
    (tmp_path / "scratch").mkdir()
    other = Shelf(tmp_path / "other")
    other.folder.mkdir()
    with pytest.raises(BuildError, match="holds only what differs from another"):
        take(Path(part.path), "1.0-b", NEED, other, tmp_path / "scratch")
    assert take(shelf.folder, "1.0-b", NEED, other, tmp_path / "scratch").digest == newer.digest
