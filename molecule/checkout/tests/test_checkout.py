"""The orchestrator of users' own checkouts, run as a service."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest
import testinfra

from tests.integration.deploy import live
from tests.integration.deploy.live import status

VOTERS = ("nebius-h100-3", "hetzner-cpu3", "vultr-a100-20gb-2")
PATIENCE_S = 120.0
NODES = (*VOTERS, "lambda-gh200-a")
SERVICE = "p2p_orchestrator"
HOMES = {"hetzner-cpu3": "/home/ubuntu/ringrift", "vultr-a100-20gb-2": "/srv/ringrift"}
# What jobs on a GPU need is left open; a service that they do not run in is held to 2.0.
EXPOSURE = 3.0


def node(name: str) -> testinfra.host.Host:
    """Return the Testinfra host of a container."""
    return testinfra.get_host(f"docker://{name}")


def checkout(name: str) -> str:
    """Return where a node's checkout is."""
    return HOMES.get(name, "/root/ringrift")


def show(name: str, what: str) -> str:
    """Return a property of the service."""
    return str(node(name).check_output("systemctl show -p %s --value %s", what, SERVICE))


def deploy(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run deploy.yml on the scenario's nodes."""
    here = Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"])
    words = [
        "ansible-playbook",
        "-i",
        os.environ["MOLECULE_INVENTORY_FILE"],
        "-i",
        str(here / "distributed_hosts.yaml"),
    ]
    playbook = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"]) / "deploy.yml"
    return subprocess.run(
        [*words, playbook, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=1200,
        env=live.environment(),
    )


def named(*names: str) -> set[str | None]:
    """Return whom these nodes name as the leader, once all name one voter or time is up."""
    ends = time.monotonic() + PATIENCE_S
    while True:
        found: set[str | None] = {status(name).get("leader_id") for name in names}
        if (len(found) == 1 and found <= set(VOTERS)) or time.monotonic() > ends:
            return found
        time.sleep(0.5)


@pytest.mark.parametrize("name", NODES)
def test_the_checkouts_program_runs_and_all_name_one_leader(name: str) -> None:
    assert named(name) == {min(VOTERS)}
    found = status(name)
    assert found["node_id"] == name
    assert found["voter_quorum_size"] == 2


@pytest.mark.parametrize("name", NODES)
def test_it_runs_in_the_checkouts_environment_as_its_owner(name: str) -> None:
    pid = show(name, "MainPID")
    words = node(name).check_output("tr '\\0' ' ' </proc/%s/cmdline", pid)
    assert words.startswith(
        f"{checkout(name)}/ai-service/venv/bin/python scripts/p2p_orchestrator.py --node-id {name}"
    )
    assert f"--ringrift-path {checkout(name)} " in words + " "
    owner = "ubuntu" if name == "hetzner-cpu3" else "root"
    assert node(name).check_output("stat -c %%U /proc/%s", pid) == owner


@pytest.mark.parametrize("name", NODES)
def test_what_was_missing_is_there_and_what_was_there_is_as_it_was(name: str) -> None:
    host = node(name)
    venv = f"{checkout(name)}/ai-service/venv"
    packages = json.loads(host.check_output("%s/bin/pip list --format json", venv))
    versions = {item["name"].lower(): item["version"] for item in packages}
    assert {"psutil", "aiohttp"} <= set(versions)
    assert versions["pyyaml"] == "6.0.2"
    owners = host.check_output("find %s -printf '%%u\\n' | sort -u", venv)
    assert owners == ("ubuntu" if name == "hetzner-cpu3" else "root")


def test_the_originals_own_variables_are_given() -> None:
    conf = node("vultr-a100-20gb-2").file("/etc/ringrift/node.conf").content_string
    assert f"RINGRIFT_P2P_VOTERS={','.join(VOTERS)}\n" in conf
    assert "RINGRIFT_P2P_VOTER_MIN_QUORUM=2\n" in conf
    assert "RINGRIFT_P2P_ADVERTISE_HOST=vultr-a100-20gb-2\n" in conf
    assert "RINGRIFT_P2P_ADVERTISE_PORT=8770\n" in conf
    assert "RINGRIFT_SOCKS_PROXY=socks5://127.0.0.1:1055\n" in conf
    assert "RINGRIFT_SOCKS_PROXY" not in node("hetzner-cpu3").file("/etc/ringrift/node.conf").content_string


@pytest.mark.parametrize("name", NODES)
def test_there_is_no_store_and_no_release(name: str) -> None:
    host = node(name)
    assert not host.file("/etc/p2p-etcd").exists
    assert not host.file("/opt/p2p-cluster").exists
    assert not host.file("/etc/ringrift/tls").exists


@pytest.mark.parametrize("name", ["nebius-h100-3", "hetzner-cpu3"])
def test_as_tight_as_jobs_on_a_gpu_allow(name: str) -> None:
    text = node(name).check_output("systemd-analyze security --no-pager %s | tail -1", SERVICE)
    exposure = float(text.split(": ")[1].split()[0])
    print(f"{name}: exposure {exposure}")
    assert exposure <= EXPOSURE


def test_jobs_outlive_a_deploy_that_restarts_it() -> None:
    name = "hetzner-cpu3"
    host = node(name)
    job = host.file(f"{checkout(name)}/job.pid").content_string
    before = show(name, "MainPID")
    assert host.run("kill -0 %s", job).succeeded
    restarted = deploy(
        "-e",
        "p2p_orchestrator_source=checkout",
        "-e",
        "p2p_orchestrator_heartbeat_port=8772",
        "--limit",
        "voters",
    )
    assert restarted.returncode == 0, restarted.stdout[-3000:] + restarted.stderr
    assert show(name, "MainPID") != before
    assert host.run("kill -0 %s", job).succeeded
    assert "sleep 1000000" in host.check_output("tr '\\0' ' ' </proc/%s/cmdline", job)


def test_a_crashed_one_comes_back_and_its_jobs_stay() -> None:
    host = node("lambda-gh200-a")
    before, job = show("lambda-gh200-a", "MainPID"), host.file("/root/ringrift/job.pid").content_string
    host.run_test("kill -9 %s", before)
    deadline = time.monotonic() + 120
    while show("lambda-gh200-a", "MainPID") in ("0", before) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert show("lambda-gh200-a", "MainPID") not in ("0", before)
    assert host.run("kill -0 %s", job).succeeded


def test_the_bundled_program_does_not_slip_in_beside_it() -> None:
    limited = deploy("--limit", "lambda-gh200-a", "-e", "p2p_orchestrator_source=bundled")
    assert limited.returncode != 0
    output = " ".join((limited.stdout + limited.stderr).split())
    assert "lambda-gh200-a" in output
    assert "run the original orchestrator, which does not elect together" in output
    assert "p2p_cutover=true" in output
    assert "--limit" in output
    assert not node("lambda-gh200-a").file("/opt/p2p-cluster").exists


def test_a_checkout_that_is_not_there_is_named_with_the_remedy() -> None:
    elsewhere = '{"distributed_host": {"venv_activate": "source /nowhere/venv/bin/activate"}}'
    answer = deploy("--limit", "lambda-gh200-a", "-e", "p2p_orchestrator_source=checkout", "-e", elsewhere)
    assert answer.returncode != 0
    output = " ".join((answer.stdout + answer.stderr).split())
    assert "there is no virtual environment at /nowhere/venv" in output
    assert named("lambda-gh200-a") == {min(VOTERS)}


def test_the_fleet_goes_over_to_the_bundled_program_and_back() -> None:
    job = node("hetzner-cpu3").file(f"{checkout('hetzner-cpu3')}/job.pid").content_string
    over = deploy("-e", "p2p_orchestrator_source=bundled", "-e", "p2p_cutover=true")
    assert over.returncode == 0, over.stdout[-3000:] + over.stderr
    for name in NODES:
        assert "-m p2p_orchestrator" in node(name).check_output(
            "tr '\\0' ' ' </proc/%s/cmdline", show(name, "MainPID")
        )
    assert node("hetzner-cpu3").service("p2p-etcd").is_running
    assert named("lambda-gh200-a") <= set(VOTERS)
    back = deploy("-e", "p2p_orchestrator_source=checkout", "-e", "p2p_cutover=true")
    assert back.returncode == 0, back.stdout[-3000:] + back.stderr
    assert named(*NODES) == {min(VOTERS)}
    store = node("hetzner-cpu3").service("p2p-etcd")
    assert not store.is_running
    assert not store.is_enabled
    assert node("hetzner-cpu3").run("kill -0 %s", job).succeeded
    again = deploy("-e", "p2p_orchestrator_source=checkout")
    assert again.returncode == 0
    assert "changed=0" in again.stdout
    assert not any(f"changed={number}" in again.stdout for number in range(1, 9))


# A repository on the node, with the program that it runs already; `commit` adds a line to it.
REPOSITORY = """
set -e
cat > /usr/local/bin/commit <<'END'
cd /srv/work && echo "# $1" >> ai-service/scripts/p2p_orchestrator.py
git add . && git -c user.name=a -c user.email=a@b.example commit --quiet --message "$1"
git push --quiet /srv/ringrift.git HEAD:main && git rev-parse HEAD
END
chmod 755 /usr/local/bin/commit
git init --quiet --bare --initial-branch main /srv/ringrift.git
git init --quiet /srv/work
mkdir -p /srv/work/ai-service/scripts
cp /root/ringrift/ai-service/scripts/p2p_orchestrator.py /srv/work/ai-service/scripts/
mv /root/ringrift /root/ringrift.before
"""
FROM_GIT = (
    *("--limit", "lambda-gh200-a", "-v", "-e", "p2p_orchestrator_source=checkout"),
    *(
        "-e",
        "p2p_orchestrator_checkout_repo=file:///srv/ringrift.git",
        "-e",
        "p2p_orchestrator_checkout_version=main",
    ),
)


def runs_commit(name: str) -> str:
    """Return the commit that a node's orchestrator says that it was started from."""
    variables = node(name).check_output("tr '\\0' '\\n' </proc/%s/environ", show(name, "MainPID"))
    told = [line for line in str(variables).splitlines() if line.startswith("P2P_CHECKOUT_COMMIT=")]
    return told[0].partition("=")[2] if told else ""


def test_a_checkout_comes_from_git_and_follows_it() -> None:
    name = "lambda-gh200-a"
    host = node(name)
    host.check_output("bash -c %s", REPOSITORY)
    first = host.check_output("bash /usr/local/bin/commit first")
    preview = deploy(*FROM_GIT, "--check")
    assert f"clone file:///srv/ringrift.git to ~root/ringrift at {first[:12]}" in preview.stdout
    assert preview.returncode == 0, preview.stdout[-3000:]
    assert not host.file("/root/ringrift").exists
    cloned = deploy(*FROM_GIT)
    assert cloned.returncode == 0, cloned.stdout[-3000:] + cloned.stderr
    assert runs_commit(name) == first
    assert named(name) == {min(VOTERS)}

    second = host.check_output("bash /usr/local/bin/commit second")
    pid = show(name, "MainPID")
    preview = deploy(*FROM_GIT, "--check")
    assert f"update ~root/ringrift from {first[:12]} to {second[:12]}" in preview.stdout
    assert "restart p2p_orchestrator.service" in preview.stdout
    assert (show(name, "MainPID"), runs_commit(name)) == (pid, first)
    updated = deploy(*FROM_GIT)
    assert updated.returncode == 0, updated.stdout[-3000:] + updated.stderr
    assert runs_commit(name) == second
    assert host.check_output("git -C /root/ringrift rev-parse refs/p2p-cluster-previous") == first

    pid = show(name, "MainPID")
    again = deploy(*FROM_GIT)
    assert again.returncode == 0
    assert not any(f"changed={number}" in again.stdout for number in range(1, 9))
    assert show(name, "MainPID") == pid


def test_work_in_the_checkout_that_is_not_committed_is_never_overwritten() -> None:
    name = "lambda-gh200-a"
    host = node(name)
    program = "/root/ringrift/ai-service/scripts/p2p_orchestrator.py"
    host.check_output("sh -c %s", f"echo '# mine' >> {program}")
    host.check_output("bash /usr/local/bin/commit third")
    pid = show(name, "MainPID")
    for arguments in (("--check",), ()):
        refused = deploy(*FROM_GIT, *arguments)
        assert refused.returncode != 0
        output = " ".join((refused.stdout + refused.stderr).split())
        assert (
            "/root/ringrift has changes that are not committed (ai-service/scripts/p2p_orchestrator.py)"
            in output
        )
        assert "commit them, or `git -C /root/ringrift stash`" in output
    assert host.check_output("tail -n 1 %s", program) == "# mine"
    assert show(name, "MainPID") == pid
