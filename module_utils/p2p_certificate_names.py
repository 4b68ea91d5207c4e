"""Who a certificate is for: names that it can carry, and those that a node needs."""

from __future__ import annotations

import difflib
import ipaddress
import re
import urllib.parse
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography import x509

LABEL = re.compile(r"(?i)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
HOST = re.compile(
    r"(?i)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*"
)


class CertificateError(Exception):
    """A refusal: what is wrong, where, and what to do."""


@dataclass(frozen=True)
class Node:
    """One node that needs a leaf; `addresses` as the fleet file gives them."""

    node_id: str
    addresses: tuple[str, ...] = ()
    server: bool = False


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


def check_removed(removed: Iterable[str], known: Iterable[str], root: object) -> None:
    """Refuse names to be removed that nothing is known of: a slip of the pen would revoke nothing.

    Args:
        removed: names as the operator gave them.
        known: every name that one of them may be.
        root: the directory of certificates, for the message.

    Raises:
        CertificateError: some are unknown; the message has all of them, each with the name nearest to it.
    """
    names = set(known)
    by_letters = {name.lower(): name for name in sorted(names)}
    unknown = sorted(set(removed) - names)
    if unknown:
        told = "; ".join(f"{name!r}{_meant(name, by_letters)}" for name in unknown)
        raise CertificateError(
            f"p2p_identity_removed: no node of the fleet file, and none that {root} has given a certificate, "
            f"is called {told}. Correct the name, or leave it out: a node whose certificates have all run "
            "out needs no removal. Nothing was changed."
        )


def _meant(name: str, by_letters: dict[str, str]) -> str:
    near = difflib.get_close_matches(name.lower(), by_letters, 1)
    return f" (did you mean {by_letters[near[0]]!r}?)" if near else ""


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
