"""A release's virtual environment: building it from a lock, and checking every file of it.

What pip installs is described by each package's RECORD, https://packaging.python.org/en/latest/specifications/recording-installed-packages/
"""

from __future__ import annotations

import base64
import csv
import glob
import hashlib
import os
import re
import stat
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Set, Tuple

from .p2p_files import sha256_file
from .p2p_python import Interpreter
from .p2p_requirements import normal_name
from .p2p_run import Outcome, last_lines, run

_OTHERS_WRITE, _ALL_READ = 0o022, 0o444


class VenvError(Exception):
    """An environment that could not be built; the message has pip's own words and the remedy."""


class Problem(NamedTuple):
    """One thing in an environment that is not as it was installed."""

    package: str
    why: str


def site_packages(venv: str) -> Optional[str]:
    """Return the folder that holds an environment's packages, or None if there is none."""
    found = sorted(glob.glob(os.path.join(venv, "lib", "python3.*", "site-packages")))
    return found[-1] if found else None


def _metadata(folder: str) -> Optional[Tuple[str, str]]:
    name = version = None
    try:
        with open(os.path.join(folder, "METADATA"), encoding="utf-8", errors="replace") as handle:
            for line in handle:
                if line.startswith("Name:"):
                    name = line[5:].strip()
                elif line.startswith("Version:"):
                    version = line[8:].strip()
                elif not line.strip():
                    break
                if name and version:
                    return normal_name(name), version
    except OSError:
        pass
    return None


def installed(venv: str) -> Dict[str, Dict[str, str]]:
    """Return what an environment holds: name -> `version`, `record` (SHA-256 of its RECORD), `folder`."""
    site = site_packages(venv)
    packages: Dict[str, Dict[str, str]] = {}
    for folder in sorted(glob.glob(os.path.join(site, "*.dist-info"))) if site else []:
        known = _metadata(folder)
        record = os.path.join(folder, "RECORD")
        if known and os.path.isfile(record):
            packages[known[0]] = {"version": known[1], "record": sha256_file(record), "folder": folder}
    return packages


def _record_rows(record: str) -> Iterator[Tuple[str, str]]:
    with open(record, encoding="utf-8", newline="") as handle:
        for row in csv.reader(handle):
            if row:
                yield row[0], row[1] if len(row) > 1 else ""


def _mode_fault(found: os.stat_result) -> Optional[str]:
    if not stat.S_ISREG(found.st_mode):
        return "is not a file"
    if found.st_mode & _OTHERS_WRITE:
        return "is writable by others (%04o)" % stat.S_IMODE(found.st_mode)
    if found.st_mode & _ALL_READ != _ALL_READ:
        return "is not readable by all (%04o)" % stat.S_IMODE(found.st_mode)
    return None


def _check_file(path: str, recorded: str) -> Optional[str]:
    try:
        fault = _mode_fault(os.stat(path))
        if fault or not recorded:
            return fault
        algorithm, _, wanted = recorded.partition("=")
        digest = hashlib.new(algorithm)
        with open(path, "rb", buffering=0) as handle:
            digest.update(handle.read())
    except FileNotFoundError:
        return "is missing"
    except (OSError, ValueError) as error:
        return "cannot be checked: %s" % error
    found = base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode("ascii")
    return None if found == wanted else "differs from what was installed"


def _strays(site: str, known: Set[str]) -> Iterator[str]:
    for folder, names, files in os.walk(site):
        names[:] = [name for name in names if name != "__pycache__"]
        for name in files:
            path = os.path.join(folder, name)
            if path not in known:
                yield path


def seal(venv: str) -> str:
    """Return a digest of what the file system says of an environment's files, compiled ones aside.

    While it stays the same no file was written to, exchanged, added or removed: each of these changes the
    time of its last change, which nobody can set. It is how git tells what it need not read again.

    Raises:
        OSError: if a folder cannot be read.
    """
    digest = hashlib.sha256()
    folders = [venv]
    while folders:
        folder = folders.pop()
        with os.scandir(folder) as entries:
            there = sorted(entries, key=lambda entry: entry.name)
        for entry in there:
            found = entry.stat(follow_symlinks=False)
            who = (found.st_mode, found.st_uid, found.st_gid)
            if not stat.S_ISDIR(found.st_mode):
                when = (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
                digest.update(repr((folder, entry.name, who, when)).encode("utf-8", "surrogateescape"))
            elif entry.name != "__pycache__":
                digest.update(repr((folder, entry.name, who)).encode("utf-8", "surrogateescape"))
                folders.append(entry.path)
    return digest.hexdigest()


def unbroken(venv: str, sealed: object) -> bool:
    """Tell whether an environment is as it was when it was sealed."""
    try:
        return bool(sealed) and sealed == seal(venv)
    except OSError:
        return False


def wrong_versions(found: Mapping[str, str], wanted: Mapping[str, str]) -> Dict[str, str]:
    """Return name -> why for packages of another version than wanted, missing, or not wanted."""
    reasons = {
        name: "%s, not %s" % (version, wanted[name])
        if name in wanted
        else "%s does not belong here" % version
        for name, version in found.items()
        if version != wanted.get(name)
    }
    return dict(reasons, **{name: "missing" for name in wanted if name not in found})


def check_packages(venv: str, wanted: Mapping[str, str], records: Mapping[str, str]) -> List[Problem]:
    """Compare an environment with what should be in it, file by file.

    Args:
        venv: the environment's folder.
        wanted: name -> version of every package that belongs in it.
        records: name -> SHA-256 of its RECORD at installation, as far as known.

    Returns:
        One problem a package: what is missing, changed, or does not belong.
    """
    found = installed(venv)
    wrong = wrong_versions({name: item["version"] for name, item in found.items()}, wanted)
    problems: List[Problem] = []
    known: Set[str] = set()
    site = site_packages(venv) or ""
    for name in sorted(found):
        folder = found[name]["folder"]
        bad: List[str] = []
        for relative, recorded in _record_rows(os.path.join(folder, "RECORD")):
            path = os.path.normpath(os.path.join(site, relative))
            known.add(path)
            if relative.endswith(".pyc"):
                continue  # Python writes these anew whenever it likes
            why = _check_file(path, recorded)
            if why:
                bad.append("%s %s" % (os.path.relpath(path, venv), why))
        if name in wrong:
            problems.append(Problem(name, wrong[name]))
        elif bad:
            more = " and %d more" % (len(bad) - 1) if len(bad) > 1 else ""
            problems.append(Problem(name, bad[0] + more))
        elif name in records and records[name] != found[name]["record"]:
            problems.append(Problem(name, "its RECORD differs from what was installed"))
    problems += [Problem(name, wrong[name]) for name in sorted(wanted) if name not in found]
    for path in sorted(_strays(site, known))[:5] if site else []:
        problems.append(Problem("", "%s belongs to no package" % os.path.relpath(path, venv)))
    return problems


def check_interpreter(venv: str) -> Optional[str]:
    """Return why an environment's Python cannot run, or None."""
    python = os.path.join(venv, "bin", "python")
    if not os.path.lexists(python):
        return "venv/bin/python is missing"
    if not os.path.exists(python):
        return "venv/bin/python points to %s, which is gone" % os.path.realpath(python)
    if not os.access(python, os.X_OK):
        return "venv/bin/python is not executable"
    if not os.path.isfile(os.path.join(venv, "pyvenv.cfg")):
        return "venv/pyvenv.cfg is missing"
    return None


def script_digests(venv: str) -> Dict[str, str]:
    """Return path -> digest or link target of an environment's own parts: pyvenv.cfg and what lies in bin."""
    parts: Dict[str, str] = {}
    for path in [os.path.join(venv, "pyvenv.cfg"), *sorted(glob.glob(os.path.join(venv, "bin", "*")))]:
        name = os.path.relpath(path, venv)
        if os.path.islink(path):
            parts[name] = "-> " + os.readlink(path)
        elif os.path.isfile(path):
            parts[name] = "%04o %s" % (stat.S_IMODE(os.lstat(path).st_mode), sha256_file(path))
    return parts


_REMEDIES = (
    (
        r"DO NOT MATCH THE HASHES|Expected sha256",
        "the index serves other bytes than the lock was made from: renew the lock, "
        "or look for who changed them",
    ),
    (r"No space left on device", "the disk filled up: free space and run again"),
    (
        r"name resolution|NewConnectionError|Failed to establish|Max retries|ConnectTimeout|Read timed out"
        r"|SSLError|ProxyError|Connection (?:refused|reset|aborted)|Network is unreachable|HTTPError"
        r"|no end after",
        "the package index was not reached from this node: "
        "set `wheelhouse` to a folder of wheels on the node, or p2p_venv_wheels to controller",
    ),
    (
        r"No matching distribution|from versions: none",
        "no wheel for this Python and platform, or no index within reach: "
        "name another `python`, or set `wheelhouse` to a folder of wheels on the node",
    ),
)


def pip_failure(outcome: Outcome, wheelhouse: Optional[str]) -> str:
    """Return a short account of pip's failure with the remedy."""
    text = outcome.err + "\n" + outcome.out
    errors = "\n".join(line for line in text.splitlines() if re.match(r"\s*(ERROR|error)[: ]", line))
    quote = last_lines(errors, 4) or last_lines(text, 6) or "no output"
    remedy = next((hint for pattern, hint in _REMEDIES if re.search(pattern, text)), "see pip's words above")
    if wheelhouse and "wheelhouse" in remedy:
        remedy = "a wheel is missing from %s, or none there suits this Python" % wheelhouse
    return "pip could not install the packages: %s\nRemedy: %s." % (quote, remedy)


class Builder:
    """Builds an environment without pip in it: pip is run from where its wheel was unpacked.

    It saves half the time of installing pip first, and half the files to check ever after.
    """

    def __init__(self, interpreter: Interpreter, venv: str, timeout: float) -> None:
        self.interpreter, self.venv, self.timeout = interpreter, venv, timeout

    def _pip(self, words: List[str]) -> Outcome:
        python = os.path.join(self.venv, "bin", "python")
        env = {
            "PYTHONPATH": self.interpreter.pip_wheel or "",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_INPUT": "1",
            "PIP_NO_CACHE_DIR": "1",
            "PIP_REQUIRE_VIRTUALENV": "0",
            "PIP_USER": "0",
            "PYTHONDONTWRITEBYTECODE": "",
        }
        return run([python, "-m", "pip", *words], self.timeout, env)

    def build(self, requirements: str, wheelhouse: Optional[str]) -> None:
        """Make the environment and install into it.

        Args:
            requirements: path of a file of hash-pinned requirements.
            wheelhouse: folder of wheels to install from, without an index.

        Raises:
            VenvError: if anything fails.
        """
        made = run([self.interpreter.path, "-I", "-m", "venv", "--without-pip", self.venv], 120)
        if made.code != 0:
            raise VenvError(
                "%s -m venv failed: %s" % (self.interpreter.path, last_lines(made.err or made.out, 4))
            )
        words = ["install", "--quiet", "--require-hashes", "--no-deps", "--only-binary=:all:", "--retries=2"]
        words += ["--timeout=15", "--progress-bar=off", "--root-user-action=ignore", "-r", requirements]
        if wheelhouse:
            words += ["--no-index", "--find-links", wheelhouse]
        if self.interpreter.version < (3, 11):
            words.remove("--root-user-action=ignore")  # the pip that comes with it may not know this
        outcome = self._pip(words)
        if outcome.code != 0:
            raise VenvError(pip_failure(outcome, wheelhouse))
        checked = self._pip(["check"])
        if checked.code is None:
            raise VenvError("%s\nRemedy: the node is very busy: run again when it is not." % checked.err)
        if checked.code != 0:
            raise VenvError(
                "the lock does not satisfy what it installs: %s\nRemedy: renew the lock."
                % last_lines(checked.out + checked.err, 4)
            )


def describe(venv: str) -> Dict[str, Any]:
    """Return what a manifest remembers of an environment.

    Returns:
        `packages` (name -> version), `records` (name -> SHA-256 of its RECORD), `scripts` (path -> digest),
        `seal` (as `seal` makes it; empty where something is wrong with a file already).
    """
    found = installed(venv)
    packages = {name: item["version"] for name, item in found.items()}
    records = {name: item["record"] for name, item in found.items()}
    return {
        "packages": packages,
        "records": records,
        "scripts": script_digests(venv),
        "seal": "" if check_packages(venv, packages, records) else seal(venv),
    }
