"""Three real etcd members under these certificates: who gets in, who does not, and a rotation."""

from __future__ import annotations

import base64
import http.client
import json
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from module_utils.p2p_certificate_names import node_name, voter_name
from module_utils.p2p_certificate_pem import blocks
from module_utils.p2p_http import ask_etcd, listed
from module_utils.p2p_mesh import Own, dial
from p2p_orchestrator.store import LEADER, Entry, Swap
from p2p_orchestrator.store_etcd import EtcdStore
from tests.unit.identity.controller import Controller, member

VOTERS = {f"hetzner-cpu{n}": f"127.0.31.{n}" for n in (1, 2, 3)}
OUTSIDER = "vast-28918742"
MEMBERS = [member(name, address, server=True) for name, address in VOTERS.items()]
FILES = {"ca": "ca.crt", "cert": "node.crt", "key": "node.key"}
# What a member says of one that calls it.
OF_A_CALLER = re.compile("rejected connection|remote-addr|handshake error|common name")
PATIENCE = 120.0  # seconds for an election on a busy machine


def issuer(root: Path) -> Controller:
    """Return a controller of the three voters and one node that does not vote."""
    return Controller(root, nodes=[*MEMBERS, member(OUTSIDER)])


def deliver(result: dict[str, Any], node_id: str, folder: Path) -> Path:
    """Write a node's files as the roles do: the bundle, the certificate and the key apart."""
    folder.mkdir(exist_ok=True)
    (folder / "ca.crt").write_text(result["ca_bundle"])
    (folder / "crl.pem").write_text(result["crl"])
    if result["nodes"][node_id]["file"]:
        certificates, key = blocks(Path(result["nodes"][node_id]["file"]).read_bytes())
        assert key is not None
        (folder / "node.crt").write_bytes(certificates[0])
        (folder / "node.key").write_bytes(key)
    return folder


def context(folder: Path | None, ca: Path) -> ssl.SSLContext:
    """Return a client's context; None shows no certificate."""
    made = ssl.create_default_context(cafile=str(ca / "ca.crt"))
    if folder is not None:
        made.load_cert_chain(folder / "node.crt", folder / "node.key")
    return made


@dataclass
class Cluster:
    """The members, each on an address of its own, and the folders of their certificates."""

    base: Path
    client_port: int
    peer_port: int
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str) -> None:
        """Start one member with the flags of the role's unit."""
        address, tls = VOTERS[name], self.base / f"tls-{name}"
        peers = ",".join(f"{n}=https://{a}:{self.peer_port}" for n, a in VOTERS.items())
        command = ["etcd", "--name", name, "--data-dir", str(self.base / f"data-{name}")]
        flags = {
            "listen-client-urls": f"https://{address}:{self.client_port}",
            "advertise-client-urls": f"https://{address}:{self.client_port}",
            "listen-peer-urls": f"https://{address}:{self.peer_port}",
            "initial-advertise-peer-urls": f"https://{address}:{self.peer_port}",
            "initial-cluster": peers,
            "initial-cluster-state": "new",
            "heartbeat-interval": "300",
            "election-timeout": "3000",
            "trusted-ca-file": str(tls / "ca.crt"),
            "cert-file": str(tls / "node.crt"),
            "key-file": str(tls / "node.key"),
            "client-crl-file": str(tls / "crl.pem"),
            "peer-trusted-ca-file": str(tls / "ca.crt"),
            "peer-cert-file": str(tls / "node.crt"),
            "peer-key-file": str(tls / "node.key"),
            "peer-crl-file": str(tls / "crl.pem"),
            "peer-cert-allowed-hostname": voter_name("lab"),
        }
        command += [f"--{flag}={value}" for flag, value in flags.items()]
        command += ["--client-cert-auth", "--peer-client-cert-auth", "--pre-vote"]
        command += ["--experimental-peer-skip-client-san-verification", "--logger=zap"]
        with (self.base / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(command, stdout=log, stderr=log)

    def stop(self, name: str) -> None:
        """Stop one member."""
        process = self.processes.pop(name)
        process.terminate()
        process.wait(120)

    def ask(
        self, name: str, tls: Path | None, ca: Path, path: str, body: Any = None, *, peer: bool = False
    ) -> Any:
        """Ask one member over TLS.

        Raises:
            OSError: it cannot be reached, or one side refuses the other.
            http.client.HTTPException: it hangs up, or answers with an error.
        """
        port = self.peer_port if peer else self.client_port
        connection = http.client.HTTPSConnection(VOTERS[name], port, timeout=30, context=context(tls, ca))
        try:
            connection.request(
                "GET" if body is None else "POST", path, None if body is None else json.dumps(body)
            )
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != http.HTTPStatus.OK:
                raise http.client.HTTPException(f"{answer.status}: {text!r}")
            return json.loads(text)
        finally:
            connection.close()

    def spec(self, name: str) -> dict[str, str]:
        """Return how a member is asked by its own node."""
        return {
            "endpoint": f"https://{VOTERS[name]}:{self.client_port}",
            **{key: str(self.own(name) / file) for key, file in FILES.items()},
        }

    def tries(self, name: str, *, seconds: float = 10.0, **moved: str) -> dict[str, str]:
        """Return by voter what one gets through to; `moved` are other addresses, by the end of the name."""
        targets = [
            {
                "voter": voter,
                "host": moved.get(voter.removeprefix("hetzner-"), address),
                "port": self.peer_port,
                "service": "etcd",
                "name": node_name(voter, "lab"),
            }
            for voter, address in VOTERS.items()
            if voter != name
        ]
        spec = self.spec(name)
        found = dial(targets, Own({"etcd": spec}, listed(spec, seconds)), seconds)
        return {
            str(target["voter"]).removeprefix("hetzner-"): f"{item['outcome']} {item['why']}".strip()
            + (f"; listed: {item['listed']['outcome']}" if item["listed"] else "")
            for target, item in zip(targets, found, strict=True)
        }

    def own(self, name: str) -> Path:
        """Return the folder of a member's own certificates."""
        return self.base / f"tls-{name}"

    def put(self, name: str, key: str, value: str) -> None:
        """Write a key, again while an election is under way; see `put_once`."""
        until = time.monotonic() + PATIENCE
        while True:
            with suppress(http.client.HTTPException):
                return self.put_once(name, key, value)
            assert time.monotonic() < until, f"{name} takes no write"
            time.sleep(0.5)

    def put_once(self, name: str, key: str, value: str) -> None:
        """Write a key through one member's gateway, with that node's own certificate."""
        own = self.own(name)
        body = {
            "key": base64.b64encode(key.encode()).decode(),
            "value": base64.b64encode(value.encode()).decode(),
        }
        self.ask(name, own, own, "/v3/kv/put", body)

    def takes_part(self, name: str) -> bool:
        """Say whether a member takes a write."""
        try:
            self.put_once(name, "ready", name)
        except (OSError, http.client.HTTPException):
            return False
        return True

    def wait(self, name: str) -> None:
        """Wait until a member takes part in writes."""
        until = time.monotonic() + PATIENCE
        while not self.takes_part(name):
            if time.monotonic() > until or self.processes[name].poll() is not None:
                pytest.fail(f"{name} does not take part:\n{(self.base / f'{name}.log').read_text()[-3000:]}")
            time.sleep(0.2)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def controller(tmp_path: Path) -> Controller:
    return issuer(tmp_path / "state")


@pytest.fixture
def cluster(tmp_path: Path, controller: Controller) -> Iterator[Cluster]:
    assert shutil.which("etcd"), "etcd is not installed: apt-get install etcd-server"
    made = Cluster(tmp_path, free_port(), free_port())
    result = controller.run()
    for name in [*VOTERS, OUTSIDER]:
        deliver(result, name, made.own(name))
    try:
        for name in VOTERS:
            made.start(name)
        for name in VOTERS:
            made.wait(name)
        yield made
    finally:
        for name in list(made.processes):
            made.stop(name)


def refused(cluster: Cluster, tls: Path | None, ca: Path, *, peer: bool, by: Iterable[str] = VOTERS) -> bool:
    """Say whether every one of these members hangs up on this certificate."""
    outcomes = {refused_by(cluster, name, tls, ca, peer=peer) for name in by}
    assert len(outcomes) == 1, "the members disagree"
    return outcomes.pop()


def refused_by(cluster: Cluster, name: str, tls: Path | None, ca: Path, *, peer: bool) -> bool:
    """Say whether one member hangs up on this certificate."""
    try:
        cluster.ask(name, tls, ca, "/version", peer=peer)
    except (OSError, http.client.HTTPException):
        return True
    return False


async def test_who_gets_in_and_who_does_not(cluster: Cluster, controller: Controller, tmp_path: Path) -> None:
    # Members see each other: what one takes, another gives.
    cluster.put("hetzner-cpu1", "leader", "x")
    own = cluster.own("hetzner-cpu3")
    key = base64.b64encode(b"leader").decode()
    found = cluster.ask("hetzner-cpu3", own, own, "/v3/kv/range", {"key": key})
    assert base64.b64decode(found["kvs"][0]["value"]) == b"x"

    # The orchestrator's way, of which etcd has nothing to say in its log.
    log = cluster.base / "hetzner-cpu2.log"
    before = log.read_text()
    store = EtcdStore(
        f"https://127.0.31.2:{cluster.client_port}", "lab", context(cluster.own("hetzner-cpu2"), own)
    )
    try:
        for _ in range(10):
            assert (await store.read()).leader == Entry()
        assert await store.swap(Swap({LEADER: Entry()}, put={LEADER: b"x"})) is not None
    finally:
        await store.close()
    assert "ignoring common name" not in log.read_text().removeprefix(before)

    # Nobody without a certificate, with one of another CA, or of another cluster.
    stranger = deliver(issuer(tmp_path / "other").run(), OUTSIDER, tmp_path / "tls-stranger")
    foreign = issuer(tmp_path / "prod").run(cluster="prod")
    foreign_voter = deliver(foreign, "hetzner-cpu1", tmp_path / "tls-foreign")
    for peer in (False, True):
        assert not refused(cluster, own, own, peer=peer)
        assert refused(cluster, None, own, peer=peer)
        assert refused(cluster, stranger, own, peer=peer)
        assert refused(cluster, foreign_voter, own, peer=peer)

    # A node that does not vote is of the cluster, and still no peer of the store.
    assert refused(cluster, cluster.own(OUTSIDER), own, peer=True)

    # A client that trusts another CA hangs up on the members.
    assert refused(cluster, own, stranger, peer=False)

    # A removed voter is out as soon as its colleagues have the list, without a restart.
    stolen = cluster.own("hetzner-cpu3")
    result = controller.run(
        nodes=MEMBERS[:2],
        removed=["hetzner-cpu3"],
    )
    for name in ("hetzner-cpu1", "hetzner-cpu2"):
        (cluster.own(name) / "crl.pem").write_text(result["crl"])
    for peer in (False, True):
        assert refused(cluster, stolen, own, peer=peer, by=("hetzner-cpu1", "hetzner-cpu2"))
    cluster.put("hetzner-cpu1", "after", "removal")


def test_rotation_one_voter_at_a_time_keeps_the_store_writable(
    cluster: Cluster, controller: Controller
) -> None:
    original = (cluster.own("hetzner-cpu1") / "ca.crt").read_text()
    before_leaf = (cluster.own("hetzner-cpu1") / "node.crt").read_bytes()
    members = list(VOTERS)
    assert not refused(cluster, cluster.own(OUTSIDER), cluster.own("hetzner-cpu1"), peer=False)

    def write_through_all_but(down: str | None, label: str) -> None:
        for name in members:
            if name != down:
                cluster.wait(name)
                cluster.put(name, label, name)

    for stage in ("start", "switch", "finish"):
        result = controller.run(rotate=stage)
        for name in members:
            changed = (cluster.own(name) / "ca.crt").read_text() != result["ca_bundle"]
            assert changed == (stage != "switch"), "only a changed bundle needs a restart"
            if changed:
                cluster.stop(name)
                write_through_all_but(name, stage)
            deliver(result, name, cluster.own(name))
            if changed:
                cluster.start(name)
            # Half the members are a stage behind: they still work together.
            write_through_all_but(None, stage)
    assert (cluster.own("hetzner-cpu1") / "ca.crt").read_text() != original
    assert (cluster.own("hetzner-cpu1") / "node.crt").read_bytes() != before_leaf

    # What the old CA signed, and nobody renewed, is worth nothing now.
    assert refused(cluster, cluster.own(OUTSIDER), cluster.own("hetzner-cpu1"), peer=False)


def test_a_voter_tries_the_others_as_their_members_do(cluster: Cluster) -> None:
    logs = [cluster.base / f"{name}.log" for name in VOTERS]

    def said() -> list[str]:
        lines = [line for log in logs for line in log.read_text().splitlines()]
        return [line for line in lines if OF_A_CALLER.search(line)]

    before = said()
    for name in VOTERS:
        assert set(cluster.tries(name).values()) == {"open"}
        assert ask_etcd(cluster.spec(name), "/nonexistent", 10.0)["reads"] is True
    assert said() == before
    # A bare connection would be told.
    socket.create_connection((VOTERS["hetzner-cpu1"], cluster.peer_port), 10).close()
    until = time.monotonic() + PATIENCE
    while said() == before:
        assert time.monotonic() < until
        time.sleep(0.1)

    # Where the file has another address than the store's list, both are tried.
    assert cluster.tries("hetzner-cpu1", cpu2="127.0.31.9")["cpu2"] == (
        "refused nobody listens there; listed: open"
    )
    # Somebody else's member at the address, and no member at all.
    assert cluster.tries("hetzner-cpu1", cpu2=VOTERS["hetzner-cpu3"])["cpu2"] == (
        "foreign hetzner-cpu3.lab.p2p answers there; listed: open"
    )
    with socket.create_server(("127.0.31.9", cluster.peer_port)) as mute:
        mute.settimeout(60)
        told = cluster.tries("hetzner-cpu1", seconds=5.0, cpu2="127.0.31.9")["cpu2"]
        assert re.fullmatch("blocked no answer within [0-9]+ s; listed: open", told), told


def test_a_voter_tells_which_end_is_not_believed(
    cluster: Cluster, controller: Controller, tmp_path: Path
) -> None:
    stranger = deliver(issuer(tmp_path / "other").run(), "hetzner-cpu1", tmp_path / "tls-stranger")
    own = cluster.own("hetzner-cpu1")
    kept = {file: (own / file).read_bytes() for file in FILES.values()}
    for others, told in (
        (["ca.crt"], "untrusted its certificate is not believed: "),
        (["node.crt", "node.key"], "untrusted it does not believe this voter's certificate"),
        (["node.key"], "untrusted this voter's own certificate is of no use: "),
    ):
        for file in others:
            shutil.copy(stranger / file, own)
        assert cluster.tries("hetzner-cpu1")["cpu2"].startswith(told)
        for file in others:
            (own / file).write_bytes(kept[file])
    # One that was shut out where the list has come, and nowhere else.
    result = controller.run(nodes=MEMBERS[:2], removed=["hetzner-cpu3"])
    (cluster.own("hetzner-cpu1") / "crl.pem").write_text(result["crl"])
    tried = cluster.tries("hetzner-cpu3")
    assert tried["cpu1"].startswith("untrusted it "), tried
    assert tried["cpu2"] == "open"


def test_a_member_without_a_majority_confirms_no_read(cluster: Cluster) -> None:
    frozen = [cluster.processes[name] for name in ("hetzner-cpu2", "hetzner-cpu3")]
    for process in frozen:
        process.send_signal(signal.SIGSTOP)
    try:
        answer = ask_etcd(cluster.spec("hetzner-cpu1"), "/nonexistent", 5.0)
        # It still names a leader: nothing has told it otherwise yet.
        assert answer["error"] is None
        assert answer["reads"] is False
        tried = cluster.tries("hetzner-cpu1", seconds=5.0)
        assert all(told.startswith("blocked no answer within") for told in tried.values()), tried
    finally:
        for process in frozen:
            process.send_signal(signal.SIGCONT)
