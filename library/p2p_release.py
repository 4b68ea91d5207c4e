#!/usr/bin/python
"""Ansible module: a release of the orchestrator on a node."""

from __future__ import annotations

DOCUMENTATION = r"""
module: p2p_release
short_description: Makes, activates and removes releases of a program with its virtual environment
description:
  - Makes a release directory exactly what is asked for, with a virtual environment out of an artefact that
    the controller built, and rendered files, then swaps the symlink C(current) in one step.
  - Nothing is fetched from a package index, and the node needs a Python for the artefact and nothing else.
  - The release that runs is not touched until the new one is complete. A release whose packages were changed
    is made anew beside itself; files of its own that were changed are put back in place.
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
      - V(present) makes or mends the release and, with O(activate), makes it current.
      - V(active) makes a release current that is there already, for a rollback.
      - V(absent) removes a release that is neither current nor previous, or without O(name) the whole root.
    type: str
    choices: [present, active, absent]
    default: present
  artifact:
    description:
      - What the release is made of, as P(p2p_artifact#lookup) gives it; C(digest), C(target), C(python),
        C(packages) and C(size) (of the archive, in bytes) are used on the node.
      - The controller sends the archive (C(path)) where the release is not there yet, or first one of what
        the running release lacks (C(since)).
    type: dict
  archive:
    description: Where the archive lies on the node. The controller gives it, and the module removes the file.
    type: path
  partial:
    description: Whether the archive leaves out what an older release has; the whole is needed if that fails.
    type: bool
    default: false
  url:
    description:
      - Where the node fetches the archive, with C(http) or C(https). What arrives is compared with the
        digest.
      - Where that fails the controller sends it, with a warning.
    type: str
  files:
    description:
      - Files of the release.
      - Each has C(path) (relative to the release), C(content), and if need be C(mode), C(owner), C(group).
    type: list
    elements: dict
    default: []
  python:
    description: Interpreter that runs the release; by default the first that has the artefact's version.
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
  service:
    description:
      - Options of M(p2p_service) but C(secrets), for a service that runs from the release once that is
        current. Each task costs a node a round trip.
      - Its C(current) is the release.
    type: dict
  secrets:
    description: As M(p2p_service) has them, for O(service).
    type: dict
    default: {}
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
    name: "{{ name }}"
    artifact: "{{ lookup('p2p_artifact', spec, release=name, probe=probe, pythons=['3.11'], folder='~/x') }}"

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
needed:
  description: Why nothing was done, where a release is to be made and its archive is not on the node.
  type: str
  returned: where that is so
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

import errno
from typing import Any, Dict, Optional

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.p2p_release_apply import apply, drop
from ansible.module_utils.p2p_release_plan import ReleaseError, Request
from ansible.module_utils.p2p_service_apply import Request as ServiceRequest
from ansible.module_utils.p2p_service_options import OPTIONS, SECRETS, masked
from ansible.module_utils.p2p_systemd import ServiceError


def service_of(module: AnsibleModule, current: str) -> Optional[ServiceRequest]:
    """Return the service that is to run from a release, or None.

    Raises:
        ServiceError, ValueError: as p2p_service.
    """
    params = module.params
    if not params["service"]:
        return None
    options = dict(params["service"], secrets=params["secrets"], current=current)
    return ServiceRequest(options, module.check_mode)


def run(module: AnsibleModule, made: Dict[str, Any]) -> Dict[str, Any]:
    """Make the release, tell of it in `made`, have the service run from it, and return the answer about both.

    Raises:
        ReleaseError, ServiceError, ValueError, OSError: as this module and p2p_service.
    """
    params = module.params
    # Refused while the old release is current: one that is activated is to be started, too.
    service = service_of(module, "%s/releases/%s" % (params["root"], params["name"]))
    if service and not module.check_mode:
        service.refuse()
    made.update(apply(Request(params, module.check_mode)))
    service = service_of(module, made["path"]) if "path" in made else None
    if service is None:
        return made
    ran = service.apply()
    both = {key: made[key] + ran[key] for key in ("actions", "diff")}
    return dict(made, changed=made["changed"] or ran["changed"], **both)


def why(error: OSError, where: str) -> str:
    """Return an error of the system in one line."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk below %s is full: free space there and run again; what ran still runs" % where
    return "%s: %s" % (error.filename or where, error.strerror or error)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "name": {"type": "str"},
            "state": {"type": "str", "choices": ["present", "active", "absent"], "default": "present"},
            "artifact": {
                "type": "dict",
                "options": {
                    "digest": {"type": "str", "required": True},
                    "target": {"type": "str", "required": True},
                    "python": {"type": "str", "required": True},
                    "packages": {"type": "dict", "default": {}},
                    "size": {"type": "int", "required": True},
                },
            },
            "archive": {"type": "path"},
            "partial": {"type": "bool", "default": False},
            "url": {"type": "str"},
            "files": {"type": "list", "elements": "dict", "default": []},
            "python": {"type": "path"},
            "keep": {"type": "int", "default": 3},
            "min_free_mb": {"type": "int", "default": 300},
            "activate": {"type": "bool", "default": True},
            "built": {"type": "bool", "default": False},
            "service": {"type": "dict", "options": OPTIONS},
            "secrets": SECRETS,
        },
        required_if=[("state", "present", ("name",))],
        supports_check_mode=True,
    )
    module.no_log_values = masked(module.no_log_values)
    made: Dict[str, Any] = {"changed": False}
    try:
        outcome = run(module, made)
    except (ReleaseError, ServiceError, ValueError) as error:
        module.fail_json(msg="%s" % error, changed=made["changed"])
    except OSError as error:
        module.fail_json(msg=why(error, module.params["root"]), changed=made["changed"])
    except Exception as error:  # a name for what nobody foresaw: Ansible's own is lost on the way
        told = "%s: %s" % (type(error).__name__, error)
        module.fail_json(msg="p2p_release met what it does not know: %s" % told, changed=made["changed"])
    finally:
        drop(module.params["archive"])
    module.exit_json(**outcome)


if __name__ == "__main__":
    main()
