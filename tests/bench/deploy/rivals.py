"""What pyinfra and a script deploy beside the cluster: a service `bench-p2p` that costs as much to start."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from .fleet import PROJECT, Node

SERVICE = "bench-p2p"
CONFIG = f"/etc/{SERVICE}"
UNIT = f"/etc/systemd/system/{SERVICE}.service"
PYINFRA = PROJECT / ".cache/bench/bin/pyinfra"
PORT = 18_770
# Of the size of a certificate or key; nothing reads them.
CREDENTIAL = "-----BEGIN BENCH-----\n" + "0123456789abcdef" * 40 + "\n-----END BENCH-----\n"


def unit() -> str:
    """Return the unit: what the program loads at its start, kept as the roles keep it.

    The next deploy would take the program itself for one that somebody started by hand, and stop it.
    """
    program = "import aiohttp.web, prometheus_client, psutil, signal; signal.pause()"
    return f"""[Unit]
Description=Stand-in for an orchestrator, of a bench
After=network-online.target

[Service]
Type=exec
EnvironmentFile={CONFIG}/node.conf
WorkingDirectory=/opt/p2p-cluster/current
ExecStart=/opt/p2p-cluster/current/venv/bin/python -c "{program}"
Restart=always
RestartSec=2
User=p2p
Group=p2p
StateDirectory={SERVICE}
NoNewPrivileges=true
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=true

[Install]
WantedBy=multi-user.target
"""


def conf(node: Node, ringrift_path: str) -> str:
    """Return a node's settings."""
    return f"NODE_ID={node.name}\nP2P_PORT={PORT}\nRINGRIFT_PATH={ringrift_path}\nP2P_CLUSTER=bench\n"


def files(node: Node, ringrift_path: str) -> dict[str, tuple[str, str]]:
    """Return what a node gets: path to mode and text."""
    credentials = {f"{CONFIG}/tls/{name}": ("644", CREDENTIAL) for name in ("ca.crt", "node.crt", "node.key")}
    return {
        UNIT: ("644", unit()),
        f"{CONFIG}/node.conf": ("644", conf(node, ringrift_path)),
        **credentials,
    }


def _written(wanted: dict[str, tuple[str, str]], folder: Path) -> dict[str, tuple[str, str]]:
    """Write a node's files on the controller; return where they go, to mode and source."""
    folder.mkdir(parents=True, exist_ok=True)
    sources = {}
    for path, (mode, text) in wanted.items():
        source = folder / Path(path).name
        source.write_text(text, encoding="utf-8")
        sources[path] = (mode, str(source))
    return sources


def pyinfra(nodes: Sequence[Node], known_hosts: Path, ringrift_path: str, folder: Path) -> list[str]:
    """Write pyinfra's inventory; return the command."""
    hosts: list[tuple[str, dict[str, Any]]] = [
        (
            node.name,
            {
                "ssh_hostname": node.address,
                "ssh_port": node.port,
                "ssh_user": node.user,
                "ssh_key": node.key,
                "ssh_known_hosts_file": str(known_hosts),
                "ssh_strict_host_key_checking": "yes",
                # Its own 15 s are short for 32 logins at a time on a machine with other work.
                "ssh_paramiko_connect_kwargs": {"banner_timeout": 60, "auth_timeout": 60},
                "p2p_bench": {
                    "service": SERVICE,
                    "directories": [CONFIG, f"{CONFIG}/tls"],
                    "files": _written(files(node, ringrift_path), folder / "pyinfra" / node.name),
                },
            },
        )
        for node in nodes
    ]
    inventory = folder / "pyinfra_inventory.py"
    inventory.write_text(f"nodes = {hosts!r}\n", encoding="utf-8")
    deploy = Path(__file__).with_name("with_pyinfra.py")
    return [str(PYINFRA), "-y", str(inventory), str(deploy)]


def script(nodes: Sequence[Node], ringrift_path: str, folder: Path, python: str) -> list[str]:
    """Write what the script reads; return the command."""
    listed = []
    for node in nodes:
        # It knows of no certificates: the unit and the settings alone.
        command = f"""mkdir -p {CONFIG}
cat > {UNIT} <<'EOF'
{unit()}EOF
cat > {CONFIG}/node.conf <<'EOF'
{conf(node, ringrift_path)}EOF
systemctl daemon-reload
systemctl enable --quiet {SERVICE}
systemctl restart {SERVICE}
sleep 5
systemctl is-active {SERVICE}"""
        listed.append((node.name, node.ssh(), command))
    path = folder / "script_nodes.json"
    path.write_text(json.dumps(listed), encoding="utf-8")
    return [python, str(Path(__file__).with_name("with_script.py")), str(path)]


def remove(nodes: Sequence[Node]) -> None:
    """Remove the service and its files from all nodes, and see to it that they are gone."""
    command = (
        f"systemctl disable --quiet --now {SERVICE} 2>/dev/null;"
        f" rm -rf {UNIT} {CONFIG} /var/lib/{SERVICE}; systemctl daemon-reload; test ! -e {UNIT}"
    )
    with ThreadPoolExecutor(8) as pool:
        codes = list(
            pool.map(
                lambda node: (
                    subprocess.run(
                        node.ssh(command), capture_output=True, check=False, timeout=120
                    ).returncode
                ),
                nodes,
            )
        )
    left = [node.name for node, code in zip(nodes, codes, strict=True) if code]
    if left:
        raise SystemExit(
            f"{SERVICE} could not be removed from {', '.join(left)}: make lab-down removes the lab"
        )
