"""What a probe says of a node where one look at it fails or comes too late."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from module_utils import p2p_probe_parts
from module_utils.p2p_probe_parts import probe


def test_a_late_look_at_the_orchestrator_is_an_answer_that_never_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(port: int, timeout: float) -> dict[str, Any]:
        raise TimeoutError(f"port {port} after {timeout:g} s")

    monkeypatch.setattr(p2p_probe_parts, "ask_orchestrator", late)
    found = probe(
        {
            "service": "p2p-none",
            "root": str(tmp_path),
            "port": 1,
            "timeout": 30.0,
            "log_lines": 0,
            "reach": [],
            "wanted": None,
        }
    )
    assert found["errors"]["http"] == "TimeoutError: port 1 after 30 s"
    silent = {"status": None, "body": None, "ms": None, "error": found["errors"]["http"]}
    assert found["http"] == {"health": silent, "status": silent}
