#!/usr/bin/python
"""Ansible module: a member's database made smaller, and the store's alarm switched off."""

from __future__ import annotations

DOCUMENTATION = r"""
module: p2p_etcd_care
short_description: Makes the database of the node's own etcd member smaller
description:
  - Defragments the database of the node's own member, which answers nothing meanwhile. Where the store is
    full, its history is forgotten before, and the alarm C(NOSPACE) switched off after.
options:
  etcd:
    description: How to ask the node's own member. C(endpoint), and for TLS C(ca), C(cert), C(key) (paths on
      the node).
    type: dict
    required: true
  compact:
    description: Whether the store's history is forgotten first, for all members.
    type: bool
    default: false
  disarm:
    description: Whether C(NOSPACE) is switched off afterwards, for all members.
    type: bool
    default: false
  timeout:
    description: Seconds that each step may take.
    type: float
    default: 300
attributes:
  check_mode:
    support: full
    description: Changes nothing.
  diff_mode:
    support: none
    description: What the store holds stays as it is.
"""

EXAMPLES = r"""
- name: The database has room again
  p2p_etcd_care:
    etcd: "{{ etcd_probe_spec }}"
"""

RETURN = r"""
db_size:
  description: Bytes of the database before (C(before)) and after (C(after), null in check mode).
  type: dict
  returned: success
actions:
  description: What was done or would be done.
  type: list
  elements: str
  returned: success
"""

import base64
import http.client
import json
import time
from typing import Any, Dict, List, Mapping

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.p2p_http import connect, post

NOSPACE = "NOSPACE"


class Member:
    """The node's own member."""

    def __init__(self, spec: Mapping[str, Any], timeout: float) -> None:
        self.spec, self.timeout = spec, timeout

    def ask(self, path: str, body: Mapping[str, Any]) -> Dict[str, Any]:
        """Return what it answers; raise OSError, ValueError or HTTPException if it does not."""
        connection = connect(self.spec, self.timeout)
        try:
            answer: Dict[str, Any] = post(connection, path, json.dumps(body), time.monotonic() + self.timeout)
            return answer
        finally:
            connection.close()

    def size(self) -> int:
        """Return the bytes of its database."""
        return int(self.ask("/v3/maintenance/status", {}).get("dbSize") or 0)

    def compact(self) -> None:
        """Forget the history up to now."""
        anything = base64.b64encode(b"/").decode("ascii")
        revision = self.ask("/v3/kv/range", {"key": anything})["header"]["revision"]
        try:
            self.ask("/v3/kv/compaction", {"revision": revision, "physical": True})
        except ValueError as error:
            if "has been compacted" not in "%s" % error:
                raise

    def disarm(self) -> None:
        """Switch the alarm off wherever it was raised."""
        for alarm in self.ask("/v3/maintenance/alarm", {"action": "GET"}).get("alarms") or []:
            if alarm.get("alarm") == NOSPACE:
                self.ask("/v3/maintenance/alarm", dict(alarm, action="DEACTIVATE"))


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "etcd": {"type": "dict", "required": True},
            "compact": {"type": "bool", "default": False},
            "disarm": {"type": "bool", "default": False},
            "timeout": {"type": "float", "default": 300.0},
        },
        supports_check_mode=True,
    )
    params = module.params
    member = Member(params["etcd"], params["timeout"])
    steps: List[Any] = [("compact the store's history", member.compact)] if params["compact"] else []
    steps.append(("defragment the member's database", lambda: member.ask("/v3/maintenance/defragment", {})))
    if params["disarm"]:
        steps.append(("switch off the alarm NOSPACE", member.disarm))
    sizes: Dict[str, Any] = {"before": None, "after": None}
    doing = "ask the member"
    try:
        sizes["before"] = member.size()
        if not module.check_mode:
            for words, step in steps:
                doing = words
                step()
            sizes["after"] = member.size()
    except (OSError, ValueError, http.client.HTTPException) as error:
        module.fail_json(msg="etcd could not %s: %s" % (doing, error or type(error).__name__))
    module.exit_json(changed=True, db_size=sizes, actions=[words for words, _ in steps])


if __name__ == "__main__":
    main()
