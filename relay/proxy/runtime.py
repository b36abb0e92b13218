"""One configuration in force: its relays, its credentials, its access.

A reload makes a new one and puts it in the place of the old; calls in flight finish under
the one they began with, which closes when the last of them is over.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass

from relay.config import RelaySettings, Settings
from relay.credentials.credential import Credential, OnRead
from relay.proxy.access import NO_CLIENT, AccessPolicy
from relay.proxy.forward import Forwarder
from relay.telemetry.metrics import RelayState
from relay.upstream.health import UpstreamState

log = logging.getLogger("relay")


@dataclass(frozen=True, slots=True)
class Route:
    """A relay at work."""

    settings: RelaySettings
    forwarder: Forwarder
    upstream: UpstreamState


class Runtime:
    """Everything that one configuration brings to life."""

    def __init__(self, settings: Settings, on_read: OnRead) -> None:
        self.settings = settings
        self.clients = [Credential(client.name, client.sources) for client in settings.clients]
        self.grants = {
            grant.name: Credential(grant.name, grant.sources, on_read=on_read)
            for grant in settings.grants
        }
        self.access = AccessPolicy(settings.listen, self.clients)
        self.routes = {relay.name: self._route(relay) for relay in settings.relays}
        self._tasks: list[asyncio.Task[None]] = []
        self._calls = 0
        self._retired = False
        self._reported: dict[str, str] = {}

    def _route(self, relay: RelaySettings) -> Route:
        timeouts = self.settings.timeouts
        forwarder = Forwarder(relay, self.grants[relay.grant.name], timeouts)
        return Route(relay, forwarder, UpstreamState(relay, timeouts.connect))

    @property
    def client_names(self) -> list[str]:
        """The ``client`` labels there are."""
        return [client.name for client in self.clients] or [NO_CLIENT]

    def start(self) -> None:
        """Begin what runs in the background: probes, and first runs of commands."""
        for route in self.routes.values():
            self._run(route.upstream.watch())
        for credential in self._credentials():
            self._run(credential.settle())

    def _run(self, work: Coroutine[None, None, None]) -> None:
        self._tasks.append(asyncio.get_running_loop().create_task(work))

    def _credentials(self) -> Iterator[Credential]:
        yield from self.grants.values()
        yield from self.clients

    def states(self) -> list[RelayState]:
        """Return what a scrape shows of each relay."""
        return [self._state(name, route) for name, route in self.routes.items()]

    def _state(self, name: str, route: Route) -> RelayState:
        idle, active = route.forwarder.connections
        return RelayState(
            relay=name,
            grant=route.settings.grant.name,
            ready=self._grant_of(route).ready,
            up=route.upstream.up,
            upstream=str(route.settings.upstream),
            idle_connections=idle,
            active_connections=active,
            api=route.settings.api,
        )

    def _grant_of(self, route: Route) -> Credential:
        return self.grants[route.settings.grant.name]

    @property
    def ready(self) -> bool:
        """Whether every credential and token has a value."""
        return all(credential.ready for credential in self._credentials())

    def describe(self) -> dict[str, object]:
        """Return each relay and client with its credential's state, for readiness."""
        return {
            "relays": {
                state.relay: _describe(state, self.grants[state.grant]) for state in self.states()
            },
            "clients": {client.name: {"token": _state(client)} for client in self.clients},
        }

    def report(self) -> None:
        """Log what is missing, and what has come, since the last report."""
        for subject, problem, news in self._subjects():
            before = self._reported.get(subject, "")
            self._reported[subject] = problem
            if problem and problem != before:
                log.warning("%s: %s", subject, problem)
            elif before and not problem:
                log.info("%s: %s", subject, news)

    def _subjects(self) -> Iterator[tuple[str, str, str]]:
        """Yield each thing that may be missing: its name, its problem, and what to say after."""
        for grant in self.grants.values():
            problem = _problem(grant, "calls get 503 until it is there")
            yield f"credential {grant.name}", problem, f"there now, from {grant.origin()}"
        for client in self.clients:
            problem = _problem(client, "its calls get 401 until it is there")
            yield f"token of client {client.name}", problem, f"there now, from {client.origin()}"
        for name, route in self.routes.items():
            news = f"{route.settings.upstream} answers now"
            yield f"upstream of relay {name}", route.upstream.problem, news

    def enter(self) -> None:
        """Count a call in."""
        self._calls += 1

    def leave(self) -> None:
        """Count a call out."""
        self._calls -= 1
        self._close_if_over()

    def retire(self) -> None:
        """Stop the background work now, and close once the last call is over."""
        self._retired = True
        for task in self._tasks:
            task.cancel()
        self._close_if_over()

    def _close_if_over(self) -> None:
        if self._retired and not self._calls:
            for route in self.routes.values():
                route.forwarder.close()
            for credential in self._credentials():
                credential.close()


def _describe(state: RelayState, credential: Credential) -> dict[str, object]:
    return {
        "credential": {"grant": state.grant, **_state(credential)},
        "upstream": {"url": state.upstream, "state": state.upstream_state},
    }


def _problem(credential: Credential, consequence: str) -> str:
    if credential.ready:
        return ""
    return f"no value yet: {credential.explain()}; {consequence}. To give it, {credential.remedy()}"


def _state(credential: Credential) -> dict[str, object]:
    if credential.ready:
        return {"ready": True}
    return {"ready": False, "problem": credential.explain()}
