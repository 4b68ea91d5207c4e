#!/usr/bin/python
"""Ansible module: upstream's release of etcd, checked and unpacked."""

from __future__ import annotations

DOCUMENTATION = r"""
module: p2p_etcd_archive
short_description: Unpacks a pinned release of etcd
description:
  - Gets upstream's archive of a version for the node's architecture, from a URL or from a file of the
    controller, compares it with the pinned SHA-256 and unpacks its programs as O(root)/O(version), in one
    step. Other versions beside it are left alone, so that nothing that runs is touched.
  - The action plugin of the same name checks and sends a file of the controller.
options:
  version:
    description: The version, such as V(3.6.14).
    type: str
    required: true
  root:
    description: Directory that holds one directory a version.
    type: path
    required: true
  checksums:
    description: SHA-256 of the archives, by architecture (V(amd64), V(arm64)) and version.
    type: dict
    required: true
  url:
    description: Where the node downloads it; C({version}) and C({arch}) stand for the node's.
    type: str
    default: ""
  file:
    description: The archive on the controller, in place of O(url); with the same words.
    type: path
    default: ""
  path:
    description: Where it is on the node; the action plugin fills it in.
    type: path
    default: ""
  look:
    description: Only tell what is needed; the action plugin's first question.
    type: bool
    default: false
  timeout:
    description: Seconds without an answer after which a download is given up.
    type: int
    default: 60
attributes:
  check_mode:
    support: full
    description: Unpacks and downloads nothing; a file of the controller is compared nevertheless.
  diff_mode:
    support: full
    description: Shows the version's directory.
"""

EXAMPLES = r"""
- name: etcd 3.6.14 is unpacked
  p2p_etcd_archive:
    version: 3.6.14
    root: /opt/p2p-etcd
    checksums: "{{ lookup('file', 'etcd_checksums.yml') | from_yaml | json_query('etcd_archive_checksums') }}"
    file: ~/downloads/etcd-v{version}-linux-{arch}.tar.gz
"""

RETURN = r"""
archive:
  description: C(arch), C(sha256) (what is pinned), C(directory) and whether it was C(there).
  type: dict
  returned: success
"""

import http.client
import shutil
from pathlib import Path
from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.p2p_etcd_archive import (
    ArchiveError,
    architecture,
    check,
    expected,
    is_there,
    unpack,
)
from ansible.module_utils.p2p_files import read_plain
from ansible.module_utils.p2p_folders import scratch
from ansible.module_utils.urls import open_url


def download(url: str, into: str, timeout: float) -> None:
    """Write what a URL answers to a file.

    Raises:
        ArchiveError: if it cannot be had.
    """
    try:
        with Path(into).open("wb") as out:
            shutil.copyfileobj(open_url(url, timeout=timeout), out)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise ArchiveError(
            "%s cannot be had: %s; name another place with etcd_archive_url, or a file of your own machine"
            " with etcd_archive_file" % (url, error)
        ) from error


def install(params: Dict[str, Any], arch: str, sha256: str) -> None:
    """Get the archive, check it and unpack the bytes that were checked, in a folder of this run alone."""
    with scratch() as work:
        own = Path(work, "archive.tar.gz")
        if params["path"]:
            what = params["file"] or params["path"]
            own.write_bytes(read_plain(params["path"]))
        else:
            what = params["url"].replace("{version}", params["version"]).replace("{arch}", arch)
            download(what, str(own), params["timeout"])
        check(str(own), sha256, what)
        unpack(str(own), params["root"], params["version"], sha256)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "version": {"type": "str", "required": True},
            "root": {"type": "path", "required": True},
            "checksums": {"type": "dict", "required": True},
            "url": {"type": "str", "default": ""},
            "file": {"type": "path", "default": ""},
            "path": {"type": "path", "default": ""},
            "look": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    params = module.params
    arch = architecture()
    directory = str(Path(params["root"], params["version"]))
    try:
        sha256 = expected(params["checksums"], params["version"], arch)
        there = is_there(params["root"], params["version"], sha256)
        if not there and not params["look"] and not module.check_mode:
            install(params, arch, sha256)
    except (ArchiveError, OSError) as error:
        module.fail_json(msg="etcd %s was not unpacked: %s" % (params["version"], error))
    told = {"arch": arch, "sha256": sha256, "directory": directory, "there": there}
    line = "etcd %s %s\n" % (params["version"], sha256)
    module.exit_json(
        changed=not there,
        archive=told,
        diff={
            "before_header": directory,
            "after_header": directory,
            "before": line if there else "",
            "after": line,
        },
    )


if __name__ == "__main__":
    main()
