"""Mutual TLS for heartbeats and etcd with real certificates: who is let in and who is not."""

import asyncio
import json
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from module_utils.p2p_mesh import Own, dial
from tests.integration.orchestrator.certificates import Authority
from tests.integration.orchestrator.cluster import wait
from tests.integration.orchestrator.secure import Secure


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    with Secure(tmp_path_factory.mktemp("identity"), 3, 1) as cluster:
        wait("a leader known to all", cluster.agreed, 60)
        yield cluster


def post(cluster: Secure, files: dict[str, str] | None, name: str, body: bytes | None = None) -> int | str:
    """Send a heartbeat for `name` with a certificate; return the status or the name of the failure."""
    voter = cluster.voters[0]
    context = ssl.create_default_context(cafile=str(cluster.authority.ca))
    if files is not None:
        context.load_cert_chain(files["CERT"], files["KEY"])
    message = {"cluster": "p2p", "incarnation": "x", "info": {}}
    data = body if body is not None else json.dumps(message).encode()

    async def send() -> int | str:
        url = f"https://{cluster.addresses[voter]}:8771/v1/heartbeat/{name}"
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.post(url, data=data, ssl=context, server_hostname=f"{voter}.p2p.p2p") as reply,
            ):
                return reply.status
        except aiohttp.ClientError as error:
            return type(error).__name__

    return asyncio.run(send())


def refused(cluster: Secure, reason: str) -> bool:
    """Tell whether the first voter counted and logged a refusal for this reason."""
    agent = cluster.agents[cluster.voters[0]]
    counted = f'p2p_heartbeats_refused_total{{reason="{reason}"}}' in agent.get("/metrics")[1]
    logged = any(e["event"] == "heartbeat_refused" and e["reason"] == reason for e in agent.events())
    return counted and logged


def tries(cluster: Secure, files: dict[str, str], target: str) -> dict[str, Any]:
    """Return whether a voter with this certificate gets through to another one's port for heartbeats."""
    asked = {"voter": target, "host": cluster.addresses[target], "port": 8771, "service": "heartbeat"}
    tls = {"heartbeat": {part.lower(): files[part] for part in ("CA", "CERT", "KEY")}}
    (found,) = dial([asked | {"name": f"{target}.p2p.p2p"}], Own(tls, {}), 10.0)
    return found


def test_a_voter_that_tries_the_others_leaves_no_trace(secure: Secure) -> None:
    first, second, _ = secure.voters
    files = secure.authority.leaf(first, file="tries")
    agent = secure.agents[second]

    def traces() -> list[Any]:
        refused = [line for line in agent.get("/metrics")[1].splitlines() if "refused_total{" in line]
        return [*refused, *(event for event in agent.events() if "refused" in event["event"])]

    before = traces()
    began = time.monotonic()
    for _ in range(10):
        assert tries(secure, files, second)["outcome"] == "open"
    # It waits for no more than the handshake.
    assert time.monotonic() - began < 10
    assert traces() == before


def test_a_voter_that_is_not_believed_is_told(secure: Secure, tmp_path: Path) -> None:
    first, second, third = secure.voters
    stranger = Authority(tmp_path).leaf(first)
    found = tries(secure, stranger | {"CA": str(secure.authority.ca)}, second)
    assert (found["outcome"], found["why"]) == ("untrusted", "it turns this voter's certificate away")
    found = tries(secure, secure.authority.leaf(first, file="t") | {"CA": stranger["CA"]}, second)
    assert (found["outcome"], found["why"][:15]) == ("untrusted", "its certificate")
    swapped = {**secure.addresses, second: secure.addresses[third]}
    asked = {"voter": second, "host": swapped[second], "port": 8771, "service": "heartbeat"}
    tls = {part.lower(): secure.authority.leaf(first, file="t")[part] for part in ("CA", "CERT", "KEY")}
    (found,) = dial([asked | {"name": f"{second}.p2p.p2p"}], Own({"heartbeat": tls}, {}), 10.0)
    assert (found["outcome"], found["why"]) == ("foreign", f"{third}.p2p.p2p answers there")


def test_a_node_with_its_own_certificate_is_let_in(secure: Secure) -> None:
    assert post(secure, secure.authority.leaf("new-1"), "new-1") == 200


@pytest.mark.parametrize(
    ("reason", "status"), [("impostor", 403), ("wrong_cluster", 403), ("denied", 403), ("too_large", 413)]
)
def test_what_a_known_certificate_may_not_do(secure: Secure, reason: str, status: int) -> None:
    files, name, body = secure.authority.leaf("thief"), "thief", None
    if reason == "impostor":
        name = "vast-1"
    elif reason == "wrong_cluster":
        files = secure.authority.leaf("thief", cluster="other")
    elif reason == "denied":
        secure.deny.write_text(f"# stolen\n{files['SERIAL']}\n")
        time.sleep(3.0)  # the list is read each 2 s; one that asks too often is refused for that
        wait("the deny-list is read", lambda: post(secure, files, name) == 403, 60)
    else:
        body = b"x" * 20_000
    assert post(secure, files, name, body) == status
    assert refused(secure, reason)


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b"[" * 8_000, b'{"incarnation": 1}'])
def test_a_malformed_body_is_refused(secure: Secure, body: bytes) -> None:
    assert post(secure, secure.authority.leaf("odd"), "odd", body) == 400
    assert refused(secure, "malformed")


@pytest.mark.parametrize("reason", ["untrusted", "expired", "no_certificate"])
def test_who_is_refused_at_the_handshake(secure: Secure, tmp_path: Path, reason: str) -> None:
    files: dict[str, str] | None = None
    if reason == "untrusted":
        files = Authority(tmp_path).leaf("vast-1")
    elif reason == "expired":
        files = secure.authority.leaf("late", days=-1.0)
    assert isinstance(post(secure, files, "vast-1"), str)
    wait("the refusal is counted", lambda: refused(secure, reason), 60)


def test_a_removed_node_is_dead_within_the_window(secure: Secure) -> None:
    secure.deny.write_text("vast-1\n")
    voter = secure.agents[secure.voters[1]]
    dead = wait(
        "vast-1 is dead",
        lambda: voter.get("/status?alive_only=false")[1]["peers"]["vast-1"]["state"] == "dead",
        25,
    )
    assert dead
    secure.deny.write_text("")
    wait("vast-1 is back", lambda: voter.status()["peers"].get("vast-1", {}).get("is_alive"), 60)


def test_the_authority_is_replaced_under_a_running_cluster(secure: Secure) -> None:
    """First all trust both, then all show the new one's certificates, then nobody trusts the old one."""
    old = secure.authority.pem
    leader = wait("a leader", secure.agreed, 60)
    before = len(secure.check_leaders())
    new = Authority(secure.path / "new")
    secure.authority.ca.write_bytes(old + new.pem)
    wait(
        "reloaded",
        lambda: all("certificate_reloaded" in a.log.read_text() for a in secure.agents.values()),
        60,
    )
    outdated = secure.authority.leaf("outdated")
    # A voter that has just read its files again takes a moment to listen with them.
    wait("the old one is let in", lambda: post(secure, outdated, "outdated") == 200, 60)
    new.path = secure.authority.path
    for name in secure.names:
        new.leaf(name, secure.addresses[name])
    secure.authority.ca.write_bytes(new.pem)
    wait("the old one is refused", lambda: isinstance(post(secure, outdated, "outdated"), str), 60)
    time.sleep(15)
    wait("the same leader, known to all", lambda: secure.agreed() == leader, 60)
    assert len(secure.check_leaders()) == before
