"""systemd, asked and told through systemctl and journalctl."""

from __future__ import annotations

import os
import time
from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence

from .p2p_run import last_lines, run

UNIT_FOLDER = "/etc/systemd/system"
_ASKED = (
    "Id,LoadState,ActiveState,SubState,UnitFileState,NeedDaemonReload,MainPID,NRestarts,FragmentPath,"
    "DropInPaths,Result,ExecMainStatus,ExecMainStartTimestamp"
)
RUNNING_STATES = ("active", "activating", "reloading")
_DENIED = ("Access denied", "authentication required", "Permission denied", "not permitted")


class ServiceError(Exception):
    """A service manager that refused or failed; the message has its words and the remedy."""


class UnitState(NamedTuple):
    """What the service manager knows of one unit."""

    load: str  # loaded, not-found, masked, bad-setting, error
    active: str  # active, inactive, failed, activating, deactivating, reloading
    sub: str
    enabled: str  # enabled, disabled, static, masked, ... or nothing
    stale: bool  # the definition on disk is newer than the loaded one
    pid: int
    restarts: int
    path: str
    drop_ins: List[str]
    result: str
    status: int
    started: str


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0


def parse_show(text: str, names: Sequence[str]) -> Dict[str, UnitState]:
    """Return what `systemctl show` said of units, which it answers in the order asked, a blank line between.

    Args:
        text: its output.
        names: the units' names without suffix, as asked for.
    """
    blocks = [block for block in text.strip().split("\n\n") if block.strip()]
    states: Dict[str, UnitState] = {}
    for name, block in zip(names, blocks):
        found: Dict[str, str] = {}
        for line in block.splitlines():
            key, _, value = line.partition("=")
            found[key] = value
        states[name] = UnitState(
            load=found.get("LoadState", ""),
            active=found.get("ActiveState", ""),
            sub=found.get("SubState", ""),
            enabled=found.get("UnitFileState", ""),
            stale=found.get("NeedDaemonReload") == "yes",
            pid=_number(found.get("MainPID", "")),
            restarts=_number(found.get("NRestarts", "")),
            path=found.get("FragmentPath", ""),
            drop_ins=found.get("DropInPaths", "").split(),
            result=found.get("Result", ""),
            status=_number(found.get("ExecMainStatus", "")),
            started=found.get("ExecMainStartTimestamp", ""),
        )
    return states


class Systemd:
    """The service manager of a node whose PID 1 is systemd."""

    name = "systemd"

    def __init__(self, timeout: float = 30) -> None:
        self.timeout = timeout

    @staticmethod
    def here() -> bool:
        """Tell whether systemd runs this node: an image may bring its folder without it."""
        if not os.path.isdir("/run/systemd/system"):
            return False
        try:
            with open("/proc/1/comm", encoding="ascii") as handle:
                return handle.read().strip() in ("systemd", "init")
        except OSError:
            return True  # other users' processes are hidden here

    @staticmethod
    def unit(name: str) -> str:
        """Return a service's full unit name."""
        return name if name.endswith((".service", ".timer", ".socket")) else name + ".service"

    def definition_path(self, name: str) -> str:
        """Return where a service's definition belongs."""
        return os.path.join(UNIT_FOLDER, self.unit(name))

    def look(self, name: str) -> str:
        """Return the command that shows people how a service does."""
        return "journalctl -u %s -n 50 --no-pager" % name

    def states(self, names: Sequence[str]) -> Dict[str, UnitState]:
        """Return the states of services, all in one call.

        Raises:
            ServiceError: if systemd does not answer.
        """
        words = ["systemctl", "show", "--no-pager", "-p", _ASKED, "--"]
        outcome = run([*words, *(self.unit(name) for name in names)], self.timeout)
        states = parse_show(outcome.out, names)
        if outcome.code != 0 or len(states) != len(set(names)):
            raise ServiceError("systemctl show failed: %s" % (last_lines(outcome.err, 2) or "no answer"))
        return states

    def state(self, name: str) -> UnitState:
        """Return the state of one service."""
        return self.states([name])[name]

    def tell(self, *words: str, timeout: Optional[float] = None) -> None:
        """Give systemctl an order.

        Raises:
            ServiceError: with its words, if it refuses.
        """
        outcome = run(["systemctl", "--no-ask-password", *words], timeout or self.timeout)
        if outcome.code == 0:
            return
        said = last_lines(outcome.err or outcome.out, 3) or "no output"
        remedy = " (become: true is needed)" if any(word in said for word in _DENIED) else ""
        raise ServiceError("systemctl %s failed: %s%s" % (" ".join(words), said, remedy))

    def reload(self) -> None:
        """Read all definitions again."""
        self.tell("daemon-reload")

    def enable(self, name: str, wanted: bool) -> None:
        """Let a service start with the node, or not."""
        self.tell("enable" if wanted else "disable", self.unit(name))

    def stop(self, name: str, timeout: float) -> None:
        """Stop a service."""
        self.tell("stop", self.unit(name), timeout=timeout)

    def forget_failure(self, name: str) -> None:
        """Let a service that failed too often be started again."""
        run(["systemctl", "reset-failed", self.unit(name)], self.timeout)

    def mask(self, name: str, timeout: float) -> Optional[str]:
        """Stop, disable and mask a unit, whether or not it is there.

        A definition below /etc stands where the mask belongs, so it is put aside.

        Returns:
            Where it was put, if so.
        """
        state = self.state(name)
        if state.active not in ("inactive", "failed"):
            self.stop(name, timeout)
        if state.enabled not in ("", "disabled", "masked", "static"):
            self.enable(name, False)
        aside = None
        path = self.definition_path(name)
        if os.path.lexists(path) and not _is_mask(path):
            aside = path + ".set-aside"
            os.replace(path, aside)
        self.tell("mask", self.unit(name))
        if aside:
            self.reload()
        self.forget_failure(name)
        return aside

    def unmask(self, name: str) -> None:
        """Take a unit's mask off, and put its own definition back if it was put aside."""
        self.tell("unmask", self.unit(name))
        path = self.definition_path(name)
        if os.path.exists(path + ".set-aside") and not os.path.lexists(path):
            os.replace(path + ".set-aside", path)
            self.reload()

    def logs(self, name: str, lines: int, since: Optional[float] = None) -> str:
        """Return the last lines that a service wrote.

        Args:
            name: the service.
            lines: how many at most.
            since: seconds since the epoch.
        """
        words = ["journalctl", "--no-pager", "--quiet", "-o", "cat", "-n", str(lines), "-u", self.unit(name)]
        if since is not None:
            words.append("--since=@%d" % int(since))
        outcome = run(words, min(self.timeout, 10))
        return last_lines(outcome.out, lines)

    def bring_up(self, name: str, restart: bool, seconds: float, settle: float) -> UnitState:
        """Start or restart a service and wait until it is active and stays so.

        Args:
            name: the service.
            restart: whether a running one is stopped first.
            seconds: how long it may take.
            settle: how long it must then stay active, with the same process.

        Raises:
            ServiceError: if it does not; it quotes the last lines of its journal.
        """
        began, deadline = time.time(), time.monotonic() + seconds
        self.forget_failure(name)
        said = ""
        try:
            self.tell("restart" if restart else "start", self.unit(name), timeout=seconds)
        except ServiceError as error:
            said = "%s" % error
            if "become:" in said:
                raise
        steady: Optional[float] = None
        first: Optional[UnitState] = None
        while True:
            state = self.state(name)
            now = time.monotonic()
            if state.active == "active":
                if first is None or first.pid != state.pid:
                    first, steady = state, now
                if steady is not None and now - steady >= settle:
                    return state
            else:
                steady = None
            if (
                state.active == "failed"
                or state.restarts > 0
                or (said and state.active == "inactive")
                or now > deadline
            ):
                break
            time.sleep(0.2)
        lines = self.logs(name, 12, began - 1) or "(its journal is empty)"
        raise ServiceError(
            "%s did not come up: %s (%s), result %s, exit status %d, %d restarts. Its last words:\n%s"
            % (self.unit(name), state.active, state.sub, state.result, state.status, state.restarts, lines)
        )


def _is_mask(path: str) -> bool:
    return os.path.islink(path) and os.readlink(path) == "/dev/null"


def process_environment(pid: int) -> Optional[Mapping[str, str]]:
    """Return the environment that a process was started with, or None if it cannot be read."""
    try:
        with open("/proc/%d/environ" % pid, "rb") as handle:
            pairs = handle.read().decode("utf-8", "replace").split("\0")
    except OSError:
        return None
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


def process_folder(pid: int) -> Optional[str]:
    """Return the folder that a process works in, or None if it cannot be read."""
    try:
        return os.readlink("/proc/%d/cwd" % pid)
    except OSError:
        return None
