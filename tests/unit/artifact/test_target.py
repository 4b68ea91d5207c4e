"""Which artefact a node needs: its platform, of the oldest C library first, and its Python."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.p2p.cluster.plugins.plugin_utils.artifact.target import (
    Need,
    Target,
    UnfitError,
    need,
    python,
    targets,
)

KNOWN = ["3.14", "3.13", "3.12", "3.11", "3.10"]


def platform(system: str = "Linux", machine: str = "x86_64", libc: str | None = None) -> dict[str, Any]:
    return {"system": system, "machine": machine, "libc": libc}


def there(*versions: str | None, named: bool = False) -> list[dict[str, Any]]:
    found = [{"path": f"/usr/bin/{version}", "version": version, "named": False} for version in versions]
    return [found[0] | {"named": True}, *found[1:]] if named else found


@pytest.mark.parametrize(
    ("probe", "word", "uv"),
    [
        (platform(libc="glibc 2.17"), "linux-x86_64-glibc-2.17", "x86_64-manylinux_2_17"),
        (platform(libc="glibc 2.36"), "linux-x86_64-glibc-2.17", "x86_64-manylinux_2_17"),
        (
            platform(machine="aarch64", libc="glibc 2.35.1"),
            "linux-aarch64-glibc-2.17",
            "aarch64-manylinux_2_17",
        ),
        (platform(libc="musl"), "linux-x86_64-musl", "x86_64-unknown-linux-musl"),
        (platform(machine="aarch64", libc="musl"), "linux-aarch64-musl", "aarch64-unknown-linux-musl"),
        (platform("Darwin", "arm64"), "macos-arm64", "aarch64-apple-darwin"),
        (platform("Darwin", "x86_64"), "macos-x86_64", "x86_64-apple-darwin"),
    ],
)
def test_the_one_for_most_nodes_comes_first(probe: dict[str, Any], word: str, uv: str) -> None:
    assert targets(probe)[0] == Target(word, uv)


@pytest.mark.parametrize(
    ("libc", "minors"),
    [
        ("glibc 2.17", ["17"]),
        ("glibc 2.27", ["17"]),
        ("glibc 2.28", ["17", "28"]),
        ("glibc 2.34", ["17", "28", "31", "32", "33", "34"]),
    ],
)
def test_no_newer_glibc_than_the_nodes_is_named(libc: str, minors: list[str]) -> None:
    assert [one.word.rpartition(".")[2] for one in targets(platform(libc=libc))] == minors
    assert [one.uv.rpartition("_")[2] for one in targets(platform(libc=libc))] == minors


def test_a_glibc_of_the_future_runs_what_is_built_for_all_that_are_known() -> None:
    assert targets(platform(libc="glibc 2.99")) == targets(platform(libc="glibc 2.40"))


def test_a_glibc_that_is_too_old_is_named() -> None:
    with pytest.raises(UnfitError, match=r"it has glibc 2\.12, and packages are built for glibc 2\.17"):
        targets(platform(libc="glibc 2.12"))


@pytest.mark.parametrize(
    ("probe", "words"),
    [
        (platform("FreeBSD", "amd64"), "it is FreeBSD on amd64, and"),
        (platform(machine="armv7l", libc="glibc 2.36"), "it is Linux on armv7l with glibc 2.36, and"),
        (platform(machine="riscv64", libc="musl"), "it is Linux on riscv64 with musl, and"),
        (platform(), "it is Linux on x86_64, and"),
        (platform("Darwin", "powerpc"), "it is Darwin on powerpc, and"),
        ({}, "it is None on None, and"),
    ],
)
def test_a_platform_that_nothing_is_built_for_is_named(probe: dict[str, Any], words: str) -> None:
    with pytest.raises(UnfitError) as refused:
        targets(probe)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "libc", ["glibc 3.1", "glibc", "glibc 2.", "glibc 2.17; x", "glibc 2.-1", "glibc 2.9999", "GLIBC 2.36"]
)
def test_a_c_library_that_cannot_be_read_is_no_glibc(libc: str) -> None:
    with pytest.raises(UnfitError, match="releases are built for Linux with glibc or musl"):
        targets(platform(libc=libc))


@pytest.mark.parametrize("machine", ["../x86_64", "x86_64 --index-url=x", "", "x86_64\n", None, 7])
def test_no_word_of_a_node_becomes_one_of_a_command(machine: Any) -> None:
    for system in ("Linux", "Darwin"):
        with pytest.raises(UnfitError):
            targets({"system": system, "machine": machine, "libc": "glibc 2.36"})


@pytest.mark.parametrize(
    ("pythons", "chosen"),
    [
        (there("3.11"), "3.11"),
        (there("3.9", "3.11", "3.13"), "3.13"),
        (there("3.15", "3.12"), "3.12"),
        (there(None, "3.10"), "3.10"),
        (there("3.10", "3.13", named=True), "3.10"),
    ],
)
def test_the_python_is_the_named_one_or_the_first_that_the_lock_has(
    pythons: list[dict[str, Any]], chosen: str
) -> None:
    assert python(pythons, KNOWN) == chosen


def test_the_order_of_what_is_known_counts() -> None:
    assert python(there("3.13", "3.11"), ["3.11", "3.13"]) == "3.11"


@pytest.mark.parametrize(
    ("pythons", "words"),
    [
        ([], "it has no python3 in the usual places, and the lock has packages for Python 3.10, 3.11"),
        (there(None), "it has no python3 in the usual places"),
        (there("3.9", "3.8"), "its newest Python is 3.9, and the orchestrator needs 3.10 or newer"),
        (there("3.15"), "its Python is 3.15, and the lock has packages for Python 3.10, 3.11, 3.12, 3.13"),
        (there("3.9", "3.11", named=True), "p2p_release_python names /usr/bin/3.9, which is Python 3.9"),
        (there(None, "3.11", named=True), "p2p_release_python names /usr/bin/None, which does not run"),
    ],
)
def test_a_python_that_will_not_do_is_named_with_the_remedy(
    pythons: list[dict[str, Any]], words: str
) -> None:
    with pytest.raises(UnfitError) as refused:
        python(pythons, KNOWN)
    assert words in str(refused.value)
    assert "p2p_release_python" in str(refused.value)


def test_what_a_node_needs_is_both() -> None:
    probe: dict[str, Any] = {"platform": platform(libc="musl"), "pythons": there("3.12")}
    assert need(probe, KNOWN) == Need(targets(probe["platform"]), "3.12")
    with pytest.raises(UnfitError):
        need({}, KNOWN)
