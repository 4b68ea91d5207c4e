#!/usr/bin/python
"""Keep the cluster's certificate authority and one leaf certificate a node, on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: p2p_certificate
short_description: Keep the cluster's CA and one leaf certificate a node, in one directory on the controller
description:
  - Runs once on the controller for all nodes of a play. Makes what is missing, renews what runs out.
  - Nothing that it returns or shows as a diff holds a private key; callers read keys from RV(nodes.file).
  - In check mode it reads the same files and decides the same things, and writes nothing.
options:
  state_dir:
    description: Directory of the CA and the leaves. Mode 0700, files 0600, owned by the user who runs this.
    type: path
    required: true
  cluster:
    description: Name of the cluster, a DNS label. A directory belongs to one cluster.
    type: str
    required: true
  passphrase:
    description: Encrypts the CA's key; an existing plain key is encrypted. Empty means none.
    type: str
    default: ""
  nodes:
    description: The nodes that need a leaf.
    type: list
    elements: dict
    default: []
    suboptions:
      node_id:
        description: Name of the node; a DNS label that may hold underscores.
        type: str
        required: true
      addresses:
        description: Addresses, host names or URLs under which a voter is reached. Used for voters only.
        type: list
        elements: str
        default: []
      server:
        description: Whether others connect to this node by TLS, that is, whether it is a voter.
        type: bool
        default: false
  removed:
    description:
      - Nodes whose unexpired certificates, old ones included, are revoked.
      - A name is refused that is neither in O(known) nor one that O(state_dir) gave a certificate, or revoked
        before. With O(only_look) it is warned of.
    type: list
    elements: str
    default: []
  known:
    description: Nodes of the fleet, which may be among O(removed) though they never had a certificate.
    type: list
    elements: str
    default: []
  voters:
    description: All nodes that vote. Unexpired certificates that any other node got as a voter are revoked.
      Left empty while others still vote; none is revoked for it then.
    type: list
    elements: str
    default: []
  called:
    description: The nodes that all others call. Of these RV(denied_callees) has all that was denied.
    type: list
    elements: str
    default: []
  seen:
    description: For each node that already has a CA bundle, the SHA-256 of that file. A bundle that never
      came from O(state_dir) is refused.
    type: dict
    default: {}
  adopt:
    description: PEM of the CA bundle that the nodes trust now, to take a cluster over with O(rotate=start).
    type: str
    default: ""
  adopt_sha256:
    description: SHA-256 of the bundle that most voters carry. Another O(adopt) is not taken over.
    type: str
    default: ""
  adopt_follows:
    description: In check mode, whether O(adopt) is not known yet, and is before anything is written.
    type: bool
    default: false
  ca_days:
    description: Validity of a new CA.
    type: int
    default: 3650
  leaf_days:
    description: Validity of a new leaf.
    type: int
    default: 90
  renew_below_days:
    description: A leaf with fewer days left is issued anew.
    type: int
    default: 30
  rotate:
    description:
      - V(start) makes the next CA, which nodes are to trust beside the present one.
      - V(switch) issues all leaves from the next CA; both stay trusted.
      - V(finish) stops trusting the old one.
      - Each does nothing when it is done already. V(none) leaves the stage as it is.
    type: str
    choices: [none, start, switch, finish]
    default: none
  only_look:
    description: In check mode, whether O(passphrase) may be missing where something would be signed. For a
      run that reports, and that no run which signs follows.
    type: bool
    default: false
  lock_seconds:
    description: How long to wait for another run that holds the directory.
    type: int
    default: 60
author: p2p-cluster
"""

EXAMPLES = r"""
- name: Every node of this play has a certificate on the controller
  p2p_certificate:
    state_dir: ~/.config/p2p-cluster/p2p
    cluster: p2p
    nodes:
      - {node_id: hetzner-cpu1, server: true, addresses: [192.0.2.1]}
      - {node_id: vast-1}
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
nodes:
  description: By node id, C(file) (PEM of the certificate, then its key; null while there is none),
    C(pending) (true if check mode would issue it), C(changed), C(reason), C(serial), C(not_after), C(names).
  returned: success
  type: dict
ca_bundle:
  description: PEM of every CA that is trusted; in check mode a stable placeholder where it would change.
  returned: success
  type: str
ca_bundle_sha256:
  description: Digest of RV(ca_bundle) as a file.
  returned: success
  type: str
bundles:
  description: The SHA-256 of every bundle that this directory ever gave.
  returned: success
  type: list
  elements: str
stage:
  description: V(steady), V(trust) (the next CA is trusted, not used) or V(overlap) (it is used, the old one
    still trusted).
  returned: success
  type: str
crl:
  description: PEM of the revocation list, for etcd.
  returned: success
  type: str
denied:
  description: The same as text, one serial in lower-case hexadecimal a line, the node behind a hash.
  returned: success
  type: str
denied_callees:
  description:
    - The part of RV(denied) that counts for nodes which nobody calls. It has the certificates of nodes in
      O(called), of whatever time, and those that removed nodes got as voters.
    - So what is denied of nodes that come and go changes nothing on others.
  returned: success
  type: str
ca_not_after:
  description: When the CA that issues runs out.
  returned: success
  type: str
issued:
  description: Names of the nodes that got, or would get, a new certificate.
  returned: success
  type: list
  elements: str
revoked:
  description: Serials of the certificates that were, or would be, revoked by this run.
  returned: success
  type: list
  elements: str
revocations:
  description:
    - By name of each node of O(removed), and of each that voted, how many valid certificates were, or would
      be, revoked by this run (C(revoked)), and how many were before (C(before)).
  returned: success
  type: dict
held_ca:
  description: Whether O(state_dir) held a CA before this run.
  returned: success
  type: bool
encrypts:
  description: Whether a CA's key that was plain got, or would get, the passphrase.
  returned: success
  type: bool
"""

import datetime as dt
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    from ansible.module_utils.p2p_certificate_directory import run
    from ansible.module_utils.p2p_certificate_names import CertificateError

    HAS_CRYPTOGRAPHY = True
except ImportError:
    HAS_CRYPTOGRAPHY = False


def arguments() -> dict[str, Any]:
    """Return the module's argument specification."""
    node = {
        "node_id": {"type": "str", "required": True},
        "addresses": {"type": "list", "elements": "str", "default": []},
        "server": {"type": "bool", "default": False},
    }
    return {
        "state_dir": {"type": "path", "required": True},
        "cluster": {"type": "str", "required": True},
        "passphrase": {"type": "str", "default": "", "no_log": True},
        "nodes": {"type": "list", "elements": "dict", "default": [], "options": node},
        "removed": {"type": "list", "elements": "str", "default": []},
        "voters": {"type": "list", "elements": "str", "default": []},
        "called": {"type": "list", "elements": "str", "default": []},
        "seen": {"type": "dict", "default": {}},
        "known": {"type": "list", "elements": "str", "default": []},
        "adopt": {"type": "str", "default": ""},
        "adopt_sha256": {"type": "str", "default": ""},
        "adopt_follows": {"type": "bool", "default": False},
        "ca_days": {"type": "int", "default": 3650},
        "leaf_days": {"type": "int", "default": 90},
        "renew_below_days": {"type": "int", "default": 30},
        "rotate": {"type": "str", "default": "none", "choices": ["none", "start", "switch", "finish"]},
        "only_look": {"type": "bool", "default": False},
        "lock_seconds": {"type": "int", "default": 60},
    }


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(argument_spec=arguments(), supports_check_mode=True)
    if not HAS_CRYPTOGRAPHY:
        module.fail_json(msg=missing_required_lib("cryptography"))
    try:
        result, warnings = run(
            module.params, check_mode=module.check_mode, now=dt.datetime.now(dt.timezone.utc)
        )
    except CertificateError as error:
        module.fail_json(msg=str(error))
    for warning in warnings:
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
