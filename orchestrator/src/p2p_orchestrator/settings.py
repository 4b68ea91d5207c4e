"""The file that the settings came from, read again when it changes: what of it holds without a restart."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path

from p2p_orchestrator import log
from p2p_orchestrator.config import Config, check, load
from p2p_orchestrator.errors import StartError
from p2p_orchestrator.stamp import Stamp, stamp

LIVE_SETTINGS = ("RINGRIFT_PATH", "P2P_ADVERTISE_URL")
"""Taken up without a restart on every node."""
LIVE_ON_NON_VOTERS = ("P2P_SEEDS", "P2P_VOTERS", "P2P_SOCKS_PROXY")
"""Taken up without a restart on a node that votes neither before nor after."""

VARIABLES: Mapping[str, str] = {
    "node_id": "NODE_ID",
    "host": "--host",
    "port": "P2P_PORT",
    "ringrift_path": "RINGRIFT_PATH",
    "cluster": "P2P_CLUSTER",
    "seeds": "P2P_SEEDS",
    "voters": "P2P_VOTERS",
    "advertise": "P2P_ADVERTISE_URL",
    "heartbeat_port": "P2P_HEARTBEAT_PORT",
    "tls": "P2P_TLS_*",
    "deny": "P2P_TLS_DENY",
    "etcd_endpoint": "P2P_ETCD_ENDPOINT",
    "etcd_tls": "P2P_ETCD_*",
    "etcd_wait": "P2P_ETCD_WAIT",
    "data_dir": "P2P_DATA_DIR",
    "socks_proxy": "P2P_SOCKS_PROXY",
    "settings_file": "P2P_SETTINGS_FILE",
}
"""The variable behind each field of `Config`."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_QUOTES = ("'", '"')


def parse(text: str) -> dict[str, str]:
    """Return the variables in `text`, written as systemd's `EnvironmentFile`; the last of a name counts.

    Raises:
        ValueError: A line is none that this and systemd read alike; the text names it by its number.
    """
    result = {}
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        name, equals, value = (part.strip() for part in line.partition("="))
        if not equals or not _NAME.fullmatch(name):
            raise ValueError(f"line {number} is not KEY=VALUE")
        if "\\" in value:
            raise ValueError(f"line {number} has a backslash, which systemd reads in its own way")
        result[name] = _unquoted(value, number)
    return result


def _unquoted(value: str, number: int) -> str:
    quotes = value[:1] if value[:1] in _QUOTES else "".join(_QUOTES)
    if value[:1] in _QUOTES and len(value) > 1 and value.endswith(quotes):
        value = value[1:-1]
    if any(quote in value for quote in quotes):
        raise ValueError(f"line {number} has a quote that does not enclose the whole value")
    return value


def differing(before: Config, after: Config) -> list[str]:
    """Return the names of the fields that differ."""
    return [item.name for item in fields(Config) if getattr(before, item.name) != getattr(after, item.name)]


def names(differences: Sequence[str]) -> str:
    """Return the variables behind fields of `Config`, comma-separated."""
    return ",".join(VARIABLES[name] for name in differences)


def merge(running: Config, wanted: Config) -> tuple[Config, list[str]]:
    """Return the settings to run on with, and the fields in which `wanted` needs a restart.

    Raises:
        StartError: What can be taken up contradicts what cannot.
    """
    live: tuple[str, ...] = LIVE_SETTINGS
    if not (running.voter or wanted.voter):
        live += LIVE_ON_NON_VOTERS
    differences = differing(running, wanted)
    taken = {name: getattr(wanted, name) for name in differences if VARIABLES[name] in live}
    result = replace(running, **taken)
    check(result)
    return result, [name for name in differences if name not in taken]


class SettingsFile:
    """The settings as a file has them now.

    Args:
        path: The file.
        argv: The command line, which wins over the file.
        env: The environment at the start, for what the file does not say.
    """

    def __init__(self, path: Path, argv: Sequence[str], env: Mapping[str, str]) -> None:
        self._path = path
        self._argv = list(argv)
        # The environment holds what the file said at the start: a line that is gone must not live on there.
        live = {*LIVE_SETTINGS, *LIVE_ON_NON_VOTERS}
        self._env = {name: value for name, value in env.items() if name not in live}
        # Nothing seen yet: the file may have changed since the service manager read it.
        self._seen: Stamp | None = None
        self.digest: str | None = None
        """SHA-256 (hexadecimal) of the text that the program runs on, all of it, or None before that."""

    def changed(self) -> bool:
        """Tell whether the file is another one than at the last call; true at the first."""
        before, self._seen = self._seen, stamp(self._path)
        return self._seen != before

    def read(self, running: Config) -> Config:
        """Return the settings to run on with: `running`, with what the file changes without a restart.

        A file that cannot be used, and a change that needs a restart, is logged. May block where the
        checkout's file system hangs: call it in a thread.
        """
        try:
            text = self._path.read_text()
            wanted = load(self._argv, {**self._env, **parse(text)})
            result, left = merge(running, wanted)
        except (OSError, ValueError, StartError) as error:
            log.event("settings_refused", "warning", file=str(self._path), reason=str(error))
            return running
        if left:
            log.event("settings_need_restart", "warning", file=str(self._path), settings=names(left))
        else:
            self.digest = hashlib.sha256(text.encode()).hexdigest()
        return result
