"""The role in real runs of ansible-playbook, from a fleet file to the files that a node would get."""
# ruff: noqa: E501, S106 - a fleet file and a play as users write them; a passphrase that protects a test's folder

from __future__ import annotations

import hashlib
import json
import os
import ssl
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
HOST = "role: cpu, status: ready, p2p_enabled: true, memory_gb: 1, cpus: 1"
FLEET = f"""
hosts:
  hetzner-cpu1: {{ssh_host: 127.0.32.1, tailscale_ip: 100.64.0.1, {HOST}}}
  hetzner-cpu2: {{ssh_host: 127.0.32.2, p2p_public_host: "http://voter.example.net:9000", {HOST}}}
  nebius-h100-3: {{ssh_host: 127.0.32.3, {HOST}}}
  vast-28918742: {{ssh_host: 127.0.32.4, {HOST}}}
p2p_voters: [hetzner-cpu1, hetzner-cpu2, nebius-h100-3]
"""
# As deploy does it: first what nodes are meant to have, then for real, then the files in a play of its own, here as
# one JSON document a node. Nothing is sent anywhere: that play's connection is local.
PLAY = """
- name: Identity
  hosts: p2p
  gather_facts: false
  vars: {p2p_cluster: lab}
  tasks:
    - ansible.builtin.import_role: {name: p2p_identity, tasks_from: variables}
    - ansible.builtin.import_role: {name: p2p_identity, tasks_from: preview}
    - ansible.builtin.import_role: {name: p2p_identity, rolespec_validate: false}
- name: The nodes
  hosts: p2p
  gather_facts: false
  vars:
    p2p_cluster: lab
    ansible_connection: local
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
  tasks:
    - ansible.builtin.import_role: {name: p2p_identity, tasks_from: variables}
    - ansible.builtin.copy:
        dest: "{{ out }}/{{ inventory_hostname }}.json"
        content: >-
          {{ {'files': p2p_identity_orchestrator_files + (p2p_identity_etcd_files if inventory_hostname in p2p_voters else []),
              'secrets': p2p_identity_orchestrator_secrets
                         | combine(p2p_identity_etcd_secrets if inventory_hostname in p2p_voters else {})} | to_json }}
        mode: "0600"
      no_log: true
"""


@dataclass
class Operator:
    """Somebody at a controller with a fleet file."""

    folder: Path
    state: Path

    @property
    def out(self) -> Path:
        """Where each node's files arrive."""
        return self.folder / "out"

    def play(
        self, *arguments: str, fails: bool = False, secret: str = "", fleet: str = FLEET, **extra: Any
    ) -> str:
        """Run the play and return what it printed; `secret` is the passphrase, in a file as an operator has it."""
        self.out.mkdir(exist_ok=True)
        (self.folder / "distributed_hosts.yaml").write_text(fleet)
        (self.folder / "play.yml").write_text(PLAY)
        command = [str(Path(sys.executable).parent / "ansible-playbook"), str(self.folder / "play.yml")]
        command += ["-i", str(self.folder / "distributed_hosts.yaml"), *arguments]
        if secret:
            (self.folder / "secret.yml").write_text(f"p2p_identity_passphrase: {secret}\n")
            command += ["-e", f"@{self.folder / 'secret.yml'}"]
        command += ["-e", json.dumps({"out": str(self.out)} | extra)]
        environment = os.environ | {
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_NOCOLOR": "true",
            "ANSIBLE_ROLES_PATH": str(ROOT / "roles"),
            "P2P_STATE_DIR": str(self.state),
        }
        found = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment, timeout=900
        )
        text = found.stdout + found.stderr
        assert (found.returncode != 0) == fails, text
        return text

    def everything(self) -> str:
        """Return all that the nodes got, as one text."""
        return "".join(p.read_text() for p in self.out.glob("*.json"))

    def delivered(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Return each node's files by path."""
        found = {p.stem: json.loads(p.read_text()) for p in sorted(self.out.glob("*.json"))}
        return {node: _whole(**delivery) for node, delivery in found.items()}


def _whole(files: list[dict[str, Any]], secrets: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Return the files by path, those of secrets with their contents, which must not stand among the files."""
    assert {file["path"] for file in files if "content" not in file} == set(secrets)
    return {file["path"]: {"content": secrets.get(file["path"]), **file} for file in files}


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path, tmp_path / "state")


def changed_tasks(text: str) -> list[str]:
    """Return which results said changed, without their diffs."""
    return sorted(line for line in text.splitlines() if line.startswith("changed: "))


def keys_of(operator: Operator) -> dict[str, str]:
    """Return the second line of every private key: the first is the same for many."""
    files = {p.stem: p.read_text() for p in operator.state.rglob("*.pem") if p.stem != "crl"}
    return {name: text.split("PRIVATE KEY-----\n")[1].splitlines()[1] for name, text in files.items()}


def test_preview_run_and_second_run(operator: Operator) -> None:
    preview = operator.play("--check", "--diff")
    assert not operator.state.exists()
    assert operator.delivered() == {}
    real = operator.play("--diff")
    assert changed_tasks(preview) == changed_tasks(real)
    assert "hetzner-cpu1.lab.p2p, etcd.voters.lab.p2p, localhost, 100.64.0.1, 127.0.0.1, 127.0.32.1" in real
    assert "127.0.32.2, voter.example.net" in real
    again = operator.play("--diff")
    assert changed_tasks(again) == changed_tasks(operator.play("--check", "--diff")) == []

    nodes = operator.delivered()
    orchestrator = {f"/etc/ringrift/tls/{name}" for name in ("ca.crt", "node.crt", "node.key", "denied")}
    etcd = {f"/etc/p2p-etcd/tls/{name}" for name in ("ca.crt", "node.crt", "node.key", "crl.pem")}
    assert set(nodes["hetzner-cpu1"]) == orchestrator | etcd
    assert set(nodes["vast-28918742"]) == orchestrator
    for path, file in nodes["hetzner-cpu1"].items():
        assert set(file) == {"path", "content", "mode", "owner", "group", "secret", "live"}
        assert file["live"] is (path != "/etc/p2p-etcd/tls/ca.crt")
        assert file["owner"] == file["group"] == ("etcd" if path in etcd else "root")
        assert (file["mode"], file["secret"]) == (
            ("0600", True) if path.endswith(".key") else ("0644", False)
        )
    keys = keys_of(operator)
    assert keys["ca"] not in operator.everything()
    assert keys["vast-28918742"] in nodes["vast-28918742"]["/etc/ringrift/tls/node.key"]["content"]
    for node, files in nodes.items():
        for name in ("ca.crt", "node.crt", "node.key"):
            (operator.folder / name).write_text(files[f"/etc/ringrift/tls/{name}"]["content"])
        check = ["openssl", "verify", "-x509_strict", "-verify_hostname", f"{node}.lab.p2p", "-CAfile"]
        subprocess.run([*check, operator.folder / "ca.crt", operator.folder / "node.crt"], check=True)
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(operator.folder / "node.crt", operator.folder / "node.key")


def test_each_node_gets_the_part_of_the_list_that_counts_for_it(operator: Operator) -> None:
    operator.play()
    stolen = _serial(operator, "nebius-h100-3")
    left = _serial(operator, "vast-28918742")
    # The one that voted is taken out of the file, and so is the one that did not.
    file = FLEET.replace("nebius-h100-3]", "hetzner-cpu4]").replace("  nebius-h100-3:", "  hetzner-cpu4:")
    file = file.replace("  vast-28918742:", "  vast-2:")
    given: dict[str, Any] = {"p2p_identity_removed": ["nebius-h100-3", "vast-28918742"]}
    preview = operator.play("--check", "--diff", fleet=file, **given)
    real = operator.play("--diff", fleet=file, **given)
    assert changed_tasks(preview) == changed_tasks(real)
    assert changed_tasks(operator.play(fleet=file, **given)) == []
    nodes = operator.delivered()
    told = {name: nodes[name]["/etc/ringrift/tls/denied"]["content"] for name in ("hetzner-cpu1", "vast-2")}
    assert stolen in told["hetzner-cpu1"]
    assert left in told["hetzner-cpu1"]
    assert told["vast-2"] == f"{stolen}  # nebius-h100-3\n"


def test_a_preview_foretells_once_that_a_stolen_voter_is_denied(operator: Operator) -> None:
    operator.play()
    # As at the end of voters.yml, which named it at its beginning: others that vote no longer are denied then.
    voters = {"p2p_identity_deny_former_voters": True, "__p2p_identity_removed": []}
    given: dict[str, Any] = voters | {"p2p_identity_removed": ["hetzner-cpu2"]}
    preview = operator.play("--check", "--diff", **given, p2p_identity_voters=["hetzner-cpu1"])
    assert f"+denied {_serial(operator, 'nebius-h100-3')}: a certificate of nebius-h100-3" in preview
    assert _serial(operator, "hetzner-cpu2") not in preview


def _serial(operator: Operator, node: str) -> str:
    """Return a node's serial as lists of denied certificates have it."""
    text = next(line for line in (operator.state / "issued").read_text().splitlines() if f" {node} " in line)
    return text.split()[0]


def test_limit_to_one_node_gives_the_same_files_and_leaves_the_others_alone(operator: Operator) -> None:
    operator.play("--limit", "hetzner-cpu1")
    assert {p.name for p in (operator.state / "leaves").iterdir()} == {"hetzner-cpu1.pem"}
    first = operator.delivered()
    operator.play("--limit", "vast-28918742")
    assert {p.name for p in (operator.state / "leaves").iterdir()} == {
        "hetzner-cpu1.pem",
        "vast-28918742.pem",
    }
    operator.play()
    everything = operator.delivered()
    assert {name: everything[name] for name in first} == first
    assert len({files["/etc/ringrift/tls/ca.crt"]["content"] for files in everything.values()}) == 1


def test_no_key_and_no_passphrase_is_shown_however_talkative_the_run(operator: Operator) -> None:
    text = operator.play("-vvvv", "--diff", secret="correct horse")
    due: dict[str, Any] = {"p2p_identity_leaf_days": 200, "p2p_identity_renew_below_days": 100}
    refusal = operator.play("-vvvv", "--diff", fails=True, secret="wrong stable", **due)
    assert "p2p_identity_passphrase does not open the CA's key" in refusal
    text += refusal
    assert "ENCRYPTED" in (operator.state / "ca.pem").read_text()
    keys = keys_of(operator)
    assert len(keys) == 5
    assert not [name for name, key in keys.items() if key in text]
    assert "correct horse" not in text
    assert "wrong stable" not in text


def test_rotate_true_starts_a_rotation(operator: Operator) -> None:
    operator.play()
    before = operator.delivered()["hetzner-cpu1"]["/etc/ringrift/tls/ca.crt"]["content"]
    text = operator.play("--check", "--diff", "-e", "p2p_identity_rotate=true")
    assert "+next.pem: a new CA" in text
    operator.play("-e", "p2p_identity_rotate=true")
    after = operator.delivered()["hetzner-cpu1"]["/etc/ringrift/tls/ca.crt"]["content"]
    assert after.startswith(before)
    assert after.count("BEGIN CERTIFICATE") == 2


def test_second_controller_is_refused(operator: Operator, tmp_path: Path) -> None:
    operator.play()
    second = Operator(tmp_path, tmp_path / "second")
    text = second.play(fails=True, p2p_identity_seen={"hetzner-cpu1": "0" * 64})
    assert "hetzner-cpu1: already under a CA, and this controller has none" in text
    assert "p2p_identity_rotate=true" in text
    assert not list(second.state.rglob("*.pem"))


def test_second_controller_takes_over_with_the_bundle_of_most_voters(
    operator: Operator, tmp_path: Path
) -> None:
    operator.play()
    bundle = operator.delivered()["hetzner-cpu1"]["/etc/ringrift/tls/ca.crt"]["content"]
    voter = tmp_path / "voter"
    # The first one gives another bundle than it told of, and the third told of another.
    given = {"voter": bundle, "hetzner-cpu1": "-----BEGIN CERTIFICATE-----", "hetzner-cpu2": bundle}
    for name, text in given.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "ca.crt").write_text(text)
    digest = hashlib.sha256(bundle.encode()).hexdigest()
    second = Operator(tmp_path, tmp_path / "second")
    there: dict[str, Any] = {
        "p2p_identity_seen": {
            "vast-28918742": digest,
            "hetzner-cpu1": digest,
            "hetzner-cpu2": digest,
            "nebius-h100-3": "f" * 64,
        },
        "p2p_identity_orchestrator_dir": f"{tmp_path}/{{{{ item | default('voter') }}}}",
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
    }
    second.play(**there, fails=True)
    few = there | {"p2p_identity_seen": {"vast-28918742": digest, "hetzner-cpu1": digest}}
    for mode in ([], ["--check"]):
        refusal = second.play("-e", "p2p_identity_rotate=true", *mode, **few, fails=True)
        assert "where 2 of the 3 voters of the fleet file carry the same ca.crt" in refusal
        assert f"hetzner-cpu1 ({digest[:12]}); hetzner-cpu2, nebius-h100-3: no answer" in refusal
    assert not list(second.state.rglob("*.pem"))
    preview = second.play("--check", "--diff", "-e", "p2p_identity_rotate=true", **there)
    assert not list(second.state.rglob("*.pem"))
    text = second.play("--diff", "-e", "p2p_identity_rotate=true", **there)
    assert changed_tasks(preview) == changed_tasks(text)
    for said in (preview, text):
        assert f"nebius-h100-3 ({'f' * 12}): another ca.crt than 2 of 3 voters carry ({digest[:12]})" in said
    nodes = second.delivered()
    assert set(nodes["vast-28918742"]) == {f"{voter}/ca.crt", f"{voter}/denied"}, (
        "a node keeps its certificate while it learns the next CA"
    )
    assert nodes["vast-28918742"][f"{voter}/ca.crt"]["content"].startswith(bundle)
    refusal = second.play("-e", "p2p_identity_rotate=switch", **there, fails=True)
    assert "nebius-h100-3: does not trust the next CA yet" in refusal
    new = nodes["hetzner-cpu1"][f"{voter}/ca.crt"]["content"]
    there["p2p_identity_seen"] |= dict.fromkeys(
        ("hetzner-cpu1", "hetzner-cpu2", "nebius-h100-3"), hashlib.sha256(new.encode()).hexdigest()
    )
    second.play("-e", "p2p_identity_rotate=switch", **there)
    assert f"{voter}/node.key" in second.delivered()["vast-28918742"]


def test_without_identity_nothing_is_made_and_asking_for_files_is_an_error(operator: Operator) -> None:
    operator.play(p2p_identity_enabled=False, fails=True)
    assert not operator.state.exists()
    assert operator.delivered() == {}
