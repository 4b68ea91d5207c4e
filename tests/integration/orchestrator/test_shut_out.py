"""A voter whose certificate is denied: who calls it refuses it, and drops the connection that is open."""

import asyncio
import contextlib
import json
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import psutil
import pytest
from cryptography import x509

from p2p_orchestrator.config import TlsFiles
from p2p_orchestrator.tls import DeniedError, DenyList, Identity
from tests.integration.orchestrator.certificates import Authority
from tests.integration.orchestrator.cluster import Agent, now, wait
from tests.integration.orchestrator.secure import Secure

STOLEN, LISTENING = "voter-3", 8771


class Apart(Secure):
    """A cluster in which each node has a list of its own, as on machines of their own."""

    def own_list(self, name: str) -> Path:
        return self.path / f"deny-{name}"

    def agent(self, name: str, host: str, **env: str) -> Agent:
        return super().agent(name, host, P2P_TLS_DENY=str(self.own_list(name)), **env)

    def serial(self, name: str) -> str:
        """Return the serial of an agent's certificate, as the controller writes it."""
        pem = (self.authority.path / f"{name}.crt").read_bytes()
        return f"{x509.load_pem_x509_certificate(pem).serial_number:x}"


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Apart]:
    with Apart(tmp_path_factory.mktemp("shut-out"), 3, 2) as cluster:
        wait("a leader known to all", cluster.agreed, 60)
        yield cluster


def open_to(agent: Agent, address: str) -> list[tuple[str, int]]:
    """Return this agent's ends of its connections to where a voter takes heartbeats."""
    assert agent.process is not None
    found = psutil.Process(agent.process.pid).net_connections("tcp")
    there = [item for item in found if item.status == "ESTABLISHED" and item.raddr == (address, LISTENING)]
    return [(item.laddr.ip, item.laddr.port) for item in there]


def refusals(agent: Agent) -> list[dict[str, str]]:
    events = [event for event in agent.events() if event["event"] == "voter_unreachable"]
    return [event for event in events if event["voter"] == STOLEN and "deny-list" in event["reason"]]


@pytest.mark.parametrize("name", ["vast-1", "voter-1"])
def test_a_denied_voter_is_left_at_once_and_called_in_vain(apart: Apart, name: str) -> None:
    agent, address = apart.agents[name], apart.addresses[STOLEN]
    before = wait("a connection that is kept", lambda: open_to(agent, address), 30)
    apart.own_list(name).write_text(f"{apart.serial(STOLEN)}  # {STOLEN}\n")
    wait("it is refused", lambda: refusals(agent), 30)
    assert not set(before) & set(open_to(agent, address))
    # It is called every five seconds, and that comes to nothing each time.
    time.sleep(11)
    assert not open_to(agent, address)
    assert len(refusals(agent)) == 1
    wait("the others are believed", lambda: agent.leader in apart.voters, 30)
    apart.own_list(name).unlink()
    wait("it is called again", lambda: open_to(agent, address), 30)
    assert [event["event"] for event in agent.events()].count("started") == 1


def test_what_a_denied_voter_said_is_forgotten(apart: Apart) -> None:
    leader = wait("a leader known to all", apart.agreed, 60)
    agent = apart.agents["vast-2"]
    apart.own_list("vast-2").write_text("".join(f"{apart.serial(voter)}\n" for voter in apart.voters))
    began = now()
    wait("nobody is believed", lambda: agent.leader is None, 30)
    # The list is looked at every 2 s; what a voter says of a leader may hold for 10 s.
    assert now() - began < 5
    peers = agent.get("/status?alive_only=false")[1]["peers"]
    assert {peers[voter]["seconds_since_heartbeat"] for voter in apart.voters} == {-1}
    apart.own_list("vast-2").write_text("")
    wait("all are believed again", lambda: agent.leader == leader, 60)


def test_a_connection_of_a_denied_node_is_dropped_while_it_is_idle(apart: Apart) -> None:
    files = apart.authority.leaf("thief")
    context = ssl.create_default_context(cafile=files["CA"])
    context.load_cert_chain(files["CERT"], files["KEY"])
    body = json.dumps({"cluster": "p2p", "incarnation": "x", "info": {}})
    request = (
        f"POST /v1/heartbeat/thief HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
    )
    plain = socket.create_connection((apart.addresses["voter-2"], LISTENING), timeout=30)
    with context.wrap_socket(plain, server_hostname="voter-2.p2p.p2p") as connection:
        connection.sendall(request)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
        apart.own_list("voter-2").write_text(f"{files['SERIAL']}\n")
        began = now()
        with contextlib.suppress(ConnectionResetError):
            # The rest of the answer, if any; then the end.
            while connection.recv(65_536):
                pass
        assert now() - began < 10
    apart.own_list("voter-2").unlink()


async def test_nothing_is_sent_to_a_denied_server(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server, own = authority.leaf("voter-1"), authority.leaf("vast-1")
    listening = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    listening.load_cert_chain(server["CERT"], server["KEY"])
    listening.load_verify_locations(server["CA"])
    listening.verify_mode = ssl.CERT_REQUIRED
    got: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.read(65_536))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        await writer.drain()
        writer.close()

    deny = DenyList(tmp_path / "deny")
    files = TlsFiles(Path(own["CA"]), Path(own["CERT"]), Path(own["KEY"]))
    identity = Identity(files, deny=deny)
    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=listening) as listener:
        url = f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}/"
        for lines in ("", f"{server['SERIAL'].lower()}  # voter-1\n"):
            (tmp_path / "deny").write_text(lines)
            deny.refresh()
            async with aiohttp.ClientSession() as session:
                call = session.post(url, data="{}", ssl=identity.client, server_hostname="voter-1.p2p.p2p")
                if lines:
                    with pytest.raises(aiohttp.ClientConnectorCertificateError) as error:
                        await call
                    assert isinstance(error.value.certificate_error, DeniedError)
                else:
                    assert (await call).status == 200
            await asyncio.sleep(0.2)
            assert len(got) == 1
