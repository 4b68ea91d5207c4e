"""Where a voter takes heartbeats. Anything else is refused before it costs memory, counted and logged."""

import asyncio

from aiohttp import web
from aiohttp.typedefs import Handler

from p2p_orchestrator import log
from p2p_orchestrator.bounds import Allowance, origin
from p2p_orchestrator.clock import boottime
from p2p_orchestrator.config import NAME
from p2p_orchestrator.limits import NODE_REQUESTS, VOTER_REQUESTS
from p2p_orchestrator.membership import FullError
from p2p_orchestrator.node import Node
from p2p_orchestrator.reader import TEXT, UnfitError
from p2p_orchestrator.tls import DenyList, check_peer, holder
from p2p_orchestrator.wire import heartbeat

PATH = "/v1/heartbeat/{node}"
NODE_BYTES = 8_192
VOTER_BYTES = 1_048_576
BODY_SECONDS = 5.0
LOG_SECONDS = 60.0
LOGGED = 1_000


class RefusedError(Exception):
    """Not a heartbeat that this voter takes.

    Attributes:
        reason: One word for it.
        status: The HTTP status to answer with.
    """

    def __init__(self, reason: str, status: int, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.status = status


class HeartbeatServer:
    """Takes heartbeats into a node's membership and answers with what the node believes.

    Args:
        node: Where they go.
        deny: Who is shut out.
    """

    def __init__(self, node: Node, deny: DenyList) -> None:
        self._node = node
        self._deny = deny
        self._requests = Allowance(NODE_REQUESTS)
        self._tellers = Allowance(VOTER_REQUESTS)
        self._logged: dict[tuple[str, str], float] = {}

    def app(self) -> web.Application:
        """Return the application to serve."""
        app = web.Application(client_max_size=VOTER_BYTES, middlewares=[self._bound])
        app.add_routes([web.post(PATH, self._post)])
        return app

    def refuse(self, reason: str, name: str, detail: str) -> None:
        """Count a refusal, and log it unless the same was logged within a minute."""
        self._node.refused[reason] += 1
        now = boottime()
        if now - self._logged.get((reason, name), -LOG_SECONDS) < LOG_SECONDS:
            return
        if len(self._logged) >= LOGGED:
            # Without certificates names can be invented: more of them in a minute are counted alone.
            self._logged = {key: at for key, at in self._logged.items() if now - at < LOG_SECONDS}
            if len(self._logged) >= LOGGED:
                return
        self._logged[reason, name] = now
        log.event("heartbeat_refused", "warning", reason=reason, node=name, detail=detail)

    def refuse_handshake(self, reason: str, detail: str) -> None:
        """Count and log a handshake that came to nothing."""
        self.refuse(reason, "?", detail)

    @web.middleware
    async def _bound(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Count every request, whatever it asks for, and refuse what is no heartbeat."""
        certificate = request.get_extra_info("peercert") if self._node.config.tls else None
        # What a certificate's holder says that it is, it can say in many ways.
        name = request.match_info.get("node") or origin(request.remote or "")
        teller = holder(certificate) if certificate else name[:TEXT]
        try:
            self._count(self._deny.teller(certificate) if certificate else teller)
            return await self._answer(request, handler)
        except RefusedError as refusal:
            self.refuse(refusal.reason, teller, f"{refusal} (from {request.remote})")
            response = web.json_response({"error": refusal.reason}, status=refusal.status)
            response.force_close()
            return response

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as error:
            asked = f"{request.method} {request.path}"[:TEXT]
            raise RefusedError("malformed", error.status, f"{asked!r} is no heartbeat") from error

    async def _post(self, request: web.Request) -> web.Response:
        name = request.match_info["node"]
        self._identify(request, name)
        if name in self._node.config.voters and not self._tellers.take(name, boottime()):
            raise RefusedError("too_many_requests", 429, f"more than {VOTER_REQUESTS.burst:.0f} at once")
        await self._take(request, name)
        body = self._node.answer(name, boottime())
        return web.Response(body=body, content_type="application/json")

    def _count(self, teller: str) -> None:
        """Raise RefusedError for one that asks too often."""
        if not self._requests.take(teller, boottime()):
            raise RefusedError("too_many_requests", 429, f"more than {NODE_REQUESTS.second:.0f} a second")

    def _identify(self, request: web.Request, name: str) -> None:
        """Raise RefusedError unless the sender may speak for `name`."""
        if not NAME.fullmatch(name):
            raise RefusedError("malformed", 400, "not a node's name")
        if self._node.config.tls is None:
            refusal = ("denied", "on the deny-list") if name in self._deny else None
        else:
            certificate = request.get_extra_info("peercert")
            refusal = check_peer(certificate or {}, name, self._node.config.cluster, self._deny)
        if refusal is not None:
            raise RefusedError(refusal[0], 403, refusal[1])

    async def _body(self, request: web.Request) -> bytes:
        """Return the body. Raises TimeoutError if it takes too long."""
        if request.content.is_eof():  # it came with its header: nothing to wait for
            return await request.read()
        return await asyncio.wait_for(request.read(), BODY_SECONDS)

    async def _take(self, request: web.Request, name: str) -> None:
        voter = name in self._node.config.voters
        limit = VOTER_BYTES if voter else NODE_BYTES
        if request.content_length is None or request.content_length > limit:
            raise RefusedError("too_large", 413, f"a body of {request.content_length} bytes; at most {limit}")
        try:
            message = heartbeat(await self._body(request), voter=voter)
        except asyncio.TimeoutError as error:
            raise RefusedError("too_slow", 408, f"no body within {BODY_SECONDS} s") from error
        except UnfitError as error:
            raise RefusedError("malformed", 400, str(error)) from error
        if message.cluster != self._node.config.cluster:
            raise RefusedError("wrong_cluster", 403, f"cluster {message.cluster[:TEXT]!r}")
        if message.dropped:
            self._node.unfit.note("row", name, f"{message.dropped} with an incarnation that is none")
        info = message.info
        info["reported_host"] = request.remote or ""
        info["reported_port"] = info.get("port", 0)
        now = boottime()
        try:
            self._node.members.hear(name, message.incarnation, info, now)
        except FullError as error:
            raise RefusedError("too_many_nodes", 429, str(error)) from error
        if voter:
            self._node.members.relay(name, (row for row in message.heard if row[0] not in self._deny), now)
        self._node.heartbeats["received"] += 1
