"""What is refused and what is warned about: the words, the file and the line that the command prints.

One process reads all the refused files: with ``any_unparsed_is_failed`` off, Ansible goes on after a refusal,
and still exits non-zero since no source was accepted.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.unit.inventory.conftest import Result, list_inventory

HOST = "{ssh_host: 203.0.113.9}"

# name: (text of the file, line and column of what is to be corrected, what is said)
REFUSED = {
    "not_yaml": ("hosts:\n  a: [\n", "3:1", "not YAML: "),
    "tab": ("hosts:\n\ta: 1\n", "2:1", "not YAML: "),
    "two_documents": (f"hosts:\n  a: {HOST}\n---\nhosts: 1\n", "3:1", "not YAML: "),
    "control_character": ("hosts:\n  a: \x01\n", "2:6", "not YAML: control characters are not allowed"),
    "empty_file": ("# nothing\n", "1:1", "this file is empty; a fleet file begins with 'hosts:'"),
    "not_a_mapping": ("- a\n- b\n", "1:1", "this file is no mapping; a fleet file begins with 'hosts:'"),
    "key_no_text": (
        f"? [hosts]\n: x\nhosts:\n  a: {HOST}\n",
        "1:3",
        "this key is no text; a fleet file begins with 'hosts:'",
    ),
    "no_hosts": (
        "# comment\nhost:\n  a: 1\n",
        "2:1",
        "no 'hosts' in this file (did you mean 'host'?); list the machines under 'hosts:'",
    ),
    "hosts_null": ("p2p_voters: []\nhosts:\n", "2:1", "'hosts' is empty; write at least one host under it"),
    "hosts_empty": ("hosts: {}\n", "1:1", "'hosts' is empty; write at least one host under it"),
    "hosts_a_list": ("hosts:\n  - a\n", "1:1", "'hosts' is no mapping; write each host as 'name:'"),
    "hosts_twice": (
        f"hosts:\n  a: {HOST}\nhosts:\n  b: {HOST}\n",
        "3:1",
        "'hosts' stands here a second time",
    ),
    "host_no_mapping": ("hosts:\n  a: 192.0.2.1\n", "2:3", "host 'a' is no mapping; write its settings as"),
    "host_twice": (
        f"hosts:\n  a: {HOST}\n  b: {HOST}\n  a: {HOST}\n",
        "4:3",
        "host 'a' is defined twice (first on line 2)",
    ),
    "in_a_hidden_definition": (
        f"hosts:\n  a:\n    ssh_host: x\n    ssh_port: 99999\n  a: {HOST}\n",
        "4:15",
        "a.ssh_port: 99999 is no port",
    ),
    "key_twice": (
        "hosts:\n  a:\n    ssh_host: x\n    ssh_host: y\n",
        "4:5",
        "a: key 'ssh_host' is defined twice",
    ),
    "host_a_number": (f"hosts:\n  12: {HOST}\n", "2:3", "host '12' is no text; put it in quotes"),
    "host_name": (f"hosts:\n  a b: {HOST}\n", "2:3", "host name 'a b' holds more than letters, digits"),
    "host_like_a_group": (
        f"hosts:\n  voters: {HOST}\n",
        "2:3",
        "host 'voters' has the name of a group; rename",
    ),
    "rootless_dir_relative": (
        "hosts:\n  a:\n    ssh_host: x\n    ssh_user: me\n    rootless_dir: ~/p2p\n",
        "5:19",
        "a.rootless_dir: '~/p2p' is no absolute path of two parts or more",
    ),
    "rootless_dir_of_root": (
        "hosts:\n  a:\n    ssh_host: x\n    ssh_user: root\n    rootless_dir: /srv/p2p\n",
        "5:19",
        "a.rootless_dir: is for a user who is not root; write that user as ssh_user",
    ),
    **{
        f"{key}_{place}": (
            f"hosts:\n  a:\n    ssh_host: x\n    {key}: '{value}'\n",
            f"4:{len(key) + 7}",
            f"a.{key}: {value!r} is no ",
        )
        for key, values in {
            "ringrift_path": ('/a"b', "~/$(touch x)", "~/`x`", "$HOME/x", "/a\\b", "/100%", "-x"),
            "start_hook": ("/root/$(x).sh", '/root/".sh'),
            "ssh_user": ("$(touch x)", "a;b", "a b", "`x`", "a&b", 'a"b', "~", "a/b"),
            "p2p_public_host": (
                "http://x/$(touch_x)",
                "http://x/a;b",
                "http://x/`x`",
                'http://x/"',
                "http://x/a&b",
            ),
        }.items()
        for place, value in enumerate(values)
    },
    "voters_no_list": (
        f"hosts:\n  a: {HOST}\np2p_voters: a\n",
        "3:1",
        "'p2p_voters' is no list; write '- name'",
    ),
    "voter_unknown": (
        f"hosts:\n  nebius-1: {HOST}\np2p_voters:\n  - nebius-l\n",
        "4:5",
        "voter 'nebius-l' is no host (did you mean 'nebius-1'?); correct it, or define the host",
    ),
    "voter_twice": (
        f"hosts:\n  a: {HOST}\np2p_voters:\n  - a\n  - a\n",
        "5:5",
        "voter 'a' is listed twice (first on line 4); remove one",
    ),
    "voter_a_number": (
        f"hosts:\n  a: {HOST}\np2p_voters:\n  - 5\n",
        "4:5",
        "voter 5 is no name; write a host's name",
    ),
    "port_too_large": (
        "hosts:\n  a:\n    ssh_host: x\n    ssh_port: 65536\n",
        "4:15",
        "a.ssh_port: 65536 is no port; write a number from 1 to 65535",
    ),
    "port_zero": ("hosts:\n  a:\n    ssh_host: x\n    p2p_port: 0\n", "4:15", "a.p2p_port: 0 is no port"),
    "port_a_word": (
        "hosts:\n  a:\n    ssh_host: x\n    ssh_port: ssh\n",
        "4:15",
        "a.ssh_port: 'ssh' is no port",
    ),
    "port_a_flag": (
        "hosts:\n  a:\n    ssh_host: x\n    ssh_port: on\n",
        "4:15",
        "a.ssh_port: True is no port",
    ),
    "address_empty": (
        "hosts:\n  a:\n    ssh_host: ''\n",
        "3:15",
        "a.ssh_host: the address is empty; write an IP",
    ),
    "address_missing": (
        "hosts:\n  a:\n    ssh_user: root\n",
        "2:3",
        "host 'a' has no address; give it an ssh_host",
    ),
    "address_space": (
        "hosts:\n  a:\n    ssh_host: 192.0.2.1 x\n",
        "3:15",
        "a.ssh_host: '192.0.2.1 x' holds white space",
    ),
    "address_option": (
        "hosts:\n  a:\n    ssh_host: -oProxyCommand=reboot\n",
        "3:15",
        "a.ssh_host: '-oProxyCommand=reboot' begins like an option of ssh",
    ),
    "tailnet_option": (
        "hosts:\n  a:\n    ssh_host: x\n    tailscale_ip: -W\n",
        "4:19",
        "a.tailscale_ip: '-W' begins",
    ),
    "address_user": ("hosts:\n  a:\n    ssh_host: root@x\n", "3:15", "a.ssh_host: 'root@x' names a user"),
    "address_port": (
        "hosts:\n  a:\n    ssh_host: x:22\n",
        "3:15",
        "a.ssh_host: 'x:22' holds a port; write the",
    ),
    "address_number": (
        "hosts:\n  a:\n    ssh_host: 1.5\n",
        "3:15",
        "a.ssh_host: 1.5 is no address; write it as text",
    ),
    "address_shell": (
        "hosts:\n  a:\n    ssh_host: $(id)\n",
        "3:15",
        "a.ssh_host: '$(id)' holds a character that no",
    ),
    "public_host": (
        "hosts:\n  a:\n    ssh_host: x\n    p2p_public_host: x:1\n",
        "4:22",
        "a.p2p_public_host: 'x:1' holds a port; write the address alone, and the port as p2p_public_port",
    ),
    "public_url": (
        "hosts:\n  a:\n    ssh_host: x\n    p2p_public_host: ftp://x\n",
        "4:22",
        "'ftp://x' is no URL",
    ),
    "user_option": (
        "hosts:\n  a:\n    ssh_host: x\n    ssh_user: -x\n",
        "4:15",
        "a.ssh_user: '-x' is no user name",
    ),
    "flag": (
        "hosts:\n  a:\n    ssh_host: x\n    nat_blocked: perhaps\n",
        "4:18",
        "a.nat_blocked: 'perhaps' is neither yes nor no; write true or false",
    ),
    "word": (
        "hosts:\n  a:\n    ssh_host: x\n    role: [gpu]\n",
        "4:11",
        "a.role: ['gpu'] is no text; write one word",
    ),
    "provider": (
        "hosts:\n  a:\n    ssh_host: x\n    provider: P2P\n",
        "4:15",
        "a.provider: 'P2P' is the name of another",
    ),
    "proxy_unknown": (
        "hosts:\n  jump: {ssh_host: x}\n  a: {ssh_host: y, ssh_proxy: jmp}\n",
        "3:31",
        "a.ssh_proxy: 'jmp' is no host (did you mean 'jump'?); write the name of the jump host",
    ),
    "proxy_ring": (
        "hosts:\n  a: {ssh_host: x, ssh_proxy: b}\n  b: {ssh_host: y, ssh_proxy: a}\n",
        "2:31",
        "a.ssh_proxy: the jump hosts form a ring, a -> b -> a; let one of them be direct",
    ),
    "template": (
        "hosts:\n  a:\n    ssh_host: x\n    note: \"{{ lookup('pipe', 'id') }}\"\n",
        "4:11",
        "is a template; write the value itself",
    ),
    "template_statement": (
        "hosts:\n  a:\n    ssh_host: x\n    note: '{% if 1 %}'\n",
        "4:11",
        "'{% if 1 %}' is a template",
    ),
    "template_comment": (
        "hosts:\n  a:\n    ssh_host: x\n    note: 'a{# b'\n",
        "4:11",
        "'a{# b' is a template",
    ),
    "template_deep": (
        "hosts:\n  a:\n    ssh_host: x\n    m:\n      l: [1, '{{x}}']\n",
        "5:14",
        "a.m.l.1: '{{x}}' is a",
    ),
    "template_escaped": (
        'hosts:\n  a:\n    ssh_host: x\n    n: "\\x7b{x}}"\n',
        "4:8",
        "a.n: '{{x}}' is a template",
    ),
    "template_key": (
        "hosts:\n  a:\n    ssh_host: x\n    m: {'{{x}}': 1}\n",
        "4:8",
        "a.m: '{{x}}' is a template",
    ),
    "nested_key": (
        "hosts:\n  a:\n    ssh_host: x\n    m: {1: x}\n",
        "4:8",
        "a.m: key 1 is no text; put it in quotes",
    ),
    "holds_itself": (
        "hosts:\n  a:\n    ssh_host: x\n    m: &m [*m]\n",
        "4:8",
        "a.m: nests more than 20 deep, or holds",
    ),
    "binary": (
        "hosts:\n  a:\n    ssh_host: x\n    m: !!binary aGk=\n",
        "4:8",
        "a.m: binary data and sets cannot be",
    ),
    "date": (
        "hosts:\n  a:\n    ssh_host: x\n    d: 2025-13-45\n",
        "4:8",
        "'2025-13-45' cannot be read (month must",
    ),
    "tag": (
        "hosts:\n  a:\n    ssh_host: x\n    d: !mine x\n",
        "4:8",
        "the tag !mine means nothing here; remove it",
    ),
    # settings files: named *.distributed_hosts.yml by the test, since they have a plugin key
    "option_unknown": (
        "plugin: distributed_hosts\nsuorce: x\n",
        "2:1",
        "unknown option 'suorce' (did you mean 'source'?); correct or remove it",
    ),
    "option_value": (
        "plugin: distributed_hosts\nsource: x\naddress: ip\n",
        "3:10",
        "Invalid value 'ip' for config 'address'",
    ),
    "option_other_plugin": (
        "plugin: aws_ec2\nsource: x\n",
        "1:9",
        "Invalid value 'aws_ec2' for config 'plugin'",
    ),
    "source_missing": (
        "plugin: distributed_hosts\n",
        "1:1",
        "no 'source' here; write 'source:' and the path",
    ),
    "source_no_file": (
        "plugin: distributed_hosts\nsource: gone.yaml\n",
        "2:9",
        "gone.yaml; write the path of the fleet",
    ),
    "source_settings": (
        "plugin: distributed_hosts\nsource: source_settings.distributed_hosts.yml\n",
        "2:9",
        "more settings; name the fleet file itself",
    ),
    "option_provider": (
        "plugin: distributed_hosts\nsource: fleet\nproviders:\n  gcp-: voters\n",
        "4:9",
        "provider 'voters' is the name of another group; write another word",
    ),
    "option_group": (
        "plugin: distributed_hosts\nsource: fleet\nfleet_group: p2p\n",
        "3:14",
        "option 'fleet_group': 'p2p' is the name of another group; write another word",
    ),
    "policy": (
        "plugin: distributed_hosts\nsource: fleet\nvoter_policy: enforce\n",
        "fleet:4:5",
        "voter 'vast-1' is at vast, where machines go away; choose another, or correct it",
    ),
    "strict": (
        "plugin: distributed_hosts\nsource: fleet\nstrict: true\ncompose: {x: missing + 1}\n",
        "",
        "Could not set x for host vast-1",
    ),
}


def path_of(folder: Path, name: str) -> Path:
    return folder / f"{name}.distributed_hosts.yml"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("refused")
    for name, (text, _, _) in REFUSED.items():
        path_of(folder, name).write_text(text)
    enabled = "{ssh_host: 203.0.113.9, p2p_enabled: true}"
    (folder / "fleet").write_text(f"hosts:\n  vast-1: {enabled}\np2p_voters:\n  - vast-1\n")
    return folder


@pytest.fixture(scope="module")
def refused(folder: Path) -> Result:
    sources = [path_of(folder, name) for name in REFUSED]
    return list_inventory(*sources, ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED="False")


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_names_file_line_and_remedy(refused: Result, folder: Path, name: str) -> None:
    _, place, words = REFUSED[name]
    path = folder / "fleet" if place.startswith("fleet:") else path_of(folder, name)
    start = f"{path}:{place.removeprefix('fleet:')}".rstrip(":") + ": "
    lines = [line for line in refused.errors.splitlines() if start in line]
    assert any(words in line.split(start, 1)[1] for line in lines), (start, words, refused.errors)


def test_refused_files_add_no_host_and_fail(refused: Result) -> None:
    assert refused.code != 0
    assert refused.output == ""
    assert "No inventory was parsed" in refused.errors


def test_each_message_is_printed_once(refused: Result, folder: Path) -> None:
    assert refused.errors.count(f"{path_of(folder, 'port_zero')}:4:15:") == 1


def test_one_refused_file_fails_the_command(folder: Path) -> None:
    accepted = folder / "accepted_distributed_hosts.yaml"
    accepted.write_text(f"hosts:\n  a: {HOST}\n")
    result = list_inventory(accepted, path_of(folder, "port_zero"))
    assert result.code != 0
    assert result.output == ""
    assert f"{path_of(folder, 'port_zero')}:4:15: a.p2p_port: 0 is no port" in result.errors


def test_a_refused_file_leaves_nothing_beside_an_accepted_one(folder: Path) -> None:
    accepted = folder / "kept_distributed_hosts.yaml"
    accepted.write_text(f"hosts:\n  kept: {HOST}\n")
    sources = [path_of(folder, name) for name in ("port_zero", "strict", "policy", "host_like_a_group")]
    result = list_inventory(*sources, accepted, ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED="False")
    assert list(result.hosts) == ["kept"]


def test_all_problems_of_a_file_come_in_one_go(tmp_path: Path) -> None:
    path = tmp_path / "distributed_hosts.yaml"
    path.write_text(
        "hosts:\n  a:\n    ssh_host: -x\n    ssh_port: 0\n    when: 2025-13-45\n    note: '{{x}}'\n"
        "  b: text\np2p_voters: [c, a, a]\n"
    )
    result = list_inventory(path)
    places = re.findall(rf"^{re.escape(str(path))}:(\d+):(\d+): ", result.errors, re.MULTILINE)
    assert [f"{line}:{column}" for line, column in places] == [
        "3:15",
        "4:15",
        "5:11",
        "6:11",
        "7:3",
        "8:14",
        "8:20",
    ]
    assert f"7 problems in {path}" in result.errors
    assert result.code != 0


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    names = ("x_distributed_hosts.yml", "distributed_hosts.yml", "fleet.yml")
    missing, latin, renamed = (tmp_path / name for name in names)
    latin.write_bytes(b"hosts:\n  a: {note: caf\xe9}\n")
    renamed.write_text("hosts:\n  a:\n    ssh_host: x\n")
    result = list_inventory(missing, latin, renamed, ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED="False")
    assert f"{missing}: No such file or directory; give the path of a fleet file" in result.errors
    assert f"{latin}:2:16: not UTF-8 (invalid continuation byte); save the file as UTF-8" in result.errors
    assert (
        f"{renamed}: looks like a fleet file, whose name must end with distributed_hosts.yaml"
        in result.errors
    )
    assert result.code != 0


FLAWED = """\
hosts:
  nebius-0: {ssh_host: 203.0.113.20, p2p_enabled: true}
  nebius-1: {ssh_host: 203.0.113.1, p2p_enabled: true, is_container: true}
  nebius-2: {ssh_host: 203.0.113.2, p2p_enabled: true, nat_blocked: true}
  nebius-3: {ssh_host: 203.0.113.3, p2p_enabled: true, force_relay_mode: true}
  vast-4: {ssh_host: 203.0.113.4, p2p_enabled: true}
  nebius-5: {ssh_host: 203.0.113.5, p2p_enabled: true, status: offline}
  nebius-6: {ssh_host: 203.0.113.6, p2p_enabled: false}
  nebius-7: {ssh_host: 203.0.113.7, p2p_enabled: true, p2p_public_host: 203.0.113.20}
  twin: {ssh_host: 203.0.113.1, cpu: 8, notes: x, ssh_prt: 22}
  heir: {ssh_host: 203.0.113.2, status: destroyed}
p2p_voters:
  - nebius-0
  - nebius-1
  - nebius-2
  - nebius-3
  - vast-4
  - nebius-5
  - nebius-6
  - nebius-7
"""
WARNINGS = {
    "14:5": "voter 'nebius-1' runs in a container; choose another, or correct it",
    "15:5": "voter 'nebius-2' is NAT-blocked; choose another, or correct it",
    "16:5": "voter 'nebius-3' is a relay or talks through one; choose another, or correct it",
    "17:5": "voter 'vast-4' is at vast, where machines go away; choose another, or correct it",
    "18:5": "voter 'nebius-5' has the status 'offline'; choose another, or correct it",
    "19:5": "voter 'nebius-6' is not enabled (p2p_enabled); choose another, or correct it",
    "12:1": "an even number of voters (8) tolerates no more failures than 7; add one",
    "10:3": "nebius-1, twin share 203.0.113.1 port 22; correct one, or mark it retired",
    "10:51": "twin.ssh_prt: not a known key (did you mean 'ssh_port'?); it has no effect here",
    "9:3": "voters nebius-0, nebius-7 share the seed http://203.0.113.20:8770; give each its own p2p_port",
}
RULES = ["container", "nat_blocked", "relay", "unstable_provider", "not_ready", "disabled"]


@pytest.fixture(scope="module")
def flawed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    path = tmp_path_factory.mktemp("flawed") / "distributed_hosts.yaml"
    path.write_text(FLAWED)
    return path, list_inventory(path)


@pytest.mark.parametrize("place", WARNINGS)
def test_a_warning_is_one_line_with_its_place(flawed: tuple[Path, Result], place: str) -> None:
    path, result = flawed
    assert f"[WARNING]: {path}:{place}: {WARNINGS[place]}" in result.errors.splitlines()


def test_warnings_do_not_fail_and_nothing_else_is_warned_about(flawed: tuple[Path, Result]) -> None:
    _, result = flawed
    assert result.code == 0
    assert len(result.errors.splitlines()) == len(WARNINGS)


def test_breaches_of_the_voter_policy_reach_the_playbooks(flawed: tuple[Path, Result]) -> None:
    _, result = flawed
    breaches = result.hosts["twin"]["p2p_voter_warnings"]
    assert [breach["rule"] for breach in breaches] == RULES
    assert breaches[0] == {"voter": "nebius-1", "rule": "container", "message": WARNINGS["14:5"]}


def test_a_voter_without_root_is_a_breach(tmp_path: Path) -> None:
    path = tmp_path / "distributed_hosts.yaml"
    host = "{ssh_host: 203.0.113.1, ssh_user: me, p2p_enabled: true, rootless_dir: /home/me/p2p}"
    path.write_text(f"hosts:\n  nebius-1: {host}\np2p_voters: [nebius-1]\n")
    result = list_inventory(path)
    assert result.hosts["nebius-1"]["p2p_rootless_dir"] == "/home/me/p2p"
    assert [found["rule"] for found in result.hosts["nebius-1"]["p2p_voter_warnings"]] == ["rootless"]
    assert "voter 'nebius-1' is deployed to without root, which etcd needs" in result.errors


@pytest.mark.parametrize(
    ("voters", "place", "text"),
    [
        ("", "1:1", "no voters, so nobody elects a leader; list at least 3 under 'p2p_voters:'"),
        ("p2p_voters: [nebius-1]\n", "3:1", "fewer than 3 voters (1): none may stop; list at least 3"),
    ],
)
def test_too_few_voters(tmp_path: Path, voters: str, place: str, text: str) -> None:
    path = tmp_path / "distributed_hosts.yaml"
    path.write_text("hosts:\n  nebius-1: {ssh_host: 203.0.113.1, p2p_enabled: true}\n" + voters)
    result = list_inventory(path)
    assert result.errors.splitlines() == [f"[WARNING]: {path}:{place}: {text}"]
    assert result.code == 0
