"""Who gets into a deployed cluster, and what becomes of its certificates; the tests build on each other."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

from module_utils.p2p_certificate_pem import blocks
from tests.integration.identity import deployed
from tests.integration.identity.deployed import CLIENT, CLUSTER, HEARTBEAT, PEER, deploy, knock
from tests.integration.identity.watch import Watch
from tests.support.no_index import of_containers
from tests.unit.identity.controller import Controller, member

Answer = TypeVar("Answer")
VOTERS = ("hetzner-cpu81", "hetzner-cpu82", "vultr-a100-81")
VOTER = VOTERS[0]
LEAVER = "lambda-gh200-81"
COMER = "runpod-a40-81"
STOLEN = "vultr-a100-82"
LONGEST_GAP_S = 40.0


def wait_for(condition: Callable[[], Answer], seconds: float) -> Answer:
    """Return the first true answer of a condition; fail if there is none in time."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.5)
    return answer


def logged(service: str, text: str, node: str = VOTER) -> None:
    """Wait until a service's log on a node has this text, which the journal may take a moment to show."""
    wait_for(lambda: text in deployed.log(node, service), 30)


def certificates(state: Path, *nodes: str, voter: bool = False, **changes: int) -> None:
    """Run the module that keeps the certificates on a directory, as a deploy of these nodes does."""
    specs = [member(name, name, server=voter) for name in nodes]
    Controller(state, nodes=specs, defaults={"cluster": CLUSTER, "lock_seconds": 5, **changes}).run()


def all_agree(names: tuple[str, ...] = VOTERS) -> str | None:
    """Return the leader that all of these nodes name, if they do."""
    try:
        named = {json.loads(deployed.page(name, "health"))["leader_id"] for name in names}
    except (subprocess.CalledProcessError, ValueError):
        return None
    leader: str | None = named.pop()
    return None if named else leader


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the fleet file with the node that comes."""
    return deployed.fleet_file(tmp_path_factory.mktemp("fleet"), ready=(COMER,))


@pytest.fixture(scope="module")
def smaller_fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the fleet file with the node that comes and without the one that leaves."""
    return deployed.fleet_file(tmp_path_factory.mktemp("fleet"), ready=(COMER,), without=(LEAVER,))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of a CA that this cluster does not know."""
    state = tmp_path_factory.mktemp("stranger") / "state"
    certificates(state)
    return state


def test_no_node_reaches_a_package_index() -> None:
    assert of_containers((*VOTERS, LEAVER, COMER)) == {}


def test_a_voter_gets_in_everywhere() -> None:
    pem = deployed.issue(STOLEN, voter=True)
    assert knock(LEAVER, VOTER, HEARTBEAT, pem, speaks_for=STOLEN)["status"] == 200
    assert knock(LEAVER, VOTER, PEER, pem)["status"] == 200
    assert knock(VOTER, VOTER, CLIENT, pem)["status"] == 200


@pytest.mark.parametrize("reason", ["untrusted", "no_certificate", "expired", "wrong_cluster"])
def test_who_does_not_get_in(reason: str, stranger: Path) -> None:
    shown = {
        "untrusted": deployed.issue(STOLEN, ca=stranger, voter=True),
        "expired": deployed.issue(STOLEN, voter=True, ended=True),
        "wrong_cluster": deployed.issue(STOLEN, cluster="prod", voter=True),
    }
    pem = shown.get(reason)
    before = deployed.refusals(VOTER, reason)
    answer = knock(LEAVER, VOTER, HEARTBEAT, pem, speaks_for=STOLEN)
    assert answer.get("status") == (403 if reason == "wrong_cluster" else None), answer
    assert deployed.refusals(VOTER, reason) > before
    logged("p2p_orchestrator", "event=heartbeat_refused")
    logged("p2p_orchestrator", f"reason={reason}")
    assert "error" in knock(LEAVER, VOTER, PEER, pem)
    if reason != "wrong_cluster":  # on loopback the store takes whatever the CA signed
        assert "error" in knock(VOTER, VOTER, CLIENT, pem)
    logged("p2p-etcd", "rejected connection")


def test_another_cluster_with_a_ca_of_its_own_does_not_get_in(stranger: Path) -> None:
    pem = deployed.issue(VOTERS[1], ca=stranger, cluster="prod", voter=True)
    for source, port in ((LEAVER, HEARTBEAT), (LEAVER, PEER), (VOTER, CLIENT)):
        assert "error" in knock(source, VOTER, port, pem, speaks_for=VOTERS[1])


def test_a_node_that_does_not_vote_is_no_peer_of_the_store() -> None:
    assert "error" in knock(LEAVER, VOTER, PEER, deployed.held(LEAVER))


def test_a_node_speaks_for_itself_alone() -> None:
    before = deployed.refusals(VOTER, "impostor")
    assert knock(LEAVER, VOTER, HEARTBEAT, deployed.held(LEAVER), speaks_for=VOTERS[1])["status"] == 403
    assert deployed.refusals(VOTER, "impostor") == before + 1
    # Whose certificate it is, whoever it speaks for.
    logged("p2p_orchestrator", f"reason=impostor node={LEAVER}")


@pytest.mark.parametrize(
    ("body", "status", "reason"), [("x" * 20_000, 413, "too_large"), ('{"incarnation": 1', 400, "malformed")]
)
def test_a_body_that_is_no_heartbeat_is_refused(body: str, status: int, reason: str) -> None:
    before = deployed.refusals(VOTER, reason)
    assert (
        knock(LEAVER, VOTER, HEARTBEAT, deployed.held(LEAVER), speaks_for=LEAVER, body=body)["status"]
        == status
    )
    assert deployed.refusals(VOTER, reason) == before + 1


@pytest.mark.parametrize("mode", [["--check"], []])
def test_a_second_controller_is_refused_before_anything_is_touched(
    mode: list[str], fleet: Path, tmp_path: Path
) -> None:
    nodes = (*VOTERS, LEAVER)
    before = {name: (deployed.processes(name), deployed.files(name)) for name in nodes}
    said = deploy(fleet, *mode, state=tmp_path / "empty", codes=(2,))
    assert "already under a CA, and this controller has none" in said
    assert "P2P_STATE_DIR" in said
    assert "-e p2p_identity_rotate=true" in said
    assert {name: (deployed.processes(name), deployed.files(name)) for name in nodes} == before
    assert not list((tmp_path / "empty").rglob("*.pem"))


def drop(node: str, *voters: str) -> None:
    """Let what a node sends to the heartbeat port of these voters, and of no other, get lost."""
    deployed.on(node, "iptables", "--flush", "OUTPUT")
    for voter in voters:
        deployed.on(
            node,
            "iptables",
            "-A",
            "OUTPUT",
            "-p",
            "tcp",
            "-d",
            voter,
            "--dport",
            str(HEARTBEAT),
            "-j",
            "DROP",
        )


def test_a_new_node_that_reaches_no_majority_of_the_voters_is_left_alone(fleet: Path) -> None:
    drop(COMER, *VOTERS[:2])
    said = deploy(fleet, "--limit", COMER, codes=(2,))
    missed = ", ".join(f"{name} at {name}:{HEARTBEAT} (no answer within 3 s)" for name in VOTERS[:2])
    assert f"{COMER} reaches 1 of 3 voters, which is no majority: not {missed}" in said
    assert not deployed.files(COMER)


def test_a_new_node_joins_by_a_limited_run_that_shows_no_key(fleet: Path) -> None:
    voters = {name: deployed.processes(name) for name in VOTERS}
    drop(COMER, VOTERS[1])
    said = deploy(fleet, "--limit", COMER, "-vvv", "--diff")
    drop(COMER)
    assert f"{COMER} does not reach {VOTERS[1]} at {VOTERS[1]}:{HEARTBEAT} (no answer within 3 s)" in said
    assert wait_for(lambda: all_agree((*VOTERS, COMER)), 90) in VOTERS
    assert {name: deployed.processes(name) for name in VOTERS} == voters
    keys = [blocks(path.read_bytes())[1] for path in deployed.state_dir().rglob("*.pem")]
    lines = {line for key in keys if key for line in key.decode().splitlines()[1:-1]}
    assert len(lines) >= 3 * (len(VOTERS) + 2)
    assert "node.key" in said, "the run shows what it delivers"
    assert [line for line in lines if line in said] == []


def test_certificates_are_renewed_without_a_restart_while_a_voter_is_down(
    fleet: Path, tmp_path: Path
) -> None:
    nodes, down = (*VOTERS[:2], LEAVER, COMER), VOTERS[2]
    # Docker's connection calls a container that is stopped a failed task; SSH says what it is.
    nobody = tmp_path / "nobody.yml"
    nobody.write_text(
        f"all: {{hosts: {{{down}: {{ansible_connection: ssh, ansible_host: 127.0.0.1, ansible_port: 1}}}}}}\n"
    )
    for path in deployed.state_dir().glob("leaves/*.pem"):
        path.unlink()
    certificates(deployed.state_dir(), *VOTERS, voter=True, leaf_days=20, renew_below_days=1)
    certificates(deployed.state_dir(), LEAVER, COMER, leaf_days=20, renew_below_days=1)
    old = {name: deployed.held(name) for name in (*nodes, down)}
    before = {name: deployed.processes(name) for name in nodes}
    subprocess.run(["docker", "stop", "--time", "10", down], check=True, capture_output=True)
    try:
        said = deploy(fleet, "-i", str(nobody), "--diff", codes=(2, 4))
    finally:
        subprocess.run(["docker", "start", down], check=True, capture_output=True)
    assert f"unreachable: {down}" in said
    assert "because 19 days are left, fewer than 30" in said
    assert {name: deployed.processes(name) for name in nodes} == before
    for name in nodes:
        assert deployed.serial(deployed.held(name)) != deployed.serial(old[name])
    for name in VOTERS[:2]:
        fresh = deployed.serial(deployed.held(name))
        assert knock(COMER, name, PEER, None)["serial"] == fresh
        assert knock(name, name, CLIENT, None)["serial"] == fresh
        wait_for(lambda: knock(COMER, name, HEARTBEAT, None).get("serial") == fresh, 60)  # noqa: B023  called before the loop goes on
    assert wait_for(all_agree, 120)


def test_a_removed_node_stays_out(smaller_fleet: Path) -> None:
    certificates(deployed.state_dir(), STOLEN, voter=True)
    stolen, left = deployed.held(STOLEN), deployed.held(LEAVER)
    assert knock(COMER, VOTER, HEARTBEAT, stolen, speaks_for=STOLEN)["status"] == 200
    assert knock(COMER, VOTER, PEER, stolen)["status"] == 200
    assert knock(VOTER, VOTER, CLIENT, stolen)["status"] == 200
    before = {name: deployed.processes(name) for name in (*VOTERS, COMER)}
    removed = json.dumps({"p2p_identity_removed": [LEAVER, STOLEN]})
    run = ("-e", removed, "--limit", f"voters,{COMER}")
    assert "/etc/ringrift/tls/denied" in deploy(smaller_fleet, *run, "--check", "--diff")
    deploy(smaller_fleet, *run)
    assert {name: deployed.processes(name) for name in (*VOTERS, COMER)} == before
    # It calls the voters alone: what one had as a voter counts for it, and what another had does not.
    told = deployed.on(COMER, "cat", "/etc/ringrift/tls/denied").split()
    assert told == [deployed.serial(stolen), "#", STOLEN]
    logged("p2p_orchestrator", "event=deny_list_read", COMER)
    for voter in VOTERS:
        counted = deployed.refusals(voter, "denied")
        shown = partial(knock, COMER, voter, HEARTBEAT, left, speaks_for=LEAVER)
        wait_for(lambda: shown().get("status") == 403, 60)  # noqa: B023  called before the loop goes on
        assert knock(COMER, voter, HEARTBEAT, stolen, speaks_for=STOLEN)["status"] == 403
        assert deployed.refusals(voter, "denied") > counted
        logged("p2p_orchestrator", f"reason=denied node={STOLEN}", voter)
        assert "error" in knock(COMER, voter, PEER, stolen)
        assert "error" in knock(voter, voter, CLIENT, stolen)


def test_the_ca_is_replaced_while_the_cluster_leads_on(
    smaller_fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = deployed.held(COMER)
    told = []
    with Watch({name: deployed.address(name) for name in VOTERS}) as watch:
        for stage in ("start", "switch", "finish"):
            began = time.monotonic()
            deploy(smaller_fleet, "-e", f"p2p_identity_rotate={stage}")
            told.append(f"{stage} {time.monotonic() - began:.0f} s")
            assert wait_for(lambda: all_agree((*VOTERS, COMER)), 90)
    with capsys.disabled():
        print(
            f"\nrotation ({', '.join(told)}): {len(watch.spans())} leases, nobody led for at most"
            f" {watch.gap():.1f} s, fewer than two of three voters answered for at most"
            f" {watch.silence():.1f} s"
        )
    assert watch.two_leaders() == []
    assert watch.gap() < LONGEST_GAP_S
    assert watch.silence() < LONGEST_GAP_S
    wait_for(lambda: "error" in knock(COMER, VOTER, HEARTBEAT, old, speaks_for=COMER), 60)
    new = deployed.issue(STOLEN)
    wait_for(lambda: knock(COMER, VOTER, HEARTBEAT, new, speaks_for=STOLEN).get("status") == 200, 60)
    assert "error" in knock(COMER, VOTER, HEARTBEAT, old, speaks_for=COMER)
