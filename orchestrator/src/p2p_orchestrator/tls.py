"""Mutual TLS from three files, read again when they change, and the list of those who are shut out."""

import ssl
import time
from asyncio import sslproto
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from p2p_orchestrator import log
from p2p_orchestrator.config import TlsFiles
from p2p_orchestrator.errors import Exit, StartError
from p2p_orchestrator.stamp import Stamp, stamp

Refuse = Callable[[str, str], None]
NO_CERTIFICATE = "PEER_DID_NOT_RETURN_A_CERTIFICATE"
BUFFER_BYTES = 32 * 1024
EXPIRED = 10  # X509_V_ERR_CERT_HAS_EXPIRED


def spare_memory() -> None:
    """Make asyncio's TLS connections hold buffers of two records, not of 256 KiB: a voter holds thousands."""
    sslproto.SSLProtocol.max_size = BUFFER_BYTES


def server_name(node_id: str, cluster: str) -> str:
    """Return the DNS name that a node's certificate carries."""
    return f"{node_id}.{cluster}.p2p"


def _require_readable(path: Path) -> None:
    try:
        path.open("rb").close()
    except OSError as error:
        reason = f"cannot read {path}: {error.strerror}; correct its path or its permissions"
        raise StartError(Exit.SECRET, reason) from error


def _context(files: TlsFiles, purpose: int) -> ssl.SSLContext:
    for path in (files.ca, files.cert, files.key):
        _require_readable(path)
    result = ssl.SSLContext(purpose)
    result.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        result.load_verify_locations(str(files.ca))
        result.load_cert_chain(str(files.cert), str(files.key))
    except (ssl.SSLError, OSError) as error:
        names = f"{files.ca}, {files.cert} and {files.key}"
        raise StartError(Exit.SECRET, f"cannot use {names} for TLS: {error}") from error
    result.verify_mode = ssl.CERT_REQUIRED
    return result


def _handshake_reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return "expired" if error.verify_code == EXPIRED else "untrusted"
    return "no_certificate" if error.reason == NO_CERTIFICATE else "handshake"


def _telling(refuse: Refuse) -> type[ssl.SSLObject]:
    """Return a kind of TLS connection that tells `refuse` of failed handshakes: asyncio drops them."""

    class Telling(ssl.SSLObject):
        def do_handshake(self) -> None:
            try:
                super().do_handshake()
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                raise
            except ssl.SSLError as error:
                refuse(_handshake_reason(error), str(error))
                raise

    return Telling


class Identity:
    """One certificate, its key and the authority: contexts for both ends of a connection.

    Args:
        files: Where they are.
        refuse: Told the reason and the details of each handshake that the server's end refused.

    Raises:
        StartError: A file cannot be read or used.
    """

    def __init__(self, files: TlsFiles, refuse: Refuse | None = None) -> None:
        self._files = files
        self._refuse = refuse
        self._seen = self._now()
        self.client, self.server = self._load()

    def refresh(self) -> bool:
        """Load the files if they changed and can be used; return whether that gave new contexts."""
        found = self._now()
        if found == self._seen:
            return False
        self._seen = found
        try:
            self.client, self.server = self._load()
        except StartError as error:
            log.event("certificate_not_reloaded", "error", reason=str(error))
            return False
        log.event("certificate_reloaded", file=str(self._files.cert))
        return True

    def _now(self) -> Stamp:
        return stamp(self._files.ca, self._files.cert, self._files.key)

    def _load(self) -> tuple[ssl.SSLContext, ssl.SSLContext]:
        server = _context(self._files, ssl.PROTOCOL_TLS_SERVER)
        if self._refuse is not None:
            server.sslobject_class = _telling(self._refuse)
        return _context(self._files, ssl.PROTOCOL_TLS_CLIENT), server


class DenyList:
    """Node names and certificate serials (hexadecimal) that are shut out, one a line; `#` begins a comment.

    Args:
        path: The file; None, or a file that is not there, shuts out nobody.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._seen: Stamp | None = None
        self._names: frozenset[str] = frozenset()
        self._serials: frozenset[str] = frozenset()
        self.refresh()

    def refresh(self) -> None:
        """Read the file if it changed; the last list stays if it cannot be read."""
        if self._path is None or (found := stamp(self._path)) == self._seen:
            return
        first, self._seen = self._seen is None, found
        try:
            text = self._path.read_text() if found[0] else ""
        except (OSError, ValueError) as error:
            log.event("deny_list_not_read", "error", file=str(self._path), reason=str(error))
            return
        lines = [line.partition("#")[0].strip() for line in text.splitlines()]
        self._names = frozenset(line for line in lines if line)
        self._serials = frozenset(_serial(line) for line in self._names)
        if not first or self._names:
            log.event("deny_list_read", file=str(self._path), entries=len(self._names))

    def __contains__(self, node: object) -> bool:
        """Tell whether a node's name is on the list."""
        return node in self._names

    def serial(self, serial: str) -> bool:
        """Tell whether a certificate's serial is on the list."""
        return _serial(serial) in self._serials


def _serial(text: str) -> str:
    return text.replace(":", "").upper().lstrip("0")


def check_peer(
    certificate: Mapping[str, Any], name: str, cluster: str, deny: DenyList
) -> tuple[str, str] | None:
    """Return why the holder of `certificate` may not speak for node `name`, or None if it may.

    Args:
        certificate: As `ssl.SSLSocket.getpeercert` gives it. A connection may outlive its validity.
        name: The node in whose name the holder speaks.
        cluster: This cluster's name.
        deny: Who is shut out.

    Returns:
        The reason in one word, and the details.
    """
    names = [value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"]
    if server_name(name, cluster) not in names:
        ours = any(value.endswith(f".{cluster}.p2p") for value in names)
        return (
            "impostor" if ours else "wrong_cluster",
            f"its certificate is for {', '.join(names) or 'nobody'}",
        )
    serial = str(certificate.get("serialNumber", ""))
    if name in deny or deny.serial(serial):
        return "denied", f"on the deny-list (serial {serial})"
    if ssl.cert_time_to_seconds(certificate["notAfter"]) < time.time():
        return "expired", f"its certificate ended on {certificate['notAfter']}"
    return None
