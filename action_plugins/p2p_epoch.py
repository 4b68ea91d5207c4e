"""Action plugin: runs the module p2p_epoch behind the door."""

from __future__ import annotations

from ansible_collections.p2p.cluster.plugins.plugin_utils.door.action import Door


class ActionModule(Door):
    """Runs p2p_epoch."""

    MODULE = "p2p_epoch"
