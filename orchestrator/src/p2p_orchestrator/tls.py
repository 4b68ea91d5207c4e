"""Mutual TLS from three files, read again when they change."""

import ssl
from pathlib import Path

from p2p_orchestrator.config import TlsFiles
from p2p_orchestrator.errors import Exit, StartError


def server_name(node_id: str, cluster: str) -> str:
    """Return the DNS name that a node's certificate carries."""
    return f"{node_id}.{cluster}.p2p"


def context(files: TlsFiles, *, server: bool) -> ssl.SSLContext:
    """Return a context that shows the own certificate and demands one of the same authority.

    Raises:
        StartError: A file cannot be read or used.
    """
    for path in (files.ca, files.cert, files.key):
        _readable(path)
    purpose = ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT
    result = ssl.SSLContext(purpose)
    result.minimum_version = ssl.TLSVersion.TLSv1_3 if server else ssl.TLSVersion.TLSv1_2
    try:
        result.load_verify_locations(str(files.ca))
        result.load_cert_chain(str(files.cert), str(files.key))
    except (ssl.SSLError, OSError) as error:
        names = f"{files.ca}, {files.cert} and {files.key}"
        raise StartError(Exit.SECRET, f"cannot use {names} for TLS: {error}") from error
    result.verify_mode = ssl.CERT_REQUIRED
    return result


def _readable(path: Path) -> None:
    try:
        with path.open("rb"):
            return
    except OSError as error:
        reason = f"cannot read {path}: {error.strerror}; correct its path or its permissions"
        raise StartError(Exit.SECRET, reason) from error
