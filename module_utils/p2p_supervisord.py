"""supervisord, one for each service, on a node that systemd does not run: a rented container."""

from __future__ import annotations

import contextlib
import glob
import os
import pwd
import shlex
import signal
import socket
import time
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from .p2p_processes import start_time
from .p2p_run import last_lines, run
from .p2p_start_hook import start_hook
from .p2p_supervisor_text import (
    configuration,
    exits,
    hook_block,
    hook_state,
    last_exit,
    last_spawned,
    paths,
    start_words,
    with_hook,
    without_hook,
)
from .p2p_systemd import ServiceError, UnitState

_LOG_END = 64 * 1024
# A process that supervisord logged to have started started within this of the time that it gave.
_SAME_START = 2.0
# supervisord's own names of states -> active, sub
_STATES = {
    "STOPPED": ("inactive", "dead"),
    "STARTING": ("activating", "start"),
    "RUNNING": ("active", "running"),
    "BACKOFF": ("activating", "auto-restart"),
    "STOPPING": ("deactivating", "stop"),
    "EXITED": ("failed", "exited"),
    "FATAL": ("failed", "auto-restart"),
}
_ABSENT = UnitState("not-found", "inactive", "dead", "", False, 0, 0, "", [], "", 0, "")


class Supervisord:
    """The service manager of a container.

    Args:
        timeout: seconds that each question to it may take.
        place: `folder` (of its files), `bin` (of the environment that holds it) and `hook` (the script that
            runs when the container starts, or `crontab`); the last two may be missing where nothing is
            started or enabled.
    """

    name = "supervisord"

    def __init__(self, timeout: float, place: Mapping[str, Any]) -> None:
        self.timeout = timeout
        if not place.get("folder"):
            raise ServiceError("supervisord keeps its files in a folder: give place.folder")
        self.folder = os.path.expanduser(str(place["folder"])).rstrip("/")
        self.binaries = os.path.expanduser(str(place.get("bin") or ""))
        self.hook = start_hook(place.get("hook"), timeout)
        self.root = os.geteuid() == 0

    @staticmethod
    def unit(name: str) -> str:
        """Return a service's name as it is told to people."""
        return name

    def definition_path(self, name: str) -> str:
        """Return where a service's definition belongs."""
        return paths(self.folder, name)["conf"]

    def definition(self, name: str, program: Mapping[str, Any]) -> str:
        """Return the text of a service's definition.

        Raises:
            ServiceError: if it cannot be written down.
        """
        try:
            return configuration(name, program, self.folder, self.root)
        except ValueError as error:
            raise ServiceError("%s" % error) from error

    def leftovers(self, name: str) -> List[str]:
        """Return the files that it made for a service, and its folder if it holds nothing else."""
        mine = set(glob.glob(glob.escape(self.folder + "/" + name) + ".*"))
        try:
            others = {os.path.join(self.folder, entry) for entry in os.listdir(self.folder)} - mine
        except OSError:
            return []
        return sorted(mine - {self.definition_path(name)}) + ([] if others else [self.folder])

    def look(self, name: str) -> str:
        """Return the command that shows people how a service does."""
        where = paths(self.folder, name)
        binaries = self.binaries or os.path.join(os.path.dirname(self.folder), "current/venv/bin")
        words = (binaries + "/python", where["conf"], where["log"])
        return "%s -I -m supervisor.supervisorctl -c %s status; tail -n 50 %s" % tuple(
            shlex.quote(word) for word in words
        )

    # -- state --------------------------------------------------------------------------------------

    def states(self, names: Sequence[str]) -> Dict[str, UnitState]:
        """Return the states of services by name."""
        return {name: self.state(name) for name in names}

    def state(self, name: str) -> UnitState:
        """Return the state of one service."""
        where = paths(self.folder, name)
        there, info, main = os.path.exists(where["conf"]), None, _end_of(where["main"])
        if not there and not os.path.exists(where["pid"]):
            return _ABSENT._replace(enabled=self._enabled(name) if self.hook else "")
        why = "supervisord does not run"
        try:
            found = self._ask(name, "supervisor.getProcessInfo", name)
            info = found if isinstance(found, dict) else None
        except OSError as error:
            pid = self.pid(name)
            if pid:
                why = "supervisord (process %d) does not answer: %s" % (pid, error)
        known = UnitState(
            load="loaded" if there else "not-found",
            active="inactive",
            sub="dead",
            enabled=self._enabled(name),
            stale=False,
            pid=0,
            restarts=exits(main, name),
            path=where["conf"] if there else "",
            drop_ins=[],
            result=why,
            status=0,
            started="",
        )
        if info is None:
            return known
        active, sub = _STATES.get(str(info["statename"]), ("failed", "unknown"))
        return known._replace(
            active=active,
            sub=sub,
            pid=int(info["pid"]),
            result="success" if active == "active" else str(info["statename"]).lower(),
            status=int(info["exitstatus"]) or last_exit(main, name),
            started=str(info["start"] or ""),
        )

    def pid(self, name: str) -> int:
        """Return the process id of a service's supervisord, 0 if it does not run.

        The file that tells it outlives a container that was stopped: the process must be the one.
        """
        where = paths(self.folder, name)
        try:
            with open(where["pid"], encoding="ascii") as handle:
                pid = int(handle.read())
            with open("/proc/%d/cmdline" % pid, "rb") as raw:
                words = raw.read().decode("utf-8", "replace").split("\0")
        except (OSError, ValueError):
            return 0
        return pid if where["conf"] in words else 0

    def _ask(self, name: str, method: str, *words: str) -> object:
        """Call a method of a service's supervisord.

        Raises:
            OSError: if it does not answer, or refuses.
        """
        import xmlrpc.client  # noqa: PLC0415  a tenth of a probe, which nodes with systemd need not pay

        body = xmlrpc.client.dumps(words, method).encode("utf-8")
        head = "POST /RPC2 HTTP/1.0\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n" % len(body)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
            channel.settimeout(self.timeout)
            channel.connect(paths(self.folder, name)["sock"])
            channel.sendall(head.encode("ascii") + body)
            answer = b"".join(iter(lambda: channel.recv(1 << 16), b""))
        try:
            return xmlrpc.client.loads(answer.partition(b"\r\n\r\n")[2].decode("utf-8"))[0][0]
        except (xmlrpc.client.Error, ValueError, IndexError) as error:
            raise OSError("%s" % error) from error
        except Exception as error:  # its parser has an exception of its own
            raise OSError("no answer that makes sense: %s" % error) from error

    def logs(self, name: str, lines: int, since: Optional[float] = None) -> str:
        """Return the last lines that a service wrote.

        Args:
            name: the service.
            lines: how many at most.
            since: not used: what a service writes need not have a time.
        """
        del since
        return last_lines(_end_of(paths(self.folder, name)["log"]), lines)

    # -- the container's start ----------------------------------------------------------------------

    def _block(self, name: str) -> str:
        home = pwd.getpwuid(os.geteuid()).pw_dir
        words = start_words(self.binaries, self.definition_path(name), home)
        return hook_block(name, words, self.hook.before_a_line if self.hook else "")

    def _enabled(self, name: str) -> str:
        return hook_state(self.hook.read(), name, self._block(name)) if self.hook else ""

    def _rewritten(self, name: str, wanted: bool) -> Tuple[Optional[str], Optional[str]]:
        """Return the start script's text as it is and as it should be; None where there is none."""
        if not self.hook:
            raise ServiceError("what starts %s with its container is not known: give place.hook" % name)
        before = self.hook.read()
        if not wanted:
            after = without_hook(before, name) if before is not None else None
            return before, None if after == self.hook.new and after != before else after
        try:
            return before, with_hook(before, name, self._block(name), self.hook.new)
        except ValueError as error:
            raise ServiceError("%s %s" % (self.hook.name, error)) from error

    def enable_diffs(self, name: str, wanted: bool) -> List[Dict[str, str]]:
        """Return what enabling or disabling a service changes in the script of the container's start."""
        before, after = self._rewritten(name, wanted)
        return [self.hook.diff(after)] if self.hook and before != after else []

    def enable(self, name: str, wanted: bool) -> None:
        """Let a service start with its container, or not.

        Raises:
            ServiceError: if the script that runs then cannot be changed.
        """
        before, after = self._rewritten(name, wanted)
        if self.hook and before != after:
            self.hook.write(after)

    # -- starting and stopping ----------------------------------------------------------------------

    def reload(self) -> None:
        """Do nothing: a definition is read when its supervisord starts."""

    def forget_failure(self, name: str) -> None:
        """Do nothing: it never gives up."""

    def stop(self, name: str, timeout: float) -> None:
        """Stop a service with its supervisord, and what an earlier supervisord left of it.

        Raises:
            ServiceError: if it does not end.
        """
        pid = self.pid(name)
        with contextlib.suppress(OSError):
            self._ask(name, "supervisor.shutdown")
        if pid and not _gone(pid, timeout):
            _send(pid, signal.SIGKILL)
            if not _gone(pid, 5):
                raise ServiceError("supervisord (process %d) does not end, not even killed" % pid)
        self._stop_stray(name)

    def _stop_stray(self, name: str) -> None:
        """Stop the process of a supervisord that was killed."""
        spawned = last_spawned(_end_of(paths(self.folder, name)["main"]), name)
        if not spawned:
            return
        pid, since = spawned
        began = start_time(pid)
        logged = time.mktime(time.strptime(since, "%Y-%m-%d %H:%M:%S"))
        if began is None or abs(began - logged) > _SAME_START:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            _send(pid, number)
            if _gone(pid, 10):
                return
        raise ServiceError("process %d of %s does not end, not even killed" % (pid, name))

    def _is_installed(self) -> bool:
        venv = glob.escape(os.path.dirname(self.binaries))
        return bool(glob.glob(venv + "/lib/python3.*/site-packages/supervisor/supervisord.py"))

    def bring_up(self, name: str, restart: bool, seconds: float, settle: float) -> UnitState:
        """Start a service with its supervisord, anew if it runs, and wait until it stays up.

        Args:
            name: the service.
            restart: not used: supervisord runs from the release that it starts, so that both restart.
            seconds: how long it may take.
            settle: how long it must then stay active, with the same process.

        Raises:
            ServiceError: if it does not; it quotes the last lines that the service wrote.
        """
        del restart
        where, deadline = paths(self.folder, name), time.monotonic() + seconds
        if not self.binaries:
            raise ServiceError("where supervisord is is not known: give place.bin")
        if not self._is_installed():
            raise ServiceError(
                "the environment of %s has no supervisor: the release's lock must hold it, since it keeps"
                " services running where systemd does not run the node" % self.binaries
            )
        self.stop(name, seconds)
        begin, begin_main = _size(where["log"]), _size(where["main"])
        home = pwd.getpwuid(os.geteuid()).pw_dir
        outcome = run(start_words(self.binaries, where["conf"], home), seconds)
        if outcome.code != 0:
            said = last_lines(outcome.err or outcome.out, 3) or "no output"
            raise ServiceError("supervisord did not start: %s" % said)
        steady: Optional[float] = None
        first = 0
        # Until then its log tells of an earlier life.
        while "supervisord started with pid" not in _end_of(where["main"], begin_main):
            if time.monotonic() > deadline:
                raise ServiceError("supervisord did not start: see %s" % where["main"])
            time.sleep(0.05)
        while True:
            state, now = self.state(name), time.monotonic()
            if state.active == "active":
                if first != state.pid:
                    first, steady = state.pid, now
                if steady is not None and now - steady >= settle:
                    return state
            else:
                steady = None
            if state.restarts > 0 or state.active == "failed" or now > deadline:
                break
            time.sleep(0.2)
        lines = last_lines(_end_of(where["log"], begin), 12) or "(it wrote nothing)"
        raise ServiceError(
            "%s did not come up: %s (%s), exit status %d, %d restarts. Its last words:\n%s"
            % (name, state.active, state.sub, state.status, state.restarts, lines)
        )


def _end_of(path: str, begin: int = 0) -> str:
    """Return the end of a log, at most what was written after `begin` bytes; nothing if it cannot be read."""
    try:
        with open(path, "rb") as handle:
            size = handle.seek(0, os.SEEK_END)
            handle.seek(max(size - _LOG_END, begin if begin <= size else 0))
            return handle.read().decode("utf-8", "replace")
    except OSError:
        return ""


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return 0


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _gone(pid: int, seconds: float) -> bool:
    """Wait until a process has ended; one that nobody has fetched yet has."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            with open("/proc/%d/stat" % pid, encoding="utf-8", errors="replace") as handle:
                ended = handle.read().rpartition(")")[2].split()[0] == "Z"
        except (OSError, IndexError):
            ended = True
        if ended or time.monotonic() > deadline:
            return ended
        time.sleep(0.1)
