"""What the certificates say, judged by two independent verifiers: `cryptography` and OpenSSL."""

from __future__ import annotations

import datetime as dt
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError
from hypothesis import given
from hypothesis import strategies as st

from module_utils.p2p_certificate_log import Issued, parse_log
from module_utils.p2p_certificate_make import Leaf, make_authority, make_crl, make_leaf, reason_to_issue
from module_utils.p2p_certificate_names import (
    LABEL,
    CertificateError,
    Node,
    as_name,
    check_label,
    check_nodes,
    host_of,
    name_texts,
    subject_names,
    voter_name,
)
from module_utils.p2p_certificate_pem import certificate_pem

NOW = dt.datetime(2026, 1, 1, 12, tzinfo=dt.timezone.utc)
CA, CA_KEY = make_authority("lab", 3650, NOW)
VOTER = Node("hetzner-cpu1", ("192.0.2.1", "http://voter.example.net:8770", "100.64.0.1"), server=True)


def leaf(node: Node = VOTER, days: int = 90) -> Leaf:
    names = subject_names(node, "lab")
    return make_leaf(names, "lab", CA, CA_KEY, days=days, now=NOW)


def names_of(certificate: x509.Certificate) -> list[str]:
    return name_texts(list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value))


def test_voter_carries_its_name_first_and_every_address() -> None:
    assert names_of(leaf().certificate) == [
        "hetzner-cpu1.lab.p2p",
        "etcd.voters.lab.p2p",
        "localhost",
        "100.64.0.1",
        "127.0.0.1",
        "192.0.2.1",
        "voter.example.net",
    ]


def test_other_nodes_carry_their_name_alone() -> None:
    node = Node("vast-1", ("198.51.100.1",), server=False)
    assert names_of(leaf(node).certificate) == ["vast-1.lab.p2p"]


@pytest.mark.parametrize(
    ("given_text", "host"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:8770", "192.0.2.1"),
        ("http://192.0.2.1:8770/", "192.0.2.1"),
        ("https://Voter.Example.NET", "voter.example.net"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]:8770", "2001:db8::1"),
        ("http://[2001:DB8:0::1]:1", "2001:db8::1"),
        ("localhost", "localhost"),
        (" mac_studio ", "mac_studio"),
    ],
)
def test_host_is_found_in_whatever_the_fleet_file_gives(given_text: str, host: str) -> None:
    assert host_of(given_text) == host


@pytest.mark.parametrize("text", ["", "http://", "a b", "*.example.net", "http://[::1", "-x", "é.example"])
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(CertificateError, match="Correct it in the fleet file"):
        host_of(text)


def test_address_in_two_spellings_is_one_name() -> None:
    node = Node("a", ("192.0.2.1", "http://192.0.2.1:1", "localhost", "127.0.0.1"), server=True)
    assert name_texts(subject_names(node, "lab"))[3:] == ["127.0.0.1", "192.0.2.1"]


@pytest.mark.parametrize("name", ["vast-28918742", "mac_studio", "A100", "a", "x" * 63, "_x_"])
def test_names_of_real_fleets_are_accepted(name: str, tmp_path: Path) -> None:
    assert check_label("Node name", name) == name
    certificate = leaf(Node(name)).certificate
    found = openssl_verify(tmp_path, certificate, CA, "sslserver", "-verify_hostname", f"{name}.lab.p2p")
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize("name", ["", "a.b", "a b", "-a", "a-", "x" * 64, "nöde", "a/b", "..", "a\n", "*"])
def test_names_that_no_certificate_can_carry_are_refused(name: str) -> None:
    with pytest.raises(CertificateError, match="Rename it in the fleet file"):
        check_label("Node name", name)


def test_names_that_differ_by_case_are_refused() -> None:
    with pytest.raises(CertificateError, match="'Mac' and 'mac'"):
        check_nodes([Node("Mac"), Node("mac")], "lab")


def test_no_node_can_be_called_like_the_voters() -> None:
    assert not LABEL.fullmatch(voter_name("lab").removesuffix(".lab.p2p"))


def test_leaf_serves_both_ends_and_has_no_common_name() -> None:
    certificate = leaf().certificate
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usage) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    for cert in (certificate, CA):
        assert not cert.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    key_usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
    assert key_usage.critical
    assert key_usage.value.digital_signature
    assert not key_usage.value.key_cert_sign


def test_ca_signs_leaves_and_nothing_below() -> None:
    constraints = CA.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert constraints.value == x509.BasicConstraints(ca=True, path_length=0)
    key = CA.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"


def test_leaf_never_outlives_its_ca() -> None:
    assert leaf(days=9999).certificate.not_valid_after_utc == CA.not_valid_after_utc


def test_both_verifiers_accept_the_chain_as_server_and_as_client(tmp_path: Path) -> None:
    certificate = leaf().certificate
    builder = PolicyBuilder().store(Store([CA])).time(NOW)
    for name in names_of(certificate):
        target = as_name(name)
        assert isinstance(target, x509.DNSName | x509.IPAddress)
        assert builder.build_server_verifier(target).verify(certificate, [])[-1] == CA
    assert builder.build_client_verifier().verify(certificate, []).subjects is not None
    for purpose in ("sslserver", "sslclient"):
        found = openssl_verify(tmp_path, certificate, CA, purpose, "-verify_hostname", "hetzner-cpu1.lab.p2p")
        assert found.returncode == 0, found.stderr
    assert openssl_verify(tmp_path, certificate, CA, "sslserver", "-verify_ip", "192.0.2.1").returncode == 0


def test_both_verifiers_refuse_another_name_another_ca_and_another_time(tmp_path: Path) -> None:
    certificate = leaf().certificate
    stranger, _ = make_authority("lab", 3650, NOW)
    name = x509.DNSName("hetzner-cpu1.lab.p2p")
    builder = PolicyBuilder().time(NOW)
    for verifier in (
        builder.store(Store([CA])).build_server_verifier(x509.DNSName("hetzner-cpu2.lab.p2p")),
        builder.store(Store([CA])).build_server_verifier(x509.DNSName("hetzner-cpu1.other.p2p")),
        builder.store(Store([stranger])).build_server_verifier(name),
        PolicyBuilder().time(NOW + dt.timedelta(days=91)).store(Store([CA])).build_server_verifier(name),
    ):
        with pytest.raises(VerificationError):
            verifier.verify(certificate, [])
    assert openssl_verify(tmp_path, certificate, stranger, "sslserver").returncode != 0
    wrong = openssl_verify(tmp_path, certificate, CA, "sslserver", "-verify_hostname", "hetzner-cpu2.lab.p2p")
    assert wrong.returncode != 0


def openssl_verify(
    folder: Path, certificate: x509.Certificate, ca: x509.Certificate, purpose: str, *more: str
) -> subprocess.CompletedProcess[str]:
    (folder / "ca.crt").write_bytes(certificate_pem(ca))
    (folder / "node.crt").write_bytes(certificate_pem(certificate))
    at = str(int(NOW.timestamp()))
    command = ["openssl", "verify", "-x509_strict", "-attime", at, "-purpose", purpose, *more]
    command += ["-CAfile", str(folder / "ca.crt"), str(folder / "node.crt")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def reason(found: Leaf | None, node: Node = VOTER, days_later: float = 0) -> str | None:
    names = subject_names(node, "lab")
    return reason_to_issue(found, names, CA, NOW + dt.timedelta(days=days_later), 30)


@given(st.floats(min_value=0, max_value=200))
def test_leaf_is_renewed_exactly_when_fewer_than_thirty_days_are_left(days: float) -> None:
    left = LEAF.certificate.not_valid_after_utc - (NOW + dt.timedelta(days=days))
    assert (reason(LEAF, days_later=days) is not None) == (left < dt.timedelta(days=30))


LEAF = leaf()


def test_thirty_days_are_enough_and_a_second_less_is_not() -> None:
    end = LEAF.certificate.not_valid_after_utc
    names = subject_names(VOTER, "lab")
    for seconds, due in ((0, False), (1, True)):
        now = end - dt.timedelta(days=30) + dt.timedelta(seconds=seconds)
        assert (reason_to_issue(LEAF, names, CA, now, 30) is not None) == due


def test_reasons_name_what_is_wrong() -> None:
    other_key = ec.generate_private_key(ec.SECP256R1())
    stranger, stranger_key = make_authority("lab", 3650, NOW)
    names = subject_names(VOTER, "lab")
    foreign = make_leaf(names, "lab", stranger, stranger_key, days=90, now=NOW)
    assert reason(LEAF) is None
    assert reason(None) == "there is none that can be read"
    assert reason(Leaf(LEAF.certificate, other_key)) == "its key belongs to another certificate"
    assert reason(foreign) == "it comes from another CA"
    assert reason(LEAF, days_later=61) == "29 days are left, fewer than 30"
    assert reason(LEAF, days_later=400) == "0 days are left, fewer than 30"
    moved = Node("hetzner-cpu1", ("192.0.2.9", "voter.example.net", "100.64.0.1"), server=True)
    assert reason(LEAF, moved) == "its names change: +192.0.2.9, -192.0.2.1"


def test_order_of_addresses_is_no_reason() -> None:
    turned = Node(VOTER.node_id, VOTER.addresses[::-1], server=True)
    assert reason(LEAF, turned) is None


def test_leaf_as_long_as_its_ca_is_not_renewed_for_ever() -> None:
    assert reason(leaf(days=9999), days_later=3649) is None


def test_revocation_list_is_read_by_openssl(tmp_path: Path) -> None:
    denied = Issued(f"{LEAF.certificate.serial_number:x}", "hetzner-cpu1", NOW + dt.timedelta(days=90))
    crl = tmp_path / "crl.pem"
    crl.write_bytes(make_crl([denied], CA, CA_KEY, NOW))
    found = openssl_verify(tmp_path, LEAF.certificate, CA, "sslclient", "-crl_check", "-CRLfile", str(crl))
    assert "certificate revoked" in found.stderr
    crl.write_bytes(make_crl([], CA, CA_KEY, NOW))
    found = openssl_verify(tmp_path, LEAF.certificate, CA, "sslclient", "-crl_check", "-CRLfile", str(crl))
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize("line", ["zz node 2026-01-01T00:00:00Z", "1f node", "1f node today", "1f a b c"])
def test_broken_log_is_refused_with_its_line(line: str) -> None:
    text = f"1f vast-1 2026-01-01T00:00:00Z\n{line}\n"
    with pytest.raises(CertificateError, match=r"^/x/issued:2: .*Restore it from the backup"):
        parse_log(text, Path("/x/issued"))


def test_log_survives_a_round_trip() -> None:
    entries = [Issued("1f", "vast-1", NOW), Issued("2f", "hetzner-1", NOW, voter=True)]
    assert parse_log("".join(entry.line() for entry in entries), Path("issued")) == entries
