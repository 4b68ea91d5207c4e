"""Two of five real voters lie, or the controller is cut off from some: no run harms a voter that is well."""

from __future__ import annotations

import copy
import os
import random
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.p2p.cluster.plugins.plugin_utils.door import read

from tests.bench.scale import simulated
from tests.hostile.harm import COUNTS_AGAIN_S, forgotten, harm, led_badly
from tests.hostile.lies import CLAIMS, KINDS, SILENT, Case, everything, sample
from tests.hostile.scene import play, speakers, staged
from tests.hostile.standin.liar import told
from tests.hostile.voters import Cluster, wait_for
from tests.integration.identity.watch import Watch
from tests.support.no_index import of_containers

SEED = os.environ["HOSTILE_SEED"]
CASES = everything() if os.environ.get("FULL") else sample(random.Random(SEED))  # noqa: S311  # repeatable


@pytest.fixture(scope="module")
def running() -> Iterator[Cluster]:
    """Return the cluster; a socket of ssh may have no longer path than this folder's."""
    folder = Path(tempfile.mkdtemp(prefix="liars"))
    made = Cluster(folder)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder)


@pytest.fixture
def cluster(running: Cluster) -> Cluster:
    """Return the cluster with five voters that are well, made anew after a test that failed."""
    for name in running.others:
        if not running.health(name):
            running.run("deploy.yml", running.voters, "--limit", name)
    if running.spoiled or missing(running):
        running.stop()
        running.start()
    # Until the test has found that it is not.
    running.spoiled = True
    return running


def missing(cluster: Cluster) -> str:
    """Return what is not well after some time, or nothing."""
    try:
        wait_for(lambda: unwell(cluster), COUNTS_AGAIN_S)
        cluster.settle()
    except AssertionError as error:
        return str(error)
    return ""


def unwell(cluster: Cluster) -> str:
    """Return what is not well, nothing if five voters hold one store."""
    found = {name: look["store"] for name, look in cluster.looks(cluster.voters).items()}
    clusters = {store.get("cluster") for store in found.values()}
    members = {tuple(sorted(store.get("members", ()))) for store in found.values()}
    return "" if len(clusters) == 1 and members == {tuple(sorted(cluster.voters))} else str(found)


def finish(cluster: Cluster, asked: Sequence[str], store: Mapping[str, Any]) -> None:
    """Finish a change of the voters that was begun, where nobody lies, and note who votes."""
    members = set(store["members"])
    if members not in (set(asked), set(cluster.voters)) or store["learners"]:
        cluster.run("voters.yml", asked)
        members = set(asked)
    cluster.voters = tuple(asked) if members == set(asked) else cluster.voters


@pytest.mark.parametrize("lie", [*(kind for kind in KINDS if kind != SILENT), *filter(None, CLAIMS)])
def test_a_lie_passes_the_door(lie: str) -> None:
    answers = simulated.answers(simulated.VOTERS + 1, well=True)
    node, victim, dropped, *_, other = answers
    scene = {
        "lies": {node: lie, other: lie},
        "victims": {node: victim},
        "dropped": [dropped],
        "cluster": "9",
        "members": ["1"],
    }
    liar = node if lie in KINDS else other
    true = answers[liar]["probe"]
    lied = told(copy.deepcopy(true), liar, scene)
    believed, well = (
        read.probe(answer, {"voter": True, "etcd": {"endpoint": ""}}) for answer in (lied, true)
    )
    assert believed["etcd"]["member_id"]
    assert believed["etcd"] != well["etcd"]


def test_no_node_reaches_a_package_index(running: Cluster) -> None:
    assert of_containers(running.containers) == {}


def test_a_leader_that_stands_still_is_waited_out(cluster: Cluster) -> None:
    leader = str(cluster.health(cluster.voters[0])["leader_id"])
    others = [name for name in cluster.voters if name != leader]
    with cluster.frozen([leader]):
        now = {cluster.health(name)["leader_id"] for name in others}
    cluster.spoiled = False
    assert len(now) == 1
    assert now < set(others)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_no_run_harms_a_voter_that_is_well(case: Case, cluster: Cluster, tmp_path: Path) -> None:
    found = staged(case, cluster, random.Random(f"{SEED} {case}"))  # noqa: S311  # repeatable
    voters, asked = cluster.voters, found.asked(cluster.voters)
    looks = cluster.looks(found.honest)
    speak = speakers(found, case.claim, looks, tmp_path / "scene.json")
    watched = {name: cluster.addresses[name] for name in {*voters, *asked}}
    with cluster.frozen(found.still), Watch(watched) as watch:
        run = play(case, cluster, found, speak)
    print(f"{found}\n{run.output}")
    changes = case.step.startswith("voters")
    before = {name: look for name, look in looks.items() if not changes or name in asked}
    refused = case.step in ("recover", "remove-voter")
    wrong = led_badly(watch)
    wrong += harm(cluster, before, {*voters, *asked} if changes else voters, refused=refused)
    wrong += ["it was not refused"] if refused and run.code == 0 else []
    store = cluster.look(next(iter(before)))["store"]
    if "members" in store:
        wrong += forgotten(cluster, store)
        finish(cluster, asked if changes else voters, store)
    wrong += [f"{name} was not believed" for name in found.lies if "probe" not in run.answer(name)]
    cluster.spoiled = bool(wrong)
    assert wrong == []
