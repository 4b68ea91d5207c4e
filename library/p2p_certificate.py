#!/usr/bin/python
"""Keep the cluster's certificate authority and one leaf certificate a node, on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: p2p_certificate
short_description: Keep the cluster's CA and one leaf certificate a node, in one directory on the controller
description:
  - Runs once on the controller for all nodes of a play. Makes what is missing, renews what runs out.
  - Nothing that it returns or shows as a diff holds a private key; callers read keys from RV(nodes.file).
  - In check mode it reads the same files and decides the same things, and writes nothing.
options:
  state_dir:
    description: Directory of the CA and the leaves. Mode 0700, files 0600, owned by the user who runs this.
    type: path
    required: true
  cluster:
    description: Name of the cluster, a DNS label. A directory belongs to one cluster.
    type: str
    required: true
  passphrase:
    description: Encrypts the CA's key; an existing plain key is encrypted. Empty means none.
    type: str
    default: ""
  nodes:
    description: The nodes that need a leaf.
    type: list
    elements: dict
    default: []
    suboptions:
      node_id:
        description: Name of the node; a DNS label that may hold underscores.
        type: str
        required: true
      addresses:
        description: Addresses, host names or URLs under which a voter is reached. Used for voters only.
        type: list
        elements: str
        default: []
      server:
        description: Whether others connect to this node by TLS, that is, whether it is a voter.
        type: bool
        default: false
  removed:
    description: Nodes whose unexpired certificates, old ones included, are revoked.
    type: list
    elements: str
    default: []
  seen:
    description: For each node that already has a CA bundle, the SHA-256 of that file. A bundle that never
      came from O(state_dir) is refused.
    type: dict
    default: {}
  adopt:
    description: PEM of the CA bundle that the nodes trust now, to take a cluster over with O(rotate=start).
    type: str
    default: ""
  ca_days:
    description: Validity of a new CA.
    type: int
    default: 3650
  leaf_days:
    description: Validity of a new leaf.
    type: int
    default: 90
  renew_below_days:
    description: A leaf with fewer days left is issued anew.
    type: int
    default: 30
  rotate:
    description:
      - V(start) makes the next CA, which nodes are to trust beside the present one.
      - V(switch) issues all leaves from the next CA; both stay trusted.
      - V(finish) stops trusting the old one.
      - Each does nothing when it is done already. V(none) leaves the stage as it is.
    type: str
    choices: [none, start, switch, finish]
    default: none
  lock_seconds:
    description: How long to wait for another run that holds the directory.
    type: int
    default: 60
author: p2p-cluster
"""

EXAMPLES = r"""
- name: Every node of this play has a certificate on the controller
  p2p_certificate:
    state_dir: ~/.config/p2p-cluster/p2p
    cluster: p2p
    nodes:
      - {node_id: hetzner-cpu1, server: true, addresses: [192.0.2.1]}
      - {node_id: vast-1}
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
nodes:
  description: By node id, C(file) (PEM of the certificate, then its key; null while there is none),
    C(pending) (true if check mode would issue it), C(changed), C(reason), C(serial), C(not_after), C(names).
  returned: success
  type: dict
ca_bundle:
  description: PEM of every CA that is trusted; in check mode a stable placeholder where it would change.
  returned: success
  type: str
ca_bundle_sha256:
  description: Digest of RV(ca_bundle) as a file.
  returned: success
  type: str
stage:
  description: V(steady), V(trust) (the next CA is trusted, not used) or V(overlap) (it is used, the old one
    still trusted).
  returned: success
  type: str
crl:
  description: PEM of the revocation list, for etcd.
  returned: success
  type: str
denied:
  description: The same as text, one serial in lower-case hexadecimal a line, the node behind a hash.
  returned: success
  type: str
ca_not_after:
  description: When the CA that issues runs out.
  returned: success
  type: str
issued:
  description: Names of the nodes that got, or would get, a new certificate.
  returned: success
  type: list
  elements: str
"""

import datetime as dt
import fcntl
import hashlib
import ipaddress
import os
import re
import stat
import tempfile
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    HAS_CRYPTOGRAPHY = True
except ImportError:
    HAS_CRYPTOGRAPHY = False

LABEL = re.compile(r"(?i)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
HOST = re.compile(
    r"(?i)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*"
)
PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----\r?\n.*?-----END \1-----\r?\n?", re.DOTALL)
TEMPORARY = ".new-"
BACKDATE = dt.timedelta(hours=1)  # a node's clock may run behind the controller's
CA_WARNING_DAYS = 365
NEW_BUNDLE = "(would be: the CA bundle of cluster {cluster} after this run)\n"
NEW_CRL = "(would be: the revocation list of cluster {cluster} after this run)\n"


class CertificateError(Exception):
    """A refusal: what is wrong, where, and what to do."""


@dataclass(frozen=True)
class Node:
    """One node that needs a leaf; `addresses` as the fleet file gives them."""

    node_id: str
    addresses: tuple[str, ...] = ()
    server: bool = False


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


def check_label(what: str, value: str) -> str:
    """Return `value` if it can stand in a DNS name (RFC 1035 label; TLS libraries allow underscores).

    Raises:
        CertificateError: it cannot; the message names the value and the remedy.
    """
    if not LABEL.fullmatch(value):
        raise CertificateError(
            f"{what} {value!r} cannot be part of a certificate's name: 1 to 63 letters, digits, '-' or '_', "
            "no dot, no '-' at either end. Rename it in the fleet file."
        )
    return value


def check_nodes(nodes: list[Node], cluster: str) -> None:
    """Refuse names that no certificate can carry, and two nodes that one name would stand for.

    Raises:
        CertificateError: for the first offending name.
    """
    check_label("Cluster name", cluster)
    known: dict[str, str] = {}
    for node in nodes:
        other = known.setdefault(check_label("Node name", node.node_id).lower(), node.node_id)
        if other is not node.node_id:
            raise CertificateError(
                f"Nodes {other!r} and {node.node_id!r} would share a certificate name: upper and lower case "
                "are one there. Rename one of them in the fleet file."
            )


def node_name(node_id: str, cluster: str) -> str:
    """Return the DNS name by which a node is known to the others."""
    return f"{node_id}.{cluster}.p2p"


def voter_name(cluster: str) -> str:
    """Return the DNS name that only voters carry; etcd admits no peer without it.

    Two labels before the cluster's, so that no node can have it as its own name.
    """
    return f"etcd.voters.{cluster}.p2p"


def host_of(address: str) -> str:
    """Reduce a URL, `host:port`, `[v6]:port` or address to its host, lower-cased.

    Raises:
        CertificateError: no host can be found in it.
    """
    text = address.strip()
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        pass
    try:
        host = urllib.parse.urlsplit(text if "://" in text else f"//{text}").hostname or ""
    except ValueError:
        host = ""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        if len(host) <= 253 and HOST.fullmatch(host):  # noqa: PLR2004 - the longest DNS name
            return host
    raise CertificateError(
        f"{address!r} is neither an address, a host name nor a URL. Correct it in the fleet file."
    )


def subject_names(node: Node, cluster: str) -> list[x509.GeneralName]:
    """Work out the names of a node's certificate: its own first, for a voter also every way to reach it.

    Raises:
        CertificateError: an address of a voter cannot be read; the message names the node.
    """
    names: list[x509.GeneralName] = [x509.DNSName(node_name(node.node_id, cluster))]
    if not node.server:
        return names
    names += [x509.DNSName(voter_name(cluster)), x509.DNSName("localhost")]
    try:
        hosts = sorted({host_of(a) for a in node.addresses if a.strip()} | {"127.0.0.1"})
    except CertificateError as error:
        raise CertificateError(f"Node {node.node_id!r}: {error}") from error
    known = {"localhost", *name_texts(names)}
    return names + [as_name(host) for host in hosts if host not in known]


def as_name(host: str) -> x509.GeneralName:
    """Return an address or a host name as a certificate carries it."""
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def name_texts(names: list[x509.GeneralName]) -> list[str]:
    """Return names as text, in their order."""
    return [str(n.value) for n in names]


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


@dataclass(frozen=True)
class Issued:
    """A line of the log of certificates: what may still be out there."""

    serial: str
    node_id: str
    not_after: dt.datetime

    def line(self) -> str:
        """Return the line as written."""
        return f"{self.serial} {self.node_id} {self.not_after:%Y-%m-%dT%H:%M:%SZ}\n"


def parse_log(text: str, path: Path) -> list[Issued]:
    """Read a log of certificates.

    Raises:
        CertificateError: a line has another form; the message names file and line.
    """
    entries = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            serial, node_id, until = line.split()
            int(serial, 16)
            not_after = dt.datetime.strptime(until, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=dt.timezone.utc)
        except ValueError as error:
            raise CertificateError(
                f"{path}:{number}: expected 'serial node date', found {line!r}. Restore it from the backup."
            ) from error
        entries.append(Issued(serial, node_id, not_after))
    return entries


def blocks(data: bytes) -> tuple[list[bytes], bytes | None]:
    """Split PEM data into its certificates and its private key, if any."""
    certificates, key = [], None
    for match in PEM.finditer(data):
        if match[1] == b"CERTIFICATE":
            certificates.append(match[0])
        elif match[1].endswith(b"PRIVATE KEY"):
            key = match[0]
    return certificates, key


class Store:
    """The directory: reads, and writes whole files by rename, under a lock on the directory itself.

    Args:
        root: the directory.
        writable: False in check mode, where nothing is made.
    """

    def __init__(self, root: Path, *, writable: bool) -> None:
        self.root = root
        self.writable = writable
        self.leaves = root / "leaves"
        self._lock: int | None = None

    def open(self, seconds: float) -> None:
        """Make the directory if need be, check who can enter it, and lock it.

        Raises:
            CertificateError: others can enter it, it belongs to someone else, it is no directory, or another
                run holds it for longer than `seconds`.
        """
        try:
            if self.writable:
                self._make(self.leaves)
            if not self.root.exists():
                return
            for folder in (self.root, self.leaves):
                if folder.exists():
                    self._check(folder)
            self._lock = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise CertificateError(
                f"{error.filename or self.root}: {error.strerror}. Make it a folder of your own (chmod 700 "
                f"{self.root}), or set P2P_STATE_DIR elsewhere."
            ) from error
        self._wait(seconds)
        if self.writable:
            for folder in (self.root, self.leaves):
                for left_over in folder.glob(TEMPORARY + "*"):
                    left_over.unlink()

    def close(self) -> None:
        """Let the next run in."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def read(self, path: Path) -> bytes | None:
        """Return a file's content, None if it is not there.

        Raises:
            CertificateError: it cannot be read, or others can read it.
        """
        try:
            with path.open("rb") as file:
                if os.fstat(file.fileno()).st_mode & 0o077:
                    raise CertificateError(f"{path}: others can read this file. Run: chmod 600 {path}")
                return file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CertificateError(
                f"{path}: {error.strerror}. Run: chmod 600 {path}, as its owner."
            ) from error

    def write(self, path: Path, data: bytes, *, durable: bool = True) -> None:
        """Replace a file in one step; `durable` waits until the disk has it.

        A leaf is not worth the wait: one lost to a power cut is issued again.

        Raises:
            CertificateError: it cannot be written; what was there before is untouched.
        """
        try:
            handle, name = tempfile.mkstemp(prefix=TEMPORARY, dir=path.parent)  # mkstemp makes it 0600
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            Path(name).replace(path)
            if durable:
                folder = os.open(path.parent, os.O_RDONLY)
                try:
                    os.fsync(folder)
                finally:
                    os.close(folder)
        except OSError as error:
            raise CertificateError(f"{path} cannot be written: {error.strerror}.") from error

    def _make(self, folder: Path) -> None:
        """Make a folder and the missing ones above it, for this user alone."""
        missing = [f for f in (folder, *folder.parents) if not f.exists()]
        for each in reversed(missing):
            each.mkdir(mode=0o700, exist_ok=True)

    def _check(self, folder: Path) -> None:
        """Refuse a folder that others own or can enter."""
        info = folder.stat()
        if not stat.S_ISDIR(info.st_mode):
            raise CertificateError(f"{folder} is not a folder. Set P2P_STATE_DIR elsewhere.")
        if info.st_uid != os.getuid():
            raise CertificateError(
                f"{folder} belongs to user {info.st_uid}, and this runs as {os.getuid()}. "
                f"Run: chown -R {os.getuid()} {folder}"
            )
        if info.st_mode & 0o077:
            raise CertificateError(
                f"{folder} has mode {stat.S_IMODE(info.st_mode):04o}: others can enter it. "
                f"Run: chmod 700 {folder}"
            )

    def _wait(self, seconds: float) -> None:
        """Take the lock, exclusively to write and shared to look."""
        how = (fcntl.LOCK_EX if self.writable else fcntl.LOCK_SH) | fcntl.LOCK_NB
        until = time.monotonic() + seconds
        while not self._try_lock(how):
            if time.monotonic() > until:
                self.close()
                raise CertificateError(
                    f"{self.root}: another run has held it for {seconds:g} s. Run this again when it ended."
                )
            time.sleep(0.1)

    def _try_lock(self, how: int) -> bool:
        assert self._lock is not None  # noqa: S101 - for the type checker; open() has just set it
        try:
            fcntl.flock(self._lock, how)
        except BlockingIOError:
            return False
        return True


@dataclass
class State:
    """What the directory says; all of it is read before anything is decided."""

    ca: Authority | None
    next_ca: Authority | None
    previous: list[x509.Certificate]
    log: list[Issued]
    denied: list[Issued]
    history: set[str]
    crl: bytes | None
    has_leaves: bool

    @property
    def stage(self) -> str:
        """Where a rotation stands."""
        if self.next_ca is not None:
            return "trust"
        return "overlap" if self.previous else "steady"

    def trusted(self) -> list[x509.Certificate]:
        """Return every CA that nodes are to trust."""
        return [a.certificate for a in (self.ca, self.next_ca) if a is not None] + self.previous

    def bundle(self) -> bytes:
        """Return every trusted CA as PEM, oldest first: the file stays the same when the issuer changes."""
        unique = {fingerprint(c): c for c in self.trusted()}
        ordered = sorted(unique.items(), key=lambda item: (item[1].not_valid_before_utc, item[0]))
        return b"".join(certificate_pem(c) for _, c in ordered)


@dataclass
class Settings:
    """The module's parameters, checked."""

    cluster: str
    nodes: list[Node]
    passphrase: str = ""
    removed: list[str] = field(default_factory=list)
    seen: dict[str, str] = field(default_factory=dict)
    adopt: str = ""
    ca_days: int = 3650
    leaf_days: int = 90
    renew_below_days: int = 30
    rotate: str = "none"

    def check(self) -> None:
        """Refuse settings that contradict each other.

        Raises:
            CertificateError: for the first contradiction.
        """
        check_nodes(self.nodes, self.cluster)
        if not 0 < self.renew_below_days < self.leaf_days < self.ca_days:
            raise CertificateError(
                f"renew_below_days ({self.renew_below_days}) must be above 0 and below leaf_days "
                f"({self.leaf_days}), and that below ca_days ({self.ca_days})."
            )
        both = sorted({n.node_id for n in self.nodes} & set(self.removed))
        if both:
            raise CertificateError(
                f"{', '.join(both)}: to be removed and to be kept at once. Take it out of one list."
            )


@dataclass(frozen=True)
class Wanted:
    """What one node needs: `reason` says why a new leaf, None if the present one may stay."""

    node: Node
    names: list[x509.GeneralName]
    leaf: Leaf | None
    reason: str | None


class Directory:
    """One run over the directory: decide on what is there, then write.

    Args:
        store: the opened directory.
        settings: what is wanted.
        now: the time to reckon from, aware.
    """

    def __init__(self, store: Store, settings: Settings, now: dt.datetime) -> None:
        self.store = store
        self.settings = settings
        self.now = now.replace(microsecond=0)
        self.warnings: list[str] = []
        self.before: dict[str, str] = {}
        self.after: dict[str, str] = {}
        self._creates: set[str] = set()
        self._steps: list[Callable[[], object]] = []
        self.state = self._load()

    def run(self) -> dict[str, Any]:
        """Do what is wanted, or only work out what would be done.

        Returns:
            The module's result, without any private key.

        Raises:
            CertificateError: something is refused; all that can be is before the first file is written.
        """
        self._refuse_stranger()
        old_bundle = self.state.bundle()
        self._plan_authority()
        self._plan_encryption()
        wanted = [self._want(node) for node in self.settings.nodes]
        revoked = self._plan_revocation()
        new_crl = self._crl_serials() != {d.serial for d in self.state.denied}
        signer = self.state.ca or self.state.next_ca
        key = None
        if signer is not None and (new_crl or any(w.reason for w in wanted)):
            key = signer.unlock(
                self.settings.passphrase
            )  # a wrong passphrase ends the run here, in check mode too
        self._warn()
        if self.store.writable:
            for step in self._steps:
                step()
            if key is not None and signer is not None:
                wanted = self._issue(wanted, signer.certificate, key)
                if new_crl:
                    self._write_crl(signer.certificate, key)
        return self._result(wanted, revoked, old_bundle, new_crl=new_crl)

    # --- reading

    def _path(self, name: str) -> Path:
        return self.store.root / name

    def _load(self) -> State:
        history = self.store.read(self._path("bundles")) or b""
        previous = self._certificates(self._path("previous.pem"))
        return State(
            ca=self._authority("ca.pem"),
            next_ca=self._authority("next.pem"),
            previous=previous,
            log=self._log("issued"),
            denied=self._log("denied"),
            history=set(history.decode().split()),
            crl=self.store.read(self._path("crl.pem")),
            has_leaves=self.store.leaves.is_dir() and any(self.store.leaves.glob("*.pem")),
        )

    def _log(self, name: str) -> list[Issued]:
        data = self.store.read(self._path(name)) or b""
        return parse_log(data.decode(errors="replace"), self._path(name))

    def _certificates(self, path: Path) -> list[x509.Certificate]:
        return self._parse_cas(self.store.read(path) or b"", str(path))

    def _parse_cas(self, data: bytes, where: str) -> list[x509.Certificate]:
        try:
            cas = [x509.load_pem_x509_certificate(c) for c in blocks(data)[0]]
            proper = all(c.extensions.get_extension_for_class(x509.BasicConstraints).value.ca for c in cas)
        except (ValueError, x509.ExtensionNotFound) as error:
            raise CertificateError(f"{where} cannot be read: {error}. Restore it from the backup.") from error
        if not proper:
            raise CertificateError(f"{where} holds what is not a CA certificate. Restore it from the backup.")
        for ca in cas:
            owner = [
                str(a.value) for a in ca.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
            ]
            if owner != [self.settings.cluster]:
                raise CertificateError(
                    f"{where} belongs to cluster {', '.join(owner) or 'none'}, not {self.settings.cluster}. "
                    "Set P2P_STATE_DIR to this cluster's own directory, or p2p_cluster to its name."
                )
        return cas

    def _authority(self, name: str) -> Authority | None:
        path = self._path(name)
        data = self.store.read(path)
        if data is None:
            return None
        cas = self._parse_cas(data, str(path))
        if len(cas) != 1:
            raise CertificateError(
                f"{path} holds {len(cas)} certificates instead of one. Restore it from the backup."
            )
        return Authority(cas[0], blocks(data)[1], path)

    def _leaf(self, node_id: str) -> Leaf | None:
        data = self.store.read(self._leaf_path(node_id))
        certificates, key_data = blocks(data or b"")
        if not certificates or key_data is None:
            return None
        try:
            key = serialization.load_pem_private_key(key_data, None)
            certificate = x509.load_pem_x509_certificate(certificates[0])
        except (ValueError, TypeError):
            return None
        return Leaf(certificate, key) if isinstance(key, ec.EllipticCurvePrivateKey) else None

    def _leaf_path(self, node_id: str) -> Path:
        return self.store.leaves / f"{node_id}.pem"

    def _crl_serials(self) -> set[str] | None:
        """Return the serials that the present revocation list names, None if it cannot be read."""
        try:
            return {f"{entry.serial_number:x}" for entry in x509.load_pem_x509_crl(self.state.crl or b"")}
        except ValueError:
            return None

    # --- deciding

    def _refuse_stranger(self) -> None:
        """Refuse a cluster that carries a bundle which never came from this directory."""
        strangers = sorted(n for n, digest in self.settings.seen.items() if digest not in self.state.history)
        if not strangers or self._takes_over():
            return
        shown = 5
        names = ", ".join(strangers[:shown])
        if len(strangers) > shown:
            names += f" and {len(strangers) - shown} more"
        whose = "another CA" if self.state.history else "a CA, and this controller has none"
        raise CertificateError(
            f"{names}: already under {whose} (in {self.store.root}). Nothing was changed. Copy that "
            "directory from the controller that deployed there and set P2P_STATE_DIR to it; or, if lost, "
            "replace the CA: -e p2p_identity_rotate=true."
        )

    def _takes_over(self) -> bool:
        return self.settings.rotate == "start" and bool(self.settings.adopt)

    def _plan_authority(self) -> None:
        """Plan the writes that bring the CAs to the wanted stage, and set `state` as it will be."""
        rotate, state = self.settings.rotate, self.state
        if state.ca is None and state.next_ca is None:
            self._begin()
        elif rotate == "start" and state.stage == "steady":
            self._refuse_second_ca()
            self._create("next.pem")
        elif rotate == "switch" and state.stage == "trust":
            self._switch()
        elif rotate == "finish" and state.stage == "overlap" and state.ca is not None:
            self._finish()
        elif rotate == "switch" and state.stage == "steady":
            raise CertificateError(
                "There is no rotation under way. Begin with -e p2p_identity_rotate=start on every node."
            )
        elif rotate == "finish" and state.stage == "trust":
            raise CertificateError(
                "The next CA is not in use yet. First -e p2p_identity_rotate=switch, deploying to every node."
            )

    def _begin(self) -> None:
        """Plan the first CA of a blank directory, beside that of the nodes if a cluster is taken over."""
        if self._takes_over():
            self._adopt()
            self._create("next.pem")
            return
        if self.state.has_leaves or self.state.log:
            raise CertificateError(
                f"{self._path('ca.pem')} is missing, though {self.store.root} holds certificates it signed. "
                "Restore it from the backup; or, if it is lost, replace the CA while a voter is in reach: "
                "-e p2p_identity_rotate=true."
            )
        if self.settings.rotate in ("switch", "finish"):
            raise CertificateError(
                f"There is no CA in {self.store.root} to rotate. Deploy without p2p_identity_rotate."
            )
        self._create("ca.pem")

    def _refuse_second_ca(self) -> None:
        """Refuse to take over a cluster from a directory that has a CA of its own."""
        held = {fingerprint(c) for c in self.state.trusted()}
        foreign = self._parse_cas(self.settings.adopt.encode(), "The CA bundle on the nodes")
        if any(fingerprint(c) not in held for c in foreign):
            raise CertificateError(
                f"{self.store.root} has a CA already, and the nodes trust another. To take them over, move "
                f"that directory away (mv {self.store.root} {self.store.root}.old) and run this again."
            )

    def _create(self, name: str) -> None:
        path = self._path(name)
        self._note(name, None, f"a new CA on P-256 for {self.settings.ca_days} days")
        self._creates.add(name)
        if not self.store.writable:
            return
        certificate, key = make_authority(self.settings.cluster, self.settings.ca_days, self.now)
        data = certificate_pem(certificate) + key_pem(key, self.settings.passphrase)
        authority = Authority(certificate, blocks(data)[1], path)
        if name == "next.pem":
            self.state.next_ca = authority
        else:
            self.state.ca = authority
        self._steps.append(lambda: self.store.write(path, data))

    def _adopt(self) -> None:
        """Plan to trust the CA of the nodes until the rotation ends."""
        adopted = self._parse_cas(self.settings.adopt.encode(), "The CA bundle on the nodes")
        if not adopted:
            raise CertificateError(
                "p2p_identity_adopt holds no certificate. Give the content of a voter's ca.crt."
            )
        self.state.previous = adopted
        # Also for nodes that this run does not reach: the operator has just said that they are ours now.
        self.state.history |= set(self.settings.seen.values())
        self.state.history.add(hashlib.sha256(self.settings.adopt.encode()).hexdigest())
        for ca in adopted:
            self._note(f"previous.pem {fingerprint(ca)[:16]}", None, "trusted until the rotation ends")
        self._steps += [self._write_previous, self._write_history]

    def _switch(self) -> None:
        old, new = self.state.ca, self.state.next_ca
        assert new is not None  # noqa: S101 - for the type checker; the stage says so
        self._refuse_switch_too_early()
        if old is not None:
            self.state.previous = [c for c in self.state.previous if c != old.certificate] + [old.certificate]
            self._steps.append(self._write_previous)
        source, target = new.path, self._path("ca.pem")
        before = f"CA {fingerprint(old.certificate)}" if old else None
        self._note("ca.pem", before, f"CA {fingerprint(new.certificate)}")
        self.state.ca, self.state.next_ca = Authority(new.certificate, new.key_pem, target), None
        self._steps.append(lambda: source.replace(target))

    def _refuse_switch_too_early(self) -> None:
        """Refuse to issue from a CA that a voter, as far as it was seen, does not trust yet."""
        bundle = hashlib.sha256(self.state.bundle()).hexdigest()
        behind = [n.node_id for n in self.settings.nodes if n.server]
        behind = [n for n in behind if self.settings.seen.get(n, bundle) != bundle]
        if behind:
            raise CertificateError(
                f"{', '.join(behind)}: does not trust the next CA yet. "
                "First -e p2p_identity_rotate=start on every voter."
            )

    def _finish(self) -> None:
        for ca in self.state.previous:
            self._note(f"previous.pem {fingerprint(ca)[:16]}", "trusted until the rotation ends", None)
        self.state.previous = []
        self._steps.append(self._path("previous.pem").unlink)

    def _want(self, node: Node) -> Wanted:
        """Work out whether a node needs a new leaf, and why."""
        names = subject_names(node, self.settings.cluster)
        leaf, ca = self._leaf(node.node_id), self.state.ca
        reason: str | None = None
        if ca is not None and (ca.certificate.not_valid_after_utc > self.now or not self._rotating()):
            self._refuse_expired(ca)
            reason = reason_to_issue(leaf, names, ca.certificate, self.now, self.settings.renew_below_days)
        elif "ca.pem" in self._creates:
            reason = "there is none that can be read"
        # Else a cluster is being taken over: its nodes keep their leaves until they trust the next CA.
        if reason is not None:
            before = None
            if leaf is not None:
                until = f"{leaf.certificate.not_valid_after_utc:%Y-%m-%d}"
                before = f"SHA-256 {fingerprint(leaf.certificate)}, until {until}"
            after = f"new, {self.settings.leaf_days} days, {', '.join(name_texts(names))}; because {reason}"
            self._note(f"leaves/{node.node_id}.pem", before, after)
        return Wanted(node, names, leaf, reason)

    def _rotating(self) -> bool:
        return self.state.next_ca is not None or "next.pem" in self._creates

    def _refuse_expired(self, ca: Authority) -> None:
        until = ca.certificate.not_valid_after_utc
        if until <= self.now:
            raise CertificateError(
                f"{ca.path}: the CA ran out on {until:%Y-%m-%d}. -e p2p_identity_rotate=true replaces it."
            )

    def _warn(self) -> None:
        ca = self.state.ca
        if ca is not None and not self._rotating():
            left = (ca.certificate.not_valid_after_utc - self.now).days
            if left < min(CA_WARNING_DAYS, self.settings.ca_days // 2):
                self.warnings.append(
                    f"The CA in {ca.path} has {left} days left, and no certificate outlives it. Rotate it: "
                    "-e p2p_identity_rotate=start."
                )
        tree = next((p for p in (self.store.root, *self.store.root.parents) if (p / ".git").exists()), None)
        if tree is not None:
            self.warnings.append(
                f"{self.store.root} lies in the git work tree {tree}: keep these keys out of git."
            )

    def _plan_revocation(self) -> list[Issued]:
        """Plan to deny every unexpired certificate of the removed nodes, renewed ones included."""
        denied = {d.serial for d in self.state.denied}
        removed = set(self.settings.removed)
        found = [
            e
            for e in self.state.log
            if e.node_id in removed and e.serial not in denied and e.not_after > self.now
        ]
        for entry in found:
            self._note(f"denied {entry.serial}", None, f"a certificate of {entry.node_id}")
        if found:
            self.state.denied = [d for d in self.state.denied if d.not_after > self.now] + found
            text = "".join(d.line() for d in self.state.denied).encode()
            self._steps.append(lambda: self.store.write(self._path("denied"), text))
        for node_id in removed:
            leaf = self._leaf_path(check_label("Node name", node_id))
            if leaf.exists():
                self._note(f"leaves/{leaf.name}", "held", None)
                self._steps.append(leaf.unlink)
        return found

    def _plan_encryption(self) -> None:
        """Plan to encrypt the plain key of a CA that a passphrase is to protect from now on."""
        held = (
            [a for a in (self.state.ca, self.state.next_ca) if a is not None]
            if self.settings.passphrase
            else []
        )
        for authority in held:
            if authority.key_pem is None or authority.encrypted:
                continue
            self._note(f"{authority.path.name} key", "plain", "encrypted")
            key = authority.unlock("")
            data = certificate_pem(authority.certificate) + key_pem(key, self.settings.passphrase)
            self._steps.append(partial(self.store.write, authority.path, data))

    def _note(self, item: str, before: str | None, after: str | None) -> None:
        if before is not None:
            self.before[item] = before
        if after is not None:
            self.after[item] = after

    # --- writing

    def _write_previous(self) -> None:
        data = b"".join(certificate_pem(c) for c in self.state.previous)
        self.store.write(self._path("previous.pem"), data)

    def _write_history(self) -> None:
        self.store.write(
            self._path("bundles"), "".join(f"{d}\n" for d in sorted(self.state.history)).encode()
        )

    def _issue(
        self, wanted: list[Wanted], ca: x509.Certificate, ca_key: ec.EllipticCurvePrivateKey
    ) -> list[Wanted]:
        """Issue what has a reason, and return all with the leaves that they have now."""
        cluster, days = self.settings.cluster, self.settings.leaf_days
        made = [
            replace(w, leaf=make_leaf(w.names, cluster, ca, ca_key, days=days, now=self.now))
            if w.reason
            else w
            for w in wanted
        ]
        new = [(w.node.node_id, w.leaf) for w in made if w.reason and w.leaf]
        if new:
            # The log first: no certificate may be out there that a removal could not name.
            self.state.log = [e for e in self.state.log if e.not_after > self.now]
            for node_id, leaf in new:
                until = leaf.certificate.not_valid_after_utc
                self.state.log.append(Issued(serial_text(leaf.certificate), node_id, until))
            self.store.write(self._path("issued"), "".join(e.line() for e in self.state.log).encode())
        for node_id, leaf in new:
            data = certificate_pem(leaf.certificate) + key_pem(leaf.key)
            self.store.write(self._leaf_path(node_id), data, durable=False)
        return made

    def _write_crl(self, ca: x509.Certificate, ca_key: ec.EllipticCurvePrivateKey) -> None:
        self.state.crl = make_crl(self.state.denied, ca, ca_key, self.now)
        self.store.write(self._path("crl.pem"), self.state.crl)

    def _entry(self, wanted: Wanted) -> dict[str, Any]:
        """Return the result's entry for one node; a leaf to come has neither file nor serial."""
        pending = wanted.reason is not None and not self.store.writable
        certificate = wanted.leaf.certificate if wanted.leaf and not pending else None
        return {
            "file": str(self._leaf_path(wanted.node.node_id)) if certificate else None,
            "pending": pending,
            "changed": wanted.reason is not None,
            "reason": wanted.reason,
            "serial": serial_text(certificate) if certificate else None,
            "not_after": f"{certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}" if certificate else None,
            "names": name_texts(wanted.names),
        }

    def _result(
        self, wanted: list[Wanted], revoked: list[Issued], old_bundle: bytes, *, new_crl: bool
    ) -> dict[str, Any]:
        cluster, state = self.settings.cluster, self.state
        unknown = bool(self._creates) and not self.store.writable
        bundle = NEW_BUNDLE.format(cluster=cluster) if unknown else state.bundle().decode()
        crl = (
            NEW_CRL.format(cluster=cluster)
            if new_crl and not self.store.writable
            else (state.crl or b"").decode()
        )
        digest = hashlib.sha256(bundle.encode()).hexdigest()
        if self.store.writable and digest not in state.history:
            state.history.add(digest)
            self._write_history()
        signer = state.ca or state.next_ca
        return {
            "changed": bool(self.after or self.before),
            "nodes": {w.node.node_id: self._entry(w) for w in wanted},
            "issued": [w.node.node_id for w in wanted if w.reason],
            "revoked": [r.serial for r in revoked],
            "ca_bundle": bundle,
            "ca_bundle_sha256": digest,
            "ca_bundle_changed": unknown or bundle.encode() != old_bundle,
            "ca_not_after": f"{signer.certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"
            if signer
            else None,
            "stage": "trust" if self._rotating() else state.stage,
            "crl": crl,
            "denied": "".join(
                f"{d.serial}  # {d.node_id}\n" for d in sorted(state.denied, key=lambda d: d.serial)
            ),
            "diff": {
                "before_header": str(self.store.root),
                "after_header": str(self.store.root),
                "before": "".join(f"{k}: {v}\n" for k, v in sorted(self.before.items())),
                "after": "".join(f"{k}: {v}\n" for k, v in sorted(self.after.items())),
            },
        }


def settings_of(params: dict[str, Any]) -> Settings:
    """Turn the module's parameters into checked settings.

    Raises:
        CertificateError: they contradict each other.
    """
    nodes = [Node(n["node_id"], tuple(n["addresses"] or ()), bool(n["server"])) for n in params["nodes"]]
    settings = Settings(
        cluster=params["cluster"],
        nodes=nodes,
        passphrase=params["passphrase"] or "",
        removed=list(params["removed"]),
        seen={str(k): str(v) for k, v in params["seen"].items() if v},
        adopt=params["adopt"] or "",
        ca_days=params["ca_days"],
        leaf_days=params["leaf_days"],
        renew_below_days=params["renew_below_days"],
        rotate=params["rotate"],
    )
    settings.check()
    return settings


def run(params: dict[str, Any], *, check_mode: bool, now: dt.datetime) -> tuple[dict[str, Any], list[str]]:
    """Do the module's work without Ansible.

    Args:
        params: as in DOCUMENTATION, with every default filled in.
        check_mode: write nothing.
        now: the time to reckon from, aware.

    Returns:
        The result and the warnings.

    Raises:
        CertificateError: something is refused.
    """
    settings = settings_of(params)
    store = Store(Path(params["state_dir"]).expanduser().absolute(), writable=not check_mode)
    store.open(params["lock_seconds"])
    try:
        directory = Directory(store, settings, now)
        return directory.run(), directory.warnings
    except OSError as error:
        raise CertificateError(
            f"{error.filename or store.root}: {error.strerror}. Nothing half-made is left."
        ) from error
    finally:
        store.close()


def arguments() -> dict[str, Any]:
    """Return the module's argument specification."""
    node = {
        "node_id": {"type": "str", "required": True},
        "addresses": {"type": "list", "elements": "str", "default": []},
        "server": {"type": "bool", "default": False},
    }
    return {
        "state_dir": {"type": "path", "required": True},
        "cluster": {"type": "str", "required": True},
        "passphrase": {"type": "str", "default": "", "no_log": True},
        "nodes": {"type": "list", "elements": "dict", "default": [], "options": node},
        "removed": {"type": "list", "elements": "str", "default": []},
        "seen": {"type": "dict", "default": {}},
        "adopt": {"type": "str", "default": ""},
        "ca_days": {"type": "int", "default": 3650},
        "leaf_days": {"type": "int", "default": 90},
        "renew_below_days": {"type": "int", "default": 30},
        "rotate": {"type": "str", "default": "none", "choices": ["none", "start", "switch", "finish"]},
        "lock_seconds": {"type": "int", "default": 60},
    }


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(argument_spec=arguments(), supports_check_mode=True)
    if not HAS_CRYPTOGRAPHY:
        module.fail_json(msg=missing_required_lib("cryptography"))
    try:
        result, warnings = run(
            module.params, check_mode=module.check_mode, now=dt.datetime.now(dt.timezone.utc)
        )
    except CertificateError as error:
        module.fail_json(msg=str(error))
    for warning in warnings:
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
