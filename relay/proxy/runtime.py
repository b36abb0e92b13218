"""One configuration in force: its relays, its credentials, its access.

A reload makes a new one and puts it in the place of the old; calls in flight finish under
the one they began with, which closes when the last of them is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from relay.config import ClientRules, HopSettings, RelaySettings, Settings
from relay.config.returns import return_addresses
from relay.credentials.credential import Credential, OnRead
from relay.credentials.folder import TokenFolder, folder_with, labels_of
from relay.downstream.listener import interface_addresses
from relay.proxy.access import NO_CLIENT, AccessPolicy
from relay.proxy.chain import Chain
from relay.proxy.forward import Forwarder
from relay.proxy.hop import Hop, Memory
from relay.proxy.standing import Standing
from relay.proxy.upstream_words import UpstreamWords
from relay.telemetry.call import CallRecord
from relay.upstream.egress import Egress
from relay.upstream.health import UpstreamState

_NO_RULES: Final = ClientRules()


@dataclass(frozen=True, slots=True)
class Route:
    """A relay at work."""

    settings: RelaySettings
    forwarder: Forwarder
    upstream: UpstreamState
    standing: Standing
    words: UpstreamWords
    chain: Chain | None = None
    """The LLM proxies on the way, where there are any."""

    @property
    def hops(self) -> Sequence[Hop]:
        """The LLM proxies on the way, in order."""
        return () if self.chain is None else self.chain.hops

    @property
    def credentials(self) -> Iterator[Credential]:
        """The sources of further headers, and of what its hops are sent."""
        yield from self.forwarder.headers.credentials
        if self.chain is not None:
            yield from self.chain.credentials

    def judge(self, version: int, record: CallRecord, secrets: Iterable[bytes] = ()) -> None:
        """Take what a call says that is over, sent with this version of the credential.

        ``secrets`` are what hops on its way were told it by.
        """
        self.standing.judge(version, record)
        self.words.hear(record, secrets)


class Runtime:
    """Everything that one configuration brings to life."""

    def __init__(self, settings: Settings, on_read: OnRead, memory: Memory) -> None:
        self.settings = settings
        self._memory = memory
        self.clients = [Credential(client.name, client.sources) for client in settings.clients]
        self.grants = {
            grant.name: Credential(grant.name, grant.sources, on_read=on_read, fields=grant.fields)
            for grant in settings.grants
        }
        self.egresses = {each: Egress(each) for each in settings.egresses}
        names = [each.name for each in settings.owners]
        self.folders = [TokenFolder(each.name, each.folder, names) for each in settings.folders]
        self.access = AccessPolicy(settings.listen, self.clients, self.folders)
        self._rules = {each.name: each.rules for each in settings.owners}
        self.routes = {relay.name: self._route(relay) for relay in settings.relays}
        self._tasks: list[asyncio.Task[None]] = []
        self._calls = 0
        self._retired = False

    def _route(self, relay: RelaySettings) -> Route:
        timeouts = self.settings.timeouts
        credential = self.grants[relay.grant.name]
        egress = None if relay.egress is None else self.egresses[relay.egress]
        return Route(
            settings=relay,
            forwarder=Forwarder(relay, credential, timeouts, egress),
            upstream=UpstreamState(relay, timeouts.connect),
            standing=Standing(credential),
            words=UpstreamWords(relay.name, self._secrets, may_be_hop=relay.may_be_to_a_hop),
            chain=self._chain(relay),
        )

    def _chain(self, relay: RelaySettings) -> Chain | None:
        if not relay.hops:
            return None
        return Chain(relay, self.settings.timeouts, self._memory, partial(self._returns_to, relay))

    def _returns_to(self, relay: RelaySettings, hop: HopSettings) -> str:
        """Return where a hop is to send on to, as far as there is an address by now."""
        found = return_addresses(self.settings, relay, hop, interface_addresses)
        return found[0].url if found else "the relay's return address"

    def _secrets(self) -> Iterator[bytes]:
        """Yield every value that no text may hold."""
        for egress in self.egresses.values():
            yield from egress.secrets
        for each in self.credentials():
            yield from each.values() or ()

    @property
    def client_names(self) -> list[str]:
        """The ``client`` labels there are."""
        return [each.name for each in self.settings.owners] or [NO_CLIENT]

    def folder_of(self, client: str) -> str | None:
        """Return the folder that a client is of, if it is of one."""
        if client in self._rules:
            return None
        folder = folder_with(client, self.folders)
        return None if folder is None else folder.name

    def rules_of(self, label: str) -> ClientRules:
        """Return what a client may do, by the label that it has."""
        return self._rules.get(label, _NO_RULES)

    def accounts(self) -> Iterator[tuple[str, str]]:
        """Yield the names of the clients there are now, each with its label."""
        yield from labels_of((client.name for client in self.clients), self.folders).items()
        if not self._rules:
            yield NO_CLIENT, NO_CLIENT

    def start(self) -> None:
        """Begin what runs in the background: probes, and first runs of commands."""
        for route in self.routes.values():
            self._run(route.upstream.watch())
            for hop in route.hops:
                self._run(hop.state.watch())
        for credential in self.credentials():
            self._run(credential.settle())

    def _run(self, work: Coroutine[None, None, None]) -> None:
        self._tasks.append(asyncio.get_running_loop().create_task(work))

    def credentials(self) -> Iterator[Credential]:
        """Yield every source of a value: of grants and tokens, of ways out, headers and passes."""
        yield from self.grants.values()
        yield from self.clients
        for egress in self.egresses.values():
            if egress.credential is not None:
                yield egress.credential
        for route in self.routes.values():
            yield from route.credentials

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
                if route.chain is not None:
                    route.chain.close()
            for credential in self.credentials():
                credential.close()
