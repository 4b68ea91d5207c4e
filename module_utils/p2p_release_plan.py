"""What p2p_release is going to do, worked out from what is there, before anything is touched."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from typing import Any, Dict, List, Mapping, NamedTuple, Optional

from .p2p_digest import release_wanted
from .p2p_python import Interpreter, VenvMissingError, choose
from .p2p_releases import (
    MANIFEST,
    Drift,
    all_folders,
    check_name,
    complete,
    find,
    free_folder,
    link_target,
    name_of,
    read_manifest,
    releases_folder,
    soundest,
    wanted_packages,
)

FEWEST_INODES = 5000
WHEEL_DASHES = 4  # name-version-python-abi-platform.whl
_SHORTEST_ROOT = 2  # never /opt itself


class ReleaseError(Exception):
    """A request that is refused or that failed; what ran before still runs."""


class Plan(NamedTuple):
    """What will be done.

    `target` is the folder that holds the release afterwards, `build` whether it is built there, `rewrite`
    which of a finished release's files are put back in place, `activate` whether `current` will point to it,
    `remove` the folders that go, `drift` why all of it, `packages` what the environment holds afterwards;
    `current` and `previous` are the folders that the links point to afterwards, `before` all folders now.
    """

    target: str
    build: bool
    rewrite: List[Mapping[str, Any]]
    activate: bool
    remove: List[str]
    drift: List[Drift]
    packages: Dict[str, str]
    current: Optional[str]
    previous: Optional[str]
    before: List[str]

    @property
    def changes(self) -> bool:
        """Whether anything will be done."""
        return bool(self.build or self.rewrite or self.activate or self.remove)


class Request:
    """One call of the module: its parameters, checked, and the plan that comes of them.

    Args:
        params: the module's parameters.
        check_mode: whether nothing may be written.

    Raises:
        ReleaseError: if a parameter cannot be used.
        ValueError: if a file's specification is not one.
    """

    def __init__(self, params: Mapping[str, Any], check_mode: bool) -> None:
        self.params, self.check_mode = params, check_mode
        self.root = str(params["root"]).rstrip("/")
        if not os.path.isabs(self.root) or len(self.root.split("/")) <= _SHORTEST_ROOT:
            raise ReleaseError(
                "root %r must be an absolute path of at least two parts, such as /opt/p2p-cluster" % self.root
            )
        self.name = str(params.get("name") or "")
        if self.name:
            check_name(self.name)
        self.state = params["state"]
        if self.state == "present" and not (params.get("lock") or params.get("wheel") or params.get("files")):
            self.state = "active"
        self.warnings: List[str] = []
        self._interpreter: Optional[Interpreter] = None
        self.contents = {
            str(item.get("path")): item.get("content") or "" for item in params.get("files") or []
        }
        self.wanted: Dict[str, Any] = {"files": []}
        if self.state == "present":
            self.wanted = release_wanted(dict(params, root=self.root))
            self._check_files()

    def _check_files(self) -> None:
        for item in self.wanted["files"]:
            path = item["path"]
            if os.path.isabs(path) or ".." in path.split("/") or path.split("/")[0] in ("venv", MANIFEST):
                raise ReleaseError("files: %r must be relative to the release, outside of venv" % path)

    def interpreter(self) -> Interpreter:
        """Return the interpreter that a release is built with, chosen once.

        Raises:
            PythonError: if there is none that can.
        """
        if self._interpreter is None:
            try:
                self._interpreter = choose(self.params.get("python"), spare_pip=bool(self.params.get("pip")))
            except VenvMissingError as error:
                if not self.check_mode:
                    raise
                # In a preview: an earlier task may be about to install it.
                self.warnings.append("unless it is installed before: %s" % error)
                self._interpreter = error.interpreter
        return self._interpreter

    def plan(self) -> Plan:
        """Work out what is to be done.

        Raises:
            ReleaseError: if it cannot be.
            PythonError: if a release is to be built and no interpreter can.
            MarkerError: if the lock is not understood.
        """
        if self.state == "active":
            return self._plan_active()
        activate = bool(self.params["activate"])
        plan = self._plan_present(activate and not self._foretold())
        return self._activate_built(plan) if activate and self._foretold() else plan

    def _foretold(self) -> bool:
        return bool(self.check_mode and self.params.get("built"))

    def _activate_built(self, built: Plan) -> Plan:
        """Return what is left to do once `built`, a plan that activates nothing, has been carried out."""
        before = sorted({path for path in built.before if path not in built.remove} | {built.target})
        plan = self._links(built.target, True)._replace(packages=built.packages, before=before)
        kept = [path for path in dict.fromkeys((plan.current, plan.previous)) if path]
        others = [built.target, *complete(self.root)]
        kept += [path for path in others if path in before and path not in kept][: self._keep() - len(kept)]
        return plan._replace(remove=[path for path in before if path not in kept + self._damaged_running()])

    def _keep(self) -> int:
        return max(1, int(self.params["keep"]))

    def _damaged_running(self) -> List[str]:
        """What runs now stays until the next run, even without its manifest."""
        running = link_target(self.root, "current")
        if running and (read_manifest(running) is None or name_of(running) == self.name):
            return [running]
        return []

    def _plan_present(self, activate: bool) -> Plan:
        found, drift = soundest(self.root, self.wanted)
        if found is None or any(item.part != "file" for item in drift):
            return self._plan_build(found, drift, activate)
        changed = {item.name for item in drift}
        rewrite = [item for item in self.wanted["files"] if os.path.join(found, item["path"]) in changed]
        plan = self._links(found, activate)._replace(rewrite=rewrite, drift=drift)
        return self._prune(plan, [])

    def _plan_build(self, found: Optional[str], drift: List[Drift], activate: bool) -> Plan:
        held = [link_target(self.root, link) for link in ("current", "previous")]
        plain = os.path.join(releases_folder(self.root), self.name)
        # What an interrupted run left is built over; what runs or ran never is.
        unfinished = os.path.isdir(plain) and read_manifest(plain) is None and plain not in held
        target = plain if unfinished and found is None else free_folder(self.root, self.name)
        packages: Dict[str, str] = {}
        if self.wanted["requirements"] or self.wanted["wheel"]:
            packages = wanted_packages(self.wanted, self.interpreter().markers)
        plan = self._links(target, activate)
        plan = plan._replace(build=True, drift=drift, packages=packages)
        return self._prune(plan, [found] if found and found not in held else [])

    def _plan_active(self) -> Plan:
        current, previous = link_target(self.root, "current"), link_target(self.root, "previous")
        if self.name:
            target = find(self.root, self.name)
        else:
            candidates = ([previous] if previous else []) + complete(self.root)
            others = [path for path in candidates if path != current and read_manifest(path)]
            target = others[0] if others else None
        if target is None:
            there = ", ".join(str(name_of(path)) for path in complete(self.root)) or "none"
            wish = "release %s" % self.name if self.name else "previous release"
            raise ReleaseError("%s has no finished %s; there are: %s" % (self.root, wish, there))
        return self._links(target, True)  # nothing is removed that another rollback might go to

    def _links(self, target: str, activate: bool) -> Plan:
        """Return a plan that only moves the links."""
        current, previous = link_target(self.root, "current"), link_target(self.root, "previous")
        if activate and current != target:
            # A release built anew under its own name is no place to go back to.
            if current and name_of(current) not in (None, self.name or name_of(target)):
                previous = current
            previous = None if previous == target else previous
        packages = dict((read_manifest(target) or {}).get("packages") or {})
        after = target if activate else current
        swap = activate and current != target
        return Plan(target, False, [], swap, [], [], packages, after, previous, all_folders(self.root))

    def _prune(self, plan: Plan, dead: List[str]) -> Plan:
        kept = [path for path in dict.fromkeys((plan.current, plan.previous, plan.target)) if path]
        for path in complete(self.root):
            if path not in kept and path not in dead and len(kept) < self._keep():
                kept.append(path)
        kept += self._damaged_running()
        return plan._replace(remove=[path for path in all_folders(self.root) if path not in kept])


def existing_parent(path: str) -> str:
    """Return the nearest folder at or above a path that exists."""
    while not os.path.isdir(path):
        path = os.path.dirname(path) or "/"
    return path


def check_space(root: str, megabytes: int) -> None:
    """Refuse a disk that is too full to build on.

    Raises:
        ReleaseError: naming the file system, what is free and the remedy.
    """
    where = existing_parent(root)
    found = os.statvfs(where)
    free = found.f_bavail * found.f_frsize // (1 << 20)
    if free < megabytes:
        raise ReleaseError(
            "only %d MB are free below %s and a release needs %d: free space there, or lower min_free_mb. "
            "Nothing was written." % (free, where, megabytes)
        )
    if found.f_files and found.f_favail < FEWEST_INODES:
        raise ReleaseError(
            "only %d inodes are free below %s and a release needs %d: remove files there. "
            "Nothing was written." % (found.f_favail, where, FEWEST_INODES)
        )


def wheel_bytes(wheel: Mapping[str, Any]) -> bytes:
    """Return a wheel's bytes, which are what its digest says.

    Raises:
        ReleaseError: if they are not, or its name is not a wheel's.
    """
    filename = str(wheel.get("filename", ""))
    if (
        os.path.basename(filename) != filename
        or not filename.endswith(".whl")
        or filename.count("-") < WHEEL_DASHES
    ):
        raise ReleaseError("wheel.filename %r is not the name of a wheel" % filename)
    try:
        content = base64.b64decode(wheel.get("content") or "", validate=True)
    except (binascii.Error, ValueError) as error:
        raise ReleaseError("wheel.content of %s is not base64: %s" % (filename, error)) from error
    if hashlib.sha256(content).hexdigest() != wheel.get("sha256"):
        raise ReleaseError(
            "%s: its content does not have the digest wheel.sha256 (%s)" % (filename, wheel.get("sha256"))
        )
    return content
