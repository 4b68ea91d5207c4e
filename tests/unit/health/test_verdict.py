"""The verdict: agreement across nodes, the quorum, and what the cluster as a whole suffers from."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from roles.p2p_health.report.build import election_under_way, report
from roles.p2p_health.report.html import html
from roles.p2p_health.report.markdown import markdown
from roles.p2p_health.report.model import Host
from tests.unit.health.fleet_of_five import (
    LEADER,
    NOW,
    OTHERS,
    VOTERS,
    answering,
    answers,
    down,
    fleet,
    probe,
    status,
    store,
    unreachable,
)

CONTRACT = Path(__file__).parents[1] / "orchestrator" / "contract"


def _kinds(given: dict[str, Any], **settings: Any) -> tuple[str, list[str]]:
    cluster = report(given, fleet(**settings))["cluster"]
    return cluster["verdict"], [item["kind"] for item in cluster["problems"]]


def _with(names: list[str], make: Any) -> dict[str, Any]:
    return answers() | {name: make(name) for name in names}


def _says(name: str, **given: Any) -> dict[str, Any]:
    return probe(name, http=answering(status(name, **given)))


def test_a_healthy_fleet() -> None:
    cluster = report(answers(), fleet())["cluster"]
    assert cluster["verdict"] == "healthy"
    assert cluster["leader_id"] == LEADER
    assert cluster["leaders_reported"] == [LEADER]
    assert cluster["term"] == 7
    assert cluster["voters"] == {
        "configured": VOTERS,
        "alive": VOTERS,
        "quorum": 3,
        "quorum_ok": True,
        "tolerates": 2,
        "limited_by": None,
    }
    assert cluster["mesh"] == []
    assert cluster["coverage"] == {"nodes": 7, "running": 7, "percent": 100.0}
    assert cluster["by_provider"]["nebius"] == {"nodes": 2, "running": 2}
    assert cluster["by_state"] == {"ok": 7}
    assert cluster["problems"] == []


def test_a_dead_node_degrades() -> None:
    made = report(answers() | {OTHERS[0]: unreachable()}, fleet())
    assert made["cluster"]["verdict"] == "degraded"
    assert made["cluster"]["coverage"] == {"nodes": 7, "running": 6, "percent": 85.7}
    assert made["cluster"]["by_state"] == {"ok": 6, "unreachable": 1}


def test_the_own_machines_need_not_be_deployed_to() -> None:
    mine = {"mac-studio": Host(name="mac-studio", provider="local")}
    blank = down("mac-studio", services={}, release={"name": None})
    given = answers() | {"mac-studio": blank}
    hosts = {**fleet().hosts, **mine}
    for wanted, verdict in ((False, "healthy"), (True, "degraded")):
        made = report(given, fleet(hosts=hosts, total=8, local_wanted=wanted))
        assert made["cluster"]["verdict"] == verdict
        assert made["nodes"][0]["state"] == "not_deployed"


def test_no_quorum() -> None:
    dead = [name for name in VOTERS if name != LEADER][:3]
    given = _with(dead, down)
    for name in VOTERS + OTHERS:
        if name not in dead:
            peers = [{"name": other, "alive": other not in dead} for other in VOTERS if other != name]
            given[name] = _says(name, peers=peers)
    verdict, kinds = _kinds(given)
    assert (verdict, kinds[0]) == ("critical", "no_quorum")
    assert report(given, fleet())["cluster"]["problems"][0]["evidence"].endswith(
        "for good: recover.yml --check"
    )


def test_a_voter_that_ssh_cannot_reach_still_holds_up_the_quorum() -> None:
    cut = [name for name in VOTERS if name != LEADER][:3]
    cluster = report(_with(cut, lambda _: unreachable()), fleet())["cluster"]
    assert cluster["verdict"] == "degraded"
    assert cluster["voters"]["alive"] == VOTERS


def test_the_stores_quorum_is_the_clusters() -> None:
    given = _with(VOTERS, lambda name: probe(name, etcd=store(name, leader=None)))
    verdict, kinds = _kinds(given)
    assert (verdict, kinds) == ("critical", ["no_quorum"])


def test_no_leader() -> None:
    nobody = {"leader_id": None, "effective_leader_id": None, "role": "follower"}
    verdict, kinds = _kinds(_with(VOTERS + OTHERS, lambda name: _says(name, **nobody)))
    assert (verdict, kinds) == ("critical", ["no_leader"])


def test_two_leaders() -> None:
    usurper = {"role": "leader", "leader_id": VOTERS[0], "effective_leader_id": VOTERS[0], "term": 6}
    cluster = report(answers() | {VOTERS[0]: _says(VOTERS[0], **usurper)}, fleet())["cluster"]
    assert cluster["verdict"] == "critical"
    assert cluster["leaders_reported"] == sorted([LEADER, VOTERS[0]])
    assert cluster["problems"][0]["kind"] == "two_leaders"
    # The one with the older term is the one to restart.
    assert "192.0.2.10" in str(cluster["problems"][0]["remedy"])


def test_a_leader_that_nobody_reached_is_believed_by_majority() -> None:
    cluster = report(answers() | {LEADER: unreachable()}, fleet())["cluster"]
    assert (cluster["leader_id"], cluster["verdict"]) == (LEADER, "degraded")


def test_a_leader_that_denies_it_does_not_lead() -> None:
    given = answers() | {LEADER: _says(LEADER, role="follower", leader_id=None, effective_leader_id=None)}
    verdict, kinds = _kinds(given)
    assert (verdict, kinds) == ("critical", ["no_leader"])


def test_one_nodes_own_word_is_not_enough() -> None:
    loner = {"role": "leader", "leader_id": VOTERS[0], "effective_leader_id": VOTERS[0]}
    given = answers() | {VOTERS[0]: _says(VOTERS[0], **loner), LEADER: unreachable()}
    assert report(given, fleet())["cluster"]["leader_id"] is None


def test_a_leader_that_is_no_voter() -> None:
    voters = [*[name for name in VOTERS if name != LEADER], OTHERS[0]]
    hosts = fleet().hosts
    given = {
        name: probe(name, etcd=None, http=answering(status(name, voter_node_ids=voters))) for name in hosts
    }
    assert _kinds(given, voters=voters) == ("degraded", ["leader_not_voter"])


def test_nodes_that_go_by_other_voters() -> None:
    old = [*VOTERS[:4], "runpod-h100"]
    cluster = report(answers() | {OTHERS[0]: _says(OTHERS[0], voter_node_ids=old)}, fleet())["cluster"]
    assert (cluster["verdict"], cluster["problems"][0]["kind"]) == ("degraded", "voters_differ")
    assert "+runpod-h100 -vultr-a100-20gb" in cluster["problems"][0]["evidence"]


def test_etcd_and_the_fleet_file_disagree_about_who_votes() -> None:
    members = store(VOTERS[0])["members"][:4]
    given = _with(VOTERS, lambda name: probe(name, etcd=store(name, members=members)))
    assert _kinds(given) == ("degraded", ["store_voters_differ"])


def test_stores_of_two_clusters() -> None:
    given = answers() | {VOTERS[0]: probe(VOTERS[0], etcd=store(VOTERS[0], cluster_id="78"))}
    assert "store_split" in _kinds(given)[1]


def test_alarms() -> None:
    alarm = ["memberID:1000 alarm:NOSPACE ", "etcdserver: no leader"]
    given = answers() | {VOTERS[0]: probe(VOTERS[0], etcd=store(VOTERS[0], alarms=alarm))}
    made = report(given, fleet())["cluster"]["problems"]
    assert [(item["kind"], item["evidence"]) for item in made] == [
        ("store_alarm", f"etcd on {VOTERS[0]} raised the alarm NOSPACE")
    ]
    assert made[0]["remedy"] == "ansible-playbook deploy.yml"


def test_versions_of_the_store_that_differ() -> None:
    given = {name: probe(name, etcd=store(name, version="3.5.16")) for name in VOTERS[1:]}
    given[VOTERS[0]] = probe(VOTERS[0], etcd=store(VOTERS[0], version="3.4.23"))
    made = report(answers() | given, fleet())["cluster"]["problems"]
    assert [item["kind"] for item in made] == ["store_versions_differ"]
    assert f"{VOTERS[0]}: 3.4.23" in made[0]["evidence"]


@pytest.mark.parametrize(
    ("days", "told"), [(5, "runs out in 5 days"), (-3, "ran out 3 days ago"), (40, None)]
)
def test_certificates_about_to_expire(days: int, told: str | None) -> None:
    certificates = [{"path": "/etc/ringrift/tls/node.crt", "not_after": NOW + days * 86400}]
    made = report(answers() | {OTHERS[0]: probe(OTHERS[0], certificates=certificates)}, fleet())["cluster"]
    assert [item["evidence"].split(" on ")[1] for item in made["problems"]] == (
        [f"{OTHERS[0]} {told}"] if told else []
    )


@pytest.mark.parametrize(("count", "more"), [(1, ""), (2, " (and 1 more)"), (490, " (and 489 more)")])
def test_a_nodes_certificates_are_one_problem(count: int, more: str) -> None:
    ended = [{"path": f"/etc/{at}.crt", "not_after": NOW - 86400 * (at + 1)} for at in range(count)]
    sound = {"path": "/etc/sound.crt", "not_after": NOW + 86400 * 300}
    made = report(answers() | {OTHERS[0]: probe(OTHERS[0], certificates=[sound, *ended])}, fleet())["cluster"]
    assert [item["evidence"] for item in made["problems"]] == [
        f"/etc/{count - 1}.crt on {OTHERS[0]} ran out {count} days ago{more}"
    ]


def test_an_even_number_of_voters() -> None:
    four = VOTERS[:4]
    given = {
        name: probe(name, etcd=None, http=answering(status(name, voter_node_ids=four)))
        for name in fleet().hosts
    }
    assert _kinds(given, voters=four) == ("degraded", ["even_voters"])


def test_a_limited_run_says_so_and_still_knows_the_cluster() -> None:
    hosts = {name: host for name, host in fleet().hosts.items() if name in OTHERS}
    cluster = report({name: probe(name) for name in OTHERS}, fleet(hosts=hosts, total=7))["cluster"]
    assert cluster["scope"] == {"asked": 2, "of": 7, "partial": True, "left_out": {}}
    assert cluster["verdict"] == "healthy"
    assert (cluster["leader_id"], cluster["voters"]["alive"]) == (LEADER, VOTERS)
    assert "only 2 of 7 were asked" in cluster["summary"]


def test_nobody_answers() -> None:
    given = {name: unreachable() for name in fleet().hosts}
    assert _kinds(given) == ("critical", ["no_quorum", "no_leader"])


def test_no_voters_at_all() -> None:
    assert "no_voters" in _kinds(answers(), voters=[])[1]
    made = report(answers(), fleet(voters=[]))
    assert "no voters" in made["cluster"]["summary"]
    assert "0 of 0" not in json.dumps(made)
    assert "names no voters" in markdown(made, fleet(voters=[]))
    assert "names no voters" in html(made)


def _original(sample: str) -> dict[str, Any]:
    """Return answers in which every voter speaks as the original program did in a contract sample."""
    body = json.loads((CONTRACT / sample).read_text())
    given = {}
    for name in ("voter-a", "voter-b", "voter-c"):
        mine = copy.deepcopy(body)
        others = {"voter-a", "voter-b", "voter-c"} - {name}
        mine["node_id"], mine["role"] = name, "leader" if name == body["leader_id"] else "follower"
        mine["peers"] = {other: {"is_alive": True} for other in sorted(others)}
        mine["voter_node_ids"] = ["voter-a", "voter-b", "voter-c"]
        given[name] = probe(name, etcd=None, http=answering(mine))
    return given


@pytest.mark.parametrize(
    ("sample", "verdict", "kinds"),
    [("status_leader.json", "healthy", []), ("status_noleader.json", "critical", ["no_leader"])],
)
def test_the_original_programs_answers(sample: str, verdict: str, kinds: list[str]) -> None:
    voters = ["voter-a", "voter-b", "voter-c"]
    assert json.loads((CONTRACT / sample).read_text())["voter_quorum_ok"] is True
    hosts = {name: Host(name=name, voter=True) for name in voters}
    assert _kinds(_original(sample), hosts=hosts, voters=voters, total=3) == (verdict, kinds)


def test_who_is_asked_again() -> None:
    assert election_under_way(answers(), fleet()) == []
    assert election_under_way(answers() | {OTHERS[0]: unreachable()}, fleet()) == []
    nobody = {"leader_id": None, "effective_leader_id": None, "role": "follower"}
    between = _with(VOTERS, lambda name: _says(name, **nobody)) | {OTHERS[0]: unreachable()}
    assert OTHERS[0] not in election_under_way(between, fleet())
    assert set(VOTERS) <= set(election_under_way(between, fleet()))
    late = answers() | {OTHERS[1]: _says(OTHERS[1], leader_id=VOTERS[0], effective_leader_id=VOTERS[0])}
    assert election_under_way(late, fleet()) == [OTHERS[1]]
    lost = {name: down(name) for name in VOTERS} | {name: _says(name, **nobody) for name in OTHERS}
    assert election_under_way(lost, fleet()) == []
