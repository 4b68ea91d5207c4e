"""A plan of p2p_release in words: short phrases, and the diffs that a preview and a run show alike."""

from __future__ import annotations

import os
from typing import Dict, List, Mapping, Optional

from .p2p_files import file_diff
from .p2p_release_plan import Plan, Request
from .p2p_releases import find, link_target, name_of, read_manifest

_MOST_PACKAGES = 4


def _shown(request: Request) -> Optional[str]:
    """The folder that a diff starts from: the release of that name, else what runs."""
    return (find(request.root, request.name) if request.name else None) or link_target(
        request.root, "current"
    )


def _versions(path: Optional[str]) -> Dict[str, str]:
    packages = ((read_manifest(path) if path else None) or {}).get("packages")
    return (
        {str(name): str(version) for name, version in packages.items()} if isinstance(packages, dict) else {}
    )


def _package_phrases(request: Request, plan: Plan) -> List[str]:
    found = _versions(_shown(request))
    broken = {item.name for item in plan.drift if item.part == "package"}
    fresh = [
        "%s==%s" % (name, version)
        for name, version in sorted(plan.packages.items())
        if found.get(name) != version or name in broken
    ]
    if len(fresh) > _MOST_PACKAGES:
        fresh = [*fresh[: _MOST_PACKAGES - 1], "%d more packages" % (len(fresh) - _MOST_PACKAGES + 1)]
    phrases = ["build release %s" % request.name]
    return phrases + (["install " + ", ".join(fresh)] if fresh else [])


def actions(request: Request, plan: Plan) -> List[str]:
    """Return a plan in short phrases."""
    unfinished = [path for path in plan.remove if read_manifest(path) is None]
    phrases = ["remove the unfinished release %s" % os.path.basename(path) for path in unfinished]
    if plan.build:
        phrases += _package_phrases(request, plan)
    phrases += ["write %s" % os.path.join(plan.target, item["path"]) for item in plan.rewrite]
    if plan.activate:
        phrases.append("activate release %s" % (request.name or name_of(plan.target)))
    gone = [path for path in plan.remove if path not in unfinished]
    return phrases + ["remove release %s" % os.path.basename(path) for path in gone]


def _lines(current: Optional[str], previous: Optional[str], folders: List[str], packages: List[str]) -> str:
    lines = ["current: %s" % (current or "none"), "previous: %s" % (previous or "none"), "releases:"]
    lines += ["  - %s" % os.path.basename(path) for path in sorted(folders)]
    return "\n".join([*lines, "packages:", *("  - %s" % item for item in packages)]) + "\n"


def diffs(request: Request, plan: Plan) -> List[Dict[str, str]]:
    """Return a plan as diffs: the root with its releases and packages, then each file."""
    root, shown = request.root, _shown(request)
    notes = {item.name: " (%s)" % item.why for item in plan.drift if item.part == "package"}
    before = [
        "%s==%s%s" % (name, version, notes.get(name, ""))
        for name, version in sorted(_versions(shown).items())
    ]
    after = ["%s==%s" % item for item in sorted(plan.packages.items())]
    folders = plan.before
    if plan.target in folders and not os.path.isdir(plan.target):
        before = after  # in a preview of what follows a build
    left = {path for path in folders if path not in plan.remove}
    if plan.build:
        left.add(plan.target)
    name = (request.name or name_of(plan.target)) if plan.current == plan.target else name_of(plan.current)
    now, then = link_target(root, "current"), link_target(root, "previous")
    state = {
        "before_header": root,
        "after_header": root,
        "before": _lines(name_of(now), name_of(then), folders, before),
        "after": _lines(name, name_of(plan.previous), sorted(left), after),
    }
    return [state, *_file_diffs(request, plan, shown)]


def _file_diffs(request: Request, plan: Plan, shown: Optional[str]) -> List[Dict[str, str]]:
    found = []
    wanted: List[Mapping[str, str]] = list(request.wanted["files"] if plan.build else plan.rewrite)
    for item in wanted:
        path = os.path.join(plan.target, item["path"])
        old = dict(item, path=os.path.join(shown, item["path"]) if shown else path)
        diff = dict(file_diff(old, request.contents[item["path"]], secret=False), after_header=path)
        if diff["before"] != diff["after"]:
            found.append(diff)
    return found
