"""A port that an application is served on."""

import errno
import ssl

from aiohttp import web

from p2p_orchestrator import log
from p2p_orchestrator.errors import Exit, StartError

CLOSE_SECONDS = 0.3


class Listener:
    """Serves one application; `start` again with another context drops all connections and takes new ones.

    Args:
        app: The application.
        host: Address to listen on.
        port: Port to listen on.
        setting: The setting's name, for the error.
    """

    def __init__(self, app: web.Application, host: str, port: int, setting: str) -> None:
        self._app = app
        self._host = host
        self._port = port
        self._setting = setting
        self._runner: web.AppRunner | None = None
        self._site: web.TCPSite | None = None

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        """Listen. Raises StartError if the port cannot be had."""
        if self._runner is None:
            self._runner = web.AppRunner(
                self._app, access_log=None, handle_signals=False, shutdown_timeout=CLOSE_SECONDS
            )
            await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port, ssl_context=tls)
        try:
            await site.start()
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            reason = "it is taken; stop what uses it, or set another" if taken else str(error.strerror)
            where = f"{self._host}:{self._port} ({self._setting})"
            raise StartError(Exit.PORT, f"cannot listen on {where}: {reason}") from error
        self._site = site

    async def restart(self, tls: ssl.SSLContext) -> bool:
        """Drop all connections and listen anew; return whether that worked."""
        if self._site is not None:
            await self._site.stop()
            self._site = None
        if self._runner is not None and self._runner.server is not None:
            # Whoever was let in by the old certificates has to show one again.
            for connection in self._runner.server.connections:
                if connection.transport is not None:
                    connection.transport.abort()
        try:
            await self.start(tls)
        except StartError as error:
            log.event("not_listening", "error", reason=str(error))
            return False
        return True

    def trim(self, limit: int) -> None:
        """Drop the oldest connections beyond `limit`: idle strangers must not use up the file descriptors."""
        if self._runner is not None and self._runner.server is not None:
            connections = self._runner.server.connections
            for connection in connections[: max(0, len(connections) - limit)]:
                if connection.transport is not None:
                    connection.transport.abort()

    async def stop(self) -> None:
        """Stop listening and close all connections."""
        if self._runner is not None:
            await self._runner.cleanup()
