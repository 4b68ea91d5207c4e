"""launchd, asked and told through launchctl: the service manager of a Mac."""

from __future__ import annotations

import contextlib
import glob
import os
import plistlib
import re
import shlex
import time
from typing import Any, Dict, List, Mapping, Optional, Sequence

from .p2p_run import last_lines, run
from .p2p_supervisor_text import PATH, shell_command
from .p2p_systemd import ServiceError, UnitState

LABEL = "org.p2p-cluster."
_ABSENT = UnitState("not-found", "inactive", "dead", "", False, 0, 0, "", [], "", 0, "")
# What launchctl answers about a job that is not there.
_NO_SUCH = (3, 36, 113)


def plist(name: str, program: Mapping[str, Any], log: str, root: bool) -> str:
    """Return the property list of a service.

    Args:
        name: the service.
        program: as `p2p_supervisor_text.configuration` takes it.
        log: where it writes.
        root: whether launchd runs it as root, so that it can be given its user.
    """
    job: Dict[str, Any] = {
        "Label": LABEL + name,
        "ProgramArguments": ["/bin/sh", "-c", shell_command(program, as_user=root)],
        "EnvironmentVariables": dict(program.get("environment") or {}, PATH="/opt/homebrew/bin:" + PATH),
        "RunAtLoad": True,
        "KeepAlive": True,
        "ThrottleInterval": 5,
        "ExitTimeOut": int(program.get("stop_seconds") or 10),
        "ProcessType": "Background",
        # Jobs that it started go on.
        "AbandonProcessGroup": True,
        "StandardOutPath": log,
        "StandardErrorPath": log,
    }
    if program.get("directory"):
        job["WorkingDirectory"] = program["directory"]
    if program.get("umask"):
        job["Umask"] = int(program["umask"], 8)
    if root and program.get("user"):
        job["UserName"] = program["user"]
    return plistlib.dumps(job, sort_keys=True).decode("utf-8")


def parse_print(text: str) -> Dict[str, str]:
    """Return the first value of each key on the outer level of what `launchctl print` says of a job."""
    found: Dict[str, str] = {}
    for line in text.splitlines():
        match = re.match(r"^\t([a-z][a-z ]*) = (.+)$", line)
        if match and not match.group(2).endswith("{"):
            found.setdefault(match.group(1), match.group(2).strip())
    return found


class Launchd:
    """The service manager of a Mac: an agent of the user, or a daemon where root asks.

    Args:
        timeout: seconds that each question to it may take.
        place: `folder`, where the services' logs lie.
    """

    name = "launchd"

    def __init__(self, timeout: float, place: Mapping[str, Any]) -> None:
        self.timeout = timeout
        if not place.get("folder"):
            raise ServiceError("a service of launchd writes its log into a folder: give place.folder")
        self.folder = os.path.expanduser(str(place["folder"])).rstrip("/")
        self.root = os.geteuid() == 0
        self.domain = "system" if self.root else "gui/%d" % os.geteuid()
        self.agents = "/Library/LaunchDaemons" if self.root else os.path.expanduser("~/Library/LaunchAgents")

    @staticmethod
    def unit(name: str) -> str:
        """Return a service's label."""
        return LABEL + name

    def definition_path(self, name: str) -> str:
        """Return where a service's definition belongs."""
        return os.path.join(self.agents, self.unit(name) + ".plist")

    def definition(self, name: str, program: Mapping[str, Any]) -> str:
        """Return the text of a service's definition."""
        return plist(name, program, self._log(name), self.root)

    def _log(self, name: str) -> str:
        return "%s/%s.log" % (self.folder, name)

    def leftovers(self, name: str) -> List[str]:
        """Return the files that it made for a service, and its folder if it holds nothing else."""
        mine = glob.glob(glob.escape(self._log(name)))
        try:
            others = {os.path.join(self.folder, entry) for entry in os.listdir(self.folder)} - set(mine)
        except OSError:
            return []
        return mine + ([] if others else [self.folder])

    def look(self, name: str) -> str:
        """Return the command that shows people how a service does."""
        return "launchctl print %s/%s; tail -n 50 %s" % (
            self.domain,
            self.unit(name),
            shlex.quote(self._log(name)),
        )

    def states(self, names: Sequence[str]) -> Dict[str, UnitState]:
        """Return the states of services by name."""
        return {name: self.state(name) for name in names}

    def state(self, name: str) -> UnitState:
        """Return the state of one service."""
        path = self.definition_path(name)
        there = os.path.exists(path)
        outcome = run(["launchctl", "print", "%s/%s" % (self.domain, self.unit(name))], self.timeout)
        if outcome.code is None:
            raise ServiceError("launchctl print failed: %s" % (last_lines(outcome.err, 2) or "no answer"))
        if not there and outcome.code != 0:
            return _ABSENT
        found = parse_print(outcome.out) if outcome.code == 0 else {}
        pid = int(found["pid"]) if found.get("pid", "").isdigit() else 0
        loaded = outcome.code == 0
        status = re.match(r"-?\d+", found.get("last exit code", "0"))
        running = found.get("state") == "running" and pid > 0
        runs = int(found["runs"]) if found.get("runs", "").isdigit() else 0
        return UnitState(
            load="loaded" if there else "not-found",
            active="active" if running else "activating" if loaded else "inactive",
            sub="running" if running else "auto-restart" if loaded else "dead",
            enabled=("disabled" if self._off(name) else "enabled") if there else "",
            stale=False,
            pid=pid,
            restarts=max(0, runs - 1),
            path=path if there else "",
            drop_ins=[],
            result="success" if running else found.get("state", "not loaded"),
            status=int(status.group(0)) if status else 0,
            started="",
        )

    def _off(self, name: str) -> bool:
        text = run(["launchctl", "print-disabled", self.domain], self.timeout).out
        return bool(re.search(r'"%s" => (true|disabled)' % re.escape(self.unit(name)), text))

    def _tell(self, *words: str, ignore: Sequence[int] = (), timeout: Optional[float] = None) -> None:
        outcome = run(["launchctl", *words], timeout or self.timeout)
        if outcome.code != 0 and outcome.code not in ignore:
            said = last_lines(outcome.err or outcome.out, 3) or "exit status %s" % outcome.code
            raise ServiceError("launchctl %s failed: %s" % (" ".join(words), said))

    def enable_diffs(self, name: str, wanted: bool) -> List[Dict[str, str]]:
        """Return nothing: what enabling changes lies in launchd's own database."""
        del name, wanted
        return []

    def enable(self, name: str, wanted: bool) -> None:
        """Let a service start with the node, or not."""
        self._tell("enable" if wanted else "disable", "%s/%s" % (self.domain, self.unit(name)))

    def reload(self) -> None:
        """Do nothing: a definition is read when the service is loaded."""

    def forget_failure(self, name: str) -> None:
        """Do nothing: it never gives up."""

    def stop(self, name: str, timeout: float) -> None:
        """Stop a service and unload it.

        Raises:
            ServiceError: if it does not end.
        """
        self._tell("bootout", "%s/%s" % (self.domain, self.unit(name)), ignore=_NO_SUCH, timeout=timeout)
        deadline = time.monotonic() + timeout
        while self.state(name).active in ("active", "activating"):
            if time.monotonic() > deadline:
                raise ServiceError("%s does not end" % self.unit(name))
            time.sleep(0.2)

    def bring_up(self, name: str, restart: bool, seconds: float, settle: float) -> UnitState:
        """Load a service anew, start it and wait until it stays up.

        Args:
            name: the service.
            restart: not used: its definition is read again in any case.
            seconds: how long it may take.
            settle: how long it must then stay active, with the same process.

        Raises:
            ServiceError: if it does not; it quotes the last lines that the service wrote.
        """
        del restart
        deadline = time.monotonic() + seconds
        os.makedirs(self.folder, mode=0o755, exist_ok=True)
        self.stop(name, seconds)
        self._tell("bootstrap", self.domain, self.definition_path(name), timeout=seconds)
        self._tell("kickstart", "%s/%s" % (self.domain, self.unit(name)), timeout=seconds)
        steady: Optional[float] = None
        first = 0
        while True:
            state, now = self.state(name), time.monotonic()
            if state.active == "active":
                if first != state.pid:
                    first, steady = state.pid, now
                if steady is not None and now - steady >= settle:
                    return state
            else:
                steady = None
            if now > deadline:
                break
            time.sleep(0.2)
        raise ServiceError(
            "%s did not come up: %s, exit status %d. Its last words:\n%s"
            % (self.unit(name), state.result, state.status, self.logs(name, 12) or "(it wrote nothing)")
        )

    def logs(self, name: str, lines: int, since: Optional[float] = None) -> str:
        """Return the last lines that a service wrote.

        Args:
            name: the service.
            lines: how many at most.
            since: not used: what a service writes need not have a time.
        """
        del since
        with contextlib.suppress(OSError), open(self._log(name), "rb") as handle:
            size = handle.seek(0, os.SEEK_END)
            handle.seek(max(0, size - 64 * 1024))
            return last_lines(handle.read().decode("utf-8", "replace"), lines)
        return ""
