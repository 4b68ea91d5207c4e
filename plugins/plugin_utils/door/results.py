"""The schemas of what the modules return: what each documents, and nothing else."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from .probe import Few
from .words import (
    Block,
    Commit,
    Count,
    Decimal,
    Epoch,
    Line,
    NodeNameOrNone,
    PackageName,
    ProcessId,
    ReleaseName,
    Seconds,
    Sha256,
    Url,
    Version,
    Word,
)

# Phrases that one module has to say.
Phrases = Annotated[list[Line], Few]
_MEMBER = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}=https?://[A-Za-z0-9_.\[\]:%-]{1,300}"
InitialCluster = Annotated[str, Meta(max_length=100_000, pattern=rf"\A({_MEMBER}(,{_MEMBER}){{0,499}})?\Z")]
RunId = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_][A-Za-z0-9_.:@-]{0,299}\Z")]


class Diff(Struct, kw_only=True):
    """A part of what `--diff` shows; an empty side is one, and Ansible shows nothing without both."""

    before: Block | UnsetType = UNSET
    after: Block | UnsetType = UNSET
    before_header: Line | UnsetType = UNSET
    after_header: Line | UnsetType = UNSET


class Result(Struct, kw_only=True):
    """What every module returns."""

    changed: bool = False
    diff: Annotated[list[Diff], Few] | Diff | UnsetType = UNSET
    warnings: Phrases | UnsetType = UNSET


class Actions(Result, kw_only=True):
    """A module that says in phrases what it did, or would do."""

    actions: Phrases = []


class Reason(Struct, kw_only=True):
    """A difference that a service's module found."""

    part: Word
    name: Line
    why: Line


class Service(Actions, kw_only=True):
    """p2p_service."""

    reasons: Annotated[list[Reason], Few] = []
    restarted: bool = False
    config_digest: Sha256 | None = None


class Release(Actions, kw_only=True):
    """p2p_release."""

    release: ReleaseName | None = None
    path: Line | UnsetType = UNSET
    previous: ReleaseName | None = None
    packages: Annotated[dict[PackageName, Version], Few] | UnsetType = UNSET
    needed: Line | UnsetType = UNSET


class Checkout(Actions, kw_only=True):
    """p2p_checkout."""

    before: Commit | None = None
    after: Commit | None = None
    outdated: bool = False


class Sizes(Struct, kw_only=True):
    """Bytes of a database."""

    before: Count | None = None
    after: Count | None = None


class Care(Actions, kw_only=True):
    """p2p_etcd_care."""

    db_size: Sizes


class Archive(Struct, kw_only=True):
    """The pinned archive, and whether it is unpacked."""

    arch: Word
    sha256: Sha256
    directory: Line
    there: bool


class EtcdArchive(Result, kw_only=True):
    """p2p_etcd_archive."""

    archive: Archive


class Restored(Result, kw_only=True):
    """p2p_etcd_restore."""

    kept: Line | None = None


class Saved(Struct, kw_only=True):
    """A snapshot; nulls in check mode."""

    sha256: Sha256 | None = None
    revision: Count | None = None
    keys: Count | None = None
    size: Count | None = None


class Snapshot(Result, kw_only=True):
    """p2p_etcd_snapshot."""

    snapshot: Saved


class Whole(Struct, kw_only=True):
    """A snapshot that is there."""

    sha256: Sha256
    revision: Count
    keys: Count
    size: Count


class Salvaged(Struct, kw_only=True):
    """What a voter's data hold; nothing in check mode."""

    revision: Count | UnsetType = UNSET
    applied: Count | UnsetType = UNSET
    term: Count | UnsetType = UNSET
    epoch: Epoch | UnsetType = UNSET
    raised: Epoch | UnsetType = UNSET
    found: Whole | UnsetType = UNSET
    prepared: Whole | UnsetType = UNSET

    def __post_init__(self) -> None:
        """Refuse a part of it: what is compared with other voters' is there as a whole."""
        missing = [name for name in self.__struct_fields__ if getattr(self, name) is UNSET]
        if 0 < len(missing) < len(self.__struct_fields__):
            raise ValueError(f"without {', '.join(missing)}")


class Salvage(Result, kw_only=True):
    """p2p_etcd_salvage."""

    salvaged: Salvaged


class Listed(Struct, kw_only=True):
    """A member of the store."""

    id: Decimal
    name: NodeNameOrNone = ""
    learner: bool = False
    peer_urls: Annotated[list[Url], Few] = []


class Members(Result, kw_only=True):
    """p2p_member."""

    members: Annotated[list[Listed], Few]
    initial_cluster: InitialCluster | UnsetType = UNSET


class Record(Struct, kw_only=True):
    """Who holds the right to stop voters, or to recover their store."""

    id: RunId
    who: Line = "somebody"
    playbook: Line = "a run"
    since: Seconds = 0.0
    renewed: Seconds = 0.0
    place: Line = ""
    pid: ProcessId = 1
    started: Seconds = 0.0


class Maintenance(Result, kw_only=True):
    """p2p_maintenance, p2p_recovery_record."""

    record: Record | None = None


class Raised(Result, kw_only=True):
    """p2p_epoch."""

    epoch: Epoch | None = None


SCHEMAS: dict[str, type[Result]] = {
    "p2p_checkout": Checkout,
    "p2p_environment": Actions,
    "p2p_epoch": Raised,
    "p2p_etcd_archive": EtcdArchive,
    "p2p_etcd_care": Care,
    "p2p_etcd_restore": Restored,
    "p2p_etcd_salvage": Salvage,
    "p2p_etcd_snapshot": Snapshot,
    "p2p_maintenance": Maintenance,
    "p2p_member": Members,
    "p2p_package": Actions,
    "p2p_recovery_record": Maintenance,
    "p2p_release": Release,
    "p2p_service": Service,
    "p2p_takeover": Actions,
}
