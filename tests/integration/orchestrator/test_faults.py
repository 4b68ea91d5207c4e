"""Faults under a real cluster: 5 etcd members and 10 agents, each host a network namespace.

After every fault no two agents may have believed themselves leader at once, by their own logs. The measured
times go to `reports/orchestrator-faults-*.json`, one file for each process of pytest.
"""

import itertools
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.orchestrator.cluster import ROOT, Cluster, now, wait

NEXT_LEADER = 20.0
NULL_LEADER = 15.0
AFTER_ETCD = 5.0
TELL_ALL = 8.0
"""A node learns of a leader at its next heartbeat, at most 5 s later, plus slack for a busy machine."""
DISK_MB = 400

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")
Record = Callable[..., None]


class Disks:
    """A small file system for each etcd member, so that it can be frozen under it."""

    def __init__(self, path: Path, names: list[str]) -> None:
        self.paths = [path / f"etcd-{name}" for name in names]
        self.mounted: list[Path] = []

    def mount(self) -> bool:
        """Return whether this machine allows it."""
        for path in self.paths:
            image = path.with_suffix(".img")
            with image.open("wb") as file:
                file.truncate(DISK_MB * 2**20)
            path.mkdir()
            for words in (["mkfs.ext4", "-q", str(image)], ["mount", "-o", "loop", str(image), str(path)]):
                if subprocess.run(words, check=False, capture_output=True).returncode:
                    return False
            self.mounted.append(path)
            (path / "lost+found").rmdir()
            path.chmod(0o700)
        return True

    def unmount(self) -> None:
        for path in self.mounted:
            subprocess.run(["fsfreeze", "-u", str(path)], check=False, capture_output=True)
            subprocess.run(["umount", "-l", str(path)], check=False, capture_output=True)


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disks]:
    disks = Disks(tmp_path_factory.mktemp("faults"), [f"voter-{i}" for i in range(1, 6)])
    try:
        disks.mount()
        yield disks
    finally:
        disks.unmount()


@pytest.fixture(scope="module")
def running(disks: Disks) -> Iterator[Cluster]:
    with Cluster(disks.paths[0].parent, 5, 5, network=True) as cluster:
        begin = now()
        wait("a leader known to all", cluster.agreed, 120)
        print(f"first leader known to all after {now() - begin:.1f} s")
        yield cluster


@pytest.fixture
def cluster(running: Cluster) -> Iterator[Cluster]:
    """Give the cluster as it should be, and check afterwards that nobody led while another did."""
    wait("a leader known to all", running.agreed, 120)
    yield running
    for name in running.names:
        running.heal(name)
    for process in (*running.members.values(), *running.agents.values()):
        if not process.running:
            process.start()
    wait(
        "all agents answer",
        lambda: all(agent.get("/live")[0] == 200 for agent in running.agents.values()),
        20,
    )
    running.check_leaders()


@pytest.fixture(scope="module")
def record() -> Iterator[Record]:
    rows: list[dict[str, Any]] = []

    def add(fault: str, **seconds: float | str) -> None:
        rows.append(
            {"fault": fault, **{k: round(v, 1) if isinstance(v, float) else v for k, v in seconds.items()}}
        )

    yield add
    worker = os.environ.get("PYTEST_XDIST_WORKER", "alone")
    path = ROOT / "reports" / f"orchestrator-faults-{worker}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(rows, indent=1) + "\n")
    print("\n".join(str(row) for row in rows))


def leader_of(cluster: Cluster) -> str:
    return str(wait("a leader known to all", cluster.agreed, 60))


def next_leader(
    cluster: Cluster, begin: float, old: str, names: list[str] | None = None
) -> tuple[float, float]:
    """Wait for a new leader that the others know; return the seconds until it led and until all knew."""
    others = names if names is not None else [n for n in cluster.names if n != old]

    def found() -> str | None:
        leader = cluster.agreed(others)
        return leader if leader and any(span[0] > begin for span in cluster.agents[leader].led()) else None

    leader = wait("another leader known to the others", found, NEXT_LEADER + TELL_ALL)
    knew = now() - begin
    led = max(span[0] for span in cluster.agents[leader].led()) - begin
    assert led <= NEXT_LEADER
    return led, knew


def etcdctl(cluster: Cluster, name: str, *words: str) -> str:
    command = ["ip", "netns", "exec", cluster.space(name), "etcdctl", "--endpoints", "127.0.0.1:2379", *words]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env={**os.environ, "ETCDCTL_API": "3"}
    )
    return done.stdout


def bring_etcd_leader_to(cluster: Cluster, name: str) -> None:
    """Make the member on host `name` etcd's leader."""
    leader = wait("etcd has a leader", cluster.etcd_leader, 60)
    if leader != name:
        listing = etcdctl(cluster, leader, "member", "list")
        identity = next(line.split(",")[0] for line in listing.splitlines() if f" {name}," in line)
        etcdctl(cluster, leader, "move-leader", identity)
    wait("etcd's leader moved", lambda: cluster.etcd_leader() == name, 60)


def test_the_leader_is_killed(cluster: Cluster, record: Record) -> None:
    leader = leader_of(cluster)
    begin = now()
    cluster.agents[leader].kill()
    led, knew = next_leader(cluster, begin, leader)
    record("leader's process: kill -9", next_leader=led, all_know=knew)


def test_the_leader_is_stopped_in_order(cluster: Cluster, record: Record) -> None:
    leader = leader_of(cluster)
    begin = now()
    code, seconds = cluster.agents[leader].terminate()
    led, knew = next_leader(cluster, begin, leader)
    assert code == 0
    assert seconds < 10.0
    assert led < 10.0, "nobody waits for the lease, which is 12 s"
    record("leader's process: SIGTERM", next_leader=led, all_know=knew, exited=seconds)


def test_the_leader_is_frozen(cluster: Cluster, record: Record) -> None:
    leader = leader_of(cluster)
    begin = now()
    cluster.agents[leader].signal(signal.SIGSTOP)
    try:
        led, knew = next_leader(cluster, begin, leader)
    finally:
        cluster.agents[leader].signal(signal.SIGCONT)
    woke = now()
    wait("the old leader follows", lambda: cluster.agreed() not in (None, leader), 60)
    last = [span for span in cluster.agents[leader].led() if span[0] < begin][-1]
    assert last[1] <= begin + 10.0
    record(
        "leader's process: SIGSTOP, later SIGCONT", next_leader=led, all_know=knew, old_follows=now() - woke
    )


def test_etcds_leader_is_killed(cluster: Cluster, record: Record) -> None:
    leader = leader_of(cluster)
    other = next(name for name in cluster.voters if name != leader)
    bring_etcd_leader_to(cluster, other)
    begin = now()
    cluster.members[other].kill()
    wait("etcd has another leader", cluster.etcd_leader, 60)
    etcd = now() - begin
    names = [name for name in cluster.names if name != other]
    wait("a leader known to the others", lambda: cluster.agreed(names), NEXT_LEADER)
    kept = (
        cluster.agreed(names) == leader
        and len([s for s in cluster.agents[leader].led() if s[1] > begin]) == 1
    )
    record(
        "etcd's leader: kill -9",
        etcd_leader=etcd,
        leader="kept" if kept else "another",
        settled=now() - begin,
    )


def test_the_leaders_host_takes_etcds_leader_with_it(cluster: Cluster, record: Record) -> None:
    leader = leader_of(cluster)
    bring_etcd_leader_to(cluster, leader)
    begin = now()
    cluster.members[leader].kill()
    cluster.agents[leader].kill()
    led, knew = next_leader(cluster, begin, leader)
    record("leader's host with etcd's leader: both kill -9", next_leader=led, all_know=knew)


@pytest.mark.parametrize(
    ("restarted", "limit"),
    [("a follower", AFTER_ETCD), ("the leader", NEXT_LEADER)],
    ids=["follower", "leader"],
)
def test_three_of_five_members_go_and_come_back(
    cluster: Cluster, record: Record, restarted: str, limit: float
) -> None:
    """The last renewal of a leader that has ended takes effect as etcd comes back, by chance."""
    leader = leader_of(cluster)
    other = next(name for name in cluster.voters if name != leader)
    agent = cluster.agents[leader if restarted == "the leader" else other]
    gone = [name for name in cluster.voters if name not in (leader, other)]
    begin = now()
    for name in gone:
        cluster.members[name].kill()
    wait("nobody names a leader", lambda: not any(a.leader for a in cluster.agents.values()), NULL_LEADER)
    null = now() - begin
    assert all(agent.get("/health")[0] == 503 for agent in cluster.agents.values())
    code, seconds = agent.terminate()
    assert (code, seconds < 10.0) == (0, True), "without an engine it ends in time too"
    agent.start()
    time.sleep(5)
    for name in gone:
        cluster.members[name].start()
    wait("etcd has a leader", cluster.etcd_leader, 60)
    back = now()

    def led() -> float:
        return max((s[0] for agent in cluster.agents.values() for s in agent.led()), default=0.0)

    wait("a leader", lambda: led() > begin + null, limit)
    seconds = led() - back
    wait("all know it", cluster.agreed, TELL_ALL)
    record(
        f"3 of 5 etcd members: kill -9, later started; {restarted} restarted meanwhile",
        null_everywhere=null,
        leader_after_etcd=max(0.0, seconds),
        all_know_after_etcd=now() - back,
    )


@pytest.mark.parametrize(
    ("kind", "cut"),
    [
        ("full", ("INPUT", "OUTPUT")),
        ("sends, does not receive", ("INPUT",)),
        ("receives, does not send", ("OUTPUT",)),
    ],
)
def test_the_leaders_host_is_cut_off(
    cluster: Cluster, record: Record, kind: str, cut: tuple[str, ...]
) -> None:
    leader = leader_of(cluster)
    begin = now()
    cluster.cut(leader, *cut)
    wait(
        "the host cut off names nobody",
        lambda: cluster.reach(leader, "/health")[1].get("leader_id", "not asked") is None,
        NULL_LEADER,
    )
    null = now() - begin
    wait("it says so", lambda: cluster.reach(leader, "/health")[0] == 503, 5)
    led, knew = next_leader(cluster, begin, leader)
    record(f"leader's host cut off: {kind}", null_there=null, next_leader=led, all_know=knew)


def test_the_disk_of_etcds_leader_freezes(cluster: Cluster, disks: Disks, record: Record) -> None:
    if len(disks.mounted) < len(disks.paths):
        pytest.skip("this machine mounts no loop devices")
    leader = leader_of(cluster)
    bring_etcd_leader_to(cluster, leader)
    path = next(path for path in disks.mounted if path.name == f"etcd-{leader}")
    begin = now()
    subprocess.run(["fsfreeze", "-f", str(path)], check=True)
    try:
        names = [name for name in cluster.names if name != leader]
        end = begin + 25
        without = 0.0
        while now() < end:
            without += 0.0 if cluster.agreed(names) else 0.5
            time.sleep(0.5)
        wait("a leader known to the others", lambda: cluster.agreed(names), NEXT_LEADER)
    finally:
        subprocess.run(["fsfreeze", "-u", str(path)], check=True)
    spans = sorted(s for agent in cluster.agents.values() for s in agent.led() if s[1] > begin)
    gaps = [after[0] - before[1] for before, after in itertools.pairwise(spans)]
    assert max(gaps, default=0.0) <= NEXT_LEADER
    record(
        "disk under etcd's leader (on the leader's host): frozen 25 s",
        leaders=str(len(spans)),
        longest_gap=max(gaps, default=0.0),
        not_all_agreed=without,
    )


def peer(cluster: Cluster, voter: str, name: str) -> dict[str, Any]:
    status = cluster.agents[voter].get("/status?alive_only=false")[1]
    found = status["peers"].get(name, {}) if status else {}
    return dict(found)


def test_members_come_and_go(cluster: Cluster, record: Record) -> None:
    voter, name = cluster.voters[0], "vast-1"
    begin = now()
    cluster.agents[name].kill()
    wait("dead", lambda: peer(cluster, voter, name).get("state") == "dead", 28)
    dead = now() - begin
    assert dead > 9.0
    cluster.agents[voter].kill()
    cluster.agents[voter].start()
    wait("unknown at a restarted voter", lambda: peer(cluster, voter, name).get("state") == "unknown", 14)
    wait("dead after one window", lambda: peer(cluster, voter, name).get("state") == "dead", 28)
    begin = now()
    cluster.agents[name].start()
    wait("alive", lambda: peer(cluster, voter, name).get("state") == "alive", 60)
    record("a node: kill -9, later started", dead_after=dead, alive_after=now() - begin)


def test_a_node_that_reaches_one_voter_is_alive_and_a_clone_is_told(cluster: Cluster, record: Record) -> None:
    name, begin = "vast-2", now()
    for voter in cluster.voters[1:]:
        rule = ["iptables", "-A", "OUTPUT", "-d", cluster.addresses[voter], "-j", "DROP"]
        subprocess.run(["ip", "netns", "exec", cluster.space(name), *rule], check=True)
    clone = cluster.agent("vast-3", "vast-4", P2P_PORT="8780")
    clone.log = cluster.path / "clone.log"
    alive = peer(cluster, cluster.voters[4], "vast-4")["is_alive"]
    count = cluster.agents[cluster.voters[4]].status()["alive_peers"]
    clone.start()
    try:
        both = cluster.voters[4]
        wait("the clone is seen", lambda: peer(cluster, both, "vast-3").get("endpoint_conflict"), 25)
        told = now() - begin
        assert alive
        assert cluster.agents[both].status()["alive_peers"] == count
        wait("it knows itself", lambda: "event=name_conflict" in clone.log.read_text(), 60)
        time.sleep(max(0.0, begin + 20 - now()))
        assert peer(cluster, both, name)["is_alive"]
    finally:
        clone.kill()
    record("two processes with one name", told_after=told)
