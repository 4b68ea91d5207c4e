"""What supervisord reads, and the block in the script of a container's start."""

from __future__ import annotations

import plistlib
import subprocess
from pathlib import Path

import pytest
from supervisor.options import ServerOptions  # type: ignore[import-untyped]  # it has no types

from module_utils.p2p_launchd import parse_print, plist
from module_utils.p2p_supervisor_text import (
    configuration,
    exits,
    hook_block,
    hook_state,
    last_exit,
    last_spawned,
    start_words,
    with_hook,
    without_hook,
)

PROGRAM = {
    "command": "exec /opt/p2p/current/venv/bin/python -m p2p_orchestrator --host 0.0.0.0",
    "directory": "/",
    "user": "nobody",
    "environment_file": "/etc/ring rift/100%/node.conf",
    "environment": {"P2P_CONFIG_DIGEST": "@config_digest@"},
    "umask": "077",
    "stop_seconds": 11,
}
BLOCK = hook_block("x", start_words("/opt/p2p/venv/bin", "/opt/p2p/supervisor/x.conf", "/root"))


def test_supervisord_reads_what_was_meant(tmp_path: Path) -> None:
    path = tmp_path / "x.conf"
    path.write_text(configuration("x", PROGRAM, str(tmp_path), root=True))
    options = ServerOptions()
    options.realize(["-c", str(path)])
    (group,) = options.process_group_configs
    (process,) = group.process_configs
    assert options.pidfile == str(tmp_path / "x.pid")
    assert options.serverurl == f"unix://{tmp_path}/x.sock"
    assert [server["chmod"] for server in options.server_configs] == [0o600]
    assert process.command.startswith("/bin/sh -c ")
    assert ". '\"'\"'/etc/ring rift/100%/node.conf'\"'\"' && set +a && exec /opt/p2p/" in process.command
    assert process.environment == {"P2P_CONFIG_DIGEST": "@config_digest@"}
    assert (process.uid, process.umask, process.stopwaitsecs) != (None, None, 10)
    assert process.umask == 0o077
    assert process.autorestart
    assert process.stdout_logfile_maxbytes == 10 << 20


def test_a_user_who_is_not_root_gives_the_program_no_other_user(tmp_path: Path) -> None:
    text = configuration("x", PROGRAM, str(tmp_path), root=False)
    assert "user=" not in text
    assert "HOME=~" not in text


@pytest.mark.parametrize(
    "change",
    [{"command": "exec a ; rm b"}, {"command": "a\nb"}, {"directory": "/a #b"}],
    ids=["comment", "line", "hash"],
)
def test_what_supervisord_would_read_otherwise_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="cannot be part"):
        configuration("x", {**PROGRAM, **change}, "/opt/p2p", root=True)


def test_a_path_too_long_for_a_socket_is_refused() -> None:
    with pytest.raises(ValueError, match="too long"):
        configuration("x", PROGRAM, "/home/" + "a" * 90, root=True)


@pytest.mark.parametrize(
    "script",
    [
        None,
        "#!/bin/bash\necho mine\nsleep infinity\n",
        "#!/usr/bin/env bash\n",
        "echo no shebang\n",
        "",
        "#!/bin/sh",
    ],
)
def test_a_block_comes_and_goes_without_a_trace(script: str | None) -> None:
    once = with_hook(script, "x", BLOCK)
    assert hook_state(once, "x", BLOCK) == "enabled"
    assert with_hook(once, "x", BLOCK) == once
    back = without_hook(once, "x")
    assert back.rstrip("\n") == ("#!/bin/sh" if script is None else script.rstrip("\n"))
    assert hook_state(back, "x", BLOCK) == "disabled"


def test_the_block_comes_before_what_may_never_end_and_stops_nothing() -> None:
    script = with_hook("#!/bin/sh\nset -e\necho mine\n", "x", BLOCK)
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout == "mine\n"
    assert script.index("supervisord") < script.index("set -e")


def test_an_older_block_is_outdated_and_replaced_even_without_its_end() -> None:
    older = with_hook("#!/bin/sh\nmine\n", "x", hook_block("x", ["elsewhere"]))
    assert hook_state(older, "x", BLOCK) == "outdated"
    assert with_hook(older, "x", BLOCK) == f"#!/bin/sh\n{BLOCK}mine\n"
    cut = older.replace("# END p2p-cluster x\n", "")
    assert without_hook(cut, "x") == "#!/bin/sh\nmine\n"


def test_a_start_script_of_another_language_is_left_alone() -> None:
    with pytest.raises(ValueError, match="/usr/bin/python3"):
        with_hook("#!/usr/bin/python3\n", "x", BLOCK)


def test_a_table_of_cron_holds_a_line_that_runs_at_the_start_of_the_machine() -> None:
    words = start_words("/home/a b/venv/bin", "/home/a b/x.conf", "/home/a b")
    block = hook_block("x", words, "@reboot ")
    once = with_hook(None, "x", block, "")
    assert once == block
    assert once.splitlines()[1].startswith("@reboot env -i ")
    assert without_hook(once, "x") == ""
    assert without_hook(with_hook("0 1 * * * mine\n", "x", block, ""), "x") == "0 1 * * * mine\n"


LOG = """\
2026-11-23 01:00:00,001 INFO exited: x (exit status 1; not expected)
2026-11-23 02:00:00,001 INFO supervisord started with pid 7
2026-11-23 02:00:01,005 INFO spawned: 'x' with pid 8
2026-11-23 02:00:02,005 INFO exited: x (exit status 1; not expected)
2026-11-23 02:00:03,005 INFO exited: y (exit status 1; not expected)
2026-11-23 02:00:04,005 INFO spawned: 'x' with pid 9
2026-11-23 02:00:09,005 WARN exited: x (terminated by SIGKILL; not expected)
"""


def test_restarts_are_counted_since_somebody_started_it() -> None:
    assert exits(LOG, "x") == 2
    assert exits(LOG + "2026-11-23 02:01:00,000 INFO stopped: x (exit status 0)\n", "x") == 0
    assert exits("", "x") == 0


def test_the_last_exit_status_is_told() -> None:
    assert last_exit(LOG, "x") == 1
    assert last_exit("", "x") == 0


def test_the_last_process_is_known_with_its_start() -> None:
    assert last_spawned(LOG, "x") == (9, "2026-11-23 02:00:04")
    assert last_spawned(LOG, "y") is None


def test_the_property_list_is_one() -> None:
    job = plistlib.loads(plist("x", PROGRAM, "/opt/p2p/supervisor/x.log", root=True).encode())
    assert job["Label"] == "org.p2p-cluster.x"
    assert job["ProgramArguments"][:2] == ["/bin/sh", "-c"]
    assert job["ProgramArguments"][2].endswith(PROGRAM["command"])
    assert job["EnvironmentVariables"]["P2P_CONFIG_DIGEST"] == "@config_digest@"
    assert (job["KeepAlive"], job["RunAtLoad"], job["Umask"], job["UserName"]) == (
        True,
        True,
        0o077,
        "nobody",
    )
    agent = plistlib.loads(plist("x", PROGRAM, "/x.log", root=False).encode())
    assert "UserName" not in agent


PRINTED = """\
gui/501/org.p2p-cluster.x = {
\tactive count = 1
\tstate = running

\tenvironment = {
\t\tPATH => /bin
\t}
\truns = 3
\tpid = 77
\tlast exit code = 1: Operation not permitted
\tspawn type = {
\t\tstate = other
\t}
}
"""


def test_what_launchctl_prints_of_a_job_is_read() -> None:
    found = parse_print(PRINTED)
    assert (found["state"], found["pid"], found["runs"]) == ("running", "77", "3")
    assert found["last exit code"].startswith("1")
