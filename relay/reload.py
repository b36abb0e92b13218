"""Loads a new configuration while the one in force goes on serving.

Files are read in threads, within a time limit, so that a dead network mount blocks no call. The
result is handed back; ``app`` puts it in force.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from relay import threads
from relay.config import ConfigurationError, ListenAddress, Problem, Settings, load
from relay.config.ledger import require_ledger_folder
from relay.credentials.credential import OnRead
from relay.downstream.listener import CannotListen
from relay.proxy.hop import Memory
from relay.proxy.runtime import Runtime

if TYPE_CHECKING:
    from relay.telemetry.prices import Prices

# Reading takes milliseconds; only a dead network mount takes as long as this.
RELOAD_SECONDS: Final = 10.0

log = logging.getLogger("relay")


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration that can be put in force, with the objects made from it."""

    settings: Settings
    runtime: Runtime
    prices: Prices | None


class Loader:
    """Loads the configuration file each time it is asked; every runtime shares ``memory``."""

    def __init__(self, path: Path, on_read: OnRead, memory: Memory) -> None:
        self.path = path
        self._on_read = on_read
        self._memory = memory

    async def load(self, before: Settings, returns: Sequence[ListenAddress] | None) -> Loaded:
        """Return what the file says now, with the listeners' addresses as they are.

        ``returns`` are the return addresses that are listened on already, if any.

        Raises:
            ConfigurationError: It cannot be used, or not be read in time.
        """
        try:
            async with asyncio.timeout(RELOAD_SECONDS):
                settings = await threads.run(partial(load, self.path))
                await threads.run(partial(require_ledger_folder, settings))
                settings = on_old_listeners(settings, before, returns)
                return await threads.run(partial(self._build, settings))
        except TimeoutError as error:
            message = f"cannot be read within {RELOAD_SECONDS:g} s, or a ca_file in it cannot"
            raise ConfigurationError([Problem(1, (), message)], str(self.path)) from error

    def _build(self, settings: Settings) -> Loaded:
        runtime = Runtime(settings, self._on_read, self._memory)
        return Loaded(settings, runtime, prices_of(settings))


def on_old_listeners(
    settings: Settings, before: Settings, returns: Sequence[ListenAddress] | None
) -> Settings:
    """Return new settings with the old ones' listeners, which only a restart can change.

    Raises:
        ConfigurationError: It has no clients, but the relay listens beyond loopback.
    """
    if (settings.listen, settings.admin) != (before.listen, before.admin):
        log.warning("listen and admin changed: that needs a restart")
    lasting = tuple(returns or settings.returns)
    if settings.has_hops and settings.returns != lasting:
        log.warning("returns changed: that needs a restart")
    if not settings.has_clients and not all(address.is_loopback for address in before.listen):
        message = "are needed: the relay listens beyond loopback until it is restarted"
        raise ConfigurationError([Problem(1, ("clients",), message)], settings.file)
    return replace(settings, listen=before.listen, admin=before.admin, returns=lasting)


def say_why_not(error: Exception) -> None:
    """Log why a configuration was not put in force."""
    if isinstance(error, ConfigurationError):
        log.error("not reloaded, the configuration stays as it was")
        for line in error.explain():
            log.error("%s", line)
    elif isinstance(error, CannotListen):
        log.error("not reloaded, the configuration stays as it was: %s", error)
    else:
        log.error("not reloaded, the configuration stays as it was", exc_info=error)


def prices_of(settings: Settings) -> Prices | None:
    """Return the price list, where costs, the ledger or a limit need one."""
    if settings.prices is None and settings.ledger is None and not settings.counts_use:
        return None
    from relay.telemetry.prices import Prices  # noqa: PLC0415  # the price list takes memory: only where wanted

    return Prices(settings.prices, settings.factors, settings.unknown)
