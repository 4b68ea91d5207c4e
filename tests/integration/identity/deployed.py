"""A cluster that Molecule deployed: its nodes, its controller, and who knocks at its ports."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import subprocess
from pathlib import Path
from subprocess import PIPE, STDOUT
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from module_utils.p2p_certificate_make import make_leaf
from module_utils.p2p_certificate_names import Node, subject_names
from module_utils.p2p_certificate_pem import blocks, certificate_pem, key_pem, serial_text

ROOT = Path(__file__).resolve().parents[3]
ASK = ROOT / "tests/integration/identity/ask.py"
CLUSTER = "p2p"
HEARTBEAT, PEER, CLIENT = 8771, 2380, 2379
RUN_S = 1200


def state_dir() -> Path:
    """Return the controller's directory of certificates."""
    return Path(os.environ["P2P_STATE_DIR"])


def on(node: str, *command: str, stdin: str | None = None) -> str:
    """Return what a command on a node prints."""
    words = ["docker", "exec", *(["-i"] if stdin is not None else []), node, *command]
    return subprocess.run(words, input=stdin, capture_output=True, text=True, check=True, timeout=300).stdout


def address(node: str) -> str:
    """Return a node's address on the scenario's network."""
    form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    return subprocess.run(
        ["docker", "inspect", "--format", form, node], capture_output=True, text=True, check=True
    ).stdout.strip()


def fleet_file(folder: Path, *, without: tuple[str, ...] = (), ready: tuple[str, ...] = ()) -> Path:
    """Write the scenario's fleet file without some hosts, and with others made ready."""
    source = Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"], "distributed_hosts.yaml")
    fleet = yaml.safe_load(source.read_text())
    for name in without:
        del fleet["hosts"][name]
    for name in ready:
        fleet["hosts"][name]["status"] = "ready"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "distributed_hosts.yaml"
    path.write_text(yaml.safe_dump(fleet))
    return path


def deploy(fleet: Path, *arguments: str, state: Path | None = None, codes: tuple[int, ...] = (0,)) -> str:
    """Run the playbook that users run, against the scenario's nodes.

    Args:
        fleet: The fleet file.
        arguments: More words of the command.
        state: The controller's directory of certificates; the scenario's by default.
        codes: How the run may end.

    Returns:
        What it printed, its errors included, with single spaces.
    """
    inventory = Path(os.environ["MOLECULE_INVENTORY_FILE"]).parent
    words = ["ansible-playbook", "-i", str(inventory), "-i", str(fleet), "deploy.yml", *arguments]
    # A preview may foretell changes here, which the scenario's own may not.
    env = {name: value for name, value in os.environ.items() if name != "ANSIBLE_CALLBACKS_ENABLED"}
    env |= {"P2P_STATE_DIR": str(state or state_dir()), "ANSIBLE_FORCE_COLOR": "0"}
    run = subprocess.run(
        words, cwd=ROOT, env=env, stdout=PIPE, stderr=STDOUT, text=True, check=False, timeout=RUN_S
    )
    assert run.returncode in codes, f"{run.returncode}\n{run.stdout[-6000:]}"
    return " ".join(run.stdout.split())


def issue(
    node: str, *, ca: Path | None = None, cluster: str = CLUSTER, voter: bool = False, ended: bool = False
) -> str:
    """Make a certificate and its key that no log knows of.

    Args:
        node: Whose it is.
        ca: The directory whose CA signs; the cluster's own by default.
        cluster: The cluster that it is for.
        voter: With the names of a voter.
        ended: Ended a minute ago.
    """
    data = (ca or state_dir()).joinpath("ca.pem").read_bytes()
    certificates, key_text = blocks(data)
    assert key_text is not None
    key = serialization.load_pem_private_key(key_text, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    now = dt.datetime.now(dt.timezone.utc) - (dt.timedelta(days=1, minutes=1) if ended else dt.timedelta())
    leaf = make_leaf(
        subject_names(Node(node, (), voter), cluster),
        cluster,
        x509.load_pem_x509_certificate(certificates[0]),
        key,
        days=1 if ended else 90,
        now=now,
    )
    return (certificate_pem(leaf.certificate) + key_pem(leaf.key)).decode()


def held(node: str) -> str:
    """Return the certificate and key that the controller holds for a node."""
    return (state_dir() / "leaves" / f"{node}.pem").read_text()


def serial(pem: str) -> str:
    """Return a certificate's serial number in hexadecimal."""
    return serial_text(x509.load_pem_x509_certificate(blocks(pem.encode())[0][0]))


def knock(
    source: str, voter: str, port: int, pem: str | None, *, speaks_for: str = "", body: str | None = None
) -> dict[str, Any]:
    """Ask a voter's port with a certificate, from a node; see `ask.ask` for what comes back.

    Args:
        source: The node to ask from; the voter itself for the store's client port, which is on loopback.
        voter: Whom to ask.
        port: Where.
        pem: The certificate to show.
        speaks_for: The node for which a heartbeat speaks.
        body: The heartbeat; a good one by default.
    """
    beat = json.dumps({"cluster": CLUSTER, "incarnation": "test", "info": {}})
    order = {
        "host": "127.0.0.1" if source == voter else voter,
        "port": port,
        "name": f"{voter}.{CLUSTER}.p2p",
        "ca": on(voter, "cat", "/etc/ringrift/tls/ca.crt"),
        "pem": pem,
        "path": f"/v1/heartbeat/{speaks_for}" if port == HEARTBEAT else "/version",
        "body": (beat if body is None else body) if port == HEARTBEAT else None,
    }
    result: dict[str, Any] = json.loads(on(source, "python3", "-", json.dumps(order), stdin=ASK.read_text()))
    return result


def page(node: str, name: str) -> str:
    """Return what a node's orchestrator answers."""
    url = f"http://127.0.0.1:8770/{name}"
    script = f"import urllib.request as r; print(r.urlopen('{url}', timeout=10).read().decode())"
    return on(node, "python3", "-c", script)


def refusals(voter: str, reason: str) -> int:
    """Return how many heartbeats a voter says, on /metrics, that it refused for a reason."""
    line = rf'^p2p_heartbeats_refused_total{{reason="{reason}"}} (\S+)$'
    found = re.search(line, page(voter, "metrics"), re.MULTILINE)
    return int(float(found[1])) if found else 0


def log(node: str, service: str = "p2p_orchestrator") -> str:
    """Return a service's log."""
    return on(node, "journalctl", "--unit", service, "--output", "cat", "--no-pager")


def processes(node: str) -> dict[str, str]:
    """Return the main process of each of our services on a node."""
    return {
        service: on(node, "systemctl", "show", "--property", "MainPID", "--value", service).strip()
        for service in ("p2p_orchestrator", "p2p-etcd")
    }


def files(node: str) -> str:
    """Return name, time of change and size of every file that runs delivered to a node."""
    find = (
        "find /etc/ringrift /etc/p2p-etcd /opt/p2p-cluster -type f -printf '%p %T@ %s\\n' 2>/dev/null | sort"
    )
    return on(node, "sh", "-c", find)
