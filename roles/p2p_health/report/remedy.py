"""The commands that mend a node or show how it does, each to be pasted as it is.

Every value in them is one word of the shell that reads it, here and on the node. No command comes from a
node.
"""

from __future__ import annotations

from ansible_collections.p2p.cluster.plugins.plugin_utils.output.escape import shell

from .model import Fleet, Host

MANAGERS = ("systemd", "supervisord", "launchd")
# The project's label of a service under launchd.
_LABEL = "org.p2p-cluster."


def on(host: Host, commands: str) -> str:
    """Return what runs commands, which are the shell's there, on a node."""
    return f"{host.ssh} {shell(commands)}"


def deploy(fleet: Fleet, *names: str) -> str:
    """Return what deploys to these nodes."""
    return f"{fleet.deploy} --limit {shell(','.join(names))}"


def look(host: Host, manager: str, service: str) -> str:
    """Return what shows how a service of a node does.

    Args:
        host: The node.
        manager: One of MANAGERS; anything else is taken for systemd.
        service: The service's name, without its manager's prefix or suffix.
    """
    folder = f"{host.root}/supervisor"
    log = f"tail -n 50 {shell(f'{folder}/{service}.log')}"
    sudo = host.sudo
    if manager == "supervisord":
        # A rented container has no sudo, and is logged in to as root.
        sudo = "" if "root@" in host.ssh else sudo
        program = shell(f"{host.root}/current/venv/bin/python")
        asked = f"{program} -I -m supervisor.supervisorctl -c {shell(f'{folder}/{service}.conf')} status"
        # The supervisord of a checkout is the checkout's, its log is where all have it.
        asked = asked if host.bundled else f"tail -n 20 {shell(f'{folder}/{service}.supervisord.log')}"
        return on(host, f"{sudo}{asked}; {sudo}{log}")
    if manager == "launchd":
        domain = "system" if sudo else '"gui/$(id -u)"'
        return on(host, f"{sudo}launchctl print {domain}/{shell(_LABEL + service)}; {sudo}{log}")
    return on(host, f"{sudo}{journal(service)}")


def journal(service: str) -> str:
    """Return what prints the last lines of a unit's journal."""
    return f"journalctl -u {shell(service)} -n 50 --no-pager"
