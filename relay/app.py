"""The relay as a process: listeners, configuration in force, signals, shutdown.

Makes all parts and owns their lifetime. SIGHUP puts a new configuration in force. SIGTERM and
SIGINT drain: no new connections are accepted, calls in flight have ``drain`` seconds to finish and
are cut after that, so that no answer looks complete that is not.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry

from relay import threads
from relay.admin.handler import AdminHandler
from relay.config import ListenAddress, Settings
from relay.downstream.server import Server
from relay.proxy.handler import Calls
from relay.proxy.hop import Memory
from relay.proxy.lifecycle import Lifecycle
from relay.proxy.problems import ProblemLog, subjects_of
from relay.proxy.readiness import states_of
from relay.proxy.returns import Returns
from relay.proxy.runtime import Runtime
from relay.reload import Loader, prices_of, say_why_not
from relay.supervisor import Supervisor
from relay.telemetry.ledger import Ledger
from relay.telemetry.metrics import Metrics
from relay.telemetry.recent_calls import RecentCalls
from relay.telemetry.recorder import Recorder
from relay.telemetry.traces import wanted_tracer
from relay.telemetry.use import Use

if TYPE_CHECKING:
    from relay.admin.application import AdminListener
    from relay.telemetry.prices import Prices

TICK_SECONDS: Final = 0.5
REPORT_TICKS: Final = 2
CUT_SECONDS: Final = 1.0
# Prometheus, the health check, a few open pages; each takes a descriptor that a call could use.
ADMIN_CONNECTIONS: Final = 64

log = logging.getLogger("relay")


class App:
    """One running relay."""

    def __init__(self, settings: Settings) -> None:
        self._metrics = Metrics(CollectorRegistry())
        self._ledger = Ledger()
        memory = Memory()
        runtime = Runtime(settings, self._metrics.credential_read, memory)
        self.lifecycle = Lifecycle(runtime, memory, self._ledger)
        self._supervisor = Supervisor()
        self._problems = ProblemLog()
        self._loader = Loader(Path(settings.file), self._metrics.credential_read, memory)
        self._use = Use()
        self._history = RecentCalls()
        observers = [self._use.take]
        if (tracer := wanted_tracer(os.environ)) is not None:
            self.lifecycle.tracer = tracer
            self._metrics.watch("trace_spans", lambda: tracer.dropped)
            observers.append(tracer.take)
        self._recorder = Recorder(self._metrics, self._history, self._ledger.take, observers)
        self._ledger.catch_up = self._recorder.count
        self._put_prices_in_force(settings, prices_of(settings))
        self._metrics.prepare(states_of(runtime), runtime.client_names)
        self._metrics.loaded()
        calls = Calls(self.lifecycle, self._metrics, self._recorder)
        self._admin = AdminHandler(self._load_admin)
        self._agents = Server(calls, "relays", "listen")
        self._returns = Server(Returns(self.lifecycle, self._metrics), "returns", "returns")
        self._pages = Server(self._admin, "admin pages", "admin", ADMIN_CONNECTIONS)
        self._reload_wanted = asyncio.Event()
        self._stop = asyncio.Event()
        self._stop_at_once = asyncio.Event()

    async def run(self, on_loaded: Callable[[], object] = lambda: None) -> None:
        """Serve until a signal says stop; ``on_loaded`` is called once everything is imported.

        Raises:
            CannotListen: An address cannot be listened on.
        """
        _raise_descriptor_limit()
        self._handle_signals()
        background = [asyncio.create_task(self._tick())]
        try:
            await self._ledger.wait_until_read()
            self._pages.open(self.lifecycle.runtime.settings.admin)
            self._open_returns(self.lifecycle.runtime.settings)
            self._agents.open(self.lifecycle.runtime.settings.listen)
            self.lifecycle.runtime.start()
            self._introduce()
            self._supervisor.ready()
            # Only now: an earlier reload would start its runtime twice, and tell systemd too early.
            background.append(asyncio.create_task(self._reload_on_demand()))
            background.append(asyncio.create_task(self._load_pages(on_loaded)))
            await self._stop.wait()
            await self._drain()
        finally:
            for task in background:
                task.cancel()
            await self._close()

    @property
    def bound(self) -> tuple[ListenAddress, ListenAddress]:
        """The first address of the relays and of the admin pages, as they are bound."""
        return self._agents.bound[0], self._pages.bound[0]

    async def _load_pages(self, on_loaded: Callable[[], object]) -> None:
        try:
            await self._admin.start()
            on_loaded()
        except Exception:
            log.exception("a fault of the relay")

    def _open_returns(self, settings: Settings) -> None:
        """Open the return address, once a configuration has hops.

        Raises:
            CannotListen: An address cannot be listened on; then none of them is.
        """
        if settings.has_hops and self._returns.addresses is None:
            self._returns.open(settings.returns)

    def _load_admin(self) -> AdminListener:
        from relay.admin.application import AdminListener  # noqa: PLC0415  # see relay.admin.handler
        from relay.admin.source import Source  # noqa: PLC0415  # see relay.admin.handler

        source = Source(self.lifecycle, self._metrics, self._history, self._recorder, self._use)
        return AdminListener(source, self.lifecycle.runtime.settings.admin)

    def _introduce(self) -> None:
        self._warn()
        for name, route in self.lifecycle.runtime.routes.items():
            way = ", ".join(hop.settings.name for hop in route.hops)
            by_way = f", by way of {way}" if way else ""
            egress = route.settings.egress
            out = f", out through the proxy {egress.proxy}" if egress is not None else ""
            log.info("relay %s forwards to %s%s%s", name, route.settings.upstream, by_way, out)
        self._report()

    def _warn(self) -> None:
        for warning in self.lifecycle.runtime.settings.warnings:
            log.warning("%s", warning)

    def _put_prices_in_force(self, settings: Settings, prices: Prices | None) -> None:
        """Have metrics, ledger and limits use these settings and their prices from now on."""
        self._recorder.flush()
        self._metrics.price(None if settings.prices is None else prices)
        self._use.price(prices)
        self._ledger.configure(settings, prices)
        if settings.ledger is not None:
            self._metrics.watch("ledger", lambda: self._ledger.dropped)
        if settings.has_limits:
            self._metrics.watch_limits(self._ledger.spending, self._accounts)

    def _accounts(self) -> Iterable[tuple[str, str]]:
        return self.lifecycle.runtime.accounts()

    def _report(self) -> None:
        self._ledger.report()
        if self.lifecycle.tracer is not None:
            self.lifecycle.tracer.report()
        self._problems.report(subjects_of(self.lifecycle.runtime))

    # Signals

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self.reload)

    def stop(self) -> None:
        """Begin to drain; called a second time, cut the calls in flight at once."""
        if self._stop.is_set():
            self._stop_at_once.set()
        self._stop.set()

    def reload(self) -> None:
        """Reload the configuration file; called during a reload, once more after it."""
        self._reload_wanted.set()

    # A new configuration

    async def _reload_on_demand(self) -> None:
        while True:
            await self._reload_wanted.wait()
            self._reload_wanted.clear()
            self._supervisor.reloading()
            try:
                await self._reload()
            except Exception as error:  # noqa: BLE001  # whatever it is, what serves goes on
                self._metrics.reloaded(succeeded=False)
                say_why_not(error)
            finally:
                self._supervisor.ready()

    async def _reload(self) -> None:
        """Load the configuration file and put it in force.

        Raises:
            ConfigurationError: It cannot be used, or not be read in time.
            CannotListen: It is the first with hops, and the return address cannot be opened.
        """
        before = self.lifecycle.runtime
        loaded = await self._loader.load(before.settings, self._returns.addresses)
        runtime = loaded.runtime
        self._open_returns(loaded.settings)
        self._put_prices_in_force(loaded.settings, loaded.prices)
        self._metrics.prepare(states_of(runtime), runtime.client_names)
        self.lifecycle.runtime = runtime
        runtime.start()
        before.retire()
        self._metrics.reloaded(succeeded=True)
        log.info("reloaded %s", self._loader.path)
        self._warn()
        self._problems = ProblemLog()
        self._report()

    # Time

    async def _tick(self) -> None:
        """Every half second: measure the loop's lag, look after connections, report problems."""
        ticks = 0
        while True:
            due = time.perf_counter() + TICK_SECONDS
            await asyncio.sleep(TICK_SECONDS)
            self._metrics.loop_was_late(max(0.0, time.perf_counter() - due))
            ticks += 1
            try:
                for server in (self._agents, self._returns, self._pages):
                    server.connections.tend(self.lifecycle.runtime.settings.timeouts.write)
                if ticks % REPORT_TICKS == 0:
                    self._report()
            except Exception:
                log.exception("a fault of the relay")  # and the next tick comes all the same

    # The end

    async def _drain(self) -> None:
        self.lifecycle.draining = True
        self._supervisor.stopping()
        self._admin.drain()
        self._agents.close()
        seconds = self.lifecycle.runtime.settings.drain
        log.info(
            "stopping: %d calls in flight have %g s to finish",
            self._agents.connections.busy,
            seconds,
        )
        done = asyncio.create_task(self._agents.connections.finish())
        at_once = asyncio.create_task(self._stop_at_once.wait())
        await asyncio.wait({done, at_once}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        at_once.cancel()
        if not done.done():
            await self._cut(done)

    async def _cut(self, done: asyncio.Task[None]) -> None:
        self.lifecycle.cutting = True
        log.warning("cutting the calls that are still in flight")
        self._agents.connections.cut()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(done, CUT_SECONDS)

    async def _close(self) -> None:
        self._pages.close()
        self._agents.abort()
        self._returns.abort()
        await self._admin.stop()
        self._pages.abort()
        self.lifecycle.runtime.retire()
        self._recorder.flush()
        await self._ledger.close()
        if self.lifecycle.tracer is not None:
            await threads.run(self.lifecycle.tracer.close)
        log.info("stopped")


def _raise_descriptor_limit() -> None:
    """Raise the limit of open files to the hard limit: each call takes two."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
