"""A deploy as scripts do it: one SSH session a node in batches of ten, all written and restarted every time.

    python with_script.py nodes.json

The file holds for each node the words that log in to it, and the shell command.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

BATCH = 10


async def _deploy(name: str, login: list[str], command: str) -> bool:
    process = await asyncio.create_subprocess_exec(
        *login, command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    active = output.decode().strip().endswith("active") and process.returncode == 0
    print(f"{name}: {'ok' if active else output.decode()[-300:]}")
    return active


async def _main(nodes: list[tuple[str, list[str], str]]) -> int:
    done: list[bool] = []
    for start in range(0, len(nodes), BATCH):
        done += await asyncio.gather(*(_deploy(*node) for node in nodes[start : start + BATCH]))
    return 0 if all(done) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(_main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))))
