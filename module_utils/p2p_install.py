"""An environment made out of an artefact: unpacked, given the node's own Python, compiled and tried."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from typing import Any, Dict, List, NamedTuple, Sequence

from .p2p_archive import opened
from .p2p_artifact import DESCRIPTION, Artifact, ArtifactError
from .p2p_installed import (
    bytecode,
    bytecode_digest,
    compiled,
    own_parts,
    packages_folder,
    seal,
    unbroken,
)
from .p2p_python import Interpreter
from .p2p_releases import read_artifact, read_manifest
from .p2p_run import last_lines, run

SECONDS = 300.0
# Bytecode that is never compared with its source again: nothing writes to either. It records a path that is
# the same for every release, so that the next one can take it over. What cannot be compiled is no module,
# such as a template. A library that is for another platform, or needs a newer one, cannot be loaded.
_COMPILE_AND_TRY = r"""
import ctypes, importlib, importlib.util, os, py_compile, sys
site, recorded, tries = sys.argv[1], sys.argv[2], sys.argv[3:]
for folder, names, files in os.walk(site):
    names[:] = [name for name in names if name not in ("__pycache__", "test", "tests")]
    for name in files:
        path = os.path.join(folder, name)
        if name.endswith((".so", ".dylib")):
            ctypes.CDLL(path)
        elif name.endswith(".py") and not os.path.exists(importlib.util.cache_from_source(path)):
            try:
                py_compile.compile(path, dfile=recorded + path[len(site):], doraise=True, quiet=2,
                                   invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
            except py_compile.PyCompileError:
                pass
for name in tries:
    importlib.import_module(name)
"""


class NeededError(Exception):
    """A release cannot be made of what is at hand; the message says what is not."""


class Donor(NamedTuple):
    """A finished release whose files are as made: path by digest, and whether its bytecode is, too."""

    site: str
    files: Dict[str, str]
    compiled: bool


def donors(releases: Sequence[str], python: str) -> List[Donor]:
    """Return of finished releases those that a new one can take files from.

    Args:
        releases: their folders.
        python: the minor version that bytecode has to be for.
    """
    found = []
    for path in releases:
        venv, manifest, artifact = os.path.join(path, "venv"), read_manifest(path) or {}, read_artifact(path)
        if artifact and artifact.digest == manifest.get("artifact") and unbroken(venv, manifest.get("seal")):
            same = artifact.python == python and manifest.get("compiled") == compiled(venv)
            files = {item.sha256: name for name, item in artifact.files.items()}
            found.append(Donor(packages_folder(venv, artifact.python), files, same))
    return found


def unpack(
    archive: str,
    digest: str,
    venv: str,
    description: str,
    interpreter: Interpreter,
    *,
    older: Sequence[str],
) -> Artifact:
    """Unpack an artefact into an environment that is not there yet.

    Args:
        archive: its file.
        digest: that it must have.
        venv: the environment's folder.
        description: where the artefact's description goes.
        interpreter: the Python that the environment is for.
        older: folders of finished releases, which have what the archive leaves out.

    Raises:
        ArtifactError: if it is not the artefact, or for another Python.
        NeededError: if the archive leaves out what no older release has.
        OSError: if it cannot be written.
    """
    with opened(archive, digest, interpreter.path) as (found, text, files):
        minor = "%d.%d" % interpreter.version[:2]
        if found.python != minor:
            raise ArtifactError("it is for Python %s, and %s is %s" % (found.python, interpreter.path, minor))
        site = packages_folder(venv, found.python)
        for folder in sorted({os.path.dirname(path) for path in found.files} | {""}):
            os.makedirs(os.path.join(site, folder), exist_ok=True)
        left = dict(found.files)
        for path, item, content in files:
            del left[path]
            with open(os.path.join(site, path), "xb") as handle:
                handle.write(content)
                os.fchmod(handle.fileno(), int(item.mode, 8))
        _take_over(site, found, left, older)
        with open(description, "xb") as handle:
            handle.write(text)
    return found


def _take_over(site: str, artifact: Artifact, left: Dict[str, Any], older: Sequence[str]) -> None:
    """Copy files that an archive left out from older releases, with their bytecode."""
    givers = donors(older, artifact.python) if left else []
    tag = "cpython-" + artifact.python.replace(".", "")
    made = set()
    for path, item in left.items():
        giver = next((one for one in givers if item.sha256 in one.files), None)
        if giver is None:
            raise NeededError("%s is in no release on the node" % path)
        source, target = os.path.join(giver.site, giver.files[item.sha256]), os.path.join(site, path)
        with open(source, "rb") as given, open(target, "xb") as handle:
            content = given.read(item.size + 1)
            if hashlib.sha256(content).hexdigest() != item.sha256:
                raise NeededError("%s differs from what was installed" % source)
            handle.write(content)
            os.fchmod(handle.fileno(), int(item.mode, 8))
        # The recorded path is part of the bytecode.
        if giver.compiled and giver.files[item.sha256] == path and os.path.exists(bytecode(source, tag)):
            folder = os.path.dirname(bytecode(target, tag))
            if folder not in made:
                os.makedirs(folder, exist_ok=True)
                made.add(folder)
            shutil.copyfile(bytecode(source, tag), bytecode(target, tag))


def give_python(venv: str, interpreter: Interpreter) -> None:
    """Make a folder of packages a virtual environment of an interpreter, without the module venv."""
    lines = ["home = %s" % os.path.dirname(interpreter.base), "include-system-site-packages = false"]
    lines += ["version = %s" % ".".join(str(part) for part in interpreter.version)]
    with open(os.path.join(venv, "pyvenv.cfg"), "x", encoding="utf-8") as handle:
        handle.write("".join(line + "\n" for line in lines))
    os.mkdir(os.path.join(venv, "bin"))
    os.symlink(interpreter.base, os.path.join(venv, "bin", "python"))


def compile_and_try(venv: str, artifact: Artifact, recorded: str) -> None:
    """Compile an environment's modules once, and see that what it holds can be loaded on this node.

    Args:
        venv: the environment's folder.
        artifact: what is in it.
        recorded: the environment's folder as bytecode records it, for messages of programs alone.

    Raises:
        ArtifactError: if it cannot: it may be for another platform.
    """
    python, site = os.path.join(venv, "bin", "python"), packages_folder(venv, artifact.python)
    # Nothing that surrounds this run may lead elsewhere: -I ignores variables and the user's own packages.
    words = [python, "-I", "-c", _COMPILE_AND_TRY, site, packages_folder(recorded, artifact.python)]
    outcome = run([*words, *artifact.tries], SECONDS)
    if outcome.code != 0:
        if "No space left on device" in outcome.err:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), venv)
        why = last_lines(outcome.err, 1) or "exit status %s" % outcome.code
        raise ArtifactError("what it holds, for %s, does not run on this node: %s" % (artifact.target, why))


def install(
    archive: str, digest: str, release: str, interpreter: Interpreter, *, older: Sequence[str], recorded: str
) -> Dict[str, Any]:
    """Make a release's environment.

    Args:
        archive: the artefact's file.
        digest: that it must have.
        release: the release's folder.
        interpreter: the Python that it runs with.
        older: folders of finished releases, which have what the archive leaves out.
        recorded: as for `compile_and_try`.

    Returns:
        What a manifest remembers of it: `artifact` (the digest), `target`, `python` (the interpreter's path),
        `python_version`, `packages` (name -> version), `parts`, `seal`, `compiled` and `bytecode` (its
        digest; all of `p2p_installed`).

    Raises:
        ArtifactError: if the artefact cannot be used here.
        NeededError: if the archive leaves out what no older release has.
        OSError: if it cannot be written.
    """
    venv = os.path.join(release, "venv")
    found = unpack(archive, digest, venv, os.path.join(release, DESCRIPTION), interpreter, older=older)
    give_python(venv, interpreter)
    compile_and_try(venv, found, recorded)
    return {
        "artifact": found.digest,
        "target": found.target,
        "python": interpreter.path,
        "python_version": found.python,
        "packages": found.packages,
        "parts": own_parts(venv),
        "seal": seal(venv),
        "compiled": compiled(venv),
        "bytecode": bytecode_digest(venv),
    }
