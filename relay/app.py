"""The relay as a process: listeners, configuration in force, signals, and the end.

Composes the stages and owns their lifetime. SIGHUP puts a new configuration in force,
SIGTERM and SIGINT drain: no new connections, calls in flight finish within ``drain``
seconds and are cut after that, never ended as if they were complete.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry

from relay.admin.application import AdminListener
from relay.admin.source import Source
from relay.config import ConfigurationError, Problem, Settings, load
from relay.downstream.connections import Connections
from relay.downstream.listener import Listeners
from relay.downstream.server_connection import ServerConnection
from relay.proxy.handler import Calls
from relay.proxy.lifecycle import Lifecycle
from relay.proxy.problems import ProblemLog, subjects_of
from relay.proxy.runtime import Runtime
from relay.telemetry.metrics import Metrics
from relay.telemetry.recent_calls import RecentCalls
from relay.telemetry.recorder import Recorder
from relay.telemetry.use import Use

if TYPE_CHECKING:
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
        self.lifecycle = Lifecycle(Runtime(settings, self._metrics.credential_read))
        self._problems = ProblemLog()
        self._path = Path(settings.file)
        self._use = Use()
        self._price(prices_of(settings))
        self._metrics.prepare(self.lifecycle.runtime.states(), self.lifecycle.runtime.client_names)
        self._metrics.loaded()
        self._connections = Connections()
        self._admin_connections = Connections(ADMIN_CONNECTIONS)
        history = RecentCalls()
        self._recorder = Recorder(self._metrics, history, self._use)
        calls = Calls(self.lifecycle, self._metrics, self._recorder)
        source = Source(self.lifecycle, self._metrics, history, self._recorder, self._use)
        self._admin = AdminListener(source, settings.admin)
        self._listeners = Listeners(
            lambda: ServerConnection(calls, self._connections), "relays", "listen"
        )
        self._admin_listeners = Listeners(
            lambda: ServerConnection(self._admin, self._admin_connections), "admin pages", "admin"
        )
        self._stop = asyncio.Event()
        self._stop_at_once = asyncio.Event()

    async def run(self) -> None:
        """Serve until a signal says stop.

        Raises:
            CannotListen: An address cannot be listened on.
        """
        _raise_descriptor_limit()
        self._handle_signals()
        ticker = asyncio.create_task(self._tick())
        try:
            await self._admin.start()
            await self._admin_listeners.open(self.lifecycle.runtime.settings.admin)
            await self._listeners.open(self.lifecycle.runtime.settings.listen)
            self.lifecycle.runtime.start()
            self._introduce()
            await self._stop.wait()
            await self._drain()
        finally:
            ticker.cancel()
            await self._close()

    def _introduce(self) -> None:
        self._warn()
        for name, route in self.lifecycle.runtime.routes.items():
            log.info("relay %s forwards to %s", name, route.settings.upstream)
        self._report()

    def _warn(self) -> None:
        for warning in self.lifecycle.runtime.settings.warnings:
            log.warning("%s", warning)

    def _report(self) -> None:
        self._problems.report(subjects_of(self.lifecycle.runtime))

    # Signals

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self.reload)

    def stop(self) -> None:
        """Begin to drain; asked again, cut at once."""
        if self._stop.is_set():
            self._stop_at_once.set()
        self._stop.set()

    def reload(self) -> None:
        """Put the file's present content in force, or say why not."""
        before = self.lifecycle.runtime
        try:
            settings = self._settings_after(before.settings)
            prices = prices_of(settings)
            runtime = Runtime(settings, self._metrics.credential_read)
        except ConfigurationError as error:
            self._metrics.reloaded(succeeded=False)
            log.error("not reloaded, the configuration stays as it was")  # noqa: TRY400  # no traceback wanted
            for line in error.explain():
                log.error("%s", line)  # noqa: TRY400  # no traceback wanted
            return
        except Exception:
            self._metrics.reloaded(succeeded=False)
            log.exception("not reloaded, the configuration stays as it was")
            return
        self._price(prices)
        self._metrics.prepare(runtime.states(), runtime.client_names)
        self.lifecycle.runtime = runtime
        runtime.start()
        before.retire()
        self._metrics.reloaded(succeeded=True)
        log.info("reloaded %s", self._path)
        self._warn()
        self._problems = ProblemLog()
        self._report()

    def _price(self, prices: Prices | None) -> None:
        self._metrics.price(prices)
        self._use.price(prices)

    def _settings_after(self, before: Settings) -> Settings:
        """Return the file's settings on the listeners there are: those last until a restart."""
        settings = load(self._path)
        if (settings.listen, settings.admin) != (before.listen, before.admin):
            log.warning("listen and admin changed: that needs a restart")
        if not settings.clients and not all(address.is_loopback for address in before.listen):
            message = "are needed: the relay listens beyond loopback until it is restarted"
            raise ConfigurationError([Problem(1, ("clients",), message)], settings.file)
        return replace(settings, listen=before.listen, admin=before.admin)

    # Time

    async def _tick(self) -> None:
        """Do what is done from time to time."""
        ticks = 0
        while True:
            due = time.perf_counter() + TICK_SECONDS
            await asyncio.sleep(TICK_SECONDS)
            self._metrics.loop_was_late(max(0.0, time.perf_counter() - due))
            ticks += 1
            try:
                self._connections.tend(self.lifecycle.runtime.settings.timeouts.write)
                self._admin_connections.tend(self.lifecycle.runtime.settings.timeouts.write)
                if ticks % REPORT_TICKS == 0:
                    self._report()
            except Exception:
                log.exception("a fault of the relay")  # and the next tick comes all the same

    # The end

    async def _drain(self) -> None:
        self.lifecycle.draining = True
        self._admin.drain()
        self._listeners.close()
        seconds = self.lifecycle.runtime.settings.drain
        log.info(
            "stopping: %d calls in flight have %g s to finish", self._connections.busy, seconds
        )
        done = asyncio.create_task(self._connections.finish())
        at_once = asyncio.create_task(self._stop_at_once.wait())
        await asyncio.wait({done, at_once}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        at_once.cancel()
        if not done.done():
            await self._cut(done)

    async def _cut(self, done: asyncio.Task[None]) -> None:
        self.lifecycle.cutting = True
        log.warning("cutting the calls that are still in flight")
        self._connections.cut()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(done, CUT_SECONDS)

    async def _close(self) -> None:
        self._listeners.close()
        self._admin_listeners.close()
        self._connections.abort()
        await self._admin.stop()
        self._admin_connections.abort()
        self.lifecycle.runtime.retire()
        log.info("stopped")


def prices_of(settings: Settings) -> Prices | None:
    """Return what estimates costs, where the configuration wants that."""
    if settings.prices is None:
        return None
    from relay.telemetry.prices import Prices  # noqa: PLC0415  # the price list takes memory: only where wanted

    return Prices(settings.prices)


def _raise_descriptor_limit() -> None:
    """Take all the descriptors there are to have: each stream takes two."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
