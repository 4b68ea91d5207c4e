"""What p2p_release is going to do, worked out from what is there, before anything is touched."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence

from .p2p_artifact import DESCRIPTION
from .p2p_digest import release_wanted
from .p2p_python import Interpreter, choose
from .p2p_releases import (
    MANIFEST,
    Drift,
    all_folders,
    check_name,
    complete,
    find,
    free_folder,
    link_target,
    made_for,
    name_of,
    read_manifest,
    releases_folder,
    soundest,
)

FEWEST_INODES = 5000
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
        self.artifact: Dict[str, Any] = dict(params.get("artifact") or {})
        if self.state == "present" and not (self.artifact or params.get("files")):
            self.state = "active"
        self.archive: Optional[str] = params.get("archive")
        self._interpreter: Optional[Interpreter] = None
        self.contents = {
            str(item.get("path")): item.get("content") or "" for item in params.get("files") or []
        }
        self.wanted: Dict[str, Any] = {"files": []}
        if self.state == "present":
            known = {}
            if self.artifact:
                known = {made_for(self.artifact["target"], self.artifact["python"]): self.artifact["digest"]}
            self.wanted = release_wanted(dict(params, root=self.root, artifacts=known))
            self._check_files()

    def _check_files(self) -> None:
        for item in self.wanted["files"]:
            path = item["path"]
            own = ("venv", DESCRIPTION, MANIFEST)
            if os.path.isabs(path) or ".." in path.split("/") or path.split("/")[0] in own:
                raise ReleaseError("files: %r must be relative to the release, outside of venv" % path)

    def interpreter(self) -> Interpreter:
        """Return the interpreter that the release runs with, chosen once.

        Raises:
            PythonError: if there is none for its packages.
        """
        if self._interpreter is None:
            self._interpreter = choose(str(self.artifact["python"]), self.params.get("python"))
        return self._interpreter

    def plan(self) -> Plan:
        """Work out what is to be done.

        Raises:
            ReleaseError: if it cannot be.
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
        kept += self._others(kept, [path for path in complete(self.root) if path in before], again=True)
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
        packages = {
            str(name): str(version) for name, version in (self.artifact.get("packages") or {}).items()
        }
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

    def _others(self, kept: Sequence[str], there: Sequence[str], again: bool) -> List[str]:
        """Return which of the finished releases that are there stay besides those that are kept.

        One that was made anew takes no other's place: of each name one build counts.

        Args:
            kept: the folders that stay anyway.
            there: all, the newest first.
            again: whether earlier builds of a name stay as well; they go when a release is built.
        """
        # One that is still to be made has no name of its own yet.
        names = {self.name, *(name_of(path) for path in kept)} - {None}
        named = [(path, name_of(path)) for path in there]
        newest: Dict[Optional[str], str] = {}
        for path, name in named:
            if name not in names and (name in newest or len(names) + len(newest) < self._keep()):
                newest.setdefault(name, path)
        if not again:
            return list(newest.values())
        return [path for path, name in named if name in newest or (name in names and path not in kept)]

    def _prune(self, plan: Plan, dead: List[str]) -> Plan:
        kept = [path for path in dict.fromkeys((plan.current, plan.previous, plan.target)) if path]
        there = [path for path in complete(self.root) if path not in dead]
        kept += self._others(kept, there, again=not plan.build)
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
