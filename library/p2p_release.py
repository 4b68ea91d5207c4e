#!/usr/bin/python
"""Ansible module: a release of the orchestrator on a node."""

from __future__ import annotations

DOCUMENTATION = r"""
module: p2p_release
short_description: Builds, activates and removes releases of a program with its virtual environment
description:
  - Makes a release directory exactly what is asked for, with a virtual environment from a hash-pinned lock,
    the program's wheel and rendered files, then swaps the symlink C(current) in one step.
  - The release that runs is not touched until the new one is complete. A release whose packages were changed
    is built anew beside itself; files of its own that were changed are put back in place.
  - What an interrupted run left is removed, and all but the last releases are, never the current or previous
    one.
options:
  root:
    description: Absolute path of the directory that holds C(releases/), C(current) and C(previous).
    type: path
    required: true
  name:
    description:
      - Name of the release, such as V(1.0.0-ab12cd34ef56); see the filter P(p2p_release_name#filter).
      - With O(state=active) it may be left out for the previous release. With O(state=absent) it may be left
        out to remove the whole root.
    type: str
  state:
    description:
      - V(present) builds or mends the release and, with O(activate), makes it current.
      - V(active) makes a release current that is there already, for a rollback.
      - V(absent) removes a release that is neither current nor previous, or without O(name) the whole root.
    type: str
    choices: [present, active, absent]
    default: present
  lock:
    description: Text of a lock of requirements with hashes, for every Python and platform that nodes may
      have.
    type: str
  wheel:
    description: The program itself, with C(filename), C(sha256) and C(content) (base64), as
      P(p2p_wheel#lookup) gives it.
    type: dict
  files:
    description:
      - Files of the release.
      - Each has C(path) (relative to the release), C(content), and if need be C(mode), C(owner), C(group).
    type: list
    elements: dict
    default: []
  python:
    description: Interpreter to make the environment with; the newest of 3.10 and later that can make one by
      default.
    type: path
  pip:
    description: Wheel of pip for an interpreter that brings none, in the form of O(wheel), as
      P(p2p_pip#lookup) gives it.
    type: dict
  wheelhouse:
    description: Folder of wheels on the node, or tar archive of them, to install from without an index.
    type: path
  keep:
    description: How many releases stay, the current one included.
    type: int
    default: 3
  min_free_mb:
    description: Megabytes that must be free below O(root) before anything is built.
    type: int
    default: 300
  activate:
    description: Whether to make the release current once it is complete.
    type: bool
    default: true
  built:
    description:
      - Whether an earlier task of the same run, with O(activate=false), builds the release.
      - It counts in a preview only, which then foretells what is left to do.
    type: bool
    default: false
  timeout:
    description: Seconds that pip may take.
    type: int
    default: 600
attributes:
  check_mode:
    support: full
    description: Says exactly what it would do.
  diff_mode:
    support: full
    description: Shows the current release, its packages, and the text of its files.
"""

EXAMPLES = r"""
- name: The release is there and current
  p2p_release:
    root: /opt/p2p-cluster
    name: "{{ spec | p2p_release_name('1.0.0') }}"
    lock: "{{ lookup('file', 'node.txt') }}"
    wheel: "{{ lookup('p2p_wheel', 'orchestrator') }}"

- name: Back to the previous release
  p2p_release:
    root: /opt/p2p-cluster
    state: active
"""

RETURN = r"""
release:
  description: Name of the release that is current afterwards, or would be.
  type: str
  returned: always
path:
  description: Absolute path of the release's directory. Give it to P(p2p_service#module) as C(current), so
    that a preview knows that the service would restart.
  type: str
  returned: when there is a release
previous:
  description: Name of the release that was current before, or that a rollback would go to.
  type: str
  returned: always
actions:
  description: What was done or would be done, in short phrases such as C(install psutil==7.2.2).
  type: list
  elements: str
  returned: always
packages:
  description: Name to version of what the release's environment holds, or would hold.
  type: dict
  returned: when there is a release
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.p2p_release_apply import apply
from ansible.module_utils.p2p_release_plan import ReleaseError, Request


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "name": {"type": "str"},
            "state": {"type": "str", "choices": ["present", "active", "absent"], "default": "present"},
            "lock": {"type": "str"},
            "wheel": {"type": "dict"},
            "files": {"type": "list", "elements": "dict", "default": []},
            "python": {"type": "path"},
            "pip": {"type": "dict"},
            "wheelhouse": {"type": "path"},
            "keep": {"type": "int", "default": 3},
            "min_free_mb": {"type": "int", "default": 300},
            "activate": {"type": "bool", "default": True},
            "built": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": 600},
        },
        required_if=[("state", "present", ("name",))],
        supports_check_mode=True,
    )
    try:
        request = Request(module.params, module.check_mode)
        outcome = apply(request)
    except (ReleaseError, ValueError) as error:
        module.fail_json(msg="%s" % error)
    except OSError as error:
        module.fail_json(msg="%s: %s" % (error.filename or module.params["root"], error.strerror or error))
    for warning in request.warnings:
        module.warn(warning)
    module.exit_json(**outcome)


if __name__ == "__main__":
    main()
