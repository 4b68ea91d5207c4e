"""One run over the directory of certificates: all is decided before anything is written."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from .p2p_certificate_log import Issued, parse_log
from .p2p_certificate_make import Authority, Leaf, make_authority, make_crl, make_leaf, reason_to_issue
from .p2p_certificate_names import (
    CertificateError,
    Node,
    check_label,
    check_removed,
    name_texts,
    subject_names,
)
from .p2p_certificate_pem import blocks, certificate_pem, fingerprint, key_pem, serial_text
from .p2p_certificate_state import Settings, State, Wanted
from .p2p_certificate_store import Store

CA_WARNING_DAYS = 365
LARGEST_BUNDLE = 256 << 10  # bytes; it holds a few certificates
NEW_BUNDLE = "(would be: the CA bundle of cluster {cluster} after this run)\n"
NEW_CRL = "(would be: the revocation list of cluster {cluster} after this run)\n"
MAYBE_LOGGED = "its key may stand in the node's journal, where an earlier version had it written"


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
        self._encrypts = False
        self.state = self._load()
        self._unlogged = {entry.serial for entry in self.state.unlogged}

    def run(self) -> dict[str, Any]:
        """Do what is wanted, or only work out what would be done.

        Returns:
            The module's result, without any private key.

        Raises:
            CertificateError: something is refused; all that can be is before the first file is written.
        """
        self._refuse_unknown()
        self._refuse_stranger()
        held = self.state.held
        old_bundle = self.state.bundle()
        self._plan_authority()
        self._plan_encryption()
        wanted = [self._want(node) for node in self.settings.nodes]
        revoked = self._plan_revocation()
        new_crl = self._crl_serials() != {d.serial for d in self.state.denied}
        signer = self.state.ca or self.state.next_ca
        key = None
        # What is to come is known without the key: who only looks may lack the passphrase.
        looks = self.settings.only_look and not self.store.writable and not self.settings.passphrase
        if signer is not None and not looks and (new_crl or any(w.reason for w in wanted)):
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
        result = self._result(wanted, revoked, old_bundle, new_crl=new_crl)
        return result | {"revocations": self._revocations(revoked), "held_ca": held}

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
            unlogged=self._log("unlogged"),
            history=set(history.decode().split()),
            crl=self.store.read(self._path("crl.pem")),
            removed=set((self.store.read(self._path("removed")) or b"").decode().split()),
            leaves={path.stem for path in self.store.leaves.glob("*.pem")},
        )

    def _log(self, name: str) -> list[Issued]:
        data = self.store.read(self._path(name)) or b""
        return parse_log(data.decode(errors="replace"), self._path(name))

    def _certificates(self, path: Path) -> list[x509.Certificate]:
        return self._parse_cas(self.store.read(path) or b"", str(path))

    def _parse_cas(self, data: bytes, where: str) -> list[x509.Certificate]:
        if len(data) > LARGEST_BUNDLE:
            raise CertificateError(
                f"{where} has {len(data)} bytes, and a bundle has at most {LARGEST_BUNDLE}. Nothing was "
                "changed. Restore it from the backup."
            )
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

    def _refuse_unknown(self) -> None:
        """Refuse to remove names that nothing is known of; whoever only looks is warned."""
        known = self.state.names().union(self.settings.known)
        try:
            check_removed(self.settings.removed, known, self.store.root)
        except CertificateError as error:
            if not self.settings.only_look:
                raise
            self.warnings.append(str(error))

    def _refuse_stranger(self) -> None:
        """Refuse a cluster that carries a bundle which never came from this directory."""
        strangers = sorted(n for n, digest in self.settings.seen.items() if digest not in self.state.history)
        if not self.state.held and self._wants_over() and not self._carried():
            raise CertificateError(
                "The CA bundle that was read from the voters is not the one that most of them had told of. "
                "Nothing was changed. Run this again; if it stays so, look at their ca.crt."
            )
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

    def _wants_over(self) -> bool:
        return self.settings.rotate == "start" and bool(self.settings.adopt or self.settings.adopt_sha256)

    def _takes_over(self) -> bool:
        return self._wants_over() and self._carried()

    def _plan_authority(self) -> None:
        """Plan the writes that bring the CAs to the wanted stage, and set `state` as it will be."""
        rotate, state = self.settings.rotate, self.state
        if state.ca is None and state.next_ca is None:
            self._begin()
        elif rotate == "start":
            self._refuse_second_ca()
            if state.stage == "steady":
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
        follows = self.settings.adopt_follows and self.settings.rotate == "start" and not self.store.writable
        if (self.state.leaves or self.state.log) and not follows:
            raise CertificateError(
                f"{self._path('ca.pem')} is missing, though {self.store.root} holds certificates it signed. "
                "Restore it from the backup; or, if it is lost, replace the CA while most voters are in "
                "reach: -e p2p_identity_rotate=true."
            )
        if self.settings.rotate in ("switch", "finish"):
            raise CertificateError(
                f"There is no CA in {self.store.root} to rotate. Deploy without p2p_identity_rotate."
            )
        self._create("ca.pem")

    def _carried(self) -> bool:
        """Tell whether the bundle that was read from a voter is the one that most voters had told of."""
        return hashlib.sha256(self.settings.adopt.encode()).hexdigest() == self.settings.adopt_sha256

    def _refuse_second_ca(self) -> None:
        """Refuse to take over a cluster from a directory that has a CA of its own."""
        if not self._carried():
            return  # It is not needed, and who gave it had told of another: no node's own word ends a run.
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
            raise CertificateError("The voters' ca.crt holds no certificate. Mend it on the voters.")
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
            if reason is None and leaf is not None and serial_text(leaf.certificate) not in self._unlogged:
                reason = MAYBE_LOGGED
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
        """Plan to deny every unexpired certificate of the removed nodes, and those of nodes that voted."""
        denied = {d.serial for d in self.state.denied}
        removed, voters = set(self.settings.removed), self.settings.voters
        found = [
            e
            for e in self.state.log
            if (e.node_id in removed or (voters and e.voter and e.node_id not in voters))
            and e.serial not in denied
            and e.not_after > self.now
        ]
        for entry in found:
            self._note(f"denied {entry.serial}", None, f"a certificate of {entry.node_id}")
        if found:
            # What every node has changes with what counts there, and not since something ran out.
            before = self._of_callees(self.state.denied, self.state.removed)
            after = self._of_callees(self.state.denied + found, self.state.removed | removed)
            kept = before if after == before else []
            self.state.denied = [d for d in self.state.denied if d.not_after > self.now or d in kept] + found
            text = "".join(d.line() for d in self.state.denied).encode()
            self._steps.append(lambda: self.store.write(self._path("denied"), text))
        if removed - self.state.removed:
            self.state.removed |= removed
            names = "".join(f"{name}\n" for name in sorted(self.state.removed)).encode()
            self._steps.append(lambda: self.store.write(self._path("removed"), names))
        for node_id in removed:
            leaf = self._leaf_path(check_label("Node name", node_id))
            if leaf.exists():
                self._note(f"leaves/{leaf.name}", "held", None)
                self._steps.append(leaf.unlink)
        return found

    def _of_callees(self, denied: Iterable[Issued], removed: set[str]) -> list[Issued]:
        """Return what is denied of those that nodes call: the voters, and removed nodes as such."""
        return [d for d in denied if d.node_id in self.settings.called or (d.voter and d.node_id in removed)]

    def _revocations(self, revoked: list[Issued]) -> dict[str, dict[str, int]]:
        """Return, by name, how many valid certificates are revoked now, and how many were before."""
        now = Counter(entry.node_id for entry in revoked)
        serials = {entry.serial for entry in revoked}
        before = Counter(
            entry.node_id
            for entry in self.state.denied
            if entry.serial not in serials and entry.not_after > self.now
        )
        names = sorted({*self.settings.removed, *now})
        return {name: {"revoked": now[name], "before": before[name]} for name in names}

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
            self._encrypts = True
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
        new = [(w.node, w.leaf) for w in made if w.reason and w.leaf]
        if new:
            # The log first: no certificate may be out there that a removal could not name.
            entries = [
                Issued(
                    serial_text(leaf.certificate),
                    node.node_id,
                    leaf.certificate.not_valid_after_utc,
                    node.server,
                )
                for node, leaf in new
            ]
            self.state.log = self._write_log("issued", self.state.log, entries)
            # An earlier version neither reads nor writes this file: what that one issues is not in it.
            self.state.unlogged = self._write_log("unlogged", self.state.unlogged, entries)
        for node, leaf in new:
            data = certificate_pem(leaf.certificate) + key_pem(leaf.key)
            self.store.write(self._leaf_path(node.node_id), data, durable=False)
        return made

    def _write_log(self, name: str, held: list[Issued], new: list[Issued]) -> list[Issued]:
        """Write a log with new entries and without those that ran out, and return it."""
        entries = [e for e in held if e.not_after > self.now] + new
        self.store.write(self._path(name), "".join(e.line() for e in entries).encode())
        return entries

    def _write_crl(self, ca: x509.Certificate, ca_key: ec.EllipticCurvePrivateKey) -> None:
        self.state.crl = make_crl(self.state.denied, ca, ca_key, self.now)
        self.store.write(self._path("crl.pem"), self.state.crl)

    @staticmethod
    def _denied_text(entries: Iterable[Issued]) -> str:
        """Return a list of denied certificates as orchestrators read it."""
        return "".join(f"{d.serial}  # {d.node_id}\n" for d in sorted(entries, key=lambda d: d.serial))

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
            "encrypts": self._encrypts,
            "revoked": [r.serial for r in revoked],
            "ca_bundle": bundle,
            "ca_bundle_sha256": digest,
            "bundles": sorted(state.history),
            "ca_bundle_changed": unknown or bundle.encode() != old_bundle,
            "ca_not_after": f"{signer.certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"
            if signer
            else None,
            "stage": "trust" if self._rotating() else state.stage,
            "crl": crl,
            "denied": self._denied_text(state.denied),
            "denied_callees": self._denied_text(self._of_callees(state.denied, state.removed)),
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
        voters=list(params["voters"]),
        called=list(params["called"]),
        seen={str(k): str(v) for k, v in params["seen"].items() if v},
        known=list(params["known"]),
        adopt=params["adopt"] or "",
        adopt_sha256=params["adopt_sha256"] or "",
        adopt_follows=params["adopt_follows"],
        ca_days=params["ca_days"],
        leaf_days=params["leaf_days"],
        renew_below_days=params["renew_below_days"],
        rotate=params["rotate"],
        only_look=params["only_look"],
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
