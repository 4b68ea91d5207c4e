"""What each playbook finds in the fleet, so that it has something to do, and how it is called."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from tests.bench.scale import simulated
from tests.hostile.fleet import COUNT, GOOD, HOSTILE, HOSTILE_VOTER, NAMES, VOTERS, drifted

Answers = dict[str, dict[str, Any]]
# Of a run that asks so many cases at once: a node costs it little, a run much.
MANY = 45
OLD, NEW = "1.0.0-76ad697ebccf", "1.0.1-0123456789ab"


class Scenario(NamedTuple):
    """A playbook with its arguments; `found` turns a healthy fleet's answers into those of one to be changed.

    `hostile` are the nodes that strangers own. `dead` do not answer in any run. `later` says of nodes
    as which other one they answer from the third question on. `size` is how many nodes there are.
    """

    playbook: str
    found: Callable[[Answers], Answers]
    words: tuple[str, ...] = ()
    hostile: tuple[str, ...] = tuple(HOSTILE)
    dead: tuple[str, ...] = ()
    later: Mapping[str, str] = MappingProxyType({})
    size: int = COUNT


def _well(answers: Answers) -> Answers:
    return answers


def _drifted(answers: Answers) -> Answers:
    """Return answers of nodes that need a new release, new settings, or nothing."""
    parts: Mapping[str, tuple[str, ...]] = {
        VOTERS[1]: ("release",),
        VOTERS[2]: ("file",),
        GOOD[5]: ("file",),
        GOOD[6]: ("release",),
        **dict.fromkeys(HOSTILE, ("release",)),
        HOSTILE_VOTER: ("file",),
    }
    return {name: drifted(answer, *parts.get(name, ())) for name, answer in answers.items()}


def _other_voters(answers: Answers) -> Answers:
    """Return answers of a store that one voter of the file is still to join, and another node to leave."""
    joins, leaves = VOTERS[4], GOOD[6]
    answers[leaves], answers[joins] = copy.deepcopy(answers[joins]), copy.deepcopy(answers[GOOD[7]])
    store = {"has_data": False, "data_dir": "/var/lib/p2p-etcd", "ms": 1.0, "error": "no member"}
    answers[joins]["probe"]["etcd"] = store
    answers[leaves]["probe"]["platform"]["hostname"] = leaves
    for name, answer in answers.items():
        for member in (answer["probe"].get("etcd") or {}).get("members", []):
            if member["name"] == joins:
                member |= {"name": leaves, "peer_urls": [simulated.peer_url(leaves, len(answers))]}
        for document in ("health", "status"):
            answer["probe"]["http"][document]["body"]["node_id"] = name
    return answers


def _two_releases(answers: Answers) -> Answers:
    """Return answers of nodes that have an earlier release to go back to."""
    for answer in answers.values():
        release = answer["probe"]["release"]
        release |= {
            "name": NEW,
            "current": f"/opt/p2p-cluster/releases/{NEW}",
            "previous": OLD,
            "available": [OLD],
            "built": {OLD: 1000.0, NEW: 2000.0},
        }
        release["manifest"]["name"] = NEW
    return answers


def _no_quorum(answers: Answers) -> Answers:
    """Return answers of voters whose store has lost its quorum some time ago.

    The last voter, which is dead, lends its word to another once the store is there again.
    """
    for answer in [answer for name, answer in answers.items() if name != VOTERS[-1]]:
        if answer["probe"].get("etcd"):
            answer["probe"]["etcd"]["leader"] = None
        for document in ("health", "status"):
            answer["probe"]["http"][document]["body"] |= {
                "leader_id": None,
                "effective_leader_id": None,
                "voter_quorum_ok": False,
                "seconds_since_quorum": 900.0,
            }
    return answers


# The voter that joins, and the node that leaves.
_LATER = MappingProxyType({VOTERS[4]: VOTERS[3], GOOD[6]: GOOD[7]})
_REBUILT = MappingProxyType({VOTERS[0]: VOTERS[-1]})
SCENARIOS = {
    "deploy": Scenario("deploy.yml", _drifted),
    "deploy-voter": Scenario("deploy.yml", _drifted, hostile=(HOSTILE_VOTER,)),
    "health": Scenario("health.yml", _well),
    "health-many": Scenario(
        "health.yml", _well, hostile=tuple(simulated.names(MANY)[len(VOTERS) :]), size=MANY
    ),
    "health-some": Scenario("health.yml", _well, hostile=tuple(NAMES[len(VOTERS) :])),
    "health-all": Scenario("health.yml", _well, hostile=tuple(NAMES)),
    "health-voter": Scenario("health.yml", _well, hostile=(HOSTILE_VOTER,)),
    "voters": Scenario("voters.yml", _other_voters, later=_LATER),
    # The node through which the store's members are told, and snapshots are made.
    "voters-via": Scenario("voters.yml", _other_voters, hostile=(VOTERS[0],), later=_LATER),
    "rollback": Scenario("rollback.yml", _two_releases),
    "rollback-voter": Scenario("rollback.yml", _two_releases, hostile=(HOSTILE_VOTER,)),
    "remove": Scenario("remove.yml", _well, words=("--limit", ",".join([GOOD[6], *HOSTILE]))),
    "remove-voter": Scenario("remove.yml", _well, words=("--limit", GOOD[6]), hostile=(HOSTILE_VOTER,)),
    # The hostile voter is one of those that are known to be silent: whatever it says then, it stops the run.
    "recover": Scenario(
        "recover.yml",
        _no_quorum,
        words=("-e", f"p2p_recover_confirm={','.join(VOTERS[1:])}"),
        hostile=(VOTERS[1],),
        dead=tuple(VOTERS[2:]),
        later=_REBUILT,
    ),
    # It answers the probe well, and takes part.
    "recover-from": Scenario(
        "recover.yml",
        _no_quorum,
        words=("-e", f"p2p_recover_confirm={','.join(VOTERS[2:])}"),
        hostile=(VOTERS[1],),
        dead=tuple(VOTERS[2:]),
        later=_REBUILT,
    ),
}
assert set(HOSTILE) | set(GOOD) == set(NAMES)
