"""Takes connections in on a port: by turns of their addresses, within places and times, before TLS and after.

An address waits for its turn, is a stranger until TLS is done, and then a guest. A stranger costs memory and
processor time that nobody answers for, so there are few of them at a time, and one address cannot have all.
"""

import asyncio
import contextlib
import errno
import socket
import ssl
import struct
import traceback
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any, cast

from aiohttp import web
from aiohttp.typedefs import Handler

from p2p_orchestrator.bounds import Allowance, Room, origin
from p2p_orchestrator.clock import boottime
from p2p_orchestrator.limits import LOCAL, Limits
from p2p_orchestrator.refusals import Reason, Refusals
from p2p_orchestrator.resources import give_back

BACKLOG = 1_024
BATCH = 64
"""Connections that are accepted before anything else has its turn."""
READ_BYTES = 16_384
"""What is read of a connection at once: where it is no request, aiohttp's error holds many copies of it."""
TURN_SECONDS = 0.02
SWEEP_SECONDS = 1.0
PAUSE_SECONDS = 0.1
CROWD, CALM = 4, 32
"""A crowd takes more than one of so many places, and has gone when it takes less than one of so many."""
NONE_LEFT = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
WENT = (errno.ECONNABORTED, errno.ECONNRESET, errno.EPROTO)
"""Who was to be accepted has gone, and the next one may be there."""
BROKEN = (errno.EBADF, errno.EINVAL, errno.ENOTSOCK)
"""Nothing can be accepted any more."""
AT_ONCE = struct.pack("ii", 1, 0)
"""SO_LINGER: a reset, and nothing is kept of the connection."""

Key = Callable[[asyncio.BaseTransport, str], str]


class Caller:
    """A connection that waits for its turn, or for TLS."""

    def __init__(self, connection: socket.socket, key: str, now: float) -> None:
        self.connection = connection
        self.key = key
        self.since = now

    def drop(self) -> None:
        """Close it before TLS began."""
        _reset(self.connection)
        self.connection.close()

    def cut(self) -> None:
        """End its handshake, which closes it."""
        _reset(self.connection)
        # What asyncio reads next is the end.
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


class Guest(asyncio.Protocol):
    """A connection after TLS, in front of aiohttp's own protocol.

    Args:
        reception: Where it came in.
        address: Its address, as a key.
        serve: Makes the protocol that its bytes are for.
    """

    def __init__(self, reception: "Reception", address: str, serve: Callable[[], asyncio.Protocol]) -> None:
        self._reception = reception
        self._serve = serve
        self._transport: asyncio.Transport | None = None
        self._idle = False
        self._gone = False
        self._inner = asyncio.Protocol()  # until it is let in, nobody
        self.key = address
        self.deadline = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let it in, which may put out another one."""
        self._transport = cast(asyncio.Transport, transport)
        # Of asyncio's own transports; those of TLS have their buffers from `tls.spare_memory`.
        transport.max_size = READ_BYTES  # type: ignore[attr-defined]
        try:
            # Not before: a stranger is not to cost that much.
            self._inner = self._serve()
            self._inner.connection_made(transport)
            self._reception.enter(self, transport)
        except Exception:  # where it has no place, nothing would ever end it
            self._gone = True
            self._reception.fault(self.key)
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Pass on, unless it was put out before."""
        if not self._gone:
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """Pass on."""
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        """Pass on."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Pass on."""
        self._inner.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        """Free its place."""
        self._reception.leave(self)
        self._inner.connection_lost(error)

    def begin(self) -> None:
        """A whole header is there: from now on the request and its answer take their time."""
        self._idle = False
        self.deadline = boottime() + self._reception.limits.idle_seconds

    def end(self) -> None:
        """It is answered."""
        self._idle = True
        self.deadline = boottime() + self._reception.limits.idle_seconds

    def put_out(self, reason: Reason | None) -> None:
        """Close at once, whatever is still to be sent; None if that is no refusal."""
        self._gone = True
        connection = self._transport.get_extra_info("socket") if self._transport is not None else None
        if self._transport is None or connection is None:
            return  # it was lost by itself, and is told so in a moment
        if reason is not None:
            self._reception.refuse(reason, self.key)
            # The kernel keeps nothing of what one that does not read was to get.
            _reset(connection)
        self._transport.abort()

    def put_out_if_late(self, now: float) -> None:
        """Close if its time is over."""
        if now > self.deadline:
            self.put_out(None if self._idle else Reason.SLOW_REQUEST)


@web.middleware
async def attend(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Tell a request's connection when it begins and ends."""
    transport = request.transport
    guest = transport.get_protocol() if transport is not None else None
    if not isinstance(guest, Guest):
        return await handler(request)
    guest.begin()
    try:
        return await handler(request)
    finally:
        guest.end()


class Reception:
    """Takes in the connections of one port.

    Args:
        serve: Makes the protocol that serves one connection.
        key: Under which key a connection counts after TLS, from its transport and its address.
        limits: What is taken in.
        refusals: Where refusals are counted.
        port: The port, for the log.
        ended: Told of each task that ended.
    """

    def __init__(
        self,
        serve: Callable[[], asyncio.Protocol],
        key: Key,
        limits: Limits,
        refusals: Refusals,
        port: int,
        *,
        ended: Callable[["asyncio.Task[None]"], None] | None = None,
    ) -> None:
        self.limits = limits
        self._serve = serve
        self._key = key
        self._refusals = refusals
        self._port = port
        self._ended = ended
        self._tls: ssl.SSLContext | None = None
        self._all = Allowance(limits.turns)
        self._each = Allowance(limits.turns_each)
        self._local = Allowance(limits.turns_each)
        self._own = dict.fromkeys(LOCAL, limits.local) if limits.local else {}
        self._waiting: Room[Caller] = Room(limits.waiting, limits.waiting_each, self._own)
        self._strangers: Room[Caller] = Room(limits.strangers, limits.strangers_each, self._own)
        self._guests: Room[Guest] = Room(limits.guests, limits.guests_each, self._own)
        self._tasks: set[asyncio.Task[None]] = set()
        self._turns: asyncio.TimerHandle | None = None
        self._sweep: asyncio.TimerHandle | None = None
        self._crowded = False

    def open(self, listeners: Iterable[socket.socket], tls: ssl.SSLContext | None) -> None:
        """Take connections from `listeners`, which are closed by `close`."""
        self._tls = tls
        for listener in listeners:
            self._start(self._accept(listener))
        self._sweep_all()

    def renew(self, tls: ssl.SSLContext) -> None:
        """Show and ask for other certificates; whoever was let in by the old ones has to show one again."""
        self._tls = tls
        self._put_out_all()

    async def close(self) -> None:
        """Take no more connections, and close those that wait."""
        for handle in (self._turns, self._sweep):
            if handle is not None:
                handle.cancel()
        for caller in self._waiting:
            self._waiting.leave(caller.key, caller)
            caller.drop()
        for caller in self._strangers:
            caller.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for caller in self._strangers:
            caller.connection.close()  # its task never ran

    def refuse(self, reason: Reason, key: str) -> None:
        """Count a refusal."""
        self._refusals.note(reason, self._port, key)

    def fault(self, key: str) -> None:
        """Count what failed here, which must not fail itself."""
        with contextlib.suppress(Exception):
            self.refuse(Reason.FAULT, key)

    def enter(self, guest: Guest, transport: asyncio.BaseTransport) -> None:
        """Let a guest in."""
        guest.deadline = boottime() + self.limits.greet_seconds
        guest.key = self._key(transport, guest.key)
        displaced = self._guests.enter(guest.key, guest)
        if displaced is not None:
            displaced.put_out(Reason.CONNECTIONS)
        if transport.get_extra_info("sslcontext") is not self._tls:
            guest.put_out(None)  # its handshake ended in the moment of a renewal

    def leave(self, guest: Guest) -> None:
        """Free a guest's place."""
        self._guests.leave(guest.key, guest)

    def _start(self, job: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(job)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self._ended is not None:
            task.add_done_callback(self._ended)

    def _guarded(self, key: str, job: Callable[[], None]) -> None:
        """Do something for one connection; if it fails, the others' must go on."""
        try:
            job()
        except Exception:
            self.fault(key)

    async def _accept(self, listener: socket.socket) -> None:
        """Accept all at once, as what the kernel keeps for others is short, and let them wait here."""
        taken = 0
        with listener:
            while True:
                await self._accept_one(listener)
                taken += 1
                # An accept that ends at once, by an error too, lets nothing else run.
                if taken % BATCH == 0:
                    await asyncio.sleep(0)

    async def _accept_one(self, listener: socket.socket) -> None:
        """Accept the next one; nothing but a broken `listener` is worth ending for."""
        connection = None
        try:
            connection, address = await asyncio.get_running_loop().sock_accept(listener)
            if address is None:  # macOS says so of one that has gone
                connection.close()
            else:
                self._wait(Caller(connection, origin(address[0]), boottime()))
        except Exception as error:
            if connection is not None:
                connection.close()
            number = error.errno if isinstance(error, OSError) else None
            if connection is None and number in BROKEN:
                raise
            if number in WENT:
                return
            with contextlib.suppress(Exception):
                self.refuse(Reason.FILES if number in NONE_LEFT else Reason.FAULT, "")
            await asyncio.sleep(PAUSE_SECONDS)

    def _wait(self, caller: Caller) -> None:
        if caller.key in self._own and self._local.take(caller.key, caller.since):
            # A flood from outside is not to keep the machine's own probes waiting.
            self._take_in(caller)
            return
        displaced = self._waiting.enter(caller.key, caller)
        if displaced is not None:
            self._drop(displaced)
        if self._turns is None:
            self._take_turns()

    def _take_turns(self) -> None:
        """Take in who may come now, and look again in a moment if others wait."""
        self._turns = None
        try:
            self._take_all(boottime())
        except Exception:
            self.fault("")
        finally:
            if self._waiting:
                self._turns = asyncio.get_running_loop().call_later(TURN_SECONDS, self._take_turns)

    def _take_all(self, now: float) -> None:
        def may(key: str) -> bool:
            return self._each.take(key, now)

        for caller in self._waiting:
            if now - caller.since > self.limits.wait_seconds:
                self._waiting.leave(caller.key, caller)
                self._drop(caller)
        while self._all.left("", now) >= 1.0 and (next_one := self._waiting.turn(may)) is not None:
            self._all.take("", now)
            self._take_in(next_one)

    def _drop(self, caller: Caller) -> None:
        caller.drop()
        self._guarded(caller.key, partial(self.refuse, Reason.WAITING, caller.key))

    def _take_in(self, caller: Caller) -> None:
        displaced = self._strangers.enter(caller.key, caller)
        # Nothing between the two may fail: only its task gives its place back.
        try:
            self._start(self._greet(caller))
        except Exception:
            self._strangers.leave(caller.key, caller)
            caller.drop()
            self.fault(caller.key)
        if displaced is not None:
            displaced.cut()
            self._guarded(displaced.key, partial(self.refuse, Reason.STRANGERS, displaced.key))

    async def _greet(self, caller: Caller) -> None:
        tls = self._tls
        limit = self.limits.greet_seconds if tls is not None else None
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: Guest(self, caller.key, self._serve),
                caller.connection,
                ssl=tls,
                ssl_handshake_timeout=limit,
            )
        except (OSError, asyncio.TimeoutError) as error:
            # Who failed, and why, is told by the context (`tls.Identity`); others just went away.
            if isinstance(error, ConnectionAbortedError):  # so asyncio says that it took too long
                self.refuse(Reason.SLOW_HANDSHAKE, caller.key)
            # It and the connection's memory hold each other, which would stay until they are looked for.
            traceback.clear_frames(error.__traceback__)
            error.__traceback__ = None
        except Exception:
            self.fault(caller.key)
            caller.drop()
        finally:
            self._strangers.leave(caller.key, caller)

    def _sweep_all(self) -> None:
        try:
            now = boottime()
            for guest in self._guests:
                self._guarded(guest.key, partial(guest.put_out_if_late, now))
            self._give_back()
        except Exception:
            self.fault("")
        finally:
            self._sweep = asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._sweep_all)

    def _give_back(self) -> None:
        """Give memory back once, when a crowd has gone: of strangers, or of guests where all are let in."""
        crowd, places = len(self._strangers), self.limits.strangers
        if self._tls is None:
            crowd, places = len(self._guests), self.limits.guests
        if self._crowded and crowd < places // CALM:
            self._crowded = False
            give_back()
        self._crowded = self._crowded or crowd > places // CROWD

    def _put_out_all(self) -> None:
        for caller in self._strangers:
            caller.cut()
        for guest in self._guests:
            guest.put_out(None)


def _reset(connection: socket.socket) -> None:
    """Let the close that follows be a reset."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
