#!/usr/bin/python
"""Ansible module: orchestrators of a node's earlier life are stopped and kept from coming back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: p2p_takeover
short_description: Ends a node's earlier life
description:
  - Finds orchestrators that are not the managed service, by their command line. Those of another unit, those
    started by hand with the shell that would start them again, and lines of cron tables that would.
  - Units are stopped, disabled and masked, their files kept with the suffix C(.set-aside); processes are
    stopped; lines of cron tables are commented out. Jobs that an orchestrator started go on.
  - A program on O(port) that is no orchestrator is never stopped; the module fails with its name.
  - Without root it fails, before anything is stopped, where another user's orchestrator would have to go.
  - P(p2p_probe#module) makes the same comparison with C(wanted.takeover).
options:
  service:
    description: Name of the managed unit.
    type: str
    required: true
  units:
    description: Units of earlier deployments, besides those that are found running.
    type: list
    elements: str
    default: [ringrift-p2p]
  root:
    description: Where the managed releases lie.
    type: path
    required: true
  port:
    description: Port that the orchestrator is going to listen on.
    type: int
    required: true
  manager:
    description: The service manager of the managed unit, as P(p2p_service#module) takes it.
    type: str
    choices: [auto, systemd, supervisord, launchd]
    default: auto
  place:
    description: Where a manager that is not systemd keeps its things, as P(p2p_service#module) takes it.
    type: dict
    default: {}
  timeout:
    description: Seconds that an order to the service manager may take.
    type: float
    default: 60
attributes:
  check_mode:
    support: full
    description: Names what it would stop.
  diff_mode:
    support: full
    description: Shows what runs or would start again.
"""

EXAMPLES = r"""
- name: Nothing of an earlier deployment runs
  p2p_takeover:
    service: p2p_orchestrator
    root: /opt/p2p-cluster
    port: 8770
"""

RETURN = r"""
actions:
  description: What was done or would be done, such as C(stop, disable and set aside ringrift-p2p.service).
  type: list
  elements: str
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.p2p_systemd import ServiceError
from ansible.module_utils.p2p_takeover import TakeoverError, action, end, find, forbidden, foreign


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "service": {"type": "str", "required": True},
            "units": {"type": "list", "elements": "str", "default": ["ringrift-p2p"]},
            "root": {"type": "path", "required": True},
            "port": {"type": "int", "required": True},
            "manager": {
                "type": "str",
                "choices": ["auto", "systemd", "supervisord", "launchd"],
                "default": "auto",
            },
            "place": {"type": "dict", "default": {}},
            "timeout": {"type": "float", "default": 60},
        },
        supports_check_mode=True,
    )
    why_not = foreign(module.params)
    if why_not:
        module.fail_json(msg=why_not)
    try:
        found = find(module.params, module.params["timeout"])
        why_not = forbidden(found)
        if why_not:
            module.fail_json(msg=why_not)
        if found and not module.check_mode:
            end(found, module.params["timeout"])
    except (ServiceError, TakeoverError, OSError) as error:
        module.fail_json(msg="%s" % error)
    actions = [action(item) for item in found]
    text = "".join("%s\n" % line for line in actions)
    header = "earlier deployments"
    module.exit_json(
        changed=bool(found),
        actions=actions,
        diff=[{"before": text, "after": "", "before_header": header, "after_header": header}]
        if found
        else [],
    )


if __name__ == "__main__":
    main()
