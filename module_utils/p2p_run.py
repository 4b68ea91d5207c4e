"""Commands that end: every one has a deadline and speaks English."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import Mapping, NamedTuple, Optional, Sequence


class Outcome(NamedTuple):
    """What a command answered; `code` is None when it did not start or was stopped at its deadline."""

    code: Optional[int]
    out: str
    err: str


def run(
    words: Sequence[str],
    timeout: float,
    env: Optional[Mapping[str, str]] = None,
    cwd: Optional[str] = None,
    errors: str = "replace",
) -> Outcome:
    """Run a command without a shell, and stop it with its children at the deadline.

    Args:
        words: the program and its arguments.
        timeout: seconds.
        env: variables added to the module's own.
        cwd: where it runs; `/` by default, since a module's own folder may be gone.
        errors: what becomes of bytes that are no UTF-8.
    """
    variables = dict(os.environ, LC_ALL="C", LANG="C", SYSTEMD_COLORS="0", SYSTEMD_PAGER="cat")
    variables.update(env or {})
    try:
        process = subprocess.Popen(
            list(words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=variables,
            cwd=cwd or "/",
            start_new_session=True,
        )
    except OSError as error:
        return Outcome(None, "", "%s: %s" % (words[0], error.strerror or error))
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        return Outcome(None, "", "%s: no end after %g s" % (" ".join(words[:3]), timeout))
    return Outcome(process.returncode, out.decode("utf-8", errors), err.decode("utf-8", errors))


def last_lines(text: str, count: int, width: int = 300) -> str:
    """Return a text's last lines that are not blank, each cut at `width` characters."""
    lines = [line.rstrip()[:width] for line in text.splitlines() if line.strip()]
    return "\n".join(lines[-count:])
