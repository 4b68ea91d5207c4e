#!/usr/bin/python
"""Ansible module: what a lost cluster's data hold, as snapshots on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: p2p_etcd_salvage
short_description: Makes snapshots of a member whose cluster has lost its quorum
description:
  - Has etcd read a copy of the data of a member that does not run, alone and on loopback, and saves two
    snapshots, C(found) as it was, and C(prepared) with a raised recovery epoch, from which a new cluster is
    made. Both are fetched to the controller. The data themselves are left as they are.
  - The action plugin of the same name does the part on the controller.
options:
  etcd:
    description: C(ca), C(cert), C(key) of the node, under which the copy answers, and its C(data_dir).
    type: dict
    required: true
  tools:
    description: Directories in which C(etcd) and C(etcdctl) may be, the best first; patterns are allowed.
    type: list
    elements: str
    default: [/usr/bin]
  cluster:
    description: Name of the cluster.
    type: str
    required: true
  epoch:
    description: The recovery epoch becomes at least this, and more than it was.
    type: int
    required: true
  directory:
    description: Directory on the controller for the two snapshots, C(<node>.found.db) and
      C(<node>.prepared.db).
    type: path
    required: true
  node:
    description: The node's name.
    type: str
    required: true
  snapshot:
    description: A snapshot on the controller that is prepared in the place of the node's data.
    type: path
    default: ""
  work:
    description: Directory on the node; the action plugin fills it in.
    type: path
    default: ""
  timeout:
    description: Seconds that each step may take.
    type: int
    default: 120
attributes:
  check_mode:
    support: full
    description: Reads nothing, since the member may run.
  diff_mode:
    support: none
    description: There is nothing to compare with.
"""

EXAMPLES = r"""
- name: What this survivor holds is on the controller
  p2p_etcd_salvage:
    etcd: "{{ etcd_probe_spec }}"
    cluster: p2p
    epoch: "{{ now().timestamp() | int }}"
    directory: ~/.config/p2p-cluster/p2p/snapshots/p2p/recovery
    node: "{{ inventory_hostname }}"
"""

RETURN = r"""
salvaged:
  description:
    - C(node), C(revision), C(applied) and C(term) (raft's), C(epoch) (as found), C(raised) (the new one), and
      C(found) and C(prepared), each with C(path) on the controller, C(sha256), C(revision), C(keys) and
      C(size). Only C(node) in check mode.
  type: dict
  returned: success
"""

import os
from pathlib import Path
from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.p2p_etcd_salvage import Request, salvage
from ansible.module_utils.p2p_etcd_tool import ToolError
from ansible.module_utils.p2p_folders import hand_over, scratch


def _salvaged(params: Dict[str, Any], folder: str) -> Dict[str, Any]:
    """Return what the data hold, and leave the snapshots of them in the user's folder."""
    request = Request(
        spec=params["etcd"],
        tools=params["tools"],
        cluster=params["cluster"],
        data_dir=params["etcd"].get("data_dir") or "/var/lib/etcd",
        snapshot=params["snapshot"],
        epoch=params["epoch"],
        work=folder,
        timeout=params["timeout"],
    )
    told: Dict[str, Any] = salvage(request)
    for kind in ("found", "prepared"):
        own = told[kind]["path"]
        told[kind]["path"] = str(Path(params["work"], Path(own).name))
        # Whom the directory belongs to fetches it.
        hand_over(own, told[kind]["path"])
    return told


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "etcd": {"type": "dict", "required": True},
            "tools": {"type": "list", "elements": "str", "default": ["/usr/bin"]},
            "cluster": {"type": "str", "required": True},
            "epoch": {"type": "int", "required": True},
            "directory": {"type": "path", "required": True},
            "node": {"type": "str", "required": True},
            "snapshot": {"type": "path", "default": ""},
            "work": {"type": "path", "default": ""},
            "timeout": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    params = module.params
    told: Dict[str, Any] = {"node": params["node"]}
    if params["work"] and not module.check_mode:
        os.umask(0o077)
        try:
            with scratch() as folder:
                told.update(_salvaged(params, folder))
        except (ToolError, OSError, ValueError) as error:
            module.fail_json(msg="the data of %s cannot be used: %s" % (params["node"], error))
    module.exit_json(changed=True, salvaged=told)


if __name__ == "__main__":
    main()
