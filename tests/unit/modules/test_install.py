"""An artefact unpacked for the Python that runs the tests: what it holds runs there, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from module_utils.p2p_artifact import Artifact, ArtifactError, described
from module_utils.p2p_install import NeededError, install
from module_utils.p2p_installed import check, check_interpreter, own_parts, unbroken
from module_utils.p2p_python import Interpreter, ask
from tests.support.artifacts import FILES, MINOR, packed

UNCHECKED_HASH = 1
RECORDED = "/opt/p2p/current/venv"


@pytest.fixture(scope="module")
def interpreter() -> Interpreter:
    return ask(sys.executable)


class Node:
    """A folder for releases, and what is installed there."""

    def __init__(self, folder: Path, interpreter: Interpreter) -> None:
        self.folder, self.interpreter = folder, interpreter

    def install(
        self, found: Artifact, digest: str = "", name: str = "release", older: tuple[str, ...] = ()
    ) -> dict[str, Any]:
        release = self.folder / name
        release.mkdir()
        return install(
            str(self.folder / "a.tar.xz"),
            digest or found.digest,
            str(release),
            self.interpreter,
            older=[str(self.folder / one) for one in older],
            recorded=RECORDED,
        )

    def finish(self, found: Artifact, name: str) -> None:
        """Install a release and write its manifest."""
        told = self.install(found, name=name)
        (self.folder / name / "manifest.json").write_text(json.dumps(told | {"name": name, "files": []}))

    def packed(self, files: dict[str, str] | None = None, **words: Any) -> Artifact:
        return packed(self.folder / "a.tar.xz", FILES if files is None else files, **words)

    @property
    def venv(self) -> Path:
        return self.folder / "release" / "venv"

    @property
    def site(self) -> Path:
        return self.venv / "lib" / f"python{MINOR}" / "site-packages"

    def says(self, code: str) -> str:
        """Return what the environment's Python prints."""
        words = [str(self.venv / "bin/python"), "-I", "-c", code]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def node(tmp_path: Path, interpreter: Interpreter) -> Node:
    return Node(tmp_path, interpreter)


@pytest.fixture
def umask() -> Iterator[None]:
    """As the module sets it."""
    before = os.umask(0o022)
    yield
    os.umask(before)


pytestmark = pytest.mark.usefixtures("umask")


def test_what_is_installed_runs_and_sees_nothing_from_outside(node: Node) -> None:
    node.install(node.packed())
    assert node.says("import tiny, other; print(tiny.VALUE, other.VALUE)") == "1 2"
    assert node.says("import sys; print(sys.prefix)") == str(node.venv)
    path = json.loads(node.says("import json, sys; print(json.dumps(sys.path))"))
    assert [one for one in path if one.endswith(("site-packages", "dist-packages"))] == [str(node.site)]
    for name in ("pytest", "ansible", "pip", "setuptools"):
        assert node.says(f"import importlib.util as u; print(u.find_spec({name!r}))") == "None"
    words = [str(node.venv / "bin/python"), "-m", "tiny"]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "tiny\n"


def test_what_is_remembered_of_it_is_what_is_there(node: Node, interpreter: Interpreter) -> None:
    found = node.packed(modes={"tiny/__main__.py": "0755"})
    told = node.install(found)
    assert told["artifact"] == found.digest
    assert told["packages"] == {"other": "1.0", "tiny": "1.0"}
    assert (told["target"], told["python"], told["python_version"]) == (
        found.target,
        interpreter.path,
        MINOR,
    )
    assert told["parts"] == own_parts(str(node.venv))
    assert set(told["parts"]) == {"pyvenv.cfg", "bin/python"}
    assert unbroken(str(node.venv), told["seal"])
    assert check(str(node.venv), found) == []
    assert check_interpreter(str(node.venv), MINOR) is None
    assert (node.folder / "release/artifact.json").read_bytes() == described(found)
    json.dumps(told)


def test_running_it_breaks_no_seal(node: Node) -> None:
    told = node.install(node.packed())
    node.says("import tiny, other, tiny.__main__")
    assert unbroken(str(node.venv), told["seal"])


def test_modes_are_those_of_the_artefact_whatever_the_mask_is(node: Node) -> None:
    os.umask(0o077)
    node.install(node.packed(modes={"tiny/data.txt": "0755"}))
    assert (node.site / "tiny/data.txt").stat().st_mode & 0o7777 == 0o755
    assert (node.site / "other.py").stat().st_mode & 0o7777 == 0o644


def test_bytecode_is_never_compared_with_its_source(node: Node) -> None:
    node.install(node.packed())
    compiled = sorted(node.site.rglob("*.pyc"))
    assert [path.name.partition(".")[0] for path in compiled] == ["other", "__init__", "__main__"]
    for path in compiled:
        assert int.from_bytes(path.read_bytes()[4:8], "little") == UNCHECKED_HASH
    os.utime(node.site / "other.py", (time.time() + 60, time.time() + 60))
    before = compiled[0].stat().st_mtime_ns
    assert node.says("import other; print(other.VALUE)") == "2"
    assert compiled[0].stat().st_mtime_ns == before


def test_what_cannot_be_compiled_is_no_module_and_stops_nothing(node: Node) -> None:
    node.install(node.packed({**FILES, "tiny/template.py": "{{ name }} = \n"}))
    assert node.says("import tiny; print(tiny.VALUE)") == "1"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("import gone_for_good\n", "ModuleNotFoundError: No module named 'gone_for_good'"),
        ("raise ImportError('GLIBC_2.38 not found\\nrequired by x.so')\n", "required by x.so"),
        ("import sys; sys.exit(7)\n", "exit status 7"),
        ("import os; os.kill(os.getpid(), 9)\n", "exit status -9"),
    ],
)
def test_a_program_that_cannot_be_imported_is_refused_in_one_line(node: Node, text: str, why: str) -> None:
    with pytest.raises(ArtifactError) as refused:
        node.install(node.packed({**FILES, "tiny/main.py": text}, tries=["tiny", "tiny.main"]))
    assert str(refused.value) == (
        f"what it holds, for linux-x86_64-glibc-2.17, does not run on this node: {why}"
    )


def test_nothing_that_surrounds_a_run_leads_elsewhere(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    (node.folder / "evil").mkdir()
    (node.folder / "evil/tiny.py").write_text("raise SystemExit('evil')\n")
    (node.folder / "evil/compileall.py").write_text("raise SystemExit('evil')\n")
    monkeypatch.setenv("PYTHONPATH", str(node.folder / "evil"))
    monkeypatch.setenv("PYTHONHOME", str(node.folder / "evil"))
    monkeypatch.chdir(node.folder / "evil")
    node.install(node.packed())


def test_one_for_another_python_is_refused(node: Node, interpreter: Interpreter) -> None:
    with pytest.raises(ArtifactError) as refused:
        node.install(node.packed(python="3.99"))
    assert str(refused.value) == f"it is for Python 3.99, and {interpreter.path} is {MINOR}"
    assert not node.venv.exists()


def test_another_artefact_is_refused(node: Node) -> None:
    with pytest.raises(ArtifactError, match="it has the digest"):
        node.install(node.packed(), digest="0" * 64)
    assert not node.venv.exists()


def test_one_that_ends_too_early_is_refused(node: Node) -> None:
    found = node.packed()
    archive = node.folder / "a.tar.xz"
    archive.write_bytes(archive.read_bytes()[:-100])
    with pytest.raises(ArtifactError, match="ends too early"):
        node.install(found)


NEWER = {**FILES, "tiny/__init__.py": "VALUE = 3\n", "third.py": "VALUE = 4\n"}
LEFT_OUT = ("tiny/__init__.py", "third.py")


@pytest.fixture
def updated(node: Node) -> Artifact:
    """A newer artefact of which the archive has what an older release has not."""
    node.finish(node.packed(), "old")
    return node.packed(NEWER, brought=LEFT_OUT)


def test_what_an_archive_leaves_out_comes_from_an_older_release(node: Node, updated: Artifact) -> None:
    node.install(updated, older=("old",))
    assert check(str(node.venv), updated) == []
    assert node.says("import tiny, other, third; print(tiny.VALUE, other.VALUE, third.VALUE)") == "3 2 4"
    assert node.says("import other; print(other.__file__)") == str(node.site / "other.py")


def test_its_bytecode_comes_along_and_records_no_release(node: Node, updated: Artifact) -> None:
    old = node.folder / "old/venv/lib" / f"python{MINOR}" / "site-packages/__pycache__"
    (before,) = old.glob("other.*.pyc")
    node.install(updated, older=("old",))
    (after,) = (node.site / "__pycache__").glob("other.*.pyc")
    assert after.read_bytes() == before.read_bytes()
    assert before.stat().st_ino != after.stat().st_ino
    assert f"{RECORDED}/lib/python{MINOR}/site-packages/other.py".encode() in after.read_bytes()


def test_bytecode_that_was_touched_is_made_anew(node: Node, updated: Artifact) -> None:
    old = node.folder / "old/venv/lib" / f"python{MINOR}" / "site-packages/__pycache__"
    (pyc,) = old.glob("other.*.pyc")
    pyc.write_bytes(pyc.read_bytes()[:20])
    node.install(updated, older=("old",))
    assert node.says("import other; print(other.VALUE)") == "2"


@pytest.mark.parametrize("harm", ["other.py", "tiny/data.txt"])
def test_nothing_is_taken_from_a_release_that_was_touched(node: Node, updated: Artifact, harm: str) -> None:
    site = node.folder / "old/venv/lib" / f"python{MINOR}" / "site-packages"
    (site / harm).write_text((site / harm).read_text())
    with pytest.raises(NeededError, match="is in no release on the node"):
        node.install(updated, older=("old",))


def test_nothing_is_taken_from_a_release_of_an_earlier_version(node: Node, updated: Artifact) -> None:
    (node.folder / "old/manifest.json").write_text(json.dumps({"name": "old", "seal": "x", "records": {}}))
    with pytest.raises(NeededError):
        node.install(updated, older=("old", "nowhere"))


def test_a_library_that_cannot_be_loaded_is_refused(node: Node) -> None:
    with pytest.raises(ArtifactError, match=r"does not run on this node: OSError: .*tiny/fast.so: .*"):
        node.install(node.packed({**FILES, "tiny/fast.so": "no library\n"}))
