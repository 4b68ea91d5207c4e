"""A real etcd that is full is seen, and mended."""

from __future__ import annotations

import base64
import http.client
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from filter_plugins.p2p_care import MB, store_care
from module_utils.p2p_http import ask_etcd, connect, post
from roles.p2p_health.report.build import report
from tests.integration.conftest import free_ports
from tests.integration.deploy.modules import call
from tests.unit.health.fleet_of_five import VOTERS, answers, fleet, probe

QUOTA = 4 * MB


@pytest.fixture
def small(tmp_path: Path) -> Iterator[str]:
    """Run a member whose database may hold very little; give its client URL."""
    client, peer = (f"http://127.0.0.1:{port}" for port in free_ports(2))
    words = ["etcd", "--name", "a", "--data-dir", str(tmp_path / "data"), "--listen-client-urls", client]
    words += [
        "--advertise-client-urls",
        client,
        "--listen-peer-urls",
        peer,
        "--quota-backend-bytes",
        str(QUOTA),
    ]
    words += ["--initial-advertise-peer-urls", peer, "--initial-cluster", f"a={peer}"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 120
        while not ask_etcd({"endpoint": client}, "", 1).get("leader"):
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()[-2000:]
            time.sleep(0.1)
        yield client
    finally:
        process.terminate()
        process.wait(120)


def put(endpoint: str, size: int) -> str:
    """Write one key, and return etcd's refusal, if any."""
    words = {"key": base64.b64encode(b"/k").decode(), "value": base64.b64encode(b"x" * size).decode()}
    connection: http.client.HTTPConnection = connect({"endpoint": endpoint}, 10)
    try:
        post(connection, "/v3/kv/put", json.dumps(words), time.monotonic() + 60)
    except ValueError as error:
        return str(error)
    finally:
        connection.close()
    return ""


def answer(endpoint: str) -> dict[str, Any]:
    return {"a": {"probe": {"etcd": ask_etcd({"endpoint": endpoint}, "", 5)}}}


def alarms(endpoint: str) -> list[tuple[str, str | None]]:
    """Return what health says of alarms and their remedy when a voter's member is this one."""
    etcd = answer(endpoint)["a"]["probe"]["etcd"]
    problems = report(answers() | {VOTERS[0]: probe(VOTERS[0], etcd=etcd)}, fleet())["cluster"]["problems"]
    return [(item["evidence"], item["remedy"]) for item in problems if item["kind"] == "store_alarm"]


def test_a_full_store_takes_writes_again(small: str, tmp_path: Path) -> None:
    limits: dict[str, Any] = {"min_mb": 1, "percent": 50}
    refused = next(why for _ in range(200) if (why := put(small, 200_000)))
    assert "database space exceeded" in refused
    assert alarms(small) == [(f"etcd on {VOTERS[0]} raised the alarm NOSPACE", "ansible-playbook deploy.yml")]
    assert store_care(answer(small), ["a"], **limits) == {"store_care": ["a"], "store_full": True}

    words = {"etcd": {"endpoint": small}, "compact": True, "disarm": True}
    foretold = call("p2p_etcd_care", words, tmp_path, check=True)
    assert foretold["changed"]
    assert "database space exceeded" in put(small, 10)

    done = call("p2p_etcd_care", words, tmp_path)
    assert not done["failed"], done
    assert done["actions"] == foretold["actions"]
    assert done["db_size"]["after"] < done["db_size"]["before"] / 2
    assert put(small, 10) == ""
    assert alarms(small) == []
    assert store_care(answer(small), ["a"], **limits) == {"store_care": [], "store_full": False}


def test_a_member_that_is_down_is_named(tmp_path: Path) -> None:
    done = call("p2p_etcd_care", {"etcd": {"endpoint": "http://127.0.0.1:9"}}, tmp_path)
    assert done["failed"]
    assert "etcd could not ask the member" in done["msg"]
