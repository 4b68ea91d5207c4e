"""What systemctl answers, how drift follows from it, and looks that hang."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from module_utils.p2p_bounded import look
from module_utils.p2p_digest import service_wanted
from module_utils.p2p_drift import node_drift
from module_utils.p2p_services import restarts_service, service_drift
from module_utils.p2p_systemd import Systemd, UnitState, parse_show

SHOWN = """\
Id=a.service
LoadState=loaded
ActiveState=activating
SubState=auto-restart
UnitFileState=enabled
NeedDaemonReload=yes
MainPID=0
NRestarts=7
DropInPaths=/etc/a.d/1.conf /etc/a.d/2.conf
Result=exit-code
ExecMainStatus=2

Id=b.service
LoadState=not-found
ActiveState=inactive
MainPID=[not set]
"""


def test_several_units_in_one_answer() -> None:
    states = parse_show(SHOWN, ["a", "b.service"])
    assert states["a"].restarts == 7
    assert states["a"].stale
    assert states["a"].drop_ins == ["/etc/a.d/1.conf", "/etc/a.d/2.conf"]
    assert states["b.service"] == UnitState("not-found", "inactive", "", "", False, 0, 0, "", [], "", 0, "")


def state(**changes: Any) -> UnitState:
    """Return a unit that runs and is enabled, but for `changes`."""
    plain = UnitState("loaded", "active", "running", "enabled", False, 0, 0, "", [], "success", 0, "")
    return plain._replace(**changes)


@pytest.mark.parametrize(
    ("found", "wished", "parts"),
    [
        ({}, {}, []),
        ({"active": "inactive"}, {}, ["state"]),
        ({"active": "failed"}, {}, ["state"]),
        ({"active": "activating", "sub": "start"}, {}, []),
        ({"active": "activating", "sub": "auto-restart"}, {}, ["state"]),
        ({}, {"state": "stopped"}, ["state"]),
        ({"active": "inactive"}, {"state": "stopped"}, []),
        ({"active": "activating", "sub": "auto-restart"}, {"state": "stopped"}, ["state"]),
        ({}, {"state": "restarted"}, ["restart"]),
        ({"enabled": "disabled"}, {"enabled": True}, ["enabled"]),
        ({"enabled": "disabled"}, {}, []),
        ({}, {"enabled": False}, ["enabled"]),
        ({"enabled": ""}, {"enabled": False}, []),
        ({"stale": True}, {}, ["reload"]),
    ],
)
def test_drift_of_a_state(found: dict[str, Any], wished: dict[str, Any], parts: list[str]) -> None:
    wanted = service_wanted({"name": "x", **wished})
    drift = service_drift(wanted, Systemd(), {"x": state(**found)})
    assert [item.part for item in drift] == parts


@pytest.mark.parametrize(
    ("load", "active", "drifts"),
    [
        ("masked", "inactive", False),
        ("loaded", "inactive", True),
        ("not-found", "inactive", True),
        ("masked", "active", True),
    ],
)
def test_units_that_must_not_run(load: str, active: str, drifts: bool) -> None:
    wanted = service_wanted({"name": "x", "masked_units": ["etcd.service"]})
    drift = service_drift(wanted, Systemd(), {"x": state(), "etcd.service": state(load=load, active=active)})
    assert [item.part for item in drift] == (["masked"] if drifts else [])


def test_a_changed_file_restarts_and_a_changed_mode_does_not(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("1")
    path.chmod(0o644)
    wanted = service_wanted({"name": "x", "files": [{"path": str(path), "content": "1"}]})
    assert service_drift(wanted, Systemd(), {"x": state()}) == []
    path.chmod(0o600)
    drift = service_drift(wanted, Systemd(), {"x": state()})
    assert [item.part for item in drift] == ["file"]
    assert not restarts_service(drift[0])
    path.write_text("2")
    drift = service_drift(wanted, Systemd(), {"x": state()})
    assert [item.part for item in drift] == ["file", "restart"]
    assert restarts_service(drift[0])
    assert [item.part for item in service_drift(wanted, Systemd(), {"x": state(active="inactive")})] == [
        "file",
        "state",
    ]


def test_a_changed_live_line_restarts_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("A=1\nB=1\n")
    file = {"path": str(path), "content": "A=1\nB=2\n", "live_lines": ["B"], "mode": "0644"}
    path.chmod(0o644)
    wanted = service_wanted({"name": "x", "files": [file]})
    drift = service_drift(wanted, Systemd(), {"x": state()})
    assert [(item.part, item.why) for item in drift] == [("live", "content differs")]
    assert not restarts_service(drift[0])
    for text in ("A=2\nB=1\n", "B=1\n", "A=1\nB=1\nC=1\n"):
        path.write_text(text)
        drift = service_drift(wanted, Systemd(), {"x": state()})
        assert [item.part for item in drift] == ["file", "restart"]
    path.unlink()
    assert [item.part for item in service_drift(wanted, Systemd(), {"x": state()})] == ["file", "restart"]


def test_a_look_that_hangs_stalls_nothing() -> None:
    over, began = threading.Event(), time.monotonic()
    answers, errors = look({"slow": lambda: over.wait(300), "fast": lambda: 1, "bad": lambda: 1 / 0}, 3)
    assert time.monotonic() - began < 120
    over.set()
    assert answers == {"fast": 1}
    assert errors["slow"] == "no answer within 3 s"
    assert errors["bad"].startswith("ZeroDivisionError")


def test_a_node_without_systemd_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Systemd, "here", staticmethod(lambda: False))
    service = {"name": "x", "unit": "[Service]\n", "place": {"folder": str(tmp_path)}}
    drift = node_drift({"services": [service]}, str(tmp_path), 1)
    assert drift[0]["part"] == "manager"
    assert "x is defined for systemd alone, and supervisord runs this node" in drift[0]["why"]
    release: dict[str, Any] = {
        "name": "a",
        "root": None,
        "files": [],
        "artifacts": {},
    }
    found = node_drift({"release": release}, str(tmp_path), 1)
    assert found == [{"part": "release", "name": "a", "why": "not there", "restarts": []}]
