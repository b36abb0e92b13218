"""The log: what a call's line says, in both forms, and what nobody can make it say."""

import io
import json
import logging
import os
import sys
import weakref
from datetime import datetime, time

import pytest

from relay.errors import CredentialMissing, TokenRefused, UpstreamRedirected
from relay.telemetry import access_log
from relay.telemetry.access_log import JsonFormatter, TextFormatter, call_fields, log_calls, set_up
from relay.telemetry.call import CallRecord
from tests.harness.messages import response_head
from tests.harness.model_answers import (
    MESSAGE_TOKENS,
    MODEL,
    STREAM,
    error_event,
    message_body,
    message_events,
    message_start,
)

API_KEY = "sk-ant-api03-Jr7Wm2Kx9Qv4Tz1Lb6Nc8Hd3Gf5Ys-pA0eUo"
FORGERIES = [
    "\n12:00:00 INFO    GET /forged 200 ok",
    "\r\nforged",
    "\x1b[2K\x1b[1Aforged",
    "\x00\x08\x7f",
    "\u2028forged\u2029",
    "\x85forged",
    "\x0b\x0c\x1c\x1d\x1e",
    "\u202eforged",
    "\ud800",
]


pytestmark = pytest.mark.usefixtures("logging_as_it_was")


class Output(io.StringIO):
    """A file in memory."""

    encoding = "utf-8"

    def __init__(self) -> None:
        super().__init__()
        self._file = os.memfd_create("log")
        weakref.finalize(self, os.close, self._file)

    def fileno(self) -> int:
        """Return its descriptor."""
        return self._file

    def getvalue(self) -> str:
        """Return what has been logged."""
        for handler in logging.getLogger().handlers:
            handler.flush()
        return os.pread(self._file, 1_000_000, 0).decode()


class Terminal(Output):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Return that it is one."""
        return True


def call(**known: object) -> CallRecord:
    """Return a call that is over, with what is known of it."""
    record = CallRecord(method="POST", path="/relay/anthropic/v1/messages", started=100.0)
    record.finished, record.ended = 101.2345678, 1_700_000_000.125
    for name, value in known.items():
        setattr(record, name, value)
    return record


def good_call() -> CallRecord:
    """Return a call that went well."""
    return call(
        relay="anthropic",
        client="agent",
        operation="messages",
        status=200,
        code=200,
        outcome="ok",
        first_byte=100.5,
        request_bytes=10,
        response_bytes=20,
    )


def line_of(record: CallRecord, style: str) -> str:
    """Return what is logged of a call, as it comes out of the stream."""
    stream = Output()
    set_up(style, stream)
    log_calls([record])
    return stream.getvalue()


# A call's line


def test_json_line_has_every_field_that_is_known() -> None:
    """The names are a contract with whoever reads the log."""
    fields = json.loads(line_of(good_call(), "json"))
    assert datetime.fromisoformat(fields.pop("time")).tzinfo is not None
    assert fields == {
        "level": "info",
        "event": "call",
        "relay": "anthropic",
        "client": "agent",
        "method": "POST",
        "path": "/relay/anthropic/v1/messages",
        "operation": "messages",
        "status": 200,
        "outcome": "ok",
        "duration": 1.234568,
        "first_byte": 0.5,
        "request_bytes": 10,
        "response_bytes": 20,
    }


def metered_call() -> CallRecord:
    """Return a call whose answer was a stream that could be metered."""
    record = good_call()
    record.session_id, record.agent_id = "1c-session", "agent-7"
    record.parent_agent_id, record.grant = "agent-1", "claude"
    fields = (("content-type", STREAM), ("request-id", "req_011"))
    record.answered(response_head(200, *fields))
    assert record.meter is not None
    start, *rest = message_events()
    record.meter.feed(start, 100.6)
    record.meter.feed(b"".join(rest), 100.8)
    record.first_byte = 100.5
    record.usage = record.meter.finish("clean", 101.2345678)
    return record


def test_json_line_of_a_metered_call_has_its_usage() -> None:
    """Model, tokens by type, first token, longest silence, and whose it was."""
    fields = json.loads(line_of(metered_call(), "json"))
    assert fields.keys() == {
        *("time", "level", "event", "relay", "client", "method", "path", "operation"),
        *("status", "outcome", "duration", "first_byte", "first_token", "max_gap"),
        *("model", "tokens", "request_id", "session_id", "agent_id", "parent_agent_id", "grant"),
        *("request_bytes", "response_bytes"),
    }
    assert fields["model"] == MODEL
    assert fields["tokens"] == MESSAGE_TOKENS
    assert (fields["first_token"], fields["max_gap"]) == (0.8, 0.434568)
    assert fields["request_id"] == "req_011"
    assert (fields["session_id"], fields["agent_id"]) == ("1c-session", "agent-7")
    assert (fields["parent_agent_id"], fields["grant"]) == ("agent-1", "claude")


def test_line_of_an_answer_has_its_tier_and_its_error() -> None:
    """Where it is not the standard one, and where there is one."""
    exchange = good_call()
    exchange.answered(response_head(200, ("content-type", STREAM)))
    assert exchange.meter is not None
    fast = message_start().replace(b'"output_tokens":1', b'"output_tokens":1,"speed":"fast"')
    exchange.meter.feed(fast + error_event("overloaded_error"), 100.6)
    exchange.usage = exchange.meter.finish("clean", 101.0)
    fields = json.loads(line_of(exchange, "json"))
    assert (fields["tier"], fields["error_type"]) == ("fast", "overloaded_error")


def test_tokens_of_a_line_are_all_that_were_billed() -> None:
    """What the API ran beside the answer is among them."""
    exchange = good_call()
    exchange.answered(response_head(200, ("content-type", "application/json")))
    assert exchange.meter is not None
    steps = b'[{"type":"compaction","input_tokens":7},{"type":"advisor_message","output_tokens":5}]'
    exchange.meter.feed(b'{"usage":{"input_tokens":1,"iterations":%b}}' % steps, 100.6)
    exchange.usage = exchange.meter.finish("clean", 101.0)
    assert json.loads(line_of(exchange, "json"))["tokens"] == {"input": 8, "output": 5}


def test_text_line_of_a_metered_call_has_its_tokens_by_name() -> None:
    """Each as a word of its own."""
    words = line_of(metered_call(), "text").split()
    for kind, count in MESSAGE_TOKENS.items():
        assert f"{kind}={count}" in words
    assert f"model={MODEL}" in words
    assert "session_id=1c-session" in words
    assert not any(word.startswith("tokens=") for word in words)


def test_answer_without_usage_has_none_on_its_line() -> None:
    """Neither null nor an empty object."""
    record = good_call()
    record.answered(response_head(200, ("content-type", "application/json")))
    assert record.meter is not None
    record.meter.feed(b"{}", 100.6)
    record.usage = record.meter.finish("clean", 101.0)
    absent = {"model", "tokens", "first_token", "max_gap", "request_id", "session_id", "agent_id"}
    assert not json.loads(line_of(record, "json")).keys() & absent


@pytest.mark.parametrize("style", ["text", "json"])
@pytest.mark.parametrize("forgery", FORGERIES)
def test_upstream_can_forge_no_line(style: str, forgery: str) -> None:
    """Whatever it calls its model."""
    record = good_call()
    record.answered(response_head(200, ("content-type", "application/json")))
    assert record.meter is not None
    record.meter.feed(message_body(f"m{forgery}"), 100.6)
    record.usage = record.meter.finish("clean", 101.0)
    line = line_of(record, style)
    assert len(line.splitlines()) == 1
    assert line.rstrip("\n").isprintable()


def test_what_is_not_known_is_absent() -> None:
    """Rather than null or none."""
    fields = json.loads(line_of(call(method="", path=""), "json"))
    assert fields.keys() == {
        "time",
        "level",
        "event",
        "operation",
        "outcome",
        "duration",
        "request_bytes",
        "response_bytes",
    }
    assert fields["outcome"] == "client_abort"


def test_refused_call_says_why() -> None:
    """With the reason that its metric has."""
    record = call()
    record.failed(TokenRefused())
    fields = call_fields(record)
    assert (fields["status"], fields["outcome"], fields["reason"]) == (401, "rejected", "token")
    record = call()
    record.failed(CredentialMissing())
    fields = call_fields(record)
    assert (fields["status"], fields["outcome"]) == (503, "no_credential")
    assert "reason" not in fields


def test_status_is_what_the_agent_was_told() -> None:
    """A redirect became a 502; what the upstream said is for the metrics."""
    record = call()
    record.failed(UpstreamRedirected(307))
    assert (record.status, record.code) == (502, 307)
    assert call_fields(record)["status"] == 502


def test_json_time_is_utc_with_milliseconds() -> None:
    """As RFC 3339 writes it."""
    record = logging.LogRecord("relay", logging.INFO, "", 0, "x", None, None)
    record.created = 1_700_000_000.125
    assert json.loads(JsonFormatter().format(record))["time"] == "2023-11-14T22:13:20.125Z"


@pytest.mark.parametrize(
    ("now", "shown"),
    [
        (1_700_000_000_125_999_999, "2023-11-14T22:13:20.125Z"),
        (1_700_000_000_005_000_000, "2023-11-14T22:13:20.005Z"),
        (1_700_000_001_000_000_000, "2023-11-14T22:13:21.000Z"),
        (1_700_000_000_999_999_999, "2023-11-14T22:13:20.999Z"),
    ],
)
def test_time_of_a_call_is_written_like_that_of_a_message(now: int, shown: str) -> None:
    """Also where the clock goes back."""
    formatter = JsonFormatter()
    for moment in (1_700_000_000_500_000_000, now, 1_700_000_000_500_000_000, now):
        line = formatter.format_call({"outcome": "ok"}, moment)
    assert line == f'{{"time":"{shown}","level":"info","event":"call","outcome":"ok"}}'


def test_text_line_is_for_people() -> None:
    """Time, level, and the call in the order one reads it."""
    line = line_of(good_call(), "text")
    assert line.endswith("\n")
    moment, level, *words = line.split()
    assert len(time.fromisoformat(moment).isoformat()) == len("12:00:01")
    assert level == "INFO"
    assert words == [
        *("POST", "/relay/anthropic/v1/messages", "200", "ok", "relay=anthropic", "client=agent"),
        *("operation=messages", "duration=1.234568", "first_byte=0.5"),
        *("request_bytes=10", "response_bytes=20"),
    ]


def test_text_line_of_a_call_that_nothing_is_known_of() -> None:
    """Dashes keep the words in their places."""
    words = line_of(call(method="", path=""), "text").split()
    assert words[2:6] == ["-", "-", "-", "client_abort"]


@pytest.mark.parametrize("style", ["text", "json"])
def test_line_holds_no_query(style: str) -> None:
    """The path is all there is of a target, and headers are not there at all."""
    line = line_of(good_call(), style)
    assert "?" not in line
    assert "api-key" not in line.lower()


def test_fields_of_a_call_that_is_over_are_put_together_once() -> None:
    """The log and whoever looks on show the same; of a call that runs there is news."""
    record = good_call()
    assert call_fields(record) is call_fields(record)
    running = CallRecord()
    before = call_fields(running)
    running.method = "POST"
    assert "method" not in before
    assert call_fields(running)["method"] == "POST"


# Nobody forges a line


@pytest.mark.parametrize("style", ["text", "json"])
@pytest.mark.parametrize("forgery", FORGERIES)
@pytest.mark.parametrize("where", ["path", "method"])
def test_agent_can_forge_no_line(style: str, forgery: str, where: str) -> None:
    """Whatever it puts into a path or a method stays on its own line, in plain sight."""
    line = line_of(call(**{where: f"/x{forgery}"}), style)
    assert line.count("\n") == 1
    assert line.endswith("\n")
    assert len(line.splitlines()) == 1
    assert line.rstrip("\n").isprintable()


@pytest.mark.parametrize("style", ["text", "json"])
@pytest.mark.parametrize("forgery", FORGERIES)
def test_message_forges_no_line_either(style: str, forgery: str) -> None:
    """A file's name, say, from a configuration."""
    stream = Output()
    set_up(style, stream)
    logging.getLogger("relay").warning("%s is missing", forgery)
    assert len(stream.getvalue().splitlines()) == 1


def test_json_keeps_what_was_sent() -> None:
    """Escaped on the line, and whole again for whoever parses it."""
    for forgery in FORGERIES:
        assert json.loads(line_of(call(path=forgery), "json"))["path"] == forgery


# Messages


def test_message_in_json_has_an_event_of_its_own() -> None:
    """So that calls can be told from the rest."""
    stream = Output()
    set_up("json", stream)
    logging.getLogger("relay").warning("%s on %s", "relays", "127.0.0.1:8484")
    fields = json.loads(stream.getvalue())
    assert (fields["event"], fields["level"]) == ("log", "warning")
    assert fields["message"] == "relays on 127.0.0.1:8484"


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_fault_of_our_own_comes_with_its_traceback(formatter: logging.Formatter) -> None:
    """It is a bug, and needs one."""
    try:
        int("boom")
    except ValueError:
        record = logging.LogRecord("relay", logging.ERROR, "", 0, "fault", None, sys.exc_info())
    text = formatter.format(record)
    assert "Traceback" in text
    assert "boom" in text
    if isinstance(formatter, JsonFormatter):
        assert len(text.splitlines()) == 1
        assert "Traceback" in json.loads(text)["exception"]


# Which form


@pytest.mark.parametrize(
    ("style", "stream", "formatter"),
    [
        ("text", Output(), TextFormatter),
        ("json", Terminal(), JsonFormatter),
        (None, Terminal(), TextFormatter),
        (None, Output(), JsonFormatter),
        ("", Output(), JsonFormatter),
        ("xml", Terminal(), TextFormatter),
    ],
)
def test_form_is_chosen_or_follows_the_stream(
    style: str | None, stream: io.StringIO, formatter: type[logging.Formatter]
) -> None:
    """Text on a terminal, JSON elsewhere, unless told otherwise."""
    set_up(style, stream)
    (handler,) = logging.getLogger().handlers
    assert isinstance(handler.formatter, formatter)


def test_others_are_heard_only_when_they_warn() -> None:
    """Libraries chatter, and what they say may hold headers."""
    stream = Output()
    set_up("text", stream)
    logging.getLogger("aiohttp.client").info("header x-api-key: %s", API_KEY)
    logging.getLogger("relay").debug("not this")
    assert stream.getvalue() == ""
    logging.getLogger("aiohttp").warning("heard")
    logging.getLogger("relay").info("heard, too")
    assert len(stream.getvalue().splitlines()) == 2


def test_silenced_log_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fields are not even put together."""
    logging.getLogger("relay").setLevel(logging.WARNING)
    monkeypatch.setattr(access_log, "call_fields", None)
    log_calls([good_call()])
