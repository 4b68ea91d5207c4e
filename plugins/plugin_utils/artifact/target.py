"""Which artefact a node needs, by what it says of its platform and its Pythons."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

# The releases of glibc 2 that uv resolves for, the oldest first: whatever has wheels for it runs on all newer
# ones.
_GLIBC = (17, 28, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40)
_MACHINES = ("x86_64", "aarch64")
_MACS = {"arm64": "aarch64", "x86_64": "x86_64"}
# Platforms by the words of people who build artefacts elsewhere, each as a probe tells of it.
PLATFORMS: dict[str, dict[str, str]] = {
    "linux-x86_64": {"system": "Linux", "machine": "x86_64", "libc": f"glibc 2.{_GLIBC[-1]}"},
    "linux-aarch64": {"system": "Linux", "machine": "aarch64", "libc": f"glibc 2.{_GLIBC[-1]}"},
    "linux-x86_64-musl": {"system": "Linux", "machine": "x86_64", "libc": "musl"},
    "linux-aarch64-musl": {"system": "Linux", "machine": "aarch64", "libc": "musl"},
    "macos-arm64": {"system": "Darwin", "machine": "arm64"},
    "macos-x86_64": {"system": "Darwin", "machine": "x86_64"},
}
_LIBC = re.compile(r"glibc 2\.([0-9]{1,3})(?:\.[0-9]+)?")
_OTHER_SYSTEM = "rent it with another system, or take it out of the fleet file (p2p_enabled: false)"
OLDEST = "3.10"
# What of a node's drift is mended by a release that is made.
MADE = ("package", "release", "venv")


def lacks_release(probe: Mapping[str, Any]) -> bool:
    """Tell whether a release is to be made on a node, or to become current, by what it says of itself."""
    return any(item["part"] in MADE for item in probe.get("drift") or [])


class UnfitError(Exception):
    """A node that no artefact is built for; the message says why, and what would help."""


class Target(NamedTuple):
    """A platform: its name in an artefact, and what uv calls it."""

    word: str
    uv: str


class Need(NamedTuple):
    """What a node needs: one of `targets`, of which the first that has wheels is taken, for one Python."""

    targets: tuple[Target, ...]
    python: str


def targets(platform: Mapping[str, Any]) -> tuple[Target, ...]:
    """Return the platforms whose artefacts run on a node, the one for most nodes first.

    Args:
        platform: What the probe says of it.

    Raises:
        UnfitError: there are none.
    """
    system, machine = platform.get("system"), str(platform.get("machine"))
    libc = str(platform.get("libc") or "")
    if system == "Darwin" and machine in _MACS:
        return (Target(f"macos-{machine}", f"{_MACS[machine]}-apple-darwin"),)
    if system == "Linux" and machine in _MACHINES and libc == "musl":
        return (Target(f"linux-{machine}-musl", f"{machine}-unknown-linux-musl"),)
    found = _LIBC.fullmatch(libc)
    if system == "Linux" and machine in _MACHINES and found:
        fit = [minor for minor in _GLIBC if minor <= int(found[1])]
        if not fit:
            raise UnfitError(
                f"it has {libc}, and packages are built for glibc 2.{_GLIBC[0]} and newer: {_OTHER_SYSTEM}"
            )
        return tuple(
            Target(f"linux-{machine}-glibc-2.{minor}", f"{machine}-manylinux_2_{minor}") for minor in fit
        )
    raise UnfitError(
        f"it is {system} on {machine}{f' with {libc}' if libc else ''}, and releases are built for Linux with"
        f" glibc or musl on x86_64 and aarch64, and for macOS: {_OTHER_SYSTEM}"
    )


def python(pythons: Sequence[Mapping[str, Any]], known: Sequence[str]) -> str:
    """Return the minor version of the Python that a node runs a release with.

    Args:
        pythons: What the probe says of them: the one that the user named for the node, else the newest first.
        known: The versions that the lock has packages for, the newest first.

    Raises:
        UnfitError: there is none.
    """
    there = [(str(item.get("path")), item.get("version")) for item in pythons]
    if pythons and pythons[0].get("named"):
        path, version = there[0]
        if version is None:
            raise UnfitError(f"p2p_release_python names {path}, which does not run there as a Python")
        if version not in known:
            raise UnfitError(
                f"p2p_release_python names {path}, which is Python {version}, and {_known(known)}"
            )
        return str(version)
    versions = [str(version) for _, version in there if version]
    fit = [version for version in known if version in versions]
    if fit:
        return fit[0]
    remedy = "install such a one beside it, or name one with p2p_release_python"
    if not versions:
        raise UnfitError(f"it has no python3 in the usual places, and {_known(known)}: {remedy}")
    newest = max(versions, key=_number)
    if _number(newest) < _number(OLDEST):
        raise UnfitError(
            f"its newest Python is {newest}, and the orchestrator needs {OLDEST} or newer: install one beside"
            " it, or name one with p2p_release_python"
        )
    raise UnfitError(f"its Python is {newest}, and {_known(known)}: {remedy}")


def need(probe: Mapping[str, Any], known: Sequence[str]) -> Need:
    """Return what a node needs.

    Args:
        probe: What it says of itself.
        known: As for `python`.

    Raises:
        UnfitError: nothing is built for it.
    """
    return Need(targets(probe.get("platform") or {}), python(probe.get("pythons") or [], known))


def _known(known: Sequence[str]) -> str:
    return f"the lock has packages for Python {', '.join(sorted(known, key=_number))} (p2p_release_pythons)"


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
