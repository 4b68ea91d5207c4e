#!/usr/bin/python
"""Ansible module: a user's git checkout is brought to a commit, and never at the cost of their work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: p2p_checkout
short_description: Clones a repository, or brings a checkout of it to a commit
description:
  - Clones O(repo) to O(path), or brings the checkout that is there to O(version), as its owner. C(HEAD) is
    then detached, so that no branch of the owner's is moved; files that git does not track stay.
  - A checkout that has to change and holds changes that are not committed is refused and left as it is.
  - The commit that was there before is kept as C(refs/p2p-cluster-previous).
  - P(p2p_probe#module) makes the same comparison with C(wanted.checkout).
options:
  repo:
    description: URL of the repository, for the node.
    type: str
    required: true
  version:
    description: A branch, a tag or a whole commit; the branch that the repository itself names if empty.
    type: str
    default: ""
  path:
    description: Folder of the checkout; C(~user/) is expanded.
    type: str
    required: true
  user:
    description: Owner of the checkout, who runs git.
    type: str
    required: true
  service:
    description: The service that runs the checkout's program, for RV(outdated).
    type: str
    required: true
  timeout:
    description: Seconds that a step may take.
    type: int
    default: 600
attributes:
  check_mode:
    support: full
    description:
      - Asks the repository, and names the commit that it would go to.
      - That git refuses to overwrite a file that it does not track shows in the run alone.
  diff_mode:
    support: full
    description: Shows the commits.
"""

EXAMPLES = r"""
- name: The checkout is at the commit that is asked for
  p2p_checkout:
    repo: https://git.example/ringrift.git
    version: main
    path: ~ubuntu/ringrift
    user: ubuntu
    service: p2p_orchestrator
"""

RETURN = r"""
actions:
  description: What was done or would be done, such as C(update ~ubuntu/ringrift from 1f2e3d4c5b6a to
    6a5b4c3d2e1f).
  type: list
  elements: str
  returned: always
before:
  description: The commit that was there; null where there was no checkout.
  type: str
  returned: always
after:
  description: The commit that is there now, or would be.
  type: str
  returned: always
outdated:
  description: Whether the service runs, and was started from another commit than RV(after).
  type: bool
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.p2p_checkout import CheckoutError, compare, environments, outdated, tell, update


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "repo": {"type": "str", "required": True},
            "version": {"type": "str", "default": ""},
            "path": {"type": "str", "required": True},
            "user": {"type": "str", "required": True},
            "service": {"type": "str", "required": True},
            "timeout": {"type": "int", "default": 600},
        },
        supports_check_mode=True,
    )
    try:
        found = compare(module.params, 60)
        changed = found.before != found.after
        if changed and not module.check_mode:
            update(module.params, found, module.params["timeout"])
    except CheckoutError as trouble:
        module.fail_json(msg="%s" % trouble)
    header = module.params["path"]
    module.exit_json(
        changed=changed,
        actions=[tell(module.params, found)] if changed else [],
        before=found.before,
        after=found.after,
        outdated=outdated(environments(module.params["service"]), found.after),
        diff=[
            {
                "before": "%s\n" % found.before if found.before else "",
                "after": "%s\n" % found.after,
                "before_header": header,
                "after_header": header,
            }
        ]
        if changed
        else [],
    )


if __name__ == "__main__":
    main()
