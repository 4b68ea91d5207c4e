"""Who reaches whom: what the voters tried of each other, and what follows for the gate and the plan."""

from __future__ import annotations

from collections.abc import Collection
from itertools import permutations
from typing import Any

import pytest
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.links import apart, ways
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.quorum import store_quorum

from filter_plugins.p2p_mesh import mesh_of
from filter_plugins.p2p_outcome import plan_text
from filter_plugins.p2p_quorum import gate
from filter_plugins.p2p_voters import change, may_leave
from tests.unit.deploy.conftest import VOTERS, Answer, dead, voter

SILENT = {"outcome": "blocked", "why": "no answer within 3 s", "listed": None}
OPEN = {"outcome": "open", "why": "", "listed": None}


def tried(one: str, *, shut: Collection[str] = (), others: Collection[str] = VOTERS) -> list[dict[str, Any]]:
    """Return what a voter tried of the others; `shut` are ways such as `ab`, from a to b."""
    fleet = {
        "hosts": dict.fromkeys(others, "192.0.2.1"),
        "peer_port": 2380,
        "heartbeat_port": 8771,
        "domain": "p2p.p2p",
        "tls": {},
    }
    return [
        {**target, **(SILENT if one + target["voter"] in shut and target["service"] == "etcd" else OPEN)}
        for target in mesh_of(one, fleet)["targets"]
    ]


def meshed(*shut: str) -> dict[str, Answer]:
    """Return five healthy voters, some ways between which are closed."""
    answers = {name: voter(name, reads=True) for name in VOTERS}
    for name, answer in answers.items():
        answer["probe"]["mesh"] = tried(name, shut=shut)
    return answers


def both(*pairs: str) -> list[str]:
    """Return both ways of pairs."""
    return [way for pair in pairs for way in (pair, pair[::-1])]


def test_every_port_of_the_others_is_tried() -> None:
    asked = tried("a", others="ab")
    assert [(item["voter"], item["port"], item["service"], item["name"]) for item in asked] == [
        ("b", 2380, "etcd", "b.p2p.p2p"),
        ("b", 8771, "heartbeat", "b.p2p.p2p"),
    ]


def test_one_open_way_serves_both() -> None:
    assert apart(meshed("ab")) == frozenset()
    assert apart(meshed(*both("ab"))) == {frozenset("ab")}
    # Where one end cannot be asked the other's word counts.
    assert apart({**meshed("ab"), "b": dead()}) == {frozenset("ab")}


def test_a_closed_heartbeat_port_keeps_no_member_apart() -> None:
    answers = meshed()
    for one, other in permutations(VOTERS, 2):
        for item in answers[one]["probe"]["mesh"]:
            if item["voter"] == other and item["service"] == "heartbeat":
                item.update(SILENT)
    assert apart(answers) == frozenset()


def listing(answers: dict[str, Answer], tellers: Collection[str], url: str) -> None:
    """Let the members of these voters list b at another address."""
    for name in tellers:
        told = answers[name]["probe"]["etcd"]
        told["members"] = [
            {**item, "peer_urls": [url] if item["name"] == "b" else ["https://192.0.2.1:2380"]}
            for item in told["members"]
        ]
    for item in answers["a"]["probe"]["mesh"]:
        if item["voter"] == "b" and item["service"] == "etcd":
            item["listed"] = {"outcome": "blocked", "why": "no answer within 2 s"}


def test_members_call_each_other_where_the_list_has_them() -> None:
    answers = meshed()
    listing(answers, VOTERS, "https://192.0.2.9:2380")
    (way,) = [way for way in ways(answers) if not way.open]
    assert (way.source, way.target) == ("a", "b")
    assert (way.place, way.why) == ("https://192.0.2.9:2380", "no answer within 2 s")


def test_where_a_member_is_listed_is_for_most_of_them_to_say() -> None:
    answers = meshed()
    listing(answers, VOTERS, "https://192.0.2.1:2380")
    listing(answers, "a", "https://192.0.2.9:2380")
    assert all(way.open for way in ways(answers))


def test_ipv6_is_told_in_brackets() -> None:
    answers = meshed()
    for item in answers["a"]["probe"]["mesh"]:
        item["host"] = "2001:db8::1"
    listing(answers, VOTERS, "https://[2001:db8::1]:2380")
    assert {way.place for way in ways(answers) if way.source == "a"} >= {"[2001:db8::1]:2380"}
    assert all(way.open for way in ways(answers))


def test_a_pair_is_apart_by_one_word_only_if_the_other_was_to_be_asked() -> None:
    answers = {name: answer for name, answer in meshed("ab").items() if name != "b"}
    assert apart(answers) == frozenset()


@pytest.mark.parametrize(
    ("shut", "tolerates", "counting"),
    [
        ((), 2, "abcde"),
        (["ae", "be", "ce", "de"], 2, "abcde"),
        (both("ab", "ac", "bc"), 1, "abcde"),
        # Who reaches one other alone may be one of those that follow it.
        (both("ea", "eb", "ec"), 1, "abcde"),
        (both("ea", "eb", "ec", "ed"), 1, "abcde"),
        # All follow the one in the middle.
        (both("ac", "ad", "ae", "cd", "ce", "de"), 0, "abcde"),
    ],
)
def test_the_mesh_limits_who_may_fail(shut: Collection[str], tolerates: int, counting: str) -> None:
    quorum = store_quorum(meshed(*shut))
    assert quorum["tolerates"] == tolerates
    assert "".join(quorum["counting"]) == counting


def test_a_store_that_confirms_reads_is_not_called_lost() -> None:
    every = [one + other for one, other in permutations(VOTERS, 2)]
    quorum = store_quorum(meshed(*every))
    assert (quorum["tolerates"], quorum["counting"]) == (0, list(VOTERS))
    assert store_quorum(meshed(*both(*(one + other for one in "cde" for other in VOTERS if one != other))))[
        "counting"
    ] == list(VOTERS)


def test_members_that_do_not_count_hold_nothing() -> None:
    full = {name: voter(name, reads=True, alarms=["memberID:1 alarm:NOSPACE "]) for name in VOTERS}
    assert store_quorum(full)["tolerates"] == -3


def test_who_claims_anothers_id_frees_nothing() -> None:
    ids = {**{name: str(number) for number, name in enumerate("abcdL", 1)}, "old": "6"}
    listed = [
        {"id": number, "name": name, "learner": False, "peer_urls": [], "client_urls": ["x"]}
        for name, number in ids.items()
    ]
    answers = {name: voter(name, member_id=ids[name], members=listed, leader="1") for name in "abcL"}
    answers["d"] = voter("d", member_id=ids["d"], members=listed, leader=None)
    answers["L"]["probe"]["etcd"]["member_id"] = "6"
    for name in "abcL":
        verdict = gate(answers, name, ["p2p-etcd"], etcd_service="p2p-etcd")
        assert not verdict["allowed"], name


def test_of_a_star_each_ray_may_stop() -> None:
    answers = meshed(*both("ac", "ad", "ae", "cd", "ce", "de"))
    allowed = {name: gate(answers, name, ["p2p-etcd"], etcd_service="p2p-etcd")["allowed"] for name in VOTERS}
    assert allowed == {"a": True, "b": False, "c": True, "d": True, "e": True}


def test_the_gate_keeps_the_voter_that_the_others_need() -> None:
    # a, b and c moved: with e gone only d stands between them.
    answers = {**meshed(*both("ab", "ac", "bc")), "e": dead()}
    services = {"services": ["p2p-etcd"], "etcd_service": "p2p-etcd"}
    refused = gate(answers, "d", **services)  # type: ignore[arg-type]  # a list and a text
    assert not refused["allowed"]
    assert "a and b (they exchange no messages)" in refused["reason"]
    assert gate(answers, "a", **services)["allowed"]  # type: ignore[arg-type]  # as above


def test_no_voter_leaves_that_the_others_need() -> None:
    answers = {**meshed(*both("ab", "ac", "bc")), "e": dead()}
    quorum = store_quorum(answers)
    orchestrators = {"tolerates": 0, "counting": [], "members": [], "quorum": 0, "down": {}}
    refused = may_leave(quorum, "d", orchestrators)
    assert not refused["allowed"]
    assert "a and b (they exchange no messages)" in refused["reason"]
    urls = {name: f"https://{name}:2380" for name in VOTERS}
    told = change(answers, ["a", "b", "c"], quorum, urls, etcd_service="p2p-etcd")
    assert "b and c (they exchange no messages)" in told["refused"]


def test_the_plan_tells_who_exchanges_no_messages() -> None:
    quorum = store_quorum(meshed(*both("ab")))
    lists = ("unchanged", "bootstrap", "canary", "voters_at_once", "voters_one_by_one", "batches", "warnings")
    plan = {"quorum": quorum, "stops": {}, "refused": {}, "unreachable": {}, **dict.fromkeys(lists, ())}
    assert "  a and b exchange no messages" in plan_text({**plan, "others": []})
