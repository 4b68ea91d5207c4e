"""Builds an artefact: uv fills a folder from the lock, which is described and packed.

uv resolves for the node's platform and Python, of which it needs neither. The same lock gives the same
contents everywhere: every file comes out of a wheel whose hash the lock has, and what tells of the building
machine goes.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from ansible_collections.p2p.cluster.module_utils.p2p_archive import pack
from ansible_collections.p2p.cluster.module_utils.p2p_artifact import (
    Artifact,
    ArtifactError,
    File,
    described,
    plain_path,
    read_description,
)
from packaging.utils import canonicalize_name
from uv import find_uv_bin

from .target import Target

SECONDS = 600
# What the fifth part of the highest effort gains is lost on one node that waits for it.
PRESET = 2
# Of a package's own folder what tells how and where it was installed.
_ABOUT_THE_BUILD = {"INSTALLER", "RECORD", "REQUESTED", "direct_url.json", "uv_build.json", "uv_cache.json"}
_SCRIPTS = "bin"  # their first line names the builder's Python
_OFFLINE = (
    "set p2p_release_wheels to a folder that has the lock's wheels, or p2p_release_artifact to an artefact"
    " that was built elsewhere"
)
# How uv begins to say why, and what is told of it.
_NOT_THERE = re.compile(
    r"Because (?:there is no version of )?(\S+) (?:was not found in the |and you require )"
)
_WHYS = (
    (
        re.compile(r"Hash mismatch for `([^`]+)`"),
        "{0} has other bytes than the lock was made from: renew the lock, or look for who changed them",
    ),
    (
        re.compile(r"all requirements must have a hash, but none were provided for: (\S+)"),
        "the lock has {0} without a hash: renew the lock",
    ),
    (
        re.compile(r"no trusted hash was provided for: `([^`]+)`"),
        "the lock lacks {0} with its hash, which something in it needs: renew the lock",
    ),
    (
        re.compile(r"Failed to read `--find-links` directory"),
        "p2p_release_wheels: {wheels} is no directory that can be read",
    ),
    (
        re.compile(r"Failed to fetch|error sending request|network was disabled|Failed to download"),
        "the package index was not reached from here ({short}): {offline}",
    ),
)


class BuildError(Exception):
    """An artefact that cannot be built; the message says why in one line, with the remedy."""


class NoWheelError(BuildError):
    """A package of the lock has no wheel for the platform or the Python."""


class Source(NamedTuple):
    """What an artefact is built of.

    `release` is the release's name, `lock` the text of requirements with hashes, `wheel` the program
    (`filename`, `sha256`, `content` in base64) or nothing, `wheels` a folder to take wheels from in the place
    of an index.
    """

    release: str
    lock: str
    wheel: Mapping[str, str] | None
    wheels: Path | None


def build(source: Source, target: Target, python: str, archive: Path, scratch: Path) -> Artifact:
    """Build an artefact.

    Args:
        source: What of.
        target: For which platform.
        python: For which minor version of Python.
        archive: Where it goes.
        scratch: An empty folder.

    Raises:
        NoWheelError: the lock has nothing for this platform and Python.
        BuildError: anything else fails.
    """
    site = scratch / "site"
    _fill(source, target, python, site, scratch)
    try:
        owners, packages = _owners(site)
        files = {path: _file(site, path, owners) for path in sorted(_paths(site))}
        found = Artifact(source.release, target.word, python, packages, _programs(site, source), files, "")
        text = described(found)
        found = read_description(text)
        pack(str(archive), text, ((path, files[path], (site / path).read_bytes()) for path in files), PRESET)
    except ArtifactError as error:
        raise BuildError(f"what uv installed makes no artefact: {error}") from error
    except OSError as error:
        raise BuildError(f"{error.filename or archive}: {error.strerror or error}") from error
    return found


def _fill(source: Source, target: Target, python: str, site: Path, scratch: Path) -> None:
    lines = source.lock
    if source.wheel:
        wheel = scratch / Path(source.wheel["filename"]).name
        wheel.write_bytes(base64.b64decode(source.wheel["content"]))
        # Relative to where uv runs: the folder's own path may hold what has a meaning in such a line.
        lines += f"\n./{wheel.name} --hash=sha256:{source.wheel['sha256']}\n"
    listed = scratch / "requirements.txt"
    listed.write_text(lines, encoding="utf-8")
    words = [find_uv_bin(), "pip", "install", "--quiet", "--target", str(site), "--python", sys.executable]
    words += ["--no-python-downloads", "--python-platform", target.uv, "--python-version", python]
    # Without --no-deps, so that a lock that lacks what something in it needs is refused.
    words += ["--require-hashes", "--only-binary", ":all:", "--link-mode", "copy", "--no-progress"]
    # As everything else on this machine: an index or a proxy may have a certificate of the operator's own.
    words += ["--system-certs"]
    if source.wheels:
        words += ["--no-index", "--find-links", str(source.wheels)]
    try:
        done = subprocess.run(
            [*words, "--requirement", str(listed)],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=SECONDS,
            env={**os.environ, "NO_COLOR": "1"},
            cwd=scratch,
        )
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"uv took more than {SECONDS} s for it: {_OFFLINE}") from error
    if done.returncode:
        raise _why(done.stderr, source, target, python)


def _why(said: str, source: Source, target: Target, python: str) -> BuildError:
    """Return in one line why uv failed."""
    # A package that a lock names for some Pythons alone is told with its marker.
    text = re.sub(r"\{[^{}]*\}", "", " ".join(said.split()))
    where = f"Python {python} on {target.word}"
    found = re.search(r"Because (?:only )?(\S+?)(?:==\S+)? has no (?:usable )?wheels?\b", text)
    if found:
        name = re.search(rf"{re.escape(found[1])}==[^\s,]+", text)
        return NoWheelError(
            f"{name[0] if name else found[1]} has no wheel for {where}, and nothing is built from source:"
            " renew the lock with a version that has one, or name another Python with p2p_release_python"
        )
    if source.wheels and (found := _NOT_THERE.search(text)):
        return BuildError(f"{source.wheels} has no wheel of {found[1]} that suits {where}: put it there")
    for pattern, words in _WHYS:
        found = pattern.search(text)
        if found:
            return BuildError(
                words.format(*found.groups(), short=_short(text), wheels=source.wheels, offline=_OFFLINE)
            )
    return BuildError(_short(text))


def _short(text: str) -> str:
    """Return uv's own words without its advice: of a chain of causes what was asked for and the last one."""
    if "network was disabled" in text:
        return (
            "uv is told to stay offline, by UV_OFFLINE or its settings, and its cache has not all of the lock"
        )
    errors = re.sub(r"^error: ", "", re.sub(r"\s*hint:.*", "", text))
    asked = re.search(r"Failed to (?:fetch|download):? `?([^\s`]+)", errors)
    if asked and " cause: " in errors:
        return f"{asked[1]}: {errors.rpartition(' cause: ')[2]}"[:400]
    return errors[:400] or "uv said nothing"


def _paths(site: Path) -> Iterator[str]:
    """Give the files that belong into an artefact, relative to the folder."""
    for folder, names, files in os.walk(site):
        inside = Path(folder).relative_to(site)
        names[:] = [
            name for name in names if name != "__pycache__" and not (inside == Path() and name == _SCRIPTS)
        ]
        for name in files:
            path = (inside / name).as_posix()
            about = folder.endswith(".dist-info") and name in _ABOUT_THE_BUILD
            if not about and not (inside == Path() and name == ".lock"):
                yield path


def _file(site: Path, path: str, owners: Mapping[str, str]) -> File:
    """Return what a description says of a file; of its mode only whether it is run."""
    where = site / path
    if where.is_symlink() or not plain_path(path):
        raise BuildError(f"a package holds {path!r}, which no node is given")
    content = where.read_bytes()
    mode = "0755" if where.stat().st_mode & 0o100 else "0644"
    return File(mode, len(content), hashlib.sha256(content).hexdigest(), owners.get(path, ""))


def _owners(site: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Return whose each file is, and the version of each package."""
    owners, packages = {}, {}
    # In an order that no file system changes: two packages may have a file in common.
    for found in sorted(metadata.distributions(path=[str(site)]), key=lambda one: str(one.metadata["Name"])):
        name = canonicalize_name(found.metadata["Name"])
        packages[str(name)] = found.version
        for row in csv.reader((found.read_text("RECORD") or "").splitlines()):
            if row:
                owners[row[0]] = str(name)
    return owners, packages


def _programs(site: Path, source: Source) -> list[str]:
    """Return the modules of the program's commands, which have to be importable where it is to run."""
    if source.wheel is None:
        return []
    wanted = canonicalize_name(source.wheel["filename"].split("-")[0])
    modules = {
        entry.module
        for found in metadata.distributions(path=[str(site)])
        if canonicalize_name(found.metadata["Name"]) == wanted
        for entry in found.entry_points
        if entry.group == "console_scripts"
    }
    return sorted(modules)


def as_source(spec: Mapping[str, Any], release: str, wheels: str) -> Source:
    """Return a release's specification as what its artefacts are built of.

    Args:
        spec: `lock` and `wheel`, as the role p2p_release has them.
        release: The release's name.
        wheels: A folder of wheels, or nothing.
    """
    folder = Path(wheels).expanduser().absolute() if wheels else None
    return Source(release, str(spec.get("lock") or ""), spec.get("wheel"), folder)
