"""What modules answer on a node that is as it should be, in the shape that each documents.

Runs in the program that stands in for ssh, without anything of this project on its path.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from typing import Any

SNAPSHOT = b"a store" * 100
SHA256 = hashlib.sha256(SNAPSHOT).hexdigest()
# What a reply may stand for until it is given.
PATH, WORK, NOW, NODE, LARGE = "@PATH@", "@WORK@", "@NOW@", "@NODE@", "@LARGE@"
PARAMS = {
    "path": PATH,
    "work": WORK,
    "name": "p2p_orchestrator",
    "root": "/opt/p2p-cluster",
    "node": NODE,
    "state": "held",
    "run": {"id": "1", "who": "somebody", "playbook": "deploy.yml"},
}
MODULES = (
    *(
        "p2p_service",
        "p2p_release",
        "p2p_package",
        "p2p_takeover",
        "p2p_member",
        "p2p_maintenance",
        "p2p_epoch",
    ),
    *("p2p_etcd_snapshot", "p2p_etcd_salvage", "p2p_etcd_restore", "p2p_etcd_care"),
    "p2p_recovery_record",
    *("command", "copy", "file", "getent", "slurp", "stat", "user"),
)


def answer(module: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a module answers, {"changed": True} for one that is not known.

    Args:
        module: Its name, without a collection's.
        params: Its arguments.
    """
    made = _TABLE.get(module, _anything)(params)
    return {"changed": True, **made, "invocation": {"module_args": {}}}


def _anything(_: Mapping[str, Any]) -> dict[str, Any]:
    return {}


def _service(params: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "actions": [f"restart {params.get('name')}.service"],
        "reasons": [{"part": "file", "name": "/etc/ringrift/node.conf", "why": "content differs"}],
        "restarted": True,
        "config_digest": None,
        "diff": [
            {"before_header": "node.conf", "after_header": "node.conf", "before": "a\n", "after": "b\n"}
        ],
    }


def _release(params: Mapping[str, Any]) -> dict[str, Any]:
    name = str(params.get("name"))
    return {
        "release": name,
        "path": f"{params.get('root')}/releases/{name}",
        "previous": None,
        "actions": [f"activate {name}"],
        "packages": {"aiohttp": "3.14.5"},
    }


def _maintenance(params: Mapping[str, Any]) -> dict[str, Any]:
    run = params.get("run") or {}
    record = {"since": 1.0, "renewed": 1.0, **run} if params.get("state") in ("held", "kept") else None
    return {"changed": params.get("state") != "read", "record": record, "actions": []}


def _member(params: Mapping[str, Any]) -> dict[str, Any]:
    member = {
        "id": "7",
        "name": str(params.get("name")),
        "learner": False,
        "peer_urls": ["https://127.0.0.1:2380"],
    }
    return {"members": [member], "initial_cluster": "a=https://127.0.0.1:2380", "actions": []}


def _stored(path: str) -> dict[str, Any]:
    return {"path": path, "sha256": SHA256, "revision": 7, "keys": 3, "size": len(SNAPSHOT)}


def _salvage(params: Mapping[str, Any]) -> dict[str, Any]:
    raised = max(1, int(params.get("epoch") or 0))
    rest = {"node": params.get("node"), "revision": 7, "applied": 9, "term": 2, "epoch": 0, "raised": raised}
    work = str(params.get("work") or "")
    found = {"found": _stored(f"{work}/found.db"), "prepared": _stored(f"{work}/prepared.db")} if work else {}
    return {"salvaged": {**rest, **found}}


def _command(_: Mapping[str, Any]) -> dict[str, Any]:
    text = "etcd Version: 3.4.23"
    return {"rc": 0, "stdout": text, "stderr": "", "cmd": ["etcd"], "start": "", "end": "", "delta": ""}


_TABLE: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "p2p_service": _service,
    "p2p_release": _release,
    "p2p_maintenance": _maintenance,
    "p2p_recovery_record": _maintenance,
    "p2p_epoch": lambda params: {"epoch": int(params.get("epoch") or 0)},
    "p2p_member": _member,
    "p2p_package": lambda _: {"changed": False, "actions": []},
    "p2p_takeover": lambda _: {"changed": False, "actions": []},
    "p2p_etcd_snapshot": lambda params: {"snapshot": _stored(str(params.get("path")))},
    "p2p_etcd_salvage": _salvage,
    "p2p_etcd_restore": lambda _: {"kept": None, "actions": []},
    "p2p_etcd_care": lambda _: {"db_size": {"before": 9, "after": 8}, "actions": ["defragment the database"]},
    "command": _command,
    "copy": lambda params: {"dest": params.get("dest"), "checksum": SHA256[:40], "state": "file"},
    "file": lambda params: {"path": params.get("path"), "state": params.get("state")},
    "getent": lambda _: {"changed": False, "ansible_facts": {"getent_passwd": {"p2p": None}}},
    "slurp": lambda _: {
        "changed": False,
        "content": base64.b64encode(b"text").decode(),
        "encoding": "base64",
    },
    "stat": lambda _: {"changed": False, "stat": {"exists": False}},
    "user": lambda _: {
        "name": "p2p",
        "uid": 998,
        "group": 998,
        "home": "/opt/p2p-cluster",
        "state": "present",
    },
}
