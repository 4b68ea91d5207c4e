"""A controller at a fixed time, for all tests of this folder."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from .controller import Controller

NOW = dt.datetime(2026, 1, 1, 12, tzinfo=dt.timezone.utc)


@pytest.fixture
def controller(tmp_path: Path) -> Controller:
    """A controller that has never deployed anything."""
    return Controller(tmp_path / "config" / "p2p-cluster" / "lab", now=NOW)
