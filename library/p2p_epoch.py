#!/usr/bin/python
"""Ansible module: the recovery epoch of the cluster's store, raised before anybody leads in it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: p2p_epoch
short_description: Raises the recovery epoch of the cluster's store
description:
  - Leaders count their terms on from the recovery epoch, C(/p2p/<cluster>/election/epoch). One that is above
    all earlier ones keeps terms and fencing tokens of an earlier store from being given out again.
  - It is raised by compare-and-swap through the node's own member, and never lowered.
options:
  cluster:
    description: Name of the cluster.
    type: str
    required: true
  etcd:
    description: How to ask the node's own member. C(endpoint), and for TLS C(ca), C(cert), C(key) (paths on
      the node).
    type: dict
    required: true
  epoch:
    description: What it has to be at least.
    type: int
    required: true
  unled:
    description: Raise it only in a store that holds no term, since nobody has led in it so far.
    type: bool
    default: false
  timeout:
    description: Seconds that each question to the store may take.
    type: float
    default: 5.0
  seconds:
    description: For how long a store that refuses, or does not answer, is asked again. One that elects its
      leader does for a moment.
    type: float
    default: 30.0
attributes:
  check_mode:
    support: full
    description: A store that does not answer is taken for one that this run forms, or, with O(unled), for one
      in which somebody has led.
  diff_mode:
    support: none
"""

EXAMPLES = r"""
- name: Terms of an earlier store are not given out again
  p2p_epoch:
    cluster: p2p
    etcd: "{{ etcd_probe_spec }}"
    epoch: "{{ now(utc=true).timestamp() | int }}"
"""

RETURN = r"""
epoch:
  description: The epoch that the store has, or would have; null where a preview cannot know.
  type: int
  returned: always
"""

import time
from typing import Any, Mapping, Optional, Tuple

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.p2p_epoch import Election
from ansible.module_utils.p2p_store import StoreError


def _turn(params: Mapping[str, Any], election: Election, check_mode: bool) -> Optional[Tuple[bool, int]]:
    """Return whether the epoch was raised and what it is, None if somebody else wrote meanwhile."""
    found = election.read()
    if found.epoch >= params["epoch"] or (params["unled"] and found.term_revision):
        return False, found.epoch
    if check_mode or election.write(params["epoch"], found):
        return True, params["epoch"]
    return None


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "cluster": {"type": "str", "required": True},
            "etcd": {"type": "dict", "required": True},
            "epoch": {"type": "int", "required": True},
            "unled": {"type": "bool", "default": False},
            "timeout": {"type": "float", "default": 5.0},
            "seconds": {"type": "float", "default": 30.0},
        },
        supports_check_mode=True,
    )
    params = module.params
    election = Election(params["etcd"], params["cluster"], params["timeout"])
    deadline = time.monotonic() + params["seconds"]
    while True:
        why = "others write the keys of the election"
        try:
            done = _turn(params, election, module.check_mode)
        except StoreError as error:
            if module.check_mode:
                module.exit_json(
                    changed=not params["unled"], epoch=None if params["unled"] else params["epoch"]
                )
            done, why = None, "%s" % error
        if done is not None:
            module.exit_json(changed=done[0], epoch=done[1])
        if time.monotonic() >= deadline:
            module.fail_json(msg="the recovery epoch cannot be raised: %s" % why)
        time.sleep(1)


if __name__ == "__main__":
    main()
