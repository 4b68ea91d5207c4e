"""What p2p_release does: a plan carried out, or told in check mode."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import json
import os
import shutil
import time
from typing import Any, Dict, Iterator, List, Optional

from .p2p_artifact import ArtifactError
from .p2p_download import download, shown
from .p2p_files import check_writable, mend_file, write_file
from .p2p_folders import check_folder
from .p2p_install import NeededError, install
from .p2p_python import PythonError
from .p2p_release_plan import Plan, ReleaseError, Request, check_space
from .p2p_release_tell import actions, diffs
from .p2p_releases import (
    MANIFEST,
    all_folders,
    complete,
    finished_first,
    link_target,
    name_of,
    read_manifest,
    releases_folder,
)

LOCK_WAIT = 60.0
ARCHIVE = ".archive"
# Folders that the controller makes for archives, and the seconds that no run takes.
SENT, ABANDONED = "p2p-release-", 86400.0
# Another machine's xz may pack the same contents less tightly.
LARGER = 4
# `wheels` is where earlier versions of p2p-cluster put what they installed from.
_OWN_ENTRIES = {
    "releases",
    "wheels",
    "current",
    "previous",
    ".lock",
    ARCHIVE,
    ".current.new",
    ".previous.new",
}
if os.geteuid() != 0:
    _OWN_ENTRIES.add("data")  # what the program keeps lies here where it cannot lie in /var/lib
_ROOTLESS_SETTINGS = {"etc"} if os.geteuid() != 0 else set()
_PLAIN = {"path": "", "sha256": "", "mode": "0644", "owner": None, "group": None}


def apply(request: Request) -> Dict[str, Any]:
    """Plan a request and, unless in check mode, carry it out.

    Returns:
        The module's answer; `needed` says why nothing was done where a release is to be made and its archive
        is not at hand.

    Raises:
        ReleaseError: if it is refused or fails.
    """
    if request.state == "absent":
        return remove(request)
    os.umask(0o022)
    plan = request.plan()
    try:
        refuse(request, plan)
        answer = _describe(request, plan)
        if plan.changes and not request.check_mode:
            with _locked(request.root):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(os.path.join(request.root, ARCHIVE))  # of a run that was killed
                again = request.plan()  # another run may have been at work until now
                if again.changes:
                    with _at_hand(request, again.build):
                        _execute(request, again)
    except NeededError as error:
        return {"changed": False, "needed": "%s" % error}
    except (ArtifactError, PythonError) as error:
        if request.params.get("partial"):
            return {"changed": False, "needed": "%s" % error}
        raise ReleaseError(
            "release %s was not made, what ran still runs: %s" % (request.name, error)
        ) from error
    return answer


@contextlib.contextmanager
def _at_hand(request: Request, build: bool) -> Iterator[None]:
    """Have the archive at hand where a release is made of one, and take it away afterwards.

    Raises:
        NeededError: if it is neither on the node nor to be had.
    """
    if not (build and request.artifact) or request.archive:
        yield
        return
    url = request.params.get("url")
    if not url:
        raise NeededError("it is not on the node")
    path = os.path.join(request.root, ARCHIVE)
    try:
        download(url, path, LARGER * int(request.artifact["size"]))
    except ArtifactError as error:
        raise NeededError("%s" % error) from error
    request.archive = path
    try:
        yield
    except ArtifactError as error:
        raise NeededError("%s: %s" % (shown(url), error)) from error
    finally:
        os.unlink(path)


def drop(archive: Optional[str]) -> None:
    """Remove an archive that the controller sent, and those that runs left which were killed."""
    if archive is None:
        return
    parent = os.path.dirname(archive)
    with contextlib.suppress(OSError):
        os.unlink(archive)
    if not os.path.basename(parent).startswith(SENT):
        return
    shutil.rmtree(parent, ignore_errors=True)
    for folder in glob.glob(os.path.join(glob.escape(os.path.dirname(parent)), SENT + "*")):
        with contextlib.suppress(OSError):
            found = os.lstat(folder)
            if found.st_uid == os.geteuid() and time.time() - found.st_mtime > ABANDONED:
                shutil.rmtree(folder)


def _describe(request: Request, plan: Plan) -> Dict[str, Any]:
    name = (request.name or name_of(plan.target)) if plan.current == plan.target else name_of(plan.current)
    return {
        "changed": plan.changes,
        "actions": actions(request, plan),
        "release": name,
        "path": plan.target,
        "previous": name_of(plan.previous),
        "packages": plan.packages,
        "diff": diffs(request, plan) if plan.changes else [],
    }


def refuse(request: Request, plan: Plan) -> None:
    """Refuse a plan that cannot be carried out, before anything is written.

    Raises:
        ReleaseError: naming the reason and the remedy.
        ValueError: if a file cannot be written as asked.
    """
    _refuse_foreign_root(request.root)
    if plan.build:
        if os.path.lexists(plan.target) and (os.path.islink(plan.target) or not os.path.isdir(plan.target)):
            raise ReleaseError("%s is no directory, and a release goes there: move it away" % plan.target)
        check_space(request.root, int(request.params["min_free_mb"]))
        if request.artifact:
            request.interpreter()
    if not request.check_mode:
        for item in request.wanted["files"]:
            check_writable(item, os.path.join(plan.target, item["path"]))


def _execute(request: Request, plan: Plan) -> None:
    for path in plan.remove:
        if read_manifest(path) is None:
            shutil.rmtree(path)
    if plan.build:
        _build(request, plan.target)
    for item in plan.rewrite:
        content = request.contents[item["path"]].encode("utf-8")
        mend_file(os.path.join(plan.target, item["path"]), content, item)
    if plan.activate:
        _activate(request.root, plan)
    for path in plan.remove:
        if os.path.isdir(path):
            _remove_release(path)


def _refuse_foreign_root(root: str) -> None:
    """Refuse a directory that somebody uses for something else, such as a home: releases there would go."""
    check_folder(root)
    if os.path.exists(os.path.join(root, ".lock")) or not os.path.isdir(root):
        return
    foreign = sorted(set(os.listdir(root)) - _OWN_ENTRIES - {"supervisor", *_ROOTLESS_SETTINGS})
    if foreign:
        raise ReleaseError(
            "%s holds %s, which no deploy put there: give a directory that is used for nothing else, such as"
            " %s/p2p-cluster" % (root, ", ".join(foreign[:5]), root)
        )


def _build(request: Request, target: str) -> None:
    if os.path.isdir(target):
        shutil.rmtree(target)
    os.makedirs(target, mode=0o755)
    try:
        for item in request.wanted["files"]:
            write_file(
                os.path.join(target, item["path"]), request.contents[item["path"]].encode("utf-8"), item
            )
        environment: Dict[str, Any] = {"packages": {}}
        if request.artifact:
            archive, digest = str(request.archive), str(request.artifact["digest"])
            older = [path for path in finished_first(request.root) if path != target]
            running = os.path.join(request.root, "current", "venv")
            environment = install(
                archive, digest, target, request.interpreter(), older=older, recorded=running
            )
        manifest = dict(environment, name=request.name, created_at=time.time(), files=request.wanted["files"])
        text = json.dumps(manifest, indent=1, sort_keys=True) + "\n"
        write_file(os.path.join(target, MANIFEST), text.encode("utf-8"), _PLAIN)
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise


def _activate(root: str, plan: Plan) -> None:
    # `previous` first: an interruption between the two loses nothing that runs.
    if plan.previous:
        _link(root, "previous", plan.previous)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(root, "previous"))
    _link(root, "current", plan.target)
    # Earlier versions installed from wheels that they brought there.
    shutil.rmtree(os.path.join(root, "wheels"), ignore_errors=True)


def _link(root: str, link: str, target: str) -> None:
    fresh = os.path.join(root, ".%s.new" % link)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(fresh)
    os.symlink(os.path.relpath(target, root), fresh)
    os.replace(fresh, os.path.join(root, link))


def _remove_release(path: str) -> None:
    # Without its manifest it counts as unfinished, so that an interruption here leaves nothing half alive.
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(path, MANIFEST))
    shutil.rmtree(path)


@contextlib.contextmanager
def _locked(root: str) -> Iterator[None]:
    os.makedirs(releases_folder(root), mode=0o755, exist_ok=True)
    lock = os.open(os.path.join(root, ".lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    with os.fdopen(lock, "wb") as handle:
        deadline = time.monotonic() + LOCK_WAIT
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    message = "another run has been at work in %s for %g s: wait for it" % (root, LOCK_WAIT)
                    raise ReleaseError(message) from None
                time.sleep(0.5)
        yield


def remove(request: Request) -> Dict[str, Any]:
    """Remove a release, or the whole root, and return the module's answer.

    Raises:
        ReleaseError: if the release is in use, or the root holds what is not this module's.
    """
    if not request.name:
        return _remove_root(request)
    root = request.root
    folders = [path for path in complete(root) if name_of(path) == request.name]
    held = {link_target(root, link): link for link in ("previous", "current")}
    for path in folders:
        if path in held:
            raise ReleaseError(
                "release %s is the %s one: activate another first" % (request.name, held[path])
            )
    answer = _answer(root, ["remove release %s" % os.path.basename(path) for path in folders], folders)
    if not request.check_mode:
        for path in folders:
            _remove_release(path)
    return answer


def _remove_root(request: Request) -> Dict[str, Any]:
    root = request.root
    if not os.path.isdir(root) or os.path.islink(root):
        return _answer(root, [], [])
    # In a preview what goes before is still there: supervisord's files, and settings where there is no root.
    gone_by_then = {"supervisor", *_ROOTLESS_SETTINGS} if request.check_mode else set()
    foreign = sorted(set(os.listdir(root)) - _OWN_ENTRIES - gone_by_then)
    if foreign:
        raise ReleaseError(
            "%s also holds %s, which this module did not put there: move it away, then remove %s"
            % (root, ", ".join(foreign[:5]), root)
        )
    answer = _answer(root, ["remove %s with its releases" % root], [root, *all_folders(root)])
    answer.update(release=None, previous=None)
    if not request.check_mode:
        shutil.rmtree(root)
    return answer


def _answer(root: str, phrases: List[str], paths: List[str]) -> Dict[str, Any]:
    before = "".join("%s\n" % path for path in paths)
    return {
        "changed": bool(phrases),
        "actions": phrases,
        "release": name_of(link_target(root, "current")),
        "previous": name_of(link_target(root, "previous")),
        "diff": [{"before": before, "after": "", "before_header": root, "after_header": root}],
    }
