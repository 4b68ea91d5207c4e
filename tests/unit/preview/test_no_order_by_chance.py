"""Whom a run asks first is not left to chance."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.unit.preview.test_no_hidden_task import PLAYS, PROJECT


@pytest.mark.parametrize("path", PLAYS, ids=lambda path: str(path.relative_to(PROJECT)))
def test_no_list_is_ordered_by_a_set(path: Path) -> None:
    """Ansible's filters on sets give another order in every run; `select('in', ...)` keeps the list's."""
    assert not re.findall(r"\|\s*(?:intersect|difference|union|symmetric_difference)\b", path.read_text())
