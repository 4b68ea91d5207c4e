"""An artefact's archive, fetched by a node from where the operator has put it."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
from typing import BinaryIO, Iterator

from ansible.module_utils.urls import open_url

from .p2p_artifact import ArtifactError

SECONDS = 20
LONGEST = 300.0
_WEB = re.compile(r"https?://")
_BLOCK = 1 << 16
_LONGEST_REASON = 300


def download(url: str, path: str, largest: int) -> None:
    """Fetch a file; nothing is left of one that does not arrive. Its reader compares its contents.

    Args:
        url: of http or https.
        path: where it goes.
        largest: how many bytes it may have.

    Raises:
        ArtifactError: with the reason, if it cannot be had.
        OSError: if it cannot be written.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as handle:
            _receive(url, handle, largest)
    except BaseException:
        os.unlink(path)
        raise


def shown(url: str) -> str:
    """Return a URL as a message may have it, without a password."""
    return re.sub(r"//[^/@]*@", "//", url)


def _opened(url: str) -> http.client.HTTPResponse:
    answer: http.client.HTTPResponse = open_url(
        url, timeout=SECONDS, http_agent="p2p-cluster", follow_redirects="safe", decompress=False
    )
    return answer


def _receive(url: str, handle: BinaryIO, largest: int) -> None:
    place, left = shown(url), largest
    if not _WEB.match(url):
        raise ArtifactError("%s is no address of http or https" % place)
    try:
        with _in_time(place), _opened(url) as answer:
            if not _WEB.match(answer.geturl()):
                raise ArtifactError("%s leads to what is no address of http or https" % place)
            for block in iter(lambda: answer.read1(_BLOCK), b""):
                left -= len(block)
                if left < 0:
                    raise ArtifactError("%s is larger than the %d bytes of the archive" % (place, largest))
                handle.write(block)
            # Python's library says nothing of an answer that ends before the length that it named.
            if answer.length:
                raise ArtifactError(
                    "%s cannot be fetched: the last %d bytes are missing" % (place, answer.length)
                )
    except (OSError, ValueError, http.client.HTTPException) as error:
        # The library's own errors are all of these kinds; a disk that is full is one of the first kind, too.
        why = " ".join(str(error).replace(url, place).split())[:_LONGEST_REASON]
        raise ArtifactError("%s cannot be fetched: %s" % (place, why)) from error


@contextlib.contextmanager
def _in_time(place: str) -> Iterator[None]:
    """End a download whose time is over, however little arrives at a time."""

    def late(_number: int, _frame: object) -> None:
        raise ArtifactError("%s takes longer than %g s" % (place, LONGEST))

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, LONGEST)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
