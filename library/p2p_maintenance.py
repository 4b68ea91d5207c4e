#!/usr/bin/python
"""Ansible module: the record in the cluster's store under which one run at a time stops voters."""

from __future__ import annotations

DOCUMENTATION = r"""
module: p2p_maintenance
short_description: Takes, renews and gives back the right to stop voters
description:
  - Every stop of a voter happens under a record in the cluster's etcd, C(/p2p/<cluster>/maintenance), that is
    taken by compare-and-swap through the node's own member. Two runs cannot both hold it.
  - A record outlives the run that wrote it if that run was killed. It never ends by itself, since no clock
    can tell a slow run from a dead one; O(breaking) replaces it by name.
options:
  state:
    description:
      - V(read) only tells who holds it.
      - V(held) takes or renews it, and fails if another run holds it.
      - V(released) gives it back if O(run) holds it, and does nothing otherwise.
    type: str
    choices: [read, held, released]
    default: read
  cluster:
    description: Name of the cluster.
    type: str
    required: true
  etcd:
    description: How to ask the node's own member. C(endpoint), and for TLS C(ca), C(cert), C(key) (paths on
      the node).
    type: dict
    required: true
  run:
    description: Who holds it, as P(p2p_this_run#filter) gives it.
    type: dict
    default: {}
  breaking:
    description: C(id) of another run whose record is replaced, because that run is known to be gone.
    type: str
    default: ""
  timeout:
    description: Seconds that each question to the store may take.
    type: float
    default: 5.0
  seconds:
    description: For how long a store that refuses, or does not answer, is asked again. One that elects its
      leader does for a moment.
    type: float
    default: 20.0
attributes:
  check_mode:
    support: full
    description: Writes nothing, and fails where it would.
  diff_mode:
    support: none
    description: The record is gone when the run ends.
"""

EXAMPLES = r"""
- name: No other run stops voters
  p2p_maintenance:
    state: held
    cluster: p2p
    etcd: "{{ etcd_probe_spec }}"
    run: "{{ 'deploy.yml' | p2p_this_run }}"
"""

RETURN = r"""
record:
  description:
    - What the record holds, null if nobody does. C(id), C(who), C(playbook), C(since) and C(renewed) (seconds
      since the epoch), and what tells on the same machine whether the run is alive.
  type: dict
  returned: always
"""

import time
from typing import Any, Mapping, Optional

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.p2p_store import Key, StoreError


class _HeldError(Exception):
    """Another run holds the record."""

    def __init__(self, record: Mapping[str, Any]) -> None:
        super().__init__()
        self.record = record


def _turn(params: Mapping[str, Any], key: Key, check_mode: bool) -> Optional[Mapping[str, Any]]:
    """Do once what is asked for and return the record. Raises _HeldError, StoreError."""
    run, entry = params["run"], key.read()
    record: Optional[Mapping[str, Any]] = entry.value
    ours = record is not None and record.get("id") == run.get("id")
    if params["state"] == "held":
        if record is not None and not ours and record.get("id") != params["breaking"]:
            raise _HeldError(record)
        fresh = dict(run, renewed=time.time())
        if check_mode or key.write(fresh, entry.revision):
            return fresh
        winner: Mapping[str, Any] = key.read().value or {}
        # Its own, where the answer to an earlier try was lost.
        if winner.get("id") != run.get("id"):
            raise _HeldError(winner)
        return winner
    if params["state"] == "released" and ours and not check_mode:
        key.remove(entry.revision)
        return None
    return record


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["read", "held", "released"], "default": "read"},
            "cluster": {"type": "str", "required": True},
            "etcd": {"type": "dict", "required": True},
            "run": {"type": "dict", "default": {}},
            "breaking": {"type": "str", "default": ""},
            "timeout": {"type": "float", "default": 5.0},
            "seconds": {"type": "float", "default": 20.0},
        },
        required_if=[("state", "held", ("run",)), ("state", "released", ("run",))],
        supports_check_mode=True,
    )
    params = module.params
    key = Key(params["etcd"], "/p2p/%s/maintenance" % params["cluster"], params["timeout"])
    deadline = time.monotonic() + params["seconds"]
    while True:
        try:
            record = _turn(params, key, module.check_mode)
            break
        except _HeldError as held:
            module.fail_json(msg="another run holds the maintenance record", record=held.record)
        except StoreError as error:
            if time.monotonic() >= deadline:
                module.fail_json(msg="the maintenance record cannot be read: %s" % error, record=None)
        time.sleep(1)
    module.exit_json(changed=False, record=record)


if __name__ == "__main__":
    main()
