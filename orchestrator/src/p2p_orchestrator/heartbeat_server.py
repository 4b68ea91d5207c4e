"""Where a voter takes heartbeats. Anything else is refused before it costs memory, counted and logged."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from p2p_orchestrator import log
from p2p_orchestrator.clock import boottime
from p2p_orchestrator.config import NAME
from p2p_orchestrator.membership import FullError, Row
from p2p_orchestrator.node import Node
from p2p_orchestrator.tls import DenyList, check_peer

PATH = "/v1/heartbeat/{node}"
NODE_BYTES = 8_192
VOTER_BYTES = 1_048_576
BODY_SECONDS = 5.0
LOG_SECONDS = 60.0
LOGGED = 1_000
TEXT = 256
FIELDS: Mapping[str, type] = {
    "host": str,
    "port": int,
    "scheme": str,
    "role": str,
    "leader_id": str,
    "version": str,
    "gpu_name": str,
    "cpu_count": int,
    "memory_gb": int,
    "has_gpu": bool,
    "disk_cleanup_needed": bool,
    "cpu_percent": float,
    "memory_percent": float,
    "disk_percent": float,
    "disk_free_gb": float,
    "load_score": float,
}
ROW_FIELDS = 4


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


def clean(info: object) -> dict[str, Any]:
    """Return those fields of `info` that a node may tell of itself, with the right types and bounded.

    Raises:
        RefusedError: A field has another type.
    """
    if not isinstance(info, dict):
        raise RefusedError("malformed", 400, "info is not an object")
    result: dict[str, Any] = {}
    for key, kind in FIELDS.items():
        value = info.get(key)
        if value is None:
            continue
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind:
            raise RefusedError("malformed", 400, f"info.{key} is not {kind.__name__}")
        result[key] = value[:TEXT] if isinstance(value, str) else value
    return result


def rows(heard: object) -> list[Row]:
    """Return what another voter heard.

    Raises:
        RefusedError: It is not a list of name, incarnation and two ages.
    """
    if not isinstance(heard, list):
        raise RefusedError("malformed", 400, "heard is not a list")
    result = []
    for row in heard:
        if not isinstance(row, list) or len(row) != ROW_FIELDS:
            raise RefusedError("malformed", 400, "heard holds a row that is not one")
        name, incarnation, first, last = row
        ages = isinstance(first, (int, float)) and isinstance(last, (int, float)) and last >= 0
        if not (isinstance(name, str) and NAME.fullmatch(name) and isinstance(incarnation, str) and ages):
            raise RefusedError("malformed", 400, "heard holds a row that is not one")
        result.append((name, incarnation[:TEXT], float(first), float(last)))
    return result


class HeartbeatServer:
    """Takes heartbeats into a node's membership and answers with what the node believes.

    Args:
        node: Where they go.
        deny: Who is shut out.
    """

    def __init__(self, node: Node, deny: DenyList) -> None:
        self._node = node
        self._deny = deny
        self._logged: dict[tuple[str, str], float] = {}

    def app(self) -> web.Application:
        """Return the application to serve."""
        app = web.Application(client_max_size=VOTER_BYTES)
        app.add_routes([web.post(PATH, self._post)])
        return app

    def refuse(self, reason: str, name: str, detail: str) -> None:
        """Count a refusal, and log it unless the same was logged within a minute."""
        self._node.refused[reason] += 1
        now = boottime()
        if now - self._logged.get((reason, name), -LOG_SECONDS) < LOG_SECONDS:
            return
        if len(self._logged) >= LOGGED:
            self._logged.clear()
        self._logged[reason, name] = now
        log.event("heartbeat_refused", "warning", reason=reason, node=name, detail=detail)

    def refuse_handshake(self, reason: str, detail: str) -> None:
        """Count and log a handshake that came to nothing."""
        self.refuse(reason, "?", detail)

    async def _post(self, request: web.Request) -> web.Response:
        name = request.match_info["node"]
        try:
            self._identify(request, name)
            await self._take(request, name)
        except RefusedError as refusal:
            self.refuse(refusal.reason, name[:TEXT], f"{refusal} (from {request.remote})")
            response = web.json_response({"error": refusal.reason}, status=refusal.status)
            response.force_close()
            return response
        body = self._node.answer(name, boottime())
        return web.Response(body=body, content_type="application/json")

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

    async def _take(self, request: web.Request, name: str) -> None:
        voter = name in self._node.config.voters
        limit = VOTER_BYTES if voter else NODE_BYTES
        if request.content_length is None or request.content_length > limit:
            raise RefusedError("too_large", 413, f"a body of {request.content_length} bytes; at most {limit}")
        try:
            body = json.loads(await asyncio.wait_for(request.read(), BODY_SECONDS))
        except asyncio.TimeoutError as error:
            raise RefusedError("too_slow", 408, f"no body within {BODY_SECONDS} s") from error
        except (ValueError, RecursionError) as error:
            raise RefusedError("malformed", 400, "not JSON") from error
        if not isinstance(body, dict) or not isinstance(body.get("incarnation"), str):
            raise RefusedError("malformed", 400, "no incarnation")
        if body.get("cluster") != self._node.config.cluster:
            raise RefusedError("wrong_cluster", 403, f"cluster {str(body.get('cluster'))[:TEXT]!r}")
        info = clean(body.get("info"))
        info["reported_host"] = request.remote or ""
        info["reported_port"] = info.get("port", 0)
        heard = rows(body.get("heard", [])) if voter else []
        now = boottime()
        try:
            self._node.members.hear(name, body["incarnation"][:TEXT], info, now)
        except FullError as error:
            raise RefusedError("too_many_nodes", 429, str(error)) from error
        self._node.members.relay((row for row in heard if row[0] not in self._deny), now)
        self._node.heartbeats["received"] += 1
