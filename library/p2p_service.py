#!/usr/bin/python
"""Ansible module: a service's definition, the files that it reads, its enablement and its state."""

from __future__ import annotations

DOCUMENTATION = r"""
module: p2p_service
short_description: Manages a service with its definition and the files that it reads
description:
  - Makes a service what is asked for, its definition, files, directories, enablement and state, in one task.
  - Restarts a running service only if it would then be something else, that is if its definition or a file
    that it reads has changed, if its process was started with another configuration, or if it runs from
    another release.
  - The literal C(@config_digest@) in the definition is replaced by a digest over the definition and the
    contents of its files. With C(Environment=P2P_CONFIG_DIGEST=@config_digest@) a process tells what it was
    started with.
options:
  name:
    description: The unit's name without C(.service).
    type: str
    required: true
  unit:
    description: Text of the definition. Without it only files, enablement and state are managed.
    type: str
  files:
    description:
      - Files that the service reads, written before it starts.
      - Each has C(path) (absolute) and C(content), and if need be C(mode), C(owner), C(group), C(secret),
        C(live) and C(live_lines). A C(secret) file has no C(content) here, since Ansible writes this option
        to the node's journal, but one in O(secrets); a diff shows digests alone of it. A C(live) file is
        read again by the service itself when it changes, so that a change does not restart it;
        C(live_lines) names the lines C(NAME=value) for which that holds.
    type: list
    elements: dict
    default: []
  secrets:
    description: The contents of the C(secret) ones of O(files), by their paths. Neither logged nor shown.
    type: dict
    default: {}
  directories:
    description: Directories that the service needs, each with C(path), and if need be C(mode), C(owner),
      C(group).
    type: list
    elements: dict
    default: []
  enabled:
    description: Whether it starts with the node; left as it is by default.
    type: bool
  state:
    description:
      - V(started) starts it, or restarts it if it would then be something else; V(restarted) always restarts
        it.
      - V(absent) stops and removes it with its O(files), and its O(directories) if they are empty by then.
    type: str
    choices: [started, stopped, restarted, absent]
    default: started
  purge:
    description: With O(state=absent), whether O(directories) are removed with all that they hold.
    type: bool
    default: false
  current:
    description:
      - Directory, or symlink to it, that the service's process must work in.
      - Give it the C(path) that M(p2p_release) returns, so that a preview knows of a release that is not
        there yet.
    type: path
  masked_units:
    description: Other units that must not run, stopped, disabled and masked. With O(state=absent) they are
      unmasked.
    type: list
    elements: str
    default: []
  program:
    description:
      - The same service for a manager that is not systemd, which writes its own definition from it.
      - C(command) (words for a shell that end with C(exec)), C(directory) (where it works), C(user),
        C(environment_file) (read by the shell), C(environment) (a dictionary), C(umask), C(stop_seconds), and
        C(directories) (in the form of O(directories)) that systemd would make by itself.
    type: dict
  manager:
    description:
      - The service manager. V(auto) takes what the node has, V(systemd) if it is process 1, V(launchd) on
        macOS, else V(supervisord), one for each service.
    type: str
    choices: [auto, systemd, supervisord, launchd]
    default: auto
  place:
    description:
      - Where a manager that is not systemd keeps its things.
      - C(folder) holds what it writes (for supervisord definition, socket, process id and logs), C(bin) the
        programs of supervisord, and C(hook) is the script that runs when the container starts, in which a
        marked block starts it again; a user who is not root has it in the home. C(crontab) is the table of
        cron of who runs this.
    type: dict
    default: {}
  wait_seconds:
    description: Seconds that a start or a stop may take.
    type: int
    default: 60
  settle_seconds:
    description: Seconds that a service must stay active after a start, with the same process.
    type: float
    default: 2.0
attributes:
  check_mode:
    support: full
    description: Says exactly what it would do, on a node without the unit too.
  diff_mode:
    support: full
    description: Shows texts, digests for secrets, enablement, state, configuration and release.
"""

EXAMPLES = r"""
- name: The orchestrator runs
  p2p_service:
    name: p2p_orchestrator
    unit: "{{ lookup('template', 'p2p_orchestrator.service.j2') }}"
    files:
      - {path: /etc/ringrift/node.conf, content: "{{ lookup('template', 'node.conf.j2') }}", mode: '0640'}
      - {path: /etc/ringrift/tls/node.key, mode: '0600', secret: true}
    secrets:
      /etc/ringrift/tls/node.key: "{{ lookup('file', 'node.key', rstrip=false) }}"
    current: "{{ release.path }}"
    enabled: true
"""

RETURN = r"""
actions:
  description: What was done or would be done, in short phrases such as C(restart p2p_orchestrator.service).
  type: list
  elements: str
  returned: always
reasons:
  description: Why, one C(part), C(name) and C(why) for each difference found.
  type: list
  elements: dict
  returned: always
restarted:
  description: Whether a running service was or would be restarted.
  type: bool
  returned: always
config_digest:
  description: The digest that stands for C(@config_digest@), or null where the definition does not ask for
    it.
  type: str
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.p2p_service_apply import Request
from ansible.module_utils.p2p_service_options import OPTIONS, SECRETS, masked
from ansible.module_utils.p2p_systemd import ServiceError


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=dict(OPTIONS, secrets=SECRETS), supports_check_mode=True)
    module.no_log_values = masked(module.no_log_values)
    request = None
    try:
        request = Request(module.params, module.check_mode)
        outcome = request.apply()
    except (ServiceError, ValueError) as error:
        module.fail_json(msg="%s" % error, changed=request is not None and request.touched)
    except OSError as error:
        where = error.filename or module.params["name"]
        module.fail_json(
            msg="%s: %s" % (where, error.strerror or error), changed=request is not None and request.touched
        )
    module.exit_json(**outcome)


if __name__ == "__main__":
    main()
