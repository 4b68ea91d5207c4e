"""Which wheels are fetched for another machine."""

from __future__ import annotations

import re
import tracemalloc
from pathlib import Path

import pytest
from ansible.errors import AnsibleError

from lookup_plugins.p2p_pip import bundled
from lookup_plugins.p2p_wheels import archive, asked, tags

LOCK = (Path(__file__).parents[3] / "requirements" / "node.txt").read_text()


def names(python: str) -> set[str]:
    return set(re.findall(r"^([a-z0-9-]+)==", asked(LOCK, python, "x86_64"), re.MULTILINE))


def test_the_markers_are_those_of_the_node_not_of_the_controller() -> None:
    assert names("3.10") - names("3.12") == {"async-timeout"}
    assert ";" not in asked(LOCK, "3.10", "x86_64")
    # Every file keeps its digests.
    text = asked(LOCK, "3.10", "x86_64")
    assert text.count("--hash=sha256:") > 10 * len(names("3.10"))


def test_the_platforms_that_a_c_library_takes() -> None:
    found = tags({"system": "Linux", "machine": "aarch64", "libc": "glibc 2.31"})
    assert found[0] == "manylinux_2_31_aarch64"
    assert {"manylinux_2_17_aarch64", "manylinux2014_aarch64"} <= set(found)
    musl = tags({"system": "Linux", "machine": "x86_64", "libc": "musl"})
    assert musl == ["musllinux_1_2_x86_64", "musllinux_1_1_x86_64"]


@pytest.mark.parametrize("platform", [{"system": "Darwin", "machine": "arm64", "libc": None}, {}])
def test_what_is_not_known_is_refused_with_the_way_out(platform: dict[str, str]) -> None:
    with pytest.raises(AnsibleError, match=r"for Linux alone.*p2p_venv_wheels"):
        tags(platform)


@pytest.mark.parametrize(
    "platform",
    [
        {"libc": "glibc 2.4"},
        {"libc": "glibc 2.100"},
        {"libc": "glibc 2.2000000"},
        {"libc": "glibc 2." + "9" * 60},
        {"libc": "glibc 2.31", "machine": "x86_64;x"},
        {"libc": "musl", "machine": "../../x"},
    ],
)
def test_what_no_machine_has_is_refused_and_costs_nothing(platform: dict[str, str], tmp_path: Path) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(AnsibleError, match=r"^p2p_wheels: "):
            archive(LOCK, "3.11", {"system": "Linux", "machine": "x86_64", **platform}, tmp_path)
        # 2,000,000 words for pip were 183 MB.
        assert tracemalloc.get_traced_memory()[1] < 5 << 20
    finally:
        tracemalloc.stop()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("python", ["--index-url=http://x", "3.11.2", "4.0", "3.", ""])
def test_what_is_no_python_is_refused(python: str, tmp_path: Path) -> None:
    with pytest.raises(AnsibleError, match="is no Python that wheels are made for"):
        archive(LOCK, python, {"system": "Linux", "machine": "x86_64", "libc": "musl"}, tmp_path)


def test_the_controllers_python_brings_a_pip() -> None:
    found = bundled()
    assert found["filename"] == f"pip-{found['version']}-py3-none-any.whl"
