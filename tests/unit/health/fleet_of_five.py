"""A fleet of five voters and two others, and probes of its nodes as p2p_probe gives them."""

from __future__ import annotations

from typing import Any

from roles.p2p_health.report.model import Fleet, Host

NOW = 1_766_800_000.0
VOTERS = ["nebius-backbone-1", "nebius-h100-3", "hetzner-cpu1", "hetzner-cpu2", "vultr-a100-20gb"]
OTHERS = ["vast-28918742", "runpod-h100"]
LEADER = VOTERS[2]


def fleet(**given: Any) -> Fleet:
    """Return the fleet; `given` replaces fields of it."""
    names = [*VOTERS, *OTHERS]
    hosts = {
        name: Host(
            name=name,
            provider=name.split("-", maxsplit=1)[0],
            role="training",
            voter=name in VOTERS,
            hardware="L40S 48GB",
            address=f"192.0.2.{at}",
            ssh=f"ssh root@192.0.2.{at}",
            forget_key=f"ssh-keygen -f ~/.ssh/p2p_known_hosts -R 192.0.2.{at}",
        )
        for at, name in enumerate(names, 10)
    }
    settings: dict[str, Any] = {
        "hosts": hosts,
        "voters": VOTERS,
        "total": len(hosts),
        "started": NOW - 6,
        "asked": NOW,
        "seeds": [f"http://{hosts[name].address}:8770" for name in VOTERS],
    }
    return Fleet(**(settings | given))


def unit(**given: Any) -> dict[str, Any]:
    """Return a service that runs."""
    running = {
        "load": "loaded",
        "active": "active",
        "sub": "running",
        "enabled": "enabled",
        "restarts": 0,
        "result": "success",
        "exit_status": 0,
        "started_at": NOW - 86400,
        "log": [],
    }
    return running | given


def store(name: str, **given: Any) -> dict[str, Any]:
    """Return what a healthy etcd member says."""
    ids = {voter: str(1000 + at) for at, voter in enumerate(VOTERS)}
    healthy = {
        "error": None,
        "has_data": True,
        "member_id": ids[name],
        "cluster_id": "77",
        "leader": ids[LEADER],
        "raft_index": 500,
        "learner": False,
        "alarms": [],
        "members": [{"id": ids[voter], "name": voter, "learner": False} for voter in VOTERS],
    }
    return healthy | given


def status(name: str, **given: Any) -> dict[str, Any]:
    """Return what a healthy orchestrator answers on /status, cut down as the probe does."""
    peers = [other for other in ([*VOTERS, *OTHERS] if name in VOTERS else VOTERS) if other != name]
    healthy = {
        "node_id": name,
        "role": "leader" if name == LEADER else "follower",
        "leader_id": LEADER,
        "effective_leader_id": LEADER,
        "term": 7,
        "alive_peers": 6,
        "voter_node_ids": VOTERS,
        "voters_alive": 5,
        "peers": [{"name": other, "alive": True} for other in peers],
        "listened": True,
        "uptime_seconds": 86400.0,
        "name_conflict": False,
    }
    return healthy | given


def answering(body: Any) -> dict[str, Any]:
    """Return the part `http` of a probe whose /status has this body."""
    code = 200 if body is not None else None
    error = None if body is not None else "[Errno 111] Connection refused"
    answer = {"status": code, "body": body, "ms": 2.0, "error": error}
    return {"health": answer, "status": answer}


def probe(name: str, **given: Any) -> dict[str, Any]:
    """Return the registered probe of a healthy node; `given` replaces parts of it."""
    process = {"kind": "ours", "pid": 412, "cmdline": "p2p_orchestrator", "age_seconds": 86400, "unit": "u"}
    services = {"p2p_orchestrator": unit()}
    if name in VOTERS:
        services["p2p-etcd"] = unit()
    parts = {
        "manager": "systemd",
        "services": services,
        "processes": [process],
        "listener": {"pid": 412, "name": "p2p_orchestrator", "cmdline": "…", "orchestrator": True},
        "watchdogs": [],
        "release": {"name": "0.1.0-abc"},
        "imports_missing": None,
        "http": answering(status(name)),
        "etcd": store(name) if name in VOTERS else None,
        "disk": {"path": "/", "free_mb": 50_000, "inodes_free": 1_000_000, "used_percent": 20.0},
        "clock": {"unix": NOW - 3},
        "drift": [],
        "errors": {},
    }
    return {"changed": False, "probe": parts | given}


def down(name: str, **given: Any) -> dict[str, Any]:
    """Return the probe of a node that was deployed to and whose service does not run."""
    dead: dict[str, Any] = {
        "services": {"p2p_orchestrator": unit(active="inactive", sub="dead", started_at=None)},
        "processes": [],
        "listener": None,
        "http": answering(None),
    }
    return probe(name, **(dead | given))


def unreachable(
    text: str = "ssh: connect to host 192.0.2.15 port 22: Connection timed out",
) -> dict[str, Any]:
    """Return what Ansible registers for a node that it cannot log in to."""
    return {
        "unreachable": True,
        "changed": False,
        "msg": f"Task failed: Failed to connect to the host via ssh: {text}",
    }


def answers(**given: Any) -> dict[str, Any]:
    """Return the answers of a healthy fleet; `given` replaces nodes, with _ for -."""
    return {name: probe(name) for name in [*VOTERS, *OTHERS]} | {
        name.replace("_", "-"): answer for name, answer in given.items()
    }
