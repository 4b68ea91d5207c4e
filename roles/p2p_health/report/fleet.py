"""The fleet as the report needs it, read out of Ansible's host variables."""

from __future__ import annotations

import itertools
import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.p2p.cluster.plugins.plugin_utils.output.escape import shell

from .model import Answer, Fleet, Host

KNOWN_HOSTS = "~/.ssh/known_hosts"
_TRAITS = {"p2p_nat_blocked": "NAT-blocked", "p2p_is_container": "containerized"}


def gather(
    asked: Mapping[str, Answer],
    hostvars: Mapping[str, Mapping[str, Any]],
    groups: Mapping[str, Sequence[str]],
    settings: Mapping[str, Any],
) -> tuple[dict[str, Answer], Fleet]:
    """Collect the probes of a run and the fleet that they are about.

    Args:
        asked: what each host said that the run asked.
        hostvars: Ansible's.
        groups: Ansible's.
        settings: `started` and `asked` (seconds since the epoch), and what else of Fleet's fields differs
            from the defaults; `ssh_args` are the words given to every ssh, `here` the folder that paths are
            relative to.

    Returns:
        The answers by node, and the fleet.
    """
    members = list(groups.get("p2p", ()))
    of_node = {name: hostvars[name] for name in members}
    answers = {name: asked[name] for name in members if name in asked}
    anyone = next((of_node[name] for name in answers), {})
    given = dict(settings)
    ssh_args, here = str(given.pop("ssh_args", "")), Path(given.pop("here", "."))
    file = _relative(str(anyone.get("p2p_fleet_file", "distributed_hosts.yaml")), here)
    left_out = Counter(
        group.removeprefix("status_")
        for group, names in groups.items()
        if group.startswith("status_")
        for name in names
        if name not in of_node
    )
    command = f"ansible-playbook -i {_path(file)}"
    fleet = Fleet(
        hosts={name: _host(name, of_node[name], ssh_args, here) for name in answers},
        voters=[str(name) for name in anyone.get("p2p_voters", ())],
        total=len(members),
        file=file,
        cluster=str(anyone.get("p2p_cluster", "p2p")),
        seeds=[str(url) for url in anyone.get("p2p_seeds", ())],
        # A host that says `ready` and is not asked is one that has p2p_enabled off.
        left_out={("disabled" if why == "ready" else why): count for why, count in sorted(left_out.items())},
        deploy=f"{command} deploy.yml",
        voters_play=f"{command} voters.yml",
        **given,
    )
    return answers, fleet


def _relative(path: str, here: Path) -> str:
    try:
        return str(Path(path).relative_to(here))
    except ValueError:
        home = str(Path.home())
        return f"~{path.removeprefix(home)}" if path.startswith(f"{home}/") else path


def _path(path: str) -> str:
    """Return a path as one word of the shell, whose leading `~/` stays the home folder."""
    return f"~/{shell(path[2:])}" if path.startswith("~/") and path != "~/" else shell(path)


def _host(name: str, known: Mapping[str, Any], ssh_args: str, here: Path) -> Host:
    entry: Mapping[str, Any] = known.get("distributed_host") or {}
    address = str(known.get("ansible_host") or entry.get("ssh_host") or name)
    port = int(known.get("ansible_port") or 22)
    words = f"{known.get('ansible_ssh_args') or ssh_args} {known.get('ansible_ssh_common_args') or ''}"
    options = _options(words)
    hosts_file = next((value for key, value in options if key.lower() == "userknownhostsfile"), "")
    hosts_file = hosts_file.split('"')[1] if hosts_file.count('"') > 1 else hosts_file.partition(" ")[0]
    return Host(
        name=name,
        provider=str(known.get("p2p_provider") or "unknown"),
        role=str(entry.get("role") or ""),
        voter=bool(known.get("p2p_is_voter")),
        hardware=_hardware(entry),
        address=str(known.get("p2p_host") or address),
        port=int(known.get("p2p_port") or 8770),
        traits=_traits(known, entry),
        ssh=_ssh(known=known, options=options, address=address, port=port, hosts_file=hosts_file, here=here),
        sudo="" if known.get("p2p_rootless_dir") else "sudo ",
        forget_key=_forget(address, port, _relative(hosts_file or KNOWN_HOSTS, here)),
        root=str(known.get("p2p_orchestrator_root") or known.get("p2p_rootless_dir") or Host.root),
        bundled=str(known.get("p2p_orchestrator_source") or "bundled") == "bundled",
    )


def _traits(known: Mapping[str, Any], entry: Mapping[str, Any]) -> tuple[str, ...]:
    traits = [text for variable, text in _TRAITS.items() if known.get(variable)]
    return (*traits, "ephemeral") if str(entry.get("is_ephemeral")).lower() == "true" else tuple(traits)


def _hardware(entry: Mapping[str, Any]) -> str:
    if entry.get("gpu"):
        memory = entry.get("gpu_vram_gb")
        has_size = not memory or re.search(r"\d\s*GB", str(entry["gpu"]))
        return str(entry["gpu"]) + ("" if has_size else f" {memory}GB")
    return f"CPU ({entry['cpus']} cores)" if entry.get("cpus") else ""


def _options(words: str) -> list[tuple[str, str]]:
    """Return the options among words for ssh, each whole: a command has spaces and quotes of its own."""
    try:
        given = shlex.split(words)
    except ValueError:
        return []  # ssh is not started with such words either
    options = [after for word, after in itertools.pairwise(given) if word == "-o"]
    options += [word[2:] for word in given if word.startswith("-o") and word != "-o"]
    options += [f"ProxyJump={after}" for word, after in itertools.pairwise(given) if word == "-J"]
    found = [re.match(r"(\w+)\s*=\s*(.*)", option, re.DOTALL) for option in options]
    return [(one[1], one[2]) for one in found if one]


def _ssh(
    *,
    known: Mapping[str, Any],
    options: Sequence[tuple[str, str]],
    address: str,
    port: int,
    hosts_file: str,
    here: Path,
) -> str:
    """Return the start of the command that logs in to the node, as Ansible does; remote words follow it."""
    if known.get("ansible_connection") == "local":
        return "sh -c"
    # The project's own offers the node nothing, whatever the user's configuration of ssh says.
    parts = [_path(_relative(str(known.get("ansible_ssh_executable") or "ssh"), here))]
    if hosts_file:
        file = _relative(hosts_file, here)
        # ssh expands `~/` itself, and takes a value with spaces for several.
        quoted = shell(f'"{file}"') if len(file.split()) > 1 else _path(file)
        parts.append(f"-o UserKnownHostsFile={quoted}")
    if key := known.get("ansible_ssh_private_key_file"):
        parts.append(f"-i {_path(_relative(str(key), here))}")
    jumps = [f"{name}={value}" for name, value in options if name.lower() in ("proxyjump", "proxycommand")]
    parts += [f"-o {shell(option)}" for option in jumps[:1]]
    if port != 22:  # noqa: PLR2004  # SSH's own port
        parts.append(f"-p {port}")
    user = known.get("ansible_user")
    destination = f"{user}@{address}" if user else address
    # Without it a name that begins with a dash is an option of ssh.
    parts.append(f"{'-- ' if destination.startswith('-') else ''}{shell(destination)}")
    return " ".join(parts)


def _forget(address: str, port: int, hosts_file: str) -> str:
    name = address if port == 22 else f"[{address}]:{port}"  # noqa: PLR2004  # SSH's own port
    return f"ssh-keygen -f {_path(hosts_file)} -R {shell(name)}"
