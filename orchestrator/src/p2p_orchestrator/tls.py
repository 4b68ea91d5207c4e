"""Mutual TLS from three files, read again when they change, and the list of those who are shut out."""

import functools
import ssl
import time
from asyncio import sslproto
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from p2p_orchestrator import log
from p2p_orchestrator.config import TlsFiles
from p2p_orchestrator.errors import Exit, StartError
from p2p_orchestrator.limits import HEARTBEATS
from p2p_orchestrator.stamp import Stamp, stamp

Refuse = Callable[[str, str], None]
HANDSHAKE_BYTES = 4 * 1024
"""What one may send until its handshake ends, twice what a node does: 90 KB of certificates cost 60 ms."""
NO_CERTIFICATE = "PEER_DID_NOT_RETURN_A_CERTIFICATE"
BUFFER_BYTES = 4 * 1024
"""What is read at once: in 32 KiB a certificate sends 1,200 updates of keys, which all others wait for."""
CURVE = "prime256v1"
"""The one group that keys are agreed in: in ffdhe8192 a packet of a stranger has us work for 160 ms."""
EXPIRED = 10  # X509_V_ERR_CERT_HAS_EXPIRED


def spare_memory() -> None:
    """Make asyncio's TLS connections hold small buffers, not of 256 KiB: a voter holds thousands."""
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


class _Bounded(ssl.SSLObject):
    """A server's end of a connection, which reads no handshake longer than `HANDSHAKE_BYTES`.

    Attributes:
        incoming: What came and was not read.
    """

    incoming: ssl.MemoryBIO
    _left = HANDSHAKE_BYTES

    def do_handshake(self) -> None:
        came = self.incoming.read()
        # With the handshake's end may come a request, which is kept for later.
        self.incoming.write(came[: self._left])
        try:
            super().do_handshake()
        except ssl.SSLWantReadError:
            self._left -= len(came)
            if self._left < 0:
                raise ssl.SSLError(1, f"longer than {HANDSHAKE_BYTES} bytes") from None
            raise
        self.incoming.write(came[self._left :])


class _Server(ssl.SSLContext):
    """Lets each connection know what comes to it."""

    def wrap_bio(self, incoming: ssl.MemoryBIO, *args: Any, **kwargs: Any) -> ssl.SSLObject:  # noqa: ANN401  passed on
        result = super().wrap_bio(incoming, *args, **kwargs)
        if isinstance(result, _Bounded):
            result.incoming = incoming
        return result


class DeniedError(ssl.SSLCertVerificationError):
    """The other end showed a certificate that is shut out."""


def _context(files: TlsFiles, purpose: int) -> ssl.SSLContext:
    for path in (files.ca, files.cert, files.key):
        _require_readable(path)
    result = (_Server if purpose == ssl.PROTOCOL_TLS_SERVER else ssl.SSLContext)(purpose)
    result.minimum_version = ssl.TLSVersion.TLSv1_3
    result.set_ecdh_curve(CURVE)
    try:
        result.load_verify_locations(str(files.ca))
        result.load_cert_chain(str(files.cert), str(files.key))
    except (ssl.SSLError, OSError) as error:
        names = f"{files.ca}, {files.cert} and {files.key}"
        raise StartError(Exit.SECRET, f"cannot use {names} for TLS: {error}") from error
    result.verify_mode = ssl.CERT_REQUIRED
    if purpose == ssl.PROTOCOL_TLS_SERVER:
        # No node resumes a session, and making tickets is a part of what a handshake costs.
        result.num_tickets = 0
    return result


def _handshake_reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return "expired" if error.verify_code == EXPIRED else "untrusted"
    return "no_certificate" if getattr(error, "reason", None) == NO_CERTIFICATE else "handshake"


def _telling(refuse: Refuse) -> type[ssl.SSLObject]:
    """Return a kind of TLS connection that tells `refuse` of failed handshakes, which asyncio drops."""

    class Telling(_Bounded):
        def do_handshake(self) -> None:
            try:
                super().do_handshake()
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                raise
            except ssl.SSLError as error:
                refuse(_handshake_reason(error), str(error))
                raise

    return Telling


def _refusing(deny: "DenyList", shown: dict[str, str]) -> type[ssl.SSLObject]:
    """Return a kind of TLS connection that ends before anything is sent to a server that is shut out.

    Args:
        deny: Who is shut out.
        shown: Gets the serial that a server showed last, by its name.
    """

    class Refusing(ssl.SSLObject):
        def do_handshake(self) -> None:
            super().do_handshake()
            serial = str((self.getpeercert() or {}).get("serialNumber", ""))
            shown[str(self.server_hostname)] = serial
            if deny.serial(serial):
                raise DeniedError(1, f"its certificate is on the deny-list (serial {serial})")

    return Refusing


class Identity:
    """One certificate, its key and the authority: contexts for both ends of a connection.

    Args:
        files: Where they are.
        refuse: Told the reason and the details of each handshake that the server's end refused.
        deny: Servers whose certificates are on it are refused.

    Attributes:
        shown: The serial that a server showed last, by its name.

    Raises:
        StartError: A file cannot be read or used.
    """

    def __init__(self, files: TlsFiles, refuse: Refuse | None = None, deny: "DenyList | None" = None) -> None:
        self._files = files
        self._refuse = refuse
        self._deny = deny
        self.shown: dict[str, str] = {}
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
        client = _context(self._files, ssl.PROTOCOL_TLS_CLIENT)
        if self._deny is not None:
            client.sslobject_class = _refusing(self._deny, self.shown)
        return client, server


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

    def refresh(self) -> bool:
        """Read the file if it changed; the last list stays if it cannot be read.

        Returns:
            Whether the list is another one now.
        """
        if self._path is None or (found := stamp(self._path)) == self._seen:
            return False
        first, self._seen = self._seen is None, found
        try:
            text = self._path.read_text() if found[0] else ""
        except (OSError, ValueError) as error:
            log.event("deny_list_not_read", "error", file=str(self._path), reason=str(error))
            return False
        lines = [line.partition("#")[0].strip() for line in text.splitlines()]
        before, self._names = self._names, frozenset(line for line in lines if line)
        self._serials = frozenset(_serial(line) for line in self._names)
        if not first or self._names:
            log.event("deny_list_read", file=str(self._path), entries=len(self._names))
        return self._names != before

    def __contains__(self, node: object) -> bool:
        """Tell whether a node's name is on the list."""
        return node in self._names

    def serial(self, serial: str) -> bool:
        """Tell whether a certificate's serial is on the list."""
        return bool(serial) and _serial(serial) in self._serials

    def teller(self, certificate: Mapping[str, Any]) -> str:
        """Return under which key a certificate counts: its node's name, and apart from it where it is denied.

        Who has a copy of an old one is not to use up what the node may do that came back.
        """
        serial = str(certificate.get("serialNumber", ""))
        return f"denied {_serial(serial)}" if self.serial(serial) else holder(certificate)

    def holder(self, certificate: Mapping[str, Any], cluster: str) -> bool:
        """Tell whether a certificate, or the node that it is for, is on the list.

        Args:
            certificate: As `ssl.SSLSocket.getpeercert` gives it.
            cluster: This cluster's name.
        """
        ours = [name.removesuffix(f".{cluster}.p2p") for name in _own_names(certificate, cluster)]
        return any(name in self for name in ours[:1]) or self.serial(str(certificate.get("serialNumber", "")))


def _serial(text: str) -> str:
    return text.replace(":", "").upper().lstrip("0")


def _names(certificate: Mapping[str, Any]) -> list[str]:
    """Return all names in a certificate."""
    return [value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"]


def _own_names(certificate: Mapping[str, Any], cluster: str) -> list[str]:
    """Return the names of this cluster in a certificate: a voter's has more of them, its node's is first."""
    return [value for value in _names(certificate) if value.endswith(f".{cluster}.p2p")]


@functools.lru_cache(maxsize=HEARTBEATS.guests)
def _seconds(date: str) -> int:
    """Return a certificate's date in seconds since 1970: to read it takes a twentieth of a heartbeat."""
    return ssl.cert_time_to_seconds(date)


def holder(certificate: Mapping[str, Any]) -> str:
    """Return the first name in a certificate, its node's; renewed ones have the same."""
    return next(iter(_names(certificate)), "?")


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
    ours = _own_names(certificate, cluster)
    if server_name(name, cluster) not in ours[:1]:
        return (
            "impostor" if ours else "wrong_cluster",
            f"its certificate is for {', '.join(_names(certificate)) or 'nobody'}",
        )
    serial = str(certificate.get("serialNumber", ""))
    if name in deny or deny.serial(serial):
        return "denied", f"on the deny-list (serial {serial})"
    if _seconds(certificate["notAfter"]) < time.time():
        return "expired", f"its certificate ended on {certificate['notAfter']}"
    return None
