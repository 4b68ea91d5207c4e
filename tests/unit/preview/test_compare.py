"""What the preview harness calls true."""

from __future__ import annotations

from typing import Any

import pytest

from tests.preview.compare import Row, compare, drift_disagreements, drifts, problems, unfulfilled


def event(node: str = "a", task: str = "T", **told: Any) -> dict[str, Any]:
    return {
        "play": "P",
        "path": "play.yml:1",
        "task": task,
        "node": node,
        "status": "ok",
        "changed": True,
        "actions": ["restart x"],
        "diff": [],
        "drift": {},
        "message": None,
        **told,
    }


def test_the_same_changes_are_true() -> None:
    row = compare([event()], [event()])["a"]
    assert (row.agreed, row.differences, row.fidelity) == (1, [], 100.0)
    assert Row().fidelity == 100.0


@pytest.mark.parametrize(
    ("preview", "real", "why"),
    [
        ([event(changed=False)], [event()], "changed, not predicted"),
        ([event()], [event(changed=False)], "predicted, not changed"),
        ([], [event()], "changed, not predicted"),
        ([event(path="other.yml:1")], [event()], "changed, not predicted"),
        ([event()], [event(actions=["start x"])], "other actions"),
        ([event(diff=[{"after": "1\n"}])], [event(diff=[{"after": "2\n"}])], "other diff"),
        ([event()], [event(), event()], "changed, not predicted"),
    ],
)
def test_every_difference_lowers_the_fidelity(preview: list[Any], real: list[Any], why: str) -> None:
    row = compare(preview, real)["a"]
    assert why in "\n".join(row.differences)
    assert row.fidelity < 100


def test_nodes_are_kept_apart() -> None:
    rows = compare([event("a"), event("b", changed=False)], [event("a", changed=False), event("b")])
    assert {node: row.fidelity for node, row in rows.items()} == {"a": 0.0, "b": 0.0}


@pytest.mark.parametrize(
    ("predicted", "actual", "true"),
    [
        ("a\n", "a\n", True),
        ("a.c", "abc", False),
        ("(would be issued for a, b)", "-----BEGIN CERTIFICATE-----\nx\n", True),
        ("# 0600 root:root\n(would be made)\n", "# 0600 root:root\nsha256:1\n", True),
        ("# 0600 root:root\n(would be made)\n", "# 0644 root:root\nsha256:1\n", False),
        ("(would be made)", "", False),
        ([{"before": "", "after": "x"}], [{"before": "", "after": "x"}], True),
        ([{"before": "", "after": "x"}], [{"before": "y", "after": "x"}], False),
        ([{"before": ""}], [], False),
        ([{"before": ""}], [{"after": ""}], False),
    ],
)
def test_texts_come_as_predicted_but_for_what_only_a_run_makes(
    predicted: Any, actual: Any, true: bool
) -> None:
    assert (not list(unfulfilled(predicted, actual))) is true


def test_failures_are_problems_unless_ignored() -> None:
    events = [event(status=status) for status in ("ok", "ignored", "failed", "unreachable")]
    assert [problem.split(": ")[2] for problem in problems(events)] == ["failed", "unreachable"]


DRIFT = [{"part": "file", "name": "/etc/x", "why": "content", "restarts": []}]


def test_the_first_probe_of_a_run_tells_the_drift() -> None:
    assert drifts([event(), event(drift={"a": DRIFT, "b": []}), event(drift={"a": []})]) == {
        "a": DRIFT,
        "b": [],
    }


@pytest.mark.parametrize(
    ("state", "health", "preview", "changed", "disagreements"),
    [
        ("ok", [], [], False, 0),
        ("drifted", DRIFT, DRIFT, True, 0),
        ("stopped", DRIFT, DRIFT, True, 0),
        ("drifted", DRIFT, [], False, 2),
        ("drifted", DRIFT, DRIFT, False, 1),
        ("ok", [], [], True, 1),
        ("ok", DRIFT, DRIFT, True, 1),
        ("drifted", [], [], False, 1),
    ],
)
def test_health_and_preview_have_to_agree(
    state: str, health: list[Any], preview: list[Any], changed: bool, disagreements: int
) -> None:
    report = {"nodes": [{"node_id": "a", "state": state}]}
    previewed = [event(changed=False, drift={"a": preview}), event(changed=changed)]
    found = drift_disagreements(report, [event(changed=False, drift={"a": health})], previewed)
    assert len(found) == disagreements, found
