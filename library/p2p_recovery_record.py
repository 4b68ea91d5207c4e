#!/usr/bin/python
"""Ansible module: the record on a voter under which one run at a time recovers the store."""

from __future__ import annotations

DOCUMENTATION = r"""
module: p2p_recovery_record
short_description: Takes and gives back the right to recover the store
description:
  - A recovery begins where the store can hold no record. Each voter that answers holds one in a file instead,
    and a run that does not get it on all of them gives back those that it got. Of two runs that meet on any
    voter at most one goes on.
  - A record outlives the run that wrote it if that run was killed, and a restart of the node. The action
    plugin of the same name takes it from a run of the same machine that has ended; O(breaking) replaces
    another one by name.
options:
  state:
    description:
      - V(read) only tells who holds it.
      - V(free) fails if another run holds it, and takes nothing.
      - V(held) takes it, and fails if another run holds it.
      - V(kept) fails unless O(run) still holds it.
      - V(released) gives it back if O(run) holds it, and does nothing otherwise.
    type: str
    choices: [read, free, held, kept, released]
    default: read
  path:
    description: The record. Its folder is root's alone, and is made if it is missing.
    type: path
    required: true
  run:
    description: Who holds it, as P(p2p_this_run#filter) gives it.
    type: dict
    default: {}
  breaking:
    description: C(id) of another run whose record is replaced, because that run is known to be gone.
    type: str
    default: ""
attributes:
  check_mode:
    support: full
    description: Writes nothing, and fails where another run holds it.
  diff_mode:
    support: none
    description: The record is gone when the run ends.
"""

EXAMPLES = r"""
- name: No other run recovers
  p2p_recovery_record:
    state: held
    path: /var/lib/p2p-recovery/p2p.json
    run: "{{ 'recover.yml' | p2p_this_run }}"
"""

RETURN = r"""
record:
  description:
    - What the record holds, null if nobody does. C(id), C(who), C(playbook) and C(since) (seconds since the
      epoch), and what tells on the same machine whether the run is alive.
  type: dict
  returned: always
"""

import os
from typing import Any, Dict, Mapping, Optional

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.p2p_recovery_record import HeldError, hold, look, read, release


def _turn(params: Mapping[str, Any], check_mode: bool) -> Optional[Dict[str, Any]]:
    """Do what is asked for and return the record. Raises HeldError, OSError, ValueError."""
    path, run, state = params["path"], params["run"], params["state"]
    record: Optional[Dict[str, Any]]
    if state in ("free", "held", "kept"):
        # A preview has taken none that it could keep.
        take, anew = (look, True) if check_mode or state == "free" else (hold, state == "held")
        record = take(path, run, params["breaking"], anew=anew)
    elif state == "released" and not check_mode:
        record = release(path, run)
    else:
        record = read(path)
    return record


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {
                "type": "str",
                "choices": ["read", "free", "held", "kept", "released"],
                "default": "read",
            },
            "path": {"type": "path", "required": True},
            "run": {"type": "dict", "default": {}},
            "breaking": {"type": "str", "default": ""},
        },
        required_if=[("state", state, ("run",)) for state in ("free", "held", "kept", "released")],
        supports_check_mode=True,
    )
    os.umask(0o077)
    record = None
    try:
        record = _turn(module.params, module.check_mode)
    except HeldError as held:
        why = "another run holds the recovery record" if held.record else "this run's recovery record is gone"
        module.fail_json(msg=why, record=held.record)
    except (OSError, ValueError) as error:
        module.fail_json(msg="the recovery record cannot be used: %s" % error, record=None)
    module.exit_json(changed=False, record=record)


if __name__ == "__main__":
    main()
