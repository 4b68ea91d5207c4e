"""The archive of an artefact: whatever is not exactly what its description says is refused in one line."""

from __future__ import annotations

import hashlib
import io
import lzma
import os
import sys
import tarfile
import tracemalloc
from collections.abc import Iterable
from pathlib import Path

import pytest

from module_utils.p2p_archive import opened, pack
from module_utils.p2p_artifact import DESCRIPTION, LARGEST_DESCRIPTION, Artifact, ArtifactError, described
from tests.support.artifacts import FILES, artifact, packed


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    packed(tmp_path / "a.tar.xz", FILES, modes={"tiny/__main__.py": "0755"})
    return tmp_path / "a.tar.xz"


def read(archive: Path, digest: str | None = None, python: str | None = None) -> dict[str, bytes]:
    """Read an archive through."""
    with opened(str(archive), digest, python) as (found, text, files):
        contents = {path: content for path, _, content in files}
        assert described(found) == text
        assert contents.keys() <= found.files.keys()
    return contents


def refused(archive: Path, digest: str | None = None, python: str | None = None) -> str:
    """Return why an archive is refused, in one line."""
    with pytest.raises(ArtifactError) as error:
        read(archive, digest, python)
    assert len(str(error.value).splitlines()) == 1
    assert len(str(error.value)) < 1000
    return str(error.value)


Member = tuple[tarfile.TarInfo, bytes]


def member(name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "") -> Member:
    found = tarfile.TarInfo(name)
    found.size, found.type, found.linkname = len(content), kind, link
    return found, content


def by_hand(path: Path, members: Iterable[Member], form: int = tarfile.GNU_FORMAT) -> Path:
    """Write an archive of any members."""
    with tarfile.open(path, "w:xz", format=form) as stream:
        for info, content in members:
            stream.addfile(info, io.BytesIO(content))
    return path


def members(found: Artifact | None = None) -> list[Member]:
    """Return the members of a sound archive."""
    whole = found or artifact()
    contents = [member(f"site/{path}", FILES[path].encode()) for path in whole.files]
    return [member("artifact.json", described(whole)), *contents]


def test_what_was_packed_is_read_again(archive: Path, tmp_path: Path) -> None:
    assert read(archive) == {path: text.encode() for path, text in FILES.items()}
    assert read(by_hand(tmp_path / "hand.tar.xz", members())) == read(archive)
    assert read(by_hand(tmp_path / "pax.tar.xz", members(), tarfile.PAX_FORMAT)) == read(archive)
    assert read(by_hand(tmp_path / "turned.tar.xz", [members()[0], *members()[:0:-1]])) == read(archive)


def test_other_programs_read_it_too(archive: Path) -> None:
    with tarfile.open(archive) as stream:
        modes = {info.name: info.mode for info in stream}
        assert {info.mtime for info in stream.getmembers()} == {315532800}
        assert {(info.uid, info.gid, info.uname) for info in stream.getmembers()} == {(0, 0, "")}
    assert next(iter(modes)) == "artifact.json"
    assert modes["site/tiny/__main__.py"] == 0o755
    assert modes["site/tiny/__init__.py"] == 0o644


def test_the_same_contents_are_packed_into_the_same_bytes(archive: Path, tmp_path: Path) -> None:
    packed(tmp_path / "b.tar.xz", FILES, modes={"tiny/__main__.py": "0755"})
    assert (tmp_path / "b.tar.xz").read_bytes() == archive.read_bytes()


def test_one_with_another_digest_is_refused(archive: Path) -> None:
    assert "it has the digest " in refused(archive, "0" * 64)
    with opened(str(archive)) as (found, _, _):
        pass
    assert read(archive, found.digest)


def test_one_that_ends_too_early_never_gives_less_than_all(archive: Path, tmp_path: Path) -> None:
    content, cut = archive.read_bytes(), tmp_path / "cut.tar.xz"
    whole, seen = read(archive), 0
    for size in range(len(content)):
        cut.write_bytes(content[:size])
        try:
            assert read(cut) == whole, "of the end alone, after all files, something may be gone"
        except ArtifactError as error:
            seen += 1
            assert len(str(error).splitlines()) == 1
    assert seen > len(content) - 100


def test_files_may_be_left_out(tmp_path: Path) -> None:
    for count in range(1, len(members())):
        assert len(read(by_hand(tmp_path / "a.tar.xz", members()[:count]))) == count - 1


def test_a_plain_tar_that_ends_inside_a_file_is_refused(tmp_path: Path) -> None:
    plain = lzma.decompress(by_hand(tmp_path / "a.tar.xz", members()).read_bytes())
    whole = read(tmp_path / "a.tar.xz")
    for size in range(0, len(plain), 256):
        (tmp_path / "a.tar.xz").write_bytes(lzma.compress(plain[:size], preset=0))
        try:
            assert read(tmp_path / "a.tar.xz").items() <= whole.items()
        except ArtifactError as error:
            assert len(str(error).splitlines()) == 1


def test_one_in_which_a_byte_differs_is_refused_or_says_the_same(archive: Path, tmp_path: Path) -> None:
    content, other, whole = archive.read_bytes(), tmp_path / "other.tar.xz", read(archive)
    for place in range(0, len(content), 3):
        other.write_bytes(content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :])
        try:
            assert read(other) == whole
        except ArtifactError as error:
            assert len(str(error).splitlines()) == 1


@pytest.mark.parametrize(
    "content",
    [b"", b"x", os.urandom(5000), b"\0" * 5000, lzma.compress(b""), lzma.compress(b"x" * 5000)],
    ids=range(6),
)
def test_garbage_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tar.xz").write_bytes(content)
    refused(tmp_path / "a.tar.xz")


EXTRA = member("site/extra.py", b"x")
HOSTILE: dict[str, tuple[list[Member], str]] = {
    "a file more": ([*members(), EXTRA], "it holds 'site/extra.py', which its description does not"),
    "a file twice": ([*members(), members()[1]], "it holds 'site/other.py', which"),
    "the description twice": ([members()[0], *members()], "it holds 'artifact.json', which"),
    "the description last": ([*members()[1:], members()[0]], "it does not begin with artifact.json"),
    "no description": (members()[1:], "it does not begin with artifact.json"),
    "another file of the same size": (
        [*members()[:-1], member(members()[-1][0].name, b"x" * len(members()[-1][1]))],
        "tiny/data.txt differs from what its description says",
    ),
    "a longer file": (
        [*members()[:-1], member(members()[-1][0].name, members()[-1][1] + b"x")],
        "it holds 'site/tiny/data.txt', which its description does not",
    ),
    "a file beside the packages": ([*members(), member("other.py")], "it holds 'other.py', which"),
    "an absolute file": ([*members(), member("/etc/passwd")], "which its description does not"),
    "a file upwards": ([*members(), member("site/../../x")], "it holds 'site/../../x', which"),
    "a folder": ([*members(), member("site/tiny", kind=tarfile.DIRTYPE)], "it holds 'site/tiny', which"),
    "a device": ([members()[0], member("site/other.py", kind=tarfile.CHRTYPE)], "it holds 'site/other.py'"),
    "a link": (
        [members()[0], member("site/other.py", kind=tarfile.SYMTYPE, link="/etc/passwd"), *members()[2:]],
        "it holds 'site/other.py', which",
    ),
    "a hard link": (
        [*members()[:-1], member(members()[-1][0].name, kind=tarfile.LNKTYPE, link="site/other.py")],
        "it holds 'site/tiny/data.txt', which",
    ),
    "headers within headers": (
        [members()[0], *[member("x", b"6 a=b\n", tarfile.XHDTYPE)] * 1500, *members()[1:]],
        "it is damaged or ends too early",
    ),
    "a link in the place of the description": (
        [member("artifact.json", kind=tarfile.SYMTYPE, link="/etc/passwd"), *members()[1:]],
        "it does not begin with artifact.json",
    ),
    "a name of many lines": ([*members(), member("site/" + "x\n" * 500)], "it holds "),
    "a description that is none": ([member("artifact.json", b"{}"), *members()[1:]], "cannot be read"),
    "a description above the limit": (
        [member("artifact.json", b" " * (LARGEST_DESCRIPTION + 1))],
        f"its description has {LARGEST_DESCRIPTION + 1} bytes",
    ),
}


@pytest.mark.parametrize(("given", "why"), HOSTILE.values(), ids=HOSTILE.keys())
def test_what_its_description_does_not_say_is_refused(tmp_path: Path, given: list[Member], why: str) -> None:
    assert why in refused(by_hand(tmp_path / "a.tar.xz", given))


HOLE = "\0" * 10
# GNU's headers of files with holes: one with a second part that is not there; one whose file is said to have
# 2^80 bytes in the archive, of which all is a hole.
SPARSE = {
    "without its second part": (0, {482: b"\x01"}, b""),
    "without end": (1 << 80, {483: b"%011o\0" % len(HOLE)}, bytes(1024)),
}


@pytest.mark.parametrize(("size", "changes", "tail"), SPARSE.values(), ids=SPARSE.keys())
def test_a_header_of_holes_is_refused(
    tmp_path: Path, size: int, changes: dict[int, bytes], tail: bytes
) -> None:
    text, info = (
        described(artifact({"tiny/a.txt": HOLE})),
        member("site/tiny/a.txt", kind=tarfile.GNUTYPE_SPARSE)[0],
    )
    info.size = size
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    for at, content in changes.items():
        header[at : at + len(content)] = content
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    first = member(DESCRIPTION, text)[0].tobuf(tarfile.GNU_FORMAT) + text + bytes(-len(text) % 512)
    (tmp_path / "a.tar.xz").write_bytes(lzma.compress(first + bytes(header) + tail))
    assert "ends too early" in refused(tmp_path / "a.tar.xz")


def test_a_file_that_is_not_there_is_no_artefact(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        read(tmp_path / "none.tar.xz")


@pytest.fixture
def without_lzma(archive: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An archive, and a Python that was built without the module."""
    monkeypatch.setitem(sys.modules, "lzma", None)
    return archive


def test_another_python_decompresses_where_this_one_cannot(without_lzma: Path, tmp_path: Path) -> None:
    archive = without_lzma
    assert len(read(archive, python=sys.executable)) == len(FILES)
    assert "this Python was built without lzma" in refused(archive)
    with opened(str(archive), None, sys.executable) as (found, _, _):
        assert found.files.keys() == FILES.keys()
    with pytest.raises(FileNotFoundError):
        read(archive, python=str(tmp_path / "python3"))


def test_what_another_python_cannot_decompress_is_refused(without_lzma: Path, tmp_path: Path) -> None:
    archive = without_lzma
    content, cut = archive.read_bytes(), tmp_path / "cut.tar.xz"
    for size in (0, 30, len(content) // 2, len(content) - 40):
        cut.write_bytes(content[:size])
        refused(cut, python=sys.executable)
    cut.write_bytes(b"x" * 500)
    refused(cut, python=sys.executable)
    assert "it has the digest" in refused(archive, "0" * 64, sys.executable)
    why = "/bin/false cannot decompress it: it is damaged, or that lacks the module lzma"
    assert refused(archive, python="/bin/false") == why


def bomb(path: Path, kind: bytes, megabytes: int, before: bytes = b"") -> Path:
    """Write a small archive with a header that unpacks to more than any name."""
    head, block = tarfile.TarInfo("././@LongLink"), b"\0" * (1 << 20)
    head.type, head.size = kind, megabytes << 20
    with lzma.open(path, "wb", preset=0) as plain:
        plain.write(before + head.tobuf(tarfile.GNU_FORMAT))
        for _ in range(megabytes):
            plain.write(block)
    return path


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
@pytest.mark.parametrize("described_first", [True, False])
def test_one_that_unpacks_to_any_size_is_left_at_once(
    tmp_path: Path, kind: bytes, described_first: bool
) -> None:
    text = described(artifact())
    first = tarfile.TarInfo("artifact.json")
    first.size = len(text)
    before = first.tobuf() + text + b"\0" * (-len(text) % 512) if described_first else b""
    path = bomb(tmp_path / "a.tar.xz", kind, 64, before)
    assert path.stat().st_size < 1 << 20
    tracemalloc.start()
    try:
        assert refused(path) == "it unpacks to more than its description says"
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


def test_a_disk_that_is_full_is_told() -> None:
    found = artifact()
    with pytest.raises(OSError, match="No space left"):
        pack("/dev/full", described(found), iter(()), 0)
    assert hashlib.sha256(described(found)).hexdigest() == found.digest
