"""Who may speak for whom, the deny-list, and what a handshake may cost."""

import contextlib
import ssl
import time
from pathlib import Path
from typing import Any

import pytest

from p2p_orchestrator.config import TlsFiles
from p2p_orchestrator.errors import Exit, StartError
from p2p_orchestrator.tls import HANDSHAKE_BYTES, DenyList, Identity, check_peer, server_name
from tests.integration.orchestrator.certificates import Authority

NOBODY = DenyList(None)


def certificate(*names: str, ends: str = "Jan  1 00:00:00 2099 GMT", serial: str = "0A1B") -> dict[str, Any]:
    return {
        "subjectAltName": (*(("DNS", name) for name in names), ("IP Address", "192.0.2.1")),
        "notAfter": ends,
        "serialNumber": serial,
    }


@pytest.mark.parametrize(
    ("cert", "reason"),
    [
        (certificate("n.p2p.p2p"), None),
        (certificate("m.p2p.p2p"), "impostor"),
        (certificate("n.other.p2p"), "wrong_cluster"),
        (certificate("xn.p2p.p2p"), "impostor"),
        (certificate("n.p2p.p2p", "etcd.voters.p2p.p2p", "localhost"), None),
        (certificate("m.p2p.p2p", "n.p2p.p2p"), "impostor"),
        ({}, "wrong_cluster"),
        (certificate("n.p2p.p2p", ends="Jan  1 00:00:00 2020 GMT"), "expired"),
    ],
)
def test_a_node_speaks_for_itself(cert: dict[str, Any], reason: str | None) -> None:
    found = check_peer(cert, "n", "p2p", NOBODY)
    assert (found and found[0]) == reason


@pytest.mark.parametrize("line", ["n", "0A1B", "a1b", "0a:1b  # lost", "\n# comment\nn\n"])
def test_names_and_serials_are_denied(tmp_path: Path, line: str) -> None:
    (tmp_path / "deny").write_text(line)
    found = check_peer(certificate("n.p2p.p2p"), "n", "p2p", DenyList(tmp_path / "deny"))
    assert found is not None
    assert found[0] == "denied"


def test_the_deny_list_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "deny"
    deny = DenyList(path)
    assert "n" not in deny
    assert not deny.refresh()
    path.write_text("n\n")
    assert deny.refresh()
    assert "n" in deny
    path.write_text("n  # the same\n")
    assert not deny.refresh()
    path.unlink()
    assert deny.refresh()
    assert "n" not in deny


@pytest.mark.parametrize(
    ("lines", "cert", "denied"),
    [
        ("n", certificate("n.p2p.p2p"), True),
        ("n", certificate("m.p2p.p2p", "n.p2p.p2p"), False),
        ("n", certificate("n.other.p2p"), False),
        ("0a:1b", certificate("m.p2p.p2p"), True),
        ("a1b", certificate("m.other.p2p"), True),
        ("n\na1c", certificate("m.p2p.p2p"), False),
        ("n", {}, False),
        ("0", {}, False),
    ],
)
def test_who_holds_a_denied_certificate(
    tmp_path: Path, lines: str, cert: dict[str, Any], *, denied: bool
) -> None:
    (tmp_path / "deny").write_text(lines)
    assert DenyList(tmp_path / "deny").holder(cert, "p2p") is denied


def test_a_name_is_made_of_node_and_cluster() -> None:
    assert server_name("vast-1", "prod") == "vast-1.prod.p2p"


@pytest.mark.parametrize(
    ("content", "message"), [(None, "cannot read .*ca: No such file"), ("x", "cannot use .* for TLS")]
)
def test_a_secret_that_cannot_be_used_is_one_line(tmp_path: Path, content: str | None, message: str) -> None:
    files = TlsFiles(tmp_path / "ca", tmp_path / "cert", tmp_path / "key")
    if content is not None:
        for path in (files.ca, files.cert, files.key):
            path.write_text(content)
    with pytest.raises(StartError, match=message) as error:
        Identity(files)
    assert error.value.code == Exit.SECRET


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    leaf = Authority(tmp_path).leaf("n")
    return Identity(TlsFiles(Path(leaf["CA"]), Path(leaf["CERT"]), Path(leaf["KEY"])), lambda *_: None)


def shake(client: ssl.SSLContext, server: ssl.SSLContext) -> None:
    """Do a handshake with `n` in memory. Raises ssl.SSLError."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(down, up, server_hostname=server_name("n", "p2p")),
        server.wrap_bio(up, down, server_side=True),
    ]
    while ends:
        for end in list(ends):
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
                ends.remove(end)


def stranger(group: str) -> ssl.SSLContext:
    """Return the context of a client that shows nothing and asks for nothing."""
    result = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    result.check_hostname, result.verify_mode = False, ssl.CERT_NONE
    result.set_ecdh_curve(group)
    return result


def test_our_own_ends_agree(identity: Identity) -> None:
    shake(identity.client, identity.server)


def test_ends_of_a_former_release_agree_with_ours(identity: Identity, tmp_path: Path) -> None:
    """They begin with another group."""
    client = ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for context in (client, server):
        context.load_cert_chain(tmp_path / "n.crt", tmp_path / "n.key")
    shake(client, identity.server)
    shake(identity.client, server)


@pytest.mark.parametrize("group", ["ffdhe8192", "ffdhe2048"])
def test_a_group_that_costs_much_is_refused_for_little(identity: Identity, group: str) -> None:
    before = time.process_time()
    with pytest.raises(ssl.SSLError):
        shake(stranger(group), identity.server)
    assert time.process_time() - before < 0.1


@pytest.mark.parametrize(("more", "refused"), [(0, False), (400, True)])
def test_a_handshake_of_many_certificates_is_not_read(
    identity: Identity, tmp_path: Path, more: int, *, refused: bool
) -> None:
    own = (tmp_path / "n.crt").read_text()
    (tmp_path / "many.crt").write_text(own + more * (tmp_path / "ca.crt").read_text())
    client = ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))
    client.load_cert_chain(tmp_path / "many.crt", tmp_path / "n.key")
    with pytest.raises(ssl.SSLError, match="longer than") if refused else contextlib.nullcontext():
        shake(client, identity.server)


def test_what_comes_with_the_end_of_a_handshake_is_read(identity: Identity) -> None:
    """As a request does, when the process had no time in between."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = identity.client.wrap_bio(down, up, server_hostname=server_name("n", "p2p"))
    server = identity.server.wrap_bio(up, down, server_side=True)
    for end in (client, server):
        with pytest.raises(ssl.SSLWantReadError):
            end.do_handshake()
    client.do_handshake()
    sent = bytes(range(256)) * 4 * HANDSHAKE_BYTES
    for start in range(0, len(sent), HANDSHAKE_BYTES):
        client.write(sent[start : start + HANDSHAKE_BYTES])
    server.do_handshake()
    came = b""
    with contextlib.suppress(ssl.SSLWantReadError):
        while data := server.read(65_536):
            came += data
    assert came == sent
