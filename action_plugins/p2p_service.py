"""Action plugin: runs the module p2p_service behind the door."""

from __future__ import annotations

from ansible_collections.p2p.cluster.plugins.plugin_utils.door.action import Door


class ActionModule(Door):
    """Runs p2p_service."""

    MODULE = "p2p_service"
