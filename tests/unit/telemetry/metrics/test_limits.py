"""What an API has stated is left: as long as it holds, and for whom."""

import time
from dataclasses import replace
from email.utils import formatdate

import pytest

from relay.telemetry.metrics import Metrics, RelayState, limits
from tests.harness.clock import SetClock
from tests.harness.messages import response_head
from tests.unit.telemetry.metrics.scrapes import Scrape, call, relays_with, state


def test_limits_are_shown_until_their_reset(metrics: Metrics, clock: SetClock) -> None:
    """And are gone once it has passed: absent beats stale."""
    fields = (
        ("anthropic-ratelimit-input-tokens-limit", "2000"),
        ("anthropic-ratelimit-input-tokens-remaining", "1500"),
        ("anthropic-ratelimit-input-tokens-reset", f"{clock.time() + 60:.0f}"),
        ("anthropic-ratelimit-unified-7d-utilization", "0.75"),
        ("anthropic-ratelimit-unified-7d-reset", f"{clock.time() + 120:.0f}"),
    )
    metrics.read_limits("anthropic", response_head(200, *fields).fields)
    kind = {"relay": "anthropic", "kind": "input_tokens"}
    window = {"relay": "anthropic", "window": "7d"}
    expected: dict[tuple[str, float], float] = {
        ("relay_ratelimit_limit", 60): 2000,
        ("relay_ratelimit_remaining", 60): 1500,
        ("relay_ratelimit_reset_timestamp_seconds", 60): clock.time() + 60,
        ("relay_quota_utilization_ratio", 120): 0.75,
        ("relay_quota_reset_timestamp_seconds", 120): clock.time() + 120,
    }
    start = clock.now
    for after in (0, 59, 61, 119, 121):
        clock.now = start + after
        scrape = Scrape(metrics)
        for (name, until), value in expected.items():
            labels = window if "quota" in name else kind
            assert scrape.value(name, **labels) == (value if after < until else None)
            assert len(scrape.labels(name)) == (after < until)


def test_limits_of_relays_do_not_mix(metrics: Metrics, clock: SetClock) -> None:
    """Each API has its own."""
    for relay, left in (("anthropic", "5"), ("openai", "6")):
        field = ("anthropic-ratelimit-requests-remaining", left)
        metrics.read_limits(relay, response_head(200, field).fields)
    scrape = Scrape(metrics)
    name = "relay_ratelimit_remaining"
    assert scrape.value(name, relay="anthropic", kind="requests") == 5
    assert scrape.value(name, relay="openai", kind="requests") == 6
    assert scrape.labels("relay_ratelimit_limit") == []


def test_latest_limits_count_however_they_are_stated(metrics: Metrics, clock: SetClock) -> None:
    """Between two scrapes come responses that state one kind, another, or both."""
    for number in range(98):
        fields = [("request-id", f"req_{number}")]
        if number % 2:
            fields.append(("anthropic-ratelimit-requests-remaining", f"{1000 - number}"))
        if number % 3:
            fields.append(("anthropic-ratelimit-tokens-remaining", f"{2000 - number}"))
        metrics.read_limits("anthropic", response_head(200, *fields).fields)
    scrape = Scrape(metrics)
    name = "relay_ratelimit_remaining"
    assert scrape.value(name, relay="anthropic", kind="requests") == 1000 - 97
    assert scrape.value(name, relay="anthropic", kind="tokens") == 2000 - 97
    assert len(scrape.labels(name)) == 2


@pytest.mark.parametrize(("after", "left"), [(299, 5), (301, None)])
def test_limits_age_from_when_they_came(
    metrics: Metrics, clock: SetClock, after: float, left: float | None
) -> None:
    """Not from when somebody first asked."""
    field = ("anthropic-ratelimit-requests-remaining", "5")
    metrics.read_limits("anthropic", response_head(200, field).fields)
    clock.now += after
    scrape = Scrape(metrics)
    assert scrape.value("relay_ratelimit_remaining", relay="anthropic", kind="requests") == left


def test_headers_that_are_kept_do_not_pile_up(metrics: Metrics, clock: SetClock) -> None:
    """An API that names each response's headers anew has its values read at once."""
    for number in range(1000):
        fields = ((f"x-{number}", "1"), ("anthropic-ratelimit-requests-remaining", f"{number}"))
        metrics.read_limits("anthropic", response_head(200, *fields).fields)
        assert len(metrics._limits._books["anthropic"]._unread) <= limits._UNREAD_LIMIT
    (limit,), _ = metrics.current_limits("anthropic")
    assert limit.remaining == 999


@pytest.mark.parametrize("ahead", [-900, 900])
def test_limits_of_a_host_whose_clock_is_wrong_are_shown(
    metrics: Metrics, clock: SetClock, ahead: int
) -> None:
    """Their resets are relative to the answer's Date, and shown on the clock of this host."""
    there = clock.time() - ahead
    fields = (
        ("date", formatdate(there, usegmt=True)),
        ("anthropic-ratelimit-requests-remaining", "5"),
        ("anthropic-ratelimit-requests-reset", f"{there + 60:.0f}"),
    )
    metrics.read_limits("anthropic", response_head(200, *fields).fields)
    kind = {"relay": "anthropic", "kind": "requests"}
    reset = Scrape(metrics).value("relay_ratelimit_reset_timestamp_seconds", **kind)
    assert reset == pytest.approx(clock.time() + 60, abs=1)
    for after, left in ((58, 5), (4, None)):
        clock.now += after
        assert Scrape(metrics).value("relay_ratelimit_remaining", **kind) == left


def stating_limits(metrics: Metrics, *relays: str) -> None:
    """Have answers state a limit and a quota that hold for long."""
    reset = f"{time.time() + 86_400:.0f}"
    fields = (
        ("anthropic-ratelimit-requests-remaining", "5"),
        ("anthropic-ratelimit-requests-reset", reset),
        ("anthropic-ratelimit-unified-7d-utilization", "0.5"),
        ("anthropic-ratelimit-unified-7d-reset", reset),
    )
    for relay in relays:
        metrics.read_limits(relay, response_head(200, *fields).fields)


def test_limits_go_with_their_relay(metrics: Metrics) -> None:
    """By the reload that removes it, and by the next scrape if a call ends after that."""
    stating_limits(metrics, "anthropic", "openai")
    metrics.prepare([state("openai")], ["agent"])
    assert metrics.current_limits("anthropic") == ([], [])
    metrics.prepare([state("anthropic"), state("openai")], ["agent"])
    assert relays_with(Scrape(metrics), "relay_ratelimit_remaining") == {"openai"}
    stating_limits(metrics, "anthropic")
    metrics.show([state("openai")])
    for name in ("ratelimit_remaining", "ratelimit_reset_timestamp_seconds"):
        assert relays_with(Scrape(metrics), f"relay_{name}") == {"openai"}
    for name in ("utilization_ratio", "reset_timestamp_seconds"):
        assert relays_with(Scrape(metrics), f"relay_quota_{name}") == {"openai"}


@pytest.mark.parametrize(
    "changed",
    [state("anthropic", "other"), replace(state("anthropic"), upstream="http://other:1")],
    ids=["grant", "upstream"],
)
def test_limits_go_with_their_account(metrics: Metrics, changed: RelayState) -> None:
    """What another grant, or another API, had left says nothing of this one."""
    stating_limits(metrics, "anthropic", "openai")
    metrics.prepare([changed, state("openai")], ["agent"])
    assert relays_with(Scrape(metrics), "relay_ratelimit_remaining") == {"openai"}


def test_calls_in_flight_outlive_their_relay_until_they_are_over(metrics: Metrics) -> None:
    """Then it is gone from the gauges; what was counted stays."""
    exchange = call(metrics)
    metrics.show([state("openai")])
    assert Scrape(metrics).value("relay_requests_in_flight", relay="anthropic") == 1
    metrics.observe(exchange)
    metrics.show([state("openai")])
    scrape = Scrape(metrics)
    assert relays_with(scrape, "relay_requests_in_flight") == {"openai"}
    assert scrape.total("relay_requests_total") == 1


def test_kinds_and_windows_are_limited(metrics: Metrics, clock: SetClock) -> None:
    """To 32 of each, of all relays together; the others are dropped."""
    for number in range(40):
        fields = (
            (f"anthropic-ratelimit-k{number}-limit", "1"),
            (f"anthropic-ratelimit-unified-{number}d-utilization", "0.5"),
        )
        relay = "anthropic" if number < 20 else "openai"
        metrics.read_limits(relay, response_head(200, *fields).fields)
        metrics.current_limits(relay)
    scrape = Scrape(metrics)
    kinds = {labels["kind"] for labels in scrape.labels("relay_ratelimit_limit")}
    windows = {labels["window"] for labels in scrape.labels("relay_quota_utilization_ratio")}
    assert kinds == {f"k{number}" for number in range(32)}
    assert windows == {f"{number}d" for number in range(32)}


def test_current_limits_are_those_of_a_scrape(metrics: Metrics, clock: SetClock) -> None:
    """For whoever shows them elsewhere."""
    assert metrics.current_limits("anthropic") == ([], [])
    field = ("anthropic-ratelimit-requests-remaining", "5")
    metrics.read_limits("anthropic", response_head(200, field).fields)
    (limit,), quotas = metrics.current_limits("anthropic")
    assert (limit.name, limit.stated(), quotas) == ("requests", {"remaining": 5}, [])
    clock.now += 301
    assert metrics.current_limits("anthropic") == ([], [])
