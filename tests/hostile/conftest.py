"""The stage of hostile runs, and the seed that chooses them."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.hostile.runs import Stage


def pytest_configure() -> None:
    """Choose the seed once, for all workers."""
    os.environ.setdefault("HOSTILE_SEED", str(random.randrange(10**6)))  # noqa: S311  # not for secrets


def pytest_report_header() -> str:
    """Return the seed, which repeats this run."""
    return f"HOSTILE_SEED={os.environ['HOSTILE_SEED']}{' FULL=1' if os.environ.get('FULL') else ''}"


@pytest.fixture
def stage(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """Return a stage; what is done once is shared by all workers."""
    base = tmp_path_factory.getbasetemp()
    return Stage(tmp_path, base.parent if "PYTEST_XDIST_WORKER" in os.environ else base)
