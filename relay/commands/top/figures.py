"""From a snapshot of ``/calls`` to the figures that are shown. Pure: the time is handed in.

Rates are those of the last minute. The page holds the last hundred finished calls; where
these do not reach back a minute, the rates are over the time since the oldest of them,
which itself only marks the start. Percentiles, cache-read share and outcomes are over all
of the page's finished calls. A call's tokens count when it is over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from relay.commands.top.page import (
    Call,
    ClientLimit,
    HopState,
    Limit,
    Quota,
    RelayState,
    Snapshot,
    prompt_tokens,
)
from relay.telemetry.timeline import percentile
from relay.telemetry.usage import TOKEN_TYPES

RATE_SECONDS: Final = 60.0
RECENT_CALLS: Final = 100
"""How many finished calls the page holds at most."""
# Over less, a few calls that ended together would be a huge rate.
_SHORTEST_RATE_SECONDS: Final = 1.0
# What is no fault of the relay or of its upstream: the metrics' outcome class `ok`.
_WELL: Final = frozenset({"ok", "client_abort"})
_DIGITS: Final = 6


@dataclass(frozen=True, slots=True)
class HopFigures:
    """What is shown of one of a relay's hops; None is unknown."""

    name: str
    state: str
    bypassed: bool | None
    overhead_p50: float | None
    """Seconds that it adds to a call."""


@dataclass(frozen=True, slots=True)
class RelayFigures:
    """What is shown of one relay; None is unknown."""

    name: str
    state: RelayState
    in_flight: int
    calls: int
    """How many of the page's finished calls are this relay's."""
    calls_per_minute: float
    tokens_per_minute: Mapping[str, float]
    first_token_p50: float | None
    first_token_p95: float | None
    cache_read_share: float | None
    """Of all tokens that went in, those read from the cache: 0 to 1."""
    outcomes: Mapping[str, int]
    """How many calls ended how, the most frequent first."""
    hops: tuple[HopFigures, ...]

    @property
    def errors(self) -> int:
        """How many calls failed; one that its agent left did not."""
        return sum(count for outcome, count in self.outcomes.items() if outcome not in _WELL)


@dataclass(frozen=True, slots=True)
class Figures:
    """What is shown of a moment."""

    time: float
    rate_seconds: float
    """The time that the rates are over."""
    in_flight: tuple[Call, ...]
    """The longest-running first."""
    recent: tuple[Call, ...]
    """The latest first."""
    relays: tuple[RelayFigures, ...]
    limits: tuple[ClientLimit, ...] = ()


def compute(snapshot: Snapshot, now: float) -> Figures:
    """Return the figures of a snapshot, ``now`` by the clock that its times are of."""
    span = rate_seconds(snapshot.recent, now)
    names = dict.fromkeys(snapshot.relays)
    names |= dict.fromkeys(sorted({call.relay for call in snapshot.in_flight + snapshot.recent}))
    return Figures(
        time=now,
        rate_seconds=span,
        in_flight=tuple(sorted(snapshot.in_flight, key=lambda call: -(call.age or 0.0))),
        recent=snapshot.recent[::-1],
        relays=tuple(_relay_figures(name, snapshot, now, span) for name in names),
        limits=snapshot.limits,
    )


def rate_seconds(recent: Sequence[Call], now: float) -> float:
    """Return how far back the rates can look, a minute at most."""
    known = [call.finished for call in recent if call.finished is not None]
    if len(recent) < RECENT_CALLS or not known:
        return RATE_SECONDS
    return min(RATE_SECONDS, max(_SHORTEST_RATE_SECONDS, now - min(known)))


def _relay_figures(name: str, snapshot: Snapshot, now: float, span: float) -> RelayFigures:
    calls = [call for call in snapshot.recent if call.relay == name]
    latest = [call for call in calls if call.finished is not None and call.finished > now - span]
    per_minute = 60.0 / span
    first_tokens = [call.first_token for call in calls if call.first_token is not None]
    state = snapshot.relays.get(name, RelayState())
    return RelayFigures(
        name=name,
        state=state,
        in_flight=sum(call.relay == name for call in snapshot.in_flight),
        calls=len(calls),
        calls_per_minute=len(latest) * per_minute,
        tokens_per_minute={kind: count * per_minute for kind, count in _sum_tokens(latest).items()},
        first_token_p50=percentile(first_tokens, 0.50),
        first_token_p95=percentile(first_tokens, 0.95),
        cache_read_share=_cache_read_share(_sum_tokens(calls)),
        outcomes=dict(Counter(call.outcome or "unknown" for call in calls).most_common()),
        hops=tuple(_hop_figures(hop, calls) for hop in state.hops),
    )


def _hop_figures(hop: HopState, calls: Iterable[Call]) -> HopFigures:
    visits = [visit for call in calls for visit in call.hops or () if visit.name == hop.name]
    times = [visit.seconds for visit in visits if visit.seconds is not None]
    return HopFigures(hop.name, hop.state, hop.bypassed, percentile(times, 0.50))


def _sum_tokens(calls: Iterable[Call]) -> dict[str, int]:
    counted = [call.tokens for call in calls if call.tokens is not None]
    return {kind: sum(tokens[kind] for tokens in counted) for kind in TOKEN_TYPES}


def _cache_read_share(tokens: Mapping[str, int]) -> float | None:
    prompt = prompt_tokens(tokens)
    return tokens["cache_read"] / prompt if prompt else None


def cache_read_share(call: Call) -> float | None:
    """Return which share of a call's prompt was read from the cache, or None."""
    return None if call.tokens is None else _cache_read_share(call.tokens)


def quota_left(quota: Quota) -> float:
    """Return the share of a window that is left; none where more than all is used."""
    return max(0.0, 1.0 - quota.utilization)


def limit_left(limit: Limit) -> float | None:
    """Return the share of a rate limit that is left, 0 to 1, or None."""
    if limit.remaining is None or not limit.limit:
        return None
    return min(1.0, limit.remaining / limit.limit)


def spending_left(limit: ClientLimit) -> float:
    """Return the share that is left of what a client may spend, 0 to 1."""
    return max(0.0, 1.0 - limit.used / limit.most) if limit.most else 0.0


def seconds_until(reset: float | None, now: float) -> float | None:
    """Return the seconds from now to a reset; 0 for one that has passed."""
    return None if reset is None else max(0.0, reset - now)


def to_json(figures: Figures) -> dict[str, object]:
    """Return the figures as ``--json`` prints them."""
    data: dict[str, object] = {
        "time": figures.time,
        "rate_seconds": _rounded(figures.rate_seconds),
        "in_flight": [_call_json(call) for call in figures.in_flight],
        "relays": {relay.name: _relay_json(relay, figures.time) for relay in figures.relays},
    }
    return data | ({"limits": _limits_json(figures)} if figures.limits else {})


def _limits_json(figures: Figures) -> list[dict[str, object]]:
    return [
        asdict(limit)
        | {
            "left": _rounded(spending_left(limit)),
            "ends_in": seconds_until(limit.ends, figures.time),
        }
        for limit in figures.limits
    ]


def _call_json(call: Call) -> dict[str, object]:
    hidden = {"finished", "duration", "outcome", "reason"}
    if call.hops is None:
        hidden |= {"legs", "hops"}
    return {key: value for key, value in asdict(call).items() if key not in hidden}


def _relay_json(relay: RelayFigures, now: float) -> dict[str, object]:
    return {
        "upstream": relay.state.upstream,
        "credential": relay.state.credential,
        "refused": relay.state.refused,
        "in_flight": relay.in_flight,
        "calls": relay.calls,
        "calls_per_minute": _rounded(relay.calls_per_minute),
        "tokens_per_minute": {
            kind: _rounded(rate) for kind, rate in relay.tokens_per_minute.items()
        },
        "first_token_p50": relay.first_token_p50,
        "first_token_p95": relay.first_token_p95,
        "cache_read_share": _rounded(relay.cache_read_share),
        "errors": relay.errors,
        "outcomes": dict(relay.outcomes),
        "quotas": [
            asdict(quota)
            | {"left": _rounded(quota_left(quota)), "reset_in": seconds_until(quota.reset, now)}
            for quota in relay.state.quotas
        ],
        "limits": [
            asdict(limit)
            | {"left": _rounded(limit_left(limit)), "reset_in": seconds_until(limit.reset, now)}
            for limit in relay.state.limits
        ],
    } | _where_known(relay, now)


def _where_known(relay: RelayFigures, now: float) -> dict[str, object]:
    """Return what only some relays have: hops, and a credential that says when it ends."""
    known: dict[str, object] = {}
    if (end := relay.state.expires_at) is not None:
        known |= {"expires_at": end, "expires_in": seconds_until(end, now)}
    return known | ({"hops": [asdict(hop) for hop in relay.hops]} if relay.hops else {})


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, _DIGITS)
