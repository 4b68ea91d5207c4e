"""A virtual environment that belongs to somebody else: what it lacks, and nothing but that."""

from __future__ import annotations

import json
import os
import pwd
from typing import Any, Dict, List, Mapping, Sequence

from .p2p_run import Outcome, last_lines, run
from .p2p_services import manager_name

# Run by the environment's own interpreter, since only it knows what it can import. Of `names` any version
# will do; the lines of `file` are held to their versions.
_ASK = r"""
import json, re, sys
from importlib import metadata
asked = json.loads(sys.argv[1])
try:
    from pip._vendor.packaging.requirements import Requirement
except ImportError:
    print(json.dumps({"error": "it has no pip"}))
    sys.exit()
def version(name):
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
lacks = [line for line in asked["names"] if version(Requirement(line).name) is None]
if asked["file"]:
    try:
        text = open(asked["file"], encoding="utf-8").read()
    except OSError as error:
        print(json.dumps({"error": "%s: %s" % (asked["file"], error.strerror)}))
        sys.exit()
    for line in text.replace("\\\n", " ").splitlines():
        line = re.split(r"\s+#|\s--", " " + line)[0].strip()
        if not line or line.startswith(("#", "-")):
            continue
        try:
            wanted = Requirement(line)
        except Exception as error:
            print(json.dumps({"error": "%s: %s: %s" % (asked["file"], line, error)}))
            sys.exit()
        if wanted.marker and not wanted.marker.evaluate():
            continue
        there = version(wanted.name)
        if there is None or not wanted.specifier.contains(there, prereleases=True):
            lacks.append(line)
print(json.dumps({"lacks": lacks}))
"""


class BrokenEnvironmentError(Exception):
    """An environment that cannot be asked or mended; the message has the reason and the remedy."""


def as_owner(words: Sequence[str], user: str, timeout: float) -> Outcome:
    """Run a command as the user whom an environment belongs to, whatever user runs this.

    Args:
        words: the program and its arguments.
        user: the owner's name.
        timeout: seconds.

    Raises:
        BrokenEnvironmentError: if there is no such user.
    """
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise BrokenEnvironmentError("there is no user %s on this node" % user) from None
    prefix = ["runuser", "-u", user, "--"] if os.geteuid() == 0 and entry.pw_uid != 0 else []
    return run([*prefix, *words], timeout, {"HOME": entry.pw_dir, "PIP_DISABLE_PIP_VERSION_CHECK": "1"})


def lacking(spec: Mapping[str, Any], timeout: float) -> List[str]:
    """Return the requirements that an environment does not meet.

    Args:
        spec: `venv` (its folder; `~user` is expanded), `user` (its owner), `names` (requirements of which any
            version will do), `file` (a requirements file, or nothing), `create` (whether one that is not
            there is made), and `supervisord` (the requirement that is needed besides where that is the
            `manager`).
        timeout: seconds.

    Raises:
        BrokenEnvironmentError: if there is no environment, or it cannot tell.
    """
    python = os.path.join(os.path.expanduser(spec["venv"]), "bin", "python")
    if not os.path.exists(python) and spec.get("create"):
        return [*_names(spec), *(["-r %s" % spec["file"]] if spec.get("file") else [])]
    if not os.path.exists(python):
        raise BrokenEnvironmentError(
            "there is no virtual environment at %s: clone the checkout and make it (python3 -m venv %s),"
            " or name another with ringrift_path or venv_activate" % (spec["venv"], spec["venv"])
        )
    asked = {"names": _names(spec), "file": os.path.expanduser(spec.get("file") or "")}
    outcome = as_owner([python, "-c", _ASK, json.dumps(asked)], spec["user"], timeout)
    try:
        answer: Dict[str, Any] = json.loads(outcome.out)
    except ValueError:
        said = last_lines(outcome.err, 2) or "no answer"
        raise BrokenEnvironmentError("%s does not run: %s" % (python, said)) from None
    if "error" in answer:
        raise BrokenEnvironmentError("%s: %s" % (spec["venv"], answer["error"]))
    return [str(line) for line in answer["lacks"]]


def _names(spec: Mapping[str, Any]) -> List[str]:
    supervised = spec.get("supervisord") and manager_name(spec.get("manager") or "auto") == "supervisord"
    return [*spec["names"], *([spec["supervisord"]] if supervised else [])]


def install(spec: Mapping[str, Any], lacks: Sequence[str], timeout: float) -> None:
    """Install what an environment lacks, as its owner.

    Args:
        spec: as for `lacking`.
        lacks: what that returned.
        timeout: seconds.

    Raises:
        BrokenEnvironmentError: with pip's last words.
    """
    python = os.path.join(os.path.expanduser(spec["venv"]), "bin", "python")
    wanted = list(lacks)
    if not os.path.exists(python):
        folder = os.path.dirname(os.path.dirname(python))
        made = as_owner(["python3", "-m", "venv", folder], spec["user"], timeout)
        if made.code != 0:
            said = last_lines(made.err or made.out, 3)
            raise BrokenEnvironmentError("python3 -m venv %s failed: %s" % (folder, said))
        file = os.path.expanduser(spec.get("file") or "")
        wanted = [*_names(spec), *(["-r", file] if file else [])]
    words = [python, "-m", "pip", "install", "--quiet", "--no-input", *wanted]
    outcome = as_owner(words, spec["user"], timeout)
    if outcome.code != 0:
        raise BrokenEnvironmentError(
            "pip install %s failed: %s" % (" ".join(lacks), last_lines(outcome.err, 4))
        )
