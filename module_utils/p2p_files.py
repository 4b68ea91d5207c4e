"""Managed files and directories: what is there, how it differs from what is wanted, and making it so."""

from __future__ import annotations

import contextlib
import errno
import grp
import hashlib
import os
import pwd
import stat
from typing import IO, Any, Dict, List, Mapping, Optional, Tuple

from .p2p_folders import check_folder, open_plain, opened_folder

# A managed file is a configuration file or a key: more than this is something else, and is not shown.
DIFF_LIMIT = 256 * 1024


def sha256_file(path: str) -> str:
    """Return the SHA-256 of a file's bytes.

    Raises:
        OSError: if it cannot be read.
    """
    with open(path, "rb", buffering=0) as handle:
        return sha256_stream(handle)


def sha256_stream(handle: IO[bytes]) -> str:
    """Return the SHA-256 of what is left to read of a stream."""
    digest = hashlib.sha256()
    for block in iter(lambda: handle.read(1 << 18), b""):
        digest.update(block)
    return digest.hexdigest()


def owner_name(uid: int) -> str:
    """Return a user's name, or its number if it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_name(gid: int) -> str:
    """Return a group's name, or its number if it has none."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def wanted_owner(owner: Optional[str], group: Optional[str]) -> Tuple[str, str]:
    """Return the names that a file should belong to; who runs the module by default."""
    return owner or owner_name(os.geteuid()), group or group_name(os.getegid())


def owner_ids(owner: Optional[str], group: Optional[str]) -> Tuple[int, int]:
    """Return the numbers of a user and a group.

    Raises:
        ValueError: naming the one that does not exist.
    """
    user, team = wanted_owner(owner, group)
    try:
        uid = int(user) if user.isdigit() else pwd.getpwnam(user).pw_uid
    except KeyError:
        raise ValueError("the user %s does not exist here: create it first" % user) from None
    try:
        gid = int(team) if team.isdigit() else grp.getgrnam(team).gr_gid
    except KeyError:
        raise ValueError("the group %s does not exist here: create it first" % team) from None
    return uid, gid


def _ownership_reasons(wanted: Mapping[str, Any], found: os.stat_result) -> List[str]:
    reasons = []
    mode = "%04o" % stat.S_IMODE(found.st_mode)
    if mode != wanted["mode"]:
        reasons.append("mode %s, not %s" % (mode, wanted["mode"]))
    user, team = wanted_owner(wanted["owner"], wanted["group"])
    if user not in (owner_name(found.st_uid), str(found.st_uid)):
        reasons.append("owner %s, not %s" % (owner_name(found.st_uid), user))
    if team not in (group_name(found.st_gid), str(found.st_gid)):
        reasons.append("group %s, not %s" % (group_name(found.st_gid), team))
    return reasons


def file_reasons(wanted: Mapping[str, Any], path: Optional[str] = None) -> List[str]:
    """Return how a file differs from what is wanted; empty if it does not.

    Args:
        wanted: `path`, `sha256`, `mode`, `owner`, `group`, as `p2p_digest.wanted_file` makes it.
        path: where it is, if not at `wanted["path"]`.
    """
    where = path or wanted["path"]
    try:
        found = os.lstat(where)
        if not stat.S_ISREG(found.st_mode):
            return ["not a regular file"]
        reasons = [] if sha256_file(where) == wanted["sha256"] else ["content differs"]
    except FileNotFoundError:
        return ["missing"]
    except OSError as error:
        return ["cannot be read: %s" % (error.strerror or error)]
    return reasons + _ownership_reasons(wanted, found)


def directory_reasons(wanted: Mapping[str, Any]) -> List[str]:
    """Return how a directory differs from what is wanted (`path`, `mode`, `owner`, `group`)."""
    try:
        found = os.lstat(wanted["path"])
    except FileNotFoundError:
        return ["missing"]
    except OSError as error:
        return ["cannot be read: %s" % (error.strerror or error)]
    if not stat.S_ISDIR(found.st_mode):
        return ["not a directory"]
    return _ownership_reasons(wanted, found)


def check_owner(wanted: Mapping[str, Any]) -> None:
    """Refuse an owner or group that does not exist.

    Raises:
        ValueError: naming the path, the owner and the remedy.
    """
    try:
        owner_ids(wanted["owner"], wanted["group"])
    except ValueError as error:
        raise ValueError("%s: %s" % (wanted["path"], error)) from error


def check_writable(wanted: Mapping[str, Any], path: Optional[str] = None) -> None:
    """Refuse a file that cannot be written, before anything is.

    Raises:
        ValueError: naming the path and the remedy.
    """
    where = path or wanted["path"]
    if not os.path.isabs(where):
        raise ValueError("%s: the path of a managed file must be absolute" % where)
    if os.path.isdir(where) and not os.path.islink(where):
        raise ValueError("%s is a directory where a file belongs: move it away" % where)
    check_folder(os.path.dirname(where))
    check_owner(wanted)


def write_file(path: str, content: bytes, wanted: Mapping[str, Any]) -> None:
    """Put a file in place in one step, with its mode and owner; readers see the old one or the new one.

    Raises:
        ValueError: if the owner does not exist.
        OSError: if it cannot be written.
    """
    uid, gid = owner_ids(wanted["owner"], wanted["group"])
    fresh = ".p2p-" + os.urandom(8).hex()
    with opened_folder(os.path.dirname(path), make=True) as folder:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        handle = os.open(fresh, flags, 0o600, dir_fd=folder)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
                if (uid, gid) != (os.geteuid(), os.getegid()):
                    os.fchown(stream.fileno(), uid, gid)
                os.fchmod(stream.fileno(), int(wanted["mode"], 8))
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(fresh, os.path.basename(path), src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            os.unlink(fresh, dir_fd=folder)
            raise


def mend_file(path: str, content: bytes, wanted: Mapping[str, Any]) -> None:
    """Make a file what is wanted; one that differs in mode or owner alone keeps its content and its time.

    Raises:
        ValueError: if the owner does not exist.
        OSError: if it cannot be written.
    """
    uid, gid = owner_ids(wanted["owner"], wanted["group"])
    try:
        with opened_folder(os.path.dirname(path)) as folder:
            handle = open_plain(os.path.basename(path), folder)
    except OSError:
        write_file(path, content, wanted)
        return
    with os.fdopen(handle, "rb") as stream:
        # A second name of somebody else's file is not given away, but replaced like a link.
        kept = os.fstat(handle).st_nlink == 1 and sha256_stream(stream) == wanted["sha256"]
        if kept:
            os.fchown(handle, uid, gid)  # before the mode: a change of owner drops its special bits
            os.fchmod(handle, int(wanted["mode"], 8))
    if not kept:
        write_file(path, content, wanted)


def make_directory(wanted: Mapping[str, Any]) -> None:
    """Make a directory what is wanted.

    Raises:
        ValueError: if the owner does not exist, or something else is there.
        OSError: if it cannot be made.
    """
    path = wanted["path"].rstrip("/") or "/"
    uid, gid = owner_ids(wanted["owner"], wanted["group"])
    with opened_folder(os.path.dirname(path), make=True) as parent:
        name = os.path.basename(path) or "."
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o755, dir_fd=parent)
        try:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            folder = os.open(name, flags, dir_fd=parent)
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            raise ValueError("%s is not a directory: move it away" % path) from error
    try:
        found = os.fstat(folder)
        if (found.st_uid, found.st_gid) != (uid, gid):
            os.fchown(folder, uid, gid)
        os.fchmod(folder, int(wanted["mode"], 8))
    finally:
        os.close(folder)


def read_plain(path: str) -> bytes:
    """Return a regular file's bytes; a link is not followed.

    Raises:
        OSError: if there is none.
    """
    with os.fdopen(open_plain(path), "rb") as handle:
        return handle.read()


def _shown(path: str, secret: bool) -> str:
    try:
        with os.fdopen(open_plain(path), "rb") as handle:
            size = os.fstat(handle.fileno()).st_size
            if secret:
                return "sha256:%s\n" % sha256_stream(handle)
            if size > DIFF_LIMIT:
                return "(%d bytes) sha256:%s\n" % (size, sha256_stream(handle))
            return handle.read().decode("utf-8", "replace")
    except OSError:
        return ""


def is_foretold(content: Optional[str]) -> bool:
    """Tell whether a content only stands in a preview for what the run makes, such as keys."""
    return (content or "").startswith("(would be")


def file_diff(wanted: Mapping[str, Any], content: Optional[str], secret: bool) -> Dict[str, str]:
    """Return a file's diff for Ansible: text, or digests alone for a secret.

    Args:
        wanted: as for `file_reasons`.
        content: the text that it will hold; None when it is to be removed.
        secret: whether the content must not be seen.
    """
    path = wanted["path"]
    after = content or ""
    if content is not None and secret:
        # A key that is made in the run alone has no digest yet; its placeholder is masked like a secret.
        after = "(would be made in the run)\n" if is_foretold(content) else "sha256:%s\n" % wanted["sha256"]
    before = _shown(path, secret)
    described = ownership(path)
    if content is not None and described is not None:
        wished = "%s %s:%s" % (wanted["mode"], *wanted_owner(wanted["owner"], wanted["group"]))
        if described != wished:
            before, after = "# %s\n%s" % (described, before), "# %s\n%s" % (wished, after)
    return {"before": before, "after": after, "before_header": path, "after_header": path}


def ownership(path: str) -> Optional[str]:
    """Return a path's mode and owner as `0640 root:p2p`, or None if it is not there."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return "%04o %s:%s" % (stat.S_IMODE(found.st_mode), owner_name(found.st_uid), group_name(found.st_gid))
