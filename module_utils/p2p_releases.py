"""The releases on a node: where they lie, which is current, and how one differs from what is wanted.

    <root>/releases/<name>/{venv/,artifact.json,manifest.json,...}
    <root>/current  -> releases/...   what the services run from
    <root>/previous -> releases/...   what they ran from before

A second build of the same name lies in <name>~2, and so on.

A release without a manifest is unfinished: the manifest is written last. A release is made where it stays,
beside the one that runs.
"""

from __future__ import annotations

import json
import os
import re
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Pattern, Tuple

from .p2p_artifact import (
    DESCRIPTION,
    LARGEST_DESCRIPTION,
    SHA256,
    TARGET,
    Artifact,
    ArtifactError,
    read_description,
)
from .p2p_files import file_reasons
from .p2p_folders import open_plain
from .p2p_installed import check, check_interpreter, own_parts, same_bytecode, unbroken

MANIFEST = "manifest.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_-]*")
# What a manifest may say, as the controller takes it: more is damage, and told as such.
_LONGEST_NAME, _LATEST, _MOST_PACKAGES = 100, 1e11, 500
_KINDS = {
    "artifact": SHA256,
    "target": TARGET,
    "python": re.compile(r"[^\x00-\x1f\x7f]{1,1000}"),
    "python_version": re.compile(r"[0-9]{1,2}(\.[0-9]{1,3}){1,2}"),
}
_PACKAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+~!_-]{0,63}")


class Drift(NamedTuple):
    """One thing that is not as wanted."""

    part: str
    name: str
    why: str


def check_name(name: str) -> None:
    """Refuse a name that is no plain directory name.

    Raises:
        ValueError: naming it.
    """
    if not _NAME.fullmatch(name):
        raise ValueError("release name %r: letters, digits, '.', '+', '_' and '-' only" % name)


def releases_folder(root: str) -> str:
    """Return the folder that holds a root's releases."""
    return os.path.join(root, "releases")


def read_manifest(path: str) -> Optional[Dict[str, Any]]:
    """Return a release's manifest, or None if the release is unfinished or the manifest is not one.

    What is read of it is of its kind: `created_at` a number, `packages` names and versions, `artifact` a
    digest or None. Whatever else is in it is not looked at.
    """
    try:
        manifest = json.loads(_read(os.path.join(path, MANIFEST)).decode("utf-8"))
        name = manifest["name"]
        created = float(manifest.get("created_at", 0))
        packages = {str(key): str(value) for key, value in (manifest.get("packages") or {}).items()}
    except (AttributeError, ArithmeticError, KeyError, OSError, RecursionError, TypeError, ValueError):
        return None
    fits = (
        _is(name, _NAME)
        and len(name) <= _LONGEST_NAME
        and 0 <= created <= _LATEST
        and len(packages) <= _MOST_PACKAGES
        and all(_is(key, _PACKAGE) and _is(value, _VERSION) for key, value in packages.items())
        and all(manifest.get(key) is None or _is(manifest[key], kind) for key, kind in _KINDS.items())
    )
    return dict(manifest, created_at=created, packages=packages) if fits else None


def _is(value: object, kind: Pattern[str]) -> bool:
    return isinstance(value, str) and bool(kind.fullmatch(value))


def _read(path: str) -> bytes:
    """Return what a file of ours holds, which no link, pipe or endless file is."""
    with os.fdopen(open_plain(path), "rb") as handle:
        return handle.read(LARGEST_DESCRIPTION)


def name_of(path: Optional[str]) -> Optional[str]:
    """Return the name in a release's manifest, or None."""
    manifest = read_manifest(path) if path else None
    return str(manifest["name"]) if manifest else None


def link_target(root: str, link: str) -> Optional[str]:
    """Return the folder of the release that `current` or `previous` points to, or None."""
    try:
        target = os.readlink(os.path.join(root, link))
    except OSError:
        return None
    path = os.path.normpath(os.path.join(root, target))
    return path if os.path.isdir(path) else None


def all_folders(root: str) -> List[str]:
    """Return the folders of all releases, unfinished ones too, sorted by name."""
    try:
        with os.scandir(releases_folder(root)) as entries:
            return sorted(entry.path for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []


def complete(root: str) -> List[str]:
    """Return the folders of finished releases, the newest first."""
    dated = []
    for path in all_folders(root):
        manifest = read_manifest(path)
        if manifest:
            dated.append((float(manifest.get("created_at", 0)), path))
    return [path for created, path in sorted(dated, reverse=True)]


def finished_first(root: str) -> List[str]:
    """Return the folders of finished releases, the one that runs first, then the newest."""
    current = link_target(root, "current")
    return list(dict.fromkeys([*([current] if current and read_manifest(current) else []), *complete(root)]))


def find(root: str, name: str) -> Optional[str]:
    """Return the folder of the finished release of a name, the current one before the newest."""
    return next(iter(finished(root, name)), None)


def finished(root: str, name: str) -> List[str]:
    """Return the folders of all finished builds of a release, the current one first, then the newest."""
    return [path for path in finished_first(root) if name_of(path) == name]


def soundest(root: str, wanted: Mapping[str, Any]) -> Tuple[Optional[str], List[Drift]]:
    """Return the build of a wanted release that is nearest to it, with its drift.

    That is the first that differs in its own files at most, which are put back in place; one that was built
    to take over from a damaged one may not be current yet. If there is none, it is the first at all.
    """
    first: Optional[Tuple[str, List[Drift]]] = None
    for path in finished(root, wanted["name"]):
        drift = release_drift(path, wanted)
        if all(item.part == "file" for item in drift):
            return path, drift
        first = first or (path, drift)
    return first or (None, [Drift("release", wanted["name"], "not there")])


def free_folder(root: str, name: str) -> str:
    """Return the folder that a new build of a release takes.

    The plain name is used once: later it stands for whichever build there is.
    """
    plain = os.path.join(releases_folder(root), name)
    numbers = [1 if path == plain else int(path.rpartition("~")[2]) for path in builds(root, name)]
    return "%s~%d" % (plain, max(numbers) + 1) if numbers else plain


def builds(root: str, name: str) -> List[str]:
    """Return the folders of all builds of a release, unfinished ones too."""
    pattern = re.compile(re.escape(name) + r"(~\d+)?")
    return [path for path in all_folders(root) if pattern.fullmatch(os.path.basename(path))]


def made_for(target: str, python: str) -> str:
    """Return what an artefact is for in one word: `linux-x86_64-glibc-2.17/3.11`."""
    return "%s/%s" % (target, python)


def read_artifact(path: str) -> Optional[Artifact]:
    """Return the description of the artefact that a release was made of, or None if it cannot be read."""
    try:
        return read_description(_read(os.path.join(path, DESCRIPTION)))
    except (OSError, ArtifactError):
        return None


def _venv_drift(path: str, manifest: Mapping[str, Any]) -> List[Drift]:
    venv, digest = os.path.join(path, "venv"), manifest.get("artifact")
    artifact = read_artifact(path)
    if artifact is None or artifact.digest != digest:
        return [Drift("release", manifest["name"], "%s is not that of its artefact" % DESCRIPTION)]
    broken = check_interpreter(venv, artifact.python)
    if broken:
        return [Drift("venv", "python", broken)]
    drift = [] if unbroken(venv, manifest.get("seal")) else _files_drift(venv, artifact, manifest)
    if not drift and not same_bytecode(venv, manifest.get("compiled"), manifest.get("bytecode")):
        drift.append(Drift("venv", "bytecode", "compiled modules differ from what was made"))
    return drift


def _files_drift(venv: str, artifact: Artifact, manifest: Mapping[str, Any]) -> List[Drift]:
    drift = [
        Drift("package" if item.package else "venv", item.package or "file", item.why)
        for item in check(venv, artifact)
    ]
    if not drift and manifest.get("parts") != own_parts(venv):
        drift.append(Drift("venv", "bin", "pyvenv.cfg or what lies in venv/bin differs from what was made"))
    return drift


def _artifact_drift(wanted: Mapping[str, Any], manifest: Mapping[str, Any]) -> List[Drift]:
    """Return how the artefact that a release was made of differs from the one that its platform has now."""
    known = wanted["artifacts"].get(
        made_for(str(manifest.get("target")), str(manifest.get("python_version")))
    )
    if known in (None, manifest.get("artifact")):
        return []
    return [Drift("release", wanted["name"], "made of another artefact")]


def release_drift(path: str, wanted: Mapping[str, Any]) -> List[Drift]:
    """Return how a finished release differs from what is wanted, file by file; empty if it does not.

    Args:
        path: the release's folder.
        wanted: as `p2p_digest.release_wanted` makes it.
    """
    manifest = read_manifest(path)
    if manifest is None:
        return [Drift("release", wanted["name"], "unfinished or without a manifest")]
    drift = _artifact_drift(wanted, manifest)
    if wanted.get("python") and manifest.get("python") not in (None, wanted["python"]):
        drift.append(
            Drift("venv", "python", "made for %s, not %s" % (manifest.get("python"), wanted["python"]))
        )
    if manifest.get("artifact") or os.path.lexists(os.path.join(path, "venv")):
        drift += _venv_drift(path, manifest)
    return drift + file_drift(path, wanted)


def file_drift(path: str, wanted: Mapping[str, Any]) -> List[Drift]:
    """Return how a release's managed files differ from what is wanted."""
    drift = []
    for item in wanted["files"]:
        reasons = file_reasons(item, os.path.join(path, item["path"]))
        if reasons:
            drift.append(Drift("file", os.path.join(path, item["path"]), ", ".join(reasons)))
    return drift


def root_drift(wanted: Mapping[str, Any]) -> List[Drift]:
    """Return how a node's releases differ from what is wanted, `current` included; empty if they do not."""
    root, name = wanted["root"], wanted["name"]
    path, drift = soundest(root, wanted)
    if path is None:
        return drift
    current = link_target(root, "current")
    if current != path:
        running = os.path.basename(current) if current and read_manifest(current) else "nothing"
        drift.insert(0, Drift("release", name, "not current: %s is" % running))
    return drift
