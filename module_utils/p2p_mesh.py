"""Which of the other voters a voter gets through to, by whole handshakes with its own certificate."""

from __future__ import annotations

import http.client
import ipaddress
import re
import socket
import ssl
from functools import partial
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from .p2p_bounded import look
from .p2p_reach import BLOCKED, GRACE, OPEN, why_not

FOREIGN, UNTRUSTED = "foreign", "untrusted"
# The service of the store; the other one takes heartbeats.
ETCD = "etcd"
LARGEST_BODY = 1 << 16
HANGS_UP = "what answers there hangs up"
# What a name in a certificate may hold to be repeated.
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,253}")

Outcome = Tuple[str, str]


class Own:
    """What a voter knows of itself: its certificates by service, and what its own member tells of the store.

    `urls` are the members' addresses in the store's list, by name; `cluster_id` is decimal text. `broken`
    says by service why its certificate is of no use. Raises FileNotFoundError if one is not there.
    """

    def __init__(self, tls: Mapping[str, Mapping[str, str]], told: Mapping[str, Any]) -> None:
        self.contexts: Dict[str, Optional[ssl.SSLContext]] = {}
        self.broken: Dict[str, str] = {}
        for service, files in tls.items():
            self._take(service, files)
        self.cluster_id = str(told.get("cluster_id") or "")
        self.urls: Dict[str, List[str]] = {
            str(member["name"]): list(member["peer_urls"]) for member in told.get("members") or []
        }

    def _take(self, service: str, files: Mapping[str, str]) -> None:
        try:
            self.contexts[service] = _context(files)
        except FileNotFoundError:
            raise
        except OSError as error:
            self.broken[service] = "this voter's own certificate is of no use: %s" % error


def _context(files: Mapping[str, str]) -> Optional[ssl.SSLContext]:
    """Return a client's context, None where connections are plain; raise OSError if a file is of no use."""
    if not files.get("cert"):
        return None
    context = ssl.create_default_context(cafile=files["ca"])
    # Whose certificate it is, is looked at afterwards: what is wrong with it has to be told.
    context.check_hostname = False
    # That one hangs up without a word has to be seen; Python 3.10 and newer would hide it.
    context.options &= ~int(getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0))
    context.load_cert_chain(files["cert"], files["key"])
    return context


def dial(targets: Sequence[Mapping[str, Any]], own: Own, timeout: float) -> List[Dict[str, Any]]:
    """Try the other voters' ports.

    Args:
        targets: each with `voter`, `host`, `port`, `service` (`etcd` or `heartbeat`) and `name`, the DNS name
            that the voter's certificate carries.
        own: what this voter knows of itself.
        timeout: seconds for each step of a try; all begin at once.

    Returns:
        For each target its `outcome` and `why`. Those of `p2p_reach`, and `foreign` if somebody else
        answers there, or `untrusted` if one end does not accept the other's certificate. `listed` has the
        same for the address that the store's list has, if that is another; it is null otherwise.
    """
    tries: Dict[str, Callable[[], Outcome]] = {}
    for place, target in enumerate(targets):
        tries[str(place)] = partial(_try, target, str(target["host"]), int(target["port"]), own, timeout)
        other = _listed(target, own)
        if other:
            tries[str(place) + "l"] = partial(_try, target, other[0], other[1], own, timeout)
    answers, errors = look(tries, timeout + GRACE)

    def told(key: str) -> Dict[str, str]:
        outcome, why = answers.get(key) or (BLOCKED, errors[key])
        return {"outcome": outcome, "why": why}

    return [
        dict(told(key), listed=told(key + "l") if key + "l" in tries else None)
        for key in (str(place) for place in range(len(targets)))
    ]


def _listed(target: Mapping[str, Any], own: Own) -> Optional[Tuple[str, int]]:
    """Return the first address of a voter's member in the store's list, if none is the one that is tried."""
    if target["service"] != ETCD:
        return None
    found = []
    for url in own.urls.get(str(target["voter"])) or []:
        host, _, port = url.partition("://")[2].rstrip("/").rpartition(":")
        if port.isdigit():
            found.append((host.strip("[]"), int(port)))
    wanted = (_plain(str(target["host"])), int(target["port"]))
    return None if wanted in [(_plain(host), port) for host, port in found] else next(iter(found), None)


def _plain(host: str) -> str:
    try:
        return str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return host.lower()


def _try(target: Mapping[str, Any], host: str, port: int, own: Own, timeout: float) -> Outcome:
    service = str(target["service"])
    if service in own.broken:
        return UNTRUSTED, own.broken[service]
    context, etcd = own.contexts.get(service), service == ETCD
    try:
        with socket.create_connection((host, port), timeout) as plain:
            if context is None:
                return _members(plain, own.cluster_id) if etcd else (OPEN, "")
            with context.wrap_socket(plain, server_hostname=str(target["name"])) as tls:
                wrong = _whose(tls.getpeercert() or {}, str(target["name"]), host if etcd else "")
                return wrong or _accepted(tls, own.cluster_id, etcd)
    except ssl.SSLError as error:
        return _refused(error)
    except (ConnectionResetError, BrokenPipeError, EOFError):
        return FOREIGN, HANGS_UP
    except OSError as error:
        return why_not(error, timeout)


def _whose(certificate: Mapping[str, Any], name: str, host: str) -> Optional[Outcome]:
    """Return what is wrong with the certificate that was shown; etcd looks for the address, too."""
    names = [_plain(str(value)) for _, value in certificate.get("subjectAltName") or ()]
    if name.lower() not in names:
        shown = [other for other in names if other.endswith(".p2p") and _NAME.fullmatch(other)]
        return FOREIGN, "%s answers there" % (shown[0] if shown else "another")
    if host and _plain(host) not in names:
        return UNTRUSTED, "its certificate is not for %s" % host
    return None


def _accepted(tls: ssl.SSLSocket, cluster_id: str, etcd: bool) -> Outcome:
    """Tell whether the right voter takes this one's certificate: in TLS 1.3 it refuses after the handshake.

    An orchestrator that takes it says goodbye, one that refuses it hangs up without a word.
    """
    try:
        if etcd:
            return _members(tls, cluster_id)
        tls.unwrap()
    except socket.timeout:
        raise
    except (OSError, EOFError) as error:
        if "ALERT" in str(getattr(error, "reason", "")):
            raise  # it says why
        return UNTRUSTED, "it turns this voter's certificate away"
    return OPEN, ""


def _members(connection: socket.socket, cluster_id: str) -> Outcome:
    """Ask a member for the list of members on the port of its peers, as peers do when they start."""
    connection.sendall(b"GET /members HTTP/1.1\r\nHost: etcd\r\nConnection: close\r\n\r\n")
    try:
        response = http.client.HTTPResponse(connection)
        response.begin()
        response.read(LARGEST_BODY)
        told = str(int(response.headers.get("X-Etcd-Cluster-ID") or "", 16))
    except http.client.RemoteDisconnected:
        raise
    except (http.client.HTTPException, ValueError):
        return FOREIGN, "what answers there is no etcd member"
    if response.status != http.client.OK:
        return FOREIGN, "what answers there is no etcd member: status %d" % response.status
    if cluster_id and told != cluster_id:
        return FOREIGN, "the member there works in another store"
    return OPEN, ""


def _refused(error: ssl.SSLError) -> Outcome:
    if isinstance(error, ssl.SSLCertVerificationError):
        return UNTRUSTED, "its certificate is not believed: %s" % error.verify_message
    if isinstance(error, ssl.SSLEOFError):
        return FOREIGN, HANGS_UP
    reason = str(error.reason or "")
    said = reason.lower().replace("_", " ")
    if "ALERT" not in reason:
        return FOREIGN, "what answers there speaks no TLS"
    if any(word in reason for word in ("CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED")):
        return UNTRUSTED, "it does not believe this voter's certificate (%s)" % said
    return UNTRUSTED, "it ends the handshake (%s): its own certificate may be of no use" % said
