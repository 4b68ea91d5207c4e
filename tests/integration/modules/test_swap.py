"""A release that is made, swapped and started by one task: what it refuses, shows and leaves behind."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.integration.modules.conftest import Node
from tests.integration.modules.made import small
from tests.support.artifacts import FILES
from tests.support.leaks import leaks, parts

ROOT, SERVICE, SETTINGS = "/opt/p2p-swapped", "p2p_swapped", "/etc/p2p-swapped"
KEY = f"{SETTINGS}/node.key"
FIRST, SECOND = "1.0-a", "1.0-b"
UNIT = f"""\
[Unit]
Description=What runs from a release
[Service]
Environment=P2P_CONFIG_DIGEST=@config_digest@
WorkingDirectory={ROOT}/current
ExecStart={ROOT}/current/venv/bin/python -c 'import time, tiny; time.sleep(3600)'
[Install]
WantedBy=multi-user.target
"""
PROCESS = f"systemctl show -P MainPID {SERVICE}"
RUNS = f"readlink -f /proc/$({PROCESS})/cwd"
STATE = f"find {ROOT} {SETTINGS} /etc/systemd/system -xdev -printf '%y %m %U %G %s %i %C@ %p %l\\n' | sort"


@pytest.fixture(autouse=True)
def nothing_left(node: Node) -> Iterator[None]:
    yield
    unit = f"/etc/systemd/system/{SERVICE}.service"
    node.sh(
        f"systemctl disable --now {SERVICE} || true; rm -rf {ROOT} {SETTINGS} {unit}; systemctl daemon-reload"
    )


def service(**changes: Any) -> dict[str, Any]:
    """Return the service that is to run."""
    return {
        "name": SERVICE,
        "unit": UNIT,
        "files": [{"path": f"{SETTINGS}/node.conf", "content": "colour=blue\n"}],
        "directories": [{"path": SETTINGS}],
        "enabled": True,
        "wait_seconds": 10,
        "settle_seconds": 0.5,
        **changes,
    }


def swap(
    node: Node, name: str, artifact: Mapping[str, Any], *, check_mode: bool = False, **changes: Any
) -> Any:
    """Run the module for a release and its service."""
    given: dict[str, Any] = {"service": service(), **changes}
    return node.module(
        "p2p_release",
        check_mode=check_mode,
        root=ROOT,
        name=name,
        artifact=artifact,
        min_free_mb=50,
        **given,
    )


def second(folder: Path) -> dict[str, Any]:
    """Return the artefact of another release."""
    return small(folder, SECOND, {**FILES, "other.py": "VALUE = 3\n"})


@pytest.fixture
def running(node: Node, tmp_path: Path) -> str:
    """A service that runs from the first release; its process."""
    done = swap(node, FIRST, small(tmp_path, FIRST))
    assert done["changed"], done
    assert node.sh(RUNS) == f"{ROOT}/releases/{FIRST}"
    return node.sh(PROCESS)


def test_a_preview_says_all_that_the_run_then_does(node: Node, tmp_path: Path, running: str) -> None:
    artifact, before = second(tmp_path), node.sh(STATE)
    foretold = swap(node, SECOND, artifact, check_mode=True)
    assert foretold["changed"]
    assert node.sh(STATE) == before
    assert node.sh(PROCESS) == running
    done = swap(node, SECOND, artifact)
    assert (done["actions"], done["release"]) == (foretold["actions"], SECOND)
    assert any("restart" in phrase for phrase in done["actions"]), done["actions"]
    assert node.sh(RUNS) == f"{ROOT}/releases/{SECOND}"
    assert node.sh(f"systemctl is-enabled {SERVICE}") == "enabled"
    after = node.sh(STATE)
    for again in (swap(node, SECOND, artifact), swap(node, SECOND, artifact, check_mode=True)):
        assert not again["changed"], again
    assert node.sh(STATE) == after


def test_a_service_that_cannot_be_is_refused_before_the_swap(
    node: Node, tmp_path: Path, running: str
) -> None:
    before = node.sh(STATE)
    bad = service(files=[{"path": f"{SETTINGS}/node.conf", "content": "x\n", "owner": "nobody-of-that-name"}])
    answer = swap(node, SECOND, second(tmp_path), service=bad)
    assert answer["failed"], answer
    assert not answer["changed"]
    assert "nobody-of-that-name" in answer["msg"]
    assert node.sh(STATE) == before
    assert node.sh(PROCESS) == running


def test_an_archive_that_is_damaged_leaves_the_service_as_it_is(
    node: Node, tmp_path: Path, running: str
) -> None:
    artifact = {**second(tmp_path), "digest": "0" * 64}
    answer = swap(node, SECOND, artifact, service=service(unit=UNIT + "# another\n"))
    assert answer["failed"], answer
    assert not answer["changed"]
    assert "what ran still runs" in answer["msg"]
    assert node.sh(PROCESS) == running
    assert node.sh(RUNS) == f"{ROOT}/releases/{FIRST}"


def test_one_that_does_not_start_is_told_with_the_change_that_was_made(
    node: Node, tmp_path: Path, running: str
) -> None:
    assert running
    broken = UNIT.replace("import time, tiny;", "import time, nothing_of_that_name;")
    answer = swap(node, SECOND, second(tmp_path), service=service(unit=broken))
    assert answer["failed"], answer
    assert answer["changed"]
    assert SERVICE in answer["msg"]
    assert node.sh(f"readlink {ROOT}/current") == f"releases/{SECOND}"
    back = node.module(
        "p2p_release", root=ROOT, name=FIRST, state="active", service=service(), min_free_mb=50
    )
    assert back["changed"], back
    assert node.sh(RUNS) == f"{ROOT}/releases/{FIRST}"


def test_a_secret_of_the_service_stands_in_its_file_alone(node: Node, tmp_path: Path) -> None:
    secret = base64.encodebytes(os.urandom(96)).decode()
    given = service(files=[{"path": KEY, "mode": "0600", "secret": True}])
    for check_mode in (True, False):
        answer = swap(
            node,
            FIRST,
            small(tmp_path, FIRST),
            check_mode=check_mode,
            service=given,
            secrets={KEY: secret},
        )
        assert answer["changed"], answer
        assert not [part for part in parts(secret) if part in str(answer)]
    assert node.sh(f"cat {KEY}; stat -c %a {KEY}") == f"{secret.strip()}\n600"
    assert leaks(node.name, [], parts(secret)) == [KEY]


def test_a_secret_among_the_files_of_the_service_is_refused_before_it_is_logged(
    node: Node, tmp_path: Path
) -> None:
    secret = base64.encodebytes(os.urandom(96)).decode()
    bad = service(files=[{"path": KEY, "content": secret, "secret": True}])
    answer = swap(node, FIRST, small(tmp_path, FIRST), service=bad)
    assert answer["failed"], answer
    assert f"{KEY}: the content of a secret file would stand in the node's journal" in str(answer)
    assert leaks(node.name, [], parts(secret)) == []
    assert node.sh(f"ls {ROOT} 2>/dev/null || true") == ""
