"""A member gives its name itself: one that takes another's is known by the id that the store gave it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.leaving import still_voting, why_not_denied
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.quorum import store_quorum
from hypothesis import given
from hypothesis import strategies as st

from filter_plugins.p2p_quorum import gate
from filter_plugins.p2p_store import contradicting, seen
from filter_plugins.p2p_voters import Change, change, is_in, is_out, why_not_alone
from tests.unit.deploy.conftest import blank, voter

Answers = dict[str, dict[str, Any]]
URLS = {name: f"https://{name}:2380" for name in "abcd"}
FILE = ("a", "b", "d")
TWICE = "the store's list does not tell who its members are"
# The order of the list is that of the ids: which of two entries is the later one differs.
FIRST, LAST = {"a": "1", "b": "2", "c": "0"}, {"a": "1", "b": "2", "c": "3"}
ORDERS = pytest.mark.parametrize("ids", [FIRST, LAST], ids=["first", "last"])


def memory(ids: dict[str, str]) -> dict[str, Any]:
    """Return what the controller remembers."""
    return {"file": "store/p2p.json", "cluster_id": "77", "members": dict(ids), "epoch": 0}


NOTHING = {**memory({}), "cluster_id": ""}


def listed(ids: dict[str, str], calls: str | None, started: bool = True) -> list[dict[str, Any]]:
    """Return the list in which `c` calls itself so, or is out."""
    found: list[dict[str, Any]] = [
        {
            "id": number,
            "name": calls if name == "c" else name,
            "learner": False,
            "peer_urls": [URLS[name]],
            "client_urls": ["https://127.0.0.1:2379"] if started else [],
        }
        for name, number in ids.items()
        if name != "c" or calls is not None
    ]
    return sorted(found, key=lambda item: str(item["id"]))


def asked(ids: dict[str, str], calls: str | None, *, names: str = "ab") -> Answers:
    """Return what these voters answer; `c` is destroyed by the file, and nobody asks it."""
    more: dict[str, Any] = {"version": "3.4.23", "members": listed(ids, calls)}
    return {name: voter(name, member_id=ids[name], leader="1", **more) for name in names}


def find(answers: Answers, known: dict[str, Any], voters: tuple[str, ...] = FILE, shut: str = "c") -> Change:
    """Return the change to these voters."""
    urls = {name: URLS[name] for name in voters}
    quorum = store_quorum(answers, voters, known)
    more: dict[str, Any] = {"known": known, "shut_out": list(shut)}
    return change(answers, voters, quorum, urls, etcd_service="p2p-etcd", **more)


def denied(answers: Answers, known: dict[str, Any], dropped: Any = (), name: str = "c") -> str:
    """Return why the certificates of a node are not denied."""
    voting = still_voting([name], answers, voters=FILE, answers={}, known=known, dropped=dropped)
    return why_not_denied(voting)


@ORDERS
@pytest.mark.parametrize("calls", ["b", "a", "d", "z", ""])
def test_who_is_shut_out_goes_by_its_id_whatever_it_calls_itself(ids: dict[str, str], calls: str) -> None:
    answers = {**asked(ids, calls), "d": blank()}
    found = find(answers, memory(ids))
    assert [(item["name"], item["id"]) for item in found["drop"]] == [("c", ids["c"])]
    assert (found["joiners"], found["leavers"], found["refused"]) == (["d"], [], "")
    assert denied(answers, memory(ids), found["drop"]) == ""
    # One that does not remove it denies nothing.
    assert "etcd counts it among its members" in denied(answers, memory(ids))


@ORDERS
@pytest.mark.parametrize("calls", ["b", ""])
def test_without_a_memory_a_list_that_does_not_tell_is_refused(ids: dict[str, str], calls: str) -> None:
    answers = {**asked(ids, calls), "d": blank()}
    for known in (NOTHING, {}):
        refused = find(answers, known)["refused"]
        assert refused.startswith(TWICE)
        assert f"{ids['c']} (hex {ids['c']})" in refused
        assert TWICE in denied(answers, known)
        # Anybody may be the one without a name.
        assert TWICE in denied(answers, known, name="x")
    assert TWICE in find(answers, memory({"a": "1", "b": "2"}))["refused"]


@ORDERS
def test_no_honest_voter_is_blamed(ids: dict[str, str]) -> None:
    for known in (NOTHING, memory(ids)):
        assert contradicting(asked(ids, "b"), ("a", "b", "c"), known) == {}
        quorum = store_quorum(asked(ids, "b"), ("a", "b", "c"), known)
        assert quorum["counting"] == ["a", "b"]
        assert list(quorum["down"]) == ["c" if known["members"] else ids["c"]]


def test_a_member_that_never_started_has_no_name_yet() -> None:
    answers = asked(LAST, "c")
    for answer in answers.values():
        answer["probe"]["etcd"]["members"] = [*listed(LAST, "c"), *listed({"c": "9"}, "", started=False)]
    assert TWICE not in find(answers, NOTHING, shut="")["refused"]


@ORDERS
def test_the_gate_needs_a_list_that_tells(ids: dict[str, str]) -> None:
    answers = asked(ids, "b", names="abc")
    verdict = gate(answers, "a", ["p2p-etcd"], etcd_service="p2p-etcd")
    assert (verdict["allowed"], verdict["settled"]) == (False, False)
    assert gate(answers, "c", ["p2p-etcd"], etcd_service="p2p-etcd")["reason"].startswith(TWICE)
    known = gate(answers, "c", ["p2p-etcd"], etcd_service="p2p-etcd", known=memory(ids))
    assert TWICE not in known["reason"]


@ORDERS
@pytest.mark.parametrize("calls", ["b", "z", "", "d"])
def test_the_memory_keeps_its_names(ids: dict[str, str], calls: str) -> None:
    for known, kept in ((memory(ids), ids), (NOTHING, ids | {"c": ""})):
        hostvars = {"a": {"p2p_plan": {"store": known}, "p2p_health_nodes": {"nodes": asked(ids, calls)}}}
        found = seen(hostvars, ("a", "b", "c"))["members"]
        assert found in (kept, {}) or calls in ("z", "d")
        assert found == kept or known is NOTHING


@ORDERS
@pytest.mark.parametrize("calls", ["b", "d", "z", ""])
def test_a_removed_member_is_not_out_under_another_name(ids: dict[str, str], calls: str) -> None:
    more: dict[str, Any] = {"known": memory(ids), "number": ids["c"]}
    assert not is_out(asked(ids, calls), "c", "abc", **more)["allowed"]
    assert not is_out(asked(ids, calls), "c", "abc", number=ids["c"])["allowed"]
    assert is_out(asked(ids, None), "c", "abc", **more)["allowed"]


@ORDERS
@pytest.mark.parametrize("calls", ["b", "d", "z", ""])
def test_nobody_is_alone_with_a_renamed_member(ids: dict[str, str], calls: str) -> None:
    joined = ids | {"d": "8"}
    answers = asked(joined, calls, names="abd")
    assert "the store still has the members" in why_not_alone(answers, FILE, memory(ids))
    assert why_not_alone(answers, FILE, NOTHING)
    assert why_not_alone(asked(joined, None, names="abd"), FILE, memory(ids)) == ""


@ORDERS
def test_a_voter_joins_beside_a_renamed_member_that_is_known(ids: dict[str, str]) -> None:
    joined = ids | {"d": "8"}
    answers = asked(joined, "b", names="abd")
    assert is_in(answers, "d", URLS["d"], "abc", voting=True, known=memory(ids))["allowed"]
    assert TWICE in is_in(answers, "d", URLS["d"], "abc", voting=True)["reason"]


def test_a_node_that_was_renamed_has_its_new_name() -> None:
    """Its own member says that it is this one, and nobody of the old name does."""
    answers = asked(LAST, "d")
    answers["d"] = voter("d", member_id="3", leader="1", version="3.4.23", members=listed(LAST, "d"))
    found = find(answers, memory(LAST), shut="")
    assert (found["drop"], found["joiners"], found["leavers"], found["refused"]) == ([], [], [], "")
    assert why_not_alone(answers, FILE, {**memory(LAST), "members": {"a": "1", "b": "2"}}) == ""


def test_a_voter_that_leaves_is_removed_by_its_id() -> None:
    answers = {**asked(LAST, "c", names="abc"), "d": blank()}
    found = find(answers, memory(LAST), shut="")
    assert (found["leavers"], found["ids"]) == (["c"], {"c": "3"})


@given(
    st.sampled_from(["a", "b", "c", "d", "z", ""]),
    st.sampled_from(["0", "3"]),
    st.booleans(),
    st.booleans(),
)
def test_no_name_lets_a_member_be_denied_that_stays(
    calls: str, number: str, remembers: bool, asks: bool
) -> None:
    ids = {"a": "1", "b": "2", "c": number}
    answers = {**asked(ids, calls, names="abc" if asks else "ab"), "d": blank()}
    known = memory(ids) if remembers else NOTHING
    found = find(answers, known)
    out = number in {item["id"] for item in found["drop"]}
    assert out or found["refused"] or denied(answers, known, found["drop"])
