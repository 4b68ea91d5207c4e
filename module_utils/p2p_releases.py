"""The releases on a node: where they lie, which is current, and how one differs from what is wanted.

    <root>/releases/<name>/{venv,manifest.json,...}
    <root>/current  -> releases/...   what the services run from
    <root>/previous -> releases/...   what they ran from before

A second build of the same name lies in <name>~2, and so on.

A release without a manifest is unfinished: the manifest is written last. An environment cannot be moved, so
that a release is built where it stays, beside the one that runs.
"""

from __future__ import annotations

import json
import os
import re
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

from .p2p_files import file_reasons
from .p2p_requirements import normal_name, packages_for
from .p2p_venv import (
    check_interpreter,
    check_packages,
    script_digests,
    site_packages,
    unbroken,
    wrong_versions,
)

MANIFEST = "manifest.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_-]*")


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
    """Return a release's manifest, or None if the release is unfinished or the manifest is not readable."""
    try:
        with open(os.path.join(path, MANIFEST), encoding="utf-8") as handle:
            manifest = json.load(handle)
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) and "name" in manifest else None


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


def find(root: str, name: str) -> Optional[str]:
    """Return the folder of the finished release of a name, the current one before the newest."""
    return next(iter(finished(root, name)), None)


def finished(root: str, name: str) -> List[str]:
    """Return the folders of all finished builds of a release, the current one first, then the newest."""
    current = link_target(root, "current")
    folders = dict.fromkeys([*([current] if current else []), *complete(root)])
    return [path for path in folders if name_of(path) == name]


def soundest(root: str, wanted: Mapping[str, Any]) -> Tuple[Optional[str], List[Drift]]:
    """Return the build of a wanted release that is nearest to it, with its drift.

    That is the first that differs in its own files at most, which are put back in place; one that was built
    to take over from a damaged one may not be current yet. If there is none, it is the first at all.

    Raises:
        MarkerError: if the wanted lock is not understood.
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


def wanted_packages(wanted: Mapping[str, Any], markers: Mapping[str, str]) -> Dict[str, str]:
    """Return name -> version of all that a release's environment should hold.

    Args:
        wanted: as `p2p_digest.release_wanted` makes it.
        markers: the marker variables of the environment's Python.

    Raises:
        MarkerError: if the lock is not understood.
    """
    packages = packages_for(wanted["requirements"], markers)
    wheel = wanted.get("wheel")
    if wheel:
        name, version = wheel["filename"].split("-")[:2]
        packages[normal_name(name)] = version
    return packages


def _venv_drift(path: str, wanted: Mapping[str, Any], manifest: Mapping[str, Any]) -> List[Drift]:
    if not wanted.get("requirements") and not wanted.get("wheel"):
        return []
    venv = os.path.join(path, "venv")
    broken = check_interpreter(venv)
    if broken:
        return [Drift("venv", "python", broken)]
    if site_packages(venv) is None:
        return [Drift("venv", "site-packages", "missing")]
    markers = manifest.get("markers")
    if not isinstance(markers, dict):
        return [Drift("release", manifest["name"], "its manifest does not say which Python it was built for")]
    packages = wanted_packages(wanted, {str(key): str(value) for key, value in markers.items()})
    if unbroken(venv, manifest.get("seal")):
        wrong = wrong_versions(manifest["packages"], packages)
        return [Drift("package", name, wrong[name]) for name in sorted(wrong)]
    problems = check_packages(venv, packages, manifest.get("records") or {})
    drift = [
        Drift("package" if item.package else "venv", item.package or "file", item.why) for item in problems
    ]
    if not drift and manifest.get("scripts") != script_digests(venv):
        drift.append(Drift("venv", "bin", "pyvenv.cfg or what lies in venv/bin differs from what was built"))
    return drift


def release_drift(path: str, wanted: Mapping[str, Any]) -> List[Drift]:
    """Return how a finished release differs from what is wanted, file by file; empty if it does not.

    Args:
        path: the release's folder.
        wanted: as `p2p_digest.release_wanted` makes it.

    Raises:
        MarkerError: if the wanted lock is not understood.
    """
    manifest = read_manifest(path)
    if manifest is None:
        return [Drift("release", wanted["name"], "unfinished or without a manifest")]
    drift = []
    for key, what in (("lock_sha256", "lock"), ("wheel", "wheel")):
        if manifest.get(key) != wanted[key]:
            drift.append(Drift("release", wanted["name"], "built from another %s" % what))
    if wanted.get("python") and manifest.get("python") != wanted["python"]:
        drift.append(
            Drift("venv", "python", "built with %s, not %s" % (manifest.get("python"), wanted["python"]))
        )
    drift += _venv_drift(path, wanted, manifest)
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
