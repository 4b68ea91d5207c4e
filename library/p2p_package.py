#!/usr/bin/python
"""Ansible module: packages of Debian and its relatives, installed without starting anything."""

from __future__ import annotations

DOCUMENTATION = r"""
module: p2p_package
short_description: Installs packages of the distribution without starting their services
description:
  - Installs what is missing through C(apt-get). What is installed stays at its version.
  - Services of the packages are not started; M(p2p_service) decides what runs.
  - M(ansible.builtin.apt) cannot preview on a node without C(python3-apt), which rented machines often lack.
options:
  name:
    description: The packages.
    type: list
    elements: str
    required: true
  list_max_age:
    description: Seconds after which the package lists are fetched again before something is installed.
    type: int
    default: 86400
  timeout:
    description: Seconds that fetching the lists, and then installing, may take, a lock of others included.
    type: int
    default: 600
attributes:
  check_mode:
    support: full
    description: Tells which packages are missing, without fetching lists.
  diff_mode:
    support: full
    description: Shows the packages that would be there.
"""

EXAMPLES = r"""
- name: The etcd server is installed
  p2p_package:
    name: [etcd-server]
"""

RETURN = r"""
actions:
  description: What was done or would be done, such as C(install etcd-server).
  type: list
  elements: str
  returned: always
"""

import os
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, List

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.p2p_run import last_lines, run

LISTS = "/var/lib/apt/lists"
POLICY = Path("/usr/sbin/policy-rc.d")
# See invoke-rc.d(8): 101 forbids the action, here every start that a package asks for.
FORBID = "#!/bin/sh\nexit 101\n"


class PackageError(Exception):
    """Packages could not be installed; the text says what to do."""


def missing(names: List[str]) -> List[str]:
    """Return which packages are not installed.

    Raises:
        PackageError: if the node has no dpkg.
    """
    outcome = run(["dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Status}\\n", *names], 30)
    if outcome.code is None:
        raise PackageError(
            "this node has no dpkg: install %s yourself, by whatever its distribution has" % ", ".join(names)
        )
    installed = {line.split()[0] for line in outcome.out.splitlines() if line.endswith(" installed")}
    return [name for name in names if name not in installed]


def lists_are_old(max_age: float) -> bool:
    """Tell whether the package lists are missing or older than `max_age` seconds."""
    try:
        fetched = [entry.stat().st_mtime for entry in os.scandir(LISTS) if entry.name.endswith("Release")]
    except OSError:
        return True
    return not fetched or time.time() - max(fetched) > max_age


def install(names: List[str], list_max_age: float, timeout: float) -> None:
    """Install packages, their services not started.

    Raises:
        PackageError: if the lists or the packages cannot be had.
    """
    stale = lists_are_old(list_max_age)
    if stale:
        _apt(["update"], timeout, "check the node's way out and its package sources")
    # One of ours is what an interrupted run left.
    held_back = not POLICY.exists() or POLICY.read_text() == FORBID
    if held_back:
        _write_policy()
    try:
        _apt(
            ["install", "--yes", "--no-install-recommends", *names],
            timeout,
            "see whether its distribution has %s" % ", ".join(names),
        )
    finally:
        if held_back:
            POLICY.unlink()


def _write_policy() -> None:
    with tempfile.NamedTemporaryFile("w", dir=POLICY.parent, delete=False) as stream:
        stream.write(FORBID)
        os.fchmod(stream.fileno(), 0o755)
    Path(stream.name).rename(POLICY)


def _apt(words: List[str], timeout: float, remedy: str) -> None:
    options = ["-o", "DPkg::Lock::Timeout=%d" % timeout, "-o", "Dpkg::Options::=--force-confold"]
    outcome = run(["apt-get", "--quiet", *options, *words], timeout, {"DEBIAN_FRONTEND": "noninteractive"})
    if outcome.code != 0:
        said = last_lines(outcome.err or outcome.out, 3)
        raise PackageError("apt-get %s failed: %s; %s" % (words[0], said, remedy))


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "list", "elements": "str", "required": True},
            "list_max_age": {"type": "int", "default": 86400},
            "timeout": {"type": "int", "default": 600},
        },
        supports_check_mode=True,
    )
    names: List[str] = module.params["name"]
    try:
        needed = missing(names)
        if needed and not module.check_mode:
            install(needed, module.params["list_max_age"], module.params["timeout"])
    except PackageError as error:
        module.fail_json(msg="%s" % error)
    answer: Dict[str, Any] = {
        "changed": bool(needed),
        "actions": ["install %s" % name for name in needed],
        "diff": {
            "before_header": "packages",
            "after_header": "packages",
            "before": "".join("%s\n" % name for name in names if name not in needed),
            "after": "".join("%s\n" % name for name in names),
        },
    }
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
