"""Stands before ssh to a node that lies: what the node answers the probe is changed on its way.

usage: liar.py SCENE NODE ssh [what ssh is called with]

The scene is JSON: `lies`, by node the kind of its lie; `victims`, by node the one whose name it takes;
`dropped`, the members that are left out of a list; `cluster` and `members`, the ids of the store.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

FURTHEST, FOREIGN = 10**15, "1"
Probe = dict[str, Any]
Scene = dict[str, Any]


def told(probe: Probe, node: str, scene: Scene) -> Probe:
    """Return a node's probe with its lie; a member that does not answer has none to tell."""
    lie = scene["lies"][node]
    if lie in _CLAIMS or (probe.get("etcd") or {}).get("member_id"):
        _LIES[lie](probe, node, scene)
    return probe


def _furthest(probe: Probe, _node: str, _scene: Scene) -> None:
    probe["etcd"] |= {"raft_index": FURTHEST, "raft_applied_index": FURTHEST}


def _foreign(probe: Probe, _node: str, _scene: Scene) -> None:
    probe["etcd"]["cluster_id"] = FOREIGN


def _listing(probe: Probe, names: set[str]) -> None:
    probe["etcd"]["members"] = [item for item in probe["etcd"]["members"] if item["name"] in names]
    status = probe["http"]["status"].get("body") or {}
    status["voter_node_ids"], status["voters_alive"] = sorted(names), len(names)


def _alone(probe: Probe, node: str, _scene: Scene) -> None:
    _listing(probe, {node})
    probe["etcd"]["leader"] = probe["etcd"]["member_id"]


def _fewer(probe: Probe, _node: str, scene: Scene) -> None:
    _listing(probe, {item["name"] for item in probe["etcd"]["members"]} - set(scene["dropped"]))


def _renamed(probe: Probe, node: str, scene: Scene) -> None:
    """Change places with others in the list of members; all that lie so tell the same list."""
    swapped = scene["victims"] | {victim: liar for liar, victim in scene["victims"].items()}
    for item in probe["etcd"]["members"]:
        item["name"] = swapped.get(item["name"], item["name"])
        if item["name"] == node:
            probe["etcd"]["member_id"] = item["id"]
    for page in probe["http"].values():
        (page.get("body") or {})["node_id"] = scene["victims"][node]


def _leads(probe: Probe, node: str, _scene: Scene) -> None:
    probe["etcd"]["leader"] = probe["etcd"]["member_id"]
    probe["etcd"]["raft_term"] += 1
    for page in probe["http"].values():
        body = page.get("body") or {}
        body |= {"role": "leader", "leader_id": node, "effective_leader_id": node}
        body["term"] = int(body.get("term") or 0) + 1


def _apart(probe: Probe, _node: str, _scene: Scene) -> None:
    """Claim to reach no other voter, and that no majority confirms a read."""
    closed = {"outcome": "blocked", "why": "no answer within 3 s", "listed": None}
    probe["mesh"] = [closed for _ in probe.get("mesh") or []]
    probe["etcd"]["reads"] = False


def _member(node: str, number: str) -> dict[str, Any]:
    urls = {"peer_urls": [f"https://{node}:2380"], "client_urls": ["https://127.0.0.1:2379"]}
    return {"id": number, "name": node, "learner": False, **urls}


def _claim(probe: Probe, cluster: str, number: str, members: list[dict[str, Any]]) -> None:
    probe["etcd"] = {
        "has_data": True,
        "data_dir": "/var/lib/p2p-etcd",
        "ms": 1.0,
        "error": None,
        "version": "3.4.23",
    }
    probe["etcd"] |= {"cluster_id": cluster, "member_id": number, "leader": number, "members": members}
    probe["etcd"] |= {"raft_index": FURTHEST, "raft_applied_index": FURTHEST, "raft_term": 9}


def _own(probe: Probe, node: str, _scene: Scene) -> None:
    """Claim a store of its own, of a node that does not vote."""
    _claim(probe, FOREIGN, "7", [_member(node, "7")])


def _invented(probe: Probe, node: str, scene: Scene) -> None:
    """Claim to be of the cluster's store, and list its members under names that nobody has."""
    members = [_member(f"gone-{number}", number) for number in scene["members"]]
    _claim(probe, scene["cluster"], "7", [_member(node, "7"), *members])


_CLAIMS = ("own", "invented")
_LIES: dict[str, Callable[[Probe, str, Scene], None]] = {
    "furthest": _furthest,
    "foreign": _foreign,
    "alone": _alone,
    "renamed": _renamed,
    "leads": _leads,
    "fewer": _fewer,
    "apart": _apart,
    "own": _own,
    "invented": _invented,
}


def changed(line: str, node: str, scene: Scene) -> str:
    """Return a line of an answer, with the lie if it holds a probe."""
    try:
        answer = json.loads(line)
    except ValueError:
        return line
    if not isinstance(answer, dict) or not isinstance(answer.get("probe"), dict):
        return line
    return json.dumps({**answer, "probe": told(answer["probe"], node, scene)}) + "\n"


def main(words: list[str]) -> int:
    """Ask the node, and hand on what it says; return the exit code of ssh."""
    with open(words[0], encoding="utf-8") as stream:  # noqa: PTH123  # its import takes as long as all the rest
        scene = json.load(stream)
    done = subprocess.run(words[2:], stdout=subprocess.PIPE, text=True, errors="surrogateescape", check=False)
    lines = done.stdout.splitlines(keepends=True)
    sys.stdout.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]
    sys.stdout.write("".join(changed(line, words[1], scene) for line in lines))
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
