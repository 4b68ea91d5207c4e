"""What a deployed cluster of three voters and two other nodes really does."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import pytest
import testinfra

from tests.integration.deploy.live import status
from tests.support.leaks import leaks
from tests.support.no_index import of_containers

VOTERS = ("nebius-backbone-1", "hetzner-cpu1", "vultr-a100-20gb")
OTHERS = ("vast-28918742", "runpod-h100")
NODES = (*VOTERS, *OTHERS)
SERVICE = "p2p_orchestrator"
# The other nodes are logged in to as root.
USERS = {"runpod-h100": "ubuntu"}
FAILOVER_S = 90
EXPOSURE = 2.0
QUIET_S = 30.0
BEGAN = time.time()
SLOW = re.compile("took too long|slow fdatasync|overloaded|on time")


def node(name: str) -> testinfra.host.Host:
    """Return the Testinfra host of a container."""
    return testinfra.get_host(f"docker://{name}")


def leaders(names: tuple[str, ...]) -> set[str | None]:
    """Return the leaders that the nodes name."""
    return {status(name).get("leader_id") for name in names}


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    """Return whether the condition came true within the given time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.5)
    return False


def one_leader(names: tuple[str, ...]) -> str | None:
    """Return the leader on which all the nodes agree, or None."""
    named = leaders(names)
    return named.pop() if len(named) == 1 else None


def all_answer_and_name_nobody() -> bool:
    """Return whether every node answers, and none of them knows a leader."""
    answers = [status(name) for name in NODES]
    return all(answers) and all(answer["leader_id"] is None for answer in answers)


def test_no_node_reaches_a_package_index() -> None:
    assert of_containers(OTHERS) == {}


@pytest.mark.parametrize("name", NODES)
def test_no_timer_changes_the_node_during_a_test(name: str) -> None:
    # systemd's own cleaning begins a quarter of an hour after the start, within a longer preview.
    assert node(name).check_output("systemctl list-timers --no-legend") == ""


@pytest.mark.parametrize("name", NODES)
def test_the_service_runs_and_starts_at_boot(name: str) -> None:
    service = node(name).service(SERVICE)
    assert service.is_running, node(name).run("journalctl --unit %s --lines 30", SERVICE).stdout
    assert service.is_enabled


@pytest.mark.parametrize("name", NODES)
def test_node_conf_names_the_node_and_all_seeds(name: str) -> None:
    content = node(name).file("/etc/ringrift/node.conf").content_string
    assert f"NODE_ID={name}\n" in content
    assert "P2P_PORT=8770\n" in content
    assert f"P2P_SEEDS={','.join(f'http://{voter}:8770' for voter in VOTERS)}\n" in content
    assert f'RINGRIFT_PATH="~{USERS.get(name, "root")}/ringrift"\n' in content


@pytest.mark.parametrize("name", NODES)
def test_the_services_are_sandboxed(name: str) -> None:
    for service in [SERVICE, "p2p-etcd"] if name in VOTERS else [SERVICE]:
        told = node(name).check_output("systemd-analyze security --no-pager %s | tail -n 1", service)
        assert float(told.split(":")[1].split()[0]) <= EXPOSURE, told


@pytest.mark.parametrize("name", NODES)
def test_the_release_is_current(name: str) -> None:
    current = node(name).file("/opt/p2p-cluster/current")
    assert current.is_symlink
    assert current.linked_to.startswith("/opt/p2p-cluster/releases/")


@pytest.mark.parametrize("name", OTHERS)
def test_a_node_that_does_not_vote_has_no_store(name: str) -> None:
    assert not node(name).service("p2p-etcd").exists
    assert not node(name).file("/var/lib/p2p-etcd").exists


@pytest.mark.parametrize("name", VOTERS)
def test_the_store_listens_to_clients_on_loopback_alone(name: str) -> None:
    listening = node(name).run("ss --no-header --listening --tcp --numeric").stdout
    assert "127.0.0.1:2379" in listening
    assert "0.0.0.0:2379" not in listening


@pytest.mark.parametrize("name", NODES)
def test_a_private_key_stands_in_its_files_alone(name: str) -> None:
    etcd = ["/etc/p2p-etcd/tls/node.key"] if name in VOTERS else []
    assert leaks(name, ["/etc/ringrift/tls/node.key", *etcd]) == []


def test_every_node_names_the_same_leader_and_it_is_a_voter() -> None:
    assert wait_for(lambda: one_leader(NODES) in VOTERS, FAILOVER_S), {name: status(name) for name in NODES}


@pytest.mark.parametrize("name", VOTERS)
def test_a_voter_sees_the_whole_cluster(name: str) -> None:
    answer: dict[str, Any] = {}

    def sees_all() -> bool:
        answer.update(status(name))
        return bool(answer.get("alive_peers") == len(NODES) - 1)

    assert wait_for(sees_all, FAILOVER_S), answer
    assert answer["voter_quorum_ok"] is True
    assert answer["voter_quorum_size"] == 2
    assert sorted(answer["voter_node_ids"]) == sorted(VOTERS)


def logged(name: str, service: str, since: float) -> list[str]:
    """Return the lines of a service's journal since a Unix time."""
    words = "journalctl --unit %s --since @%s --no-pager --quiet --output cat"
    return str(node(name).check_output(words, service, f"{since:.0f}")).splitlines()


def test_in_normal_operation_the_journals_are_quiet() -> None:
    # Ten lines an hour would be one in six minutes.
    time.sleep(max(0.0, BEGAN + QUIET_S - time.time()))
    services = [(name, SERVICE) for name in NODES] + [(name, "p2p-etcd") for name in VOTERS]
    lines = {told: logged(*told, since=time.time() - QUIET_S) for told in services}
    # On a busy machine an etcd rightly says that it is slow.
    loud = {told: [line for line in found if not SLOW.search(line)] for told, found in lines.items()}
    assert {told: found for told, found in loud.items() if found} == {}


def test_another_voter_leads_when_the_leaders_service_is_killed() -> None:
    assert wait_for(lambda: one_leader(NODES) in VOTERS, FAILOVER_S)
    first = one_leader(NODES)
    assert first in VOTERS
    term = status(first)["term"]
    rest = tuple(name for name in NODES if name != first)
    stopped = node(first).run("systemctl kill --signal SIGKILL %s && systemctl stop %s", SERVICE, SERVICE)
    assert stopped.succeeded, stopped.stderr
    try:
        assert wait_for(lambda: one_leader(rest) in set(VOTERS) - {first}, FAILOVER_S), {
            n: status(n) for n in rest
        }
        assert status(rest[0])["term"] > term
        assert status(rest[0])["voter_quorum_ok"] is True
    finally:
        node(first).run("systemctl start %s", SERVICE)
    assert wait_for(lambda: one_leader(NODES) in VOTERS, FAILOVER_S)


def test_without_a_majority_nobody_leads() -> None:
    began = time.time()
    for voter in VOTERS[:2]:
        assert node(voter).run("systemctl stop p2p-etcd").succeeded
    try:
        assert wait_for(all_answer_and_name_nobody, FAILOVER_S), {
            n: status(n).get("leader_id") for n in NODES
        }
        # What matters is told, by either service.
        assert logged(VOTERS[2], "p2p-etcd", began)
        assert any("store_unavailable" in line for line in logged(VOTERS[2], SERVICE, began))
    finally:
        for voter in VOTERS[:2]:
            node(voter).run("systemctl start --no-block p2p-etcd")
    assert wait_for(lambda: one_leader(NODES) in VOTERS, 120), {n: status(n).get("leader_id") for n in NODES}


def test_a_process_that_hangs_is_restarted_by_the_watchdog() -> None:
    name = OTHERS[0]

    def process() -> str:
        return str(node(name).check_output("systemctl show --property MainPID --value %s", SERVICE))

    hanging = process()
    assert node(name).run("kill -STOP %s", hanging).succeeded
    assert wait_for(lambda: process() not in ("0", hanging), 180), node(name).run("journalctl -n 20").stdout
    assert wait_for(lambda: status(name).get("leader_id") in VOTERS, FAILOVER_S)


def test_a_node_that_restarts_comes_back_by_itself() -> None:
    name = VOTERS[2]
    local = testinfra.get_host("local://")
    assert local.run("docker restart --time 10 %s", name).succeeded
    assert wait_for(lambda: status(name).get("leader_id") in VOTERS, 180), status(name)
    assert wait_for(lambda: one_leader(NODES) in VOTERS, FAILOVER_S)
