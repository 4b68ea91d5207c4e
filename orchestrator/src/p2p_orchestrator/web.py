"""The endpoints that all may read: plain HTTP, GET only."""

from collections.abc import Iterable

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from p2p_orchestrator.bounds import Allowance, origin
from p2p_orchestrator.clock import boottime
from p2p_orchestrator.documents import StatusPage, health
from p2p_orchestrator.limits import LOCAL, PUBLIC_BYTES_EACH, PUBLIC_REQUESTS, PUBLIC_REQUESTS_EACH
from p2p_orchestrator.metrics import MetricsPage
from p2p_orchestrator.node import Node
from p2p_orchestrator.refusals import Reason

FALSE = ("0", "false", "no")
JSON = "application/json"
PIECE_BYTES = 65_536
"""So much of a page is copied for one reader at a time."""
STATUS = {Reason.BODY: 413, Reason.REQUESTS: 429, Reason.BYTES: 429}


class Endpoints:
    """`/health`, `/status`, `/live`, `/ready` and `/metrics`."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._status = StatusPage(node)
        self._metrics = MetricsPage(node)
        self._each = Allowance(PUBLIC_REQUESTS_EACH)
        self._all = Allowance(PUBLIC_REQUESTS)
        self._bytes = Allowance(PUBLIC_BYTES_EACH)

    def app(self) -> web.Application:
        """Return the application to serve."""
        app = web.Application(client_max_size=1024, middlewares=[self._bound])
        app.add_routes(
            [
                web.get("/health", self._get_health),
                web.get("/status", self._get_status),
                web.get("/live", self._get_live),
                web.get("/ready", self._get_ready),
                web.get("/metrics", self._get_metrics),
            ]
        )
        return app

    @web.middleware
    async def _bound(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.body_exists:
            return self._refuse(request, Reason.BODY)
        address, now = origin(request.remote or ""), boottime()
        if address not in LOCAL and not (self._each.take(address, now) and self._all.take("", now)):
            return self._refuse(request, Reason.REQUESTS)
        return await handler(request)

    def _refuse(self, request: web.Request, reason: Reason) -> web.Response:
        self._node.refusals.note(reason, self._node.config.port, request.remote or "")
        response = web.json_response({"error": reason.value}, status=STATUS[reason])
        response.force_close()
        return response

    async def _get_health(self, _: web.Request) -> web.Response:
        state = health(self._node, boottime())
        return web.json_response(state, status=200 if state["healthy"] else 503)

    async def _get_status(self, request: web.Request) -> web.StreamResponse:
        alive_only = request.query.get("alive_only", "true").lower() not in FALSE
        address, now = origin(request.remote or ""), boottime()
        parts = self._status.encode(now, alive_only=alive_only)
        size = sum(len(part) for part in parts)
        if address not in LOCAL and not self._bytes.take(address, now, size):
            return self._refuse(request, Reason.BYTES)
        return await _send(request, parts, size)

    async def _get_live(self, _: web.Request) -> web.Response:
        # The event loop answers, which is all that this asks.
        return web.json_response({"live": True, "node_id": self._node.config.node_id})

    async def _get_ready(self, _: web.Request) -> web.Response:
        node, now = self._node, boottime()
        leader = node.leader(now)[0]
        store_ok = node.elector is None or node.elector.store_error is None
        ready = leader is not None and store_ok and node.quorum_ok(now)
        state = {"ready": ready, "node_id": node.config.node_id, "leader_id": leader, "store_ok": store_ok}
        return web.json_response(state, status=200 if ready else 503)

    async def _get_metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=self._metrics.encode(), content_type="text/plain", charset="utf-8")


async def _send(request: web.Request, parts: Iterable[bytes], size: int) -> web.StreamResponse:
    """Answer with `parts` one after the other; readers share them, and each takes a piece at a time."""
    response = web.StreamResponse()
    response.content_type = JSON
    response.content_length = size
    await response.prepare(request)
    for part in parts if request.method == hdrs.METH_GET else ():
        view = memoryview(part)
        for start in range(0, len(part), PIECE_BYTES):
            await response.write(view[start : start + PIECE_BYTES])
    await response.write_eof()
    return response
