"""What the directory of certificates holds, and what a run wants of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography import x509

from .p2p_certificate_log import Issued
from .p2p_certificate_make import Authority, Leaf
from .p2p_certificate_names import CertificateError, Node, check_nodes
from .p2p_certificate_pem import certificate_pem, fingerprint


@dataclass
class State:
    """What the directory says; all of it is read before anything is decided.

    Attributes:
        unlogged: the certificates whose keys were never among the arguments that a node's journal has.
        removed: every name that a removal ever took, so that the same again is known when all has run out.
        leaves: the nodes whose certificate and key are held.
    """

    ca: Authority | None
    next_ca: Authority | None
    previous: list[x509.Certificate]
    log: list[Issued]
    denied: list[Issued]
    unlogged: list[Issued]
    history: set[str]
    crl: bytes | None
    removed: set[str]
    leaves: set[str]

    @property
    def held(self) -> bool:
        """Whether there is a CA, of whichever stage."""
        return self.ca is not None or self.next_ca is not None

    def names(self) -> set[str]:
        """Return the names of all nodes that the directory knows of."""
        logged = {entry.node_id for entry in (*self.log, *self.denied)}
        return logged | self.leaves | self.removed

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
    voters: list[str] = field(default_factory=list)
    called: list[str] = field(default_factory=list)
    seen: dict[str, str] = field(default_factory=dict)
    known: list[str] = field(default_factory=list)
    adopt: str = ""
    adopt_sha256: str = ""
    adopt_follows: bool = False
    ca_days: int = 3650
    leaf_days: int = 90
    renew_below_days: int = 30
    rotate: str = "none"
    only_look: bool = False

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
