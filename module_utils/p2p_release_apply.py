"""What p2p_release does: a plan made from what is there, and the same plan carried out."""

from __future__ import annotations

import base64
import binascii
import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import time
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional

from .p2p_digest import release_wanted
from .p2p_files import check_writable, file_diff, write_file
from .p2p_python import Interpreter, PythonError, choose
from .p2p_releases import (
    MANIFEST,
    Drift,
    all_folders,
    check_name,
    complete,
    find,
    free_folder,
    link_target,
    read_manifest,
    release_drift,
    releases_folder,
    wanted_packages,
)
from .p2p_venv import Builder, VenvError, describe, installed

LOCK_WAIT = 60.0
_OWN_ENTRIES = {"releases", "current", "previous", ".lock"}


class ReleaseError(Exception):
    """A request that is refused or that failed; what ran before still runs."""


class Plan(NamedTuple):
    """What will be done, worked out before anything is."""

    target: Optional[str]  # folder that will hold the release
    build: bool  # the release is built there
    rewrite: List[Mapping[str, Any]]  # files of a finished release to put back in place
    activate: bool  # `current` will point to it
    remove: List[str]  # folders that go
    drift: List[Drift]  # why
    packages: Dict[str, str]

    @property
    def changes(self) -> bool:
        """Whether anything will be done."""
        return bool(self.build or self.rewrite or self.activate or self.remove)


def _name_of(path: Optional[str]) -> Optional[str]:
    manifest = read_manifest(path) if path else None
    return str(manifest["name"]) if manifest else None


def _existing_parent(path: str) -> str:
    while not os.path.isdir(path):
        path = os.path.dirname(path) or "/"
    return path


def check_space(root: str, megabytes: int) -> None:
    """Refuse a disk that is too full to build on.

    Raises:
        ReleaseError: naming the file system, what is free and the remedy.
    """
    where = _existing_parent(root)
    found = os.statvfs(where)
    free = found.f_bavail * found.f_frsize // (1 << 20)
    if free < megabytes:
        raise ReleaseError(
            "only %d MB are free below %s and a release needs %d: free space there, or lower min_free_mb. "
            "Nothing was written." % (free, where, megabytes)
        )
    if found.f_files and found.f_favail < 5000:
        raise ReleaseError(
            "only %d inodes are free below %s and a release needs 5000: remove files there. Nothing was written."
            % (found.f_favail, where)
        )


def wheel_bytes(wheel: Mapping[str, Any]) -> bytes:
    """Return a wheel's bytes, which are what its digest says.

    Raises:
        ReleaseError: if they are not, or its name is not a wheel's.
    """
    filename = str(wheel.get("filename", ""))
    if os.path.basename(filename) != filename or not filename.endswith(".whl") or filename.count("-") < 4:
        raise ReleaseError("wheel.filename %r is not the name of a wheel" % filename)
    try:
        content = base64.b64decode(wheel.get("content") or "", validate=True)
    except (binascii.Error, ValueError) as error:
        raise ReleaseError("wheel.content of %s is not base64: %s" % (filename, error))
    if hashlib.sha256(content).hexdigest() != wheel.get("sha256"):
        raise ReleaseError(
            "%s: its content does not have the digest wheel.sha256 (%s)" % (filename, wheel.get("sha256"))
        )
    return content


class Request:
    """One call of the module: the parameters, the plan, and its execution."""

    def __init__(self, params: Mapping[str, Any], check_mode: bool) -> None:
        self.params, self.check_mode = params, check_mode
        self.root = str(params["root"]).rstrip("/")
        if not os.path.isabs(self.root) or len([part for part in self.root.split("/") if part]) < 2:
            raise ReleaseError(
                "root %r must be an absolute path of at least two parts, such as /opt/p2p-cluster" % self.root
            )
        self.name: Optional[str] = params.get("name")
        if self.name:
            check_name(self.name)
        self.state = params["state"]
        if self.state == "present" and not (params.get("lock") or params.get("wheel") or params.get("files")):
            self.state = "active"
        self.interpreter: Optional[Interpreter] = None
        self.warnings: List[str] = []
        self.contents = {
            str(item.get("path")): item.get("content") or "" for item in params.get("files") or []
        }
        self.wanted: Dict[str, Any] = {}
        if self.state == "present":
            self.wanted = release_wanted(dict(params, root=self.root))
            self._check_files()

    def _check_files(self) -> None:
        for item in self.wanted["files"]:
            path = item["path"]
            if os.path.isabs(path) or ".." in path.split("/") or path.split("/")[0] in ("venv", MANIFEST):
                raise ReleaseError("files: %r must be relative to the release, outside of venv" % path)

    # -- planning -----------------------------------------------------------------------------------

    def _choose(self) -> Interpreter:
        if self.interpreter is None:
            self.interpreter = choose(self.params.get("python"))
        return self.interpreter

    def _kept(self, current: Optional[str], previous: Optional[str], new: Optional[str]) -> List[str]:
        keep = max(1, int(self.params.get("keep") or 3))
        kept = [path for path in (current, previous, new) if path]
        for path in complete(self.root):
            if path not in kept and len(set(kept)) < keep:
                kept.append(path)
        return kept

    def plan(self) -> Plan:
        """Work out what is to be done.

        Raises:
            ReleaseError: if it cannot be.
            PythonError: if a release is to be built and no interpreter can.
        """
        if self.state == "active":
            return self._plan_active()
        assert self.name is not None
        target = find(self.root, self.name)
        drift = release_drift(target, self.wanted) if target else [Drift("release", self.name, "not there")]
        build = any(item.part != "file" for item in drift)
        dead: List[str] = []
        rewrite: List[Mapping[str, Any]] = []
        current = link_target(self.root, "current")
        if build:
            if target and target not in (current, link_target(self.root, "previous")):
                dead.append(target)
            target = free_folder(self.root, self.name) if target or not self._leftover() else self._leftover()
            needs_python = self.wanted["requirements"] or self.wanted["wheel"]
            packages = wanted_packages(self.wanted, self._choose().markers) if needs_python else {}
        else:
            assert target is not None
            changed = {item.name for item in drift}
            rewrite = [item for item in self.wanted["files"] if os.path.join(target, item["path"]) in changed]
            packages = dict((read_manifest(target) or {}).get("packages") or {})
        activate = bool(self.params["activate"]) and current != target
        return self._finish(target, build, rewrite, activate, dead, drift, packages)

    def _leftover(self) -> Optional[str]:
        """The plain folder of this name, if an interrupted run left it: it is emptied and used again."""
        path = os.path.join(releases_folder(self.root), str(self.name))
        return path if os.path.isdir(path) and read_manifest(path) is None else None

    def _plan_active(self) -> Plan:
        current, previous = link_target(self.root, "current"), link_target(self.root, "previous")
        if self.name:
            target = find(self.root, self.name)
        else:
            others = [previous] if previous and previous != current else []
            others += [path for path in complete(self.root) if path != current]
            target = next((path for path in others if path and read_manifest(path)), None)
        if not target:
            there = ", ".join(str(_name_of(path)) for path in complete(self.root)) or "none"
            wish = "release %s" % self.name if self.name else "previous release"
            raise ReleaseError("%s has no finished %s; there are: %s" % (self.root, wish, there))
        packages = dict((read_manifest(target) or {}).get("packages") or {})
        return self._finish(target, False, [], current != target, [], [], packages)

    def _finish(
        self,
        target: Optional[str],
        build: bool,
        rewrite: List[Mapping[str, Any]],
        activate: bool,
        dead: List[str],
        drift: List[Drift],
        packages: Dict[str, str],
    ) -> Plan:
        current_after, previous_after = self._links_after(target, activate)
        kept = self._kept(current_after, previous_after, target)
        if self.state == "active":
            kept += complete(self.root)  # a rollback removes nothing that another might go to
        remove = [
            path for path in all_folders(self.root) if path in dead or (path not in kept and path != target)
        ]
        return Plan(target, build, rewrite, activate, remove, drift, packages)

    def _links_after(self, target: Optional[str], activate: bool) -> "tuple[Optional[str], Optional[str]]":
        current, previous = link_target(self.root, "current"), link_target(self.root, "previous")
        if not activate:
            return current, previous
        # A release built anew under its own name is no place to go back to.
        if current and _name_of(current) and _name_of(current) != self._target_name(target):
            previous = current
        return target, previous if previous != target else None

    def _target_name(self, target: Optional[str]) -> Optional[str]:
        return self.name or _name_of(target)

    # -- telling ------------------------------------------------------------------------------------

    def _package_phrase(self, plan: Plan) -> List[str]:
        old = find(self.root, self.name or "") or link_target(self.root, "current")
        found = (
            {name: item["version"] for name, item in installed(os.path.join(old, "venv")).items()}
            if old
            else {}
        )
        broken = {item.name for item in plan.drift if item.part == "package"}
        fresh = sorted(
            "%s==%s" % item
            for item in plan.packages.items()
            if found.get(item[0]) != item[1] or item[0] in broken
        )
        if not fresh:
            return ["build release %s" % self.name]
        if len(fresh) > 4:
            fresh = fresh[:3] + ["%d more packages" % (len(fresh) - 3)]
        return ["build release %s" % self.name, "install " + ", ".join(fresh)]

    def actions(self, plan: Plan) -> List[str]:
        """Return the plan in short phrases."""
        phrases: List[str] = []
        unfinished = [path for path in plan.remove if read_manifest(path) is None]
        phrases += ["remove the unfinished release %s" % os.path.basename(path) for path in unfinished]
        if plan.build:
            phrases += self._package_phrase(plan)
        phrases += ["write %s" % item["path"] for item in plan.rewrite]
        if plan.activate:
            phrases.append("activate release %s" % self._target_name(plan.target))
        phrases += [
            "remove release %s" % os.path.basename(path) for path in plan.remove if path not in unfinished
        ]
        return phrases

    def _lines(
        self, current: Optional[str], previous: Optional[str], folders: List[str], packages: List[str]
    ) -> str:
        lines = ["current: %s" % (current or "none"), "previous: %s" % (previous or "none"), "releases:"]
        lines += ["  - %s" % os.path.basename(path) for path in sorted(folders)]
        return "\n".join(lines + ["packages:"] + ["  - %s" % item for item in packages]) + "\n"

    def diff(self, plan: Plan) -> List[Dict[str, str]]:
        """Return the plan as diffs: the root's state with its packages, then each file."""
        current, previous = link_target(self.root, "current"), link_target(self.root, "previous")
        shown = (find(self.root, self.name) if self.name else None) or current
        notes = {item.name: item.why for item in plan.drift if item.part == "package"}
        found = installed(os.path.join(shown, "venv")) if shown else {}
        before = [
            "%s==%s%s" % (name, found[name]["version"], " (%s)" % notes[name] if name in notes else "")
            for name in sorted(found)
        ]
        after = ["%s==%s" % item for item in sorted(plan.packages.items())]
        folders = all_folders(self.root)
        left = [path for path in folders if path not in plan.remove]
        if plan.build and plan.target and plan.target not in left:
            left.append(plan.target)
        current_after, previous_after = self._links_after(plan.target, plan.activate)
        name_after = self._target_name(plan.target) if plan.activate else _name_of(current)
        diffs = [
            {
                "before_header": self.root,
                "after_header": self.root,
                "before": self._lines(_name_of(current), _name_of(previous), folders, before),
                "after": self._lines(name_after, _name_of(previous_after), left, after),
            }
        ]
        del current_after
        return diffs + self._file_diffs(plan, shown)

    def _file_diffs(self, plan: Plan, shown: Optional[str]) -> List[Dict[str, str]]:
        diffs = []
        for item in self.wanted.get("files", []) if plan.build else plan.rewrite:
            old = dict(item, path=os.path.join(shown or "/nonexistent", item["path"]))
            diff = file_diff(old, self.contents[item["path"]], secret=False)
            if diff["before"] != diff["after"] or not shown:
                diff["after_header"] = os.path.join(str(plan.target), item["path"])
                diffs.append(diff)
        return diffs

    # -- doing --------------------------------------------------------------------------------------

    def refuse(self, plan: Plan) -> None:
        """Refuse a plan that cannot be carried out, before anything is written.

        Raises:
            ReleaseError: naming the reason and the remedy.
        """
        if plan.build:
            check_space(self.root, int(self.params.get("min_free_mb") or 0))
            if self.params.get("wheel"):
                wheel_bytes(self.params["wheel"])
            house = self.params.get("wheelhouse")
            if house and not self.check_mode and not os.path.isdir(house):
                raise ReleaseError(
                    "wheelhouse %s is no directory on this node: copy the wheels there first" % house
                )
        if not self.check_mode:
            for item in self.wanted.get("files", []):
                check_writable(item, os.path.join(str(plan.target), item["path"]))

    def execute(self, plan: Plan) -> None:
        """Carry the plan out.

        Raises:
            ReleaseError: if a part failed; what runs is as it was.
        """
        for path in plan.remove:
            if read_manifest(path) is None:
                shutil.rmtree(path)
        if plan.build:
            self._build(str(plan.target))
        for item in plan.rewrite:
            content = self.contents[item["path"]].encode("utf-8")
            write_file(os.path.join(str(plan.target), item["path"]), content, item)
        if plan.activate:
            self._activate(str(plan.target))
        for path in plan.remove:
            if os.path.isdir(path):
                _remove_release(path)

    def _build(self, target: str) -> None:
        if os.path.isdir(target):
            shutil.rmtree(target)
        os.makedirs(target, mode=0o755)
        try:
            for item in self.wanted["files"]:
                write_file(
                    os.path.join(target, item["path"]), self.contents[item["path"]].encode("utf-8"), item
                )
            environment: Dict[str, Any] = {"packages": {}, "records": {}, "scripts": {}}
            if self.wanted["requirements"] or self.wanted["wheel"]:
                environment = self._build_venv(target)
            manifest = dict(environment, name=self.name, created_at=time.time())
            manifest.update({key: self.wanted[key] for key in ("lock_sha256", "wheel", "files")})
            text = json.dumps(manifest, indent=1, sort_keys=True) + "\n"
            write_file(os.path.join(target, MANIFEST), text.encode("utf-8"), _PLAIN)
        except BaseException:
            shutil.rmtree(target, ignore_errors=True)
            raise

    def _build_venv(self, target: str) -> Dict[str, Any]:
        interpreter = self._choose()
        scratch = os.path.join(target, ".build")
        os.mkdir(scratch, 0o700)
        requirements = os.path.join(scratch, "requirements.txt")
        lines = self.params.get("lock") or ""
        wheel = self.params.get("wheel")
        if wheel:
            path = os.path.join(scratch, wheel["filename"])
            write_file(path, wheel_bytes(wheel), _PLAIN)
            lines += "\n%s --hash=sha256:%s\n" % (path, wheel["sha256"])
        write_file(requirements, lines.encode("utf-8"), _PLAIN)
        venv = os.path.join(target, "venv")
        Builder(interpreter, venv, float(self.params.get("timeout") or 600)).build(
            requirements, self.params.get("wheelhouse")
        )
        shutil.rmtree(scratch)
        found = describe(venv)
        return dict(found, python=interpreter.path, markers=interpreter.markers)

    def _activate(self, target: str) -> None:
        current, previous = self._links_after(target, True)
        if previous:
            _link(self.root, "previous", previous)
        elif os.path.islink(os.path.join(self.root, "previous")):
            os.unlink(os.path.join(self.root, "previous"))
        _link(self.root, "current", str(current))

    def remove(self) -> Dict[str, Any]:
        """Remove a release, or the whole root, and return the module's answer.

        Raises:
            ReleaseError: if the release is in use, or the root holds what is not this module's.
        """
        if not self.name:
            return self._remove_root()
        folders = [path for path in complete(self.root) if _name_of(path) == self.name]
        held = {link_target(self.root, link): link for link in ("current", "previous")}
        for path in folders:
            if path in held:
                raise ReleaseError(
                    "release %s is the %s one: activate another first" % (self.name, held[path])
                )
        if not self.check_mode:
            for path in folders:
                _remove_release(path)
        actions = ["remove release %s" % os.path.basename(path) for path in folders]
        return self._answer(bool(folders), actions, "".join("%s\n" % path for path in folders), "")

    def _remove_root(self) -> Dict[str, Any]:
        if not os.path.isdir(self.root) or os.path.islink(self.root):
            return self._answer(False, [], "", "")
        foreign = sorted(set(os.listdir(self.root)) - _OWN_ENTRIES)
        if foreign:
            raise ReleaseError(
                "%s also holds %s, which this module did not put there: move it away, then remove %s"
                % (self.root, ", ".join(foreign[:5]), self.root)
            )
        before = "".join("%s\n" % path for path in [self.root] + all_folders(self.root))
        if not self.check_mode:
            shutil.rmtree(self.root)
        return self._answer(True, ["remove %s with its releases" % self.root], before, "")

    def _answer(self, changed: bool, actions: List[str], before: str, after: str) -> Dict[str, Any]:
        return {
            "changed": changed,
            "actions": actions,
            "release": _name_of(link_target(self.root, "current")),
            "previous": _name_of(link_target(self.root, "previous")),
            "diff": [
                {"before": before, "after": after, "before_header": self.root, "after_header": self.root}
            ],
        }


_PLAIN = {"path": "", "sha256": "", "mode": "0644", "owner": None, "group": None}


def _remove_release(path: str) -> None:
    # Without its manifest it counts as unfinished, so that an interruption here leaves nothing half alive.
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(path, MANIFEST))
    shutil.rmtree(path)


def _link(root: str, link: str, target: str) -> None:
    fresh = os.path.join(root, ".%s.new" % link)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(fresh)
    os.symlink(os.path.relpath(target, root), fresh)
    os.replace(fresh, os.path.join(root, link))


@contextlib.contextmanager
def _locked(root: str) -> Iterator[None]:
    os.makedirs(releases_folder(root), mode=0o755, exist_ok=True)
    with open(os.path.join(root, ".lock"), "w") as handle:
        deadline = time.monotonic() + LOCK_WAIT
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise ReleaseError(
                        "another run has been at work in %s for %g s: wait for it" % (root, LOCK_WAIT)
                    )
                time.sleep(0.5)
        yield


def apply(request: Request) -> Dict[str, Any]:
    """Plan a request and, unless in check mode, carry it out.

    Returns:
        The module's answer.

    Raises:
        ReleaseError: if it is refused or fails.
    """
    if request.state == "absent":
        return request.remove()
    os.umask(0o022)
    try:
        plan = request.plan()
        request.refuse(plan)
        answer = _describe(request, plan)
        if plan.changes and not request.check_mode:
            with _locked(request.root):
                again = request.plan()  # another run may have been at work until now
                if again.changes:
                    request.execute(again)
    except (PythonError, VenvError) as error:
        raise ReleaseError("release %s was not built, what ran still runs: %s" % (request.name, error))
    return answer


def _describe(request: Request, plan: Plan) -> Dict[str, Any]:
    current, previous = request._links_after(plan.target, plan.activate)
    name = request._target_name(plan.target) if plan.activate else _name_of(current)
    return {
        "changed": plan.changes,
        "actions": request.actions(plan),
        "release": name,
        "path": plan.target,
        "previous": _name_of(previous),
        "packages": plan.packages,
        "diff": request.diff(plan) if plan.changes else [],
    }
