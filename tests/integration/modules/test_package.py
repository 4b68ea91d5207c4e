"""Packages on a real node: previewed without python3-apt, installed without starting a service."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests.integration.modules.conftest import Node


@pytest.fixture(autouse=True, scope="module")
def outward(node: Node) -> Iterator[None]:
    """Let the node reach the distribution's packages, which are what is tested, for as long."""
    subprocess.run(["docker", "network", "connect", "bridge", node.name], check=True, capture_output=True)
    yield
    subprocess.run(["docker", "network", "disconnect", "bridge", node.name], check=True, capture_output=True)


def test_a_missing_package_is_previewed_and_installed_without_starting_its_service(node: Node) -> None:
    assert node.sh("dpkg-query -W python3-apt 2>&1 || true").startswith("dpkg-query: no packages")
    assert "cron" not in node.sh("dpkg-query -W -f '${Package}\\n'").split()
    wanted = ["bash", "cron"]
    preview = node.module("p2p_package", check_mode=True, name=wanted)
    assert preview["changed"]
    assert preview["actions"] == ["install cron"]
    assert "cron" not in node.sh("dpkg-query -W -f '${Package}\\n'").split()
    try:
        answer = node.module("p2p_package", name=wanted)
        assert answer["actions"] == preview["actions"]
        assert node.sh("systemctl is-active cron || true") == "inactive"
        assert node.sh("ls /usr/sbin/policy-rc.d 2>&1 || true").endswith("No such file or directory")
        assert not node.module("p2p_package", name=wanted)["changed"]
    finally:
        node.sh("DEBIAN_FRONTEND=noninteractive apt-get purge -y -q cron >/dev/null")


def test_an_unknown_package_is_one_clear_error(node: Node) -> None:
    answer = node.module("p2p_package", name=["no-such-package-anywhere"])
    assert answer["failed"]
    assert "Unable to locate package no-such-package-anywhere" in answer["msg"]
    assert "see whether its distribution has" in answer["msg"]
    assert node.sh("ls /usr/sbin/policy-rc.d 2>&1 || true").endswith("No such file or directory")
