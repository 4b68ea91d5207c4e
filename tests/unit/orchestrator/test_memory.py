"""What the process may allocate and open, and that freed memory goes back to the system."""

import resource
import subprocess
import sys

import pytest

from p2p_orchestrator import resources
from tests.unit.orchestrator.test_program import SOURCE

linux = pytest.mark.skipif(sys.platform != "linux", reason="macOS does not keep to RLIMIT_DATA")


def run(code: str) -> str:
    words = [sys.executable, "-c", f"import resource\nfrom p2p_orchestrator import resources\n{code}"]
    done = subprocess.run(words, env={"PYTHONPATH": SOURCE}, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@linux
def test_more_than_the_bound_is_not_to_be_had() -> None:
    code = """
resources.bound_memory()
held = bytearray(600 * 2**20)
try:
    more = bytearray(600 * 2**20)
except MemoryError:
    print("no")
"""
    assert run(code) == "no"


@linux
def test_a_bound_that_was_set_stays() -> None:
    code = """
resource.setrlimit(resource.RLIMIT_DATA, (2**33, resource.RLIM_INFINITY))
resources.bound_memory()
print(resource.getrlimit(resource.RLIMIT_DATA)[0] == 2**33)
"""
    assert run(code) == "True"


@linux
def test_freed_memory_goes_back() -> None:
    code = """
import os, psutil
def resident(): return psutil.Process().memory_info().rss >> 20
held = [os.urandom(2_000) for _ in range(100_000)]
kept = held[::50]
del held
before = resident()
resources.give_back()
print(before - resident())
"""
    assert int(run(code)) > 100


@pytest.mark.parametrize(
    ("soft", "hard", "asked"),
    [
        (256, 2**20, 10_240),
        (256, 4_096, 4_096),
        (256, None, 10_240),
        (20_000, None, None),
        (None, None, None),
    ],
)
def test_macos_takes_so_many_files_and_not_all(
    monkeypatch: pytest.MonkeyPatch, soft: int | None, hard: int | None, asked: int | None
) -> None:
    unbounded = resource.RLIM_INFINITY
    limits = (unbounded if soft is None else soft, unbounded if hard is None else hard)
    taken: list[tuple[int, int]] = []

    def take(_: int, new: tuple[int, int]) -> None:
        if new[0] == limits[1] and not taken and new[0] != asked:
            raise ValueError("current limit exceeds maximum limit")
        taken.append(new)

    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", take)
    resources.allow_files()
    assert taken == ([] if asked is None else [(asked, limits[1])])
