"""etcd's own command line tools: snapshots saved, checked and restored by the program that made them."""

from __future__ import annotations

import glob
import json
import os
from typing import Any, Dict, List, Mapping, Sequence

from .p2p_run import last_lines, run


class ToolError(Exception):
    """A tool is missing or failed; the message has its words and the remedy."""


def find(name: str, folders: Sequence[str]) -> str:
    """Return the path of a tool.

    Args:
        name: such as `etcdctl`.
        folders: where it may be, the best first; a pattern stands for what it matches, the last first.

    Raises:
        ToolError: if it is in none of them.
    """
    for folder in folders:
        for place in sorted(glob.glob(folder), reverse=True):
            path = os.path.join(place, name)
            if os.access(path, os.X_OK):
                return path
    raise ToolError(
        "%s is in none of %s: install it (Debian's package is etcd-client; upstream's archive holds it)"
        % (name, ", ".join(folders))
    )


def _call(words: List[str], timeout: float, what: str) -> str:
    outcome = run(words, timeout, {"ETCDCTL_API": "3"})
    if outcome.code != 0:
        raise ToolError(
            "%s failed: %s" % (what, last_lines(outcome.err or outcome.out, 2) or "no reason given")
        )
    return outcome.out


def _offline(folders: Sequence[str]) -> str:
    """Return the tool for files: etcdutl where the version has it, else etcdctl."""
    try:
        return find("etcdutl", folders)
    except ToolError:
        return find("etcdctl", folders)


def save(spec: Mapping[str, Any], folders: Sequence[str], path: str, timeout: float) -> None:
    """Save a snapshot of what the node's own member holds.

    Args:
        spec: the member's `endpoint`, and for TLS `ca`, `cert`, `key` (paths on the node).
        folders: where the tools may be.
        path: the file that is written.
        timeout: seconds.

    Raises:
        ToolError: if that fails.
    """
    words = [find("etcdctl", folders), "--endpoints", str(spec["endpoint"])]
    for option, key in (("--cacert", "ca"), ("--cert", "cert"), ("--key", "key")):
        if spec.get(key):
            words += [option, str(spec[key])]
    _call([*words, "snapshot", "save", path], timeout, "etcdctl snapshot save")


def status(folders: Sequence[str], path: str, timeout: float) -> Dict[str, int]:
    """Return what a snapshot holds, after its own check: `revision`, `keys`, and the file's `size` (bytes).

    Raises:
        ToolError: if the file is no snapshot, or a damaged one.
    """
    out = _call(
        [_offline(folders), "snapshot", "status", path, "--write-out", "json"], timeout, "snapshot status"
    )
    try:
        found = json.loads(out)
        told = {"revision": int(found["revision"]), "keys": int(found["totalKey"])}
    except (ValueError, KeyError, TypeError) as error:
        raise ToolError("snapshot status answered %r" % out[:200]) from error
    # What it says itself leaves out the digest at the end.
    return dict(told, size=os.path.getsize(path))


def restore(
    folders: Sequence[str],
    path: str,
    into: str,
    *,
    name: str,
    urls: Mapping[str, str],
    token: str,
    timeout: float,
) -> None:
    """Make a member's data directory out of a snapshot: of a new cluster, with ids of its own.

    Args:
        folders: where the tools may be.
        path: the snapshot.
        into: the data directory, which must not exist.
        name: the member's.
        urls: the peer URL of each member, by name.
        token: names the new cluster; the same for all members.
        timeout: seconds.

    Raises:
        ToolError: if that fails.
    """
    members = ",".join("%s=%s" % item for item in sorted(urls.items()))
    words = [_offline(folders), "snapshot", "restore", path, "--data-dir", into, "--name", name]
    words += ["--initial-cluster", members, "--initial-cluster-token", token]
    _call([*words, "--initial-advertise-peer-urls", urls[name]], timeout, "snapshot restore")
