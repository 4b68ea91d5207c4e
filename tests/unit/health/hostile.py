"""A fleet whose nodes say what they like, and a report that holds it in every place."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from roles.p2p_health.report.build import report
from roles.p2p_health.report.history import compare
from roles.p2p_health.report.model import Host, Report
from tests.unit.health.fleet_of_five import (
    NOW,
    OTHERS,
    VOTERS,
    answering,
    down,
    fleet,
    probe,
    status,
    store,
    unit,
)

_PIECES = [
    *"'\"`$&;|<>()[]{}*?!#~\\ \n\t\r\x00\x1b\x9b\u202e\u2028\ud800=-_@:/.,%ax7é",
    *("'; touch made; : '", "$(touch made)", "`touch made`", "> made", "\\\n", "--", "-oProxyCommand=x"),
    *("<script>window.obeyed = 1</script>", "<img src=x onerror='window.obeyed = 1'>", "' onclick='x"),
    *("](http://evil.example)", "![x](http://evil.example/x.png)", "<http://e.example>", "www.evil.example"),
    *("```\n# title", "| a | b |", "\x1b]0;t\x07", "\x1b[2J", "</style>", "</code>", "-->", "  ", "~/"),
    *("${IFS}", "{{ 7 }}"),
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(_PIECES), min_size=1, max_size=8).map("".join).filter(str.strip)
# All of them at once.
WORST = "".join(_PIECES)


def answers(text: str) -> dict[str, Any]:
    """Return what nodes answer that put a text wherever a probe holds one; every node has another trouble."""
    process = {"kind": "legacy", "pid": 9, "cmdline": text, "age_seconds": 9, "unit": text, "owner": text}
    broken = unit(active="failed", sub=text, result=text, enabled=text, log=[text], look=text)
    looping = unit(active="activating", sub="auto-restart", restarts=9, log=[text], look=text)
    says = status(VOTERS[1], leader_id=text, effective_leader_id=text, node_id=text, voter_node_ids=[text])
    members = [{"id": text, "name": text, "learner": False}]
    silent = {"error": text, "has_data": True, "data_dir": f"/{text}"}
    lost = status(OTHERS[1], leader_id=None, effective_leader_id=None, alive_peers=0)
    return {
        VOTERS[0]: probe(
            VOTERS[0],
            listener={"pid": 80, "name": text, "cmdline": text, "owner": text, "orchestrator": False},
            disk={"path": text, "free_mb": 3},
            clock={"unix": NOW + 90},
            certificates=[{"path": text, "not_after": NOW}],
        ),
        VOTERS[1]: probe(
            VOTERS[1],
            manager=text,
            http=answering(says),
            release={"name": text},
            drift=[{"part": text, "name": text, "why": text, "restarts": []}],
            etcd=store(VOTERS[1], version=text, cluster_id=text, members=members, alarms=["alarm:CORRUPT"]),
        ),
        VOTERS[2]: probe(
            VOTERS[2],
            services={
                "p2p_orchestrator": looping,
                "p2p-etcd": unit(active="activating", log=["cluster ID mismatch", text], look=text),
            },
            etcd=silent,
            http=answering(None),
            processes=[],
            listener=None,
        ),
        VOTERS[3]: down(VOTERS[3], services={"p2p_orchestrator": broken}, manager="supervisord", etcd=silent),
        VOTERS[4]: probe(VOTERS[4], http=answering(None), processes=[], listener=None, imports_missing=[text],
                         services={"p2p_orchestrator": looping, text: unit()}),
        "mac": probe("mac", http=answering(None), manager="launchd", processes=[], listener=None,
                     services={text: looping, "p2p_orchestrator": looping}),
        OTHERS[0]: {"failed": True, "untrusted": True, "msg": text},
        OTHERS[1]: probe(OTHERS[1], http=answering(lost)),
        "by-hand": probe("by-hand", processes=[process], watchdogs=[{"path": text, "line": text}]),
        "refused": {"unreachable": True, "msg": f"Permission denied {text}"},
        "changed": {"unreachable": True, "msg": f"Host key verification failed {text}"},
        "broken": {"failed": True, "msg": text, "module_stderr": text},
        "no-python": {"failed": True, "msg": f"python3: not found {text}"},
    }  # fmt: skip


def _replaced(value: Any, text: str) -> Any:
    """Return a part of a report with a text in the place of every text and number."""
    if isinstance(value, dict):
        return {
            text if key in ("vast", "offline") else key: _replaced(item, text) for key, item in value.items()
        }
    if isinstance(value, list):
        return [_replaced(item, text) for item in value]
    return text if isinstance(value, str) else value


def everywhere(text: str) -> Report:
    """Return a report with a text wherever it holds any, and where it holds what a node counts."""
    given = answers("text")
    hosts = {name: fleet().hosts.get(name, Host(name=name, provider="vast")) for name in given}
    made = report(given, fleet(hosts=hosts, left_out={"offline": 2}))
    made["changes"] = compare({**report({}, fleet())}, made)
    told: Any = _replaced(made, text)
    told["generated_at"] = made["generated_at"]
    told["cluster"] |= {"verdict": "critical", "by_state": made["cluster"]["by_state"], "term": text}
    for problem, before in zip(told["cluster"]["problems"], made["cluster"]["problems"], strict=True):
        problem["severity"] = before["severity"]
    for node, known in zip(told["nodes"], made["nodes"], strict=True):
        node["state"], node["alive_peers"] = known["state"], text
    result: Report = told
    return result
