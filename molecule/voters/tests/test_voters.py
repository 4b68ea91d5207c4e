"""Who votes is changed on a living cluster that a client watches; the tests build on each other."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.deploy import live
from tests.integration.deploy.live import Run, processes, wait_for
from tests.integration.identity import deployed
from tests.integration.identity.deployed import HEARTBEAT, PEER, knock
from tests.integration.identity.watch import Watch
from tests.support.no_index import of_containers

NODES = ("hetzner-cpu51", "hetzner-cpu52", "vultr-a100-51", "nebius-h100-51", "lambda-gh200-51")
FIRST = ("hetzner-cpu51", "vultr-a100-51", "nebius-h100-51")
REPLACED = ("hetzner-cpu51", "vultr-a100-51", "hetzner-cpu52")
MENDED = ("hetzner-cpu51", "vultr-a100-51", "lambda-gh200-51")
FIVE = (*MENDED, "nebius-h100-51", "hetzner-cpu52")
STOLEN, HEIR = "hetzner-cpu52", "vultr-a100-51"
BACK = ("hetzner-cpu51", "nebius-h100-51", "hetzner-cpu52")
# A leader that goes hands over; one that is killed is missed for its lease and an election.
LONGEST_GAP_S = 40.0

Begin = Callable[..., Run]


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    """Return a function that begins voters.yml, or another playbook, for a list of voters."""
    runs: list[Run] = []

    def begin(
        voters: Sequence[str], *words: str, playbook: str = "voters.yml", gone: Sequence[str] = ()
    ) -> Run:
        fleet = yaml.safe_load(live.fleet_file().read_text())
        for name in gone:
            fleet["hosts"][name]["status"] = "destroyed"
        path = tmp_path / str(len(runs)) / "distributed_hosts.yaml"
        path.parent.mkdir()
        path.write_text(yaml.safe_dump(fleet | {"p2p_voters": list(voters)}, sort_keys=False))
        run = Run(["ansible-playbook", "-v", playbook, *words], tmp_path / f"{len(runs)}.log", fleet=path)
        runs.append(run)
        return run

    yield begin
    for run in runs:
        run.kill()


@contextmanager
def watched(what: str) -> Iterator[None]:
    """Ask all nodes meanwhile; fail if two led at once, or nobody for long."""
    with Watch({name: live.address(name) for name in NODES}) as watch:
        begun = time.monotonic()
        yield
        took = time.monotonic() - begun
    print(
        f"{what}: {took:.0f} s, {len(watch.spans())} terms, longest gap without a leader {watch.gap():.1f} s"
    )
    assert watch.two_leaders() == []
    assert watch.gap() < LONGEST_GAP_S


def members(nodes: Sequence[str]) -> dict[str, bool]:
    """Return the store's members by name and whether each votes, as one of these nodes knows them."""
    for name in nodes:
        with suppress(AssertionError):  # not reached this time; another may be, or this one at the next look
            store = probe(name).get("etcd") or {}
            if store.get("member_id"):
                return {member["name"]: not member["learner"] for member in store["members"]}
    return {}


def probe(name: str) -> dict[str, Any]:
    """Return what a node says of itself."""
    tls = {word: f"/etc/p2p-etcd/tls/{word}" for word in ("ca.crt", "node.crt", "node.key")}
    spec = {"endpoint": "https://127.0.0.1:2379", "data_dir": "/var/lib/p2p-etcd"}
    spec |= {"ca": tls["ca.crt"], "cert": tls["node.crt"], "key": tls["node.key"]}
    words = {"service": "p2p_orchestrator", "etcd_service": "p2p-etcd", "etcd": spec}
    found: dict[str, Any] = live.module(name, "p2p_probe", words)["probe"]
    return found


def settled(voters: Sequence[str], nodes: Sequence[str] = NODES) -> None:
    """Wait until these vote, all nodes know them, and name one of them as the leader."""
    known = partial(voters_known_to, nodes)
    wait_for(lambda: members(nodes) == dict.fromkeys(voters, True), 60, lambda: str(members(nodes)))
    # Who does not vote takes the list up as it runs, which takes it a moment.
    wait_for(lambda: known() == dict.fromkeys(nodes, sorted(voters)), 60, lambda: str(known()))
    live.settled(nodes, voters)


def voters_known_to(nodes: Sequence[str]) -> dict[str, list[str]]:
    """Return the voters whom each of these nodes names."""
    return {name: sorted(live.status(name).get("voter_node_ids", [])) for name in nodes}


def heartbeat_gets(status: int, node: str, voter: str, pem: str, *, seconds: float) -> None:
    """Wait until a voter answers a node's heartbeat with this status, for this certificate."""
    ask = partial(knock, node, voter, HEARTBEAT, pem, speaks_for=node)
    wait_for(lambda: ask().get("status") == status, seconds, lambda: str(ask()))


def forgets(node: str, peer: str) -> None:
    """Wait until a node answers, and names another no longer among those that are alive."""
    wait_for(lambda: peer not in live.status(node).get("peers", peer), 60, lambda: str(live.status(node)))


def done(run: Run) -> str:
    """Return what a run printed that has to end well."""
    code, output = run.wait()
    assert code == 0, output[-5000:]
    return output


def test_no_node_reaches_a_package_index() -> None:
    assert of_containers(NODES) == {}


def test_the_replacement_of_27_december(begin: Begin) -> None:
    leaver, joiner, stay = "nebius-h100-51", "hetzner-cpu52", FIRST[:2]
    settled(FIRST)
    before = {name: processes(name) for name in NODES}
    voted = deployed.held(leaver)
    assert knock(leaver, stay[0], PEER, voted)["status"] == 200
    with watched("one voter replaced"):
        output = done(begin(REPLACED))
    assert f"joins as a learner, catches up and votes: {joiner}" in output
    assert f"hands over, leaves the store and votes no longer: {leaver}" in output
    settled(REPLACED)
    # Others in the member list are no reason to restart the store of a voter that stays.
    assert {name: processes(name)[1] for name in stay} == {name: before[name][1] for name in stay}
    left = probe(leaver)
    assert left["services"]["p2p-etcd"]["load"] == "not-found"
    assert left["etcd"]["has_data"] is False
    # What it had as a voter opens nothing any more; what it has now lets it speak for itself.
    for voter in REPLACED:
        assert "error" in knock(leaver, voter, PEER, voted)
        heartbeat_gets(403, leaver, voter, voted, seconds=90)
        heartbeat_gets(200, leaver, voter, deployed.held(leaver), seconds=60)

    before = {name: processes(name) for name in NODES}
    output = done(begin(REPLACED))
    assert "the live voters are the file's" in output
    assert "0 of 5 nodes will change, 5 are as they should be" in output
    assert {name: processes(name) for name in NODES} == before


def test_an_even_number_is_refused(begin: Begin) -> None:
    before = {name: processes(name) for name in NODES}
    code, output = begin(FIVE[:4]).wait()
    assert code != 0
    assert "4 voters tolerate no more failures than 3" in output, output[-3000:]
    assert "Nothing was changed" in output
    assert {name: processes(name) for name in NODES} == before


def test_a_dead_voter_is_replaced_and_comes_back_when_another_lost_its_data(begin: Begin) -> None:
    dead, lost = "hetzner-cpu52", "lambda-gh200-51"
    with live.stopped(dead):
        with watched("a dead voter replaced"):
            code, output = begin(MENDED).wait()
        # The dead node could not be given the new seeds, and is named.
        assert code != 0
        assert f"removed first, since it holds up nothing: {dead}" in output
        settled(MENDED, [name for name in NODES if name != dead])
    booted = ("sh", "-c", "systemctl is-active basic.target || true")
    wait_for(lambda: live.on(dead, *booted) == "active", 120, lambda: live.on(dead, *booted))
    live.on(lost, "systemctl", "stop", *live.SERVICES)
    live.on(lost, "mv", "/var/lib/p2p-etcd", "/var/lib/p2p-etcd.aside")
    with watched("the dead one comes back, and one that lost its data joins again"):
        output = done(begin(MENDED))
    assert f"loses what is left of its member: {dead}" in output
    assert f"removed first, since it holds up nothing: {lost} (its data is gone)" in output
    settled(MENDED)


def killed_at(*tasks: str) -> Sequence[str]:
    """Return the tasks at which a run is killed: one by chance, or with FULL=1 each in turn."""
    found = tasks if os.environ.get("FULL") else (random.choice(tasks),)  # noqa: S311  # not for secrets
    print("killed at", *found, sep="\n  ")
    return found


@pytest.mark.parametrize(
    ("way", "voters", "tasks"),
    [
        (
            "from three voters to five",
            FIVE,
            # The first two while the first of them joins, then when both vote and the others learn of them.
            (
                "TASK [etcd : The member runs with the cluster's settings]",
                "TASK [The member has caught up and votes]",
                "TASK [The cluster keeps its quorum without this voter]",
            ),
        ),
        (
            "from five voters to three",
            BACK,
            (
                "TASK [The store does not list the node]",
                "TASK [The etcd member of an earlier voter is gone]",
                "TASK [The voters know whom to deny]",
            ),
        ),
    ],
    ids=["three-to-five", "five-to-three"],
)
def test_killed_on_the_way(begin: Begin, way: str, voters: Sequence[str], tasks: tuple[str, ...]) -> None:
    with watched(f"{way}, killed on the way"):
        for task in killed_at(*tasks):
            kill_at(begin(voters), task)
        done(begin(voters))
    settled(voters)


def test_a_stolen_voter_is_shut_out_by_the_run_that_replaces_it(begin: Begin) -> None:
    """The thief's machine runs on throughout, with all that it had."""
    kept, others = [*BACK[:2], HEIR], [name for name in NODES if name != STOLEN]
    stolen, before = deployed.held(STOLEN), {name: processes(name) for name in NODES}
    assert knock(STOLEN, BACK[0], PEER, stolen)["status"] == 200
    # A run that was killed left its maintenance record, which a preview replaces as little as anything else.
    kill_at(begin(kept), "TASK [Members that hold up nothing, and those that are shut out, are removed]")
    words = ("-e", json.dumps({"p2p_identity_removed": [STOLEN]}))
    foretold = done(begin(kept, *words, "--check", "--diff", gone=[STOLEN]))
    assert f"removed first: {STOLEN} (" in foretold
    assert {name: processes(name) for name in NODES} == before
    with watched("a stolen voter replaced"):
        output = done(begin(kept, *words, gone=[STOLEN]))
    for text in (f"removed first: {STOLEN} (", f"joins as a learner, catches up and votes: {HEIR}"):
        assert text in output
    settled(kept, others)
    for voter in kept:
        assert "error" in knock(STOLEN, voter, PEER, stolen)
        heartbeat_gets(403, STOLEN, voter, stolen, seconds=60)
    # No node calls it, and none takes its word.
    for name in others:
        assert deployed.serial(stolen) in deployed.on(name, "cat", "/etc/ringrift/tls/denied").split()
        forgets(name, STOLEN)
    assert processes(STOLEN)[0] == before[STOLEN][0], "it runs on"

    before = {name: processes(name) for name in others}
    assert "the live voters are the file's" in done(begin(kept, *words, gone=[STOLEN]))
    assert {name: processes(name) for name in others} == before


def kill_at(run: Run, task: str) -> None:
    """Kill a run when it reaches a task, which has to come."""
    words = " ".join(task.split())
    wait_for(lambda: words in run.text() or run.over, 600, lambda: run.text()[-3000:])
    assert words in run.text(), run.text()[-5000:]
    run.kill()
