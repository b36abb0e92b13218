"""The figures, exactly."""

from relay.commands.top.figures import to_json
from tests.unit.commands.top.pages import (
    NO_TOKENS,
    NOW,
    Json,
    figures_of,
    finished,
    page,
    picture,
    relay_json,
    running,
)


class TestFigures:
    """The computation, exactly."""

    def test_of_nothing(self) -> None:
        """An idle relay without relays has no figures."""
        assert to_json(figures_of(page())) == {
            "time": NOW,
            "rate_seconds": 60.0,
            "in_flight": [],
            "relays": {},
        }

    def test_of_a_relay_without_calls(self) -> None:
        """All keys are there; what cannot be known is null."""
        assert relay_json(page(relays={"anthropic": {}})) == {
            "upstream": "unknown",
            "credential": None,
            "refused": None,
            "in_flight": 0,
            "calls": 0,
            "calls_per_minute": 0.0,
            "tokens_per_minute": NO_TOKENS,
            "first_token_p50": None,
            "first_token_p95": None,
            "cache_read_share": None,
            "errors": 0,
            "outcomes": {},
            "quotas": [],
            "limits": [],
        }

    def test_of_one_call(self) -> None:
        """One call in the last minute is one per minute."""
        tokens = {"input": 10, "cache_read": 60, "cache_write_5m": 20, "cache_write_1h": 10}
        call = finished(5, first_token=1.25, tokens=tokens | {"output": 7})
        assert relay_json(page(recent=[call])) == {
            "upstream": "unknown",
            "credential": None,
            "refused": None,
            "in_flight": 0,
            "calls": 1,
            "calls_per_minute": 1.0,
            "tokens_per_minute": tokens | {"cache_write_unknown": 0, "output": 7},
            "first_token_p50": 1.25,
            "first_token_p95": 1.25,
            "cache_read_share": 0.6,
            "errors": 0,
            "outcomes": {"ok": 1},
            "quotas": [],
            "limits": [],
        }

    def test_of_a_hundred_calls_within_a_minute(self) -> None:
        """The oldest of a full list marks the start: 99 calls in 49.5 seconds."""
        calls = [
            finished(49.5 - i / 2, first_token=float(i + 1), tokens={"input": 1, "output": 2})
            for i in range(100)
        ]
        relay = relay_json(page(recent=calls))
        assert figures_of(page(recent=calls)).rate_seconds == 49.5
        assert (relay["calls"], relay["calls_per_minute"]) == (100, 120.0)
        assert relay["tokens_per_minute"] == NO_TOKENS | {"input": 120.0, "output": 240.0}
        assert (relay["first_token_p50"], relay["first_token_p95"]) == (50.0, 95.0)
        assert relay["cache_read_share"] == 0.0

    def test_of_a_hundred_calls_at_once(self) -> None:
        """A burst is over one second at least, so no rate is infinite."""
        relay = relay_json(page(recent=[finished(0)] * 100))
        assert relay["calls_per_minute"] == 6000.0

    def test_of_a_hundred_calls_over_hours(self) -> None:
        """A full list that reaches far back gives the last minute."""
        calls = [finished(100.0 * (99 - i)) for i in range(100)]
        assert relay_json(page(recent=calls))["calls_per_minute"] == 1.0

    def test_old_calls_are_not_in_the_rates(self) -> None:
        """A call of a minute ago is in the percentiles only."""
        calls = [finished(60, first_token=3.0, tokens={"input": 5}), finished(59.9)]
        relay = relay_json(page(recent=calls))
        assert (relay["calls_per_minute"], relay["first_token_p50"]) == (1.0, 3.0)
        assert relay["tokens_per_minute"] == NO_TOKENS

    def test_calls_count_for_their_relay(self) -> None:
        """The configured relays come first, then whatever else was called."""
        text = page(
            relays={"openai": {}, "anthropic": {}},
            in_flight=[running(1), running(2, relay="gone")],
            recent=[finished(1), finished(1, relay="none", outcome="rejected")],
        )
        relays = figures_of(text).relays
        assert [relay.name for relay in relays] == ["openai", "anthropic", "gone", "none"]
        assert [relay.in_flight for relay in relays] == [0, 1, 1, 0]
        assert [relay.calls for relay in relays] == [0, 1, 0, 1]

    def test_errors_by_outcome(self) -> None:
        """A call that its agent left is counted, but not as an error."""
        ends = ["timeout", "ok", "client_abort", "timeout", "upstream_error", "ok", "ok"]
        calls: list[Json] = [finished(1, outcome=end) for end in ends]
        relay = relay_json(page(recent=[*calls, {"relay": "anthropic"}]))
        assert relay["errors"] == 4
        assert relay["outcomes"] == {
            "ok": 3,
            "timeout": 2,
            "client_abort": 1,
            "upstream_error": 1,
            "unknown": 1,
        }

    def test_what_is_left_and_until_when(self) -> None:
        """More than all used leaves nothing; a reset in the past is now."""
        state = {
            "quotas": [
                {"window": "5h", "utilization": 0.42, "reset": NOW + 7800},
                {"window": "7d", "utilization": 1.02, "reset": NOW - 5},
                {"window": "1y"},
            ],
            "limits": [
                {"kind": "input_tokens", "limit": 2000, "remaining": 500, "reset": NOW + 1},
                {"kind": "requests", "remaining": 5},
                {"remaining": 5},
            ],
        }
        relay = relay_json(page(relays={"anthropic": state}))
        assert relay["quotas"] == [
            {
                "window": "5h",
                "utilization": 0.42,
                "reset": NOW + 7800,
                "left": 0.58,
                "reset_in": 7800.0,
            },
            {"window": "7d", "utilization": 1.02, "reset": NOW - 5, "left": 0.0, "reset_in": 0.0},
        ]
        assert relay["limits"] == [
            {
                "kind": "input_tokens",
                "limit": 2000,
                "remaining": 500,
                "reset": NOW + 1,
                "left": 0.25,
                "reset_in": 1.0,
            },
            {
                "kind": "requests",
                "limit": None,
                "remaining": 5,
                "reset": None,
                "left": None,
                "reset_in": None,
            },
        ]

    def test_what_clients_may_spend(self) -> None:
        """Where there are limits; what is not whole is passed over."""
        limits = [
            {"client": "job", "limit": "usd_day", "most": 20, "used": 25, "ends": NOW + 60},
            {"client": "job", "limit": "at_once", "most": 4, "used": 1},
            {"client": "job", "limit": "usd_session", "most": 0, "used": 0, "session": "s-1"},
            {"client": "job", "limit": "usd_day"},
        ]
        text = page(limits=limits)
        shown = to_json(figures_of(text))["limits"]
        assert isinstance(shown, list)
        assert [(each["left"], each["ends_in"]) for each in shown] == [
            (0.0, 60.0),
            (0.75, None),
            (0.0, None),
        ]
        drawn = picture(text)
        for part in ("$20 a day", "4 at once", "$0 a session (s-1)", "resets in 1 min"):
            assert part in drawn

    def test_calls_in_flight_in_json(self) -> None:
        """The longest-running first; keys always there, what was made of nothing null."""
        call = running(9, first_byte=0.5, first_token=0.75, model="m", status=200)
        assert to_json(figures_of(page(in_flight=[running(1), call])))["in_flight"] == [
            call | {"tokens": None},
            running(1)
            | dict.fromkeys(["first_byte", "first_token", "model", "status", "tokens"], None),
        ]
