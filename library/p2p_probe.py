#!/usr/bin/python
"""Ansible module: what a node is, in one round trip."""

from __future__ import annotations

DOCUMENTATION = r"""
module: p2p_probe
short_description: Tells what a node is and how it differs from what it is meant to be
description:
  - Reads, in one round trip and side by side, the platform, the services, the processes, the port, the
    releases, the endpoints and the etcd member of a node. It changes nothing, and no check takes longer than
    O(timeout) allows.
  - Given what the node is meant to have, it compares every managed file by digest, mode and owner, every file
    of the virtual environment by its package's record, the packages, the units, their enablement and state,
    and what the running processes were started with. P(p2p_release#module) and P(p2p_service#module) act on
    the same comparison.
options:
  service:
    description: Name of the orchestrator's unit.
    type: str
    default: p2p_orchestrator
  etcd_service:
    description: Name of the etcd member's unit, on voters.
    type: str
  legacy_services:
    description: Units of earlier deployments that are looked at too.
    type: list
    elements: str
    default: [ringrift-p2p]
  root:
    description: Directory that holds the releases.
    type: path
    default: /opt/p2p-cluster
  manager:
    description: The service manager; V(auto) takes what the node has.
    type: str
    choices: [auto, systemd, supervisord, launchd]
    default: auto
  place:
    description:
      - Where a manager that is not systemd keeps its things, as P(p2p_service#module) takes it; its C(folder)
        is C(supervisor) below O(root) by default.
    type: dict
    default: {}
  port:
    description: Port of the orchestrator.
    type: int
    default: 8770
  voter:
    description: Whether the node is meant to vote; it is handed through.
    type: bool
    default: false
  wanted:
    description:
      - What the node is meant to be. C(release) as P(p2p_release_wanted#filter) gives it, C(services) a list
        as P(p2p_service_wanted#filter) gives them. Without it nothing is compared.
    type: dict
  etcd:
    description:
      - How to ask the node's own etcd member. C(endpoint), for TLS C(ca), C(cert) and C(key) (paths on the
        node), and C(data_dir) (C(/var/lib/) with O(etcd_service) by default).
    type: dict
  digests:
    description: Files whose SHA-256 is returned.
    type: list
    elements: path
    default: []
  reach:
    description:
      - Ports of other machines that the node has to reach, each with C(host) and C(port), and C(proxy) where
        the way is through a SOCKS5 proxy on that port of the node's loopback. They are tried where the node
        differs from O(wanted) and O(service) does not run, and nowhere else.
    type: list
    elements: dict
    default: []
  mesh:
    description:
      - The other voters' ports that a voter with O(etcd) tries, with its own certificates. C(targets), each
        with C(voter), C(host), C(port), C(service) (V(etcd) or V(heartbeat)) and C(name), the DNS name of
        that voter's certificate; and C(tls), by service C(ca), C(cert) and C(key) (paths on the node), empty
        where connections are plain.
    type: dict
  imports:
    description: Top-level modules that the virtual environment should have.
    type: list
    elements: str
    default: []
  venv:
    description: The virtual environment that O(imports) are looked for in; that of the current release by
      default.
    type: path
  log_lines:
    description: How many of the last lines of each unit's journal are returned, if not all is well.
    type: int
    default: 12
  timeout:
    description: Seconds that each check may take.
    type: float
    default: 5.0
attributes:
  check_mode:
    support: full
    description: Does the same; it only reads.
  diff_mode:
    support: none
    description: There is nothing to show.
"""

EXAMPLES = r"""
- name: Every node says what it is
  p2p_probe:
    wanted:
      release: "{{ release_spec | p2p_release_wanted }}"
      services: "{{ service_specs | map('p2p_service_wanted') | list }}"
  register: node
"""

RETURN = r"""
probe:
  description: What the node is. A part that could not be read in time is null or empty, and named in
    C(errors).
  type: dict
  returned: always
  contains:
    schema: {description: Version of this structure, type: int, returned: always, sample: 1}
    platform:
      description:
        - C(system), C(distribution), C(version), C(kernel), C(machine), C(hostname), C(container) (null or
          what contains the node) and C(cpus).
      type: dict
      returned: always
    manager: {description: 'What manages services, V(systemd), V(supervisord) or V(launchd).', type: str,
      returned: always}
    user:
      description:
        - Who the probe ran as. C(name), C(uid), C(home), C(root) and C(sudo) (without a password; null for
          root).
      type: dict
      returned: always
    python: {description: The C(path) and C(version) of the interpreter that ran the probe., type: dict,
      returned: always}
    pythons:
      description: The interpreters found, the newest first. Each has C(path), C(version), and C(named),
        whether it is the one that the specification names, which then comes first.
      type: list
      elements: dict
      returned: always
    disk:
      description: The file system of O(root). C(path), C(total_mb), C(free_mb), C(used_percent),
        C(inodes_free).
      type: dict
      returned: always
    memory: {description: 'C(total_mb), C(available_mb) and C(load) (one minute).', type: dict, returned:
      always}
    clock:
      description: C(unix) (seconds since the epoch), C(synchronised) (or null), C(uptime_seconds).
      type: dict
      returned: always
    services:
      description:
        - By unit name C(load), C(active), C(sub), C(enabled), C(unit_path), C(unit_sha256), C(drop_ins),
          C(reload_needed), C(restarts), C(result), C(exit_status), C(pid), C(started_at), C(config_digest)
          and C(cwd) of the main process, C(look) (the command that shows people how it does), and C(log), a
          list of lines, read only if a service of the node is not well.
      type: dict
      returned: always
    processes:
      description:
        - Orchestrators that run, each with C(kind) (V(ours), V(legacy) for another service's, V(manual) for
          one started by hand or by cron), C(pid), C(cmdline), C(age_seconds), C(owner) and C(unit).
      type: list
      elements: dict
      returned: always
    listener:
      description:
        - Who listens on O(port). C(pid), C(name), C(cmdline), C(owner), C(orchestrator); null if nobody does.
          All but C(owner) are null where another user's process may not be looked into and several may be it.
      type: dict
      returned: always
    watchdogs:
      description: Lines of cron tables that would start an orchestrator, each with C(path) and C(line).
      type: list
      elements: dict
      returned: always
    release:
      description:
        - C(current) (its directory), C(name), C(manifest) (C(name), C(created_at), C(python), C(packages),
          C(python_version), C(artifact), C(target)), C(previous) (the name that a rollback goes to),
          C(available) (names of the others), C(built) (by name when it was first built, in seconds since the
          epoch).
      type: dict
      returned: always
    imports_missing:
      description: Which of O(imports) are missing; null without O(imports) or without an environment.
      type: list
      elements: str
      returned: always
    http:
      description:
        - C(health) and C(status), each with C(status) (HTTP code or null), C(body), C(ms) and C(error). The
          C(peers) of C(/status) are cut down to C(name) and C(alive).
      type: dict
      returned: always
    etcd:
      description:
        - Null without O(etcd). Always C(has_data), C(data_dir), C(ms) and C(error). If the member answered
          also C(member_id), C(cluster_id), C(leader) (decimal text, as etcd gives them; C(leader) is null if
          it knows none), C(reads) (whether a majority confirmed a read), C(raft_index),
          C(raft_applied_index), C(raft_term), C(learner), C(alarms), C(version), C(db_size) and
          C(db_size_in_use) (bytes) and C(members), each with C(id), C(name), C(learner), C(peer_urls),
          C(client_urls).
      type: dict
      returned: always
    mesh:
      description:
        - C(targets) of O(mesh), each with C(outcome), which is V(open), V(refused) (the machine answers,
          nobody listens), V(blocked), V(foreign) (somebody else answers there) or V(untrusted) (one end does
          not believe the other's certificate), C(why), and C(listed), which has the same for the address that
          the store's list has, if it is another. Null if they were not tried, or the voter has no
          certificates yet.
      type: list
      elements: dict
      returned: always
    certificates:
      description:
        - When the certificates (C(.crt), C(.pem)) among the files of C(wanted.services) end, each with
          C(path) and C(not_after) (seconds since the epoch). One that cannot be read is left out.
      type: list
      elements: dict
      returned: always
    drift:
      description:
        - How the node differs from O(wanted), each with C(part) (V(release), V(package), V(venv), V(file),
          V(live), V(directory), V(unit), V(reload), V(masked), V(enabled), V(state), V(restart), V(manager),
          V(probe)), C(name), C(why), C(restarts), the services that mending it stops or restarts, and
          C(service), the one that it is about, if it is about one. Empty if it does not differ.
      type: list
      elements: dict
      returned: always
    digests:
      description: By path the SHA-256 of O(digests), null where there is no file.
      type: dict
      returned: always
    reach:
      description:
        - O(reach), each with C(outcome), which is V(open), V(refused) (the machine answers, nobody listens)
          or V(blocked), and C(why). Null if they were not tried.
      type: list
      elements: dict
      returned: always
    errors: {description: By part why it could not be read., type: dict, returned: always}
    voter: {description: O(voter)., type: bool, returned: always}
    elapsed_ms: {description: Milliseconds that the probe took., type: float, returned: always}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.p2p_probe_options import OPTIONS
from ansible.module_utils.p2p_probe_parts import probe


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=OPTIONS, supports_check_mode=True)
    module.exit_json(changed=False, probe=probe(module.params))


if __name__ == "__main__":
    main()
