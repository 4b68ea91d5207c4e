"""What of an artefact is on a node: a release's environment, compared with the artefact's description.

The environment is a virtual one, made by hand: its packages, `pyvenv.cfg` and `bin/python`, a link to the
node's own Python. It takes no module of that one but `site`, https://docs.python.org/3/library/site.html
"""

from __future__ import annotations

import glob
import hashlib
import itertools
import os
import re
import stat
from typing import Dict, Iterator, List, NamedTuple, Optional

from .p2p_artifact import Artifact, File
from .p2p_files import sha256_file
from .p2p_python import version_by_name

_SHOWN_STRAYS = 5
_MODE_ALONE = re.compile(r" has the mode [0-7]{4}, not [0-7]{4}\Z")


class Problem(NamedTuple):
    """One thing in an environment that is not as it was installed."""

    package: str
    why: str


def packages_folder(venv: str, python: str) -> str:
    """Return the folder of an environment's packages, for a minor version such as `3.11`."""
    return os.path.join(venv, "lib", "python" + python, "site-packages")


def site_packages(venv: str) -> Optional[str]:
    """Return the folder that holds an environment's packages, whatever its Python, or None."""
    found = sorted(glob.glob(os.path.join(venv, "lib", "python3.*", "site-packages")))
    return found[-1] if found else None


def seal(venv: str) -> str:
    """Return a digest of what the file system says of an environment's files, compiled ones aside.

    While it stays the same no file was written to, exchanged, added or removed: each of these changes the
    time of its last change, which nobody can set. It is how git tells what it need not read again.

    Raises:
        OSError: if a folder cannot be read.
    """
    return _sealed(venv, compiled=False)


def compiled(venv: str) -> str:
    """Return the same of the compiled files alone.

    Raises:
        OSError: if a folder cannot be read.
    """
    return _sealed(venv, compiled=True)


def bytecode(path: str, tag: str) -> str:
    """Return where the bytecode of a module lies, for a Python's tag such as `cpython-311`."""
    folder, name = os.path.split(path)
    return os.path.join(folder, "__pycache__", "%s.%s.pyc" % (os.path.splitext(name)[0], tag))


def _sealed(venv: str, compiled: bool) -> str:
    digest = hashlib.sha256()
    folders = [venv]
    while folders:
        folder = folders.pop()
        counts = (os.path.basename(folder) == "__pycache__") == compiled
        with os.scandir(folder) as entries:
            there = sorted(entries, key=lambda entry: entry.name)
        for entry in there:
            found = entry.stat(follow_symlinks=False)
            who = (found.st_mode, found.st_uid, found.st_gid)
            if stat.S_ISDIR(found.st_mode):
                if counts and (compiled or entry.name != "__pycache__"):
                    digest.update(repr((folder, entry.name, who)).encode("utf-8", "surrogateescape"))
                if compiled or entry.name != "__pycache__":
                    folders.append(entry.path)
            elif counts:
                when = (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
                digest.update(repr((folder, entry.name, who, when)).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def bytecode_digest(venv: str) -> str:
    """Return a digest of the compiled files' contents, wherever the environment lies.

    Raises:
        OSError: if one cannot be read.
    """
    digest = hashlib.sha256()
    for folder, names, files in os.walk(venv):
        names.sort()
        if "__pycache__" in os.path.relpath(folder, venv).split(os.sep):
            links = [name for name in names if os.path.islink(os.path.join(folder, name))]
            for name in sorted(files + links):
                path = os.path.join(folder, name)
                what = (os.path.relpath(path, venv), os.path.islink(path), sha256_file(path))
                digest.update(repr(what).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def same_bytecode(venv: str, sealed: object, digest: object) -> bool:
    """Tell whether an environment's compiled files are those that were made.

    Python takes them unseen: it would run what one holds that was changed, and not start with one that is
    damaged.

    Args:
        venv: the environment's folder.
        sealed: what `compiled` gave then.
        digest: what `bytecode_digest` gave then; looked at only where the seal differs.
    """
    try:
        return sealed == compiled(venv) or digest == bytecode_digest(venv)
    except OSError:
        return False


def unbroken(venv: str, sealed: object) -> bool:
    """Tell whether an environment is as it was when it was sealed."""
    try:
        return bool(sealed) and sealed == seal(venv)
    except OSError:
        return False


def _difference(path: str, wanted: File) -> Optional[str]:
    try:
        found = os.lstat(path)
        if not stat.S_ISREG(found.st_mode):
            return "is not a file"
        if found.st_size != wanted.size or sha256_file(path) != wanted.sha256:
            return "differs from what was installed"
    except (FileNotFoundError, NotADirectoryError):
        return "is missing"
    except OSError as error:
        return "cannot be read: %s" % (error.strerror or error)
    mode = "%04o" % stat.S_IMODE(found.st_mode)
    return None if mode == wanted.mode else "has the mode %s, not %s" % (mode, wanted.mode)


def _strays(site: str, wanted: Artifact) -> Iterator[str]:
    for folder, names, files in os.walk(site):
        names[:] = [name for name in names if name != "__pycache__"]
        links = [name for name in names if os.path.islink(os.path.join(folder, name))]
        for name in sorted(files + links):
            path = os.path.relpath(os.path.join(folder, name), site)
            if path not in wanted.files:
                yield path


def check(venv: str, wanted: Artifact) -> List[Problem]:
    """Compare an environment's packages with the description of the artefact that they came from.

    Returns:
        One problem a package: what is missing, changed, or does not belong.
    """
    site = packages_folder(venv, wanted.python)
    bad: Dict[str, List[str]] = {}
    for path, item in wanted.files.items():
        why = _difference(os.path.join(site, path), item)
        if why:
            bad.setdefault(item.package, []).append("%s %s" % (path, why))
    problems = []
    for package in sorted(bad):
        # What is gone or changed is told before what is merely not readable, or by too many.
        bad[package].sort(key=lambda text: bool(_MODE_ALONE.search(text)))
        first, more = bad[package][0], len(bad[package]) - 1
        why = (
            "missing" if _is_gone(site, package, wanted) else first + (" and %d more" % more if more else "")
        )
        problems.append(Problem(package, why))
    strays = itertools.islice(_strays(site, wanted), _SHOWN_STRAYS)
    return problems + [Problem("", "%s belongs to no package" % path) for path in strays]


def _is_gone(site: str, package: str, wanted: Artifact) -> bool:
    """Tell whether a package cannot be used at all: a module of it is gone, not just some file."""
    tops = {path.split("/")[0] for path, item in wanted.files.items() if item.package == package}
    modules = [name for name in tops if not name.endswith((".dist-info", ".data"))]
    return any(not os.path.lexists(os.path.join(site, name)) for name in modules)


def check_interpreter(venv: str, python: str) -> Optional[str]:
    """Return why an environment's Python cannot run it, or None.

    Args:
        venv: the environment's folder.
        python: the minor version that it was made for.
    """
    link = os.path.join(venv, "bin", "python")
    if not os.path.lexists(link):
        return "venv/bin/python is missing"
    real = os.path.realpath(link)
    if not os.path.exists(link):
        return "venv/bin/python points to %s, which is gone" % real
    if not os.access(link, os.X_OK):
        return "venv/bin/python is not executable"
    if version_by_name(link) not in (None, python):
        return "venv/bin/python points to %s, and the packages are for Python %s" % (real, python)
    return None


def own_parts(venv: str) -> Dict[str, str]:
    """Return path -> digest or link target of what is no package's: pyvenv.cfg and what lies in bin."""
    parts: Dict[str, str] = {}
    for path in [os.path.join(venv, "pyvenv.cfg"), *sorted(glob.glob(os.path.join(venv, "bin", "*")))]:
        name = os.path.relpath(path, venv)
        if os.path.islink(path):
            parts[name] = "-> " + os.readlink(path)
        elif os.path.isfile(path):
            parts[name] = "%04o %s" % (stat.S_IMODE(os.lstat(path).st_mode), sha256_file(path))
    return parts
