"""Variables and groups of single hosts: one fleet with every form that a host's entry takes."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.inventory.conftest import HOME, REPOSITORY, Result, list_inventory

HERE = Path(__file__).parent
FLEET = HERE / "fixtures" / "forms_distributed_hosts.yaml"


@pytest.fixture(scope="module")
def forms() -> Result:
    result = list_inventory(FLEET)
    assert result.code == 0, result.errors
    return result


@pytest.fixture(scope="module")
def tailnet() -> Result:
    return list_inventory(FLEET, P2P_INVENTORY_ADDRESS="tailscale_ip")


def test_every_key_reaches_the_playbooks_unchanged(forms: Result) -> None:
    written: dict[str, Any] = yaml.safe_load(FLEET.read_text().split("other_program:")[0])["hosts"]
    dated = written["vast-1"].pop("rented_on")
    read = {name: dict(variables["distributed_host"]) for name, variables in forms.hosts.items()}
    assert read["vast-1"].pop("rented_on") == dated.isoformat()  # JSON has no dates
    assert read == written


@pytest.mark.parametrize(
    ("host", "variable", "value"),
    [
        ("vast-1", "ansible_host", "ssh5.example.net"),
        ("vast-1", "ansible_port", 20101),
        ("vast-2", "ansible_host", "ssh5.example.net"),
        ("vast-2", "ansible_port", 20102),
        ("vast-1", "ansible_user", "root"),
        ("vast-1", "ansible_ssh_private_key_file", f"{HOME}/.ssh/id_cluster"),
        ("vast-1", "p2p_node_id", "vast-1"),
        ("vast-1", "p2p_nat_blocked", True),
        ("vast-1", "p2p_is_container", True),
        ("vast-1", "p2p_port", 8770),
        ("vast-1", "p2p_advertise_url", "http://ssh5.example.net:8770"),
        ("nebius-1", "ansible_port", 22),
        ("nebius-1", "p2p_is_container", False),
        ("nebius-1", "p2p_is_voter", True),
        ("nebius-1", "p2p_port", 8780),
        ("nebius-1", "p2p_host", "nebius.example.net"),
        ("nebius-1", "p2p_advertise_url", "http://nebius.example.net:9000"),
        ("hetzner-1", "p2p_advertise_url", "https://hetzner.example.net/p2p"),
        ("hetzner-1", "p2p_host", "hetzner.example.net"),
        ("vultr-1", "p2p_advertise_url", "http://[2a01:4f9::7]:8770"),
        ("vultr-1", "p2p_host", "2a01:4f9::7"),
        ("vultr-1", "p2p_is_voter", False),
        ("tailnet-only", "ansible_host", "100.64.0.9"),
        ("this-machine", "ansible_connection", "local"),
        ("this-machine", "p2p_provider", "local"),
        ("this-machine", "p2p_node_id", "this-machine"),
        ("gcp-1", "p2p_provider", "unknown"),
        ("odd-name", "p2p_provider", "my cloud"),
        ("macbook-pro", "p2p_provider", "local"),
        ("lambda-1", "p2p_provider", "lambda"),
        ("aws-1", "p2p_provider", "aws"),
    ],
)
def test_a_host_has_the_variable(forms: Result, host: str, variable: str, value: object) -> None:
    assert forms.hosts[host][variable] == value


@pytest.mark.parametrize(
    ("host", "path"),
    [
        ("vast-1", "~/ringrift"),
        ("vast-2", "/workspace/ringrift"),
        ("nebius-1", "/root/ringrift"),
        ("hetzner-1", "~/ringrift"),
        ("vultr-1", "~/ringrift"),
    ],
)
def test_the_checkout_is_named_without_its_last_folder(forms: Result, host: str, path: str) -> None:
    assert forms.hosts[host]["p2p_ringrift_path"] == path


@pytest.mark.parametrize(
    ("group", "members"),
    [
        ("voters", ["nebius-1", "hetzner-1", "lambda-1"]),
        ("p2p", ["vast-1", "nebius-1", "hetzner-1", "lambda-1", "this-machine"]),
        ("non_voters", ["vast-1", "this-machine"]),
        ("vast", ["vast-1", "vast-2"]),
        ("local", ["this-machine", "macbook-pro"]),
        ("unknown", ["tailnet-only", "behind", "behind-two", "gcp-1"]),
        ("my_cloud", ["odd-name"]),
        ("coordinators", ["this-machine"]),
        ("containers", ["vast-1"]),
        ("nat_blocked", ["vast-1"]),
        ("ephemeral", ["vast-1"]),
        ("role_gpu_selfplay", ["vast-1", "vast-2"]),
        ("role_cpu_cmaes", ["hetzner-1"]),
        ("status_needs_setup", ["aws-1"]),
        ("status_retired", ["vast-2"]),
    ],
)
def test_a_group_has_the_hosts(forms: Result, group: str, members: list[str]) -> None:
    assert forms.group(group) == members


def test_seeds_and_quorum_come_from_the_voters_in_their_order(forms: Result) -> None:
    variables = forms.hosts["gcp-1"]
    assert variables["p2p_voters"] == ["nebius-1", "hetzner-1", "lambda-1"]
    assert variables["p2p_quorum"] == 2
    assert variables["p2p_fleet_file"] == str(FLEET)
    # lambda-1 shares its public address with nebius-1: a seed is not repeated.
    assert variables["p2p_seeds"] == ["http://nebius.example.net:9000", "https://hetzner.example.net/p2p"]


def test_only_localhost_has_a_connection_of_its_own(forms: Result) -> None:
    assert [name for name, variables in forms.hosts.items() if "ansible_connection" in variables] == [
        "this-machine"
    ]


@pytest.mark.parametrize(
    ("host", "address", "port"),
    [
        ("vast-1", "100.64.0.1", 22),  # its ssh_port is one that the provider forwards
        ("nebius-1", "100.64.0.2", 22),
        ("behind", "100.64.0.3", 2222),
        ("hetzner-1", "203.0.113.9", 22),  # has no other address
        ("this-machine", "localhost", 22),
    ],
)
def test_the_tailnet_address_comes_first_on_request(
    tailnet: Result, host: str, address: str, port: int
) -> None:
    assert (tailnet.hosts[host]["ansible_host"], tailnet.hosts[host]["ansible_port"]) == (address, port)
    assert "ansible_ssh_common_args" not in tailnet.hosts[host]


def test_the_tailnet_does_not_change_the_seeds(forms: Result, tailnet: Result) -> None:
    assert tailnet.hosts["vast-1"]["p2p_seeds"] == forms.hosts["vast-1"]["p2p_seeds"]


def ssh_settings(words: list[str]) -> dict[str, str]:
    """What ssh itself makes of a command line: its effective settings, by name in lower case."""
    done = subprocess.run(["ssh", "-F", "none", "-G", *words], capture_output=True, text=True, check=True)
    return dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)


def through(arguments: str, port: int = 22) -> tuple[dict[str, str], list[str]]:
    """Return the settings of the ssh to the jump host, and its words, as the outer ssh would start it."""
    outer = ssh_settings([*shlex.split(arguments), "-p", str(port), "10.0.0.5"])
    tokens = {"%h": "10.0.0.5", "%p": str(port), "%%": "%"}
    words = shlex.split(re.sub("%.", lambda token: tokens[token[0]], outer["proxycommand"]))
    assert words[0] == "ssh"
    return ssh_settings(words[1:]), words


def test_a_jump_host_is_reached_with_its_own_user_port_and_key_and_the_same_host_key_checks(
    forms: Result,
) -> None:
    inner, words = through(forms.hosts["behind"]["ansible_ssh_common_args"], port=2222)
    assert words[words.index("-W") + 1] == "[10.0.0.5]:2222"
    assert inner["hostname"] == "203.0.113.9"
    assert inner["port"] == "22"
    assert inner["user"] == "root"
    assert words[words.index("-i") + 1] == f"{HOME}/.ssh/id hetzner"
    assert inner["stricthostkeychecking"] == "accept-new"
    assert inner["userknownhostsfile"].endswith("/.ssh/p2p_known_hosts")
    assert inner["batchmode"] == "yes"


def test_jump_hosts_chain(forms: Result) -> None:
    inner, _ = through(forms.hosts["behind-two"]["ansible_ssh_common_args"])
    assert (inner["hostname"], inner["port"]) == ("10.0.0.5", "2222")
    nested = inner["proxycommand"]
    assert "-W '[%h]:%p' -- 203.0.113.9" in nested
    assert "UserKnownHostsFile=~/.ssh/p2p_known_hosts" in nested


def test_the_jump_host_is_not_checked_where_no_host_is() -> None:
    result = list_inventory(FLEET, ANSIBLE_HOST_KEY_CHECKING="False", ANSIBLE_SSH_ARGS="-C")
    inner, _ = through(result.hosts["behind"]["ansible_ssh_common_args"], port=2222)
    assert inner["stricthostkeychecking"] in ("no", "false")
    assert inner["compression"] == "yes"


NODE_SSH = REPOSITORY / "scripts" / "node-ssh"
TEMPTED = """\
Host *
  ForwardAgent yes
  ForwardX11 yes
  PermitLocalCommand yes
  Tunnel yes
  GSSAPIDelegateCredentials yes
"""


@pytest.mark.parametrize("own_file", [False, True])
def test_a_node_is_offered_nothing_whatever_ssh_is_configured_to(tmp_path: Path, own_file: bool) -> None:
    config = tmp_path / "config"
    config.write_text(TEMPTED)
    given = ["-F", str(config)] if own_file else []
    words = [str(NODE_SSH), *given, "-G", "10.0.0.5"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    _offers_nothing(dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line))


def test_a_jump_host_is_offered_nothing_either(forms: Result) -> None:
    inner, words = through(forms.hosts["behind"]["ansible_ssh_common_args"])
    _offers_nothing(inner)
    # The options stand before all others: the first value wins.
    assert words[1:3] == ["-o", "ForwardAgent=no"]


def test_ssh_to_nodes_goes_through_the_projects_own_program(forms: Result) -> None:
    assert {host["ansible_ssh_executable"] for host in forms.hosts.values()} == {str(NODE_SSH)}


def test_who_names_the_projects_own_program_as_ssh_gets_it_once() -> None:
    done = subprocess.run(
        [str(NODE_SSH), "-G", "10.0.0.5"],
        env=os.environ | {"ANSIBLE_SSH_EXECUTABLE": str(NODE_SSH)},
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
    )
    assert "hostname 10.0.0.5" in done.stdout


def _offers_nothing(settings: dict[str, str]) -> None:
    no = ("forwardagent", "forwardx11", "permitlocalcommand", "gssapidelegatecredentials", "tunnel")
    assert {settings.get(name, "no") for name in no} <= {"no", "false"}
    assert settings["clearallforwardings"] == "yes"
