"""The frozen schema of agent.yaml, one model for each thing that can be declared.

Each model stands for itself, so that a mistake in one hides none in another; what they mean
together is settled in ``loading``, what single values must look like in ``values``.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Discriminator, Field, Tag

from relay.config.sources import (
    CommandSource,
    EnvSource,
    FileSource,
    Headers,
    Model,
    Source,
    source_kind,
)
from relay.config.values import (
    FieldFormat,
    FilePath,
    HeaderFormat,
    HeaderName,
    HeaderValue,
    HopName,
    Name,
    Number,
    PathPrefix,
    PositiveNumber,
    PositiveWhole,
    ProxyUrl,
    Share,
    UpstreamUrl,
    Whole,
)
from relay.errors import Api

IfDown = Literal["fail", "skip"]
PassKind = Literal["client", "call"]
Per = Literal["hour", "day", "week", "month", "session"]
Hops = tuple[object, ...]
"""Each is read as a model of its own, so that a mistake in one hides none in another."""
Limits = tuple[object, ...]
"""The same."""
WayOut = object
"""The same: an ``Egress``."""


def _pass_kind(data: object) -> str | None:
    return "<kind>" if data in get_args(PassKind) else source_kind(data)


Pass = Annotated[
    Annotated[PassKind, Tag("<kind>")]
    | Annotated[EnvSource, Tag("<env>")]
    | Annotated[FileSource, Tag("<file>")]
    | Annotated[CommandSource, Tag("<command>")],
    Discriminator(_pass_kind, custom_error_type="pass", custom_error_message="no pass"),
]


class Grant(Model):
    """A credential and, for a custom one, how it goes into a request."""

    name: Name
    """``anthropic``, ``claude`` or ``openai``, which are known; any other is your own."""
    source: Source | None = None
    """Where the credential is; a known grant has places of its own to look."""
    header: HeaderName | None = None
    """Your own grants only, and required there: the header that the credential goes into."""
    headers: dict[HeaderName, FieldFormat] = Field(default_factory=dict)
    """In place of ``header`` and ``format``, [several headers](#several-headers) from one source:
    their values, with ``{a.b}`` where a field of the source's JSON goes."""
    format: HeaderFormat = "{}"
    """Your own grants only: the header's value, with ``{}`` where the credential goes."""
    remove: tuple[HeaderName, ...] = Field(default=(), strict=False)
    """Your own grants only: headers of the agent's that are not passed on."""
    add: dict[HeaderName, HeaderValue] = Field(default_factory=dict)
    """Your own grants only: headers that are set, in place of the agent's."""


class Client(Model):
    """Someone who may call, and the token to call with."""

    name: Name
    """The client's name, in the log and in the metrics."""
    token: Source
    """Where the token is that it calls with."""
    relays: tuple[Name, ...] | None = Field(default=None, strict=False)
    """The relays that it may call; by default all."""
    limits: Limits = Field(default=(), strict=False)
    """What it may spend, each as one of the [limits](#limits)."""
    batches: bool = False
    """Whether it may create batches under a limit of usd or tokens, which does not see them."""


class ClientFolder(Model):
    """A folder of clients, each a file: its name, its token, and when that expires."""

    name: Name
    """What all of them are called in the metrics."""
    folder: FilePath
    """The folder, which is followed; a relative path begins at agent.yaml's folder."""
    relays: tuple[Name, ...] | None = Field(default=None, strict=False)
    """The relays that they may call; by default all."""
    limits: Limits = Field(default=(), strict=False)
    """What each of them may spend, each as one of the [limits](#limits)."""
    batches: bool = False
    """Whether they may create batches under a limit of usd or tokens, which does not see them."""


class Limit(Model):
    """One line that no call is begun beyond."""

    usd: Number | None = None
    """Dollars, by list prices; 0 stops whoever it is for."""
    tokens: Whole | None = None
    """Tokens of input, cache writes and output; what the cache had is left out."""
    at_once: PositiveWhole | None = None
    """Calls in flight."""
    per: Per | None = None
    """What usd or tokens are for: a calendar period in ``timezone``, or a session of an agent."""
    warn: Share = 0.8
    """The share of usd or tokens at which the log says so."""


class Claude(Model):
    """The shorthand for the relay named ``anthropic``."""

    base_url: UpstreamUrl | None = None
    """The same as ``relays.anthropic.url``: the upstream, which gets the credential."""
    hops: Hops | None = Field(default=None, strict=False)
    """The same as ``relays.anthropic.hops``."""
    grant: Name | None = None
    """The same as ``relays.anthropic.grant``: ``anthropic`` or ``claude``, where both are there."""


class Hop(Model):
    """An LLM proxy between the relay and the API."""

    name: HopName
    """Its name in addresses, metrics and the log; unique in its relay."""
    url: UpstreamUrl
    """Where it listens."""
    if_down: IfDown = "fail"
    """Whether a call that cannot be handed to it fails, or goes to the next leg."""
    pass_: Pass = Field(default="client", alias="pass")
    """What it gets in the credential's place: a pass for each client, for each call, or a
    fixed one of at least 128 bits, which it sends on as a key of its own."""
    headers: Headers = Field(default_factory=dict)
    """What it wants for itself, such as a token; taken off what it sends on."""
    ca_file: FilePath | None = None
    """CA certificates in PEM form for an ``https`` URL; by default the system's."""


class Egress(Model):
    """A proxy on the way out to an API."""

    url: ProxyUrl
    """Where it listens, by ``http`` or ``https``."""
    ca_file: FilePath | None = None
    """CA certificates of its own in PEM form: for an ``https`` URL, and for what it puts in the
    place of the API's certificate where it reads TLS."""
    credential: Source | None = None
    """Where ``user:password`` is, if it wants one."""


class Relay(Model):
    """A named relay, at /relay/<name>/."""

    url: UpstreamUrl | None = None
    """Where calls end, and the credential goes; required without ``hops``, with them by default
    the API of the grant. ``claude.base_url`` may stand for it."""
    hops: Hops | None = Field(default=None, strict=False)
    """The LLM proxies on the way there, in order."""
    headers: Headers = Field(default_factory=dict)
    """What ``url`` wants beside the credential."""
    grant: Name | None = None
    """The grant whose credential goes with them; by default the only declared one that fits."""
    api: Api | None = None
    """The API behind it, for the shape of errors and usage; by default its grant's or name's."""
    allow: tuple[PathPrefix, ...] | None = Field(default=None, min_length=1, strict=False)
    """The paths that are relayed, with all that is below them; by default as shown below."""
    ca_file: FilePath | None = None
    """CA certificates in PEM form for an ``https`` URL; by default the system's."""
    max_body: PositiveWhole | None = None
    """The largest request body in bytes; by default there is no limit."""
    egress: WayOut | None = None
    """The way out to ``url``, in place of the one for all; ``null``: straight."""


class Timeouts(Model):
    """Limits in seconds; none of them bounds a whole call."""

    connect: PositiveNumber = 10
    """Resolving, connecting and the TLS handshake."""
    headers: PositiveNumber = 600
    """From the request's last byte to the response's head."""
    idle: PositiveNumber = 330
    """Silence within an answer."""
    request_body: PositiveNumber = 30
    """Silence within a request."""
    write: PositiveNumber = 120
    """A peer that takes no byte of what is there for it."""


class Drain(Model):
    """How many seconds a stopping relay waits for the calls in flight."""

    drain: Number = 30
    """Seconds that a stopping relay waits for the calls in flight, then it cuts them off."""


class Price(Model):
    """What a model costs, in US dollars per million tokens; what is left out is derived."""

    input: Number
    """Prompt that was neither read from the cache nor written to it."""
    output: Number
    """What the model wrote, its reasoning included."""
    cache_read: Number | None = None
    """Prompt that the cache had."""
    cache_write_5m: Number | None = None
    """Prompt that was put into the cache for five minutes."""
    cache_write_1h: Number | None = None
    """Prompt that was put into the cache for an hour."""
    cache_write_unknown: Number | None = None
    """Prompt that was put into the cache, for a time that the answer does not say."""


class Costs(Model):
    """What else ``costs`` may hold, beside the prices of models."""

    factors: dict[str, Number] = Field(default_factory=dict)
    """What a service other than the standard one costs, as a multiple, by what answers call it."""
    unknown: Price | None = None
    """What a model without a known price counts for limits."""


class Ledger(Model):
    """The file in which every call is noted."""

    path: FilePath
    """The SQLite file; its folder must be there. A relative path begins at agent.yaml's folder."""
    keep_days: PositiveNumber = 90
    """Days after which a call is deleted."""
    max_mb: PositiveNumber = 1024
    """Megabytes of calls, beyond which the oldest are deleted."""


class Timezone(Model):
    """The time zone in which days, weeks and months are cut."""

    timezone: str | None = None
    """A name such as ``Europe/Berlin``; by default that of ``TZ``, else UTC."""
