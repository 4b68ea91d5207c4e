"""Where a run's temporary files are on a node: in a folder that only their owner can have made."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import pytest

from tests.integration.modules.conftest import Node

THEIRS = "/tmp/.ansible-root"  # noqa: S108  # what earlier versions used
MALLORY = "irc"
# Takes away whatever appears in the folder, and puts a link to root's files in its place.
THIEF = """
import os, time
folder, end = {folder!r}, time.time() + 60
while time.time() < end:
    for name in os.listdir(folder):
        if name.startswith("ansible-"):
            try:
                os.rename(folder + "/" + name, "/tmp/got-" + name)
                os.symlink("/etc", folder + "/" + name)
            except OSError:
                pass
    time.sleep(0.0005)
"""


@pytest.fixture(params=["folder", "link"])
def thief(node: Node, request: pytest.FixtureRequest) -> Iterator[None]:
    """A local user who was there first, and waits."""
    made = {"folder": f"mkdir {THEIRS}", "link": f"mkdir /tmp/mine; ln -s /tmp/mine {THEIRS}"}
    node.sh(f"runuser -u {MALLORY} -- sh -c {shlex.quote(made[request.param])}")
    program = shlex.quote(THIEF.format(folder=THEIRS))
    node.sh(f"systemd-run -q --unit thief --uid {MALLORY} python3 -c {program}")
    yield
    node.sh(f"systemctl stop thief; rm -rf {THEIRS} /tmp/mine /tmp/got-* /root/p2p-file")


@pytest.mark.usefixtures("thief")
def test_who_makes_the_folder_beforehand_gets_nothing(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    # The module is a file, too.
    monkeypatch.setenv("ANSIBLE_PIPELINING", "False")
    before = node.sh(f"stat -Lc %y {THEIRS}; stat -c '%U:%G %a' /etc/shadow /etc; ls -A /root")
    answer = node.module("ansible.builtin.copy", content="x", dest="/root/p2p-file", mode="0600")
    assert not answer["failed"], answer
    node.sh("rm /root/p2p-file")
    assert node.sh(f"stat -Lc %y {THEIRS}; stat -c '%U:%G %a' /etc/shadow /etc; ls -A /root") == before
    assert node.sh("ls -d /tmp/got-* /tmp/ansible* 2>/dev/null || true") == ""


@pytest.fixture
def tenant(node: Node) -> Iterator[str]:
    """A user with `sudo` whose home has a space in its name."""
    node.sh(
        "mkdir -p '/srv/odd home'; useradd -m -d '/srv/odd home/carl' carl;"
        "echo 'carl ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/carl"
    )
    yield "carl"
    node.sh("userdel -r carl; rm -rf '/srv/odd home' /etc/sudoers.d/carl /etc/p2p-file")


@pytest.mark.parametrize("pipelining", ["True", "False"])
def test_a_run_leaves_nothing_in_the_home_of_who_logs_in_nor_in_roots(
    node: Node, tenant: str, pipelining: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANSIBLE_PIPELINING", pipelining)
    monkeypatch.setenv("ANSIBLE_BECOME", "True")
    look = "ls -A '/srv/odd home/carl' /root /tmp"
    before = node.sh(look)
    answer = node.module("ansible.builtin.copy", user=tenant, content="x", dest="/etc/p2p-file", mode="0600")
    assert not answer["failed"], answer
    assert node.sh("stat -c %U /etc/p2p-file") == "root"
    assert node.sh(look) == before
