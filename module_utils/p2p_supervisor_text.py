"""What supervisord reads, and what starts it when its container starts: pure functions over texts."""

from __future__ import annotations

import re
import shlex
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

# Nothing of the login that deploys, or of the container's start, gets into the service.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NEW_HOOK = "#!/bin/sh\n"
_SHELL = re.compile(r"^#!\s*\S*?(?:/env\s+)?(?:[^\s/]*/)*(?:ba|da|z|a|k)?sh(\s|$)")
# A socket's path may have 107 bytes; supervisord adds its process id while it makes it.
SOCKET_PATH_LIMIT = 95


def paths(folder: str, name: str) -> Dict[str, str]:
    """Return where supervisord has `conf`, `sock`, `pid`, `log` (the service's) and `main` (its own log)."""
    stem = "%s/%s" % (folder.rstrip("/"), name)
    return {
        "conf": stem + ".conf",
        "sock": stem + ".sock",
        "pid": stem + ".pid",
        "log": stem + ".log",
        "main": stem + ".supervisord.log",
    }


def shell_command(program: Mapping[str, Any], as_user: bool) -> str:
    """Return the shell's words that start a program with its environment file and its user's home.

    Args:
        program: as `configuration` takes it.
        as_user: whether it runs as `program["user"]`, not as whoever runs supervisord.
    """
    parts = []
    if as_user and program.get("user"):
        user = program["user"]
        parts.append("export HOME=~%s USER=%s LOGNAME=%s" % (user, user, user))
    if program.get("environment_file"):
        parts.append("set -a && . %s && set +a" % shlex.quote(program["environment_file"]))
    return " && ".join([*parts, str(program["command"])])


def configuration(name: str, program: Mapping[str, Any], folder: str, root: bool) -> str:
    """Return the text of supervisord's configuration for one service.

    Args:
        name: the service.
        program: `command` (words for a shell), `directory` (where it works), `user`, `environment_file`,
            `environment` (a map), `umask` (octal digits), `stop_seconds`; all but the first may be missing.
        folder: where its files lie.
        root: whether supervisord runs as root, so that it can give the program its user.

    Raises:
        ValueError: if the folder's path is too long for a socket, or a text cannot be part of it.
    """
    where = paths(folder, name)
    if len(where["sock"].encode()) > SOCKET_PATH_LIMIT:
        raise ValueError(
            "%s is too long a path for a socket: put the orchestrator's root elsewhere" % where["sock"]
        )
    environment = dict(program.get("environment") or {})
    section: List[Tuple[str, Any]] = [
        ("command", "/bin/sh -c " + shlex.quote(shell_command(program, as_user=root))),
        ("directory", program.get("directory")),
        ("environment", ",".join('%s="%s"' % (key, environment[key]) for key in sorted(environment)) or None),
        ("user", program.get("user") if root else None),
        ("umask", program.get("umask")),
        ("autostart", "true"),
        ("autorestart", "true"),
        ("startsecs", 2),
        # The n-th try waits n seconds longer; it never gives up.
        ("startretries", 1000000),
        ("stopwaitsecs", program.get("stop_seconds") or 10),
        ("redirect_stderr", "true"),
        ("stdout_logfile", where["log"]),
        ("stdout_logfile_maxbytes", "10MB"),
        ("stdout_logfile_backups", 3),
    ]
    return _ini(
        [
            ("unix_http_server", [("file", where["sock"]), ("chmod", "0600")]),
            (
                "supervisord",
                [
                    ("user", "root" if root else None),
                    ("pidfile", where["pid"]),
                    ("logfile", where["main"]),
                    ("logfile_maxbytes", "1MB"),
                    ("logfile_backups", 1),
                    ("umask", "022"),
                    ("nocleanup", "true"),
                ],
            ),
            (
                "rpcinterface:supervisor",
                [("supervisor.rpcinterface_factory", "supervisor.rpcinterface:make_main_rpcinterface")],
            ),
            ("supervisorctl", [("serverurl", "unix://" + where["sock"])]),
            ("program:" + name, section),
        ]
    )


def _ini(sections: Sequence[Tuple[str, Sequence[Tuple[str, Any]]]]) -> str:
    blocks = []
    for title, pairs in sections:
        lines = ["[%s]" % title]
        for key, value in pairs:
            if value is None:
                continue
            text = str(value)
            if "\n" in text or re.search(r"\s[;#]", text):
                raise ValueError("%s: %r cannot be part of a file of supervisord" % (key, text))
            # A percent sign begins one of its expressions.
            lines.append("%s=%s" % (key, text.replace("%", "%%")))
        blocks.append("\n".join(lines))
    return "; Ansible managed\n" + "\n\n".join(blocks) + "\n"


def start_words(binaries: str, conf: str, home: str) -> List[str]:
    """Return the command that starts supervisord, the same from a deploy and from the container's start."""
    # -I, since the folder where this happens to run may have modules of the same names.
    program = [binaries + "/python", "-I", "-m", "supervisor.supervisord"]
    return ["env", "-i", "PATH=" + PATH, "HOME=" + home, *program, "-c", conf]


def _marks(name: str) -> Tuple[str, str]:
    return "# BEGIN p2p-cluster %s\n" % name, "# END p2p-cluster %s\n" % name


def hook_block(name: str, words: Sequence[str], before: str = "") -> str:
    """Return the lines that start supervisord when the machine does; their failure stops nothing else.

    Args:
        name: the service.
        words: what starts it.
        before: what a table of cron has before a command.
    """
    begin, end = _marks(name)
    command = " ".join(shlex.quote(word) for word in words)
    if before:
        # cron ends a line at a percent sign, also in quotes.
        command = command.replace("%", "\\%")
    return "%s%s%s || true\n%s" % (begin, before, command, end)


def hook_state(text: Optional[str], name: str, block: str) -> str:
    """Return whether a start script has the block: `enabled`, `disabled`, or `outdated`."""
    if text is None or _marks(name)[0] not in text:
        return "disabled"
    return "enabled" if block in text else "outdated"


def with_hook(text: Optional[str], name: str, block: str, new: str = NEW_HOOK) -> str:
    """Return a start script with the block, before what else is in it.

    Something later in it may never come to an end.

    Args:
        text: the script's, or a table of cron's; None where there is none.
        name: the service.
        block: from `hook_block`.
        new: what one begins with that is made.

    Raises:
        ValueError: if it is no shell script.
    """
    rest = new if text is None else without_hook(text, name)
    first, newline, others = rest.partition("\n")
    if not first.startswith("#!"):
        return block + rest
    if not _SHELL.match(first):
        raise ValueError("begins with %s, so no line for a shell can be added to it" % first)
    return first + (newline or "\n") + block + others


def without_hook(text: str, name: str) -> str:
    """Return a start script without the block."""
    begin, end = _marks(name)
    before, mark, after = text.partition(begin)
    if not mark:
        return text
    inside, closed, rest = after.partition(end)
    # Without its end the block is the one line after its begin.
    return before + (rest if closed else inside.partition("\n")[2])


def exits(log: str, name: str) -> int:
    """Return how often a service ended by itself since it was last started by somebody.

    Args:
        log: the end of supervisord's own log.
        name: the service.
    """
    count = 0
    for line in log.splitlines():
        if "supervisord started with pid" in line or " stopped: %s (" % name in line:
            count = 0
        elif " exited: %s (" % name in line:
            count += 1
    return count


def last_exit(log: str, name: str) -> int:
    """Return the exit status of the process that ended last, which supervisord itself forgets; or 0."""
    found = re.findall(r" exited: %s \(exit status (\d+)" % re.escape(name), log)
    return int(found[-1]) if found else 0


def last_spawned(log: str, name: str) -> Optional[Tuple[int, str]]:
    """Return process id and local time (`2026-11-23 02:10:38`) of the process that was started last."""
    found = re.findall(
        r"^(\S+ [\d:]+),\d+ INFO spawned: '%s' with pid (\d+)$" % re.escape(name), log, re.MULTILINE
    )
    return (int(found[-1][1]), found[-1][0]) if found else None
