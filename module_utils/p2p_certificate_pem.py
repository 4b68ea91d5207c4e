"""Certificates and keys as text, and what tells one from another."""

from __future__ import annotations

import re

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

# No block holds the beginning of another: so what begins often and never ends is read once.
PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----\r?\n(?:(?!-----BEGIN ).)*?-----END \1-----\r?\n?", re.DOTALL)


def fingerprint(certificate: x509.Certificate) -> str:
    """Return a certificate's SHA-256 fingerprint in hexadecimal."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def serial_text(certificate: x509.Certificate) -> str:
    """Return a certificate's serial number as the deny-list writes it."""
    return f"{certificate.serial_number:x}"


def certificate_pem(certificate: x509.Certificate) -> bytes:
    """Return a certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def key_pem(key: ec.EllipticCurvePrivateKey, passphrase: str = "") -> bytes:
    """Return a key as PKCS #8 PEM, encrypted if there is a passphrase."""
    how: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        how = serialization.BestAvailableEncryption(passphrase.encode())
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)


def blocks(data: bytes) -> tuple[list[bytes], bytes | None]:
    """Split PEM data into its certificates and its private key, if any."""
    certificates, key = [], None
    for match in PEM.finditer(data):
        if match[1] == b"CERTIFICATE":
            certificates.append(match[0])
        elif match[1].endswith(b"PRIVATE KEY"):
            key = match[0]
    return certificates, key
