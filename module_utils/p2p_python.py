"""The interpreters of a node: which there are, and the one that runs a release."""

from __future__ import annotations

import glob
import json
import os
import re
import stat
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from .p2p_run import last_lines, run

_MOST_LINKS = 40
_FOLDERS = ("/usr/local/bin", "/usr/bin", "/opt/homebrew/bin")

# `base` is what an environment links to: for an interpreter that is in one itself, the one behind it.
_QUESTION = r"""
import json, os, sys, sysconfig
print(json.dumps({
    "base": os.path.abspath(getattr(sys, "_base_executable", sys.executable)),
    "in_venv": sys.prefix != sys.base_prefix,
    "implementation": sys.implementation.name,
    "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    "version": list(sys.version_info[:3]),
}))
"""


class PythonError(ValueError):
    """No interpreter that a release can use."""


class Interpreter(NamedTuple):
    """A Python and what it says of itself."""

    path: str
    version: Tuple[int, ...]
    in_venv: bool
    base: str


def _lasting(base: str) -> str:
    """Return an interpreter's path with the version in its name, where there is one beside it.

    An upgrade of the system makes `python3` another Python, for which an environment's packages are not made.
    """
    real = os.path.realpath(base)
    return real if os.path.dirname(real) == os.path.dirname(base) else base


def ask(path: str, timeout: float = 20) -> Interpreter:
    """Ask an interpreter what it is.

    Raises:
        PythonError: if it does not answer, or is not CPython.
    """
    outcome = run([path, "-I", "-c", _QUESTION], timeout)
    if outcome.code != 0:
        raise PythonError("%s does not run: %s" % (path, last_lines(outcome.err, 2) or "no output"))
    try:
        answer: Dict[str, Any] = json.loads(outcome.out)
        version = tuple(int(part) for part in answer["version"])
        base = _lasting(str(answer["base"]))
    except (KeyError, TypeError, ValueError):
        raise PythonError("%s is no Python: it said %.100r" % (path, outcome.out)) from None
    if answer["implementation"] != "cpython":
        raise PythonError("%s is %s, and packages are for CPython" % (path, answer["implementation"]))
    if answer.get("free_threaded"):
        raise PythonError("%s is a free-threaded Python, which packages are not built for" % path)
    return Interpreter(path, version, bool(answer["in_venv"]), base)


def _entries(folder: str) -> List[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def candidates() -> List[str]:
    """Return the interpreters on this node, those whose name carries the newest version first.

    Those in home directories are left out for root: a sandboxed service could not run them. So are those of
    virtual environments, which would also hide the interpreter that they link to.
    """
    folders = [folder for folder in os.environ.get("PATH", "").split(":") if os.path.isabs(folder)]
    folders += list(_FOLDERS) + sorted(glob.glob("/opt/*/bin"))
    found: Dict[str, Tuple[int, str]] = {}
    for folder in folders:
        if os.geteuid() == 0 and folder.startswith(("/root/", "/home/")):
            continue
        if os.path.exists(os.path.join(os.path.dirname(os.path.abspath(folder)), "pyvenv.cfg")):
            continue
        for name in _entries(folder):
            match = name.startswith("python3") and re.fullmatch(r"python3(?:\.(\d+))?", name)
            path = os.path.join(folder, name)
            if not match or not os.access(path, os.X_OK):
                continue
            real = os.path.realpath(path)
            rank = int(match.group(1) or (version_by_name(path) or "3.0").split(".")[1])
            if real not in found or found[real][0] < rank:
                found[real] = (rank, path)
    return [path for rank, path in sorted(found.values(), key=lambda item: (-item[0], item[1]))]


def others_own(path: str) -> bool:
    """Tell whether somebody besides root may put another program in an interpreter's place.

    Each folder and link on the way is looked at: whoever may exchange one of these exchanges the program.
    """
    todo, place, links = path.split("/")[::-1], "/", 0
    try:
        while todo:
            name = todo.pop()
            if name in ("", ".", ".."):
                place = os.path.dirname(place) if name == ".." else place
                continue
            below = os.path.join(place, name)
            above, found = os.lstat(place), os.lstat(below)
            if found.st_uid != 0 or (_open_to_others(above) and not above.st_mode & stat.S_ISVTX):
                return True
            if stat.S_ISLNK(found.st_mode):
                links += 1
                target = os.readlink(below)
                todo += target.split("/")[::-1]
                place = "/" if target.startswith("/") else place
            else:
                place = below
            if links > _MOST_LINKS:
                return True
        return _open_to_others(os.lstat(place))
    except OSError:
        return True


def _open_to_others(found: os.stat_result) -> bool:
    return bool(found.st_mode & stat.S_IWOTH or (found.st_mode & stat.S_IWGRP and found.st_gid != 0))


def version_by_name(path: str) -> Optional[str]:
    """Return the minor version that an interpreter's name tells, such as `3.11`, or None."""
    match = re.search(r"python(3\.\d+)$", os.path.realpath(path))
    return match.group(1) if match else None


def _dotted(version: Tuple[int, ...]) -> str:
    return ".".join(str(part) for part in version)


def choose(minor: str, wish: Optional[str] = None, timeout: float = 20) -> Interpreter:
    """Return the interpreter that runs a release.

    Args:
        minor: the version that its packages are for, such as `3.11`.
        wish: a path to take instead of the first that has this version.
        timeout: seconds for each interpreter to answer.

    Raises:
        PythonError: if there is none; it names what was found.
    """
    seen: List[str] = []
    for path in [wish] if wish else candidates():
        if not wish and version_by_name(path) not in (minor, None):
            seen.append(path)
            continue
        try:
            interpreter = ask(path, timeout)
        except PythonError as error:
            seen.append(str(error))
            continue
        if _dotted(interpreter.version[:2]) == minor and (wish or not interpreter.in_venv):
            return interpreter
        where = " of a virtual environment" if interpreter.in_venv else ""
        seen.append("%s is %s%s" % (path, _dotted(interpreter.version), where))
    found = "; ".join(seen) if seen else "none at all"
    raise PythonError("no Python %s found, which the packages are for (%s)" % (minor, found))
