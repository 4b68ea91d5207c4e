"""The description of an artefact: read as it was written, and refused where it holds what none has."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from module_utils.p2p_artifact import (
    LARGEST_FILE,
    Artifact,
    ArtifactError,
    File,
    described,
    digest_of,
    plain_path,
    read_description,
)
from tests.support.artifacts import artifact

SUM = "a" * 64
GOOD = json.loads(
    described(artifact({"tiny/a.py": "", "tiny/b/c.py": "", "tiny-1.0.dist-info/METADATA": ""}))
)


def test_a_description_is_read_as_it_was_written() -> None:
    for found in (artifact(), artifact({}), artifact({"tiny/ä b.txt": "ü"}, modes={"tiny/ä b.txt": "0755"})):
        text = described(found)
        assert read_description(text) == found
        assert found.digest == digest_of(text)
        assert described(read_description(text)) == text


def test_the_same_contents_have_the_same_bytes_in_whichever_order_they_are_given() -> None:
    found = artifact()
    turned = found._replace(
        files=dict(reversed(found.files.items())), packages=dict(reversed(found.packages.items()))
    )
    assert described(turned) == described(found)
    assert described(found._replace(release="1.0-b")) != described(found)


def changed(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda value: value.update(values)


def with_file(path: str, *item: Any) -> Callable[[dict[str, Any]], None]:
    return lambda value: value["files"].update({path: list(item or ("0644", 0, SUM, "tiny"))})


HOSTILE: dict[str, Callable[[dict[str, Any]], Any]] = {
    "an absolute path": with_file("/etc/passwd"),
    "a path upwards": with_file("tiny/../../x"),
    "a path of dots": with_file(".."),
    "a path with a dot": with_file("./tiny/x"),
    "a path with nothing between": with_file("tiny//x"),
    "a path that ends like a folder's": with_file("tiny/"),
    "an empty path": with_file(""),
    "bytecode": with_file("tiny/__pycache__/a.cpython-311.pyc"),
    "a folder of bytecode": with_file("__pycache__"),
    "a backslash": with_file("tiny\\x"),
    "a null": with_file("tiny/\x00"),
    "a line's end": with_file("tiny/a\nb"),
    "a control character": with_file("tiny/\x1b[2J"),
    "a control character of the second kind": with_file("tiny/\x9b2J"),
    "a line's end of its own": with_file("tiny/\u2028"),
    "half a character": with_file("tiny/\ud800"),
    "a file where a folder is": with_file("tiny"),
    "a file where a deeper folder is": with_file("tiny/b"),
    "a mode that gives rights": with_file("tiny/x", "4755", 0, SUM, "tiny"),
    "a mode for all to write": with_file("tiny/x", "0666", 0, SUM, "tiny"),
    "a mode of a number": with_file("tiny/x", 0o644, 0, SUM, "tiny"),
    "a negative size": with_file("tiny/x", "0644", -1, SUM, "tiny"),
    "a size that no file has": with_file("tiny/x", "0644", LARGEST_FILE + 1, SUM, "tiny"),
    "a size that is true": with_file("tiny/x", "0644", True, SUM, "tiny"),
    "a broken size": with_file("tiny/x", "0644", 1.0, SUM, "tiny"),
    "a size without end": with_file("tiny/x", "0644", float("inf"), SUM, "tiny"),
    "a short digest": with_file("tiny/x", "0644", 0, SUM[1:], "tiny"),
    "a digest in capitals": with_file("tiny/x", "0644", 0, SUM.upper(), "tiny"),
    "a digest with a line's end": with_file("tiny/x", "0644", 0, SUM + "\n", "tiny"),
    "a digest that is none": with_file("tiny/x", "0644", 0, None, "tiny"),
    "a package that is unknown": with_file("tiny/x", "0644", 0, SUM, "gone"),
    "a package that is none": with_file("tiny/x", "0644", 0, SUM, None),
    "a package that is a list": with_file("tiny/x", "0644", 0, SUM, ["tiny"]),
    "a file of too little": with_file("tiny/x", "0644", 0, SUM),
    "a file of too much": with_file("tiny/x", "0644", 0, SUM, "tiny", 1),
    "files in a list": changed(files=[["tiny/x", "0644", 0, SUM, "tiny"]]),
    "a file that is a number": changed(files={"tiny/x": 7}),
    "no files": lambda value: value.pop("files"),
    "no tries": lambda value: value.pop("tries"),
    "a key that is unknown": changed(scripts=["x"]),
    "another format": changed(format=2),
    "a format that is true": changed(format=True),
    "a format in words": changed(format="1"),
    "a format of many lines": changed(format="1\n" * 1000),
    "a release upwards": changed(release="../x"),
    "a release with a space": changed(release="1 0"),
    "a release that is too long": changed(release="1" * 101),
    "a release that is none": changed(release=None),
    "a target with a slash": changed(target="linux/x86_64"),
    "a target with a line's end": changed(target="linux\n"),
    "a python of another age": changed(python="2.7"),
    "a whole python": changed(python="3.11.2"),
    "a python with an option": changed(python="3.11 -m x"),
    "a python that is a number": changed(python=3.11),
    "a package with an option": changed(packages={"--index-url": "1", "tiny": "1"}),
    "a version with a space": changed(packages={"tiny": "1 0"}),
    "a version that is a number": changed(packages={"tiny": 1}),
    "packages of no two": changed(packages=[1]),
    "a module with an option": changed(tries=["-c"]),
    "a module with a slash": changed(tries=["tiny/x"]),
    "a module that is a call": changed(tries=["tiny;x"]),
    "a module in pieces": changed(tries=["tiny..x"]),
    "tries that are a number": changed(tries=7),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_no_artefact_has_is_refused_in_one_line(change: Callable[[dict[str, Any]], Any]) -> None:
    value = json.loads(json.dumps(GOOD))
    read_description(json.dumps(value).encode("ascii"))
    change(value)
    with pytest.raises(ArtifactError, match="its description") as refused:
        read_description(json.dumps(value).encode("ascii"))
    assert len(str(refused.value).splitlines()) == 1
    assert len(str(refused.value)) < 1000


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"7",
        b'"x"',
        b"\xff",
        json.dumps({**GOOD, "release": "ä"}, ensure_ascii=False).encode(),
        b"[" * 100_000,
        b'{"files": ' * 50_000,
        b'{"format": ' + b"9" * 100_000 + b"}",
        b"\x00" * 100_000,
        b"\xef\xbb\xbf{}",
    ],
    ids=range(13),
)
def test_what_is_no_description_is_refused_in_one_line(text: bytes) -> None:
    with pytest.raises(ArtifactError, match="its description cannot be read") as refused:
        read_description(text)
    assert len(str(refused.value).splitlines()) == 1
    assert len(str(refused.value)) < 1000


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=9), st.lists, max_leaves=5))
def test_no_value_in_the_place_of_another_does_more_than_be_refused(value: Any) -> None:
    for key in GOOD:
        try:
            found = read_description(json.dumps({**GOOD, key: value}).encode("ascii"))
        except ArtifactError:
            continue
        assert isinstance(found, Artifact)


@given(st.text())
def test_a_plain_path_stays_where_it_is(path: str) -> None:
    if plain_path(path):
        assert not path.startswith("/")
        assert ".." not in path.split("/")
        assert len(path.splitlines()) == 1
        path.encode("utf-8")


def test_what_is_no_text_is_no_path() -> None:
    assert not plain_path(None)
    assert not plain_path(b"x")
    assert plain_path("tiny/..x/.y/z..")
    assert File("0644", 0, SUM, "").package == ""
