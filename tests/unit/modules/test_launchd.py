"""A service under launchd, as far as Linux allows: a stand-in launchctl that records what it is told."""

from __future__ import annotations

import os
import plistlib
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from module_utils.p2p_launchd import Launchd
from module_utils.p2p_service_apply import Request
from module_utils.p2p_systemd import ServiceError

LABEL = "org.p2p-cluster.x"
STAND_IN = """\
#!/bin/sh
cd {folder}
echo "$@" >> calls
case $1 in
    bootstrap) [ -f "$3" ] || exit 5
        digest=$(sed -n '/P2P_CONFIG_DIGEST/{{n;s/.*<string>//;s/<.*//;p}}' "$3")
        P2P_CONFIG_DIGEST=$digest sleep 300 >/dev/null 2>&1 &
        echo $! > pid ;;
    bootout) [ -f pid ] || exit 3
        kill "$(cat pid)"; rm pid ;;
    print) [ -f pid ] || exit 113
        state=running; [ -f broken ] && state="spawn scheduled"
        printf '%s = {{\\n\\tstate = %s\\n\\tpid = %s\\n}}\\n' "$2" "$state" "$(cat pid)" ;;
    print-disabled) printf '\\t"%s" => %s\\n' {label} "$(cat switch)" ;;
    enable | disable) echo "$1d" > switch ;;
esac
"""


@pytest.fixture
def mac(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Put the stand-in in the place of launchctl and return its folder."""
    program = tmp_path / "bin/launchctl"
    program.parent.mkdir()
    program.write_text(STAND_IN.format(folder=tmp_path, label=LABEL))
    program.chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    (tmp_path / "switch").write_text("disabled\n")
    (tmp_path / "calls").touch()
    yield tmp_path
    Launchd(5, {"folder": str(tmp_path / "log")}).stop("x", 5)


def apply(mac: Path, *, check: bool = False, **params: Any) -> dict[str, Any]:
    """Return what p2p_service answers on the stand-in's Mac, to an agent of a user."""
    conf = {"path": str(mac / "node.conf"), "content": "NODE_ID=mac-studio\n", "mode": "0644"}
    wanted: dict[str, Any] = {
        "name": "x",
        "unit": "[Service]\n",
        "program": {"command": "exec sleep 9", "environment": {"P2P_CONFIG_DIGEST": "@config_digest@"}},
        "files": [conf],
        "enabled": True,
        "manager": "launchd",
        "place": {"folder": str(mac / "log")},
        "settle_seconds": 0,
        "wait_seconds": 20,
    }
    request = Request(wanted | params, check)
    assert isinstance(request.manager, Launchd)
    request.manager.agents, request.manager.domain = str(mac / "LaunchAgents"), "gui/501"
    return request.apply()


def calls(mac: Path) -> list[str]:
    """Return the orders that launchctl was given, questions aside, and forget them."""
    told = (mac / "calls").read_text().splitlines()
    (mac / "calls").write_text("")
    return [line for line in told if not line.startswith("print")]


def test_a_preview_orders_nothing_and_foretells_the_run(mac: Path) -> None:
    foretold = apply(mac, check=True)
    assert calls(mac) == []
    assert not (mac / "LaunchAgents").exists()
    done = apply(mac)
    assert (foretold["actions"], foretold["diff"]) == (done["actions"], done["diff"])
    plist = mac / "LaunchAgents" / f"{LABEL}.plist"
    assert calls(mac) == [
        f"enable gui/501/{LABEL}",
        f"bootout gui/501/{LABEL}",
        f"bootstrap gui/501 {plist}",
        f"kickstart gui/501/{LABEL}",
    ]
    job = plistlib.loads(plist.read_bytes())
    assert job["Label"] == LABEL
    assert job["EnvironmentVariables"]["P2P_CONFIG_DIGEST"] == done["config_digest"]
    assert not apply(mac)["changed"]
    (mac / "node.conf").write_text("NODE_ID=other\n")
    again = apply(mac)
    assert again["restarted"]
    assert f"kickstart gui/501/{LABEL}" in calls(mac)


def test_stopped_disabled_and_removed(mac: Path) -> None:
    apply(mac)
    calls(mac)
    assert apply(mac, state="stopped", enabled=False)["changed"]
    assert calls(mac) == [f"disable gui/501/{LABEL}", f"bootout gui/501/{LABEL}"]
    assert not apply(mac, state="stopped", enabled=False)["changed"]
    assert calls(mac) == []
    apply(mac)
    foretold = apply(mac, state="absent", check=True)
    assert foretold["actions"] == apply(mac, state="absent")["actions"]
    assert list((mac / "LaunchAgents").iterdir()) == []
    assert not (mac / "node.conf").exists()
    assert not apply(mac, state="absent")["changed"]


def test_one_that_does_not_start_says_its_last_words(mac: Path) -> None:
    (mac / "broken").touch()
    (mac / "log").mkdir()
    (mac / "log/x.log").write_text("no such module\n")
    with pytest.raises(ServiceError, match=r"(?s)did not come up.*no such module"):
        apply(mac, wait_seconds=5)
