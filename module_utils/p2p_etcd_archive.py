"""Upstream's archives of etcd: which one a node needs, checked, unpacked beside what is there."""

from __future__ import annotations

import os
import platform
import re
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import Mapping

from .p2p_files import sha256_file
from .p2p_run import run

ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
PROGRAMS = ("etcd", "etcdctl", "etcdutl")
NEEDED = ("etcd", "etcdctl")
MARK = ".sha256"


class ArchiveError(Exception):
    """An archive is unknown, wrong or cannot be unpacked; nothing of it was put in place."""


def architecture(machine: str = "") -> str:
    """Return upstream's word for a machine's architecture, by default this one's."""
    machine = machine or platform.machine()
    return ARCHITECTURES.get(machine.lower(), machine)


def expected(checksums: Mapping[str, Mapping[str, str]], version: str, arch: str) -> str:
    """Return the pinned SHA-256 of an archive.

    Args:
        checksums: by architecture and version.
        version: such as 3.6.14.
        arch: upstream's word.

    Raises:
        ArchiveError: if none is pinned.
    """
    pinned = checksums.get(arch) or {}
    if version in pinned:
        return str(pinned[version]).lower()
    raise ArchiveError(
        "no SHA-256 of etcd %s for %s is pinned (pinned: %s): choose one of these with etcd_version, or name"
        " a file of yours that has it with etcd_checksums_file"
        % (version, arch, ", ".join(sorted(pinned)) or "none")
    )


def is_there(root: str, version: str, sha256: str) -> bool:
    """Tell whether a version is unpacked whole, from the archive that is pinned."""
    folder = Path(root, version)
    try:
        mark = (folder / MARK).read_text()
    except OSError:
        return False
    return mark.strip() == sha256 and all(os.access(str(folder / name), os.X_OK) for name in NEEDED)


def check(path: str, sha256: str, what: str) -> None:
    """Compare a file with its pinned digest.

    Raises:
        ArchiveError: if it is not what was pinned.
    """
    found = sha256_file(path)
    if found != sha256:
        raise ArchiveError(
            "%s is not what was pinned: its SHA-256 is %s, not %s. Nothing was changed; see where"
            " it comes from" % (what, found, sha256)
        )


def unpack(path: str, root: str, version: str, sha256: str) -> None:
    """Unpack a checked archive as `root`/`version`, in one step, in the place of what is there.

    Raises:
        ArchiveError: if it does not hold etcd, or another version of it.
        OSError: if it cannot be written.
    """
    os.makedirs(root, mode=0o755, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".new-", dir=root))
    try:
        _extract(path, work)
        runs = program_version(str(work / "etcd"))
        if runs != version:
            raise ArchiveError(
                "the archive of etcd %s holds %s" % (version, runs or "a program that does not run")
            )
        (work / MARK).write_text(sha256 + "\n")
        work.chmod(0o755)
        target = Path(root, version)
        if target.exists():
            # What runs keeps its open file.
            shutil.rmtree(str(target))
        work.rename(target)
    finally:
        shutil.rmtree(str(work), ignore_errors=True)


def _extract(path: str, work: Path) -> None:
    """Take etcd's programs out of an archive, and nothing else."""
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                name = os.path.basename(member.name)
                if not member.isfile() or name not in PROGRAMS or member.name.count("/") > 2:  # noqa: PLR2004  # ./etcd-v…/etcd
                    continue
                source = archive.extractfile(member)
                if source is not None:
                    with (work / name).open("wb") as out:
                        shutil.copyfileobj(source, out)
                    (work / name).chmod(0o755)
    except (tarfile.TarError, EOFError) as error:
        raise ArchiveError("the archive cannot be unpacked: %s" % error) from error
    missing = [name for name in NEEDED if not (work / name).exists()]
    if missing:
        raise ArchiveError("the archive holds no %s" % " and no ".join(missing))


def program_version(etcd: str) -> str:
    """Return the version that a server's program tells, or nothing if it does not run."""
    outcome = run([etcd, "--version"], 20)
    found = re.search(r"^etcd Version: (\S+)", outcome.out, re.MULTILINE)
    return found.group(1) if found else ""
