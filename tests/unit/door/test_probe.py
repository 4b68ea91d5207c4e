"""The door for a probe: what fits goes on as it is, anything else goes no further."""

from __future__ import annotations

import copy
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.p2p.cluster.plugins.plugin_utils.door import read
from ansible_collections.p2p.cluster.plugins.plugin_utils.door.read import UntrustedError
from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.quorum import orchestrator_quorum, store_quorum
from hypothesis import given
from hypothesis import strategies as st

from filter_plugins.p2p_plan import why_split
from module_utils.p2p_local_http import trimmed_status
from tests.bench.scale.simulated import RECORDED

CONTRACT = Path(__file__).parents[1] / "orchestrator" / "contract"
OPTIONS: dict[str, Any] = {
    "service": "p2p_orchestrator",
    "etcd_service": "p2p-etcd",
    "legacy_services": ["ringrift-p2p"],
    "digests": ["~/tls/ca.crt"],
    "imports": ["aiohttp"],
    "reach": [{"voter": "v1", "host": "192.0.2.1", "port": 8770, "service": "orchestrator"}],
    "voter": True,
    "etcd": {"endpoint": "https://127.0.0.1:2379"},
    "log_lines": 12,
}


def recorded() -> dict[str, Any]:
    """Return what a healthy voter's probe answered."""
    answer: dict[str, Any] = json.loads((RECORDED / "voter.json").read_text())["probe"]
    return answer


def places(value: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every value in a document."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def put(document: dict[str, Any], path: tuple[Any, ...], value: object) -> object:
    """Return a copy of a document with a value in a place of it."""
    if not path:
        return value
    changed = copy.deepcopy(document)
    inner: Any = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return changed


def leaves(value: object) -> Iterator[object]:
    """Yield all texts and numbers of a document, those of keys too."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item)
    else:
        yield value


def test_an_answer_that_fits_says_the_same_behind_the_door() -> None:
    raw = recorded()
    found = read.probe(raw, OPTIONS)
    for key in ("clock", "disk", "drift", "memory", "processes", "release", "user", "digests", "errors"):
        assert found[key] == raw[key]
    assert raw["etcd"].items() <= found["etcd"].items()
    body = found["http"]["status"]["body"]
    assert body["leader_id"] == raw["http"]["status"]["body"]["leader_id"]
    assert [peer["name"] for peer in body["peers"]] == [
        peer["name"] for peer in raw["http"]["status"]["body"]["peers"]
    ]
    assert "settings_sha256" not in body  # a release that does not tell is believed


def test_a_node_that_was_not_asked_about_the_store_says_nothing_of_it() -> None:
    for options in (OPTIONS | {"etcd": None}, {key: OPTIONS[key] for key in OPTIONS if key != "etcd"}):
        assert read.probe(recorded(), options)["etcd"] is None


@pytest.mark.parametrize("sample", ["leader", "noleader"])
def test_the_original_programs_answers_fit(sample: str) -> None:
    raw = recorded()
    for page in ("status", "health"):
        body = json.loads((CONTRACT / f"{page}_{sample}.json").read_text())
        raw["http"][page]["body"] = trimmed_status(body)
    found = read.probe(raw, OPTIONS)["http"]
    assert found["status"]["body"]["role"]
    assert found["status"]["body"]["peers"]
    assert found["health"]["body"]["uptime_seconds"] > 100


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        (("services", "p2p_orchestrator", "restarts"), "x", "restarts: Expected `int`, got `str`"),
        (("clock",), "x", "probe.clock: Expected `object | null`, got `str`"),
        (("clock", "unix"), math.nan, "unix: a number that is not finite"),
        (("clock", "unix"), 10**400, "unix: a number of"),
        (("http", "status", "body", "leader_id"), [], "leader_id: Expected `str | null`, got `array`"),
        (("http", "status", "body", "term"), True, "term: Expected `int | null`, got `bool`"),
        (("digests", "/etc/tls/ca.crt"), "not a digest", "probe.digests"),
        (("platform", "libc"), "glibc 2.2000000", "probe.platform.libc"),
        (("release", "name"), "../../etc", "probe.release.name"),
        (("etcd", "members", 0, "name"), ["x"], "probe.etcd.members[0].name"),
        (("listener", "pid"), "1'; touch /tmp/x; : '", "probe.listener.pid"),
        (("drift",), [{"part": "anything", "name": "n", "why": "w"}], "probe.drift[0].part"),
        (("schema",), 2, "probe.schema"),
    ],
)
def test_what_does_not_fit_is_named(path: tuple[Any, ...], value: object, where: str) -> None:
    with pytest.raises(UntrustedError, match=r".") as told:
        read.probe(put(recorded(), path, value), OPTIONS)
    assert where in str(told.value)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("services", "p2p_orchestrator", "sub"), ""),
        (("services", "p2p_orchestrator", "exit_status"), -15),
        (("services", "p2p_orchestrator", "result"), "not running"),
        (("services", "p2p_orchestrator", "result"), "supervisord (process 7) does not answer: timed out"),
        (("http", "status", "body", "leader_id"), ""),
        (("etcd", "members", 0, "name"), ""),
        (("platform", "libc"), "musl"),
        (("platform", "libc"), "glibc 2.38.9000"),
        (("disk", "used_percent"), -1.5),
        (("clock", "unix"), 5),
        (("release",), None),
        (("memory", "load"), None),
        (("listener",), None),
    ],
)
def test_what_a_node_may_well_say_fits(path: tuple[Any, ...], value: object) -> None:
    found: Any = read.probe(put(recorded(), path, value), OPTIONS)
    for key in path:
        found = found[key]
    assert found == value


STATUS, MEMBER = ("http", "status", "body"), ("etcd", "members", 0)
VOTER = {"name": "v9", "alive": True}


@pytest.mark.parametrize(
    ("path", "value", "left"),
    [
        ((*STATUS, "leader_id"), "no such name", None),
        ((*STATUS, "effective_leader_id"), "<b>", None),
        ((*STATUS, "term"), 1 << 60, None),
        ((*STATUS, "term"), 10**400, None),
        ((*STATUS, "seconds_since_quorum"), 1e300, None),
        ((*STATUS, "seconds_since_quorum"), -1.0, None),
        ((*STATUS, "alive_peers"), 10**9, None),
        ((*STATUS, "voters_alive"), -1, None),
        ((*STATUS, "voter_node_ids"), ["v9", "$(x)"], ["v9"]),
        ((*STATUS, "peers"), [{"name": "a b", "alive": True}, VOTER], [VOTER]),
        (("http", "health", "body", "leader_id"), "no such name", None),
        ((*MEMBER, "name"), "x,y=http://z", ""),
        ((*MEMBER, "client_urls"), ["http://a b", "http://v9:2379"], ["http://v9:2379"]),
        ((*MEMBER, "peer_urls"), ["unix://x"] * 1000, []),
    ],
)
def test_a_lie_that_a_node_repeats_is_as_unsaid(path: tuple[Any, ...], value: object, left: object) -> None:
    found: Any = read.probe(put(recorded(), path, value), OPTIONS)
    for key in path:
        found = found[key]
    assert found == left


def test_a_node_speaks_of_what_it_was_asked_for_and_of_nothing_else() -> None:
    raw = recorded()
    raw["services"]["somebody-elses"] = raw["services"]["p2p_orchestrator"]
    raw["digests"]["/etc/shadow"] = "0" * 64
    raw["services"]["p2p_orchestrator"]["log"] = [str(number) for number in range(500)]
    raw["imports_missing"] = ["aiohttp", "os"]
    raw["add_host"] = {"host_name": "v1"}
    raw["voter"] = False
    raw["reach"] = [{"outcome": "open", "why": "", "voter": "another", "host": "evil.example", "port": 1}]
    found = read.probe(raw, OPTIONS)
    assert "somebody-elses" not in found["services"]
    assert "/etc/shadow" not in found["digests"]
    assert found["services"]["p2p_orchestrator"]["log"] == [str(number) for number in range(488, 500)]
    assert found["imports_missing"] == ["aiohttp"]
    assert found["voter"] is True
    assert "add_host" not in found
    assert found["reach"] == [OPTIONS["reach"][0] | {"outcome": "open", "why": ""}]


def test_what_listens_and_is_no_orchestrator_says_nothing() -> None:
    raw = recorded()
    raw["listener"] = {"pid": 7, "name": "nginx", "cmdline": "nginx", "owner": "root", "orchestrator": False}
    found = read.probe(raw, OPTIONS)["http"]
    assert found["status"]["body"] is None
    assert found["status"]["status"] is None
    assert "no orchestrator" in found["status"]["error"]
    # Where another user's process may not be looked into, nobody knows whose it is.
    raw["listener"] |= {"pid": None, "name": None, "cmdline": None}
    assert read.probe(raw, OPTIONS)["http"]["status"]["body"]["role"]


@pytest.mark.parametrize("body", [None, [], "<html>", 7])
def test_a_page_without_a_document_is_no_answer(body: object) -> None:
    raw = recorded()
    raw["http"]["status"]["body"] = body
    found = read.probe(raw, OPTIONS)
    assert found["http"]["status"]["status"] is None
    # So no filter looks into a document that is not there.
    answers = {"v1": {"changed": False, "probe": found}}
    assert orchestrator_quorum(answers)["counting"] == []
    assert why_split(["v1"], store_quorum({}), answers, answers, accept_outage=False) == ""


def test_texts_come_without_control_characters_and_with_an_end() -> None:
    raw = recorded()
    raw["services"]["p2p_orchestrator"]["log"] = ["\x1b]8;;http://x\x07a\nb\u202ec\x00", "y" * 100_000]
    found = read.probe(raw, OPTIONS)["services"]["p2p_orchestrator"]["log"]
    assert found[0] == "]8;;http://xa bc"
    assert len(found[1]) == 2001


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=10**399, max_value=10**401)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["\x1b[2J", "{{ 1 }}", "<script>", "$(id)", "../..", "\ud800", "a" * 5000]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
RAW = recorded()


@given(st.sampled_from(list(places(RAW))), json_values)
def test_whatever_stands_wherever_goes_on_clean_or_not_at_all(path: tuple[Any, ...], value: object) -> None:
    try:
        found = read.probe(put(RAW, path, value), OPTIONS | {"reach": []})
    except UntrustedError as error:
        assert len(str(error)) < 5000
        return
    for leaf in leaves(found):
        assert not isinstance(leaf, str) or leaf.isprintable()
        assert not isinstance(leaf, float) or math.isfinite(leaf)
        assert not isinstance(leaf, int) or abs(leaf) < 2**64
    # What went through goes through again, unchanged.
    assert read.probe(found, OPTIONS | {"reach": []}) == found


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '["\\ud800"' + "[" * 100_000, '{"a": NaN}', '{"a": 1e999}', "", "{} {}"]
)
def test_a_text_that_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(UntrustedError, match="no JSON"):
        read.decoded(text)


def test_a_name_that_is_no_utf_8_is_no_reason_to_disbelieve_a_node() -> None:
    raw = put(recorded(), ("services", "p2p_orchestrator", "cwd"), os.fsdecode(b"/srv/caf\xe9"))
    found = read.probe(read.decoded(json.dumps(raw)), OPTIONS)
    assert found["services"]["p2p_orchestrator"]["cwd"] == "/srv/caf"


def test_a_value_without_end_is_refused() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(UntrustedError, match="nested"):
        read.probe(put(RAW, ("errors",), {"a": deep}), OPTIONS)


def test_the_address_that_a_member_gives_itself_costs_no_other_its_word() -> None:
    raw = recorded()
    raw["etcd"]["members"][0]["peer_urls"] = ["https://x@192.0.2.9:2380"]
    tried = {"outcome": "blocked", "why": "no answer within 2 s"}
    raw["mesh"] = [{"outcome": "open", "why": "", "listed": {**tried, "url": "https://x@192.0.2.9:2380"}}]
    target = {"voter": "v1", "host": "192.0.2.1", "port": 2380, "service": "etcd", "name": "v1.p2p.p2p"}
    found = read.probe(raw, {**OPTIONS, "mesh": {"targets": [target], "tls": {}}})
    assert found["mesh"] == [{**target, "outcome": "open", "why": "", "listed": tried}]
    assert found["etcd"]["members"][0]["peer_urls"] == []
