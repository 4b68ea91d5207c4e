#!/usr/bin/python
"""Ansible module: a checked snapshot of the cluster's store, kept on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: p2p_etcd_snapshot
short_description: Keeps a checked snapshot of the store on the controller
description:
  - Saves a snapshot of what the node's own etcd member holds with etcd's tool, has it checked by
    C(snapshot status), and fetches it to a directory of the controller, where it is compared with what was
    sent, readable by its owner alone. The newest of that directory are kept, the others removed.
  - The action plugin of the same name does the part on the controller.
options:
  etcd:
    description: How to ask the node's own member. C(endpoint), and for TLS C(ca), C(cert), C(key) (paths on
      the node).
    type: dict
    required: true
  tools:
    description: Directories of the node in which C(etcdctl) may be, the best first; patterns are allowed.
    type: list
    elements: str
    default: [/usr/bin]
  directory:
    description: Directory on the controller. It is made if it is not there.
    type: path
    required: true
  keep:
    description: How many snapshots the directory keeps.
    type: int
    default: 7
  path:
    description: Where the node saves it; the action plugin fills it in.
    type: path
  timeout:
    description: Seconds that the snapshot may take.
    type: int
    default: 300
attributes:
  check_mode:
    support: full
    description: Saves nothing, and fails where the member does not answer or the tool is missing.
  diff_mode:
    support: none
    description: There is nothing to compare with.
"""

EXAMPLES = r"""
- name: A snapshot of the store is kept
  p2p_etcd_snapshot:
    etcd: "{{ etcd_probe_spec }}"
    directory: ~/.config/p2p-cluster/p2p/snapshots/p2p
"""

RETURN = r"""
snapshot:
  description:
    - The snapshot. C(path) on the controller (in check mode the directory), C(sha256), C(revision), C(keys)
      and C(size) (bytes), null in check mode; and C(removed), the names of older ones that went.
  type: dict
  returned: success
"""

import os
from pathlib import Path
from typing import Any, Dict, Mapping, Optional

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.p2p_etcd_tool import ToolError, find, save, status
from ansible.module_utils.p2p_files import sha256_file
from ansible.module_utils.p2p_folders import hand_over, scratch
from ansible.module_utils.p2p_http import ask_etcd

ANSWERS_WITHIN = 5.0


def check(params: Mapping[str, Any]) -> None:
    """Raise ToolError where no snapshot could be saved."""
    find("etcdctl", params["tools"])
    data_dir = str(params["etcd"].get("data_dir") or "/var/lib/etcd")
    told = ask_etcd(params["etcd"], data_dir, ANSWERS_WITHIN)
    if told["error"]:
        raise ToolError("%s does not answer: %s" % (params["etcd"]["endpoint"], told["error"]))


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "etcd": {"type": "dict", "required": True},
            "tools": {"type": "list", "elements": "str", "default": ["/usr/bin"]},
            "directory": {"type": "path", "required": True},
            "keep": {"type": "int", "default": 7},
            "path": {"type": "path"},
            "timeout": {"type": "int", "default": 300},
        },
        supports_check_mode=True,
    )
    params = module.params
    path: Optional[str] = params["path"]
    snapshot: Dict[str, Any] = {"path": path, "sha256": None, "revision": None, "keys": None, "size": None}
    try:
        check(params)
        if path and not module.check_mode:
            os.umask(0o077)
            with scratch() as folder:
                own = str(Path(folder, "store.db"))
                save(params["etcd"], params["tools"], own, params["timeout"])
                snapshot.update(status(params["tools"], own, params["timeout"]), sha256=sha256_file(own))
                # Whom the directory belongs to fetches it.
                hand_over(own, path)
    except (ToolError, OSError, ValueError) as error:
        module.fail_json(
            msg="no snapshot of the store could be kept: %s. Nothing was changed; mend that and run again"
            % error
        )
    module.exit_json(changed=True, snapshot=snapshot)


if __name__ == "__main__":
    main()
