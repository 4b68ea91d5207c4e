"""Ansible inventory from a fleet file, ``distributed_hosts.yaml``, as its users wrote it.

The file is parsed once: libyaml gives a tree of nodes that know their line and column, plain values are built from it, and a
position is looked up in the tree only when there is something to report. Everything is checked before the first host is
added, so a refused file adds nothing.
"""

from __future__ import annotations

import difflib
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

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCUMENTATION = r"""
name: distributed_hosts
short_description: Hosts, groups and connection settings from a fleet file
description:
  - Reads a fleet file, C(distributed_hosts.yaml), as its users wrote it. The file maps host names to settings under C(hosts)
    and lists the hosts that elect the leader under C(p2p_voters). Sections of other programs are ignored.
  - Every key of a host reaches the playbooks unchanged in the variable C(distributed_host).
  - The whole file is checked before the first host is added. All its problems are reported in one go, each with file, line,
    column and what to write instead; a refused file adds no host and the command fails.
  - What a voter should not be (a container, behind NAT, not ready...) is a warning, unless O(voter_policy=enforce).
extends_documentation_fragment:
  - constructed
  - inventory_cache
notes:
  - Enable it in C(ansible.cfg) without V(auto) and V(yaml) beside it, and set C(any_unparsed_is_failed), or those plugins
    accept a fleet file that this one refuses.
  - The variables C(p2p_voters), C(p2p_seeds), C(p2p_quorum), C(p2p_voter_warnings), C(p2p_documentation_addresses) and
    C(p2p_fleet_file) are worked out from the whole file, so C(--limit) does not change them.
  - Given one after another with C(-i), two fleets need a O(fleet_group) each.
  - With O(cache=true) the checked file is kept under a digest of its text, so a changed file is always read anew.
seealso:
  - name: The fleet file
    description: Its keys, the groups and variables made from them, and several fleets side by side.
    link: docs/inventory.md
options:
  plugin:
    description:
      - Marks a small file named C(*.distributed_hosts.yml) as settings of this plugin that point at a fleet file.
      - A fleet file itself does not have it.
    type: str
    choices: [distributed_hosts]
  source:
    description:
      - Path of the fleet file. V(~) is the home folder; a relative path starts at the file that holds this setting.
      - Only read where C(plugin) is set; otherwise the inventory source is the fleet file itself.
    type: str
    env:
      - name: P2P_INVENTORY_SOURCE
  address:
    description:
      - Which address to connect to. A host that lacks it is connected to by the other one.
      - Seeds are not affected, they are public addresses.
    type: str
    choices:
      ssh_host: The public address, or the provider's proxy.
      tailscale_ip: The address in the tailnet, on port 22, and without C(ssh_proxy).
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
      - What to do about a voter that is a container, NAT-blocked, a relay, on a provider that takes machines away, not ready
        or not enabled.
    type: str
    choices:
      warn: One line of warning each, and an entry in C(p2p_voter_warnings).
      enforce: The file is refused.
    default: warn
    env:
      - name: P2P_INVENTORY_VOTER_POLICY
  include_status:
    description:
      - Further values of C(status), beside V(ready), whose hosts are deployed to, that is, are members of C(p2p).
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
# The fleet file itself, as the inventory:
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
# staging.distributed_hosts.yml: a second fleet, over its tailnet, with groups of its own
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
  - key: distributed_host.region | default('')
    prefix: region
compose:
  ansible_python_interpreter: "'/opt/homebrew/bin/python3' if p2p_provider == 'local' else '/usr/bin/python3'"
"""

DEFAULT_P2P_PORT = 8770
DEFAULT_SSH_PORT = 22
DEFAULT_RINGRIFT_PATH = "~/ringrift"
PROVIDERS = ("vast", "runpod", "nebius", "vultr", "hetzner", "lambda", "aws")
# Providers that take a machine away at will: their nodes come and go, so a quorum must not stand on them.
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
MIN_VOTERS = 3
LAST_PORT = 65535
CACHE_FORMAT = 1

_HOST_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_ADDRESS = re.compile(r"[A-Za-z0-9_:.][A-Za-z0-9_.:%-]*")
_SAFE_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TRUE = frozenset({"true", "yes", "on", "y", "1"})
_FALSE = frozenset({"false", "no", "off", "n", "0", ""})
_FLAGS = ("p2p_enabled", "nat_blocked", "force_relay_mode", "is_container", "is_ephemeral")
_PORTS = ("ssh_port", "p2p_port", "p2p_public_port", "socks5_port")
_WORDS = ("ssh_user", "ssh_key", "ssh_proxy", "ringrift_path", "role", "status", "provider")

Host = dict[str, Any]
Place = tuple[Any, ...]


def flag(value: Any) -> bool | None:
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


def port_number(value: Any) -> int | None:
    """Read a port, quoted or not; None where the value is no port from 1 to 65535."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return None
    if isinstance(value, str) and not (value.isascii() and value.isdigit()):
        return None
    number = int(value)
    return number if 1 <= number <= LAST_PORT else None


def address_problem(value: Any) -> str | None:
    """Say what keeps a value from being an IP address or a host name; None where nothing does."""
    if not isinstance(value, str):
        return f"{value!r} is no address; write it as text, in quotes"
    if value and _ADDRESS.fullmatch(value) and (value.count(":") != 1):
        return None
    if not value.strip():
        return "the address is empty; write an IP address or a host name, or remove the key"
    if value.startswith("-"):
        return f"{value!r} begins like an option of ssh; write an IP address or a host name"
    if re.search(r"\s", value):
        return f"{value!r} holds white space; write one IP address or one host name"
    if "@" in value:
        return f"{value!r} names a user; write the address alone and the user as ssh_user"
    if value.count(":") == 1:
        return f"{value!r} is not an address alone; write the port as a key of its own (ssh_port, p2p_public_port)"
    return f"{value!r} holds a character that no address has; write an IP address or a host name"


def group_name(word: str) -> str:
    """Make a valid group name: whatever is no letter, digit or underscore becomes an underscore."""
    safe = re.sub(r"\W", "_", word, flags=re.ASCII)
    return f"_{safe}" if safe[:1].isdigit() else safe


def nearest(word: str, known: Any) -> str:
    """Return `` (did you mean 'x'?)`` for the known word that is most like this one, or an empty string."""
    match = difflib.get_close_matches(word, [name for name in known if isinstance(name, str)], n=1)
    return f" (did you mean {match[0]!r}?)" if match else ""


def seed_url(host: Host) -> str:
    """Return the URL at which other nodes reach a host's orchestrator.

    Args:
        host: The host's entry in the fleet file, checked.
    """
    public = host.get("p2p_public_host") or host.get("ssh_host") or host["tailscale_ip"]
    if "://" in public:
        return str(public).rstrip("/")
    port = port_number(host.get("p2p_public_port") or host.get("p2p_port") or DEFAULT_P2P_PORT)
    return f"http://[{public}]:{port}" if ":" in public else f"http://{public}:{port}"


def ringrift_path(host: Host) -> str:
    """Return the folder that holds the user's checkout, without the ``/ai-service`` that some files add."""
    path = str(host.get("ringrift_path") or DEFAULT_RINGRIFT_PATH).strip().rstrip("/")
    return path.removesuffix("/ai-service").rstrip("/") or DEFAULT_RINGRIFT_PATH


def provider_of(name: str, host: Host, prefixes: dict[str, str]) -> str:
    """Tell a host's provider: its own key, else its name's longest known prefix, else ``local`` or ``unknown``."""
    if host.get("provider"):
        return str(host["provider"]).strip().lower()
    known = [prefix for prefix in prefixes if name.startswith(prefix)]
    if known:
        return prefixes[max(known, key=len)]
    if name == "mac-studio" or name.startswith(("local-", "macbook")) or host.get("ssh_host") == "localhost":
        return "local"
    return "unknown"


def is_documentation_address(address: Any) -> bool:
    """Tell whether an address, alone or in a URL, is one of those that exist for examples only."""
    text = str(address or "")
    if "://" in text:
        text = urlsplit(text).hostname or ""
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        return False
    return any(ip in network for network in DOCUMENTATION_NETWORKS)


class Source:
    """The text of one YAML file: its values, and where each of them stands.

    Attributes:
        path: The file, as messages name it.
        problems: What is wrong with it, as (line, column, message), both from 1.
    """

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = text
        self.problems: list[tuple[int, int, str]] = []
        self._loader: Any = None
        self._root: Any = None

    def tree(self) -> Any:
        """Return the file's tree of YAML nodes, parsed when first asked for.

        Raises:
            AnsibleParserError: The text is not YAML.
        """
        if self._loader is None:
            try:
                self._loader = _SAFE_LOADER(self.text)
                self._root = self._loader.get_single_node()
            except yaml.YAMLError as error:
                self._refuse_yaml(error)
                self.raise_problems()
        return self._root

    def _refuse_yaml(self, error: yaml.YAMLError) -> None:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        detail = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
        if mark is None and (offset := getattr(error, "position", None)) is not None:
            before = self.text[:offset]
            line, column = before.count("\n") + 1, offset - before.rfind("\n")
        else:
            line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        self.problems.append(
            (line, column, f"not YAML: {detail}; correct the indentation, quotes or brackets there")
        )

    def values(self, node: Any) -> Any:
        """Build the plain values of a node; a value that cannot be built becomes a problem and None."""
        try:
            return self._loader.construct_document(node)
        except yaml.YAMLError as error:
            self._refuse_yaml(error)
        except (ValueError, OverflowError, RecursionError) as error:
            # A date like 2025-13-45: PyYAML does not say where, so the smallest part that fails is looked for.
            part = self._failing_part(node)
            text = f"{getattr(part, 'value', '')!r} cannot be read ({error}); put it in quotes"
            self.problems.append((part.start_mark.line + 1, part.start_mark.column + 1, text))
        return None

    def _failing_part(self, node: Any) -> Any:
        if isinstance(node, yaml.CollectionNode):
            for item in node.value:
                for part in item if isinstance(item, tuple) else (item,):
                    try:
                        _SAFE_LOADER("").construct_document(part)
                    except (ValueError, OverflowError, RecursionError):
                        return self._failing_part(part)
                    except yaml.YAMLError:
                        continue
        return node

    def position(self, place: Place, *, key: bool = False) -> tuple[int, int]:
        """Return line and column, from 1, of a value or of the key that leads to it.

        Args:
            place: Keys and list positions from the top of the file to the value. Where the path ends early, the last part
                that exists counts.
            key: Whether the key is wanted instead of its value.
        """
        node = self.tree()
        if node is None:
            return 1, 1
        named = node
        for step in place:
            found = self._step(node, step)
            if found is None:
                break
            named, node = found
        mark = (named if key else node).start_mark
        return mark.line + 1, mark.column + 1

    @staticmethod
    def _step(node: Any, step: Any) -> tuple[Any, Any] | None:
        if isinstance(node, yaml.MappingNode):
            # From the end: the last of two equal keys is the one that counts, and merged keys come first.
            return next(((k, v) for k, v in reversed(node.value) if k.value == step), None)
        if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            return node.value[step], node.value[step]
        return None

    def refuse(self, place: Place, message: str, *, key: bool = False) -> None:
        """Note a problem of the value (or key) at a place."""
        self.problems.append((*self.position(place, key=key), message))

    def refuse_node(self, node: Any, message: str) -> None:
        """Note a problem of a YAML node."""
        self.problems.append((node.start_mark.line + 1, node.start_mark.column + 1, message))

    def raise_problems(self) -> None:
        """Raise one error that lists all problems by line.

        Raises:
            AnsibleParserError: There is a problem.
        """
        if self.problems:
            lines = [
                f"{self.path}:{line}:{column}: {text}" for line, column, text in sorted(set(self.problems))
            ]
            count = f"{len(lines)} problem{'s'[: len(lines) != 1]}"
            raise AnsibleParserError(f"{count} in {self.path}:\n" + "\n".join(lines))


class Fleet:
    """A checked fleet file.

    Attributes:
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
            AnsibleParserError: The file has problems; all of them are in the message.
        """
        tree = source.tree()
        if not isinstance(tree, yaml.MappingNode):
            source.refuse((), "a fleet file is a mapping; begin it with 'hosts:'")
            source.raise_problems()
        sections: dict[str, Any] = {}
        for key, value in tree.value:
            if key.value in ("hosts", "p2p_voters") and key.value in sections:
                source.refuse_node(key, f"{key.value!r} stands here a second time; merge the two")
            sections[key.value] = value
        hosts = cls._read_hosts(source, sections)
        voters = cls._read_voters(source, sections, hosts)
        source.raise_problems()
        return cls(source, hosts, voters)

    @staticmethod
    def _read_hosts(source: Source, sections: dict[str, Any]) -> dict[str, Host]:
        node = sections.get("hosts")
        if node is None:
            source.refuse(
                (), f"no 'hosts' in this file{nearest('hosts', sections)}; list the machines under 'hosts:'"
            )
            return {}
        if not isinstance(node, yaml.MappingNode):
            empty = isinstance(node, yaml.ScalarNode) and node.value in ("", "~", "null")
            source.refuse(
                ("hosts",),
                f"'hosts' is {'empty' if empty else 'no mapping'}; write 'name:' and its settings under it",
            )
            return {}
        if not node.value:
            source.refuse(("hosts",), "'hosts' is empty; write at least one host under it")
            return {}
        _check_repeated_keys(source, node)
        hosts: dict[str, Host] | None = source.values(node)
        for name, host in (hosts or {}).items():
            HostCheck(source, name, host, hosts or {}).run()
        return hosts or {}

    @staticmethod
    def _read_voters(source: Source, sections: dict[str, Any], hosts: dict[str, Host]) -> list[str]:
        node = sections.get("p2p_voters")
        voters = source.values(node) if node is not None else None
        if voters is None:
            return []
        if not isinstance(voters, list):
            source.refuse(("p2p_voters",), "'p2p_voters' is no list; write '- name' on a line for each voter")
            return []
        first: dict[Any, int] = {}
        for index, voter in enumerate(voters):
            place = ("p2p_voters", index)
            if not isinstance(voter, str):
                source.refuse(
                    place,
                    f"voter {voter!r} is no name; write the name of a host, in quotes if it is a number",
                )
            elif voter in first:
                source.refuse(
                    place, f"voter {voter!r} is listed twice (first on line {first[voter]}); remove one"
                )
            elif voter not in hosts:
                source.refuse(
                    place,
                    f"voter {voter!r} is not one of the hosts{nearest(voter, hosts)}; correct or define it",
                )
            if isinstance(voter, str):
                first.setdefault(voter, source.position(place)[0])
        return voters


def _check_repeated_keys(source: Source, hosts: Any) -> None:
    """Refuse a host that is defined twice, and a key that a host has twice; YAML would keep the last in silence."""
    for what, mapping in (("host", hosts), *((f"{key.value}: key", host) for key, host in hosts.value)):
        if not isinstance(mapping, yaml.MappingNode):
            continue
        first: dict[Any, Any] = {}
        for key, _ in mapping.value:
            if key.value in first and isinstance(key, yaml.ScalarNode):
                line = first[key.value].start_mark.line + 1
                source.refuse_node(
                    key, f"{what} {key.value!r} is defined twice (first on line {line}); keep one"
                )
            elif isinstance(key, yaml.ScalarNode):
                first[key.value] = key


class HostCheck:
    """The checks of one host's entry; they note what is wrong and change nothing."""

    def __init__(self, source: Source, name: Any, host: Any, hosts: dict[str, Host]) -> None:
        self.source = source
        self.name = name
        self.host = host
        self.hosts = hosts

    def run(self) -> None:
        """Note every problem of the host."""
        name = self.name
        if not isinstance(name, str):
            self._refuse("", f"host name {name!r} is no text; put it in quotes", key=True)
            return
        if not _HOST_NAME.fullmatch(name):
            self._refuse(
                "", f"host name {name!r} may hold letters, digits, '.', '_' and '-' only; rename it", key=True
            )
        if not isinstance(self.host, dict):
            self._refuse(
                "",
                f"host {name!r} is no mapping; write its settings as 'key: value' lines under it",
                key=True,
            )
            return
        self._check_text(self.host, ("hosts", name), 0)
        self._check_addresses()
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
                self._refuse(key, f"{value!r} is no text; write one word or path")
        self._check_user_and_provider()
        self._check_proxy()

    def _refuse(self, key_of_host: str, message: str, *, key: bool = False) -> None:
        place = ("hosts", self.name, key_of_host) if key_of_host else ("hosts", self.name)
        self.source.refuse(
            place, f"{self.name}.{key_of_host}: {message}" if key_of_host else message, key=key
        )

    def _check_text(self, value: Any, place: Place, depth: int) -> None:
        """Refuse templates, keys that are not text, and values that hold themselves."""
        if isinstance(value, str):
            if "{" in value and any(marker in value for marker in TEMPLATE_MARKERS):
                self._refuse_at(
                    place,
                    f"{value!r} is a template, which a fleet file does not have; write the value itself",
                )
        elif isinstance(value, dict):
            if depth > MAX_DEPTH:
                self._refuse_at(place, f"nests more than {MAX_DEPTH} deep or holds itself; write it flat")
                return
            for key, item in value.items():
                if type(key) is not str:
                    self._refuse_at((*place, str(key)), f"key {key!r} is no text; put it in quotes")
                elif "{" in key:
                    self._check_text(key, place, depth)
                if type(item) is not int and type(item) is not bool:
                    self._check_text(item, (*place, key), depth + 1)
        elif isinstance(value, list):
            if depth > MAX_DEPTH:
                self._refuse_at(place, f"nests more than {MAX_DEPTH} deep or holds itself; write it flat")
                return
            for index, item in enumerate(value):
                self._check_text(item, (*place, index), depth + 1)
        elif isinstance(value, (bytes, set)):
            self._refuse_at(place, "binary data and sets cannot be variables; write text or a list")

    def _refuse_at(self, place: Place, message: str) -> None:
        label = ".".join(str(step) for step in place[1:])
        self.source.refuse(place, f"{label}: {message}")

    def _check_addresses(self) -> None:
        host = self.host
        for key in ("ssh_host", "tailscale_ip"):
            if host.get(key) is not None and (problem := address_problem(host[key])):
                self._refuse(key, problem)
        if host.get("ssh_host") is None and host.get("tailscale_ip") is None:
            self._refuse("", f"host {self.name!r} has no address; give it an ssh_host", key=True)
        public = host.get("p2p_public_host")
        if isinstance(public, str) and "://" in public:
            if not re.fullmatch(r"https?://[A-Za-z0-9_.\[\]:%-]+(/\S*)?", public):
                self._refuse(
                    "p2p_public_host", f"{public!r} is no URL; write http://host:port, or a host name alone"
                )
        elif public is not None and (problem := address_problem(public)):
            self._refuse("p2p_public_host", problem)

    def _check_user_and_provider(self) -> None:
        user = self.host.get("ssh_user")
        if user is not None and not re.fullmatch(r"[^\s@-][^\s@]*", str(user)):
            self._refuse("ssh_user", f"{user!r} is no user name; write the name to log in with")
        if self.host.get("provider"):
            group = group_name(str(self.host["provider"]).strip().lower())
            if group in RESERVED_GROUPS or group.startswith(("role_", "status_")):
                self._refuse(
                    "provider",
                    f"{self.host['provider']!r} is the name of another group; name the provider otherwise",
                )

    def _check_proxy(self) -> None:
        name, proxy, seen = self.name, self.host.get("ssh_proxy"), [self.name]
        while proxy:
            if not isinstance(proxy, str) or proxy not in self.hosts:
                if name == self.name:
                    near = nearest(str(proxy), self.hosts)
                    self._refuse(
                        "ssh_proxy",
                        f"{proxy!r} is not one of the hosts{near}; write the name of the jump host",
                    )
                return
            seen.append(proxy)
            if proxy == self.name:
                self._refuse(
                    "ssh_proxy",
                    f"the jump hosts form a ring ({' -> '.join(seen)}); let one of them be direct",
                )
            if seen.count(proxy) > 1:
                return
            name, proxy = (
                proxy,
                (self.hosts[proxy] or {}).get("ssh_proxy") if isinstance(self.hosts[proxy], dict) else None,
            )


class JumpHosts:
    """Arguments of ssh that lead through jump hosts, with the same host key checking as everywhere else.

    ``ProxyJump`` starts an ssh that knows nothing of the options on Ansible's command line: the jump host would be checked
    against another known_hosts file, or asked about on the terminal. So the inner ssh is written out, with those options.
    """

    def __init__(self, hosts: dict[str, Host], address: str) -> None:
        self.hosts = hosts
        self.address = address
        connection_loader.get("ssh", class_only=True)  # makes the settings of Ansible's ssh connection known
        self.common = self._setting("ssh_common_args")
        self.options = list(self._own_options())

    @staticmethod
    def _setting(name: str) -> Any:
        return C.config.get_config_value(name, plugin_type="connection", plugin_name="ssh") or ""

    def _own_options(self) -> Iterator[str]:
        words = iter(shlex.split(str(self._setting("ssh_args"))))
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
        """Return the command that connects standard input and output to ``%h:%p`` through a host."""
        host = self.hosts[name]
        words = ["ssh", *(word.replace("%", "%%") for word in self.options)]
        via = jump_of(host, self.address)
        if via:
            words += ["-o", "ProxyCommand=" + self.command(via).replace("%", "%%")]
        where, port = connection_address(host, self.address)
        words += ["-p", str(port)]
        if host.get("ssh_key"):
            words += ["-i", expand(host["ssh_key"]).replace("%", "%%")]
        if host.get("ssh_user"):
            words += ["-l", str(host["ssh_user"])]
        words += ["-W", "[%h]:%p", "--", where.replace("%", "%%")]
        return shlex.join(words)

    def arguments(self, host: Host) -> str:
        """Return the value of ``ansible_ssh_common_args`` for a host behind a jump host."""
        jump = shlex.join(["-o", f"ProxyCommand={self.command(host['ssh_proxy'])}"])
        return f"{self.common} {jump}".strip()


def expand(path: Any) -> str:
    """Expand ``~`` and environment variables in a path on this machine."""
    return str(Path(os.path.expandvars(str(path))).expanduser())


def by_tailnet(host: Host, address: str) -> bool:
    """Tell whether a host is connected to by its address in the tailnet."""
    return bool(host.get("tailscale_ip")) and (address == "tailscale_ip" or not host.get("ssh_host"))


def connection_address(host: Host, address: str) -> tuple[str, int]:
    """Return the address and port to connect to; ssh_port belongs to ssh_host, a tailnet address has sshd's own."""
    port = port_number(host.get("ssh_port") or DEFAULT_SSH_PORT) or DEFAULT_SSH_PORT
    if by_tailnet(host, address):
        return str(host["tailscale_ip"]), DEFAULT_SSH_PORT
    return str(host["ssh_host"]), port


def jump_of(host: Host, address: str) -> str | None:
    """Return the name of the jump host that leads to a host, if it needs one."""
    return (
        None
        if by_tailnet(host, address) or host.get("ssh_host") == "localhost"
        else host.get("ssh_proxy") or None
    )


class InventoryModule(BaseFileInventoryPlugin, Constructable, Cacheable):  # type: ignore[misc]  # Ansible is untyped
    """Adds the hosts of a fleet file to the inventory."""

    NAME = "distributed_hosts"
    # Plain values are marked as trusted in one go: values that carry their origin cost ten times as much. Since trusted text is
    # rendered, templates are refused in every value of a host.
    trusted_by_default = True

    def verify_file(self, path: str) -> bool:
        """Claim every ``*distributed_hosts.yaml`` and ``.yml``, even one that is missing, so that the error is ours."""
        return path.endswith(("distributed_hosts.yaml", "distributed_hosts.yml")) and "," not in path

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        """Read one inventory source, a fleet file or a file of settings that names one.

        Args:
            inventory: What earlier sources gave; hosts and groups are added to it.
            loader: Ansible's file reader.
            path: The inventory source.
            cache: Whether a cached copy may be used.

        Raises:
            AnsibleParserError: The file cannot be read or has problems; nothing has been added.
        """
        super().parse(inventory, loader, path, cache=cache)
        source = self._open(path)
        if self._is_settings(source):
            fleet_path = self._read_settings(source)
            source = self._open(fleet_path)
            if self._is_settings(source):
                source.refuse(
                    ("plugin",),
                    "'source' leads to another file of settings; name the fleet file itself",
                    key=True,
                )
                source.raise_problems()
        else:
            self.set_options(var_options=self._vars)
        fleet = self._read_fleet(source, cache)
        Builder(self, fleet).build()

    def _open(self, path: str) -> Source:
        try:
            # Through Ansible's loader, which also opens a vault; encoded again, since libyaml takes no marked text.
            content = self.loader.get_text_file_contents(path).encode(errors="surrogateescape")
            return Source(path, content.decode())
        except AnsibleError as error:
            raise AnsibleParserError(f"{path}: {error}; give -i the path of a readable fleet file") from error
        except UnicodeDecodeError as error:
            line = content[: error.start].count(b"\n") + 1
            raise AnsibleParserError(f"{path}:{line}:1: not UTF-8 text ({error.reason}); save it as UTF-8") from error

    @staticmethod
    def _is_settings(source: Source) -> bool:
        tree = source.tree()
        return isinstance(tree, yaml.MappingNode) and any(key.value == "plugin" for key, _ in tree.value)

    def _read_settings(self, source: Source) -> str:
        """Set the plugin's options from a file of settings; return the path of the fleet file."""
        settings = self.loader.load_from_file(source.path, cache="none", trusted_as_template=True)
        known = C.config.get_configuration_definitions("inventory", self._load_name)
        for key, value in settings.items():
            if key not in known:
                source.refuse(
                    (key,),
                    f"unknown option {key!r}{nearest(str(key), known)}; remove or correct it",
                    key=True,
                )
                continue
            try:
                C.config.get_config_value_and_origin(
                    key, plugin_type="inventory", plugin_name=self._load_name, direct={key: value}
                )
            except AnsibleError as error:
                source.refuse(
                    (key,),
                    f"option {key!r}: {error}; 'ansible-doc -t inventory {self.NAME}' has the valid values",
                )
        source.raise_problems()
        self.set_options(direct=settings, var_options=self._vars)
        fleet = self.get_option("source")
        if not fleet:
            source.refuse(
                ("plugin",), "no 'source' here; write 'source:' and the path of the fleet file", key=True
            )
            source.raise_problems()
        return os.path.normpath(Path(source.path).parent / expand(fleet))

    def _read_fleet(self, source: Source, cache: bool) -> Fleet:
        if not self.get_option("cache"):
            return Fleet.read(source)
        self.load_cache_plugin()
        key = self.get_cache_key(source.path)
        digest = hashlib.sha256(f"{CACHE_FORMAT}\n{source.text}".encode()).hexdigest()
        if cache and key in self._cache and (kept := self._cache[key]).get("digest") == digest:
            stored = json.loads(kept["fleet"])
            return Fleet(source, stored["hosts"], stored["voters"])
        fleet = Fleet.read(source)
        try:
            # As one text: a cache would mark and copy every value in it.
            self._cache[key] = {
                "digest": digest,
                "fleet": json.dumps({"hosts": fleet.hosts, "voters": fleet.voters}),
            }
        except TypeError:
            self.display.vv(f"{source.path}: holds a date, which JSON has not; not cached")
        return fleet


class Builder:
    """Turns a checked fleet into hosts, groups and variables; adds nothing until all of it is known."""

    def __init__(self, plugin: Any, fleet: Fleet) -> None:
        self.plugin = plugin
        self.fleet = fleet
        self.source = fleet.source
        self.address = str(plugin.get_option("address"))
        self.deployable = {"ready", *plugin.get_option("include_status")}
        self.prefixes = {f"{provider}-": provider for provider in PROVIDERS} | {
            str(prefix): str(provider).lower() for prefix, provider in plugin.get_option("providers").items()
        }
        self.voters = set(fleet.voters)
        self.groups: dict[str, list[str]] = {group: [] for group in FIXED_GROUPS}
        self.groups["voters"] = fleet.voters
        self.variables: dict[str, dict[str, Any]] = {}

    def build(self) -> None:
        """Add everything to the inventory.

        Raises:
            AnsibleParserError: The fleet does not fit what is in the inventory already, or breaks an enforced policy.
        """
        behind_jump_host = any(host.get("ssh_proxy") for host in self.fleet.hosts.values())
        jumps = JumpHosts(self.fleet.hosts, self.address) if behind_jump_host else None
        for name, host in self.fleet.hosts.items():
            provider = provider_of(name, host, self.prefixes)
            self.variables[name] = {**self._connection(host, jumps), **self._facts(name, host, provider)}
            for group in self._groups_of(name, host, provider):
                self.groups.setdefault(group, []).append(name)
        breaches = self._breaches()
        cluster = self._cluster(breaches)
        self._check_names()
        self._check_policy(breaches)
        self._warn(breaches)
        self._add(cluster)

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
        url = seed_url(host)
        return {
            "distributed_host": host,
            "p2p_node_id": name,
            "p2p_provider": provider,
            "p2p_port": port_number(host.get("p2p_port") or DEFAULT_P2P_PORT),
            "p2p_host": urlsplit(url).hostname,
            "p2p_advertise_url": url,
            "p2p_ringrift_path": ringrift_path(host),
            "p2p_is_voter": name in self.voters,
            "p2p_nat_blocked": bool(flag(host.get("nat_blocked"))),
            "p2p_is_container": bool(flag(host.get("is_container"))),
        }

    def _status(self, host: Host) -> str:
        return str(host.get("status") or "ready").strip()

    def _groups_of(self, name: str, host: Host, provider: str) -> Iterator[str]:
        role, status = str(host.get("role") or "").strip(), self._status(host)
        deployed = status in self.deployable and flag(host.get("p2p_enabled"))
        yield group_name(provider)
        yield f"status_{group_name(status)}"
        if role:
            yield f"role_{group_name(role)}"
        if deployed:
            yield "p2p"
        if deployed and name not in self.voters:
            yield "non_voters"
        if "coordinator" in role:
            yield "coordinators"
        for group, key in (
            ("containers", "is_container"),
            ("nat_blocked", "nat_blocked"),
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
            "p2p_fleet_file": str(Path(self.source.path).absolute()),
        }

    def _breaches(self) -> list[dict[str, str]]:
        """Return what the voter policy holds against each voter: {voter, rule, message}, in the voters' order."""
        found = []
        for voter in self.fleet.voters:
            host, variables = self.fleet.hosts[voter], self.variables[voter]
            status, provider = self._status(host), variables["p2p_provider"]
            relay = flag(host.get("force_relay_mode")) or "relay" in str(host.get("role") or "")
            rules = (
                (variables["p2p_is_container"], "container", "runs in a container"),
                (variables["p2p_nat_blocked"], "nat_blocked", "is NAT-blocked: the others cannot reach it"),
                (relay, "relay", "is a relay or talks through one"),
                (
                    provider in UNSTABLE_PROVIDERS,
                    "unstable_provider",
                    f"is at {provider}, which takes machines away at will",
                ),
                (status not in self.deployable, "not_ready", f"has status {status!r}"),
                (not flag(host.get("p2p_enabled")), "disabled", "is not enabled (p2p_enabled)"),
            )
            found += [
                {
                    "voter": voter,
                    "rule": rule,
                    "message": f"voter {voter!r} {text}; choose another voter or correct the host",
                }
                for broken, rule, text in rules
                if broken
            ]
        return found

    def _check_names(self) -> None:
        """Refuse names that mean two things: in this file, or with what earlier sources added."""
        inventory, path = self.plugin.inventory, str(Path(self.source.path).absolute())
        for name in self.fleet.hosts:
            if name in self.groups or name in inventory.groups:
                self.source.refuse(
                    ("hosts", name), f"host {name!r} has the name of a group; rename the host", key=True
                )
            elif name in inventory.hosts and (other := self._fleet_of(inventory, name)) not in (None, path):
                self.source.refuse(("hosts", name), f"host {name!r} is also defined in {other}; rename one", key=True)
        fleet_group = self.plugin.get_option("fleet_group")
        if fleet_group in inventory.groups:
            other = inventory.groups[fleet_group].vars.get("p2p_fleet_file")
            if other not in (None, path):
                text = f"a second fleet beside {other} in group {fleet_group!r}; load one, or give each its own fleet_group"
                self.source.refuse((), text)
        self.source.raise_problems()

    @staticmethod
    def _fleet_of(inventory: Any, name: str) -> str | None:
        """Return the fleet file that a host in the inventory came from, if it came from one."""
        host = inventory.hosts[name]
        if "distributed_host" not in host.vars:
            return None
        groups = [*host.get_groups(), inventory.groups["all"]]
        return next((group.vars["p2p_fleet_file"] for group in groups if "p2p_fleet_file" in group.vars), None)

    def _check_policy(self, breaches: list[dict[str, str]]) -> None:
        if self.plugin.get_option("voter_policy") == "enforce":
            for breach in breaches:
                self.source.refuse(
                    ("p2p_voters", self.fleet.voters.index(breach["voter"])), breach["message"]
                )
            self.source.raise_problems()

    def _warn(self, breaches: list[dict[str, str]]) -> None:
        voters = self.fleet.voters
        for breach in breaches:
            self._warning(("p2p_voters", voters.index(breach["voter"])), breach["message"])
        if len(voters) < MIN_VOTERS:
            text = f"{len(voters)} voters: no voter can stop without stopping the cluster; choose at least {MIN_VOTERS}"
            self._warning(("p2p_voters",), text, key=True)
        elif len(voters) % 2 == 0:
            text = f"{len(voters)} voters: an even number outlives no more failures than {len(voters) - 1}; add or remove one"
            self._warning(("p2p_voters",), text, key=True)
        self._warn_about_endpoints()

    def _warn_about_endpoints(self) -> None:
        machines: dict[tuple[Any, ...], list[str]] = defaultdict(list)
        seeds: dict[str, list[str]] = defaultdict(list)
        for name, host in self.fleet.hosts.items():
            if self._status(host) not in ("retired", "destroyed"):
                found = self.variables[name]
                machines[found["ansible_host"], found["ansible_port"], host.get("ssh_proxy")].append(name)
            if name in self.voters:
                seeds[self.variables[name]["p2p_advertise_url"]].append(name)
        for (address, port, _), names in machines.items():
            if len(names) > 1:
                text = f"{', '.join(names)} have the same address {address} port {port}; correct one, or mark it retired"
                self._warning(("hosts", names[1]), text, key=True)
        for url, names in seeds.items():
            if len(names) > 1:
                text = f"voters {', '.join(names)} have the same seed {url}; give each its own p2p_port or p2p_public_host"
                self._warning(("hosts", names[1]), text, key=True)

    def _warning(self, place: Place, text: str, *, key: bool = False) -> None:
        line, column = self.source.position(place, key=key)
        self.plugin.display.warning(f"{self.source.path}:{line}:{column}: {text}")

    def _add(self, cluster: dict[str, Any]) -> None:
        plugin, inventory = self.plugin, self.plugin.inventory
        fleet_group = inventory.add_group(str(plugin.get_option("fleet_group")))
        for name, value in cluster.items():
            inventory.set_variable(fleet_group, name, value)
        for group in self.groups:
            inventory.add_group(group)
        for name, variables in self.variables.items():
            inventory.add_host(name)
            for variable, value in variables.items():
                inventory.set_variable(name, variable, value)
        for group, names in self.groups.items():
            for name in names:
                inventory.add_child(group, name)
        if fleet_group != "all":
            for name in self.variables:
                inventory.add_child(fleet_group, name)
        self._construct()

    def _construct(self) -> None:
        plugin = self.plugin
        compose, groups, keyed = (
            plugin.get_option(option) for option in ("compose", "groups", "keyed_groups")
        )
        if not (compose or groups or keyed):
            return
        strict = plugin.get_option("strict")
        for name in self.variables:
            host = plugin.inventory.get_host(name)
            plugin._set_composite_vars(compose, host.get_vars(), name, strict=strict)
            plugin._add_host_to_composed_groups(groups, {}, name, strict=strict)
            plugin._add_host_to_keyed_groups(keyed, {}, name, strict=strict)
