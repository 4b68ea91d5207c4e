"""A git checkout that belongs to somebody else: brought to a commit, and never at the cost of their work."""

from __future__ import annotations

import os
import re
from typing import Any, List, Mapping, NamedTuple, Optional, Sequence

from .p2p_environment import BrokenEnvironmentError, as_owner
from .p2p_processes import orchestrators
from .p2p_run import last_lines
from .p2p_systemd import Systemd, process_environment

# What a process that the unit starts says of the commit that it was started from.
VARIABLE = "P2P_CHECKOUT_COMMIT"
_COMMIT = re.compile(r"[0-9a-f]{40}\Z")
# A question for a password would wait for an answer that nobody gives.
_GIT = ("env", "GIT_TERMINAL_PROMPT=0", "GIT_SSH_COMMAND=ssh -o BatchMode=yes", "git")
_NOT_FOUND = 127  # env's exit code for a program that is not there
_SHOWN = 5
_SHORT = 12


class CheckoutError(Exception):
    """A checkout that cannot be brought to its commit; the message has the reason and the remedy."""


class Checkout(NamedTuple):
    """Where a checkout is and where it should be, as commits; `before` is None where there is none yet."""

    path: str
    before: Optional[str]
    after: str


def git(spec: Mapping[str, Any], timeout: float, *words: str) -> str:
    """Return what git says, run as the checkout's owner.

    Raises:
        CheckoutError: if it fails.
    """
    try:
        outcome = as_owner([*_GIT, *words], str(spec["user"]), timeout)
    except BrokenEnvironmentError as trouble:
        raise CheckoutError("%s" % trouble) from None
    if outcome.code != 0:
        said = last_lines(outcome.err, 5) or "no reason was given"
        if outcome.code == _NOT_FOUND:
            said = "git is not installed: apt-get install git"
        command = " ".join(word for word in words if not word.startswith("-"))
        raise CheckoutError("git %s failed: %s" % (command, said))
    return outcome.out


def _run(spec: Mapping[str, Any], timeout: float, *words: str) -> None:
    """Run a command as the checkout's owner.

    Raises:
        CheckoutError: if it fails.
    """
    try:
        outcome = as_owner(words, str(spec["user"]), timeout)
    except BrokenEnvironmentError as trouble:
        raise CheckoutError("%s" % trouble) from None
    if outcome.code != 0:
        raise CheckoutError(last_lines(outcome.err, 2) or "%s failed" % " ".join(words))


def compare(spec: Mapping[str, Any], timeout: float) -> Checkout:
    """Return where a checkout is and where it should be. Nothing is changed.

    Args:
        spec: `repo` (a URL), `version` (a branch, a tag or a whole commit; the repository's own branch if
            empty), `path` (`~user` is expanded) and `user` (the owner).
        timeout: seconds that each question may take.

    Raises:
        CheckoutError: if the folder is no checkout, if it has to change and holds work that is not
            committed, or if the repository does not answer or has no such version.
    """
    path = os.path.expanduser(str(spec["path"]))
    before: Optional[str] = None
    if os.path.isdir(path) and os.listdir(path):
        if not os.path.exists(os.path.join(path, ".git")):
            raise CheckoutError(
                "%s is there and is no git checkout: move it away, or leave"
                " p2p_orchestrator_checkout_repo empty" % path
            )
        before = git(spec, timeout, "-C", path, "rev-parse", "HEAD").strip()
    after = _wanted(spec, timeout)
    if before not in (None, after):
        changed = git(spec, timeout, "-C", path, "status", "--porcelain", "--untracked-files=no").splitlines()
        if changed:
            names = ", ".join(line[3:] for line in changed[:_SHOWN])
            raise CheckoutError(
                "%s has changes that are not committed (%s%s) and is left as it is: commit them, or"
                " `git -C %s stash`" % (path, names, ", …" if len(changed) > _SHOWN else "", path)
            )
    return Checkout(path, before, after)


def _wanted(spec: Mapping[str, Any], timeout: float) -> str:
    version = str(spec.get("version") or "")
    if _COMMIT.match(version):
        return version
    names = _refs(version)
    said = git(spec, timeout, "ls-remote", "--", str(spec["repo"]), *names)
    found = {name: commit for commit, _, name in (line.partition("\t") for line in said.splitlines())}
    for name in names:
        if name in found:
            return found[name]
    raise CheckoutError("%s has no branch or tag %s" % (spec["repo"], version or "HEAD"))


def _refs(version: str) -> List[str]:
    """Return the refs that a version may be, the likeliest first; `^{}` is the commit that a tag tells of."""
    if not version:
        return ["HEAD"]
    return ["refs/heads/%s" % version, "refs/tags/%s^{}" % version, "refs/tags/%s" % version]


def update(spec: Mapping[str, Any], found: Checkout, timeout: float) -> None:
    """Bring a checkout to its commit, with HEAD detached: no branch of its owner's is moved.

    Args:
        spec: as for `compare`.
        found: what that returned.
        timeout: seconds that each step may take.

    Raises:
        CheckoutError: with git's last words; the checkout is then as it was.
    """
    if found.before is None:
        # All by its owner, in whose folders root follows whatever that one puts there.
        aside = "%s.p2p-clone" % found.path
        _run(spec, timeout, "rm", "-rf", "--", aside)
        git(spec, timeout, "clone", "--quiet", "--no-checkout", "--", str(spec["repo"]), aside)
        try:
            git(spec, timeout, "-C", aside, "checkout", "--quiet", "--detach", found.after)
            if os.path.isdir(found.path):
                _run(spec, timeout, "rmdir", "--", found.path)  # empty, or it would not have been cloned to
            _run(spec, timeout, "mv", "--", aside, found.path)
        finally:
            _run(spec, timeout, "rm", "-rf", "--", aside)
        return
    # By whole name, since a server need not hand out a bare commit.
    fetch = ("fetch", "--quiet", "--tags", "--", str(spec["repo"]), "+refs/heads/*:refs/p2p-cluster/*")
    git(spec, timeout, "-C", found.path, *fetch)
    git(spec, timeout, "-C", found.path, "update-ref", "refs/p2p-cluster-previous", found.before)
    git(spec, timeout, "-C", found.path, "checkout", "--quiet", "--detach", found.after)


def outdated(environments: Sequence[Mapping[str, str]], commit: str) -> bool:
    """Tell whether a process was started from another commit.

    Args:
        environments: the variables of each process. One that does not say where it comes from is none.
        commit: where the checkout is.
    """
    return any(item.get(VARIABLE, commit) != commit for item in environments)


def environments(service: str) -> List[Mapping[str, str]]:
    """Return the variables that the service's processes were started with."""
    systemd = Systemd.here()
    # Without root no unit tells ours from others; another program's variables name no commit.
    kinds = ("ours",) if systemd and os.geteuid() == 0 else ("ours", "manual")
    ours = [item for item in orchestrators(service, "/", systemd) if item["kind"] in kinds]
    return [process_environment(item["pid"]) or {} for item in ours]


def tell(spec: Mapping[str, Any], found: Checkout) -> str:
    """Return in words how a checkout gets to its commit."""
    after = found.after[:_SHORT]
    if found.before is None:
        return "clone %s to %s at %s" % (spec["repo"], spec["path"], after)
    return "update %s from %s to %s" % (spec["path"], found.before[:_SHORT], after)


def checkout_drift(spec: Mapping[str, Any], timeout: float) -> List[str]:
    """Return why a checkout, or what runs from it, is not what is asked for; each reason in words.

    Args:
        spec: as for `compare`, and `service`.
        timeout: seconds that each question may take.
    """
    try:
        found = compare(spec, timeout)
    except CheckoutError as trouble:
        return ["%s" % trouble]
    if found.before != found.after:
        return [tell(spec, found)]
    if outdated(environments(str(spec["service"])), found.after):
        return ["%s was started from another commit than %s" % (spec["service"], found.after[:_SHORT])]
    return []
