"""The troubles of December: each node with one is named, and one deploy mends what can be mended."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import testinfra
import yaml

from tests.support.no_index import of_containers

PROJECT = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
FLEET = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "fleet"
FILE = FLEET / "distributed_hosts.yaml"
ADDRESSES = {name: host["ssh_host"] for name, host in yaml.safe_load(FILE.read_text())["hosts"].items()}
VOTERS = ("hetzner-cpu41", "nebius-h100-41", "vultr-a100-41")
DEAD = "runpod-timeout"
# What no deploy can mend, and what mends it stands in the report.
BY_HAND = ("vast-foreign", "vast-new-machine")
MENDED = sorted(set(ADDRESSES) - {*VOTERS, *BY_HAND, DEAD})
# Under other names the project's own settings count, and nothing of Molecule's.
ENVIRONMENT = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | {
    "LC_ALL": "C.UTF-8"
}

# State, and what the evidence and the remedy have to say.
EXPECTED = {
    "vast-no-psutil": ("missing_dependencies", "psutil", "deploy.yml --limit vast-no-psutil"),
    "vultr-no-pyyaml": ("missing_dependencies", "(?i)yaml", "deploy.yml --limit vultr-no-pyyaml"),
    "runpod-never-deployed": (
        "not_deployed",
        "no release, no service and no process was found",
        "deploy.yml --limit runpod-never-deployed",
    ),
    DEAD: ("unreachable", "(?i)timed out", rf"ssh .*root@{re.escape(ADDRESSES[DEAD])} true"),
    "lambda-stopped": (
        "stopped",
        r"its service is inactive \(dead\)",
        "deploy.yml --limit lambda-stopped",
    ),
    "lambda-looping": (
        "crash_looping",
        "restarted [0-9]+ times(, exit status [0-9]+)?; last line: .*eighty",
        rf"root@{re.escape(ADDRESSES['lambda-looping'])} 'sudo journalctl -u p2p_orchestrator -n 50",
    ),
    "vast-foreign": (
        "port_conflict",
        r"python3 \(pid [0-9]+\) listens on port 8770: .*python3 -m http.server 8770",
        r"ssh .*root@\S+ 'sudo kill [0-9]+' && ansible-playbook .*deploy.yml --limit vast-foreign",
    ),
    "vast-nohup": (
        "legacy_service",
        "pid [0-9]+, started by hand or cron since .*: python3 scripts/p2p_orchestrator.py --node-id vast-n",
        "deploy.yml --limit vast-nohup",
    ),
    "vast-old-unit": (
        "legacy_service",
        r"pid [0-9]+, started by the service ringrift-p2p.service since .*",
        "deploy.yml --limit vast-old-unit",
    ),
    "vast-new-machine": (
        "host_key_changed",
        "its SSH host key is not the known one, or the node only says so: compare it with",
        rf"ssh-keygen -f \S*/known_hosts -R {re.escape(ADDRESSES['vast-new-machine'])}$",
    ),
}


def play(playbook: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a playbook on the fleet as a user does."""
    return subprocess.run(
        ["ansible-playbook", "-i", FILE, playbook, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
        env=ENVIRONMENT,
        cwd=PROJECT,
    )


def health() -> dict[str, Any]:
    """Return the health report of this moment, once nobody is only starting and no voter misses its turn."""
    ends = time.monotonic() + 180
    while True:
        answer = play("health.yml")
        if answer.returncode == 0:
            report: dict[str, Any] = json.loads((FLEET / "reports" / "health.json").read_text())
            if "starting" not in report["cluster"]["by_state"]:
                return report
        assert time.monotonic() < ends, answer.stdout[-4000:] + answer.stderr


def rows(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the nodes of a report by name."""
    return {node["node_id"]: node for node in report["nodes"]}


def shell(name: str, words: str) -> str:
    """Return what a command says on a node, whatever became of it."""
    return str(testinfra.get_host(f"docker://{name}").run(words).stdout).strip()


def unknown() -> set[str]:
    """Return the nodes whose host keys are not known."""
    asked = {
        name: subprocess.run(
            ["ssh-keygen", "-f", FLEET / "known_hosts", "-F", ADDRESSES[name]],
            capture_output=True,
            check=False,
            timeout=60,
        ).returncode
        for name in ADDRESSES
    }
    return {name for name, code in asked.items() if code}


def until(what: Callable[[], bool], seconds: float = 120) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, f"not so after {seconds:g} s"
        time.sleep(1)


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """Return the first report, made once the looping service has looped."""
    restarts = "systemctl show -p NRestarts --value p2p_orchestrator"
    until(lambda: int(shell("lambda-looping", restarts) or 0) >= 3)
    return health()


def test_no_node_reaches_a_package_index() -> None:
    assert of_containers(sorted(ADDRESSES)) == {}


@pytest.mark.parametrize("name", EXPECTED)
def test_each_trouble_has_its_state_its_evidence_and_its_remedy(found: dict[str, Any], name: str) -> None:
    state, evidence, remedy = EXPECTED[name]
    node = rows(found)[name]
    assert node["state"] == state, node
    assert re.search(evidence, node["evidence"]), node
    assert re.search(remedy, node["remedy"]), node


def test_the_cluster_works_and_that_is_told_too(found: dict[str, Any]) -> None:
    cluster = found["cluster"]
    assert cluster["verdict"] == "degraded"
    assert cluster["leader_id"] in VOTERS
    assert sorted(cluster["voters"]["alive"]) == sorted(VOTERS)
    assert {name for name, node in rows(found).items() if node["state"] == "ok"} == set(VOTERS)
    assert cluster["coverage"]["nodes"] == len(ADDRESSES)


@pytest.mark.usefixtures("found")
def test_the_preview_names_what_would_be_stopped_and_stops_nothing() -> None:
    preview = play("deploy.yml", "--check")
    assert "would stop, disable and set aside ringrift-p2p.service" in preview.stdout, preview.stdout
    assert "comment out of /etc/cron.d/p2p-watchdog" in preview.stdout
    assert re.search(
        "stop the orchestrator started by hand: python3 scripts/p2p_orchestrator.py", preview.stdout
    )
    assert preview.returncode == 2
    for name in ("vast-nohup", "vast-old-unit"):
        assert shell(name, "pgrep -fc '[p]ython3 scripts/p2p_orchestrator.py'") == "1"
    assert shell("vast-old-unit", "systemctl is-active ringrift-p2p") == "active"
    assert not shell("vast-nohup", "cat /etc/cron.d/p2p-watchdog").startswith("#")


@pytest.fixture(scope="module")
def mended(found: dict[str, Any]) -> str:
    """Deploy once to the whole fleet, and return what the run says."""
    assert found
    answer = play("deploy.yml")
    assert answer.returncode == 2, answer.stdout[-4000:] + answer.stderr
    return answer.stdout


def test_one_deploy_tells_what_it_mended_and_what_it_could_not(mended: str) -> None:
    told = mended[mended.rindex("deploy.yml: ") :]
    changed = re.search(r"changed +\d+ +(.*?)\n {2}\S", told, re.DOTALL)
    assert changed, told
    assert sorted(re.split(r"[,\s]+", changed.group(1).strip())) == MENDED
    flat = " ".join(told.split())
    assert re.search("refused: vast-foreign port 8770 is taken by .*python3 -m http.server 8770", flat), flat
    assert "which is no orchestrator and is left alone: stop it, or give this node another p2p_port" in flat
    assert re.search(f"not reached: {DEAD} .*timed out", flat), flat
    key = rf"ssh-keygen -f \S*/known_hosts -R {re.escape(ADDRESSES['vast-new-machine'])}"
    assert re.search(rf"not reached: vast-new-machine host_key_changed: .*; then: {key}", flat), flat


@pytest.mark.usefixtures("mended")
def test_the_foreign_process_was_left_alone() -> None:
    assert shell("vast-foreign", "systemctl is-active notebook") == "active"
    assert shell("vast-foreign", "ls /opt/p2p-cluster /etc/ringrift 2>/dev/null") == ""


@pytest.mark.usefixtures("mended")
def test_what_was_there_before_is_stopped_for_good_and_kept_aside() -> None:
    for name in ("vast-nohup", "vast-old-unit"):
        assert shell(name, "pgrep -fc '[p]ython3 scripts/p2p_orchestrator.py'") == "0"
        assert shell(name, "systemctl is-active p2p_orchestrator") == "active"
    assert shell("vast-old-unit", "systemctl is-enabled ringrift-p2p") == "masked"
    kept = shell("vast-old-unit", "cat /etc/systemd/system/ringrift-p2p.service.set-aside")
    assert "scripts/p2p_orchestrator.py" in kept
    cron = shell("vast-nohup", "cat /etc/cron.d/p2p-watchdog")
    assert cron.startswith("# set aside by p2p-cluster: */5 * * * * root pgrep -f p2p_orchestrator.py")


@pytest.fixture(scope="module")
def by_hand(found: dict[str, Any], mended: str) -> str:
    """Do what the report says for the two that a deploy cannot mend, and deploy again."""
    assert mended
    assert unknown() == set()
    remedies = {name: rows(found)[name]["remedy"] for name in BY_HAND}
    stop = remedies["vast-foreign"].partition(" && ")[0]
    for command in (stop, remedies["vast-new-machine"]):
        subprocess.run(
            ["bash", "-c", command],
            check=True,
            timeout=120,
            env=ENVIRONMENT,
            cwd=PROJECT,
            capture_output=True,
        )
    assert unknown() == {"vast-new-machine"}
    answer = play("deploy.yml")
    assert answer.returncode == 2, answer.stdout[-4000:] + answer.stderr
    return answer.stdout


def test_the_remedies_for_what_no_deploy_mends_are_right(by_hand: str) -> None:
    told = by_hand[by_hand.rindex("deploy.yml: ") :]
    assert re.search(r"changed +2 +vast-foreign, vast-new-machine", told), told
    assert re.search(rf"not reached +1 +{DEAD}", told), told
    assert "refused" not in told


@pytest.mark.usefixtures("by_hand")
def test_a_second_report_is_clean_but_for_the_dead_node() -> None:
    report = health()
    states = {name: node["state"] for name, node in rows(report).items() if node["state"] != "ok"}
    assert states == {DEAD: "unreachable"}, report
    assert report["cluster"]["verdict"] == "degraded"
    assert report["cluster"]["coverage"]["running"] == len(ADDRESSES) - 1
