"""The description of a release's artefact: what it is for, what is in it, and the digest that names it.

An artefact is one archive for each platform and minor version of Python, the same for all their nodes:

    artifact.json   the description, first of all
    site/<path>     each file that it lists: what belongs into the folder of an environment's packages

Its digest is the SHA-256 of the description. This lists the digest of every file, so that an artefact is
known by its contents, however they are packed.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, Dict, Mapping, NamedTuple

DESCRIPTION = "artifact.json"
SITE = "site/"
FORMAT = 1
MODES = ("0644", "0755")
LARGEST_DESCRIPTION = 8 << 20
LARGEST_FILE = 1 << 30
_KEYS = {"files", "format", "packages", "python", "release", "target", "tries"}
_RELEASE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
TARGET = re.compile(r"[a-z0-9][a-z0-9._-]{0,49}")
_PYTHON = re.compile(r"3\.[0-9]{1,2}")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9-]{0,99}")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+!_-]{0,63}")
_MODULE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}(\.[A-Za-z_][A-Za-z0-9_]{0,99}){0,9}")
SHA256 = re.compile(r"[0-9a-f]{64}")
# What ends a line or is no character, besides what has a meaning in paths.
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\\\\]")


class ArtifactError(Exception):
    """An artefact that cannot be used; the message names what is wrong."""


class File(NamedTuple):
    """A file: its permission bits as four octal digits, its bytes, their SHA-256, and whose it is."""

    mode: str
    size: int
    sha256: str
    package: str


class Artifact(NamedTuple):
    """A description.

    `release` is the release's name, `target` the platform, `python` the minor version such as `3.11`,
    `packages` name -> version, `tries` the modules that have to be importable on a node, `files` path ->
    file, `digest` the SHA-256 of the description's bytes.
    """

    release: str
    target: str
    python: str
    packages: Dict[str, str]
    tries: "list[str]"
    files: Dict[str, File]
    digest: str


def plain_path(path: object) -> bool:
    """Tell whether a path stays below the folder that it is relative to, and is no bytecode."""
    if not isinstance(path, str) or not path or _FORBIDDEN.search(path):
        return False
    parts = path.split("/")
    return not {"", ".", "..", "__pycache__"} & set(parts)


def described(artifact: Artifact) -> bytes:
    """Return a description's bytes: the same for the same contents. Its own `digest` plays no part."""
    value = {
        "format": FORMAT,
        "release": artifact.release,
        "target": artifact.target,
        "python": artifact.python,
        "packages": artifact.packages,
        "tries": artifact.tries,
        "files": {path: list(item) for path, item in artifact.files.items()},
    }
    return (json.dumps(value, sort_keys=True, indent=0, ensure_ascii=True) + "\n").encode("ascii")


def digest_of(description: bytes) -> str:
    """Return the digest of an artefact, 64 hexadecimal digits."""
    return hashlib.sha256(description).hexdigest()


def read_description(description: bytes) -> Artifact:
    """Return what a description says.

    Raises:
        ArtifactError: if it is not one, or holds what no artefact has.
    """
    try:
        value = json.loads(description.decode("ascii"))
        files = {path: File(*item) for path, item in value["files"].items()}
        found = Artifact(
            release=value["release"],
            target=value["target"],
            python=value["python"],
            packages=dict(value["packages"]),
            tries=list(value["tries"]),
            files=files,
            digest=digest_of(description),
        )
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise ArtifactError(
            "its description cannot be read: %s: %s" % (type(error).__name__, error)
        ) from error
    why = _unlike(value, found)
    if why:
        raise ArtifactError("its description has %s" % why)
    return found


def _unlike(value: Mapping[str, Any], found: Artifact) -> str:
    """Return what of a description is not as an artefact's, or nothing."""
    if set(value) != _KEYS or value["format"] != FORMAT or isinstance(value["format"], bool):
        return "another form than this version of p2p-cluster reads (%.100r)" % (value.get("format"),)
    for pattern, words in (
        (_RELEASE, [found.release]),
        (TARGET, [found.target]),
        (_PYTHON, [found.python]),
        (_PACKAGE, list(found.packages)),
        (_VERSION, list(found.packages.values())),
        (_MODULE, found.tries),
    ):
        for word in words:
            if not isinstance(word, str) or not pattern.fullmatch(word):
                return "%.100r in it" % (word,)
    for path, item in found.files.items():
        if not plain_path(path):
            return "the path %.100r" % path
        if not _is_file(item, found.packages):
            return "%.200r for %s" % (tuple(item), path)
        parts = path.split("/")
        if any("/".join(parts[:end]) in found.files for end in range(1, len(parts))):
            return "a file where %s has a folder" % path
    return ""


def _is_file(item: File, packages: Mapping[str, str]) -> bool:
    return (
        item.mode in MODES
        and isinstance(item.size, int)
        and not isinstance(item.size, bool)
        and 0 <= item.size <= LARGEST_FILE
        and isinstance(item.sha256, str)
        and bool(SHA256.fullmatch(item.sha256))
        and item.package in ("", *packages)
    )
