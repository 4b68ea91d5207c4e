"""A store whose version goes up, is lost and rebuilt, while a client asks every voter who leads.

The tests build on each other.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.deploy import live
from tests.integration.deploy.live import SERVICES, Run, wait_for
from tests.integration.identity.watch import Watch
from tests.support.no_index import of_containers

VOTERS = ("hetzner-cpu71", "hetzner-cpu72", "vultr-a100-71")
NODES = (*VOTERS, "lambda-gh200-71")
ARCHIVES = live.ROOT / ".cache/etcd"
DATA = "/var/lib/p2p-etcd"
# Terms of one recovery epoch.
SPAN = 1_000_000
LONG_S = 120
RECORD = "/var/lib/p2p-recovery/p2p.json"
FOREIGN = {"id": "elsewhere-7-7", "who": "ann@elsewhere", "playbook": "recover.yml", "since": 5.0}

Play = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def newer() -> tuple[str, ...]:
    """Return the words that make a run deploy a newer etcd from an archive of this machine."""
    packed = subprocess.run(
        [live.ROOT / "scripts/etcd-archive", ARCHIVES, "trixie"], capture_output=True, text=True, check=False
    )
    assert packed.returncode == 0, packed.stderr
    pinned = yaml.safe_load((ARCHIVES / "checksums.yml").read_text())["etcd_archive_checksums"]
    (version,) = next(iter(pinned.values()))
    words = {
        "etcd_install_method": "archive",
        "etcd_version": version,
        "etcd_checksums_file": str(ARCHIVES / "checksums.yml"),
        "etcd_archive_file": f"{ARCHIVES}/etcd-v{{version}}-linux-{{arch}}.tar.gz",
    }
    return ("-e", json.dumps(words))


@pytest.fixture
def play(tmp_path: Path) -> Iterator[Play]:
    """Return a function that runs a playbook to its end and returns exit code and output."""
    runs: list[Run] = []

    def play(playbook: str, *words: str) -> tuple[int, str]:
        runs.append(Run(["ansible-playbook", "-v", playbook, *words], tmp_path / f"{len(runs)}.log"))
        return runs[-1].wait()

    yield play
    for run in runs:
        run.kill()


@contextmanager
def watched(what: str) -> Iterator[Watch]:
    """Ask all voters meanwhile; fail if two led at once or in one term."""
    with Watch({name: live.address(name) for name in VOTERS}) as watch:
        begun = time.monotonic()
        yield watch
        took = time.monotonic() - begun
    print(
        f"{what}: {took:.0f} s, {len(watch.spans())} terms, longest gap without a leader {watch.gap():.1f} s"
    )
    assert watch.two_leaders() == []


def settled(nodes: Sequence[str] = NODES) -> str:
    """Return the leader, once all these nodes name it."""
    return live.settled(nodes, VOTERS, LONG_S)


def term() -> int:
    return int(live.status(VOTERS[0])["term"])


def destroy(*names: str) -> None:
    """Lose the store's data of these voters."""
    for name in names:
        live.on(name, "systemctl", "stop", *SERVICES)
        live.on(name, "sh", "-c", f"rm -rf {DATA}/*")


def lost(name: str) -> bool:
    """Tell whether a voter answers and knows of no leader and no quorum."""
    told = live.status(name)
    return bool(told) and not told["leader_id"] and not told["voter_quorum_ok"]


def held() -> dict[str, str]:
    """Return which run holds the record of a recovery, by voter, and for the controller by its file."""
    asked = {name: live.module(name, "p2p_recovery_record", {"path": RECORD})["record"] for name in VOTERS}
    folder = Path(os.environ["P2P_STATE_DIR"], "recovery")
    asked |= {str(path): json.loads(path.read_text())["record"] for path in folder.glob("*")}
    return {name: record["id"] for name, record in asked.items() if record}


def refused_beside_another_run(play: Play, words: Sequence[str], voter: str, survivor: str) -> None:
    """Have another run hold the record of a voter, and see that a recovery stops nothing meanwhile."""
    live.module(voter, "p2p_recovery_record", {"path": RECORD, "state": "held", "run": FOREIGN})
    before = live.processes(survivor)
    for mode in ((), ("--check",)):
        code, output = play("recover.yml", *words, *mode)
        assert code != 0
        assert "ann@elsewhere holds the recovery record of this voter with recover.yml" in output
        assert "-e p2p_maintenance_break=elsewhere-7-7" in output
        # Those that the refused run got were given back.
        assert held() == {voter: "elsewhere-7-7"}
    assert live.processes(survivor) == before


def snapshots() -> list[Path]:
    return sorted(Path(os.environ["P2P_STATE_DIR"], "snapshots/p2p").rglob("*.db"))


def test_no_node_reaches_a_package_index() -> None:
    assert of_containers(NODES) == {}


def test_etcd_goes_up_one_member_at_a_time_behind_a_snapshot(play: Play, newer: tuple[str, ...]) -> None:
    settled()
    assert snapshots() == []
    with watched("etcd to a newer version"):
        code, output = play("deploy.yml", *newer)
    assert code == 0, output[-4000:]
    version = json.loads(newer[1])["etcd_version"]
    for name in VOTERS:
        assert live.on(name, "sh", "-c", "ps -eo args | grep '[/]etcd$'") == f"/opt/p2p-etcd/{version}/etcd"
    (kept,) = snapshots()
    assert kept.stat().st_mode & 0o777 == 0o600
    settled()


def test_a_downgrade_is_refused_before_anything_stops(play: Play, newer: tuple[str, ...]) -> None:
    before = {name: live.processes(name) for name in VOTERS}
    code, output = play("deploy.yml", *newer, "-e", "etcd_version=3.4.23")
    assert code != 0
    assert "to 3.4.23 is a downgrade" in output
    assert {name: live.processes(name) for name in VOTERS} == before


def test_a_living_quorum_is_not_rebuilt(play: Play, newer: tuple[str, ...]) -> None:
    before = {name: live.processes(name) for name in VOTERS}
    code, output = play("recover.yml", *newer, "-e", "p2p_recover_confirm=p2p")
    assert code != 0
    assert "3 of 3 members answer and agree, a quorum is 2: nothing is lost" in output
    assert {name: live.processes(name) for name in VOTERS} == before


def test_two_of_three_destroyed_and_a_stale_leader_comes_back(play: Play, newer: tuple[str, ...]) -> None:
    gone = settled()
    other, survivor = (name for name in VOTERS if name != gone)
    before = term()
    with watched("rebuilt from the survivor") as watch:
        # The gap begins with the last answer of the leader that goes.
        wait_for(lambda: bool(watch.spans()), LONG_S, lambda: str(watch.answers))
        live.on(gone, "systemctl", "stop", *SERVICES)
        live.on(gone, "cp", "-a", DATA, "/root/stale")
        destroy(gone, other)
        # Until its lease ends a leader that is gone may be named, and nothing is rebuilt.
        wait_for(lambda: lost(survivor), LONG_S, lambda: str(live.status(survivor)))
        code, output = play("recover.yml", *newer)
        assert code != 0
        assert "-e p2p_recover_confirm=p2p" in output
        code, output = play("recover.yml", *newer, "--check")
        assert code == 0, output[-4000:]
        assert f"a new store would be made from the most advanced data of {survivor}" in output
        assert f"{gone}: holds no data" in output
        assert "the run is confirmed with -e p2p_recover_confirm=p2p" in output

        confirmed = (*newer, "-e", "p2p_recover_confirm=p2p")
        refused_beside_another_run(play, confirmed, other, survivor)
        code, output = play("recover.yml", *confirmed, "-e", "p2p_maintenance_break=elsewhere-7-7")
        assert code == 0, output[-4000:]
        assert held() == {}
        settled()
    # No term, and so no token, of the lost store can come again.
    assert term() > before + SPAN
    kept = json.loads(Path(os.environ["P2P_STATE_DIR"], "store/p2p.json").read_text())
    assert kept["epoch"] == term() // SPAN
    assert f"{survivor}.found.db" in {path.name for path in snapshots()}
    assert live.on(survivor, "sh", "-c", f"ls -d {DATA}.before-*/member")

    stale = gone
    with watched("the stale leader comes back"):
        # The two that have the new data keep the quorum, with or without it as leader.
        live.on(stale, "systemctl", "stop", *SERVICES)
        leads = live.settled((other, survivor), (other, survivor), LONG_S)
        live.on(stale, "mv", DATA, "/root/fresh")
        live.on(stale, "mv", "/root/stale", DATA)
        live.on(stale, "systemctl", "start", "--no-block", *SERVICES)
        log = ("journalctl", "-u", "p2p-etcd", "--since", "-20s", "--no-pager")
        wait_for(lambda: "cluster ID mismatch" in live.on(stale, *log), LONG_S, lambda: live.on(stale, *log))
        reports = ARCHIVES.parent / "recover-health"
        play("health.yml", *newer, "-e", f"p2p_health_report_dir={reports}")
    report: dict[str, Any] = json.loads((reports / "health.json").read_text())
    assert report["cluster"]["leader_id"] == leads
    row = next(node for node in report["nodes"] if node["node_id"] == stale)
    assert row["state"] == "isolated"
    assert "holds the data of another cluster" in row["evidence"]
    assert f"mv {DATA} {DATA}.stale" in row["remedy"]
    assert "voters.yml" in row["remedy"]


def test_all_data_destroyed_and_rebuilt_from_a_snapshot(play: Play, newer: tuple[str, ...]) -> None:
    before = max(live.status(name).get("term") or 0 for name in VOTERS)
    snapshot = next(path for path in snapshots() if path.name.endswith(".found.db"))
    destroy(*VOTERS)
    code, output = play("recover.yml", *newer, "-e", "p2p_recover_confirm=p2p")
    assert code != 0
    assert "name a snapshot with -e p2p_recover_snapshot=<file>" in output
    with watched("rebuilt from a snapshot"):
        words = ("-e", "p2p_recover_confirm=p2p", "-e", f"p2p_recover_snapshot={snapshot}")
        code, output = play("recover.yml", *newer, *words)
        assert code == 0, output[-4000:]
        settled()
    assert term() > before + SPAN
    code, output = play("deploy.yml", *newer, "--check")
    assert code == 0, output[-4000:]
    assert "0 of 4 nodes would change" in output
