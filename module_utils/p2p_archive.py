"""The archive of an artefact: a tar compressed with xz, which every Python reads with its standard library.

Python reads zstd from 3.14 on alone. An archive of gzip is a quarter larger, and each node gets one.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import subprocess
import tarfile
from typing import IO, Iterator, Optional, Tuple, cast

from .p2p_artifact import (
    DESCRIPTION,
    LARGEST_DESCRIPTION,
    SITE,
    Artifact,
    ArtifactError,
    File,
    read_description,
)

SUFFIX = ".tar.xz"
# File times play no part: the first instant that a zip archive can hold, in the past for every clock.
_TIME = 315532800
# What else a tar has for each file, its name included, and at its end.
_AROUND_A_FILE, _SLACK = 16 << 10, 1 << 20
_MOST_BEYOND = 100
_DECOMPRESS = "import lzma, shutil, sys; shutil.copyfileobj(lzma.open(sys.stdin.buffer), sys.stdout.buffer)"


@contextlib.contextmanager
def _decompressed(path: str, python: Optional[str]) -> Iterator[IO[bytes]]:
    """Give an archive's tar.

    Args:
        path: the archive's file.
        python: an interpreter to ask where the running one was built without lzma.
    """
    try:
        import lzma  # noqa: PLC0415  a Python may have been built without it
    except ImportError:
        with open(path, "rb") as archive, _asked(archive, python) as plain:
            yield plain
        return
    try:
        with lzma.open(path, format=lzma.FORMAT_XZ) as stream:
            yield stream
    except lzma.LZMAError as error:
        raise ArtifactError("it is damaged: %s" % error) from error


@contextlib.contextmanager
def _asked(archive: IO[bytes], python: Optional[str]) -> Iterator[IO[bytes]]:
    """Give an archive's tar as another interpreter decompresses it."""
    if python is None:
        raise ArtifactError("this Python was built without lzma, its module for archives of xz")
    words = [python, "-I", "-c", _DECOMPRESS]
    running = subprocess.Popen(words, stdin=archive, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    with running:
        try:
            if running.stdout is not None:
                yield running.stdout
        except (EOFError, tarfile.TarError) as error:
            raise ArtifactError(
                "%s cannot decompress it: it is damaged, or that lacks the module lzma" % python
            ) from error
        finally:
            running.kill()  # whoever has read all that counts waits for no more


class _Bounded:
    """A tar of which no more is read than it may have: a small archive can unpack to any size.

    Args:
        plain: the tar.
        left: how many bytes may be read.
    """

    def __init__(self, plain: IO[bytes], left: int) -> None:
        self._plain, self.left, self._beyond = plain, left, 0

    def read(self, size: int) -> bytes:
        """Return the next bytes."""
        block = self._plain.read(size)
        self.left -= len(block)
        # Who looks for the end of a file that is not there reads on for as long as the file is said to be.
        self._beyond += not block
        if self._beyond > _MOST_BEYOND:
            raise ArtifactError("it ends too early")
        if self.left < 0:
            raise ArtifactError("it unpacks to more than its description says")
        return block


@contextlib.contextmanager
def opened(
    path: str, digest: Optional[str] = None, python: Optional[str] = None
) -> Iterator[Tuple[Artifact, bytes, Iterator[Tuple[str, File, bytes]]]]:
    """Open an archive and read its description.

    Args:
        path: the archive's file.
        digest: that the artefact must have; whichever it has by default.
        python: an interpreter to decompress with where the running one cannot.

    Yields:
        The description, its bytes, and the files that the archive brings, each compared with the description
        as it is read: path, what the description says of it, and its content. An archive may leave out what
        a node has already; one that is cut off is damaged.

    Raises:
        ArtifactError: if the archive is damaged, ends too early, has another digest, or holds another file or
            content than it says.
        OSError: if it cannot be read.
    """
    try:
        with _decompressed(path, python) as unbounded:
            plain = _Bounded(unbounded, LARGEST_DESCRIPTION + _SLACK)
            stream = tarfile.open(fileobj=cast(IO[bytes], plain), mode="r|")  # noqa: SIM115  holds nothing
            text = _first(stream)
            found = read_description(text)
            plain.left = _SLACK + sum(item.size + _AROUND_A_FILE for item in found.files.values())
            if digest is not None and found.digest != digest:
                raise ArtifactError("it has the digest %s, not %s" % (found.digest, digest))
            yield found, text, _files(stream, found)
    # Headers nested without end, and a dictionary that no memory holds, are somebody's work.
    except (EOFError, LookupError, MemoryError, RecursionError, ValueError, tarfile.TarError) as error:
        raise ArtifactError("it is damaged or ends too early: %s" % error) from error


def _first(stream: tarfile.TarFile) -> bytes:
    member = stream.next()
    if member is None or member.name != DESCRIPTION or not member.isreg():
        raise ArtifactError("it does not begin with %s" % DESCRIPTION)
    if member.size > LARGEST_DESCRIPTION:
        raise ArtifactError("its description has %d bytes" % member.size)
    return _content(stream, member)


def _content(stream: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    handle = stream.extractfile(member)
    content = handle.read() if handle else b""
    if len(content) != member.size:
        raise ArtifactError("it ends too early, in %s" % member.name)
    return content


def _files(stream: tarfile.TarFile, found: Artifact) -> Iterator[Tuple[str, File, bytes]]:
    left = dict(found.files)
    for member in iter(stream.next, None):
        path = member.name[len(SITE) :]
        item = left.pop(path, None) if member.name.startswith(SITE) and member.isreg() else None
        if item is None or member.size != item.size:
            raise ArtifactError("it holds %.100r, which its description does not" % member.name)
        content = _content(stream, member)
        if hashlib.sha256(content).hexdigest() != item.sha256:
            raise ArtifactError("%s differs from what its description says" % path)
        yield path, item, content


def pack(path: str, description: bytes, files: Iterator[Tuple[str, File, bytes]], preset: int) -> None:
    """Write an archive.

    Args:
        path: where it goes.
        description: of `p2p_artifact.described`.
        files: path, what the description says of it, and content, in the order of their paths.
        preset: how hard xz tries, 0 to 9.

    Raises:
        OSError: if it cannot be written.
    """
    import lzma  # noqa: PLC0415  as above

    with lzma.open(path, "wb", preset=preset) as plain:
        stream = tarfile.open(fileobj=plain, mode="w", format=tarfile.GNU_FORMAT)  # noqa: SIM115  closed below
        stream.addfile(_member(DESCRIPTION, "0644", len(description)), io.BytesIO(description))
        for name, item, content in files:
            stream.addfile(_member(SITE + name, item.mode, item.size), io.BytesIO(content))
        stream.close()


def _member(name: str, mode: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = size, int(mode, 8), _TIME
    return member
