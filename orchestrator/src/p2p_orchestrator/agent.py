"""The running program: endpoints, heartbeats, election and upkeep on one event loop."""

import asyncio
import contextlib
import secrets
import signal
from collections.abc import Coroutine
from typing import Any

from p2p_orchestrator import __version__, carryover, log, resources
from p2p_orchestrator.clock import boottime
from p2p_orchestrator.config import Config
from p2p_orchestrator.elector import Elector
from p2p_orchestrator.errors import Exit, StartError
from p2p_orchestrator.heartbeat_client import HeartbeatClient
from p2p_orchestrator.heartbeat_server import HeartbeatServer
from p2p_orchestrator.leadership import Leadership
from p2p_orchestrator.limits import HEARTBEATS, PLAIN_HEARTBEATS, PUBLIC
from p2p_orchestrator.listener import Listener
from p2p_orchestrator.membership import Members
from p2p_orchestrator.node import Node
from p2p_orchestrator.notify import notify, watchdog_seconds
from p2p_orchestrator.roster import RosterKeeper
from p2p_orchestrator.settings import SettingsFile, differing, names
from p2p_orchestrator.store import Store
from p2p_orchestrator.store_etcd import EtcdStore
from p2p_orchestrator.store_file import FileStore
from p2p_orchestrator.tls import DenyList, Identity, server_name, spare_memory
from p2p_orchestrator.watch import Watcher
from p2p_orchestrator.web import Endpoints

SAMPLE_SECONDS = 5.0
TICK_SECONDS = 0.5
RESIGN_SECONDS = 1.2
RELOAD_SECONDS = 2.0


class Agent:
    """One node's program.

    Args:
        config: The settings at the start.
        settings: Where they may change, None if nowhere.

    Raises:
        StartError: A secret or the data directory cannot be used.
    """

    def __init__(self, config: Config, settings: SettingsFile | None = None) -> None:
        self._settings = settings
        incarnation = secrets.token_hex(8)
        members = Members(config.node_id, incarnation, config.voters, boottime())
        self._node = Node(config, incarnation, members)
        self._deny = DenyList(config.deny)
        self._heartbeats = HeartbeatServer(self._node, self._deny)
        self._identity = (
            Identity(config.tls, self._heartbeats.refuse_handshake, self._deny) if config.tls else None
        )
        self._etcd_identity = Identity(config.etcd_tls) if config.etcd_tls else None
        self._stop = asyncio.Event()
        self._failure: StartError | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._public = Listener(
            Endpoints(self._node).app(),
            config.host,
            config.port,
            setting="--port / P2P_PORT",
            limits=PUBLIC,
            key=_address,
            refusals=self._node.refusals,
            ended=self._ended,
        )
        self._private: Listener | None = None
        if config.listens:
            self._private = Listener(
                self._heartbeats.app(),
                config.host,
                config.heartbeat_port,
                setting="P2P_HEARTBEAT_PORT",
                limits=HEARTBEATS if config.tls else PLAIN_HEARTBEATS,
                key=self._certificate if config.tls else _address,
                refusals=self._node.refusals,
                ended=self._ended,
            )
        self._watcher = Watcher(self._node)
        if config.voter:
            leadership = Leadership(config.node_id, incarnation)
            self._node.elector = Elector(leadership, self._store(), self._watcher.look, self._node.unfit)

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then hand leadership over.

        Raises:
            StartError: A port is taken, or the engine is not there.
        """
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self._stop.set)
        self._node.figures = {**resources.fixed(), **resources.sample(self._node.config.ringrift_path)}
        carryover.take_up(self._node.members, self._node.config)
        try:
            await self._listen()
            self._log_start()
            self._start_tasks()
            await self._read_settings()
            notify("READY=1")
            await self._stop.wait()
        finally:
            await self._shut_down()
        if self._failure is not None:
            raise self._failure

    def _store(self) -> Store:
        config = self._node.config
        if config.etcd_endpoint is None:
            return FileStore(config.data_dir)
        context = self._etcd_identity.client if self._etcd_identity else None
        return EtcdStore(config.etcd_endpoint, config.cluster, context)

    async def _listen(self) -> None:
        await self._public.start()
        if self._private is not None:
            await self._private.start(self._identity.server if self._identity else None)

    def _start_tasks(self) -> None:
        node = self._node
        self._beating = self._start(self._client().run())
        jobs: list[Coroutine[Any, Any, None]] = [self._sample(), self._tick(), self._watchdog()]
        jobs.append(self._reload())
        if node.elector is not None:
            jobs += [
                node.elector.run(),
                RosterKeeper(node, node.elector).run(),
                self._await_engine(node.elector),
            ]
        for job in jobs:
            self._start(job)

    def _start(self, job: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.ensure_future(job)
        task.add_done_callback(self._ended)
        self._tasks.append(task)
        return task

    def _client(self) -> HeartbeatClient:
        return HeartbeatClient(
            self._node, self._deny, lambda: self._identity.client if self._identity else None
        )

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if task.cancelled() or task.exception() is None:
            return
        error = task.exception()
        # First of all, as whatever comes before it may fail, too.
        self._stop.set()
        self._failure = StartError(Exit.FAILED, f"internal error: {error!r}")
        log.event("task_failed", "error", reason=repr(error))

    def _log_start(self) -> None:
        config, node = self._node.config, self._node
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
        wait = self._node.config.etcd_wait
        if not wait or self._node.config.etcd_endpoint is None:
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
                new = await asyncio.to_thread(resources.sample, self._node.config.ringrift_path)
                self._node.figures = {**self._node.figures, **new}

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self._watcher.look()

    async def _reload(self) -> None:
        """Take up certificates, a deny-list and settings that changed."""
        while True:
            await asyncio.sleep(RELOAD_SECONDS)
            if self._deny.refresh():
                await self._shut_out()
            identity, store = self._identity, self._node.elector and self._node.elector.store
            if identity is not None and identity.refresh() and self._private is not None:
                self._private.renew(identity.server)
            if (
                self._etcd_identity is not None
                and self._etcd_identity.refresh()
                and isinstance(store, EtcdStore)
            ):
                store.use_tls(self._etcd_identity.client)
            await self._read_settings()

    async def _read_settings(self) -> None:
        if self._settings is not None and self._settings.changed():
            await self._take_up(await asyncio.to_thread(self._settings.read, self._node.config))
            self._node.settings_digest = self._settings.digest

    async def _take_up(self, config: Config) -> None:
        changes = differing(self._node.config, config)
        if not changes:
            return
        asks_others = not {"seeds", "voters", "socks_proxy"}.isdisjoint(changes)
        if asks_others:
            # It ends before anything changes: no answer to it may come in under the new settings.
            await self._stop_beating()
        self._node.take_up(config, boottime())
        if asks_others:
            self._beating = self._start(self._client().run())
        log.event("settings_changed", settings=names(changes))

    def _certificate(self, transport: asyncio.BaseTransport, _: str) -> str:
        return self._deny.teller(transport.get_extra_info("peercert") or {})

    async def _shut_out(self) -> None:
        """Drop the connections with those who are on the deny-list, and what they said."""
        config = self._node.config
        if self._identity is not None and self._private is not None:
            self._private.drop(lambda certificate: self._deny.holder(certificate, config.cluster))
        # Without certificates a name on the list is refused all the same.
        shown = self._identity.shown if self._identity is not None else {}
        out = [
            name
            for name in config.voters
            if name in self._deny or self._deny.serial(shown.get(server_name(name, config.cluster), ""))
        ]
        if out:
            # With it end its connections, and whatever is still to come by them.
            await self._stop_beating()
            for name in out:
                self._node.beliefs.forget(name)
                shown.pop(server_name(name, config.cluster), None)
            self._beating = self._start(self._client().run())

    async def _stop_beating(self) -> None:
        self._beating.cancel()
        await asyncio.wait([self._beating])
        self._tasks.remove(self._beating)

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
        await asyncio.gather(*(item.stop() for item in (self._public, self._private) if item is not None))
        if self._tasks and self._failure is None and self._node.config.listens:
            # When nothing more is heard: what comes after it is the gap.
            carryover.leave(self._node.members, self._node.config)
        if elector is not None:
            await elector.store.close()
        log.event("stopped", node=self._node.config.node_id)


def _address(_: asyncio.BaseTransport, address: str) -> str:
    return address


def run(config: Config, settings: SettingsFile | None = None) -> None:
    """Run the program to its end. Raises StartError if it cannot."""
    spare_memory()
    resources.allow_files()
    resources.bound_memory()

    async def main() -> None:
        await Agent(config, settings).run()

    asyncio.run(main())
