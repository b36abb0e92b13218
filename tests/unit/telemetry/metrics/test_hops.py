"""What is measured of hops, and of the API behind them: each call once, each attempt's usage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from relay.errors import Api
from relay.telemetry.call import CallRecord
from relay.telemetry.hops import HOP_OUTCOMES, HopOutcome, HopRecord
from relay.telemetry.metrics import HopState, Metrics, RelayState
from tests.harness.model_answers import MESSAGE_TOKENS, MODEL, message_body, message_events
from tests.harness.prices import MESSAGE_DOLLARS, Asked, MadeUpPrices
from tests.unit.telemetry.chains import DOCUMENT, EVENT_STREAM, attempt, chained, delivered, hop
from tests.unit.telemetry.metrics.scrapes import ENDS, OPERATIONS, Scrape

HEADROOM = {"relay": "anthropic", "hop": "headroom"}
OVERLOADED = b'{"type":"error","error":{"type":"overloaded_error"}}'


def state(*hops: HopState, relay: Api = "anthropic") -> RelayState:
    """Return the state of a relay with these hops."""
    url = f"https://api.{relay}.com"
    return RelayState(relay, relay, True, True, url, 0, 0, api=relay, hops=hops)  # noqa: FBT003


def standing(name: str = "headroom", *, up: bool | None = True) -> HopState:
    """Return the state of a hop."""
    return HopState(name, up, "http://localhost:8787")


@pytest.fixture
def metrics() -> Metrics:
    """Metrics of a relay with a hop, and of one without."""
    metrics = Metrics(CollectorRegistry())
    metrics.prepare([state(standing()), state(relay="openai")], ["agent"])
    return metrics


def observe(metrics: Metrics, record: CallRecord) -> Scrape:
    """Have a call counted in, end, and be observed; return what a scrape then shows."""
    metrics.begin(record)
    record.finish()
    metrics.observe(record)
    return Scrape(metrics)


# Children


def test_every_child_of_a_hop_is_there_from_the_start(metrics: Metrics) -> None:
    """Where there are hops, and nowhere else."""
    scrape = Scrape(metrics)
    expected = {
        "relay_hop_calls_total": ("outcome", HOP_OUTCOMES),
        "relay_hop_legs_total": ("operation", OPERATIONS["anthropic"]),
        "relay_hop_overhead_seconds_count": ("phase", ["request", "response"]),
        "relay_hop_request_bytes_total": ("side", ["in", "out"]),
    }
    for name, (label, values) in expected.items():
        assert {tuple(labels.items()) for labels in map(sorted_items, scrape.labels(name))} == {
            tuple(sorted_items(HEADROOM | {label: value}).items()) for value in values
        }
        assert scrape.total(name) == 0


def sorted_items(labels: Mapping[str, str]) -> dict[str, str]:
    """Return labels in order."""
    return dict(sorted(labels.items()))


def test_going_past_the_relay_has_its_end_from_the_start_where_there_are_hops(
    metrics: Metrics,
) -> None:
    """By the answer of an API that got a pass."""
    ends = [
        labels
        for labels in Scrape(metrics).labels("relay_requests_total")
        if labels["outcome"] == "hop_bypass"
    ]
    assert {(end["relay"], end["code"]) for end in ends} == {("anthropic", "401")}
    assert len(ends) == len(OPERATIONS["anthropic"])
    assert ("hop_bypass", "401") not in ENDS


# What hops do


@pytest.mark.parametrize("outcome", HOP_OUTCOMES)
def test_call_is_counted_once_at_each_hop(metrics: Metrics, outcome: HopOutcome) -> None:
    """By its outcome there, and among the relay's calls once however many legs it took."""
    record = delivered(
        chained(attempt(message_events(), EVENT_STREAM), hops=[hop(outcome=outcome)])
    )
    scrape = observe(metrics, record)
    assert scrape.value("relay_hop_calls_total", **HEADROOM, outcome=outcome) == 1
    assert scrape.total("relay_hop_calls_total") == 1
    assert scrape.total("relay_requests_total") == 1


def test_agent_that_left_before_a_hop_came_back_is_not_counted_there(metrics: Metrics) -> None:
    """Nobody knows what would have become of it; what was sent is known."""
    scrape = observe(metrics, chained(hops=[replace(hop(), outcome=None)]))
    assert scrape.total("relay_hop_calls_total") == 0
    assert scrape.value("relay_hop_request_bytes_total", **HEADROOM, side="in") == 1000


def test_legs_bytes_and_overhead_are_the_hops_own(metrics: Metrics) -> None:
    """A hop that asks for more than its calls shows in its legs."""
    one = replace(hop(), legs=Counter({"messages": 3, "count_tokens": 1}))
    observe(metrics, chained(hops=[one, hop("litellm")]))
    scrape = observe(metrics, chained(hops=[replace(hop(), bytes_out=None, returned_at=None)]))
    legs = "relay_hop_legs_total"
    assert scrape.value(legs, **HEADROOM, operation="messages") == 4
    assert scrape.value(legs, **HEADROOM, operation="count_tokens") == 1
    size = "relay_hop_request_bytes_total"
    assert scrape.value(size, **HEADROOM, side="in") == 2000
    assert scrape.value(size, **HEADROOM, side="out") == 500
    overhead = "relay_hop_overhead_seconds"
    for phase, count, total in (("request", 1, 0.03), ("response", 2, 0.006)):
        assert scrape.value(f"{overhead}_count", **HEADROOM, phase=phase) == count
        assert scrape.value(f"{overhead}_sum", **HEADROOM, phase=phase) == pytest.approx(total)
    assert scrape.value(legs, relay="anthropic", hop="litellm", operation="messages") == 1


def test_hop_of_long_prompts_has_its_buckets(metrics: Metrics) -> None:
    """Up to half a minute."""
    slow = HopRecord("headroom", "passed", sent_at=0.0, returned_at=20.0)
    buckets = observe(metrics, chained(hops=[slow])).buckets(
        "relay_hop_overhead_seconds", **HEADROOM, phase="request"
    )
    assert (buckets["10.0"], buckets["30.0"]) == (0, 1)


@pytest.mark.parametrize(("up", "shown"), [(True, 1), (False, 0), (None, None)])
def test_gauge_shows_whether_a_hop_is_up(
    metrics: Metrics,
    up: bool | None,
    shown: int | None,
) -> None:
    """As of an upstream, where it is known."""
    metrics.show([state(standing(up=up))])
    assert Scrape(metrics).value("relay_hop_up", **HEADROOM) == shown


def test_hop_that_a_reload_removed_is_not_up(metrics: Metrics) -> None:
    """Its counters stay, as those of relays do."""
    observe(metrics, chained(hops=[hop()]))
    metrics.show([state(standing())])
    metrics.prepare([state(standing("litellm"))], ["agent"])
    metrics.show([state(standing("litellm"))])
    scrape = Scrape(metrics)
    assert scrape.labels("relay_hop_up") == [{"relay": "anthropic", "hop": "litellm"}]
    assert scrape.value("relay_hop_calls_total", **HEADROOM, outcome="passed") == 1
    litellm = HEADROOM | {"hop": "litellm"}
    assert scrape.value("relay_hop_calls_total", **litellm, outcome="passed") == 0


# What the API said


def test_usage_is_of_each_attempt(metrics: Metrics) -> None:
    """Tokens by its model, errors, reasons and what is missing; the agent's bytes are its own."""
    record = delivered(
        chained(
            attempt([OVERLOADED], DOCUMENT, status=529),
            attempt(message_events("older")[:4], EVENT_STREAM, cut=True),
            attempt(message_events(), EVENT_STREAM, ("request-id", "req_1")),
        ),
        message_events("made-up"),
    )
    record.response_bytes = 10
    record.attempts[-1].response_bytes = 1000
    scrape = observe(metrics, record)
    tokens = {"relay": "anthropic", "client": "agent", "type": "output"}
    for model, count in ((MODEL, MESSAGE_TOKENS["output"]), ("older", 1), ("made-up", None)):
        assert scrape.value("relay_tokens_total", **tokens, model=model) == count
    relay = {"relay": "anthropic"}
    error = {"error_type": "overloaded_error", "where": "http"}
    assert scrape.value("relay_upstream_errors_total", **relay, **error) == 1
    assert scrape.total("relay_upstream_errors_total") == 1
    assert scrape.value("relay_usage_missing_total", **relay, reason="client_abort") == 1
    assert scrape.total("relay_usage_missing_total") == 1
    assert scrape.total("relay_stop_reasons_total") == 1
    assert scrape.total("relay_response_bytes_total") == 10
    end = {"client": "agent", "operation": "messages", "code": "200", "outcome": "ok"}
    assert scrape.value("relay_requests_total", **relay, **end) == 1
    assert scrape.total("relay_request_duration_seconds_count") == 1


def test_stream_of_a_hops_own_is_no_usage(metrics: Metrics) -> None:
    """Its tokens were paid for when it was made, and nothing of it is missing."""
    scrape = observe(metrics, delivered(chained(hops=[hop(outcome="answered")])))
    for name in ("relay_tokens_total", "relay_usage_missing_total", "relay_stop_reasons_total"):
        assert scrape.total(name) == 0
    assert scrape.total("relay_time_to_first_token_seconds_count") == 1


def test_error_of_a_hops_own_is_none_of_the_api(metrics: Metrics) -> None:
    """It is an error by its status."""
    record = delivered(chained(hops=[hop(outcome="refused")]), [OVERLOADED])
    record.code = record.status = 529
    record.succeeded()
    scrape = observe(metrics, record)
    assert scrape.total("relay_upstream_errors_total") == 0
    end = {"operation": "messages", "code": "529", "outcome": "upstream_error"}
    assert scrape.value("relay_requests_total", relay="anthropic", client="agent", **end) == 1


def test_pace_is_that_of_the_last_answer(metrics: Metrics) -> None:
    """Of what the agent felt, by the tokens that it got."""
    record = delivered(
        chained(attempt(message_events(), EVENT_STREAM), attempt(message_events(), EVENT_STREAM))
    )
    record.finished = 105.0
    scrape = observe(metrics, record)
    pace = "relay_time_per_output_token_seconds_sum"
    assert scrape.value(pace, relay="anthropic", model=MODEL) == pytest.approx(
        4 / (MESSAGE_TOKENS["output"] - 1)
    )


def test_each_attempt_has_its_own_price(metrics: Metrics) -> None:
    """Two prompts that a hop sent are not one that is twice as long."""
    prices = MadeUpPrices()
    metrics.price(prices)
    record = delivered(
        chained(attempt([message_body()], DOCUMENT), attempt([message_body("other")], DOCUMENT))
    )
    scrape = observe(metrics, record)
    assert prices.asked == [Asked(model, MESSAGE_TOKENS) for model in (MODEL, "other")]
    assert scrape.total("relay_estimated_cost_usd_total") == pytest.approx(2 * MESSAGE_DOLLARS)


# Legs


def test_overhead_of_every_leg_is_the_relays(metrics: Metrics) -> None:
    """Of each request and each piece; the call is in flight once."""
    record = chained(hops=[hop()])
    metrics.begin(record)
    leg = CallRecord(relay="anthropic", started=100.0, sent_at=100.25, waited=0.05)
    metrics.begin_leg(leg)
    leg.piece_overheads.observe(0.001)
    record.piece_overheads.observe(0.001)
    metrics.end_leg(leg)
    record.sent_at = record.started + 0.1
    scrape = Scrape(metrics)
    assert scrape.value("relay_requests_in_flight", relay="anthropic") == 1
    record.finish()
    metrics.observe(record)
    scrape = Scrape(metrics)
    share = "relay_overhead_seconds"
    request, chunk = ({"relay": "anthropic", "phase": phase} for phase in ("request", "chunk"))
    assert scrape.value(f"{share}_count", **request) == 2
    assert scrape.value(f"{share}_sum", **request) == pytest.approx(0.3)
    assert scrape.value(f"{share}_count", **chunk) == 2
    assert scrape.value("relay_requests_in_flight", relay="anthropic") == 0


def test_leg_that_was_never_sent_took_nothing_known(metrics: Metrics) -> None:
    """It was cut, or refused."""
    leg = CallRecord(relay="anthropic")
    metrics.begin_leg(leg)
    metrics.end_leg(leg)
    assert Scrape(metrics).total("relay_overhead_seconds_count") == 0


@pytest.mark.parametrize("reason", ["pass", "leg", "limit", "path"])
def test_refused_return_is_no_call(metrics: Metrics, reason: str) -> None:
    """It counts among what was refused, and nowhere else."""
    metrics.refused_return(reason)
    scrape = Scrape(metrics)
    assert scrape.value("relay_rejections_total", reason=reason) == 1
    assert scrape.total("relay_requests_total") == 0
