"""Deploys on a living cluster, while a client asks every voter who leads; the tests build on each other."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.deploy import live
from tests.integration.deploy.live import Run, drift, drifted, processes, release, wait_for
from tests.integration.identity import deployed
from tests.integration.identity.deployed import HEARTBEAT, knock
from tests.integration.identity.watch import Watch
from tests.support.no_index import of_containers

VOTERS = ("hetzner-cpu91", "hetzner-cpu92", "vultr-a100-91")
OTHERS = ("lambda-gh200-91", "nebius-h100-91", "runpod-a40-91")
NODES = (*VOTERS, *OTHERS)
# Settings that restart the store, from the second version on.
STORE = ("-e", "etcd_compaction_retention=2h")
RECORD = "maintenance record"
# A leader that goes hands over; one that is killed is missed for its lease and an election.
LONGEST_GAP_S = 40.0
# The leader loses its lease 10 s after the majority; as much again for a machine that answers late itself.
LONGEST_SILENCE_S = 20.0

Play = Callable[..., tuple[int, str]]
Begin = Callable[..., Run]


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    """Return a function that begins a playbook, by its arguments."""
    runs: list[Run] = []

    def begin(*words: str, playbook: str = "deploy.yml", fleet: Path | None = None) -> Run:
        run = Run(["ansible-playbook", "-v", playbook, *words], tmp_path / f"{len(runs)}.log", fleet=fleet)
        runs.append(run)
        return run

    yield begin
    for run in runs:
        run.kill()


@pytest.fixture
def play(begin: Begin) -> Play:
    """Return a function that runs a playbook to its end and returns exit code and output."""
    return lambda *words, **options: begin(*words, **options).wait()


@contextmanager
def watched(what: str) -> Iterator[Watch]:
    """Ask all voters meanwhile; fail if two led at once, a majority fell silent or nobody led for long."""
    with Watch({name: live.address(name) for name in VOTERS}) as watch:
        begun = time.monotonic()
        yield watch
        took = time.monotonic() - begun
    terms = [span.term for span in watch.spans()]
    print(
        f"{what}: {took:.0f} s, {sum(map(len, watch.answers.values()))} answers, {len(terms)} terms,"
        f" longest gap without a leader {watch.gap():.1f} s, without a majority {watch.silence():.1f} s"
    )
    assert watch.two_leaders() == []
    assert watch.silence() < LONGEST_SILENCE_S
    assert watch.gap() < LONGEST_GAP_S


def runs_on(node: str, digest: str) -> bool:
    """Tell whether a node's program says that it runs on the settings with this SHA-256."""
    return bool(live.status(node).get("settings_sha256") == digest)


def record(hold: dict[str, Any] | None = None) -> dict[str, Any] | None:
    """Return the maintenance record, after writing one if `hold` is given."""
    tls = {word: f"/etc/p2p-etcd/tls/{word}.crt" for word in ("ca", "node")}
    spec = {
        "endpoint": "https://127.0.0.1:2379",
        "ca": tls["ca"],
        "cert": tls["node"],
        "key": "/etc/p2p-etcd/tls/node.key",
    }
    words = {"cluster": "p2p", "etcd": spec, "state": "held" if hold else "read", "run": hold or {}}
    found: dict[str, Any] | None = live.module(VOTERS[0], "p2p_maintenance", words)["record"]
    return found


def settled(nodes: Sequence[str] = NODES) -> str:
    """Return the leader, once all these nodes name it."""
    return live.settled(nodes, VOTERS)


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the word that makes a run deploy another release."""
    lock = (live.ROOT / "requirements/node.txt").read_text() + "# version 2\n"
    path = tmp_path_factory.mktemp("second") / "vars.json"
    path.write_text(json.dumps({"p2p_release_lock": lock}))
    return f"@{path}"


def test_no_node_reaches_a_package_index() -> None:
    assert of_containers(NODES) == {}


def test_version_two_on_all_nodes_without_a_lost_quorum(play: Play, second: str) -> None:
    leads = settled()
    before = {name: (release(name), processes(name)) for name in NODES}
    with watched("version 1 to 2, etcd too"):
        code, output = play("-e", second, *STORE)
    assert code == 0, output[-4000:]
    assert "6 of 6 nodes will change" in output
    assert "first, as the canary: lambda-gh200-91" in output
    # Behind it at most etcd's own leader, which may be another voter.
    assert f"voter 1 of 3, alone: {leads}" not in output
    assert f"alone: {leads} (restarts p2p-etcd and p2p_orchestrator); meanwhile 0 more may fail" in output
    for name in NODES:
        assert release(name) != before[name][0]
        assert not set(processes(name)) & (set(before[name][1]) - {"0"})
    assert len({release(name) for name in NODES}) == 1
    settled()


def test_back_by_rollback(play: Play) -> None:
    newer, stores = release(VOTERS[0]), {name: processes(name)[1] for name in VOTERS}
    with watched("version 2 to 1 by rollback.yml"):
        code, output = play(playbook="rollback.yml")
    assert code == 0, output[-4000:]
    older = {release(name) for name in NODES}
    assert len(older) == 1
    assert older != {newer}
    code, output = play("-e", f"p2p_rollback_to={newer}", "--limit", OTHERS[2], playbook="rollback.yml")
    assert code == 0, output[-4000:]
    assert release(OTHERS[2]) == newer
    assert {release(name) for name in NODES[:-1]} == older
    assert {name: processes(name)[1] for name in VOTERS} == stores
    settled()


def test_one_voter_down_the_gate_refuses_and_the_others_go_on(play: Play) -> None:
    """A stopped voter leaves two of three: none of them may stop, and all the rest is done."""
    drift(VOTERS[1], OTHERS[1])
    before = {name: processes(name) for name in VOTERS}
    with live.stopped(VOTERS[0]):
        code, output = play(*STORE)
        assert code != 0
        # Over SSH it is unreachable; Docker's connection gives an answer that makes no sense.
        assert re.search(rf"(unreachable|refused): {VOTERS[0]}", output), output[-4000:]
        assert f"refused: {VOTERS[1]}: " in output
        assert "2 of 3 orchestrators count, a quorum is 2" in output
        assert f"mend first: {VOTERS[0]} (its orchestrator does not answer)" in output
        assert "p2p_accept_outage=true" in output
        assert processes(VOTERS[1]) == before[VOTERS[1]]
        assert drifted(VOTERS[1])
        assert not drifted(OTHERS[1])
    settled()
    live.on(VOTERS[2], "systemctl", "stop", *live.SERVICES)
    with watched("a stopped voter mended first, then the one that was refused"):
        code, output = play(*STORE)
    assert code == 0, output[-4000:]
    assert f"nothing that counts stops: 1 node: {VOTERS[2]}" in output
    assert not drifted(VOTERS[1])
    assert "0" not in processes(VOTERS[2])


def test_two_runs_at_once_and_one_killed_half_way(begin: Begin, play: Play) -> None:
    drift(*VOTERS)
    with watched("killed half-way, and run again"):
        first = begin(*STORE)
        stopped = "TASK [The node takes part"
        wait_for(lambda: stopped in first.text() or first.over, 900, lambda: first.text()[-3000:])
        assert not first.over, first.text()[-4000:]
        # Held there, so that the other run has something to stop however slow this machine is.
        first.pause()
        last = re.search(r"voter 3 of 3, alone: (\S+)", first.text())
        assert last, first.text()[-4000:]
        code, output = play(*STORE, "--limit", last[1], "--check")
        first.kill()
        assert code != 0, output[-4000:]
        assert f"holds the {RECORD} with deploy.yml" in output
        assert "-e p2p_maintenance_break=" in output
        assert drifted(last[1])

        code, output = play(*STORE)
        assert code == 0, output[-4000:]
    assert not any(drifted(name) for name in VOTERS)
    assert record() is None


def test_a_record_of_another_machine_is_broken_by_name_alone(play: Play) -> None:
    settled()
    drift(VOTERS[1])
    before = processes(VOTERS[1])
    stale = {"id": "elsewhere-7-7", "who": "ann@elsewhere", "playbook": "rollback.yml", "since": 7.0}
    record(hold={**stale, "place": "elsewhere/1/1", "pid": 7, "started": 7.0})
    code, output = play(*STORE, "--limit", VOTERS[1])
    assert code != 0
    assert f"ann@elsewhere holds the {RECORD} with rollback.yml" in output
    assert "-e p2p_maintenance_break=elsewhere-7-7" in output
    assert processes(VOTERS[1]) == before
    assert drifted(VOTERS[1])

    code, output = play(*STORE, "--limit", VOTERS[1], "-e", "p2p_maintenance_break=elsewhere-7-7")
    assert code == 0, output[-4000:]
    assert not drifted(VOTERS[1])
    assert record() is None


def test_a_release_that_does_not_start_stops_at_the_canary(play: Play) -> None:
    settled()
    before = {name: processes(name) for name in NODES}
    # An address that no machine here has (RFC 5737): the orchestrator cannot listen on it, and ends.
    bad = ("-e", "p2p_orchestrator_listen=203.0.113.77", "-e", "p2p_orchestrator_start_timeout=15")
    with watched("a release that does not start, then mended"):
        code, output = play(*STORE, *bad)
        assert code != 0
        assert f"failed: {OTHERS[0]}: " in output, output[-6000:]
        for name in NODES[:3] + NODES[4:]:
            assert f"held back: {name}: the canary {OTHERS[0]} failed" in output
            assert processes(name) == before[name]
        settled(VOTERS)

        code, output = play(*STORE)
        assert code == 0, output[-4000:]
    assert "1 of 6 nodes will change" in output
    settled(OTHERS[:1])
    for name in NODES[:3] + NODES[4:]:
        assert processes(name) == before[name]


def test_a_setting_that_is_taken_up_live_stops_nothing(play: Play, tmp_path: Path) -> None:
    settled()
    fleet = yaml.safe_load(live.fleet_file().read_text())
    for host in fleet["hosts"].values():
        host["ringrift_path"] = "/srv/elsewhere"
    path = tmp_path / "distributed_hosts.yaml"
    path.write_text(yaml.safe_dump(fleet))
    before = {name: processes(name) for name in NODES}

    with watched("a setting that is taken up live"):
        code, output = play(*STORE, fleet=path)
    assert code == 0, output[-4000:]
    assert "6 of 6 nodes will change" in output
    assert f"first, as the canary: {OTHERS[0]} (nothing of it stops)" in output
    assert {name: processes(name) for name in NODES} == before
    for name in NODES:
        text = live.on(name, "cat", "/etc/ringrift/node.conf") + "\n"
        assert 'RINGRIFT_PATH="/srv/elsewhere"' in text
        digest = hashlib.sha256(text.encode()).hexdigest()
        wait_for(partial(runs_on, name, digest), 60, str)

    code, output = play(*STORE)
    assert code == 0, output[-4000:]
    assert {name: processes(name) for name in NODES} == before


@pytest.mark.parametrize("limit", [(), ("--limit", OTHERS[1])], ids=["all", "limit"])
def test_a_file_with_other_voters_is_refused(play: Play, tmp_path: Path, limit: tuple[str, ...]) -> None:
    fleet = yaml.safe_load(live.fleet_file().read_text())
    fleet["p2p_voters"][2] = OTHERS[1]
    path = tmp_path / "distributed_hosts.yaml"
    path.write_text(yaml.safe_dump(fleet))
    before = {name: processes(name) for name in NODES}
    code, output = play(*STORE, *limit, fleet=path)
    assert code != 0
    assert f"are not the live ones ({', '.join(sorted(VOTERS))})" in output
    assert "run voters.yml" in output
    assert {name: processes(name) for name in NODES} == before


def test_a_removed_node_leaves_no_trace_and_is_denied(play: Play) -> None:
    leaver, asker, voter = OTHERS[2], OTHERS[1], VOTERS[0]
    before = {name: processes(name) for name in NODES[:-1]}
    code, output = play("--limit", voter, playbook="remove.yml")
    assert code != 0
    assert "Change the voters first" in output
    assert "voters.yml" in output

    pem = deployed.held(leaver)
    assert knock(asker, voter, HEARTBEAT, pem, speaks_for=leaver)["status"] == 200
    code, output = play("--limit", leaver, playbook="remove.yml")
    assert code == 0, output[-4000:]
    # What is called p2p-lab* is the image's own.
    names = "! -name 'p2p-lab*' '(' -name 'p2p*' -o -name ringrift ')'"
    places = "/etc /opt /run/systemd /usr/lib/systemd /usr/local /var/lib /root"
    assert live.on(leaver, "sh", "-c", f"find {places} {names} 2>/dev/null") == ""
    assert live.on(leaver, "sh", "-c", "ps -eo args | grep -E '[p]2p_orch|[e]tcd' || true") == ""
    wait_for(lambda: knock(asker, voter, HEARTBEAT, pem, speaks_for=leaver).get("status") == 403, 90, str)
    assert {name: processes(name) for name in NODES[:-1]} == before
