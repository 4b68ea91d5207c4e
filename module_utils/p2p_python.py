"""The interpreters of a node: finding one for a release's virtual environment, and what it is."""

from __future__ import annotations

import glob
import json
import os
import re
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from .p2p_run import last_lines, run

OLDEST = (3, 10)
_FOLDERS = ("/usr/local/bin", "/usr/bin", "/opt/homebrew/bin")

# What an interpreter says about itself: the marker variables, whether it can make environments, pip's wheel.
_QUESTION = r"""
import glob, json, os, platform, sys, sysconfig
try:
    import ensurepip
    bundled = os.path.join(os.path.dirname(ensurepip.__file__), "_bundled")
except ImportError:
    bundled = None
try:
    import venv
except ImportError:
    venv = None
wheels = []
for folder in (sysconfig.get_config_var("WHEEL_PKG_DIR"), bundled, "/usr/share/python-wheels"):
    if folder:
        wheels += sorted(glob.glob(os.path.join(folder, "pip-*.whl")))
info = sys.implementation.version
print(json.dumps({
    "executable": sys.executable,
    "in_venv": sys.prefix != sys.base_prefix,
    "venv": venv is not None,
    "pip_wheel": wheels[0] if wheels else None,
    "markers": {
        "implementation_name": sys.implementation.name,
        "implementation_version": "%d.%d.%d" % (info.major, info.minor, info.micro),
        "os_name": os.name,
        "platform_machine": platform.machine(),
        "platform_python_implementation": platform.python_implementation(),
        "platform_release": platform.release(),
        "platform_system": platform.system(),
        "platform_version": platform.version(),
        "python_full_version": platform.python_version(),
        "python_version": ".".join(platform.python_version_tuple()[:2]),
        "sys_platform": sys.platform,
    },
}))
"""


class PythonError(ValueError):
    """No interpreter that a release can use."""


class Interpreter(NamedTuple):
    """A Python and what it says of itself."""

    path: str
    version: Tuple[int, ...]
    can_venv: bool
    in_venv: bool
    pip_wheel: Optional[str]
    markers: Dict[str, str]


class VenvMissingError(PythonError):
    """An interpreter that is new enough and cannot make environments."""

    def __init__(self, message: str, interpreter: Interpreter) -> None:
        super().__init__(message)
        self.interpreter = interpreter


def ask(path: str, timeout: float = 20) -> Interpreter:
    """Ask an interpreter what it is.

    Raises:
        PythonError: if it does not answer.
    """
    outcome = run([path, "-I", "-c", _QUESTION], timeout)
    if outcome.code != 0:
        raise PythonError("%s does not run: %s" % (path, last_lines(outcome.err, 2) or "no output"))
    answer: Dict[str, Any] = json.loads(outcome.out)
    version = tuple(int(part) for part in re.findall(r"\d+", answer["markers"]["python_full_version"])[:3])
    return Interpreter(
        path, version, bool(answer["venv"]), bool(answer["in_venv"]), answer["pip_wheel"], answer["markers"]
    )


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
            minor = re.search(r"python3\.(\d+)$", real)
            rank = int(match.group(1) or (minor.group(1) if minor else 0))
            if real not in found or found[real][0] < rank:
                found[real] = (rank, path)
    return [path for rank, path in sorted(found.values(), key=lambda item: (-item[0], item[1]))]


def _dotted(version: Tuple[int, ...]) -> str:
    return ".".join(str(part) for part in version)


def _refusal(interpreter: Interpreter, spare_pip: bool) -> Optional[str]:
    """Say why an interpreter cannot make environments, with the package that mends it; None if it can."""
    if interpreter.can_venv and (interpreter.pip_wheel or spare_pip):
        return None
    package = "python%s-venv" % _dotted(interpreter.version[:2])
    if interpreter.path in ("/usr/bin/python3", "/bin/python3"):
        package = "python3-venv (or %s)" % package
    if not os.path.exists("/etc/debian_version"):
        package = "of your distribution that brings the modules venv and ensurepip"
    return (
        "%s (Python %s) cannot make virtual environments, it lacks venv or ensurepip: install the package %s"
        % (
            interpreter.path,
            _dotted(interpreter.version),
            package,
        )
    )


def choose(wish: Optional[str] = None, timeout: float = 20, spare_pip: bool = False) -> Interpreter:
    """Return the interpreter to make environments with.

    Args:
        wish: a path to take instead of the newest one found.
        timeout: seconds for each interpreter to answer.
        spare_pip: whether the caller has a wheel of pip for an interpreter that brings none.

    Raises:
        VenvMissingError: if those that are new enough cannot make environments; it names the package.
        PythonError: if there is none that is new enough; it names what was found.
    """
    seen: List[str] = []
    lacking: Optional[VenvMissingError] = None
    for path in [wish] if wish else candidates():
        try:
            interpreter = ask(path, timeout)
        except PythonError as error:
            seen.append(str(error))
            continue
        refusal = _refusal(interpreter, spare_pip)
        if interpreter.version < OLDEST:
            seen.append("%s is %s" % (path, _dotted(interpreter.version)))
        elif interpreter.in_venv and not wish:
            continue
        elif refusal is None:
            return interpreter
        else:
            lacking = lacking or VenvMissingError(refusal, interpreter)
    if lacking:
        raise lacking
    found = "; ".join(seen) if seen else "none at all"
    raise PythonError(
        "no Python %s or newer found (%s): install one, or name one with `python`" % (_dotted(OLDEST), found)
    )
