"""What holds for every request of a port, before any application sees it and where none ever does."""

import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from p2p_orchestrator import log
from p2p_orchestrator.refusals import Reason, Refusals

OK = 200
Serve = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def guard(serve: Serve, refusals: Refusals, port: int) -> Serve:
    """Return `serve` for a port where a connection ends with whatever is not answered by 200.

    So what an application does not count is bounded by how many connections are taken in.
    """

    async def guarded(request: web.BaseRequest) -> web.StreamResponse:
        if hdrs.EXPECT in request.headers:
            # aiohttp would answer it before any middleware, and no client of ours asks first.
            refusals.note(Reason.MALFORMED, port, request.remote or "")
            response: web.StreamResponse = web.json_response({"error": Reason.MALFORMED.value}, status=417)
        else:
            try:
                response = await serve(request)
            except web.HTTPException as answer:
                answer.force_close()
                raise
        if response.status != OK:
            response.force_close()
        return response

    return guarded


class Brief(web.RequestHandler):
    """Answers what is no request in few words: aiohttp sends all of it back, four times as long."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Return the answer, which ends the connection."""
        del message
        return super().handle_error(request, status, exc, HTTPStatus(status).phrase)


def quiet(refusals: Refusals, port: int) -> logging.Logger:
    """Return a logger for aiohttp's server that counts what it would write a traceback for."""
    result = logging.Logger("p2p_orchestrator.requests", logging.DEBUG)
    result.addHandler(_Counter(refusals, port))
    return result


class _Counter(logging.Handler):
    """Counts a request that is none, and one that failed here."""

    def __init__(self, refusals: Refusals, port: int) -> None:
        super().__init__()
        self._refusals = refusals
        self._port = port

    def emit(self, record: logging.LogRecord) -> None:
        """Count one."""
        error = record.exc_info[1] if record.exc_info else None
        who = str(record.args[0]) if isinstance(record.args, tuple) and record.args else ""
        if isinstance(error, HttpProcessingError):
            self._refusals.note(Reason.MALFORMED, self._port, who)
        elif isinstance(error, ConnectionError):
            return  # it went, or was put out, before it had its answer
        elif record.levelno >= logging.ERROR and self._refusals.note(Reason.FAULT, self._port, who):
            log.event("request_failed", "error", port=self._port, reason=repr(error))
