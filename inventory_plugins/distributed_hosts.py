"""Ansible inventory from a fleet file, ``distributed_hosts.yaml``, as its users wrote it.

The file is parsed once: libyaml gives a tree of nodes that know their line and column, plain values are built
from it, and a position is looked up in the tree only when there is something to report. Everything is checked
before the first host is added, so a refused file adds nothing.
"""

from __future__ import annotations

import contextlib
import difflib
import gc
import hashlib
import ipaddress
import json
import os
import re
import shlex
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import yaml
from ansible import constants as C  # noqa: N812 - the name by which every Ansible plugin knows it
from ansible.errors import AnsibleError, AnsibleParserError
from ansible.plugins.inventory import BaseFileInventoryPlugin, Cacheable, Constructable
from ansible.plugins.loader import connection_loader
from ansible.template import trust_as_template

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ansible.inventory.data import InventoryData
    from ansible.parsing.dataloader import DataLoader

DOCUMENTATION = r"""
name: distributed_hosts
author: The p2p-cluster authors
short_description: Hosts, groups and connection settings from a fleet file
description:
  - Reads a fleet file, C(distributed_hosts.yaml), as its users wrote it. The file maps host names to settings
    under C(hosts) and lists the hosts that elect the leader under C(p2p_voters). Sections of other programs
    are ignored.
  - Every key of a host reaches the playbooks unchanged in the variable C(distributed_host).
  - The whole file is checked before the first host is added. All its problems are reported in one go, each
    with file, line, column and what to write instead. A refused file adds no host.
  - What a voter should not be (in a container, behind NAT, not ready and so on) is a warning, unless
    O(voter_policy=enforce).
extends_documentation_fragment:
  - constructed
  - inventory_cache
notes:
  - Enable it without V(auto) and V(yaml) beside it, and set C(any_unparsed_is_failed) in C(ansible.cfg).
    Those plugins accept a fleet file that this one refuses.
  - The variables C(p2p_voters), C(p2p_seeds), C(p2p_quorum), C(p2p_voter_warnings), C(p2p_fleet_file) and
    C(p2p_documentation_addresses) are worked out from the whole file, so C(--limit) does not change them.
  - Two fleets that are loaded together need a O(fleet_group) each.
  - With O(cache=true) the checked file is kept under a digest of its text. A changed file is read anew.
seealso:
  - name: The fleet file
    description: Its keys, the groups and variables made from them, and several fleets side by side.
    link: docs/inventory.md
options:
  plugin:
    description:
      - Marks a small file, C(*.distributed_hosts.yml), as settings of this plugin that lead to a fleet file.
      - A fleet file itself does not have it.
    type: str
    choices: [distributed_hosts]
  source:
    description:
      - Path of the fleet file. V(~) is the home folder. A relative path starts at the folder of the file that
        holds this setting.
      - Only read where O(plugin) is set. Otherwise the inventory source is the fleet file itself.
    type: str
    env:
      - name: P2P_INVENTORY_SOURCE
  address:
    description:
      - Which address to connect to. A host that lacks it is connected to by the other one.
      - Seeds are not affected. They are public addresses.
    type: str
    choices:
      ssh_host: The public address, or the provider's proxy.
      tailscale_ip: >-
        The address in the tailnet, without a jump host. C(ssh_port) counts unless the host is NAT-blocked or
        a container, since it is then a port that C(ssh_host) forwards.
    default: ssh_host
    env:
      - name: P2P_INVENTORY_ADDRESS
  providers:
    description:
      - Further name prefixes and the provider that each stands for. The longest prefix that fits wins.
      - A host's own C(provider) key wins over any prefix.
    type: dict
    default: {}
  voter_policy:
    description:
      - What to do about a voter that is in a container, NAT-blocked, a relay, at a provider that takes
        machines away, not ready, not enabled, or deployed to without root.
    type: str
    choices:
      warn: A line of warning for each, and an entry in C(p2p_voter_warnings).
      enforce: The file is refused.
    default: warn
    env:
      - name: P2P_INVENTORY_VOTER_POLICY
  include_status:
    description:
      - Further values of C(status), beside V(ready), whose hosts are deployed to (are members of C(p2p)).
    type: list
    elements: str
    default: []
    env:
      - name: P2P_INVENTORY_INCLUDE_STATUS
  fleet_group:
    description:
      - The group that holds every host of the file and carries the variables of the whole cluster.
      - Give each fleet a group of its own where several are loaded together.
    type: str
    default: all
    env:
      - name: P2P_INVENTORY_FLEET_GROUP
"""

EXAMPLES = r"""
# A fleet file is an inventory as it is:
#   ansible-inventory -i ~/ringrift/ai-service/config/distributed_hosts.yaml --graph
hosts:
  nebius-backbone-1:
    ssh_host: 192.0.2.11
    ssh_user: ubuntu
    ssh_key: ~/.ssh/id_cluster
    role: backbone
    status: ready
    p2p_enabled: true
  vast-28918742:
    ssh_host: 198.51.100.10
    ssh_port: 20101
    ssh_user: root
    role: gpu_selfplay
    status: ready
    p2p_enabled: true
    nat_blocked: true
p2p_voters: [nebius-backbone-1]

---
# staging.distributed_hosts.yml: settings that lead to a second fleet, reached over its tailnet
plugin: distributed_hosts
source: ~/staging/distributed_hosts.yaml
fleet_group: staging
address: tailscale_ip
providers:
  gcp-: gcp
include_status: [needs_setup]
groups:
  big_gpu: (distributed_host.gpu_vram_gb | default(0)) >= 80
keyed_groups:
  - key: distributed_host.region
    prefix: region
compose:
  ansible_python_interpreter: "'/opt/homebrew/bin/python3' if p2p_provider == 'local' else '/usr/bin/python3'"
"""

DEFAULT_P2P_PORT = 8770
DEFAULT_SSH_PORT = 22
DEFAULT_RINGRIFT_PATH = "~/ringrift"
PROVIDERS = ("vast", "runpod", "nebius", "vultr", "hetzner", "lambda", "aws")
# Their machines come and go at the provider's will, so a quorum must not stand on them.
UNSTABLE_PROVIDERS = frozenset({"vast", "runpod"})
FIXED_GROUPS = ("p2p", "voters", "non_voters", "coordinators", "containers", "nat_blocked", "ephemeral")
RESERVED_GROUPS = frozenset({"all", "ungrouped", *FIXED_GROUPS})
DOCUMENTATION_NETWORKS = tuple(
    # RFC 5737 and RFC 3849: addresses that belong to nobody.
    ipaddress.ip_network(network)
    for network in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
)
TEMPLATE_MARKERS = ("{{", "{%", "{#")
MAX_DEPTH = 20
# supervisord's socket below it may have 95 bytes (module_utils/p2p_supervisor_text.py).
_LONGEST_FOLDER = 60
MIN_VOTERS = 3
LAST_PORT = 65535
CACHE_FORMAT = 2  # raise it when a check is added, so that no file passes on the strength of an older one

_HOST_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_ADDRESS = re.compile(r"[A-Za-z0-9_:.][A-Za-z0-9_.:%-]*")
# What every file and every shell that gets it takes as it is: all nodes get the voters' URLs, and a service's
# command names the user.
_URL = re.compile(r"https?://[A-Za-z0-9_.\[\]:%-]+(/[A-Za-z0-9_.~/+=:@%-]*)?")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_UNSAFE = r"\x00-\x1f\x7f\"'$`\\%"
_FOLDER = re.compile(rf"(/[^/{_UNSAFE}]+){{2,}}/?")
_PATH = re.compile(rf"[^{_UNSAFE}-][^{_UNSAFE}]*")
_STRING_TAG = "tag:yaml.org,2002:str"
_PLAIN_TAGS = {
    yaml.ScalarNode: _STRING_TAG,
    yaml.MappingNode: "tag:yaml.org,2002:map",
    yaml.SequenceNode: "tag:yaml.org,2002:seq",
}
_MERGE_TAG = "tag:yaml.org,2002:merge"
_YAML_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TRUE = frozenset({"true", "yes", "on", "y", "1"})
_FALSE = frozenset({"false", "no", "off", "n", "0", ""})
_FLAGS = ("p2p_enabled", "nat_blocked", "force_relay_mode", "is_container", "is_ephemeral")
_PORTS = ("ssh_port", "p2p_port", "p2p_public_port", "socks5_port")
_WORDS = (
    *("ssh_user", "ssh_key", "ssh_proxy", "ringrift_path", "role", "status", "provider"),
    *("rootless_dir", "service_manager", "start_hook"),
)
MEANINGFUL_KEYS = frozenset(
    {*_FLAGS, *_PORTS, *_WORDS, "ssh_host", "tailscale_ip", "p2p_public_host"}
    | {"needs_userspace_tailscale", "relay_primary", "venv_activate"}
)
SLIP_LIKENESS = 0.87  # finds ssh_prt and p2p_enable, and leaves cpu and gpu_vram alone

Host = dict[str, Any]
Place = tuple[object, ...]


def flag(value: object) -> bool | None:
    """Read a yes or no as people write it, quoted or not.

    Args:
        value: A YAML value; nothing at all (null) means no.

    Returns:
        The truth value, or None where the value is neither.
    """
    if value is None or isinstance(value, bool):
        return bool(value)
    word = str(value).strip().lower()
    return True if word in _TRUE else False if word in _FALSE else None


def port_number(value: object) -> int | None:
    """Read a port, quoted or not; None where the value is no port from 1 to 65535."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return None
    if isinstance(value, str) and not re.fullmatch(r"[0-9]{1,5}", value):
        return None
    number = int(value)
    return number if 1 <= number <= LAST_PORT else None


def address_problem(value: object) -> str | None:
    """Say what keeps a value from being an IP address or a host name; None where nothing does."""
    if not isinstance(value, str):
        return f"{value!r} is no address; write it as text, in quotes"
    if _ADDRESS.fullmatch(value) and value.count(":") != 1:
        return None
    reasons = (
        (not value.strip(), "the address is empty; write an IP address or a host name, or remove the key"),
        (value.startswith("-"), "begins like an option of ssh; write an IP address or a host name"),
        (re.search(r"\s", value), "holds white space; write one IP address or one host name"),
        ("@" in value, "names a user; write the address alone, and the user as ssh_user"),
        (value.count(":") == 1, "holds a port; write the address alone, and the port as ssh_port"),
        (True, "holds a character that no address has; write an IP address or a host name"),
    )
    reason = next(text for applies, text in reasons if applies)
    return f"{value!r} {reason}" if value.strip() else reason


def group_name(word: str) -> str:
    """Make a valid group name: whatever is no letter, digit or underscore becomes an underscore."""
    safe = re.sub(r"\W", "_", word, flags=re.ASCII)
    return f"_{safe}" if safe[:1].isdigit() else safe


def nearest(word: str, known: Iterable[object]) -> str:
    """Return `` (did you mean 'x'?)`` for the known word most like this one, or an empty string."""
    match = difflib.get_close_matches(word, [name for name in known if isinstance(name, str)], n=1)
    return f" (did you mean {match[0]!r}?)" if match else ""


def seed_url(host: Host) -> str:
    """Return the URL at which other nodes reach a host's orchestrator.

    Args:
        host: The host's entry in the fleet file, checked.
    """
    public = public_host(host)
    if "://" in public:
        return public.rstrip("/")
    port = port_number(host.get("p2p_public_port") or host.get("p2p_port") or DEFAULT_P2P_PORT)
    return f"http://[{public}]:{port}" if ":" in public else f"http://{public}:{port}"


def public_host(host: Host) -> str:
    """Return what a host is reached by: its public address, where it has none its SSH address, or a URL."""
    return str(host.get("p2p_public_host") or host.get("ssh_host") or host["tailscale_ip"])


def ringrift_path(host: Host) -> str:
    """Return the folder that holds the user's checkout, without the ``/ai-service`` that some files add."""
    path = str(host.get("ringrift_path") or DEFAULT_RINGRIFT_PATH).strip().rstrip("/")
    return path.removesuffix("/ai-service").rstrip("/") or DEFAULT_RINGRIFT_PATH


def provider_of(name: str, host: Host, prefixes: dict[str, str]) -> str:
    """Tell a host's provider: its own key, else its name's longest prefix, else ``local`` or ``unknown``."""
    if host.get("provider"):
        return str(host["provider"]).strip().lower()
    known = [prefix for prefix in prefixes if name.startswith(prefix)]
    if known:
        return prefixes[max(known, key=len)]
    if name == "mac-studio" or name.startswith(("local-", "macbook")) or host.get("ssh_host") == "localhost":
        return "local"
    return "unknown"


def is_documentation_address(address: object) -> bool:
    """Tell whether an address, alone or in a URL, is one of those that exist for examples only."""
    text = str(address or "")
    if "://" in text:
        text = urlsplit(text).hostname or ""
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        return False
    return any(ip in network for network in DOCUMENTATION_NETWORKS)


def expand(path: object) -> str:
    """Expand ``~`` and environment variables in a path on this machine."""
    return str(Path(os.path.expandvars(str(path))).expanduser())


def by_tailnet(host: Host, address: str) -> bool:
    """Tell whether a host is connected to by its address in the tailnet."""
    if not host.get("tailscale_ip") or host.get("ssh_host") == "localhost":
        return False
    return address == "tailscale_ip" or not host.get("ssh_host")


def connection_address(host: Host, address: str) -> tuple[str, int]:
    """Return the address and the port to connect to."""
    port = port_number(host.get("ssh_port") or DEFAULT_SSH_PORT) or DEFAULT_SSH_PORT
    if not by_tailnet(host, address):
        return str(host["ssh_host"]), port
    # The port of a container or behind NAT is one that ssh_host forwards; in the tailnet sshd has its own.
    forwarded = flag(host.get("is_container")) or flag(host.get("nat_blocked"))
    return str(host["tailscale_ip"]), DEFAULT_SSH_PORT if forwarded else port


def jump_of(host: Host, address: str) -> str | None:
    """Return the name of the jump host that leads to a host, if it needs one."""
    if by_tailnet(host, address) or host.get("ssh_host") == "localhost":
        return None
    return host.get("ssh_proxy") or None


class FleetFileError(AnsibleParserError):  # type: ignore[misc]  # untyped base
    """A file that is refused; its message names every place itself.

    Ansible would add an origin to an error that has none, and print the whole message again to show it.
    """

    obj = property(lambda _self: None, lambda _self, _origin: None)


class Source:
    """The text of one YAML file: its values, where each of them stands, and what is wrong with them.

    Attributes:
        path: The file, as messages name it.
        text: What it holds.
    """

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = text
        self._problems: set[tuple[int, int, str]] = set()
        self._loader: Any = None
        self._root: yaml.Node | None = None
        # The definition of a host, its key and value, that a later one of the same name hides.
        self.hidden: tuple[yaml.Node, yaml.Node] | None = None

    def tree(self) -> yaml.Node | None:
        """Return the file's tree of YAML nodes, parsed when first asked for; None for an empty file.

        Raises:
            FleetFileError: The text is not YAML.
        """
        if self._loader is None:
            try:
                self._loader = _YAML_LOADER(self.text)
                self._root = self._loader.get_single_node()
            except (yaml.YAMLError, RecursionError) as error:
                self._refuse_yaml(error)
            self.raise_problems()
        return self._root

    def values(self, node: yaml.Node) -> Any:  # noqa: ANN401 - whatever the file holds
        """Build the plain values of a node; None, and a problem, where they cannot be built."""
        try:
            return self._loader.construct_document(node)
        except (yaml.YAMLError, ValueError, OverflowError, RecursionError):
            # A date like 2025-13-45, or another program's tag: PyYAML stops at the first. Go on as if quoted.
            self._refuse_unreadable(node)
        try:
            return _YAML_LOADER("").construct_document(node)  # the first one has half-built values left
        except (yaml.YAMLError, RecursionError) as error:
            self._refuse_yaml(error)
        return None

    def _refuse_yaml(self, error: Exception) -> None:
        parts = [getattr(error, name, None) for name in ("problem", "reason", "context")]
        detail = ", ".join(part for part in parts if part) or str(error)
        text = f"not YAML: {detail}; correct the indentation, the quotes or the brackets there"
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        if mark:
            self._problems.add((mark.line + 1, mark.column + 1, text))
        else:
            before = self.text[: getattr(error, "position", None) or 0]
            self._problems.add((before.count("\n") + 1, len(before) - before.rfind("\n"), text))

    def _refuse_unreadable(self, top: yaml.Node) -> None:
        """Note the values that cannot be built, and make text, plain mappings and lists of them."""
        stack, seen = [top], set()
        while stack:
            node = stack.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            kind = _PLAIN_TAGS[type(node)]
            if not node.tag.startswith("tag:yaml.org,2002:"):
                self.refuse_node(node, f"the tag {node.tag} means nothing here; remove it")
                node.tag = kind
            if isinstance(node, yaml.ScalarNode):
                if problem := self._scalar_problem(node):
                    self.refuse_node(node, f"{node.value!r} cannot be read ({problem}); put it in quotes")
                    node.tag = kind
                continue
            for item in node.value:
                stack += item if isinstance(item, tuple) else (item,)

    @staticmethod
    def _scalar_problem(node: yaml.Node) -> str | None:
        try:
            _YAML_LOADER("").construct_document(node)
        except yaml.YAMLError as error:
            return str(getattr(error, "problem", error))
        except (ValueError, OverflowError) as error:
            return str(error)
        return None

    def position(self, place: Place, *, key: bool = False) -> tuple[int, int]:
        """Return line and column, from 1, of a value or of the key that leads to it.

        Args:
            place: Keys and list positions from the top of the file to the value. Where the path ends early,
                the last part that exists counts.
            key: Whether the key is wanted instead of its value.
        """
        node = named = self.tree()
        if node is None or named is None:
            return 1, 1
        for depth, step in enumerate(place):
            if self.hidden and place[0] == "hosts" and depth == 1:
                found: tuple[yaml.Node, yaml.Node] | None = self.hidden
            else:
                found = self._step(node, step)
            if found is None:
                break
            named, node = found
        mark = (named if key else node).start_mark
        return mark.line + 1, mark.column + 1

    @staticmethod
    def _step(node: yaml.Node, step: object) -> tuple[yaml.Node, yaml.Node] | None:
        if isinstance(node, yaml.MappingNode):
            # From the end: merged keys come first, and a host's own win.
            return next(((key, value) for key, value in reversed(node.value) if key.value == step), None)
        if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            return node.value[step], node.value[step]
        return None

    def refuse(self, place: Place, message: str, *, key: bool = False) -> None:
        """Note a problem of the value, or of the key, at a place."""
        self._problems.add((*self.position(place, key=key), message))

    def refuse_node(self, node: yaml.Node, message: str) -> None:
        """Note a problem of a YAML node."""
        self._problems.add((node.start_mark.line + 1, node.start_mark.column + 1, message))

    def raise_problems(self) -> None:
        """Raise one error that lists all problems by line, if there are any.

        Raises:
            FleetFileError: There is a problem.
        """
        lines = [f"{self.path}:{line}:{column}: {text}" for line, column, text in sorted(self._problems)]
        if len(lines) > 1:
            lines.insert(0, f"{len(lines)} problems in {self.path}")
        if lines:
            raise FleetFileError("\n".join(lines))


class Fleet:
    """A checked fleet file.

    Attributes:
        source: Where it stands.
        hosts: Host name to the host's entry, untouched, in the file's order.
        voters: Names of the voters, in the file's order.
    """

    def __init__(self, source: Source, hosts: dict[str, Host], voters: list[str]) -> None:
        self.source = source
        self.hosts = hosts
        self.voters = voters

    @classmethod
    def read(cls, source: Source) -> Fleet:
        """Read and check a fleet file.

        Raises:
            FleetFileError: The file has problems; all of them are in the message.
        """
        tree = source.tree()
        if not isinstance(tree, yaml.MappingNode):
            what = "this file is empty" if tree is None else "this file is no mapping"
            source.refuse((), f"{what}; a fleet file begins with 'hosts:'")
            source.raise_problems()
            return cls(source, {}, [])
        sections: dict[str, yaml.Node] = {}
        for key, value in tree.value:
            if not isinstance(key, yaml.ScalarNode):
                source.refuse_node(key, "this key is no text; a fleet file begins with 'hosts:'")
                continue
            if key.value in ("hosts", "p2p_voters") and key.value in sections:
                source.refuse_node(key, f"{key.value!r} stands here a second time; merge the two")
            sections[key.value] = value
        hosts = cls._read_hosts(source, sections)
        voters = cls._read_voters(source, sections, hosts)
        source.raise_problems()
        return cls(source, hosts, voters)

    @staticmethod
    def _read_hosts(source: Source, sections: dict[str, yaml.Node]) -> dict[str, Host]:
        node = sections.get("hosts")
        if node is None:
            text = f"no 'hosts' in this file{nearest('hosts', sections)}; list the machines under 'hosts:'"
            source.refuse((), text)
        elif not node.value or node.tag == "tag:yaml.org,2002:null":
            source.refuse(("hosts",), "'hosts' is empty; write at least one host under it", key=True)
        elif not isinstance(node, yaml.MappingNode):
            text = "'hosts' is no mapping; write each host as 'name:' with its settings under it"
            source.refuse(("hosts",), text, key=True)
        else:
            _check_keys(source, node)
            hosts: dict[str, Host] = source.values(node) or {}
            for name, host in hosts.items():
                HostCheck(source, name, host, hosts).run()
            last = {key.value: key for key, _ in node.value if isinstance(key, yaml.ScalarNode)}
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode) and last[key.value] is not key:
                    source.hidden = (key, value)
                    HostCheck(source, key.value, source.values(value), hosts).run()
                    source.hidden = None
            return hosts
        return {}

    @staticmethod
    def _read_voters(source: Source, sections: dict[str, yaml.Node], hosts: dict[str, Host]) -> list[str]:
        node = sections.get("p2p_voters")
        voters = None if node is None else source.values(node)
        if voters is None:
            return []
        if not isinstance(voters, list):
            source.refuse(("p2p_voters",), "'p2p_voters' is no list; write '- name' for each voter", key=True)
            return []
        first: dict[str, int] = {}
        for index, voter in enumerate(voters):
            place = ("p2p_voters", index)
            if not isinstance(voter, str):
                source.refuse(place, f"voter {voter!r} is no name; write a host's name, a number in quotes")
            elif voter in first:
                line = source.position(("p2p_voters", first[voter]))[0]
                source.refuse(place, f"voter {voter!r} is listed twice (first on line {line}); remove one")
            else:
                first[voter] = index
                if voter not in hosts:
                    text = (
                        f"voter {voter!r} is no host{nearest(voter, hosts)}; correct it, or define the host"
                    )
                    source.refuse(place, text)
        return voters


def _check_keys(source: Source, hosts: yaml.MappingNode) -> None:
    """Refuse hosts and keys that stand twice (YAML keeps the last in silence) or are no text."""
    entries = [(f"{key.value}: key", host) for key, host in hosts.value if isinstance(host, yaml.MappingNode)]
    for what, mapping in [("host", hosts), *entries]:
        first: dict[str, yaml.Node] = {}
        for key, _ in mapping.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE_TAG:
                continue
            if key.tag != _STRING_TAG:
                source.refuse_node(key, f"{what} {key.value!r} is no text; put it in quotes")
            if key.value in first:
                line = first[key.value].start_mark.line + 1
                source.refuse_node(
                    key, f"{what} {key.value!r} is defined twice (first on line {line}); keep one"
                )
            first.setdefault(key.value, key)


class HostCheck:
    """The checks of one host's entry; they note what is wrong and change nothing."""

    def __init__(self, source: Source, name: object, host: object, hosts: dict[str, Host]) -> None:
        self.source = source
        self.name = name
        self.entry = host
        self.host: Host = host if isinstance(host, dict) else {}
        self.hosts = hosts

    def run(self) -> None:
        """Note every problem of the host."""
        name = self.name
        if not isinstance(name, str):
            return  # noted with the keys
        if not _HOST_NAME.fullmatch(name):
            self._refuse_host(
                f"host name {name!r} holds more than letters, digits, '.', '_' and '-'; rename it"
            )
        if not isinstance(self.entry, dict):
            self._refuse_host(
                f"host {name!r} is no mapping; write its settings as 'key: value' lines under it"
            )
            return
        for key, value in self.host.items():
            # Numbers and truth values are most of a file and cannot be wrong here.
            if type(value) is not int and type(value) is not bool:
                self._check_value(value, ("hosts", name, key), 0)
            if "{" in str(key):
                self._check_template(str(key), ("hosts", name, key))
        self._check_addresses()
        self._check_kinds()
        self._check_user_and_provider()
        self._check_rootless()
        self._check_paths()
        self._check_proxy()

    def _refuse_host(self, message: str) -> None:
        self.source.refuse(("hosts", self.name), message, key=True)

    def _refuse(self, key: str, message: str) -> None:
        self._refuse_at(("hosts", self.name, key), message)

    def _refuse_at(self, place: Place, message: str) -> None:
        self.source.refuse(place, f"{'.'.join(str(step) for step in place[1:])}: {message}")

    def _check_value(self, value: object, place: Place, depth: int) -> None:
        """Refuse templates, nested keys that are not text, and what cannot be a variable."""
        if isinstance(value, str):
            self._check_template(value, place)
        elif isinstance(value, (dict, list)):
            if depth > MAX_DEPTH:
                self._refuse_at(
                    place[:3], f"nests more than {MAX_DEPTH} deep, or holds itself; write it flat"
                )
                return
            for key, item in value.items() if isinstance(value, dict) else enumerate(value):
                if isinstance(value, dict):
                    self._check_nested_key(key, place)
                self._check_value(item, (*place, key), depth + 1)
        elif isinstance(value, (bytes, set)):
            self._refuse_at(place, "binary data and sets cannot be variables; write text or a list")

    def _check_nested_key(self, key: object, place: Place) -> None:
        if isinstance(key, str):
            self._check_template(key, place)
        else:
            self._refuse_at(place, f"key {key!r} is no text; put it in quotes")

    def _check_template(self, text: str, place: Place) -> None:
        # Trusted text is rendered: a template would run on this machine.
        if "{" in text and any(marker in text for marker in TEMPLATE_MARKERS):
            self._refuse_at(place, f"{text!r} is a template; write the value itself")

    def _check_addresses(self) -> None:
        host = self.host
        for key in ("ssh_host", "tailscale_ip"):
            if host.get(key) is not None and (problem := address_problem(host[key])):
                self._refuse(key, problem)
        if host.get("ssh_host") is None and host.get("tailscale_ip") is None:
            self._refuse_host(f"host {self.name!r} has no address; give it an ssh_host")
        public = host.get("p2p_public_host")
        if isinstance(public, str) and "://" in public:
            if not _URL.fullmatch(public):
                self._refuse(
                    "p2p_public_host", f"{public!r} is no URL; write http://host:port, or a host alone"
                )
        elif public is not None and (problem := address_problem(public)):
            self._refuse("p2p_public_host", problem.replace("ssh_port", "p2p_public_port"))

    def _check_kinds(self) -> None:
        for key in _PORTS:
            value = self.host.get(key)
            if value is not None and port_number(value) is None:
                self._refuse(key, f"{value!r} is no port; write a number from 1 to {LAST_PORT}")
        for key in _FLAGS:
            if flag(self.host.get(key)) is None:
                self._refuse(key, f"{self.host[key]!r} is neither yes nor no; write true or false")
        for key in _WORDS:
            value = self.host.get(key)
            if value is not None and (isinstance(value, bool) or not isinstance(value, (str, int))):
                self._refuse(key, f"{value!r} is no text; write one word or path, in quotes")

    def _check_user_and_provider(self) -> None:
        user, provider = self.host.get("ssh_user"), self.host.get("provider")
        if user is not None and not _USER.fullmatch(str(user)):
            self._refuse(
                "ssh_user",
                f"{user!r} is no user name of letters, digits, '.', '_' and '-'; write the name to log in"
                " with",
            )
        if provider and is_taken(group_name(str(provider).strip().lower())):
            self._refuse("provider", f"{provider!r} is the name of another group; write another word")

    def _check_rootless(self) -> None:
        folder, user = self.host.get("rootless_dir"), self.host.get("ssh_user")
        if folder is None:
            return
        if not _FOLDER.fullmatch(str(folder)):
            self._refuse(
                "rootless_dir",
                f"{folder!r} is no absolute path of two parts or more without quotes, '$', '%' and '\\';"
                " write such as /home/alice/p2p-cluster",
            )
        if self.host.get("service_manager") == "systemd":
            self._refuse("service_manager", "systemd takes root, which rootless_dir goes without; remove one")
        if len(str(folder).encode()) > _LONGEST_FOLDER:
            self._refuse("rootless_dir", f"is too long for sockets in it; at most {_LONGEST_FOLDER} bytes")
        if user in (None, "root"):
            self._refuse(
                "rootless_dir",
                "is for a user who is not root; write that user as ssh_user, or remove this key",
            )

    def _check_paths(self) -> None:
        """Refuse a path that some of the files and shells that get it would read as something else."""
        for key in ("ringrift_path", "start_hook"):
            path = self.host.get(key)
            if isinstance(path, str) and path.strip() and not _PATH.fullmatch(path.strip()):
                self._refuse(
                    key,
                    f"{path!r} is no path without quotes, '$', '`', '%', '\\' and control characters; write"
                    " such as ~/ringrift or /srv/ring rift",
                )

    def _check_proxy(self) -> None:
        way, proxy = [str(self.name)], self.host.get("ssh_proxy")
        if proxy and (not isinstance(proxy, str) or proxy not in self.hosts):
            near = nearest(str(proxy), self.hosts)
            self._refuse("ssh_proxy", f"{proxy!r} is no host{near}; write the name of the jump host")
            return
        while isinstance(proxy, str) and proxy in self.hosts and proxy not in way[1:]:
            way.append(proxy)
            if proxy == self.name:
                ring = " -> ".join(way)
                self._refuse("ssh_proxy", f"the jump hosts form a ring, {ring}; let one of them be direct")
                return
            entry = self.hosts[proxy]
            proxy = entry.get("ssh_proxy") if isinstance(entry, dict) else None


def is_taken(group: str) -> bool:
    """Tell whether a group of that name means something other than a provider."""
    return group in RESERVED_GROUPS or group.startswith(("role_", "status_"))


# A jump host is a stranger's machine as well: as scripts/node-ssh has it for the ssh that starts the jump.
NOTHING_OFFERED = (
    "ForwardAgent=no",
    "ForwardX11=no",
    "ClearAllForwardings=yes",
    "PermitLocalCommand=no",
    "Tunnel=no",
    "GSSAPIDelegateCredentials=no",
)
NODE_SSH = Path(__file__).resolve().parents[1] / "scripts" / "node-ssh"


class JumpHosts:
    """Arguments of ssh that lead through jump hosts, with the same host key checking as everywhere else.

    ``ProxyJump`` starts an ssh that knows nothing of the options on Ansible's command line: the jump host
    would be checked against another known_hosts file. So the inner ssh is written out, with those options.
    """

    def __init__(self, hosts: dict[str, Host], address: str) -> None:
        self.hosts = hosts
        self.address = address
        connection_loader.get("ssh", class_only=True)  # makes the settings of Ansible's ssh connection known
        self.common = self._setting("ssh_common_args")
        self.options = list(self._inner_options())

    @staticmethod
    def _setting(name: str) -> str:
        value = C.config.get_config_value(name, plugin_type="connection", plugin_name="ssh")
        return str(value) if value else ""

    def _inner_options(self) -> Iterator[str]:
        for option in NOTHING_OFFERED:
            yield from ("-o", option)
        words = iter(shlex.split(self._setting("ssh_args")))
        for word in words:
            option = next(words, "") if word == "-o" else word[2:] if word.startswith("-o") else ""
            if not option:
                yield word
            elif not option.lower().startswith("control"):  # a shared master belongs to one end, not to both
                yield from ("-o", option)
        if not self._setting("host_key_checking"):
            yield from ("-o", "StrictHostKeyChecking=no")
        # Nobody can answer a question there, and a jump host that is gone must not hang the run.
        yield from ("-o", "BatchMode=yes", "-o", f"ConnectTimeout={C.DEFAULT_TIMEOUT}")

    def command(self, name: str) -> str:
        """Return the command that connects its input and output to ``%h:%p`` through a host."""
        host = self.hosts[name]
        where, port = connection_address(host, self.address)
        words = ["ssh", *self.options, "-p", str(port)]
        if host.get("ssh_key"):
            words += ["-i", expand(host["ssh_key"])]
        if host.get("ssh_user"):
            words += ["-l", str(host["ssh_user"])]
        if via := jump_of(host, self.address):
            words += ["-o", f"ProxyCommand={self.command(via)}"]
        # The outer ssh reads '%' as a token of its own; only %h and %p of the last words are meant for it.
        return shlex.join(
            [*(word.replace("%", "%%") for word in words), "-W", "[%h]:%p", "--", where.replace("%", "%%")]
        )

    def arguments(self, host: Host) -> str:
        """Return the value of ``ansible_ssh_common_args`` for a host behind a jump host."""
        jump = shlex.join(["-o", f"ProxyCommand={self.command(host['ssh_proxy'])}"])
        return f"{self.common} {jump}".strip()


class Trust:
    """Marks text as trusted, so that Ansible does not list it as unsafe; equal texts are marked once.

    Marking is what costs most. Templates, which trust would bring to life, have been refused by now.
    """

    def __init__(self) -> None:
        self._marked: dict[str, str] = {}

    def of(self, value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
        """Return a value with all text in it trusted."""
        if isinstance(value, str):
            marked = self._marked.get(value)
            if marked is None:
                marked = self._marked[value] = trust_as_template(value)
            return marked
        if isinstance(value, dict):
            return {key: self.of(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.of(item) for item in value]
        return value


@contextlib.contextmanager
def without_collection() -> Iterator[None]:
    """Keep Python's garbage collector from walking the growing tree and inventory: a third of the time.

    Nothing in them is garbage. Frozen, they are not walked afterwards either, while the inventory is printed.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()


class InventoryModule(BaseFileInventoryPlugin, Constructable, Cacheable):  # type: ignore[misc]  # untyped base
    """Adds the hosts of a fleet file to the inventory."""

    NAME = "distributed_hosts"
    # Of what goes through the inventory's own set_variable: the cluster's variables, and composed ones.
    trusted_by_default = True

    def verify_file(self, path: str) -> bool:
        """Claim every ``*distributed_hosts.y[a]ml``, even a missing one, so that the error is a good one."""
        if path.endswith(("distributed_hosts.yaml", "distributed_hosts.yml")):
            return "," not in path
        if path.endswith((".yaml", ".yml")) and self._looks_like_a_fleet(Path(path)):
            text = (
                f"{path}: looks like a fleet file, whose name must end with distributed_hosts.yaml; rename it"
            )
            self.display.warning(text)
        return False

    @staticmethod
    def _looks_like_a_fleet(path: Path) -> bool:
        text = path.read_text(errors="replace") if path.is_file() else ""
        return bool(
            re.search(r"^hosts:", text, re.MULTILINE) and re.search(r"^ +ssh_host:", text, re.MULTILINE)
        )

    def parse(self, inventory: InventoryData, loader: DataLoader, path: str, cache: bool = True) -> None:
        """Read one inventory source, a fleet file or a file of settings that leads to one.

        Args:
            inventory: What earlier sources gave; hosts and groups are added to it.
            loader: Ansible's file reader.
            path: The inventory source.
            cache: Whether a cached copy may be used.

        Raises:
            FleetFileError: The file cannot be read or has problems; nothing has been added.
        """
        super().parse(inventory, loader, path, cache=cache)
        with without_collection():
            self._parse(path, cache)

    def _parse(self, path: str, cache: bool) -> None:
        source = self._open(path)
        if self._is_settings(source):
            fleet_source = self._open(self._read_settings(source))
            if self._is_settings(fleet_source):
                text = f"'source' leads to {fleet_source.path}, more settings; name the fleet file itself"
                source.refuse(("source",), text)
                source.raise_problems()
        else:
            self.set_options(var_options=self._vars)
            fleet_source = source
        Builder(self, self._read_fleet(fleet_source, cache), source).build()

    def _open(self, path: str) -> Source:
        content = b""
        try:
            content = Path(path).read_bytes()
            if content.startswith(b"$ANSIBLE_VAULT"):
                content = self.loader.get_text_file_contents(path).encode()
            return Source(path, content.decode())
        except OSError as error:
            raise FleetFileError(f"{path}: {error.strerror}; give the path of a fleet file") from None
        except UnicodeDecodeError as error:
            before = content[: error.start]
            line, column = before.count(b"\n") + 1, len(before) - before.rfind(b"\n")
            text = f"{path}:{line}:{column}: not UTF-8 ({error.reason}); save the file as UTF-8"
            raise FleetFileError(text) from None
        except AnsibleError as error:
            raise FleetFileError(f"{path}: {error}") from None

    @staticmethod
    def _is_settings(source: Source) -> bool:
        if "plugin" not in source.text:  # spares parsing what the cache has
            return False
        tree = source.tree()
        return isinstance(tree, yaml.MappingNode) and any(key.value == "plugin" for key, _ in tree.value)

    def _read_settings(self, source: Source) -> str:
        """Set the plugin's options from a file of settings; return the path of the fleet file."""
        settings = self.loader.load_from_file(source.path, cache="none", trusted_as_template=True)
        known = C.config.get_configuration_definitions("inventory", self._load_name)
        for key, value in settings.items():
            if key not in known:
                text = f"unknown option {key!r}{nearest(str(key), known)}; correct or remove it"
                source.refuse((key,), text, key=True)
            elif problem := self._option_problem(key, value):
                source.refuse(
                    (key,), f"{problem}; 'ansible-doc -t inventory {self.NAME}' has the valid values"
                )
        source.raise_problems()
        self.set_options(direct=settings, var_options=self._vars)
        given = self.get_option("source")
        path = os.path.normpath(Path(source.path).parent / expand(given or ""))
        if not given:
            text = "no 'source' here; write 'source:' and the path of the fleet file"
            source.refuse(("plugin",), text, key=True)
        elif not Path(path).is_file():
            source.refuse(("source",), f"no file {path}; write the path of the fleet file")
        source.raise_problems()
        return path

    def _option_problem(self, key: str, value: object) -> str | None:
        try:
            C.config.get_config_value_and_origin(
                key, plugin_type="inventory", plugin_name=self._load_name, direct={key: value}
            )
        except AnsibleError as error:
            return str(error).rstrip(".")
        return None

    def _read_fleet(self, source: Source, cache: bool) -> Fleet:
        if not self.get_option("cache"):
            return Fleet.read(source)
        self.load_cache_plugin()
        key = self.get_cache_key(source.path)
        digest = hashlib.sha256(f"{CACHE_FORMAT}\n{source.text}".encode()).hexdigest()
        kept = self._cache[key] if cache and key in self._cache else {}
        if kept.get("digest") == digest:
            fleet = json.loads(kept["fleet"])
            return Fleet(source, fleet["hosts"], fleet["voters"])
        checked = Fleet.read(source)
        try:
            # As one text: the cache would mark and copy every single value.
            text = json.dumps({"hosts": checked.hosts, "voters": checked.voters})
        except TypeError:
            self.display.vv(f"{source.path} holds a date, which JSON has not: not cached")
        else:
            self._cache[key] = {"digest": digest, "fleet": text}
        return checked


class Builder:
    """Turns a checked fleet into hosts, groups and variables; adds nothing until all of it is known."""

    def __init__(self, plugin: InventoryModule, fleet: Fleet, settings: Source) -> None:
        self.plugin = plugin
        self.inventory: Any = plugin.inventory
        self.fleet = fleet
        self.source = fleet.source
        self.path = str(Path(self.source.path).absolute())
        self.settings = settings
        self.address = str(plugin.get_option("address"))
        self.fleet_group = str(plugin.get_option("fleet_group"))
        self.deployable = {"ready", *(str(status) for status in plugin.get_option("include_status"))}
        self.prefixes = {f"{provider}-": provider for provider in PROVIDERS} | {
            str(prefix): str(provider).strip().lower()
            for prefix, provider in plugin.get_option("providers").items()
        }
        self.voters = frozenset(fleet.voters)
        self.groups: dict[str, list[str]] = {group: [] for group in FIXED_GROUPS}
        self.groups["voters"] = fleet.voters
        self.variables: dict[str, dict[str, Any]] = {}

    def build(self) -> None:
        """Add everything to the inventory.

        Raises:
            FleetFileError: The fleet does not fit what is in the inventory already, or breaks an enforced
                policy.
        """
        behind_jump_hosts = any(host.get("ssh_proxy") for host in self.fleet.hosts.values())
        jumps = JumpHosts(self.fleet.hosts, self.address) if behind_jump_hosts else None
        for name, host in self.fleet.hosts.items():
            provider = provider_of(name, host, self.prefixes)
            self.variables[name] = {**self._connection(host, jumps), **self._facts(name, host, provider)}
            for group in self._groups_of(name, host, provider):
                self.groups.setdefault(group, []).append(name)
        breaches = self._breaches()
        self._check_options()
        self._check_names()
        self._check_policy(breaches)
        self._warn(breaches)
        self._add(self._cluster(breaches))

    def _connection(self, host: Host, jumps: JumpHosts | None) -> dict[str, Any]:
        where, port = connection_address(host, self.address)
        found: dict[str, Any] = {"ansible_host": where, "ansible_port": port}
        if where == "localhost":
            found["ansible_connection"] = "local"
        if host.get("ssh_user"):
            found["ansible_user"] = str(host["ssh_user"])
        if host.get("ssh_key"):
            found["ansible_ssh_private_key_file"] = expand(host["ssh_key"])
        if jumps and jump_of(host, self.address):
            found["ansible_ssh_common_args"] = jumps.arguments(host)
        return found

    def _facts(self, name: str, host: Host, provider: str) -> dict[str, Any]:
        public = public_host(host)
        return {
            "distributed_host": host,
            "p2p_node_id": name,
            "p2p_provider": provider,
            "p2p_port": port_number(host.get("p2p_port") or DEFAULT_P2P_PORT),
            "p2p_host": urlsplit(public).hostname if "://" in public else public,
            "p2p_advertise_url": seed_url(host),
            "p2p_ringrift_path": ringrift_path(host),
            "p2p_is_voter": name in self.voters,
            "p2p_nat_blocked": bool(flag(host.get("nat_blocked"))),
            "p2p_is_container": bool(flag(host.get("is_container"))),
            "p2p_rootless_dir": str(host.get("rootless_dir") or "").rstrip("/"),
        }

    @staticmethod
    def _status(host: Host) -> str:
        return str(host.get("status") or "ready").strip()

    def _groups_of(self, name: str, host: Host, provider: str) -> Iterator[str]:
        role, status = str(host.get("role") or "").strip(), self._status(host)
        yield group_name(provider)
        yield f"status_{group_name(status)}"
        if role:
            yield f"role_{group_name(role)}"
        if status in self.deployable and flag(host.get("p2p_enabled")):
            yield "p2p"
            if name not in self.voters:
                yield "non_voters"
        if "coordinator" in role:
            yield "coordinators"
        for group, key in (
            ("containers", "is_container"),
            ("nat_blocked",) * 2,
            ("ephemeral", "is_ephemeral"),
        ):
            if flag(host.get(key)):
                yield group

    def _cluster(self, breaches: list[dict[str, str]]) -> dict[str, Any]:
        hosts, voters = self.fleet.hosts, self.fleet.voters
        addresses = ("ssh_host", "tailscale_ip", "p2p_public_host")
        return {
            "p2p_voters": voters,
            "p2p_seeds": list(dict.fromkeys(seed_url(hosts[voter]) for voter in voters)),
            "p2p_quorum": len(voters) // 2 + 1,
            "p2p_voter_warnings": breaches,
            "p2p_documentation_addresses": [
                name
                for name, host in hosts.items()
                if any(is_documentation_address(host.get(key)) for key in addresses)
            ],
            "p2p_fleet_file": self.path,
            "ansible_ssh_executable": str(NODE_SSH),
        }

    def _breaches(self) -> list[dict[str, str]]:
        """Return what the voter policy holds against each voter: voter, rule and message."""
        found = []
        for voter in self.fleet.voters:
            host, provider = self.fleet.hosts[voter], self.variables[voter]["p2p_provider"]
            status = self._status(host)
            relay = flag(host.get("force_relay_mode")) or "relay" in str(host.get("role") or "")
            rules = (
                (flag(host.get("is_container")), "container", "runs in a container"),
                (
                    flag(host.get("nat_blocked")),
                    "nat_blocked",
                    "is NAT-blocked",
                ),
                (relay, "relay", "is a relay or talks through one"),
                (
                    provider in UNSTABLE_PROVIDERS,
                    "unstable_provider",
                    f"is at {provider}, where machines go away",
                ),
                (status not in self.deployable, "not_ready", f"has the status {status!r}"),
                (not flag(host.get("p2p_enabled")), "disabled", "is not enabled (p2p_enabled)"),
                (host.get("rootless_dir"), "rootless", "is deployed to without root, which etcd needs"),
            )
            found += [
                {
                    "voter": voter,
                    "rule": rule,
                    "message": f"voter {voter!r} {text}; choose another, or correct it",
                }
                for broken, rule, text in rules
                if broken
            ]
        return found

    def _check_options(self) -> None:
        for prefix, provider in self.prefixes.items():
            if not provider or is_taken(group_name(provider)):
                text = f"provider {provider!r} is the name of another group; write another word"
                self.settings.refuse(("providers", prefix), text)
        if self.fleet_group != "all":
            if self.fleet_group != group_name(self.fleet_group) or not self.fleet_group:
                text = f"{self.fleet_group!r} is no group name; write letters, digits and underscores"
                self.settings.refuse(("fleet_group",), f"option 'fleet_group': {text}")
            elif self.fleet_group in self.groups or is_taken(self.fleet_group):
                text = f"{self.fleet_group!r} is the name of another group; write another word"
                self.settings.refuse(("fleet_group",), f"option 'fleet_group': {text}")
        self.settings.raise_problems()

    def _check_names(self) -> None:
        """Refuse names that mean two things, in this file or together with what earlier sources added."""
        taken = {*self.groups, *self.inventory.groups, self.fleet_group}
        for name in self.fleet.hosts:
            if name in taken:
                self._refuse_name(name, "has the name of a group; rename the host")
            elif name in self.inventory.hosts and (other := self._fleet_of(name)) not in (None, self.path):
                self._refuse_name(name, f"is also defined in {other}; rename one of them")
        group = self.inventory.groups.get(self.fleet_group)
        if group and (other := group.vars.get("p2p_fleet_file", self.path)) != self.path:
            text = f"a second fleet beside {other} in group {group.name!r}; give each its own fleet_group"
            self.source.refuse((), text)
        self.source.raise_problems()

    def _refuse_name(self, name: str, text: str) -> None:
        self.source.refuse(("hosts", name), f"host {name!r} {text}", key=True)

    def _fleet_of(self, name: str) -> str | None:
        """Return the fleet file that a host in the inventory came from, if it came from one."""
        host = self.inventory.hosts[name]
        if "distributed_host" not in host.vars:
            return None
        groups = [*host.get_groups(), self.inventory.groups["all"]]
        return next(
            (group.vars["p2p_fleet_file"] for group in groups if "p2p_fleet_file" in group.vars), None
        )

    def _check_policy(self, breaches: list[dict[str, str]]) -> None:
        if self.plugin.get_option("voter_policy") == "enforce":
            for breach in breaches:
                self.source.refuse(self._voter_place(breach["voter"]), breach["message"])
            self.source.raise_problems()

    def _voter_place(self, voter: str) -> Place:
        return ("p2p_voters", self.fleet.voters.index(voter))

    def _warn(self, breaches: list[dict[str, str]]) -> None:
        count = len(self.fleet.voters)
        for breach in breaches:
            self._warning(self._voter_place(breach["voter"]), breach["message"])
        if not count:
            text = f"no voters, so nobody elects a leader; list at least {MIN_VOTERS} under 'p2p_voters:'"
            self._warning(("p2p_voters",), text, key=True)
        elif count < MIN_VOTERS:
            text = f"fewer than {MIN_VOTERS} voters ({count}): none may stop; list at least {MIN_VOTERS}"
            self._warning(("p2p_voters",), text, key=True)
        elif count % 2 == 0:
            text = f"an even number of voters ({count}) tolerates no more failures than {count - 1}; add one"
            self._warning(("p2p_voters",), text, key=True)
        self._warn_about_endpoints()
        self._warn_about_keys()

    def _warn_about_keys(self) -> None:
        """Warn about keys that look like a slip of one that means something, once for each such key."""
        seen: set[str] = set(MEANINGFUL_KEYS)
        for name, host in self.fleet.hosts.items():
            for key in host.keys() - seen:
                seen.add(key)
                meant = difflib.get_close_matches(
                    key, MEANINGFUL_KEYS - host.keys(), n=1, cutoff=SLIP_LIKENESS
                )
                if meant:
                    text = (
                        f"{name}.{key}: not a known key (did you mean {meant[0]!r}?); it has no effect here"
                    )
                    self._warning(("hosts", name, key), text, key=True)

    def _warn_about_endpoints(self) -> None:
        machines: dict[tuple[Any, ...], list[str]] = defaultdict(list)
        seeds: dict[str, list[str]] = defaultdict(list)
        for name, host in self.fleet.hosts.items():
            found = self.variables[name]
            if self._status(host) not in ("retired", "destroyed"):  # their addresses may be others' by now
                machines[found["ansible_host"], found["ansible_port"], jump_of(host, self.address)].append(
                    name
                )
            if name in self.voters:
                seeds[found["p2p_advertise_url"]].append(name)
        for (address, port, _), names in machines.items():
            if len(names) > 1:
                text = f"{', '.join(names)} share {address} port {port}; correct one, or mark it retired"
                self._warning(("hosts", names[1]), text, key=True)
        for url, names in seeds.items():
            if len(names) > 1:
                text = f"voters {', '.join(names)} share the seed {url}; give each its own p2p_port"
                self._warning(("hosts", names[1]), text, key=True)

    def _warning(self, place: Place, text: str, *, key: bool = False) -> None:
        line, column = self.source.position(place, key=key)
        self.plugin.display.warning(f"{self.source.path}:{line}:{column}: {text}")

    def _add(self, cluster: dict[str, Any]) -> None:
        inventory = self.inventory
        new = [name for name in self.variables if name not in inventory.hosts]
        for group in (self.fleet_group, *self.groups):
            inventory.add_group(group)
        trust = Trust()
        for name, variables in self.variables.items():
            inventory.add_host(name)
            host = inventory.get_host(name)
            for variable, value in variables.items():
                host.set_variable(variable, trust.of(value))
        for group, names in self.groups.items():
            for name in names:
                inventory.add_child(group, name)
        if self.fleet_group != "all":
            for name in self.variables:
                inventory.add_child(self.fleet_group, name)
        try:
            self._construct(cluster)
        except AnsibleError as error:
            for name in new:
                inventory.remove_host(inventory.hosts[name])
            text = f"{self.settings.path}: {error}; correct the expression, or set strict to false"
            raise FleetFileError(text) from None
        for variable, value in cluster.items():
            inventory.set_variable(self.fleet_group, variable, value)

    def _construct(self, cluster: dict[str, Any]) -> None:
        """Apply the expressions of the constructed options, which see the cluster's variables too."""
        plugin = self.plugin
        compose, groups, keyed = (
            plugin.get_option(option) for option in ("compose", "groups", "keyed_groups")
        )
        if not (compose or groups or keyed):
            return
        strict = plugin.get_option("strict")
        for name in self.variables:
            variables = {**cluster, **self.inventory.get_host(name).get_vars()}
            plugin._set_composite_vars(compose, variables, name, strict=strict)
            plugin._add_host_to_composed_groups(groups, cluster, name, strict=strict)
            plugin._add_host_to_keyed_groups(keyed, cluster, name, strict=strict)
