"""Digests of what is deployed: names of releases, and the small form of what is wanted, for a probe.

Pure functions, used on the controller (filters) and on nodes (modules).
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from typing import Any, Dict, List, Mapping, Optional, Sequence, Union

from .p2p_artifact import FORMAT

DIGEST_PLACEHOLDER = "@config_digest@"
PERMISSION_BITS = 0o7777
DEFAULT_FILE_MODE = "0644"
DEFAULT_DIRECTORY_MODE = "0755"


@functools.lru_cache(maxsize=256)
def sha256_text(text: str) -> str:
    """Return the SHA-256 of a text's UTF-8 bytes, as 64 hexadecimal digits."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def canonical_digest(value: object) -> str:
    """Return the SHA-256 of a JSON value, whatever the order of its keys."""
    return sha256_text(json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True))


def normal_mode(mode: Union[str, int, None], default: str = DEFAULT_FILE_MODE) -> str:
    """Return permission bits as four octal digits.

    Args:
        mode: `"644"`, `"0644"`, or the integer that YAML makes of an unquoted `0644`; None for the default.
        default: what None stands for.

    Raises:
        ValueError: if it is not an octal number of at most 12 bits.
    """
    if mode is None or mode == "":
        return default
    if isinstance(mode, int) and not isinstance(mode, bool):
        bits = mode
    elif re.fullmatch(r"(0o)?[0-7]{1,5}", str(mode)):
        bits = int(str(mode).replace("0o", ""), 8)
    else:
        raise ValueError("mode %r is not octal permission bits; write it quoted, such as '0644'" % (mode,))
    if bits > PERMISSION_BITS:
        raise ValueError(
            "mode %r has more than the 12 permission bits; write it quoted, such as '0644'" % (mode,)
        )
    return "%04o" % bits


def start_text(text: str, live_lines: Sequence[str]) -> str:
    """Return what of a settings file counts at a service's start alone.

    Args:
        text: the file, one `NAME=value` a line.
        live_lines: the names whose lines the running service takes up by itself.
    """
    lines = text.splitlines(keepends=True)
    return "".join(line for line in lines if line.partition("=")[0] not in live_lines)


def wanted_file(spec: Mapping[str, Any]) -> Dict[str, Any]:
    """Return a file's specification with its content replaced by its digest."""
    if not spec.get("path"):
        raise ValueError("a file without a path: %s" % sorted(spec))
    digest, at_start, live_lines = spec.get("sha256"), spec.get("start_sha256"), spec.get("live_lines")
    if digest is None:
        content = spec.get("content")
        if not isinstance(content, str):
            raise ValueError("%s: content must be text, not %s" % (spec["path"], type(content).__name__))
        digest = sha256_text(content)
        at_start = sha256_text(start_text(content, live_lines)) if live_lines else None
    wanted: Dict[str, Any] = {
        "path": str(spec["path"]),
        "sha256": str(digest),
        "mode": normal_mode(spec.get("mode")),
        "owner": spec.get("owner") or None,
        "group": spec.get("group") or None,
    }
    if spec.get("live"):
        wanted["live"] = True
    if live_lines:
        wanted.update(live_lines=list(live_lines), start_sha256=at_start)
    return wanted


def plain_file(spec: Mapping[str, Any]) -> None:
    """Refuse a secret file that brings its content itself.

    Ansible writes a module's arguments to the node's journal, but for those that are secret as a whole.

    Raises:
        ValueError: naming the path and the remedy.
    """
    if spec.get("secret") and spec.get("content") is not None:
        raise ValueError(
            "%s: the content of a secret file would stand in the node's journal: give it in `secrets`, "
            "under the file's path, and not in `files`" % spec.get("path")
        )


def filled_files(spec: Mapping[str, Any]) -> List[Dict[str, Any]]:
    """Return the files of a service, each with its content, the secret ones too.

    Args:
        spec: `files` and `secrets` as p2p_service takes them.

    Raises:
        ValueError: if a secret file has no content in `secrets` or one of its own, or a secret has no file.
    """
    secrets: Dict[str, Any] = {str(path): content for path, content in (spec.get("secrets") or {}).items()}
    files = []
    for item in spec.get("files") or []:
        plain_file(item)
        filled = dict(item)
        if item.get("secret") and item.get("sha256") is None:
            if item.get("path") not in secrets:
                raise ValueError("%s: a secret file without a content in `secrets`" % item.get("path"))
            filled["content"] = secrets.pop(str(item["path"]))
        files.append(filled)
    if secrets:
        raise ValueError("%s: in `secrets`, but no secret file of `files`" % ", ".join(sorted(secrets)))
    return files


def wanted_directory(spec: Mapping[str, Any]) -> Dict[str, Any]:
    """Return a directory's specification with its defaults filled in."""
    if not spec.get("path"):
        raise ValueError("a directory without a path: %s" % sorted(spec))
    if not str(spec["path"]).startswith("/"):
        raise ValueError("%s: the path of a managed directory must be absolute" % spec["path"])
    return {
        "path": str(spec["path"]),
        "mode": normal_mode(spec.get("mode"), DEFAULT_DIRECTORY_MODE),
        "owner": spec.get("owner") or None,
        "group": spec.get("group") or None,
    }


def _by_path(files: Optional[Sequence[Mapping[str, Any]]]) -> List[Dict[str, Any]]:
    return sorted((wanted_file(item) for item in files or []), key=lambda item: item["path"])


def release_digest(spec: Mapping[str, Any]) -> str:
    """Return the SHA-256 over everything that a release is made of: lock, wheel, files.

    It is the same for all platforms, of which each has an artefact of its own.
    """
    return canonical_digest(
        {
            "artifact": FORMAT,
            "lock": sha256_text(spec.get("lock") or ""),
            "wheel": (spec.get("wheel") or {}).get("sha256"),
            "files": _by_path(spec.get("files")),
        }
    )


def release_name(spec: Mapping[str, Any], version: str) -> str:
    """Return `<version>-<first 12 hexadecimal digits of the release's digest>`."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.+_]*", str(version)):
        raise ValueError("version %r cannot be part of a directory's name" % (version,))
    return "%s-%s" % (version, release_digest(spec)[:12])


def release_wanted(spec: Mapping[str, Any]) -> Dict[str, Any]:
    """Return a release's specification with digests in place of contents.

    Its `artifacts` are the digests that are known, by what they are for (`p2p_releases.made_for`).
    """
    return {
        "root": str(spec.get("root") or "").rstrip("/") or None,
        "name": spec["name"],
        "artifacts": {str(key): str(digest) for key, digest in (spec.get("artifacts") or {}).items()},
        "files": _by_path(spec.get("files")),
        "python": spec.get("python") or None,
    }


def config_digest(unit: str, files: Sequence[Mapping[str, Any]]) -> str:
    """Return the SHA-256 over a unit's text, as given, and the contents of what it reads at its start."""
    read_once = [
        [item["path"], item.get("start_sha256") or item["sha256"]]
        for item in _by_path(files)
        if not item.get("live")
    ]
    return canonical_digest({"unit": unit, "files": read_once})


def render_unit(unit: str, digest: str) -> str:
    """Return a unit's text with the placeholder replaced by the digest of its configuration."""
    return unit.replace(DIGEST_PLACEHOLDER, digest)


def service_wanted(spec: Mapping[str, Any]) -> Dict[str, Any]:
    """Return a service's specification with digests in place of contents."""
    unit = spec.get("unit")
    files = _by_path(filled_files(spec))
    digest = config_digest(unit, files) if unit else None
    return {
        "name": spec["name"],
        "unit_sha256": sha256_text(render_unit(unit, digest)) if unit and digest else None,
        # A unit without the placeholder cannot tell what its process was started with.
        "config_digest": digest if unit and DIGEST_PLACEHOLDER in unit else None,
        "files": files,
        "directories": [wanted_directory(item) for item in spec.get("directories") or []],
        "enabled": spec.get("enabled"),
        "state": spec.get("state") or "started",
        "current": spec.get("current") or None,
        "masked_units": list(spec.get("masked_units") or []),
        "manager": spec.get("manager") or "auto",
        # For managers that are not systemd: the node, which knows its own, writes the definition.
        "program": spec.get("program") or None,
        "place": dict(spec.get("place") or {}),
    }
