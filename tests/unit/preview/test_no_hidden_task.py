"""No task hides from a preview."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]
# The lab's containers are the controller's own affair; they are not previewed.
PLAYS = [
    path
    for folder in ("playbooks", "roles")
    for path in sorted((PROJECT / folder).rglob("*.yml"))
    if not path.name.startswith("lab")
]


@pytest.mark.parametrize("path", PLAYS, ids=lambda path: str(path.relative_to(PROJECT)))
def test_no_task_is_left_out_of_a_preview(path: Path) -> None:
    found = re.findall(
        r"not\s+ansible_check_mode|ansible_check_mode\s*(?:==\s*false|is\s+false)|check_mode:\s*false",
        path.read_text(),
    )
    assert not found


def test_there_are_plays_to_look_at() -> None:
    assert PROJECT / "playbooks/deploy.yml" in PLAYS
