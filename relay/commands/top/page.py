"""Reads the admin listener's ``/calls`` page into typed values.

A key that is missing or of the wrong type is unknown, and unknown keys are ignored, so that `relay
top` and a relay of different versions get on. Only a page that is no JSON object is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from relay.telemetry.usage import TOKEN_TYPES

NOT_KNOWN: Final = "none"
"""The relay or client of a call that named none we know, as in the metrics' labels."""
# Beyond any time, count or size that is meant: dates stay below the year 9999, and sums finite.
_LARGEST: Final = 1e11


class NotThePageError(Exception):
    """What answered is not the page of a relay."""


@dataclass(frozen=True, slots=True)
class Hop:
    """What a call did at one LLM proxy on its way."""

    name: str
    outcome: str | None = None
    seconds: float | None = None
    """That it added."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call in flight or finished; times are seconds, None is unknown."""

    relay: str = NOT_KNOWN
    client: str | None = None
    method: str | None = None
    path: str | None = None
    operation: str | None = None
    model: str | None = None
    status: int | None = None
    age: float | None = None
    first_byte: float | None = None
    first_token: float | None = None
    tokens: Mapping[str, int] | None = None
    """By type; of the types, all are there."""
    finished: float | None = None
    """Seconds since the epoch."""
    duration: float | None = None
    outcome: str | None = None
    reason: str | None = None
    legs: int | None = None
    """How often the API was asked, where there are hops."""
    hops: tuple[Hop, ...] | None = None
    """None without a chain."""

    @property
    def prompt_tokens(self) -> int | None:
        """All tokens that went in, cached or not."""
        return None if self.tokens is None else prompt_tokens(self.tokens)


def prompt_tokens(tokens: Mapping[str, int]) -> int:
    """Return how many tokens went in, cached or not."""
    return sum(count for kind, count in tokens.items() if kind != "output")


@dataclass(frozen=True, slots=True)
class Quota:
    """How much of a subscription's window is used: 1 is all of it."""

    window: str
    utilization: float
    reset: float | None = None


@dataclass(frozen=True, slots=True)
class Limit:
    """A rate limit and what remains of it."""

    kind: str
    limit: float | None = None
    remaining: float | None = None
    reset: float | None = None


@dataclass(frozen=True, slots=True)
class ClientLimit:
    """What a client, or a session of its, may spend, and has spent."""

    client: str
    limit: str
    """Such as ``usd_day``."""
    most: float
    used: float
    session: str | None = None
    ends: float | None = None


@dataclass(frozen=True, slots=True)
class HopState:
    """How one of a relay's hops stands."""

    name: str
    state: str = "unknown"
    bypassed: bool | None = None
    """Whether it goes past the relay."""


@dataclass(frozen=True, slots=True)
class RelayState:
    """What a relay's page says of one of its relays."""

    upstream: str = "unknown"
    credential: bool | None = None
    refused: bool | None = None
    """Whether the API refuses the credential."""
    expires_at: float | None = None
    """When that ends, in seconds since the epoch, where it says so."""
    quotas: tuple[Quota, ...] = ()
    limits: tuple[Limit, ...] = ()
    hops: tuple[HopState, ...] = ()
    """In the order in which calls go through them."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The page as it was at one moment."""

    time: float | None = None
    """The relay's clock, in seconds since the epoch."""
    in_flight: tuple[Call, ...] = ()
    recent: tuple[Call, ...] = ()
    """The last hundred that finished, the oldest first."""
    relays: Mapping[str, RelayState] = field(default_factory=dict)
    limits: tuple[ClientLimit, ...] = ()
    """Of the relay's clients."""


def read_snapshot(text: str) -> Snapshot:
    """Return what a page says.

    Raises:
        NotThePageError: The text is not a JSON object.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NotThePageError from error
    if not isinstance(data, dict):
        raise NotThePageError
    page = _Fields(data)
    relays = page.fields("relays")
    return Snapshot(
        time=page.number("time"),
        in_flight=tuple(_call(fields) for fields in page.items("in_flight")),
        recent=tuple(_call(fields) for fields in page.items("recent")),
        relays={name: _relay_state(relays.fields(name)) for name in relays.names()},
        limits=tuple(_client_limits(page)),
    )


def _client_limits(page: _Fields) -> Iterator[ClientLimit]:
    for item in page.items("limits"):
        client, limit = item.text("client"), item.text("limit")
        most, used = item.number("most"), item.number("used")
        if client is not None and limit is not None and most is not None and used is not None:
            yield ClientLimit(client, limit, most, used, item.text("session"), item.number("ends"))


class _Fields:
    """A JSON object, of which any value may be missing or wrong."""

    def __init__(self, data: object) -> None:
        self._data: Mapping[str, object] = data if isinstance(data, dict) else {}

    def __bool__(self) -> bool:
        return bool(self._data)

    def names(self) -> Iterator[str]:
        return iter(self._data)

    def fields(self, name: str) -> _Fields:
        return _Fields(self._data.get(name))

    def items(self, name: str) -> Iterator[_Fields]:
        value = self._data.get(name)
        return (_Fields(item) for item in (value if isinstance(value, list) else ()))

    def text(self, name: str) -> str | None:
        value = self._data.get(name)
        return value if isinstance(value, str) and value else None

    def flag(self, name: str) -> bool | None:
        value = self._data.get(name)
        return value if isinstance(value, bool) else None

    def number(self, name: str) -> float | None:
        value = self._data.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return value if 0 <= value <= _LARGEST else None  # which is False of NaN

    def count(self, name: str) -> int | None:
        value = self.number(name)
        return None if value is None else int(value)


def _call(fields: _Fields) -> Call:
    return Call(
        relay=fields.text("relay") or NOT_KNOWN,
        client=fields.text("client"),
        method=fields.text("method"),
        path=fields.text("path"),
        operation=fields.text("operation"),
        model=fields.text("model"),
        status=fields.count("status"),
        age=fields.number("age"),
        first_byte=fields.number("first_byte"),
        first_token=fields.number("first_token"),
        tokens=_tokens(fields.fields("tokens")),
        finished=fields.number("finished"),
        duration=fields.number("duration"),
        outcome=fields.text("outcome"),
        reason=fields.text("reason"),
        legs=fields.count("legs"),
        hops=_hops(fields) if "hops" in fields.names() else None,
    )


def _hops(fields: _Fields) -> tuple[Hop, ...]:
    return tuple(
        Hop(name, item.text("outcome"), item.number("seconds"))
        for item in fields.items("hops")
        if (name := item.text("name")) is not None
    )


def _tokens(fields: _Fields) -> Mapping[str, int] | None:
    return {kind: fields.count(kind) or 0 for kind in TOKEN_TYPES} if fields else None


def _relay_state(fields: _Fields) -> RelayState:
    return RelayState(
        upstream=fields.text("upstream") or "unknown",
        credential=fields.flag("credential"),
        refused=fields.flag("refused"),
        expires_at=fields.number("expires_at"),
        quotas=tuple(
            Quota(window, utilization, item.number("reset"))
            for item in fields.items("quotas")
            if (window := item.text("window")) is not None
            and (utilization := item.number("utilization")) is not None
        ),
        limits=tuple(
            Limit(kind, item.number("limit"), item.number("remaining"), item.number("reset"))
            for item in fields.items("limits")
            if (kind := item.text("kind")) is not None
        ),
        hops=tuple(
            HopState(name, item.text("state") or "unknown", item.flag("bypassed"))
            for item in fields.items("hops")
            if (name := item.text("name")) is not None
        ),
    )
