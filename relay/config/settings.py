"""What agent.yaml comes to once everything is resolved: the values the relay runs on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as defaulted
from typing import Final, Literal

from relay.config.addresses import ListenAddress, UpstreamAddress
from relay.config.schema import Per, Timeouts
from relay.config.sources import CommandSource, EnvSource, FileSource
from relay.errors import Api

DEFAULT_UNKNOWN: Final[Mapping[str, float]] = {"input": 15, "output": 75}
"""Above what any model costs that agents use."""

Sources = tuple[EnvSource | FileSource | CommandSource, ...]
"""Where a value may come from: the first that has one counts."""


@dataclass(frozen=True, slots=True)
class FurtherHeader:
    """A header that a grant fills beside its first, from another field of the same source."""

    name: bytes
    field: str
    """Where in the source's JSON its value is; empty for the credential's own."""
    prefix: bytes = b""
    suffix: bytes = b""


@dataclass(frozen=True, slots=True)
class GrantSettings:
    """A credential's sources and the way it goes into a request.

    ``add`` sets headers, replacing the agent's; an ``anthropic-beta`` is merged instead.
    """

    name: str
    sources: Sources
    header: bytes
    prefix: bytes = b""
    suffix: bytes = b""
    remove: frozenset[bytes] = frozenset()
    add: tuple[tuple[bytes, bytes], ...] = ()
    field: str = ""
    """Where in the source's JSON the credential is, from where the source's path leads."""
    further: tuple[FurtherHeader, ...] = ()
    """What the source fills beside ``header``; LLM proxies on the way get none of it."""

    @property
    def fields(self) -> tuple[str, ...]:
        """What is read of the source: the credential, and what goes into further headers."""
        return (self.field, *(each.field for each in self.further))

    @property
    def header_names(self) -> frozenset[bytes]:
        """The headers that it fills, in lower case."""
        return frozenset(name.lower() for name in (self.header, *(e.name for e in self.further)))


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """A line that no call is begun beyond: so many dollars, tokens or calls."""

    kind: Literal["usd", "tokens", "at_once"]
    amount: float
    per: Per | None = None
    """None of calls at once."""
    warn: float = 0.8
    """The share at which the log says so."""

    @property
    def name(self) -> str:
        """What it is called in metrics: ``usd_day``, ``at_once``."""
        return self.kind if self.per is None else f"{self.kind}_{self.per}"


@dataclass(frozen=True, slots=True)
class ClientRules:
    """What a client, or each of a folder, may do."""

    relays: frozenset[str] | None = None
    """The relays that it may call; None: all of them."""
    limits: tuple[LimitSettings, ...] = ()
    batches: bool = False
    """Whether it may create batches, which no limit sees."""


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """A caller's name and where its token comes from."""

    name: str
    sources: Sources
    rules: ClientRules = ClientRules()


@dataclass(frozen=True, slots=True)
class FolderSettings:
    """Callers whose tokens are files of a folder."""

    name: str
    """What they are called in metrics."""
    folder: str
    rules: ClientRules = ClientRules()


@dataclass(frozen=True, slots=True)
class HeaderSettings:
    """A header whose value comes from a source; the name as it was written."""

    name: bytes
    sources: Sources


@dataclass(frozen=True, slots=True)
class HopSettings:
    """One LLM proxy on the way to an API."""

    name: str
    upstream: UpstreamAddress
    if_down: Literal["fail", "skip"] = "fail"
    """What becomes of a call that cannot be handed to it: an error, or the next leg."""
    pass_: Literal["client", "call"] | Sources = "client"
    """What it gets in the credential's place: a pass of each client or call, or one of its own."""
    headers: tuple[HeaderSettings, ...] = ()
    """What it wants for itself; taken off what it sends on."""
    ca_file: str | None = None


@dataclass(frozen=True, slots=True)
class EgressSettings:
    """A proxy that opens a way out to an API."""

    proxy: UpstreamAddress
    ca_file: str | None = None
    """CAs of its own: for its URL, and for what it puts in the place of the API's certificate."""
    sources: Sources = ()
    """Of ``user:password``; none where it wants nothing of the kind."""


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """One relay with the grant that serves it."""

    name: str
    upstream: UpstreamAddress
    grant: GrantSettings
    api: Api
    allow: tuple[bytes, ...]
    ca_file: str | None = None
    max_body: int | None = None
    hops: tuple[HopSettings, ...] = ()
    """The LLM proxies between the relay and the upstream, in order."""
    headers: tuple[HeaderSettings, ...] = ()
    """Sent on the last leg, beside the credential."""
    egress: EgressSettings | None = None
    """The way out to the upstream; None: straight."""

    @property
    def may_be_to_a_hop(self) -> bool:
        """Whether what gets the credential is hardly the API: an LLM proxy that is no hop yet."""
        return not self.hops and not self.upstream.tls


@dataclass(frozen=True, slots=True)
class LedgerSettings:
    """Where every call is noted, and for how long."""

    path: str
    keep_days: float = 90
    max_mb: float = 1024
    """Millions of bytes."""
    line: int = defaulted(default=1, compare=False)
    """Where the path stands in agent.yaml."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole configuration, valid and resolved."""

    file: str
    relays: tuple[RelaySettings, ...]
    clients: tuple[ClientSettings, ...]
    listen: tuple[ListenAddress, ...]
    admin: tuple[ListenAddress, ...]
    timeouts: Timeouts
    drain: float
    prices: Mapping[str, Mapping[str, float]] | None = None
    """Dollars per million tokens by model and type, over the known ones; None: no costs."""
    factors: Mapping[str, float] = defaulted(default_factory=dict)
    """What services beside the standard one cost, as multiples, over the known ones."""
    unknown: Mapping[str, float] = defaulted(default_factory=lambda: DEFAULT_UNKNOWN)
    """Dollars per million tokens by type, for limits, of a model without a known price."""
    folders: tuple[FolderSettings, ...] = ()
    """Further clients, that come and go."""
    limits: tuple[LimitSettings, ...] = ()
    """Of all clients together."""
    ledger: LedgerSettings | None = None
    timezone: str = "UTC"
    """In which days, weeks and months are cut."""
    warnings: tuple[str, ...] = ()
    returns: tuple[ListenAddress, ...] = ()
    """Where hops come back; listened on only where a relay has hops."""

    @property
    def has_clients(self) -> bool:
        """Whether a token is needed to call."""
        return bool(self.owners)

    @property
    def owners(self) -> tuple[ClientSettings | FolderSettings, ...]:
        """Clients and folders of clients: whoever has limits of its own."""
        return (*self.clients, *self.folders)

    @property
    def has_limits(self) -> bool:
        """Whether anybody is under a limit."""
        return bool(self.limits) or any(each.rules.limits for each in self.owners)

    @property
    def counts_use(self) -> bool:
        """Whether anybody is under a limit of dollars or tokens."""
        limits = (*self.limits, *(limit for each in self.owners for limit in each.rules.limits))
        return any(limit.per is not None for limit in limits)

    @property
    def has_hops(self) -> bool:
        """Whether any relay has hops, which come back."""
        return any(relay.hops for relay in self.relays)

    @property
    def egresses(self) -> tuple[EgressSettings, ...]:
        """The ways out that a relay takes, each once."""
        return tuple(dict.fromkeys(each.egress for each in self.relays if each.egress is not None))

    @property
    def grants(self) -> tuple[GrantSettings, ...]:
        """The grants that serve a relay, each once."""
        return tuple({relay.grant.name: relay.grant for relay in self.relays}.values())


DEFAULT_ALLOW: Final[dict[Api, tuple[bytes, ...]]] = {
    "anthropic": (b"/v1/messages", b"/v1/models", b"/v1/files", b"/v1/complete"),
    "openai": (
        b"/v1/chat/completions",
        b"/v1/responses",
        b"/v1/models",
        b"/v1/embeddings",
        b"/v1/files",
    ),
}

DEFAULT_END: Final[dict[Api, str]] = {
    "anthropic": "https://api.anthropic.com",
    "openai": "https://api.openai.com",
}
"""Where a chain ends that names no end, for the grants that come with the relay."""
