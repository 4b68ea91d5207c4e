"""What strangers, one certificate and all may cost this process. docs/orchestrator.md gives the reasons."""

from dataclasses import dataclass, replace

from p2p_orchestrator.bounds import Rate

GIB = 1024**3
MEMORY_BYTES = GIB
"""What the process may allocate. A voter of 1,000 nodes has 125 MiB, and under a flood less than 300."""


@dataclass(frozen=True)
class Limits:
    """The limits of one port.

    Attributes:
        turns: Connections that are taken in, of all addresses together.
        turns_each: Those of one address.
        waiting: Connections that wait for their turn.
        waiting_each: Those of one address.
        wait_seconds: How long a connection waits for its turn.
        strangers: Connections on which TLS is not done.
        strangers_each: Those of one address.
        greet_seconds: How long TLS may take, and after it the first request's header.
        guests: Connections after that.
        guests_each: Those of one certificate, or of one address where there are none.
        idle_seconds: How long a request may take with its answer, and a connection be without one.
        field_bytes: Length of a request's line, and of each field of its header.
        fields: Fields of a header.
        buffer_bytes: What the kernel holds for a connection, each way; 0 leaves that to it.
        local: Places of each of the machine's own addresses, apart from all others'; 0: there are none.
    """

    turns: Rate
    turns_each: Rate
    waiting: int
    waiting_each: int
    wait_seconds: float
    strangers: int
    strangers_each: int
    greet_seconds: float
    guests: int
    guests_each: int
    idle_seconds: float
    field_bytes: int
    fields: int
    buffer_bytes: int
    local: int = 0


HEARTBEATS = Limits(
    turns=Rate(300.0, 60.0),
    turns_each=Rate(100.0, 60.0),
    waiting=1_024,
    waiting_each=300,
    wait_seconds=3.0,
    strangers=512,
    strangers_each=300,
    greet_seconds=5.0,
    guests=4_096,
    guests_each=4,
    idle_seconds=30.0,
    field_bytes=1_024,
    fields=32,
    buffer_bytes=0,
)
"""Port 8771."""
PLAIN_HEARTBEATS = replace(HEARTBEATS, guests_each=HEARTBEATS.guests)
"""Without certificates nobody knows who shares an address."""
PUBLIC = Limits(
    turns=Rate(500.0, 100.0),
    turns_each=Rate(100.0, 100.0),
    waiting=256,
    waiting_each=128,
    wait_seconds=3.0,
    strangers=256,
    strangers_each=256,
    greet_seconds=5.0,
    guests=256,
    guests_each=256,
    idle_seconds=15.0,
    field_bytes=4_096,
    fields=32,
    buffer_bytes=65_536,
    local=64,
)
"""Port 8770. Nobody is a stranger there for longer than a moment, but as many come at once as a burst has."""

NODE_REQUESTS = Rate(1.0, 10.0)
"""Heartbeats of one node. It sends one each 5 s and at a start, and two processes of it may overlap."""
VOTER_REQUESTS = Rate(1.0, 3.0)
"""Heartbeats of one voter, each of up to 1 MiB: reading the worst takes 0.3 s, while all others wait."""
PUBLIC_REQUESTS_EACH = Rate(20.0, 40.0)
"""Requests of one address to port 8770."""
PUBLIC_REQUESTS = Rate(200.0, 400.0)
"""Those of all addresses: what strangers ask takes no more than a part of a core, however many they are."""
PUBLIC_BYTES_EACH = Rate(2**20, 2**24)
"""Bytes of `/status` for one address: of 1,000 nodes one a second, sixteen at once."""
LOCAL = frozenset({"127.0.0.1", "::1"})
"""The machine itself, which may ask as often as it likes: its probes and its operator's tunnels.

A forwarder on it brings strangers by that address, too: so its places and turns are its own, and bounded.
"""
