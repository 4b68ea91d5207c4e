"""uv fills a folder from small wheels, without a network; what is packed is the same on every controller."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.p2p.cluster.module_utils.p2p_archive import opened
from ansible_collections.p2p.cluster.module_utils.p2p_artifact import Artifact
from ansible_collections.p2p.cluster.plugins.plugin_utils.artifact.build import (
    BuildError,
    NoWheelError,
    Source,
    as_source,
    build,
)
from ansible_collections.p2p.cluster.plugins.plugin_utils.artifact.target import Target

from tests.support.wheels import lock, program, wheel

OLD = Target("linux-x86_64-glibc-2.17", "x86_64-manylinux_2_17")
NEW = Target("linux-x86_64-glibc-2.28", "x86_64-manylinux_2_28")
MUSL = Target("linux-x86_64-musl", "x86_64-unknown-linux-musl")
MAC = Target("macos-arm64", "aarch64-apple-darwin")
NATIVE = "cp311-cp311-manylinux_2_28_x86_64"


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """A folder of two wheels, one of which needs the other."""
    folder = tmp_path / "wheels"
    wheel(folder, "foo", files={"foo/__init__.py": "", "foo/data/x.txt": "x\n"})
    wheel(folder, "Bar_Baz", needs=["foo"], commands={"bar": "Bar_Baz:main"})
    return folder


def locked(folder: Path, *words: str) -> str:
    return lock(*(path for path in sorted(folder.glob("*.whl")) if not words or path.name.startswith(words)))


def orchestrator(folder: Path) -> dict[str, str]:
    """Return a program with two commands."""
    commands = {"run": "p2p_orchestrator.main:main", "look": "p2p_orchestrator.look:main"}
    files = {f"p2p_orchestrator/{name}.py": "" for name in ("__init__", "main", "look", "never")}
    return program(
        wheel(folder / "program", "p2p-orchestrator", files=files, commands=commands, needs=["foo"])
    )


def built(source: Source, folder: Path, target: Target = OLD, python: str = "3.11") -> Artifact:
    """Build into a new folder."""
    (folder / "scratch").mkdir(parents=True)
    return build(source, target, python, folder / "a.tar.xz", folder / "scratch")


def refused(source: Source, folder: Path, target: Target = OLD, python: str = "3.11") -> BuildError:
    """Return why nothing is built, which is one line."""
    with pytest.raises(BuildError) as error:
        built(source, folder, target, python)
    assert "\n" not in str(error.value)
    assert not (folder / "a.tar.xz").exists()
    return error.value


def test_what_is_built_is_what_its_archive_says(tmp_path: Path, wheels: Path) -> None:
    source = Source("1.0-a", locked(wheels), orchestrator(tmp_path), wheels)
    found = built(source, tmp_path / "out")
    assert (found.release, found.target, found.python) == ("1.0-a", OLD.word, "3.11")
    assert found.packages == {"bar-baz": "1.0", "foo": "1.0", "p2p-orchestrator": "1.0"}
    assert found.tries == ["p2p_orchestrator.look", "p2p_orchestrator.main"]
    with opened(str(tmp_path / "out/a.tar.xz"), found.digest) as (told, _, files):
        contents = {path: content for path, _, content in files}
    assert told == found
    assert contents["foo/data/x.txt"] == b"x\n"
    assert contents.keys() == found.files.keys()
    assert {item.mode for item in found.files.values()} == {"0644"}
    assert {item.package for path, item in found.files.items() if "Bar" in path} == {"bar-baz"}
    assert all(item.package for item in found.files.values())


def test_nothing_is_in_it_that_tells_of_its_build(
    tmp_path: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_COMPILE_BYTECODE", "1")
    found = built(Source("1.0-a", locked(wheels), orchestrator(tmp_path), wheels), tmp_path / "out")
    names = {part for path in found.files for part in path.split("/")}
    assert not names & {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "__pycache__", "bin", ".lock"}
    assert "entry_points.txt" in names
    with opened(str(tmp_path / "out/a.tar.xz")) as (_, text, files):
        everything = text + b"".join(content for _, _, content in files)
    assert str(tmp_path).encode() not in everything


@pytest.fixture
def umask() -> Iterator[None]:
    """The mask of this process, put back."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_two_controllers_build_the_same_bytes(
    tmp_path: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests, archives = set(), set()
    for place, mask in (("one", 0o022), ("two", 0o077), ("three, my own", 0o002)):
        folder = tmp_path / place
        for name in ("home", "tmp"):
            (folder / name).mkdir(parents=True)
        monkeypatch.setenv("HOME", str(folder / "home"))
        monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "home/.cache"))
        monkeypatch.setenv("TMPDIR", str(folder / "tmp"))
        os.umask(mask)
        source = Source("1.0-a", locked(wheels), orchestrator(folder), wheels)
        digests.add(built(source, folder / "out").digest)
        archives.add((folder / "out/a.tar.xz").read_bytes())
        again = built(source, folder / "again")
        digests.add(again.digest)
        archives.add((folder / "again/a.tar.xz").read_bytes())
    assert len(digests) == len(archives) == 1


def test_the_wheel_of_the_platform_is_taken(tmp_path: Path) -> None:
    folder = tmp_path / "wheels"
    for tag in (
        "cp311-cp311-manylinux_2_28_x86_64",
        "cp311-cp311-musllinux_1_2_x86_64",
        "cp312-cp312-macosx_11_0_arm64",
    ):
        wheel(folder, "fast", files={"fast.py": f"TAG = {tag!r}\n"}, tag=tag)
    source = Source("1.0-a", locked(folder), None, folder)
    found = {
        target.word: built(source, tmp_path / target.word, target, python).files["fast.py"].sha256
        for target, python in ((NEW, "3.11"), (MUSL, "3.11"), (MAC, "3.12"))
    }
    assert len(set(found.values())) == 3
    for target, python in ((OLD, "3.11"), (NEW, "3.12"), (MAC, "3.11")):
        error = refused(source, tmp_path / f"{target.word}-{python}-no", target, python)
        assert isinstance(error, NoWheelError)
        assert str(error) == (
            f"fast==1.0 has no wheel for Python {python} on {target.word}, and nothing is built from source:"
            " renew the lock with a version that has one, or name another Python with p2p_release_python"
        )


def test_a_line_for_another_python_plays_no_part(tmp_path: Path, wheels: Path) -> None:
    old = "gone==1.0 ; python_full_version < '3.11' --hash=sha256:" + "0" * 64 + "\n"
    source = Source("1.0-a", locked(wheels) + old, None, wheels)
    assert "gone" not in built(source, tmp_path / "out").packages
    assert "has no wheel of gone==1.0 that" in str(refused(source, tmp_path / "old", python="3.10"))


def test_a_package_for_some_pythons_alone_that_has_no_wheel_is_named(tmp_path: Path) -> None:
    path = wheel(tmp_path / "wheels", "fast", tag=NATIVE)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    text = f"fast==1.0 ; python_full_version < '3.12' --hash=sha256:{digest}\n"
    error = refused(Source("1.0-a", text, None, path.parent), tmp_path / "out")
    assert isinstance(error, NoWheelError)
    assert str(error).startswith("fast==1.0 has no wheel for Python 3.11 on linux-x86_64-glibc-2.17")


def test_a_package_that_has_its_source_alone_is_not_built(tmp_path: Path, wheels: Path) -> None:
    with tarfile.open(wheels / "raw-1.0.tar.gz", "w:gz") as archive:
        for name, text in (
            ("PKG-INFO", b"Metadata-Version: 2.1\nName: raw\nVersion: 1.0\n"),
            ("setup.py", b"raise SystemExit(1)\n"),
        ):
            member = tarfile.TarInfo(f"raw-1.0/{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text))
    digest = hashlib.sha256((wheels / "raw-1.0.tar.gz").read_bytes()).hexdigest()
    error = refused(Source("1.0-a", f"raw==1.0 --hash=sha256:{digest}\n", None, wheels), tmp_path / "out")
    assert isinstance(error, NoWheelError)
    assert str(error).startswith("raw==1.0 has no wheel for Python 3.11 on linux-x86_64-glibc-2.17")


def test_a_lock_that_lacks_a_hash_or_a_package_is_renewed(tmp_path: Path, wheels: Path) -> None:
    error = refused(Source("1.0-a", "foo==1.0\n", None, wheels), tmp_path / "hash")
    assert str(error) == "the lock has foo==1.0 without a hash: renew the lock"
    error = refused(Source("1.0-a", locked(wheels, "Bar"), None, wheels), tmp_path / "package")
    assert str(error) == "the lock lacks foo with its hash, which something in it needs: renew the lock"
    error = refused(
        Source("1.0-a", locked(wheels, "nothing"), orchestrator(tmp_path), wheels), tmp_path / "p"
    )
    assert str(error) == "the lock lacks foo with its hash, which something in it needs: renew the lock"


def test_a_wheel_with_other_bytes_is_not_taken(tmp_path: Path, wheels: Path) -> None:
    text = locked(wheels)
    wheel(wheels, "foo", files={"foo/__init__.py": "import evil\n"})
    error = refused(Source("1.0-a", text, None, wheels), tmp_path / "out")
    assert str(error).startswith("foo==1.0 has other bytes than the lock was made from: renew the lock")


def test_a_program_with_another_hash_is_not_taken(tmp_path: Path, wheels: Path) -> None:
    given = orchestrator(tmp_path) | {"sha256": "0" * 64}
    error = refused(Source("1.0-a", locked(wheels), given, wheels), tmp_path / "out")
    assert "has other bytes" in str(error)


@pytest.mark.parametrize("line", ["gone==1.0", "foo==2.0"])
def test_a_wheel_that_the_folder_lacks_is_named(tmp_path: Path, wheels: Path, line: str) -> None:
    text = f"{line} --hash=sha256:{'0' * 64}\n"
    error = refused(Source("1.0-a", text, None, wheels), tmp_path / "out")
    assert str(error).startswith(
        f"{wheels} has no wheel of {line.partition('==1')[0]} that suits Python 3.11 on"
    )
    assert str(error).endswith("put it there")


def test_a_folder_of_wheels_that_is_none_is_named(tmp_path: Path, wheels: Path) -> None:
    error = refused(Source("1.0-a", locked(wheels), None, tmp_path / "none"), tmp_path / "out")
    assert str(error) == f"p2p_release_wheels: {tmp_path}/none is no directory that can be read"


def test_an_index_that_is_not_reached_is_named_with_the_way_without(
    tmp_path: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    error = str(refused(Source("1.0-a", locked(wheels), None, None), tmp_path / "out"))
    assert error.startswith("the package index was not reached from here (")
    assert "set p2p_release_wheels to a folder" in error


def test_a_lock_that_is_none_is_refused_in_uvs_words(tmp_path: Path, wheels: Path) -> None:
    assert "requirement" in str(refused(Source("1.0-a", "==\n", None, wheels), tmp_path / "out"))


def test_a_name_that_no_node_would_take_is_refused_where_it_is_built(tmp_path: Path, wheels: Path) -> None:
    wheel(wheels, "odd", files={"odd/back\\slash.py": ""})
    error = refused(Source("1.0-a", locked(wheels), None, wheels), tmp_path / "out")
    assert "which no node is given" in str(error)
    error = refused(Source("../x", locked(wheels, "foo"), None, wheels), tmp_path / "release")
    assert str(error) == "what uv installed makes no artefact: its description has '../x' in it"


def test_a_file_of_two_packages_belongs_to_the_same_one_each_time(tmp_path: Path, wheels: Path) -> None:
    shared = {"shared/__init__.py": ""}
    for name in ("zeta", "alpha"):
        wheel(wheels, name, files={**shared, f"shared/{name}.py": ""})
    found = built(Source("1.0-a", locked(wheels, "zeta", "alpha"), None, wheels), tmp_path / "out")
    assert found.files["shared/__init__.py"].package == "zeta"


def test_a_specification_is_read_as_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert as_source({"lock": "x", "wheel": None}, "1.0-a", "") == Source("1.0-a", "x", None, None)
    assert as_source({}, "1.0-a", "~/w").wheels == tmp_path / "w"
    # uv runs elsewhere.
    assert as_source({}, "1.0-a", "w").wheels == tmp_path / "w"
