"""The options of p2p_probe, for the module on a node and for its action plugin on the controller."""

from __future__ import annotations

import os
from typing import Any, Dict, Mapping

OPTIONS: Dict[str, Dict[str, Any]] = {
    "service": {"type": "str", "default": "p2p_orchestrator"},
    "etcd_service": {"type": "str"},
    "legacy_services": {"type": "list", "elements": "str", "default": ["ringrift-p2p"]},
    "root": {"type": "path", "default": "/opt/p2p-cluster"},
    "manager": {"type": "str", "choices": ["auto", "systemd", "supervisord", "launchd"], "default": "auto"},
    "place": {"type": "dict", "default": {}},
    "port": {"type": "int", "default": 8770},
    "voter": {"type": "bool", "default": False},
    "wanted": {"type": "dict"},
    "etcd": {"type": "dict"},
    "digests": {"type": "list", "elements": "path", "default": []},
    "reach": {"type": "list", "elements": "dict", "default": []},
    "mesh": {"type": "dict"},
    "imports": {"type": "list", "elements": "str", "default": []},
    "venv": {"type": "path"},
    "log_lines": {"type": "int", "default": 12},
    "timeout": {"type": "float", "default": 5.0},
}


def _expanded(value: object) -> object:
    return os.path.expanduser(os.path.expandvars(value)) if isinstance(value, str) else value


def with_paths(params: Mapping[str, Any]) -> Dict[str, Any]:
    """Return options with `~` and variables in their paths replaced, as this node's user has them."""
    found = dict(params)
    for name, option in OPTIONS.items():
        if option["type"] == "path":
            found[name] = _expanded(params.get(name))
        elif option.get("elements") == "path":
            found[name] = [_expanded(item) for item in params.get(name) or []]
    return found
