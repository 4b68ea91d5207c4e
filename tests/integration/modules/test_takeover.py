"""What a node ran before is stopped for good, its jobs go on, and what is nobody's business is left alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.modules.conftest import ROOT, Node

GIVEN: dict[str, Any] = {"service": "p2p_orchestrator", "root": ROOT, "port": 8799}
# A unit with a job, one started by hand, one kept alive by a shell, a watchdog among other lines of cron.
SET_UP = """
mkdir -p /root/old
cat > /root/old/p2p_orchestrator.py <<'END'
import subprocess, sys, time
if "--job" in sys.argv:
    open("/root/old/job", "w").write(str(subprocess.Popen(["sleep", "100000"], start_new_session=True).pid))
time.sleep(100000)
END
cat > /etc/systemd/system/ringrift-p2p.service <<'END'
[Service]
ExecStart=/usr/bin/python3 /root/old/p2p_orchestrator.py --job
Restart=always
[Install]
WantedBy=multi-user.target
END
systemctl daemon-reload
systemctl enable -q --now ringrift-p2p
cat > /etc/cron.d/watch <<'END'
0 3 * * * root /usr/bin/true
* * * * * root pgrep -f p2p_orchestrator.py || /root/start.sh
END
nohup python3 /root/old/p2p_orchestrator.py --node-id by-hand >/dev/null 2>&1 &
nohup sh -c 'while true; do python3 /root/old/p2p_orchestrator.py --node-id kept; sleep 1; done' \\
  >/dev/null 2>&1 &
for i in $(seq 50); do [ -s /root/old/job ] && break; sleep 0.1; done
sleep 1
"""
CLEAN = """
kill $(cat /root/old/job) 2>/dev/null || true
systemctl unmask -q ringrift-p2p 2>/dev/null || true
rm -rf /root/old /etc/cron.d/watch /etc/systemd/system/ringrift-p2p.service*
systemctl daemon-reload
"""
SEEN = "ps -eo args | grep -c '[p]2p_orchestrator.py --' || true"


@pytest.fixture
def earlier(node: Node) -> Iterator[Node]:
    """Give the node an earlier life."""
    node.sh(SET_UP)
    yield node
    node.sh(CLEAN)


def test_it_is_foretold_and_ended_and_does_not_come_back(earlier: Node) -> None:
    assert int(earlier.sh(SEEN)) >= 3
    probe = earlier.module("p2p_probe", wanted={"takeover": {**GIVEN, "units": ["ringrift-p2p"]}})["probe"]
    foretold = earlier.module("p2p_takeover", check_mode=True, **GIVEN)
    assert int(earlier.sh(SEEN)) >= 3
    assert sorted(item["why"] for item in probe["drift"]) == sorted(foretold["actions"])
    assert {item["part"] for item in probe["drift"]} == {"legacy"}
    answer = earlier.module("p2p_takeover", **GIVEN)
    assert not answer["failed"], answer["said"]
    assert answer["actions"] == foretold["actions"]
    assert "stop, disable and set aside ringrift-p2p.service" in answer["actions"]
    assert sum("started by hand" in line for line in answer["actions"]) == 2
    assert sum("stop the shell sh -c while true" in line for line in answer["actions"]) == 1
    earlier.sh("sleep 2.5")
    assert earlier.sh(SEEN) == "0"
    assert (
        earlier.sh("systemctl is-active ringrift-p2p || systemctl is-enabled ringrift-p2p || true")
        == "inactive\nmasked"
    )
    assert "old/p2p_orchestrator.py --job" in earlier.sh(
        "cat /etc/systemd/system/ringrift-p2p.service.set-aside"
    )
    cron = earlier.sh("cat /etc/cron.d/watch").splitlines()
    assert cron[0] == "0 3 * * * root /usr/bin/true"
    assert (
        cron[1] == "# set aside by p2p-cluster: * * * * * root pgrep -f p2p_orchestrator.py || /root/start.sh"
    )
    assert not earlier.module("p2p_takeover", **GIVEN)["changed"]


def test_its_jobs_go_on(earlier: Node) -> None:
    job = earlier.sh("cat /root/old/job")
    assert earlier.module("p2p_takeover", **GIVEN)["changed"]
    assert earlier.sh(f"tr '\\0' ' ' </proc/{job}/cmdline") == "sleep 100000"


def test_a_program_that_is_no_orchestrator_is_left_alone_and_named(earlier: Node) -> None:
    earlier.sh(
        "cd /tmp; nohup python3 -m http.server 8799 >/dev/null 2>&1 & echo $! > /root/old/web; sleep 1.5"
    )
    try:
        foretold = earlier.module("p2p_takeover", check_mode=True, **GIVEN)
        answer = earlier.module("p2p_takeover", **GIVEN)
        assert answer["failed"]
        assert foretold["msg"] == answer["msg"]
        assert "port 8799 is taken by 'python3 -m http.server 8799' (process " in answer["msg"]
        assert "of root), which is no orchestrator and is left alone: stop it" in answer["msg"]
        assert int(earlier.sh(SEEN)) >= 3
        earlier.sh("kill -0 $(cat /root/old/web)")
        probe = earlier.module("p2p_probe", wanted={"takeover": {**GIVEN, "units": []}})["probe"]
        assert [item["part"] for item in probe["drift"]] == ["port"]
    finally:
        earlier.sh("kill $(cat /root/old/web)")
        earlier.module("p2p_takeover", **GIVEN)


def test_without_root_what_another_user_runs_is_named_and_nothing_is_ended(earlier: Node) -> None:
    earlier.sh("id alice >/dev/null 2>&1 || useradd -m alice")
    given = {**GIVEN, "root": "/home/alice/p2p", "manager": "supervisord"}
    before = earlier.sh(SEEN)
    wanted = {"takeover": {**given, "units": ["ringrift-p2p"]}}
    probe = earlier.module("p2p_probe", user="alice", wanted=wanted)["probe"]
    answer = earlier.module("p2p_takeover", user="alice", **given)
    assert answer["failed"]
    assert "belongs to another user, and this deploy is without root" in answer["msg"]
    assert [(item["part"], item["why"]) for item in probe["drift"]] == [("port", answer["msg"])]
    assert earlier.sh(SEEN) == before
