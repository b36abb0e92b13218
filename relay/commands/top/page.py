"""Reads the admin listener's ``/calls`` page into typed values.

A key that is missing or of the wrong type is unknown, and unknown keys are ignored, so that `relay
top` and a relay of different versions get on. Only a page that is no JSON object is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final, TypeVar

from pydantic import (
    BeforeValidator,
    PlainValidator,
    TypeAdapter,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import PydanticOmit

from relay.telemetry.usage import TOKEN_TYPES

NOT_KNOWN: Final = "none"
"""The relay or client of a call that named none we know, as in the metrics' labels."""
# Beyond any time, count or size that is meant: dates stay below the year 9999, and sums finite.
_LARGEST: Final = 1e11

T = TypeVar("T")


class NotThePageError(Exception):
    """What answered is not the page of a relay."""


# Values, of which any may be missing or wrong


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if 0 <= value <= _LARGEST else None  # which is False of NaN


def _count(value: object) -> int | None:
    number = _number(value)
    return None if number is None else int(number)


def _object(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _tokens(value: object) -> Mapping[str, int] | None:
    counts = _object(value)
    return {kind: _count(counts.get(kind)) or 0 for kind in TOKEN_TYPES} if counts else None


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _if_it_fits(value: object, read: ValidatorFunctionWrapHandler) -> object:
    try:
        return read(_object(value))
    except ValidationError:
        raise PydanticOmit from None


def _needed(read: Callable[[object], T | None]) -> Callable[[object], T]:
    def validate(value: object) -> T:
        found = read(value)
        if found is None:
            raise ValueError
        return found

    return validate


Text = Annotated[str | None, PlainValidator(_text)]
Flag = Annotated[bool | None, PlainValidator(_flag)]
Number = Annotated[float | None, PlainValidator(_number)]
Count = Annotated[int | None, PlainValidator(_count)]
Tokens = Annotated[Mapping[str, int] | None, PlainValidator(_tokens)]
State = Annotated[str, PlainValidator(lambda value: _text(value) or "unknown")]
# What lacks one of these is left out of its list.
Name = Annotated[str, PlainValidator(_needed(_text))]
Amount = Annotated[float, PlainValidator(_needed(_number))]
Each = Annotated[tuple[Annotated[T, WrapValidator(_if_it_fits)], ...], BeforeValidator(_list)]


@dataclass(frozen=True, slots=True)
class Hop:
    """What a call did at one LLM proxy on its way."""

    name: Name
    outcome: Text = None
    seconds: Number = None
    """That it added."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call in flight or finished; times are seconds, None is unknown."""

    relay: Annotated[str, PlainValidator(lambda value: _text(value) or NOT_KNOWN)] = NOT_KNOWN
    client: Text = None
    method: Text = None
    path: Text = None
    operation: Text = None
    model: Text = None
    status: Count = None
    age: Number = None
    first_byte: Number = None
    first_token: Number = None
    tokens: Tokens = None
    """By type; of the types, all are there."""
    finished: Number = None
    """Seconds since the epoch."""
    duration: Number = None
    outcome: Text = None
    reason: Text = None
    legs: Count = None
    """How often the API was asked, where there are hops."""
    hops: Each[Hop] | None = None
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

    window: Name
    utilization: Amount
    reset: Number = None


@dataclass(frozen=True, slots=True)
class Limit:
    """A rate limit and what remains of it."""

    kind: Name
    limit: Number = None
    remaining: Number = None
    reset: Number = None


@dataclass(frozen=True, slots=True)
class ClientLimit:
    """What a client, or a session of its, may spend, and has spent."""

    client: Name
    limit: Name
    """Such as ``usd_day``."""
    most: Amount
    used: Amount
    session: Text = None
    ends: Number = None


@dataclass(frozen=True, slots=True)
class HopState:
    """How one of a relay's hops stands."""

    name: Name
    state: State = "unknown"
    bypassed: Flag = None
    """Whether it goes past the relay."""


@dataclass(frozen=True, slots=True)
class RelayState:
    """What a relay's page says of one of its relays."""

    upstream: State = "unknown"
    credential: Flag = None
    refused: Flag = None
    """Whether the API refuses the credential."""
    expires_at: Number = None
    """When that ends, in seconds since the epoch, where it says so."""
    quotas: Each[Quota] = ()
    limits: Each[Limit] = ()
    hops: Each[HopState] = ()
    """In the order in which calls go through them."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The page as it was at one moment."""

    time: Number = None
    """The relay's clock, in seconds since the epoch."""
    in_flight: Each[Call] = ()
    recent: Each[Call] = ()
    """The last hundred that finished, the oldest first."""
    relays: Annotated[
        Mapping[str, Annotated[RelayState, BeforeValidator(_object)]], BeforeValidator(_object)
    ] = field(default_factory=dict)
    limits: Each[ClientLimit] = ()
    """Of the relay's clients."""


_PAGE: Final = TypeAdapter(Snapshot)


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
    return _PAGE.validate_python(data)
