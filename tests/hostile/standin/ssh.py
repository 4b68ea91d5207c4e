"""Stands in for ssh: plays each node of a fleet, as `nodes/<address>.json` in the folder says.

usage: ssh.py FOLDER [what ssh is called with]

A node's file holds `replies`: for `probe`, for `shell`, and for a module by its name, a list of which each is
given once and the last again and again. A reply holds `stdout` (text whose characters are bytes), `stderr`,
`rc`, `how` it is given (`endless`, `dribble`, `hang`), or `good`: what a node answers that is well.
"""

from __future__ import annotations

import ast
import base64
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import good  # type: ignore[import-not-found]  # beside this program
import sftp_server  # type: ignore[import-not-found]

PROBE = "p2p-probe:"
_PARAMS = re.compile(r"^\s*params=(.*),$", re.MULTILINE)
_MODULE = re.compile(r"^\s*module_fqn=['\"]([\w.]+)['\"],$", re.MULTILINE)
_CHUNK = re.compile(r"\bdd if=.* bs=(\d+) skip=(\d+)")
_FOLDER = re.compile(r"ansible-tmp-[\w.-]+")
# Nobody who bounds what it reads gets so far.
ENDLESS = 384 << 20
Reply = dict[str, Any]


def main(folder: Path, words: list[str]) -> int:
    """Play the node that is addressed; return the exit code."""
    if "-O" in words:
        return 0
    for proxy in [word.partition("=")[2] for word in words if word.startswith("ProxyCommand=")]:
        subprocess.run(["/bin/sh", "-c", proxy], check=False)  # as ssh does before anything else
    address = next((word for word in words if (folder / "nodes" / f"{word}.json").exists()), None)
    if address is None:
        print("usage: ssh destination", file=sys.stderr)
        return 255
    command = " ".join(words[words.index(address) + 1 :])
    node = json.loads((folder / "nodes" / f"{address}.json").read_text(encoding="utf-8"))
    if "-s" in words and command.endswith("sftp"):
        _log(folder, address, "sftp", command, "")
        sftp_server.serve(good.SNAPSHOT)
    given = "" if sys.stdin.isatty() else sys.stdin.buffer.read().decode("latin-1")
    kind, params = _asked(command, given)
    _log(folder, address, kind, command, given)
    reply = _reply(folder, address, node, kind)
    if reply.get("good"):
        reply = _well(kind, params, command, node)
    return _give(_filled(reply, params, node))


def _asked(command: str, given: str) -> tuple[str, dict[str, Any]]:
    """Return what is asked: `probe`, `shell` or a module's name, with its arguments."""
    if PROBE in command:
        return "probe", {}
    module, found = _MODULE.search(given), _PARAMS.search(given)
    if not module or not found:
        return "shell", {}
    params: dict[str, Any] = json.loads(ast.literal_eval(found[1]))
    return module[1].rpartition(".")[2], params.get("ANSIBLE_MODULE_ARGS", params)


def _log(folder: Path, address: str, kind: str, command: str, given: str) -> None:
    line = {"kind": kind, "command": command[:2000], "input": given[:200]}
    with (folder / "log" / address).open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")


def _reply(folder: Path, address: str, node: dict[str, Any], kind: str) -> Reply:
    replies = node["replies"].get(kind) or node["replies"].get("*") or [{"good": True}]
    lines = (folder / "log" / address).read_text(encoding="utf-8").splitlines()
    asked = sum(json.loads(line)["kind"] == kind for line in lines)
    found: Reply = replies[min(asked, len(replies)) - 1]
    return found


def _well(kind: str, params: dict[str, Any], command: str, node: dict[str, Any]) -> Reply:
    if kind == "probe":
        return {"stdout": node["probe"]}
    if kind != "shell":
        made = good.answer(kind, params)
        if kind == "p2p_probe":
            made = json.loads(node["probe"].partition("\n")[2])
        return {"stdout": json.dumps(made) + "\n"}
    folder = _FOLDER.search(command)
    if "FOUND" in command:
        return {"stdout": "FOUND\n/usr/bin/python3\nENDFOUND\n"}
    if "mkdir" in command and folder:
        return {"stdout": f"{folder[0]}=/root/.ansible/tmp/{folder[0]}\n"}
    chunk = _CHUNK.search(command)
    if chunk:
        size, skip = int(chunk[1]), int(chunk[2])
        data = good.SNAPSHOT[size * skip : size * (skip + 1)]
        return {"stdout": base64.b64encode(data).decode() + "\n"}
    return {"stdout": "/root\n" if "echo ~" in command else ""}


def _filled(reply: Reply, params: dict[str, Any], node: dict[str, Any]) -> Reply:
    """Put in the reply what it stands for."""
    text = reply.get("stdout", "").replace(f'"{good.NOW}"', repr(time.time()))
    for mark, value in (
        (good.PATH, params.get("path")),
        (good.WORK, params.get("work")),
        (good.NODE, node["name"]),
        # More than the door reads, made here: each reply of a node is read for each that it gives.
        (good.LARGE, "x" * (6 << 20)),
    ):
        text = text.replace(mark, str(value))
    return {**reply, "stdout": text}


def _give(reply: Reply) -> int:
    how = reply.get("how")
    try:
        sys.stderr.buffer.write(reply.get("stderr", "").encode("latin-1", "replace"))
        sys.stderr.flush()
        data = reply["stdout"].encode("latin-1", "replace")
        if how == "dribble":
            for index in range(len(data)):
                sys.stdout.buffer.write(data[index : index + 1])
                sys.stdout.buffer.flush()
                time.sleep(1)
        sys.stdout.buffer.write(data)
        for _ in range(ENDLESS >> 16 if how == "endless" else 0):
            sys.stdout.buffer.write(b"x" * 65536)
        sys.stdout.buffer.flush()
        if how == "hang":
            time.sleep(600)
    except BrokenPipeError:
        return 255
    return int(reply.get("rc", 0))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
