#!/usr/bin/python
"""Ansible module: a member's data made anew out of a snapshot."""

from __future__ import annotations

DOCUMENTATION = r"""
module: p2p_etcd_restore
short_description: Puts a member's data of a new cluster in the place of the old ones
description:
  - Restores a snapshot of the controller beside the data directory, and then puts it there in one step. What
    was there is kept beside it under another name. The member must not run.
  - The action plugin of the same name sends the snapshot.
options:
  snapshot:
    description: The snapshot on the controller.
    type: path
    required: true
  data_dir:
    description: The member's data directory.
    type: path
    required: true
  aside:
    description: Where old data are kept.
    type: path
    required: true
  name:
    description: The member's name.
    type: str
    required: true
  urls:
    description: The peer URL of each member of the new cluster, by name.
    type: dict
    required: true
  token:
    description: Names the new cluster; the same for all members.
    type: str
    required: true
  owner:
    description: User and group that the data belong to.
    type: str
    default: etcd
  tools:
    description: Directories in which C(etcdctl) may be, the best first; patterns are allowed.
    type: list
    elements: str
    default: [/usr/bin]
  path:
    description: Where the snapshot is on the node; the action plugin fills it in.
    type: path
    default: ""
  timeout:
    description: Seconds that the restore may take.
    type: int
    default: 300
attributes:
  check_mode:
    support: full
    description: Restores nothing.
  diff_mode:
    support: none
    description: There is nothing to compare with.
"""

EXAMPLES = r"""
- name: The member has the data of the new cluster
  p2p_etcd_restore:
    snapshot: ~/.config/p2p-cluster/p2p/snapshots/p2p/recovery/hetzner-cpu1.prepared.db
    data_dir: /var/lib/p2p-etcd
    aside: /var/lib/p2p-etcd.before-20261226T120000Z
    name: hetzner-cpu1
    urls: {hetzner-cpu1: 'https://192.0.2.1:2380', hetzner-cpu2: 'https://192.0.2.2:2380'}
    token: p2p-20261226T120000Z
"""

RETURN = r"""
kept:
  description: Where the old data are now, or null if there were none.
  type: str
  returned: success
"""

import os
import shutil
from typing import Any, Mapping, Optional

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.p2p_etcd_tool import ToolError, restore
from ansible.module_utils.p2p_files import owner_ids
from ansible.module_utils.p2p_folders import give


def put(params: Mapping[str, Any]) -> Optional[str]:
    """Restore beside, then put in place; return where the old data are."""
    data_dir = params["data_dir"].rstrip("/")
    fresh = data_dir + ".restored"
    shutil.rmtree(fresh, ignore_errors=True)
    words = {"name": params["name"], "urls": params["urls"], "token": params["token"]}
    restore(params["tools"], params["path"], fresh, timeout=params["timeout"], **words)
    give(fresh, *owner_ids(params["owner"], params["owner"]))
    kept = params["aside"] if _holds(data_dir) else None
    if kept:
        os.rename(data_dir, kept)  # noqa: PTH104
    else:
        shutil.rmtree(data_dir, ignore_errors=True)
    os.rename(fresh, data_dir)  # noqa: PTH104
    return kept


def _holds(data_dir: str) -> bool:
    try:
        return bool(os.listdir(data_dir))  # noqa: PTH208
    except FileNotFoundError:
        return False


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "snapshot": {"type": "path", "required": True},
            "data_dir": {"type": "path", "required": True},
            "aside": {"type": "path", "required": True},
            "name": {"type": "str", "required": True},
            "urls": {"type": "dict", "required": True},
            "token": {"type": "str", "required": True, "no_log": False},
            "owner": {"type": "str", "default": "etcd"},
            "tools": {"type": "list", "elements": "str", "default": ["/usr/bin"]},
            "path": {"type": "path", "default": ""},
            "timeout": {"type": "int", "default": 300},
        },
        supports_check_mode=True,
    )
    params = module.params
    kept = params["aside"] if _holds(params["data_dir"]) else None
    try:
        if params["path"] and not module.check_mode:
            os.umask(0o077)
            kept = put(params)
    except (ToolError, OSError, ValueError) as error:
        module.fail_json(msg="the data of %s were not made anew: %s" % (params["name"], error))
    module.exit_json(changed=True, kept=kept)


if __name__ == "__main__":
    main()
