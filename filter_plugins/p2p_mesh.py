"""Which ports of the others a voter tries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.p2p.cluster.plugins.plugin_utils.plan.links import ETCD, HEARTBEAT


def mesh_of(node: str, fleet: Mapping[str, Any]) -> dict[str, Any]:
    """Return the option `mesh` of `p2p_probe` for a voter.

    Args:
        node: The voter's name.
        fleet: `hosts`, by name of every voter where it is reached; `peer_port` and `heartbeat_port`;
            `domain`, what follows a voter's name in its certificate; `tls`, the option's.
    """
    ports = {ETCD: int(fleet["peer_port"]), HEARTBEAT: int(fleet["heartbeat_port"])}
    targets = [
        {
            "voter": voter,
            "host": host,
            "port": port,
            "service": service,
            "name": f"{voter}.{fleet['domain']}",
        }
        for voter, host in fleet["hosts"].items()
        if voter != node
        for service, port in ports.items()
    ]
    return {"targets": targets, "tls": fleet["tls"]}


class FilterModule:
    """Filters about the voters' mesh."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {"p2p_mesh_of": mesh_of}
