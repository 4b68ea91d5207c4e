"""What the controller remembers of the cluster's store, and what that decides."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleLookupError
from ansible.plugins.loader import lookup_loader
from ansible_collections.p2p.cluster.plugins.plugin_utils.memory.store import Kept, nothing, recall, remember
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.quorum import store_quorum

from filter_plugins.p2p_store import seen
from filter_plugins.p2p_voters import Change, change
from p2p_orchestrator.leadership import EPOCH_SPAN
from tests.unit.deploy.conftest import IDS, PROJECT, VOTERS, blank, dead, members, voter

KNOWN = Kept(cluster_id="77", members=dict(IDS), epoch=0)
Answers = dict[str, dict[str, Any]]


def healthy() -> Answers:
    """Return the answers of five healthy voters."""
    return {name: voter(name, version="3.4.23") for name in VOTERS}


def hostvars(answers: Answers, later: Answers | None = None, asked: Answers | None = None) -> dict[str, Any]:
    """Return Ansible's variables of a run that was answered so, and so after it changed voters."""
    probed: dict[str, Any] = {"p2p_plan": {}, "p2p_health_nodes": {"nodes": answers}}
    if asked is not None:
        results = [{"item": name, **answer} for name, answer in asked.items()]
        probed["p2p_voters_asked"] = {"results": results}
    told: dict[str, Any] = {name: dict(probed) for name in (*VOTERS, "s1")}
    for name, answer in (later or {}).items():
        told[name]["p2p_node_now"] = answer
    return told


def test_a_store_that_works_is_seen() -> None:
    assert seen(hostvars(healthy()), VOTERS) == KNOWN


def test_a_store_is_seen_through_voters_outside_the_run() -> None:
    assert seen(hostvars({"s1": blank()}, asked=healthy()), VOTERS) == KNOWN


def test_the_last_answers_of_a_run_count() -> None:
    before = {name: blank() for name in VOTERS}
    assert seen(hostvars(before, healthy()), VOTERS) == KNOWN


@pytest.mark.parametrize(
    "changed",
    [
        {"a": dead(), "b": dead(), "c": dead()},
        {name: voter(name, leader="0") for name in "abc"},
        {name: blank() for name in VOTERS},
    ],
    ids=["a minority", "no leader", "no store"],
)
def test_a_store_that_does_not_work_is_not_seen(changed: Answers) -> None:
    assert seen(hostvars(healthy() | changed), VOTERS) == nothing()


def test_two_liars_make_no_store_that_is_seen() -> None:
    lies = {name: voter(name, cluster_id="1", members=[{**KNOWN_MEMBER, "name": name}]) for name in "ab"}
    assert seen(hostvars(healthy() | lies), VOTERS) == KNOWN


def test_two_liars_that_are_reached_with_one_honest_voter_leave_nobody_out() -> None:
    few = [item for item in members() if item["name"] in "de"]
    lies = {name: voter(name, members=few) for name in "de"}
    for away in ("ab", "bc"):
        answers = healthy() | lies | {name: dead() for name in away}
        assert seen(hostvars(answers), VOTERS) == nothing()


def test_what_a_recovery_made_is_seen_though_the_file_names_more() -> None:
    few = [item for item in members() if item["name"] in "ab"]
    answers = healthy() | {name: voter(name, members=few) for name in "ab"} | {"c": dead()}
    assert seen(hostvars(answers), ("a", "b")) == Kept(cluster_id="77", members={"a": "1", "b": "2"}, epoch=0)


KNOWN_MEMBER = {"id": "9", "learner": False, "peer_urls": [], "client_urls": ["https://127.0.0.1:2379"]}


def at_epochs(*epochs: int) -> Answers:
    """Return the answers of healthy voters whose orchestrators tell terms of these epochs."""
    answers = healthy()
    for answer, epoch in zip(answers.values(), epochs, strict=True):
        answer["probe"]["http"]["status"]["body"]["term"] = epoch * EPOCH_SPAN + 3
    return answers


@pytest.mark.parametrize(
    ("epochs", "latest"),
    [
        ((0, 0, 0, 0, 0), 0),
        ((7, 7, 7, 7, 7), 7),
        # Two of five lie, up or down.
        ((9000, 9000, 7, 7, 7), 7),
        ((0, 7, 7, 7, 0), 7),
        # Two have not heard of the new one yet.
        ((8, 8, 8, 7, 7), 8),
    ],
)
def test_the_epoch_that_is_seen_is_one_that_a_majority_reaches(epochs: tuple[int, ...], latest: int) -> None:
    assert seen(hostvars(at_epochs(*epochs)), VOTERS)["epoch"] == latest


def test_voters_that_are_silent_raise_no_epoch_and_the_runs_own_counts() -> None:
    answers = at_epochs(7, 7, 7, 7, 7) | {name: dead() for name in "abc"}
    assert seen(hostvars(answers), VOTERS, raised=9) == nothing()
    few = [
        {**member, "client_urls": ["https://127.0.0.1:2379"]} for member in members() if member["id"] in "12"
    ]
    two = {name: voter(name, members=few) for name in "ab"}
    assert seen(hostvars({name: dead() for name in VOTERS} | two), ("a", "b"), raised=9)["epoch"] == 9
    assert seen(hostvars(at_epochs(7, 7, 7, 7, 7)), VOTERS, raised=5)["epoch"] == 7


# -- the file -----------------------------------------------------------------------------------------------


def test_what_is_remembered_is_recalled(tmp_path: Path) -> None:
    path = tmp_path / "state" / "store" / "p2p.json"
    assert recall(path, "p2p") == (nothing(), "")
    assert remember(path, "p2p", KNOWN) is True
    assert recall(path, "p2p") == (KNOWN, "")
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.stat().st_mtime_ns
    assert remember(path, "p2p", KNOWN) is False
    assert path.stat().st_mtime_ns == before


def test_the_epoch_is_never_lowered_by_another_store_either(tmp_path: Path) -> None:
    path = tmp_path / "p2p.json"
    tmp_path.chmod(0o700)
    later = Kept(cluster_id="77", members=dict(IDS), epoch=1_800_000_000)
    assert remember(path, "p2p", later)
    other = Kept(cluster_id="78", members={"a": "5"}, epoch=3)
    assert remember(path, "p2p", other)
    assert recall(path, "p2p")[0] == {**other, "epoch": 1_800_000_000}
    assert not remember(path, "p2p", other)


def test_a_file_without_an_epoch_is_read_as_one_that_knows_none(tmp_path: Path) -> None:
    path = tmp_path / "p2p.json"
    path.write_text(json.dumps({"schema": 1, "cluster": "p2p", "cluster_id": "77", "members": IDS}))
    path.chmod(0o600)
    assert recall(path, "p2p") == (KNOWN, "")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"schema": 1, "cluster": "other", "cluster_id": "77", "members": {}}',
        '{"schema": 2, "cluster": "p2p", "cluster_id": "77", "members": {}}',
        '{"schema": 1, "cluster": "p2p", "cluster_id": "x", "members": {}}',
        '{"schema": 1, "cluster": "p2p", "cluster_id": "77", "members": {"a b": "1"}}',
        '{"schema": 1, "cluster": "p2p", "cluster_id": "77", "members": {"a": 1}}',
        '{"schema": 1, "cluster": "p2p", "cluster_id": "77", "members": {}, "epoch": "1"}',
        '{"schema": 1, "cluster": "p2p", "cluster_id": "77", "members": {}, "epoch": true}',
        '{"schema": 1, "cluster": "p2p", "cluster_id": "77", "members": {}, "epoch": -1}',
        '{"schema": 1, "cluster": "p2p", "cluster_id": "77", "members": {}, "epoch": 9007199254}',
    ],
)
def test_a_file_that_says_something_else_is_not_used(tmp_path: Path, text: str) -> None:
    path = tmp_path / "p2p.json"
    path.write_text(text)
    path.chmod(0o600)
    known, why = recall(path, "p2p")
    assert known == nothing()
    assert why.startswith(f"{path} is no memory of the store of p2p (")


def test_a_file_that_others_can_write_ends_the_run(tmp_path: Path) -> None:
    """Without it a run would form a store where there was one, and forget its epoch."""
    path = tmp_path / "p2p.json"
    path.write_text(json.dumps({"schema": 1, "cluster": "p2p", **KNOWN}))
    path.chmod(0o644)
    lookup_loader.add_directory(str(PROJECT / "lookup_plugins"))
    lookup = lookup_loader.get("p2p_store_known")
    with pytest.raises(AnsibleLookupError, match=r"chmod 600\)\. .* Nothing was changed\."):
        lookup.run([str(path)], cluster="p2p")
    path.chmod(0o600)
    assert lookup.run([str(path)], cluster="p2p")[0]["members"] == IDS


# -- what it decides ----------------------------------------------------------------------------------------


def find(answers: Answers, voters: tuple[str, ...], known: dict[str, Any]) -> Change:
    """Return the change to these voters."""
    urls = {name: f"https://{name}:2380" for name in voters}
    quorum = store_quorum(answers, voters, known=known)
    return change(answers, voters, quorum, urls, etcd_service="p2p-etcd", known=known)


def test_known_members_are_heard_when_the_file_names_others_and_no_orchestrator_answers() -> None:
    answers = healthy() | {name: blank() for name in ("s1", "s2", "s3")}
    for name in VOTERS:
        answers[name]["probe"]["http"]["status"] = {"status": None, "body": None}
    others = ("s1", "s2", "s3")
    assert "members may run on a, b, c, d, e" in find(answers, others, {})["refused"]
    found = find(answers, others, {"file": "store/p2p.json", **KNOWN})
    assert found["refused"] == ""
    assert found["joiners"] == list(others)


def test_another_store_than_the_known_one_stops_a_change() -> None:
    answers = healthy() | {"s1": blank()}
    known = {"file": "store/p2p.json", "cluster_id": "5", "members": dict(IDS), "epoch": 0}
    refused = find(copy.deepcopy(answers), ("a", "b", "c", "d", "s1"), known)["refused"]
    assert "the voters work in the store 77, and the last run from this controller saw 5" in refused
    assert "copy store/p2p.json from there, or, if there is none" in refused
