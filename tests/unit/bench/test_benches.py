"""Measurements that need no lab start."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]


@pytest.mark.parametrize("target", ["bench-scale", "bench-controller"])
def test_a_measurement_starts(target: str) -> None:
    words = ["make", "--silent", "-o", "venv", target, "OPTIONS=--help"]
    done = subprocess.run(words, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "usage: bench.py" in done.stdout
