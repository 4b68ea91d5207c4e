"""Markers and locks, compared with what packaging says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.markers import Marker, default_environment

from module_utils.p2p_requirements import MarkerError, marker_holds, normal_name, packages_for

VERSIONS = st.sampled_from(["3.8", "3.9", "3.10", "3.11", "3.11.2", "3.12.0", "3.13", "3"])
OPS = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
TEXT_KEYS = st.sampled_from(["sys_platform", "platform_machine", "os_name", "implementation_name"])
TEXTS = st.sampled_from(["linux", "darwin", "x86_64", "arm64", "posix", "cpython"])
SIMPLE = st.one_of(
    st.builds("{} {} '{}'".format, st.sampled_from(["python_version", "python_full_version"]), OPS, VERSIONS),
    st.builds("'{}' {} python_full_version".format, VERSIONS, OPS),
    st.builds('{} {} "{}"'.format, TEXT_KEYS, st.sampled_from(["==", "!="]), TEXTS),
    st.builds("python_version ~= '{}'".format, st.sampled_from(["3.10", "3.11", "3.8"])),
    st.builds("python_version == '{}.*'".format, st.sampled_from(["3.10", "3.11", "3"])),
    st.builds("'{}' in sys_platform".format, st.sampled_from(["linux", "lin", "win"])),
    st.builds("'{}' not in sys_platform".format, st.sampled_from(["linux", "win"])),
)
MARKERS = st.recursive(
    SIMPLE,
    lambda inner: st.one_of(
        st.builds("{} and {}".format, inner, inner),
        st.builds("{} or {}".format, inner, inner),
        st.builds("({})".format, inner),
    ),
    max_leaves=6,
)
NODES = [
    {
        "python_version": "3.11",
        "python_full_version": "3.11.2",
        "sys_platform": "linux",
        "platform_machine": "x86_64",
    },
    {
        "python_version": "3.10",
        "python_full_version": "3.10.12",
        "sys_platform": "linux",
        "platform_machine": "aarch64",
    },
    {
        "python_version": "3.13",
        "python_full_version": "3.13.0",
        "sys_platform": "darwin",
        "platform_machine": "arm64",
    },
]


@given(MARKERS, st.sampled_from(NODES))
def test_markers_mean_what_packaging_says(marker: str, node: dict[str, str]) -> None:
    environment = {**{key: str(value) for key, value in default_environment().items()}, **node}
    assert marker_holds(marker, environment) == Marker(marker).evaluate(environment)


@pytest.mark.parametrize(
    "marker",
    ["", "python_version <", "foo == '1'", "(os_name == 'a'", "os_name == 'a' 'b'", "os_name < 'a'", "$"],
)
def test_markers_that_are_not_understood(marker: str) -> None:
    with pytest.raises(MarkerError):
        marker_holds(marker, {"os_name": "posix", "python_version": "3.11"})


def test_packages_depend_on_the_interpreter() -> None:
    lock = ["A.b_c==1", "async-timeout==5 ; python_full_version < '3.11'", "x[y]==2.0.post1"]
    assert packages_for(lock, {"python_full_version": "3.10.1"}) == {
        "a-b-c": "1",
        "async-timeout": "5",
        "x": "2.0.post1",
    }
    assert packages_for(lock, {"python_full_version": "3.11.0"}) == {"a-b-c": "1", "x": "2.0.post1"}


@pytest.mark.parametrize("line", ["idna", "idna>=3", "git+https://example.com/x", "./x.whl"])
def test_a_lock_that_is_not_pinned(line: str) -> None:
    with pytest.raises(MarkerError, match="pinned"):
        packages_for([line], {})


def test_names_as_indexes_compare_them() -> None:
    assert normal_name("Foo._-Bar") == "foo-bar"
