"""Authorities, certificates and revocation lists: made, and judged whether they may stay."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .p2p_certificate_log import Issued
from .p2p_certificate_names import CertificateError, name_texts

BACKDATE = dt.timedelta(hours=1)  # a node's clock may run behind the controller's


@dataclass(frozen=True)
class Leaf:
    """A certificate and its key as read from one file."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class Authority:
    """A CA certificate and its key as stored, which may be encrypted, or absent."""

    certificate: x509.Certificate
    key_pem: bytes | None
    path: Path

    @property
    def encrypted(self) -> bool:
        """Whether a passphrase protects the key."""
        return self.key_pem is not None and b"ENCRYPTED" in self.key_pem.splitlines()[0]

    def unlock(self, passphrase: str) -> ec.EllipticCurvePrivateKey:
        """Decrypt the key and check that it belongs to the certificate.

        Raises:
            CertificateError: the key is absent, encrypted and no passphrase is given, the passphrase
                is wrong, or the key belongs to another certificate.
        """
        if self.key_pem is None:
            raise CertificateError(
                f"{self.path} holds the CA's certificate but not its key, and something has to be signed. "
                "Restore the file from the backup, or replace the CA: -e p2p_identity_rotate=true."
            )
        encrypted = self.encrypted
        if encrypted and not passphrase:
            raise CertificateError(
                f"{self.path}: the CA's key is encrypted and something has to be signed. Give "
                "p2p_identity_passphrase (from Ansible Vault: --vault-id or --ask-vault-pass)."
            )
        try:
            key = serialization.load_pem_private_key(self.key_pem, passphrase.encode() if encrypted else None)
        except (ValueError, TypeError) as error:
            what = (
                "p2p_identity_passphrase does not open the CA's key"
                if encrypted
                else "the CA's key cannot be read"
            )
            raise CertificateError(
                f"{self.path}: {what}. Correct it, or restore the file from the backup."
            ) from error
        if (
            not isinstance(key, ec.EllipticCurvePrivateKey)
            or key.public_key() != self.certificate.public_key()
        ):
            raise CertificateError(
                f"{self.path}: the key does not belong to the certificate. Restore the file from the backup."
            )
        return key


def key_usage(*allowed: str) -> x509.KeyUsage:
    """Return a KeyUsage extension with just the named bits."""
    bits = [
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    ]
    return x509.KeyUsage(**{bit: bit in allowed for bit in bits})


def make_authority(
    cluster: str, days: int, now: dt.datetime
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """Make a self-signed CA on P-256 that may sign leaves only (RFC 5280, path length 0)."""
    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    # No common name; the serial number keeps the subjects of two generations apart, so names find the chain.
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "p2p-cluster"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, cluster),
            x509.NameAttribute(NameOID.SERIAL_NUMBER, f"{serial:x}"[:16]),
        ]
    )
    ski = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage("key_cert_sign", "crl_sign"), critical=True)
        .add_extension(ski, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ski), critical=False)
    )
    return builder.sign(key, hashes.SHA256()), key


def make_leaf(
    names: list[x509.GeneralName],
    cluster: str,
    ca: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
    *,
    days: int,
    now: dt.datetime,
) -> Leaf:
    """Make a key and a certificate for both ends of TLS, which never outlives its CA.

    etcd's gateway calls its own server with the server's certificate, hence clientAuth beside serverAuth,
    and no common name.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    ca_ski = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, cluster)]))
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(max(now - BACKDATE, ca.not_valid_before_utc))
        .not_valid_after(min(now + dt.timedelta(days=days), ca.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage("digital_signature"), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
            critical=False,
        )
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ca_ski), critical=False)
    )
    return Leaf(builder.sign(ca_key, hashes.SHA256()), key)


def make_crl(
    denied: list[Issued], ca: x509.Certificate, ca_key: ec.EllipticCurvePrivateKey, now: dt.datetime
) -> bytes:
    """Make the revocation list as PEM, valid as long as the CA: it is replaced on change only."""
    builder = x509.CertificateRevocationListBuilder().issuer_name(ca.subject).last_update(now - BACKDATE)
    builder = builder.next_update(ca.not_valid_after_utc)
    for entry in denied:
        builder = builder.add_revoked_certificate(
            x509.RevokedCertificateBuilder()
            .serial_number(int(entry.serial, 16))
            .revocation_date(now - BACKDATE)
            .build()
        )
    return builder.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def issued_by(certificate: x509.Certificate, ca: x509.Certificate) -> bool:
    """Say whether `ca` signed `certificate`."""
    try:
        certificate.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def reason_to_issue(
    leaf: Leaf | None,
    names: list[x509.GeneralName],
    ca: x509.Certificate,
    now: dt.datetime,
    renew_below_days: int,
) -> str | None:
    """Say why a leaf has to be issued anew, or None if it may stay.

    Args:
        leaf: what is there; None if nothing is, or nothing usable.
        names: what the certificate has to say.
        ca: the CA that issues now.
        now: the time to reckon from, aware.
        renew_below_days: fewer days left than this is too few.
    """
    if leaf is None:
        return "there is none that can be read"
    if leaf.key.public_key() != leaf.certificate.public_key():
        return "its key belongs to another certificate"
    if not issued_by(leaf.certificate, ca):
        return "it comes from another CA"
    left = leaf.certificate.not_valid_after_utc - now
    if (
        left < dt.timedelta(days=renew_below_days)
        and leaf.certificate.not_valid_after_utc < ca.not_valid_after_utc
    ):
        return f"{max(left.days, 0)} days are left, fewer than {renew_below_days}"
    try:
        present = name_texts(
            list(leaf.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
        )
    except x509.ExtensionNotFound:
        present = []
    wanted = name_texts(names)
    if set(present) != set(wanted):
        gone, new = sorted(set(present) - set(wanted)), sorted(set(wanted) - set(present))
        return "its names change: " + ", ".join([f"+{n}" for n in new] + [f"-{n}" for n in gone])
    return None
