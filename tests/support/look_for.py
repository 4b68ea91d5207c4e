"""Runs on a node, as root: tells where else what its private keys say stands. The input says what."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

# What of a P-256 key in PKCS #8, in base64 and by line, nobody else can know: before it every key says the
# same, behind it what the certificate says too.
_OWN = ((48, 64), (64, 90))
_BIG = 64 << 20
_FOLDERS = (
    *("/etc", "/root", "/home", "/srv", "/opt", "/tmp", "/dev/shm", "/run"),  # noqa: S108  # looked at alone
    *("/var/tmp", "/var/log", "/var/spool", "/var/lib/p2p_orchestrator"),  # noqa: S108
)
# systemd hands a service its keys here, readable for that one alone.
_HANDED = Path("/run/credentials")


def pieces(pem: str) -> list[str]:
    """Return what to look for: as much of each line of a key as only that key has."""
    _, _, body = pem.partition("KEY-----\n")
    text = "".join(re.split(r"-----|\n", body)[: body.count("\n") - 1])
    return [text[start:end] for start, end in _OWN]


def read(path: Path) -> bytes:
    """Return a file's bytes; none of one that is gone, no file, or too big to be a leak."""
    try:
        whole = path.is_file() and not path.is_symlink() and path.stat().st_size <= _BIG
        return path.read_bytes() if whole else b""
    except OSError:
        return b""


def places(keys: list[Path]) -> Iterator[tuple[str, bytes]]:
    """Yield each place and what stands there."""
    for folder in _FOLDERS:
        for path in Path(folder).rglob("*"):
            if path not in keys and _HANDED not in path.parents and "venv" not in path.parts:
                yield str(path), read(path)
    for process in Path("/proc").glob("[0-9]*"):
        for what in ("cmdline", "environ"):
            with contextlib.suppress(OSError):  # it has ended
                yield str(process / what), (process / what).read_bytes()
    if Path("/run/systemd/journal/socket").exists():
        words = ["journalctl", "--no-pager", "--all", "--output", "export"]
        yield "the journal", subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout


def main() -> None:
    """Print, as JSON, how much was looked at and where something stands."""
    asked = json.load(sys.stdin)
    keys = [Path(key) for key in asked["keys"]]
    wanted = [text.encode() for text in asked["texts"]]
    wanted += [piece.encode() for key in keys for piece in pieces(key.read_text())]
    seen, found = {}, []
    for place, data in places(keys):
        seen[place] = len(data)
        if any(text in data for text in wanted):
            found.append(place)
    answer = {"found": sorted(found), "places": len(seen), "journal": seen.get("the journal")}
    answer["sought"] = [len(text) for text in wanted]
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
