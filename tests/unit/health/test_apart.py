"""Voters that do not get through to each other: what the report says of it, and how many may fail."""

from __future__ import annotations

import copy
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from roles.p2p_health.report.build import report
from roles.p2p_health.report.html import html
from roles.p2p_health.report.model import Report
from roles.p2p_health.report.terminal import table
from roles.p2p_health.report.write import write
from tests.unit.health.fleet_of_five import (
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

A, B, C, D, E = VOTERS
PORTS = {"etcd": 2380, "heartbeat": 8771}
Shut = Collection[tuple[str, str]]


def meshed(shut: Shut, *, service: str = "etcd", outcome: str = "blocked", why: str = "") -> dict[str, Any]:
    """Return the healthy fleet, in which some ways from voter to voter are closed."""
    found = answers()
    for one in VOTERS:
        found[one]["probe"]["mesh"] = [
            {
                "voter": other,
                "host": fleet().hosts[other].address,
                "port": port,
                "service": name,
                "outcome": outcome if name == service and (one, other) in shut else "open",
                "why": (why or "no answer within 3 s") if name == service and (one, other) in shut else "",
                "listed": None,
            }
            for other in VOTERS
            if other != one
            for name, port in PORTS.items()
        ]
    return found


def told(given: dict[str, Any]) -> Report:
    return report(given, fleet())


def into(target: str) -> list[tuple[str, str]]:
    return [(name, target) for name in VOTERS if name != target]


def out_of(source: str) -> list[tuple[str, str]]:
    return [(source, name) for name in VOTERS if name != source]


def test_open_ways_are_no_matter() -> None:
    made = told(meshed([]))
    assert made["cluster"]["verdict"] == "healthy"
    assert {way["outcome"] for way in made["cluster"]["mesh"]} == {"open"}
    assert "Who reaches whom" not in html(made)


def test_a_port_closed_to_what_comes_in_degrades_and_takes_nothing() -> None:
    cluster = told(meshed(into(E)))["cluster"]
    assert cluster["verdict"] == "degraded"
    assert cluster["voters"]["tolerates"] == 2
    (problem,) = cluster["problems"]
    assert problem["kind"] == "voters_apart"
    assert problem["evidence"] == (
        f"{E}: {A}, {B}, {C}, {D} cannot reach its etcd at 192.0.2.14:2380 (no answer within 3 s)"
    )
    assert problem["remedy"] is not None
    assert problem["remedy"].startswith("ssh root@192.0.2.14 ")
    shut = [(way["source"], way["target"]) for way in cluster["mesh"] if way["outcome"] != "open"]
    assert shut == into(E)


def test_a_voter_that_is_cut_off_by_the_others_counts_no_more() -> None:
    cluster = told(meshed([*into(E), *out_of(E)]))["cluster"]
    assert cluster["voters"]["tolerates"] == 1
    assert cluster["voters"]["limited_by"] == "the ways between the voters"
    assert (
        "quorum (5 of 5 voters, tolerates 1: the ways between the voters allow no more)" in cluster["summary"]
    )
    (problem,) = cluster["problems"]
    assert f"{E} cannot reach the etcd of {A} at 192.0.2.10:2380, {B} at" in problem["evidence"]


def test_moved_voters_that_need_each_other_are_counted() -> None:
    moved = [(one, other) for one in (A, B, C) for other in (A, B, C) if one != other]
    assert told(meshed(moved))["cluster"]["voters"]["tolerates"] == 1
    # One of the two that did not move fails: the other one is needed.
    found = {**meshed(moved), E: unreachable()}
    for name in VOTERS[:4]:
        for peer in found[name]["probe"]["http"]["status"]["body"]["peers"]:
            peer["alive"] = peer["name"] != E
    voters = told(found)["cluster"]["voters"]
    assert (voters["quorum_ok"], voters["tolerates"]) == (True, 0)


def test_a_closed_heartbeat_port_is_told_and_keeps_no_leader_from_leading() -> None:
    cluster = told(meshed(into(E), service="heartbeat"))["cluster"]
    assert cluster["verdict"] == "degraded"
    assert cluster["voters"]["tolerates"] == 2
    assert "its heartbeats' port at 192.0.2.14:8771" in cluster["problems"][0]["evidence"]


def test_what_is_stopped_is_no_closed_way() -> None:
    found = meshed(into(E), outcome="refused", why="nobody listens there")
    found[E]["probe"]["etcd"] = {"error": "[Errno 111] Connection refused", "has_data": True}
    cluster = told(found)["cluster"]
    assert [item["kind"] for item in cluster["problems"]] == []
    assert cluster["voters"]["tolerates"] == 1
    assert cluster["voters"]["limited_by"] == "etcd's members"


def test_a_voter_that_ssh_does_not_reach_counts_as_the_others_hear_it() -> None:
    voters = told({**meshed([]), E: unreachable()})["cluster"]["voters"]
    assert (voters["tolerates"], voters["limited_by"]) == (2, None)
    voters = told({**meshed(into(E)), E: unreachable()})["cluster"]["voters"]
    assert (voters["tolerates"], voters["limited_by"]) == (1, "the ways between the voters")


def test_an_end_that_is_not_believed_is_deployed_to() -> None:
    found = meshed(into(E), outcome="untrusted", why="its certificate is not believed: it has expired")
    (problem,) = told(found)["cluster"]["problems"]
    assert problem["remedy"] == f"ansible-playbook deploy.yml --limit {','.join(sorted(VOTERS))}"


def listed_elsewhere() -> dict[str, Any]:
    """Return the healthy fleet, in which the store lists one voter at another address."""
    found = meshed([])
    for name in VOTERS:
        for member in found[name]["probe"]["etcd"]["members"]:
            host = "192.0.2.99" if member["name"] == E else fleet().hosts[member["name"]].address
            member |= {"peer_urls": [f"https://{host}:2380"], "client_urls": ["https://127.0.0.1:2379"]}
    return found


def test_a_voter_that_the_store_lists_elsewhere_is_deployed_to() -> None:
    (problem,) = told(listed_elsewhere())["cluster"]["problems"]
    assert problem == {
        "kind": "voter_moved",
        "severity": "degraded",
        "evidence": (
            f"the store lists {E} at 192.0.2.99:2380, and the fleet file has it at 192.0.2.14:2380."
            " Correct the file, or have the list say what it says"
        ),
        "remedy": "ansible-playbook deploy.yml",
    }


def test_one_voter_that_tells_another_address_of_others_is_not_believed() -> None:
    found = listed_elsewhere()
    for name in VOTERS[1:]:
        found[name]["probe"]["etcd"]["members"] = found[A]["probe"]["etcd"]["members"]
    liar = copy.deepcopy(found[A]["probe"]["etcd"]["members"])
    for url, member in zip(["https://[:1", "https://a:99999", "x", "https://", ""], liar, strict=True):
        member["peer_urls"] = [url]
    found[B]["probe"]["etcd"] |= {"members": liar, "raft_index": 10**15}
    (problem,) = told(found)["cluster"]["problems"]
    assert problem["evidence"].startswith(f"the store lists {E} at 192.0.2.99:2380")
    assert A not in problem["evidence"]


def test_a_closed_way_to_where_the_store_lists_a_voter_is_told_with_it() -> None:
    found = listed_elsewhere()
    way = next(item for item in found[A]["probe"]["mesh"] if item["voter"] == E and item["service"] == "etcd")
    way["listed"] = {"outcome": "blocked", "why": "no route to host"}
    closed, moved = told(found)["cluster"]["problems"]
    assert closed["evidence"] == (
        f"{A} cannot reach the etcd of {E} at https://192.0.2.99:2380 (no route to host)"
    )
    assert closed["remedy"] == "ansible-playbook deploy.yml"
    assert moved["kind"] == "voter_moved"


def test_a_voter_that_knows_its_own_certificate_to_be_broken_is_deployed_to_alone() -> None:
    why = "this voter's own certificate is of no use: [SSL] PEM lib"
    (problem,) = told(meshed(out_of(E), outcome="untrusted", why=why))["cluster"]["problems"]
    assert problem["remedy"] == f"ansible-playbook deploy.yml --limit {E}"


def test_nobody_is_told_to_log_in_where_nobody_can() -> None:
    (problem,) = told({**meshed(into(E)), E: unreachable()})["cluster"]["problems"]
    assert problem["remedy"] is None


def test_a_member_that_only_names_a_leader_is_isolated() -> None:
    found = answers() | {E: probe(E, etcd=store(E, reads=False))}
    made = told(found)
    (node,) = [node for node in made["nodes"] if node["state"] != "ok"]
    assert (node["node_id"], node["state"]) == (E, "isolated")
    assert "no majority confirms it" in node["evidence"]
    assert made["cluster"]["voters"]["tolerates"] == 1


def test_without_a_confirmed_read_there_is_no_quorum() -> None:
    found = answers() | {name: probe(name, etcd=store(name, reads=False)) for name in VOTERS}
    cluster = told(found)["cluster"]
    assert cluster["verdict"] == "critical"
    assert not cluster["voters"]["quorum_ok"]


@pytest.mark.parametrize("part", ["terminal", "markdown", "page"])
def test_the_closed_ways_are_shown(part: str, tmp_path: Path) -> None:
    made = told(meshed([(A, E)]))
    write(made, fleet(), tmp_path, 0)
    if part == "terminal":
        assert f"closed: {A} → {E} at 192.0.2.14:2380 (etcd): no answer within 3 s" in table(made)
    elif part == "markdown":
        text = (tmp_path / "health.md").read_text()
        assert "### Ways That Are Closed" in text
        assert "192.0.2.14:2380" in text
    else:
        page = html(made)
        assert (page.count('class="open"'), page.count('class="shut"')) == (19, 1)
        # Who was not asked, or is stopped, has no open way.
        silent = {"error": "[Errno 111] Connection refused", "has_data": True}
        stopped = html(told({**meshed([(A, B)]), E: down(E, etcd=silent)}))
        assert (stopped.count('class="open"'), stopped.count('class="shut"')) == (11, 1)


def test_one_voters_word_makes_nobody_elses_end_the_broken_one() -> None:
    (problem,) = told(meshed([(E, A)]))["cluster"]["problems"]
    assert problem["evidence"].startswith(f"{E} cannot reach the etcd of {A} at 192.0.2.10:2380")
    assert problem["remedy"] is not None
    assert problem["remedy"].startswith("ssh root@192.0.2.14 ")


def test_who_does_not_know_yet_that_it_votes_takes_no_heartbeats() -> None:
    found = meshed(into(E), service="heartbeat", outcome="refused", why="nobody listens there")
    found[E]["probe"]["http"] = answering(status(E, voter_node_ids=VOTERS[:4]))
    assert [item["kind"] for item in told(found)["cluster"]["problems"]] == ["voters_differ"]


def test_a_part_of_the_fleet_is_no_reason_to_count_less() -> None:
    found = meshed([(A, C), (A, D), (A, E)])
    asked = {A: found[A]}
    hosts = {name: host for name, host in fleet().hosts.items() if name in asked}
    part = report(asked, fleet(hosts=hosts, total=7))["cluster"]["voters"]
    assert (part["tolerates"], part["limited_by"]) == (2, None)
