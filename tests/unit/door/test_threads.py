"""Nodes are asked in threads: they may all use the door for the first time at the same moment."""

from __future__ import annotations

import subprocess
import sys

AT_ONCE = """
import sys, threading
from ansible_collections.p2p.cluster.plugins.plugin_utils.door import read
sys.setswitchinterval(1e-6)
go = threading.Event()
def ask():
    go.wait()
    read.result("p2p_service", {"changed": True})
    try:
        read.probe({"schema": 1}, {})
    except read.UntrustedError:
        pass
threads = [threading.Thread(target=ask) for _ in range(16)]
for thread in threads:
    thread.start()
go.set()
for thread in threads:
    thread.join()
"""


def test_threads_that_use_a_schema_first_crash_nothing() -> None:
    # Without what the door does about it, one process in six crashes.
    for _ in range(20):
        done = subprocess.run(
            [sys.executable, "-c", AT_ONCE],
            env={"PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{done.returncode}: {done.stderr}"
