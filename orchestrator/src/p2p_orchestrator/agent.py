"""The running program: endpoints, heartbeats, election and upkeep on one event loop."""

import asyncio
import contextlib
import errno
import secrets
import signal
from collections.abc import Coroutine
from typing import Any

from aiohttp import web

from p2p_orchestrator import __version__, log, resources, tls
from p2p_orchestrator.clock import boottime
from p2p_orchestrator.config import Config
from p2p_orchestrator.elector import Elector
from p2p_orchestrator.errors import Exit, StartError
from p2p_orchestrator.heartbeat_client import HeartbeatClient
from p2p_orchestrator.heartbeat_server import HeartbeatServer
from p2p_orchestrator.leadership import Leadership
from p2p_orchestrator.membership import Members
from p2p_orchestrator.node import Node
from p2p_orchestrator.notify import notify, watchdog_seconds
from p2p_orchestrator.roster import RosterKeeper
from p2p_orchestrator.store import Store
from p2p_orchestrator.store_etcd import EtcdStore
from p2p_orchestrator.store_file import FileStore
from p2p_orchestrator.watch import Watcher
from p2p_orchestrator.web import Endpoints

SAMPLE_SECONDS = 5.0
TICK_SECONDS = 0.5
RESIGN_SECONDS = 1.2
CLOSE_SECONDS = 0.3


class Agent:
    """One node's program.

    Args:
        config: The settings.

    Raises:
        StartError: A secret or the data directory cannot be used.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        incarnation = secrets.token_hex(8)
        members = Members(config.node_id, incarnation, config.voters, boottime())
        self._node = Node(config, incarnation, members)
        self._server_tls = tls.context(config.tls, server=True) if config.tls and config.listens else None
        self._client_tls = tls.context(config.tls, server=False) if config.tls else None
        self._stop = asyncio.Event()
        self._failure: StartError | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._runners: list[web.AppRunner] = []
        self._watcher = Watcher(self._node)
        if config.voter:
            leadership = Leadership(config.node_id, incarnation)
            self._node.elector = Elector(leadership, self._store(), self._watcher.look)

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then hand leadership over.

        Raises:
            StartError: A port is taken, or the engine is not there.
        """
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self._stop.set)
        self._node.figures = {**resources.fixed(), **resources.sample(self._config.ringrift_path)}
        try:
            await self._listen()
            self._log_start()
            self._start_tasks()
            notify("READY=1")
            await self._stop.wait()
        finally:
            await self._shut_down()
        if self._failure is not None:
            raise self._failure

    def _store(self) -> Store:
        config = self._config
        if config.etcd_endpoint is None:
            return FileStore(config.data_dir)
        context = tls.context(config.etcd_tls, server=False) if config.etcd_tls else None
        return EtcdStore(config.etcd_endpoint, config.cluster, context)

    async def _listen(self) -> None:
        config = self._config
        await self._serve(Endpoints(self._node).app(), config.port, "--port / P2P_PORT")
        if config.listens:
            heartbeats = HeartbeatServer(self._node)
            await self._serve(
                heartbeats.app(), config.heartbeat_port, "P2P_HEARTBEAT_PORT", heartbeats_tls=True
            )

    async def _serve(
        self, app: web.Application, port: int, what: str, *, heartbeats_tls: bool = False
    ) -> None:
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=CLOSE_SECONDS)
        await runner.setup()
        self._runners.append(runner)
        host = self._config.host
        context = self._server_tls if heartbeats_tls else None
        try:
            await web.TCPSite(runner, host, port, ssl_context=context).start()
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            reason = "it is taken; stop what uses it, or set another" if taken else str(error.strerror)
            raise StartError(Exit.PORT, f"cannot listen on {host}:{port} ({what}): {reason}") from error

    def _start_tasks(self) -> None:
        node = self._node
        client = HeartbeatClient(
            node, lambda: self._client_tls, lambda name: tls.server_name(name, self._config.cluster)
        )
        jobs: list[Coroutine[Any, Any, None]] = [client.run(), self._sample(), self._tick(), self._watchdog()]
        if node.elector is not None:
            jobs += [
                node.elector.run(),
                RosterKeeper(node, node.elector).run(),
                self._await_engine(node.elector),
            ]
        for job in jobs:
            task = asyncio.ensure_future(job)
            task.add_done_callback(self._ended)
            self._tasks.append(task)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if task.cancelled() or task.exception() is None:
            return
        error = task.exception()
        log.event("task_failed", "error", reason=repr(error))
        self._failure = StartError(Exit.FAILED, f"internal error: {error!r}")
        self._stop.set()

    def _log_start(self) -> None:
        config, node = self._config, self._node
        log.event(
            "started",
            node=config.node_id,
            version=__version__,
            incarnation=node.incarnation,
            voter=config.voter,
            store=node.elector.store.kind if node.elector else None,
            cluster=config.cluster,
            port=config.port,
            heartbeats="tls" if config.tls else "plain",
            voters=",".join(config.voters),
        )

    async def _await_engine(self, elector: Elector) -> None:
        """Give up if nothing ever answered where the engine should be; once it did, waiting is what to do."""
        wait = self._config.etcd_wait
        if not wait or self._config.etcd_endpoint is None:
            return
        await asyncio.sleep(wait)
        if not elector.reached:
            self._failure = StartError(
                Exit.ENGINE,
                f"{elector.store_error}, for {wait:.0f} s: start etcd or correct P2P_ETCD_ENDPOINT",
            )
            self._stop.set()

    async def _sample(self) -> None:
        while True:
            await asyncio.sleep(SAMPLE_SECONDS)
            with contextlib.suppress(OSError):
                new = await asyncio.to_thread(resources.sample, self._config.ringrift_path)
                self._node.figures = {**self._node.figures, **new}

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self._watcher.look()

    async def _watchdog(self) -> None:
        seconds = watchdog_seconds()
        while seconds is not None:
            notify("WATCHDOG=1")
            await asyncio.sleep(seconds / 3)

    async def _shut_down(self) -> None:
        notify("STOPPING=1")
        elector = self._node.elector
        if elector is not None and self._tasks:
            await elector.resign(RESIGN_SECONDS)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(runner.cleanup() for runner in self._runners))
        if elector is not None:
            await elector.store.close()
        log.event("stopped", node=self._config.node_id)


def run(config: Config) -> None:
    """Run the program to its end. Raises StartError if it cannot."""

    async def main() -> None:
        await Agent(config).run()

    asyncio.run(main())
