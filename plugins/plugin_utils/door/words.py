"""The types that the schemas are made of: each names its range, its length and its characters."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

# So many of a kind at most, where a node has but some.
FEW = 500

# Texts of any characters; `texts.cleaned` has taken control characters out and cut them.
Line = Annotated[str, Meta(max_length=2001)]
Block = Annotated[str, Meta(max_length=(1 << 20) + 1)]

# As the inventory plugin takes them from the fleet file.
NODE_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}"
NodeName = Annotated[str, Meta(pattern=rf"\A{NODE_NAME}\Z")]
NodeNameOrNone = Annotated[str, Meta(pattern=rf"\A({NODE_NAME})?\Z")]
ServiceName = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_][A-Za-z0-9_.@:-]{0,255}\Z")]
# A part of a path below the folder of releases.
RELEASE_NAME = r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}"
ReleaseName = Annotated[str, Meta(pattern=rf"\A{RELEASE_NAME}\Z")]
ModuleName = Annotated[str, Meta(pattern=r"\A[A-Za-z_][A-Za-z0-9_.]{0,99}\Z")]
PackageName = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z")]
Target = Annotated[str, Meta(pattern=r"\A[a-z0-9][a-z0-9._-]{0,49}\Z")]
Word = Annotated[str, Meta(pattern=r"\A[A-Za-z][A-Za-z0-9_-]{0,63}\Z")]
WordOrNone = Annotated[str, Meta(pattern=r"\A([A-Za-z][A-Za-z0-9_-]{0,63})?\Z")]
Version = Annotated[str, Meta(pattern=r"\A[0-9A-Za-z][0-9A-Za-z.+~!_-]{0,63}\Z")]
PythonVersion = Annotated[str, Meta(pattern=r"\A[0-9]{1,2}(\.[0-9]{1,3}){1,2}\Z")]
Libc = Annotated[str, Meta(pattern=r"\A(glibc [0-9]\.[0-9]{1,2}(\.[0-9]{1,4})?|musl)\Z")]
Sha256 = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
Commit = Annotated[str, Meta(pattern=r"\A[0-9a-f]{7,64}\Z")]
Decimal = Annotated[str, Meta(pattern=r"\A[0-9]{1,20}\Z")]  # etcd's ids: 64 bits
URL = r"https?://[A-Za-z0-9_.\[\]:%-]{1,300}/?"
Url = Annotated[str, Meta(pattern=rf"\A{URL}\Z")]
Base64 = Annotated[str, Meta(max_length=4 << 20, pattern=r"\A[A-Za-z0-9+/=\s]*\Z")]

LARGEST_COUNT, LARGEST_SMALL, LARGEST_SECONDS = 1 << 53, 1_000_000, 1e11
Count = Annotated[int, Meta(ge=0, le=LARGEST_COUNT)]
Small = Annotated[int, Meta(ge=0, le=LARGEST_SMALL)]
ProcessId = Annotated[int, Meta(ge=1, le=(1 << 31) - 1)]
ExitStatus = Annotated[int, Meta(ge=-(1 << 31), le=(1 << 31) - 1)]
Port = Annotated[int, Meta(ge=1, le=65535)]
HttpCode = Annotated[int, Meta(ge=100, le=599)]
Seconds = Annotated[float, Meta(ge=0, le=LARGEST_SECONDS)]
Milliseconds = Annotated[float, Meta(ge=0, le=1e9)]
# A recovery epoch has a million terms (the orchestrator's `EPOCH_SPAN`), of which the last is a count too.
EPOCH_SPAN = 1_000_000
LARGEST_EPOCH = LARGEST_COUNT // EPOCH_SPAN - 1
Epoch = Annotated[int, Meta(ge=0, le=LARGEST_EPOCH)]
Percent = Annotated[float, Meta(ge=-1000, le=1000)]  # a full disk's reserve is below 0
