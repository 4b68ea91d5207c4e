"""What is refused is counted each time and logged once a minute."""

import sys

import pytest

from p2p_orchestrator import refusals
from p2p_orchestrator.refusals import Reason, Refusals


def test_a_flood_is_one_line_a_minute(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [1000.0]
    monkeypatch.setattr(refusals, "boottime", lambda: now[0])
    counts = Refusals()
    for _ in range(500):
        counts.note(Reason.STRANGERS, 8771, "192.0.2.1")
    counts.note(Reason.WAITING, 8771, "192.0.2.1")
    now[0] += 61.0
    counts.note(Reason.STRANGERS, 8771, "192.0.2.2")
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("reason=")[1] for line in lines] == [
        "strangers port=8771 origin=192.0.2.1 count=1",
        "waiting port=8771 origin=192.0.2.1 count=1",
        "strangers port=8771 origin=192.0.2.2 count=500",
    ]
    assert counts.counts == {Reason.STRANGERS: 501, Reason.WAITING: 1}


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("closed")])
def test_a_log_that_cannot_be_written_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    class Full:
        def write(self, _: str) -> int:
            raise error

        def flush(self) -> None:
            pass

    monkeypatch.setattr(sys, "stderr", Full())
    counts = Refusals()
    counts.note(Reason.FILES, 8771, "")
    assert counts.counts == {Reason.FILES: 1}
