"""Bad input to `deploy.yml`: one clear error, a non-zero exit, and no node is asked anything."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]
Deploy = Callable[..., subprocess.CompletedProcess[str]]

FLEET = """\
hosts:
  vast-1: &host {ssh_host: 127.0.0.2, ssh_user: root, role: selfplay, status: ready, p2p_enabled: true}
  nebius-1: {<<: *host, ssh_host: 127.0.0.3}
  nebius-2: {<<: *host, ssh_host: 127.0.0.4, status: offline}
p2p_voters: [nebius-1]
"""


@pytest.fixture
def deploy(tmp_path: Path) -> Deploy:
    """Return what runs deploy.yml as a user does, with an ssh that reaches nobody."""
    ssh = tmp_path / "ssh"
    ssh.write_text("#!/bin/sh\necho 'no way to this host' >&2\nexit 255\n")
    ssh.chmod(0o755)
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_SSH_EXECUTABLE": str(ssh),
        "P2P_STATE_DIR": str(tmp_path / "state"),
    }

    def run(inventory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [Path(sys.executable).with_name("ansible-playbook"), "-i", inventory, "deploy.yml", *arguments],
            cwd=PROJECT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )

    return run


def refusal(result: subprocess.CompletedProcess[str]) -> str:
    """Return all that a refused run printed, on one line; assert that it ended before any node was asked."""
    output = result.stdout + result.stderr
    assert result.returncode != 0, output
    # The first play is told with its first task on a node; the ssh of these tests reaches nobody.
    assert "Learn what every node is" not in output, output
    assert "not reached" not in output, output
    return " ".join(output.split())


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    """Write a small fleet file."""
    path = tmp_path / "distributed_hosts.yaml"
    path.write_text(FLEET)
    return path


def test_the_example_fleet_is_refused(deploy: Deploy) -> None:
    message = refusal(deploy(PROJECT / "inventory/distributed_hosts.yaml"))
    assert "reserved for documentation" in message
    assert "ansible-playbook -i ~/ringrift/ai-service/config/distributed_hosts.yaml deploy.yml" in message


def test_a_missing_fleet_file_is_named(tmp_path: Path, deploy: Deploy) -> None:
    message = refusal(deploy(tmp_path / "missing_distributed_hosts.yaml"))
    assert "missing_distributed_hosts.yaml" in message


def test_an_unknown_voter_is_named_with_its_line(fleet: Path, deploy: Deploy) -> None:
    fleet.write_text(FLEET.replace("[nebius-1]", "[nebius-9]"))
    message = refusal(deploy(fleet))
    assert "nebius-9" in message
    assert "distributed_hosts.yaml:5" in message or "line 5" in message


def test_a_fleet_without_voters_is_refused(fleet: Path, deploy: Deploy) -> None:
    fleet.write_text(FLEET.replace("p2p_voters: [nebius-1]\n", ""))
    assert "names no p2p_voters" in refusal(deploy(fleet))


def test_a_limit_that_matches_nothing_is_refused(fleet: Path, deploy: Deploy) -> None:
    assert "--limit" in refusal(deploy(fleet, "--limit", "hetzner-*"))


def test_a_limit_to_a_node_that_is_not_ready_is_refused(fleet: Path, deploy: Deploy) -> None:
    message = refusal(deploy(fleet, "--limit", "nebius-2"))
    assert "nebius-2 holds no node of the group p2p" in message


@pytest.mark.parametrize("setting", ["p2p_voter_policy=enforced", "p2p_accept_outage=perhaps"])
def test_a_setting_that_is_no_word_of_its_own_is_refused(fleet: Path, setting: str, deploy: Deploy) -> None:
    message = refusal(deploy(fleet, "-e", setting))
    assert f"not {setting.split('=')[1]}" in message


def test_a_voter_against_the_policy_is_refused(fleet: Path, deploy: Deploy) -> None:
    fleet.write_text(FLEET.replace("[nebius-1]", "[vast-1]").replace("&host {", "&host {nat_blocked: true, "))
    message = refusal(deploy(fleet))
    assert "vast-1" in message
    assert "p2p_voter_policy=warn" in message


def test_unreachable_nodes_are_listed_though_a_local_node_comes_first(fleet: Path, deploy: Deploy) -> None:
    local = "  mac-studio: {ssh_host: localhost, ssh_user: me, role: x, status: ready, p2p_enabled: true}"
    fleet.write_text(FLEET.replace("hosts:\n", f"hosts:\n{local}\n"))
    result = deploy(fleet)
    assert result.returncode != 0
    output = " ".join(result.stdout.split())
    assert "not reached: nebius-1, vast-1 no way to this host" in output
    assert "Of 2 nodes 2 are unreachable." in output
    assert "mac-studio: " not in output


@pytest.mark.parametrize(
    "before",
    [
        "exec <&-; sleep 0.5",  # it reads nothing
        # It shares a connection that is dead, the first time.
        'case "$*" in *python3*) cat >/dev/null; echo "mux_client_request_session: read from master failed:'
        ' Broken pipe" >&2; exit 255;; esac',
    ],
)
def test_the_reason_of_an_ssh_that_tells_it_late_is_told(
    before: str, fleet: Path, deploy: Deploy, tmp_path: Path
) -> None:
    (tmp_path / "ssh").write_text(f"#!/bin/sh\n{before}\necho 'no way to this host' >&2\nexit 255\n")
    output = " ".join(deploy(fleet).stdout.split())
    assert "not reached: nebius-1, vast-1 no way to this host" in output


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("p2p_cutovr=true", "-e p2p_cutovr: there is no such setting, perhaps p2p_cutover is meant"),
        ("etcd_x=1", "-e etcd_x: there is no such setting"),
        ("etcd_client_port=many", "settings of the role etcd: argument 'etcd_client_port'"),
        ("etcd_data_dir=/srv/etcd", "etcd_data_dir is /srv/etcd: it has to be"),
        ("p2p_release_artifact=~/nowhere", "p2p_release_artifact: ~/nowhere is not there: name what"),
        ("p2p_release_wheels=/nowhere", "p2p_release_wheels: /nowhere is not there: name a folder of wheels"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused(
    fleet: Path, setting: str, told: str, deploy: Deploy
) -> None:
    assert told in refusal(deploy(fleet, "-e", setting))


def test_all_that_is_wrong_is_told_at_once(fleet: Path, deploy: Deploy) -> None:
    message = refusal(deploy(fleet, "-e", "p2p_voter_policy=x", "-e", "p2p_batches=y", "-e", "p2p_prot=1"))
    assert "p2p_voter_policy is enforce or warn, not x" in message
    assert "p2p_batches is a list of numbers and percentages, not y" in message
    assert "perhaps p2p_port is meant" in message


def test_variables_of_the_user_and_of_the_fleet_file_are_let_through(fleet: Path, deploy: Deploy) -> None:
    assert "no such setting" not in deploy(fleet, "-e", "mine=1", "-e", "p2p_port=8771").stdout


@pytest.mark.parametrize("setting", ["p2p_release_artifact", "p2p_release_wheels"])
def test_a_folder_that_is_there_is_let_through(fleet: Path, setting: str, deploy: Deploy) -> None:
    assert f"{setting}: " not in deploy(fleet, "-e", f"{setting}={fleet.parent}").stdout
