#!/usr/bin/python
"""Ansible module: what a virtual environment of somebody else's lacks is installed, and nothing else."""

from __future__ import annotations

DOCUMENTATION = r"""
module: p2p_environment
short_description: Installs what an existing virtual environment lacks
description:
  - For an environment that belongs to a checkout and not to this project. It is asked through its own
    interpreter, as its owner; what is there stays as it is, whatever its version.
  - P(p2p_probe#module) makes the same comparison with C(wanted.environment).
options:
  venv:
    description: Folder of the environment; C(~user/) is expanded.
    type: str
    required: true
  user:
    description: Owner of the environment, who runs pip.
    type: str
    required: true
  names:
    description: Requirements such as V(psutil==7.2.2). One that is there in any version is left alone.
    type: list
    elements: str
    default: []
  file:
    description: A requirements file on the node whose lines have to be met, versions included.
    type: str
    default: ""
  supervisord:
    description: The requirement that is needed besides O(names) where supervisord manages services.
    type: str
    default: ""
  manager:
    description: The service manager, as P(p2p_service#module) takes it.
    type: str
    choices: [auto, systemd, supervisord, launchd]
    default: auto
  create:
    description: Whether an environment that is not there is made.
    type: bool
    default: false
  timeout:
    description: Seconds that pip may take.
    type: int
    default: 1800
attributes:
  check_mode:
    support: full
    description: Names what it would install.
  diff_mode:
    support: full
    description: Shows the requirements that are not met.
"""

EXAMPLES = r"""
- name: The checkout has what its orchestrator needs
  p2p_environment:
    venv: ~ubuntu/ringrift/ai-service/venv
    user: ubuntu
    names: [aiohttp==3.14.5, psutil==7.2.2, PyYAML==6.0.3]
"""

RETURN = r"""
actions:
  description: What was done or would be done, such as C(install psutil==7.2.2).
  type: list
  elements: str
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.p2p_environment import BrokenEnvironmentError, install, lacking


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "venv": {"type": "str", "required": True},
            "user": {"type": "str", "required": True},
            "names": {"type": "list", "elements": "str", "default": []},
            "file": {"type": "str", "default": ""},
            "supervisord": {"type": "str", "default": ""},
            "manager": {
                "type": "str",
                "choices": ["auto", "systemd", "supervisord", "launchd"],
                "default": "auto",
            },
            "create": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": 1800},
        },
        supports_check_mode=True,
    )
    try:
        lacks = lacking(module.params, 60)
        if lacks and not module.check_mode:
            install(module.params, lacks, module.params["timeout"])
    except BrokenEnvironmentError as trouble:
        module.fail_json(msg="%s" % trouble)
    text = "".join("install %s\n" % line for line in lacks)
    header = module.params["venv"]
    module.exit_json(
        changed=bool(lacks),
        actions=text.splitlines(),
        diff=[{"before": "", "after": text, "before_header": header, "after_header": header}]
        if lacks
        else [],
    )


if __name__ == "__main__":
    main()
