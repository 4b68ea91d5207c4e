"""The stage of hostile runs, and the seed that chooses them."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.hostile.runs import Stage

# What they run is started once, for all tests of the file.
WHOLE = ("test_container.py", "test_flood.py", "test_liars.py")


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist ships no type information
    """Gives one worker all tests of such a file, and any worker any other test."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return file if file.endswith(WHOLE) else nodeid


# The mark `xdist_group` is without effect from pytest 9.2 on.
@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    """Return who says which worker gets which test."""
    return Scheduling(config, log)


def pytest_configure() -> None:
    """Choose the seed once, for all workers."""
    os.environ.setdefault("HOSTILE_SEED", str(random.randrange(10**6)))  # noqa: S311  # not for secrets


def pytest_report_header() -> str:
    """Return the seed, which repeats this run."""
    return f"HOSTILE_SEED={os.environ['HOSTILE_SEED']}{' FULL=1' if os.environ.get('FULL') else ''}"


@pytest.fixture
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of what is done once for all workers."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture
def stage(tmp_path: Path, shared: Path) -> Stage:
    """Return a stage; what is done once is shared by all workers."""
    return Stage(tmp_path, shared)
