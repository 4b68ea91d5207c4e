"""The endpoints that all may read: plain HTTP, GET only."""

from aiohttp import web

from p2p_orchestrator.clock import boottime
from p2p_orchestrator.documents import StatusPage, health
from p2p_orchestrator.metrics import MetricsPage
from p2p_orchestrator.node import Node

FALSE = ("0", "false", "no")
JSON = "application/json"


class Endpoints:
    """`/health`, `/status`, `/live`, `/ready` and `/metrics`."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._status = StatusPage(node)
        self._metrics = MetricsPage(node)

    def app(self) -> web.Application:
        """Return the application to serve."""
        app = web.Application(client_max_size=1024)
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

    async def _get_health(self, _: web.Request) -> web.Response:
        state = health(self._node, boottime())
        return web.json_response(state, status=200 if state["healthy"] else 503)

    async def _get_status(self, request: web.Request) -> web.Response:
        alive_only = request.query.get("alive_only", "true").lower() not in FALSE
        return web.Response(body=self._status.encode(boottime(), alive_only=alive_only), content_type=JSON)

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
