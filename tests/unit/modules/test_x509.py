"""The end of certificates, compared with what the cryptography library says."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from module_utils.p2p_probe_parts import certificates
from module_utils.p2p_x509 import not_after


def certificate(ends: datetime.datetime, *, names: int = 1) -> str:
    """Issue a certificate without a common name, as the project does."""
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "p2p" * 20)])
    builder = x509.CertificateBuilder(issuer, x509.Name([]), key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(datetime.datetime(2020, 1, 1)).not_valid_after(ends)
    san = x509.SubjectAlternativeName([x509.DNSName(f"n{number}.test.p2p") for number in range(names)])
    signed = builder.add_extension(san, critical=True).sign(key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM).decode()


@pytest.mark.parametrize("year", [2021, 2049, 2050, 2120])
@pytest.mark.parametrize("names", [1, 40])
def test_the_end_is_read(year: int, names: int) -> None:
    ends = datetime.datetime(year, 3, 4, 5, 6, 7)
    expected = ends.replace(tzinfo=datetime.timezone.utc).timestamp()
    first = certificate(ends, names=names)
    assert not_after(first) == expected
    assert not_after("# a bundle\n" + first + certificate(datetime.datetime(2030, 1, 1))) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
        "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----",
        "-----BEGIN CERTIFICATE-----\nMP8=\n-----END CERTIFICATE-----",
        "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----",
    ],
)
def test_what_is_no_certificate(text: str) -> None:
    with pytest.raises(ValueError, match=r"certificate|base64|padding|character"):
        not_after(text)


def test_certificates_of_a_node(tmp_path: Path) -> None:
    good, bad = tmp_path / "node.crt", tmp_path / "other.crt"
    good.write_text(certificate(datetime.datetime(2030, 1, 1)))
    bad.write_text("x")
    paths = [str(good), str(bad), str(tmp_path / "gone.crt"), str(tmp_path / "node.key")]
    wanted = {"services": [{"files": [{"path": path} for path in paths]}] * 2}
    assert certificates(wanted) == [{"path": str(good), "not_after": 1893456000.0}]
