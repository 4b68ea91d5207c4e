"""A case on the cluster as it is: who lies, who is not reached, and the run that is asked for."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.hostile.fleet import Run
from tests.hostile.lies import SILENT, Case
from tests.hostile.voters import Cluster

LIAR = Path(__file__).parent / "standin/liar.py"
CLUSTER = "p2p"


@dataclass(frozen=True)
class Scene:
    """A case on the cluster as it is.

    `lies` says by voter how it lies, `honest` are the others. `still` are machines that stand still, `cut`
    honest voters that the controller does not reach. `leaver` is the voter that is to go, `joiner` the node
    that is to vote in its place, `claimant` the one that may claim a store.
    """

    lies: Mapping[str, str]
    honest: Sequence[str]
    still: Sequence[str]
    cut: Sequence[str]
    leaver: str
    joiner: str
    claimant: str

    def asked(self, voters: Sequence[str]) -> tuple[str, ...]:
        """Return the voters with the joiner in the leaver's place."""
        return tuple(self.joiner if name == self.leaver else name for name in voters)


def staged(case: Case, cluster: Cluster, chance: random.Random) -> Scene:
    """Choose who lies, and whom the controller does not reach."""
    liars = chance.sample(cluster.voters, len(case.stage.lies))
    lies = dict(zip(liars, case.stage.lies, strict=True))
    honest = [name for name in cluster.voters if name not in lies]
    reached = chance.sample(honest, min(len(honest), case.stage.reached - len(lies)))
    joiner, claimant = cluster.others
    return Scene(
        lies={name: lie for name, lie in lies.items() if lie != SILENT},
        honest=honest,
        still=[name for name, lie in lies.items() if lie == SILENT],
        cut=[name for name in honest if name not in reached],
        leaver=chance.choice(list(lies) if case.step == "voters-liar" and lies else honest),
        joiner=joiner,
        claimant=claimant,
    )


def speakers(found: Scene, claim: str, looks: Mapping[str, Any], path: Path) -> dict[str, list[str]]:
    """Return for each node that lies, or is not reached, what stands before its ssh."""
    lies = {**found.lies, **({found.claimant: claim} if claim else {})}
    store = looks[found.honest[0]]["store"]
    # The voter that is to go first: lies about it are the most dangerous.
    meant = sorted(found.honest, key=lambda name: name != found.leaver)
    renamed = [name for name, lie in found.lies.items() if lie == "renamed"]
    whole = {
        "lies": lies,
        "victims": dict(zip(renamed, meant, strict=False)),
        "dropped": meant[:2],
        "cluster": store["cluster"],
        "members": list(store["members"].values()),
    }
    path.write_text(json.dumps(whole), encoding="utf-8")
    speaks = {name: [sys.executable, "-IS", str(LIAR), str(path), name] for name in lies}
    return {**speaks, **{name: [] for name in (*found.still, *found.cut)}}


def play(case: Case, cluster: Cluster, found: Scene, speaks: Mapping[str, Sequence[str]]) -> Run:
    """Run what the case asks for."""
    voters, asked = cluster.voters, found.asked(cluster.voters)
    if case.step == "deploy":
        cluster.hours += 1
        return cluster.run("deploy.yml", voters, liars=speaks)
    if case.step == "rollback":
        now = cluster.on(found.honest[0], "basename $(readlink /opt/p2p-cluster/current)")
        there = cluster.on(found.honest[0], "ls /opt/p2p-cluster/releases").split()
        other = next(name for name in there if name != now)
        return cluster.run("rollback.yml", voters, "-e", f"p2p_rollback_to={other}", liars=speaks)
    if case.step == "recover":
        missing = ",".join([*found.still, *found.cut]) or CLUSTER
        return cluster.run("recover.yml", voters, "-e", f"p2p_recover_confirm={missing}", liars=speaks)
    if case.step == "remove-node":
        return cluster.run("remove.yml", voters, "--limit", found.joiner, liars=speaks)
    if case.step == "remove-voter":
        return cluster.run("remove.yml", asked, "--limit", found.leaver, liars=speaks)
    return cluster.run("voters.yml", asked, liars=speaks)
