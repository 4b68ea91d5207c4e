"""Where on a node its private keys stand, beside the files that hold them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

_PROGRAM = Path(__file__).with_name("look_for.py")
# As long as Ansible's own words may hold a part of a secret.
_PART = 20


def parts(secret: str) -> list[str]:
    """Return what of a secret must stand nowhere."""
    return [line[at : at + _PART] for line in secret.split() for at in range(0, len(line) - _PART + 1, _PART)]


def leaks(node: str, keys: Sequence[str], texts: Sequence[str] = ()) -> list[str]:
    """Return the places on a node where a part of a key stands that is nobody else's.

    Looked at are journal, logs, settings, temporary folders, homes, and each process' words and environment.

    Args:
        node: the container.
        keys: the files that hold P-256 keys; all of them must be there.
        texts: more to look for.
    """
    asked = json.dumps({"keys": list(keys), "texts": list(texts)})
    done = subprocess.run(
        ["docker", "exec", "-i", "-u", "root", node, "python3", "-c", _PROGRAM.read_text()],
        input=asked,  # not among its words, where it would find itself
        text=True,
        capture_output=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    # Were nothing looked at, or for nothing, nothing would be found.
    few, short = 100, 16
    assert answer["places"] > few, answer
    assert answer["journal"] != 0, answer
    assert min(answer["sought"]) >= short, answer
    found: list[str] = answer["found"]
    return found
