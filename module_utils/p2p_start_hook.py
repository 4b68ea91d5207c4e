"""What starts a service with its machine where no manager does: a start script, or a table of cron."""

from __future__ import annotations

import os
import tempfile
from typing import Dict, Mapping, Optional, Union

from .p2p_files import file_diff, ownership, read_plain, write_file
from .p2p_folders import real_script
from .p2p_processes import CRONTAB
from .p2p_run import last_lines, run
from .p2p_supervisor_text import NEW_HOOK
from .p2p_systemd import ServiceError


class StartScript:
    """A shell script that the provider, or whoever runs the machine, starts with it.

    Args:
        path: the script; `~` is the home of who runs this.
    """

    new = NEW_HOOK
    before_a_line = ""

    def __init__(self, path: str) -> None:
        self.name = real_script(os.path.abspath(os.path.expanduser(path)))

    def read(self) -> Optional[str]:
        """Return its text, None if there is none."""
        try:
            return read_plain(self.name).decode("utf-8", "surrogateescape")
        except FileNotFoundError:
            return None
        except OSError:
            # A link that another user put there is no script; it is replaced by one.
            if os.path.islink(self.name):
                return None
            raise

    def _held(self) -> Mapping[str, Optional[str]]:
        there = None if os.path.islink(self.name) else ownership(self.name)
        mode, _, who = (there or "0755 ").partition(" ")
        owner, _, group = who.partition(":")
        return {"path": self.name, "mode": mode, "owner": owner or None, "group": group or None}

    def diff(self, after: Optional[str]) -> Dict[str, str]:
        """Return Ansible's diff for what `write` would do."""
        return file_diff(self._held(), after, secret=False)

    def write(self, after: Optional[str]) -> None:
        """Give it a text, or remove it."""
        if after is None:
            os.unlink(self.name)
        else:
            write_file(self.name, after.encode("utf-8", "surrogateescape"), self._held())


class Crontab:
    """The table of cron of who runs this.

    Args:
        timeout: seconds that each call of `crontab` may take.
    """

    new = ""
    before_a_line = "@reboot "

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self.name = CRONTAB

    def allowed(self) -> bool:
        """Tell whether there is cron, for this user too."""
        try:
            self.read()
        except ServiceError:
            return False
        return True

    def _run(self, *words: str) -> str:
        # Whatever others wrote there stays, byte for byte.
        done = run([CRONTAB, *words], self.timeout, errors="surrogateescape")
        if done.code == 0:
            return done.out
        said = last_lines(done.err or done.out, 3)
        if "no crontab for" in said:
            return ""
        raise ServiceError("crontab %s: %s" % (" ".join(words), said or "no output"))

    def read(self) -> Optional[str]:
        """Return its text, None if there is none.

        Raises:
            ServiceError: if the user may have none.
        """
        return self._run("-l") or None

    def diff(self, after: Optional[str]) -> Dict[str, str]:
        """Return Ansible's diff for what `write` would do."""
        header = "crontab of this user"
        before = (self.read() or "").encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        return {"before": before, "after": after or "", "before_header": header, "after_header": header}

    def write(self, after: Optional[str]) -> None:
        """Give it a text, or remove it.

        Raises:
            ServiceError: if it is refused.
        """
        if after is None:
            self._run("-r")
            return
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", errors="surrogateescape") as handle:
            handle.write(after)
            handle.flush()
            self._run(handle.name)


def start_hook(wish: Optional[str], timeout: float) -> Union[StartScript, Crontab, None]:
    """Return what starts services with this machine.

    Args:
        wish: a script's path, `crontab`, or nothing. A user who is not root has a script in the home, also
            in the place of a table of cron where there is none for that user.
        timeout: seconds that each call of `crontab` may take.
    """
    if not wish:
        return None
    if wish == CRONTAB:
        table = Crontab(timeout)
        return table if table.allowed() else StartScript("~/onstart.sh")
    if os.geteuid() != 0 and not wish.startswith("~"):
        wish = "~/" + os.path.basename(wish)
    return StartScript(wish)
