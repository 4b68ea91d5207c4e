"""What a revocation list is to etcd: it shuts out who calls, and not who is called."""

from __future__ import annotations

import http.client
import time

from tests.integration.identity.test_etcd_mutual_tls import (
    MEMBERS,
    PATIENCE,
    Cluster,
    cluster,
    controller,
    refused,
)
from tests.unit.identity.controller import Controller

__all__ = ["cluster", "controller"]

STOLEN, OTHERS = "hetzner-cpu3", ("hetzner-cpu1", "hetzner-cpu2")


def test_a_revoked_member_votes_until_it_leaves_the_list(cluster: Cluster, controller: Controller) -> None:
    result = controller.run(nodes=MEMBERS[:2], removed=[STOLEN])
    for name in OTHERS:
        (cluster.own(name) / "crl.pem").write_text(result["crl"])
    own = cluster.own("hetzner-cpu1")
    assert refused(cluster, cluster.own(STOLEN), own, peer=True, by=OTHERS)
    # Nothing is left of what was open before the list.
    cluster.stop(STOLEN)
    cluster.put("hetzner-cpu1", "without", "it")
    cluster.start(STOLEN)
    cluster.wait(STOLEN)
    # It cannot call the others. They call it: with one of them down the quorum rests on it.
    assert "certificate serial" in (cluster.base / "hetzner-cpu1.log").read_text()
    cluster.stop("hetzner-cpu2")
    cluster.wait("hetzner-cpu1")
    cluster.wait(STOLEN)
    cluster.start("hetzner-cpu2")
    for name in OTHERS:
        cluster.wait(name)

    listed = cluster.ask("hetzner-cpu1", own, own, "/v3/cluster/member/list", {})["members"]
    number = next(item["ID"] for item in listed if item["name"] == STOLEN)
    # etcd refuses this until all that started are connected for some seconds.
    until = time.monotonic() + PATIENCE
    while True:
        try:
            cluster.ask("hetzner-cpu1", own, own, "/v3/cluster/member/remove", {"ID": number})
            break
        except http.client.HTTPException:
            assert time.monotonic() < until, "the member is not removed"
            time.sleep(1)
    for name in OTHERS:
        cluster.wait(name)
    until = time.monotonic() + 10
    while time.monotonic() < until:
        assert not cluster.takes_part(STOLEN)
        time.sleep(1)
    cluster.put("hetzner-cpu2", "after", "it")
