"""`relay top`: exact figures, a picture that nothing foreign can break, and a live screen."""

import io
import json
import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from relay.commands import top
from relay.commands.client import BlockingClient
from relay.commands.top import format as words
from relay.commands.top.figures import Figures, compute, percentile, to_json
from relay.commands.top.layout import View, draw, share_rows
from relay.commands.top.page import Call, NotThePageError, read_snapshot
from relay.commands.top.terminal import Terminal
from relay.config import ListenAddress

NOW = 1_790_000_000.0
EMPTY = {"time": NOW, "in_flight": [], "recent": [], "relays": {}}
NO_TOKENS = {
    "input": 0,
    "cache_read": 0,
    "cache_write_5m": 0,
    "cache_write_1h": 0,
    "cache_write_unknown": 0,
    "output": 0,
}
HOSTILE = "/[bold red]x[/]\x1b[2J\x1b]0;title\x07\r\n\x9b1m\u202e\ud800:smile:"
ENTER_SCREEN, LEAVE_SCREEN = "\x1b[?1049h", "\x1b[?1049l"

Json = dict[str, object]


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every test the same terminal."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"TERM": "xterm", "COLUMNS": "80", "LINES": "24"}.items():
        monkeypatch.setenv(name, value)


def finished(seconds_ago: float, **more: object) -> Json:
    """Return a finished call as the page has it."""
    call: Json = {
        "relay": "anthropic",
        "client": "agent",
        "method": "POST",
        "path": "/v1/messages",
        "operation": "messages",
        "status": 200,
        "outcome": "ok",
        "duration": 2.0,
        "finished": NOW - seconds_ago,
    }
    return call | more


def running(age: float, **more: object) -> Json:
    """Return a call in flight as the page has it."""
    call: Json = {
        "relay": "anthropic",
        "client": "agent",
        "method": "POST",
        "path": "/v1/messages",
        "operation": "messages",
        "age": age,
    }
    return call | more


def page(**parts: object) -> str:
    """Return a page with these parts."""
    return json.dumps(EMPTY | parts)


def figures_of(text: str) -> Figures:
    """Return the figures of a page, by its own clock."""
    return compute(read_snapshot(text), NOW)


def relay_json(text: str, name: str = "anthropic") -> Json:
    """Return what `--json` says of one relay."""
    relays = to_json(figures_of(text))["relays"]
    assert isinstance(relays, dict)
    relay: Json = relays[name]
    return relay


def picture(
    text: str, *, width: int = 80, height: int = 24, fill: bool = False, lost: str | None = None
) -> str:
    """Return what is drawn of a page, without colours."""
    console = Console(width=width, height=height, file=io.StringIO(), record=True)
    view = View("127.0.0.1:9484", figures_of(text), lost)
    console.print(draw(view, console, fill=fill))
    return console.export_text()


class TestReading:
    """A page that is not quite as expected."""

    @pytest.mark.parametrize("text", ["", "ready", "[]", "null", "[" * 100_000])
    def test_what_is_no_object_is_refused(self, text: str) -> None:
        """Something else answers there."""
        with pytest.raises(NotThePageError):
            read_snapshot(text)

    def test_missing_keys_are_unknown(self) -> None:
        """An empty object is an empty page."""
        snapshot = read_snapshot("{}")
        assert (snapshot.time, snapshot.in_flight, snapshot.recent) == (None, (), ())
        assert read_snapshot('{"in_flight": [{}]}').in_flight == (Call(),)

    @pytest.mark.parametrize("value", ['"7"', "true", "-1", "NaN", "Infinity", "1e300", "null"])
    def test_no_number_is_unknown(self, value: str) -> None:
        """Only a number that can be meant is one."""
        assert read_snapshot(f'{{"in_flight": [{{"age": {value}}}]}}').in_flight[0].age is None
        assert read_snapshot(f'{{"time": {value}}}').time is None

    def test_types_of_tokens_that_are_missing_are_none(self) -> None:
        """No tokens at all are unknown; some are all that there were."""
        calls = read_snapshot(page(in_flight=[running(1), running(1, tokens={"output": 3})]))
        assert [call.tokens for call in calls.in_flight] == [None, NO_TOKENS | {"output": 3}]


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

    @given(st.lists(st.floats(0, 100), min_size=1), st.sampled_from([0.5, 0.95]))
    def test_percentile_is_a_nearest_rank(self, values: list[float], quantile: float) -> None:
        """At least the share is not above it, and less than the share is below."""
        found = percentile(values, quantile)
        assert found in values
        assert sum(value <= found for value in values) >= quantile * len(values)
        assert sum(value < found for value in values) < quantile * len(values)


class TestWords:
    """Figures as people read them."""

    @pytest.mark.parametrize(
        ("seconds", "text"),
        [
            (None, "–"),
            (0, "0.00 s"),
            (0.994, "0.99 s"),
            (0.996, "1.0 s"),
            (9.96, "10 s"),
            (59.4, "59 s"),
            (59.6, "1 min"),
            (83, "1 min 23 s"),
            (3599.7, "1 h"),
            (7800, "2 h 10 min"),
            (86400, "1 d"),
            (3.2 * 86400, "3 d 4 h"),
        ],
    )
    def test_duration(self, seconds: float | None, text: str) -> None:
        """Two units at most, and none that is zero or carries over."""
        assert words.duration(seconds) == text

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (None, "–"),
            (0, "0"),
            (999, "999"),
            (999.6, "1k"),
            (1234, "1.2k"),
            (45_400, "45k"),
            (999_600, "1M"),
            (2_150_000_000, "2.1G"),
            (5e13, "50000G"),
        ],
    )
    def test_amount(self, value: float | None, text: str) -> None:
        """Three digits at most, as far as units go."""
        assert words.amount(value) == text

    def test_percent_rounds_neither_to_all_nor_to_nothing(self) -> None:
        """What is nearly spent is not spent."""
        shares = [None, 0, 0.001, 0.58, 0.999, 1]
        assert [words.percent(share) for share in shares] == [
            "–", "0 %", "<1 %", "58 %", ">99 %", "100 %",
        ]  # fmt: skip

    def test_reset(self) -> None:
        """In human words, and silent where nothing is known."""
        assert [words.reset(seconds) for seconds in (None, 0, 0.2, 7800)] == [
            "", "resets now", "resets in 1 s", "resets in 2 h 10 min",
        ]  # fmt: skip

    def test_ago(self) -> None:
        """In whole seconds; clocks that differ make no future."""
        assert [words.ago(seconds) for seconds in (-3, 1.4, 7805)] == [
            "0 s ago", "1 s ago", "2 h 10 min ago",
        ]  # fmt: skip

    def test_rate(self) -> None:
        """Small rates have a digit after the point."""
        assert [words.rate(value) for value in (0, 3.42, 9.99, 1200)] == ["0", "3.4", "10", "1.2k"]


class TestPicture:
    """What is drawn."""

    BUSY = page(
        in_flight=[
            running(83.2, model="claude-opus-4-5", first_byte=0.5, first_token=1.7,
                    tokens={"input": 4000, "cache_read": 40_000, "output": 3200}),
            running(12, client="other", first_byte=0.5),
            running(0.3, client="none", method="GET", path="/v1/models"),
        ],
        recent=[
            finished(30, first_token=1.0, model="claude-haiku-4-5",
                     tokens={"input": 250, "cache_read": 750, "output": 1234}),
            finished(20, outcome="upstream_error", status=529),
            finished(10, relay="none", client="none", outcome="rejected", status=401,
                     reason="token"),
        ],
        relays={
            "anthropic": {
                "upstream": "up",
                "credential": True,
                "quotas": [{"window": "5h", "utilization": 0.42, "reset": NOW + 7800}],
                "limits": [
                    {"kind": "input_tokens", "limit": 2e6, "remaining": 1.64e6, "reset": NOW + 42}
                ],
            },
            "openai": {"upstream": "down", "credential": False},
        },
    )  # fmt: skip

    @pytest.mark.parametrize("width", [80, 120])
    @pytest.mark.parametrize(
        ("credential", "refused", "word"),
        [(True, True, "refused"), (True, False, "ready"), (True, None, "ready"),
         (False, True, "missing"), (None, True, "–")],
    )  # fmt: skip
    def test_a_credential_that_is_refused_is_not_ready(
        self, width: int, credential: bool | None, refused: bool | None, word: str
    ) -> None:
        """An older relay does not say; and one that is not there is missing before all."""
        state = {"upstream": "up", "credential": credential, "refused": refused}
        lines = picture(page(relays={"anthropic": state}), width=width).splitlines()
        assert any(re.match(rf" anthropic +up,? +{word} ", line) for line in lines)

    @pytest.mark.parametrize("width", [80, 120])
    @pytest.mark.parametrize(
        ("left", "word"),
        [(7800, "2 h left"), (42, "42 s left"), (-5, "0.00 s left")],
    )
    def test_shows_how_long_a_credential_still_lasts(
        self, width: int, left: float, word: str
    ) -> None:
        """Where it says so; its end is in the JSON as well."""
        state = {"upstream": "up", "credential": True, "expires_at": NOW + left}
        told = page(relays={"anthropic": state})
        lines = picture(told, width=width).splitlines()
        assert any(re.match(rf" anthropic +up,? +{word}", line) for line in lines)
        shown = relay_json(told)
        assert shown["expires_at"] == NOW + left
        assert shown["expires_in"] == max(left, 0)

    @pytest.mark.parametrize("width", [80, 120])
    def test_shows_what_there_is(self, width: int) -> None:
        """Every figure is in its place, and no line is too long."""
        lines = picture(self.BUSY, width=width).splitlines()
        assert max(len(line) for line in lines) <= width
        expected = [
            r"relay top  127\.0\.0\.1:9484  \d\d:\d\d:\d\d +3 calls in flight",
            r" anthropic +up,? +ready +2 +1\.0 s / 1\.0 s +1k / 1\.2k +75 % +1",
            r" openai +down,? +missing +0 +– +0 / 0 +– +0",
            r" no relay .* 1",
            r" └ anthropic: 1 upstream error",
            r" └ no relay: 1 rejected",
            r" anthropic +5h window +█+░+ +58 %  resets in 2 h 10 min",
            r" +input tokens +█+░+ +1\.6M of 2M  resets in 42 s",
            r" 1 min 23 s  anthropic  agent +claude-opus-4-5 .* 1\.7 s +44k .*3\.2k",
            r" +12 s  anthropic  other .*/v1/messages +answering .*–",
            r" +0\.30 s  anthropic  – .*GET /v1/models +waiting .*–",
            r" 10 s ago  no relay .*401 rejected.* /v1/messages +2\.0 s",
            r" 20 s ago  anthropic .*529 upstream error .* /v1/messages +2\.0 s",
            r" 30 s ago  anthropic .*200 ok +claude-haiku-4-5 .* 2\.0 s +1k .*1\.2k",
        ]
        found = [line for line in lines if any(re.match(text, line) for text in expected)]
        assert [
            re.match(text, line) is not None for text, line in zip(expected, found, strict=True)
        ]
        assert len(found) == len(expected)

    def test_wide_shows_more(self) -> None:
        """There is room for the path beside the model, the cached share and the reason."""
        text = picture(self.BUSY, width=120)
        assert re.search(r"claude-opus-4-5 +/v1/messages +1\.7 s +44k +91 % +3\.2k", text)
        assert "401 rejected: token" in text

    @pytest.mark.parametrize("width", [80, 120])
    def test_of_nothing(self, width: int) -> None:
        """An empty page says so in each part."""
        text = picture(page(), width=width)
        for line in (
            "0 calls in flight",
            "no relay is configured",
            "the upstreams have stated none so far",
            "\n nothing",
            "\n none so far",
        ):
            assert line in text

    def test_lost(self) -> None:
        """The screen says that it is old, and of when."""
        text = picture(page(), lost="no relay answers at 127.0.0.1:9484")
        line = (
            r"^No relay answers at 127\.0\.0\.1:9484; trying again\. This is from \d\d:\d\d:\d\d\."
        )
        assert re.search(line, text, re.MULTILINE)

    @pytest.mark.parametrize("width", [20, 80, 120])
    def test_hostile_names_are_text(self, width: int) -> None:
        """Neither markup nor an escape of an agent's or an upstream's does anything."""
        names = ("relay", "client", "method", "path", "operation", "model", "outcome", "reason")
        hostile: Json = dict.fromkeys(names, HOSTILE)
        state = {
            "upstream": HOSTILE,
            "quotas": [{"window": HOSTILE, "utilization": 0.5}],
            "limits": [{"kind": HOSTILE, "limit": 2, "remaining": 1}],
        }
        text = page(
            in_flight=[hostile | {"age": 1}],
            recent=[hostile | {"finished": NOW}],
            relays={HOSTILE: state},
        )
        console = Console(
            width=width, file=io.StringIO(), force_terminal=True, color_system=None, record=True
        )
        console.print(draw(View(HOSTILE, figures_of(text), HOSTILE), console, fill=False))
        drawn = console.export_text()
        assert all(letter.isprintable() or letter == "\n" for letter in drawn)
        assert width == 20 or "/[bold red]x[/]" in drawn

    @pytest.mark.parametrize(
        ("width", "model", "count"), [(109, True, 15), (109, False, 17), (200, True, 21)]
    )
    def test_markup_is_text_everywhere(self, width: int, *, model: bool, count: int) -> None:
        """Every cell that holds a foreign name shows all of it."""
        markup = "[b]x[/]"
        names = ["relay", "client", "method", "path", "outcome", "reason"]
        call: Json = dict.fromkeys([*names, "model"] if model else names, markup)
        state = {
            "upstream": markup,
            "quotas": [{"window": markup, "utilization": 0.5}],
            "limits": [{"kind": markup}],
        }
        text = page(in_flight=[call], recent=[call], relays={markup: state})
        console = Console(width=width, file=io.StringIO(), record=True)
        console.print(draw(View(markup, figures_of(text), markup), console, fill=False))
        assert console.export_text().count(markup) == count

    def test_text_without_escapes_says_what_it_held(self) -> None:
        """What does not print is shown as the log shows it, and not without end."""
        assert words.plain("a\x1b[1m\r\n\x9b\u202e\ud800é") == r"a\x1b[1m\r\n\x9b\u202e\ud800é"
        assert len(words.plain("x" * 10_000)) == words.LONGEST

    def test_a_full_screen_is_not_overrun(self) -> None:
        """Of many calls those are shown for which there are lines, and the rest is counted."""
        text = page(in_flight=[running(i) for i in range(60)], recent=[finished(1)] * 60)
        drawn = picture(text, fill=True)
        assert len(drawn.splitlines()) == 24
        assert "the 8 oldest; 52 more" in drawn

    @pytest.mark.parametrize(
        ("room", "running", "ended", "shares"),
        [
            (30, 0, 0, (1, 1)),
            (30, 3, 100, (3, 27)),
            (30, 100, 100, (20, 10)),
            (30, 100, 2, (28, 2)),
            (-5, 100, 100, (2, 2)),
        ],
    )
    def test_share_rows(self, room: int, running: int, ended: int, shares: tuple[int, int]) -> None:
        """Two thirds at least are for calls in flight; what one does not need, the other has."""
        assert share_rows(room, running, ended) == shares


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=5,
)
CALLS = st.lists(
    st.dictionaries(
        st.sampled_from([*finished(0), "age", "first_token", "model", "tokens"]), VALUES
    )
)
STATES = st.dictionaries(
    st.text(max_size=9),
    st.fixed_dictionaries(
        {
            "upstream": VALUES,
            "credential": VALUES,
            "refused": VALUES,
            "quotas": st.lists(st.fixed_dictionaries({"window": VALUES, "utilization": VALUES})),
            "limits": st.lists(st.fixed_dictionaries({"kind": VALUES, "reset": VALUES})) | VALUES,
        }
    ),
    max_size=3,
)


@settings(max_examples=40, deadline=None)  # each draws a picture
@given(time=VALUES, in_flight=CALLS | VALUES, recent=CALLS | VALUES, relays=STATES | VALUES)
def test_no_page_breaks_the_view(
    time: object, in_flight: object, recent: object, relays: object
) -> None:
    """Whatever the values are, there are figures, JSON and a picture that only prints."""
    text = page(time=time, in_flight=in_flight, recent=recent, relays=relays)
    snapshot = read_snapshot(text)
    json.dumps(to_json(compute(snapshot, snapshot.time or NOW)), allow_nan=False)
    assert all(letter.isprintable() or letter == "\n" for letter in picture(text))


class Server:
    """A small HTTP server on loopback with one page, which can go away and come back."""

    def __init__(self) -> None:
        """Listen, on a port of its own."""
        self.status = 200
        self.body = page().encode()
        self.asked: list[str] = []
        self.protocol = "HTTP/1.0"
        self.connections = 0
        self._server: ThreadingHTTPServer | None = None
        self.port = 0
        self.start()

    @property
    def address(self) -> ListenAddress:
        """Where it is, or was."""
        return ListenAddress("127.0.0.1", self.port)

    def start(self) -> None:
        """Listen, where it listened before if it did."""
        page = self

        class Handler(BaseHTTPRequestHandler):
            def setup(self) -> None:
                page.connections += 1
                self.protocol_version = page.protocol
                super().setup()

            def do_GET(self) -> None:  # the name is the library's
                page.asked.append(self.path)
                self.send_response(page.status)
                self.send_header("Content-Length", str(len(page.body)))
                self.end_headers()
                self.wfile.write(page.body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = None


@contextmanager
def _running_server() -> Iterator[Server]:
    server = Server()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def server() -> Iterator[Server]:
    """Return a server that answers with an empty page."""
    with _running_server() as running_server:
        yield running_server


class Screen(io.StringIO):
    """An output that is a terminal."""

    def isatty(self) -> bool:
        """Return True."""
        return True

    def take(self) -> str:
        """Return what was written since the last time."""
        text = self.getvalue()
        self.seek(0)
        self.truncate()
        return text


def run(server: Server, out: io.StringIO, *, once: bool = False, as_json: bool = False) -> int:
    """Run the command against a server."""
    return top.run(server.address, once=once, as_json=as_json, interval=1.0, out=out)


def script(monkeypatch: pytest.MonkeyPatch, *steps: Callable[[], None]) -> list[float]:
    """Take a step instead of each wait, then Ctrl-C; return the list of waits."""
    waits: list[float] = []
    rest = iter(steps)

    def wait(_: object, seconds: float) -> None:
        waits.append(seconds)
        step = next(rest, None)
        if step is None:
            raise KeyboardInterrupt
        step()

    monkeypatch.setattr(Terminal, "wait", wait)
    return waits


class TestOnce:
    """One picture, or one JSON object."""

    def test_prints_once(self, server: Server) -> None:
        """A pipe gets plain text, asked for or not, and one page is asked for."""
        server.body = TestPicture.BUSY.encode()
        for once in (True, False):
            out = io.StringIO()
            assert run(server, out, once=once) == 0
            assert "3 calls in flight" in out.getvalue()
            assert "\x1b" not in out.getvalue()
        assert server.asked == ["/calls", "/calls"]

    def test_a_crowd(self, server: Server) -> None:
        """Ten thousand calls make a page of two megabytes."""
        server.body = page(in_flight=[running(1, model="claude")] * 10_000).encode()
        assert len(server.body) > 1_000_000
        out = io.StringIO()
        assert run(server, out, once=True) == 0
        assert "10000 calls in flight" in out.getvalue()

    def test_prints_once_on_a_terminal(self, server: Server) -> None:
        """The screen is left alone; there may be colours."""
        out = Screen()
        assert run(server, out, once=True) == 0
        assert "0 calls in flight" in out.getvalue()
        assert ENTER_SCREEN not in out.getvalue()

    def test_prints_once_on_a_terminal_that_cannot(
        self, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A terminal without cursor movement is like a pipe."""
        monkeypatch.setenv("TERM", "dumb")
        out = Screen()
        assert run(server, out) == 0
        assert "\x1b" not in out.getvalue()

    @pytest.mark.parametrize("terminal", [True, False])
    def test_json(self, server: Server, *, terminal: bool) -> None:
        """A script gets one object, on whatever; nothing in it acts on a terminal."""
        server.body = page(in_flight=[running(1, path=HOSTILE + "\x7f")]).encode()
        out = Screen() if terminal else io.StringIO()
        assert run(server, out, as_json=True) == 0
        assert all(letter.isprintable() or letter == "\n" for letter in out.getvalue())
        assert out.getvalue().isascii()
        assert json.loads(out.getvalue())["in_flight"][0]["path"] == HOSTILE + "\x7f"

    def test_a_relay_without_a_clock(self, server: Server) -> None:
        """Our own time serves where the page has none."""
        server.body = b"{}"
        out = io.StringIO()
        assert run(server, out, as_json=True) == 0
        assert json.loads(out.getvalue())["time"] > NOW - 1e9

    def test_an_output_that_has_no_such_letters(self, server: Server) -> None:
        """Bars become question marks rather than a failure."""
        server.body = TestPicture.BUSY.encode()
        written = io.BytesIO()
        out = io.TextIOWrapper(written, encoding="ascii")
        assert top.run(server.address, once=True, as_json=False, interval=1.0, out=out) == 0
        assert b"58 %" in written.getvalue()

    def test_interrupted(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        """Who asked for one picture and stopped waiting has not got it."""

        def interrupt(*_: object, **__: object) -> NoReturn:
            raise KeyboardInterrupt

        monkeypatch.setattr(BlockingClient, "ask", interrupt)
        assert run(server, io.StringIO(), once=True) == 1
        assert run(server, Screen()) == 0


class TestUnreachable:
    """No relay, or something else, at the start."""

    @pytest.mark.parametrize("flags", [{}, {"once": True}, {"as_json": True}])
    def test_nobody_answers(
        self, server: Server, capsys: pytest.CaptureFixture[str], flags: dict[str, bool]
    ) -> None:
        """One plain sentence, and nothing on the output."""
        server.stop()
        out = Screen()
        assert run(server, out, **flags) == 1
        assert capsys.readouterr().err == f"relay: no relay answers at {server.address}\n"
        assert out.getvalue() == ""

    @pytest.mark.parametrize(
        ("status", "body", "sentence"),
        [
            (404, b"{}", "what answers at {} has no /calls: it said 404"),
            (200, b"<html>", "what answers at {} is no relay's admin listener"),
            (200, b"\xff", "what answers at {} is no relay's admin listener"),
        ],
    )
    def test_something_else_answers(
        self,
        server: Server,
        capsys: pytest.CaptureFixture[str],
        status: int,
        body: bytes,
        sentence: str,
    ) -> None:
        """The sentence says what is there."""
        server.status, server.body = status, body
        assert run(server, io.StringIO()) == 1
        assert capsys.readouterr().err == f"relay: {sentence.format(server.address)}\n"


class TestLive:
    """The live screen."""

    def test_ctrl_c_ends_well(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        """The screen is entered, left again, and the status is 0."""
        waits = script(monkeypatch)
        out = Screen()
        assert run(server, out) == 0
        assert waits == [1.0]
        text = out.getvalue()
        assert text.count(ENTER_SCREEN) == text.count(LEAVE_SCREEN) == 1
        assert text.rindex(LEAVE_SCREEN) > text.index("0 calls in flight")

    def test_one_connection_serves_all_looks(
        self, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Rather than one each second."""
        server.protocol = "HTTP/1.1"
        script(monkeypatch, lambda: None, lambda: None)
        assert run(server, Screen()) == 0
        assert (server.asked, server.connections) == (["/calls"] * 3, 1)

    def test_lost_and_back(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        """A relay that goes away is said to be lost; when it is back, its figures are."""
        out = Screen()
        seen: list[str] = []

        def go() -> None:
            seen.append(out.take())
            server.stop()

        def stay_away() -> None:
            seen.append(out.take())

        def come_back() -> None:
            seen.append(out.take())
            server.body = page(in_flight=[running(1)]).encode()
            server.start()

        def look() -> None:
            seen.append(out.take())

        script(monkeypatch, go, stay_away, come_back, look)
        assert run(server, out) == 0
        lost = f"No relay answers at {server.address}; trying again."
        assert [lost in text for text in seen] == [False, True, True, False]
        assert ["0 calls in flight" in text for text in seen] == [True, True, True, False]
        assert "1 call in flight" in seen[-1]

    @pytest.mark.parametrize(
        ("interval", "pause"), [(0.0, 0.1), (-3.0, 0.1), (float("nan"), 0.1), (1e9, 3600.0)]
    )
    def test_intervals_have_limits(
        self, server: Server, monkeypatch: pytest.MonkeyPatch, interval: float, pause: float
    ) -> None:
        """No interval keeps the relay busy, or is none at all."""
        waits = script(monkeypatch)
        top.run(server.address, once=False, as_json=False, interval=interval, out=Screen())
        assert waits == [pause]

    def test_terminated(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        """SIGTERM leaves the terminal as it was, and the signal's handler too."""
        before = signal.getsignal(signal.SIGTERM)
        script(monkeypatch, lambda: signal.raise_signal(signal.SIGTERM))
        out = Screen()
        with pytest.raises(SystemExit) as left:
            run(server, out)
        assert left.value.code == 128 + signal.SIGTERM
        assert LEAVE_SCREEN in out.getvalue()
        assert signal.getsignal(signal.SIGTERM) is before
