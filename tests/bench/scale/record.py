"""Records what the probe answers on nodes of a lab that is healthy, as health.yml registers it.

python -m tests.bench.scale.record inventory/lab/distributed_hosts.yaml <voter> <node>
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from .simulated import RECORDED

PROJECT = Path(__file__).resolve().parents[3]


def _nodes(result: dict[str, Any]) -> dict[str, Any]:
    nodes = result.get("nodes")
    return nodes if isinstance(nodes, dict) else {}


def main(inventory: str, voter: str, node: str) -> None:
    """Record a voter's answer and that of a node that does not vote."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [
                str(Path(sys.executable).with_name("ansible-playbook")),
                *["-i", str(Path(inventory).resolve()), "health.yml", f"-ep2p_health_report_dir={folder}"],
            ],
            cwd=PROJECT,
            env={**os.environ, "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"},
            check=True,
            stdout=subprocess.PIPE,
        )
    text = done.stdout.decode()
    tasks = [task for play in json.loads(text[text.index("{\n") :])["plays"] for task in play["tasks"]]
    # One task of each node, or one for all of them.
    told = [found for task in tasks for found in (task["hosts"], *map(_nodes, task["hosts"].values()))]
    answers: dict[str, Any] = next(found for found in told if "probe" in found.get(voter, {}))
    for kind, name in (("voter", voter), ("node", node)):
        kept = {key: answers[name][key] for key in ("changed", "probe")}
        path = RECORDED / f"{kind}.json"
        path.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
