"""The meter: how answers end, what cannot be read, and what tries to break it."""

import gzip
import math
import tracemalloc
import weakref
import zlib
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.http import coding
from relay.http.sse import EVENT_LIMIT
from relay.telemetry.usage import ERROR_TYPES, SERVER_TOOLS, TOKEN_TYPES, End, Meter, Missing, meter
from relay.telemetry.usage.counts import Tally
from relay.telemetry.usage.json_body import WHOLE_LIMIT, Document
from relay.telemetry.usage.reader import Row
from tests.unit.telemetry.usage.samples import (
    ANTHROPIC_JSON,
    ANTHROPIC_STREAM,
    ANTHROPIC_TOKENS,
    BLOCK_START,
    CHAT_STREAM,
    CHAT_TOKENS,
    EVENT_STREAM,
    JSON,
    MESSAGE_STOP,
    OVERLOADED,
    PING,
    RESPONSES_STREAM,
    RESPONSES_TOKENS,
    RESPONSES_USAGE,
    bytewise,
    compact,
    cut,
    data,
    event,
    message_delta,
    message_start,
    read,
    read_json,
    read_stream,
    response,
    text_delta,
)

OPERATIONS = ("messages", "chat_completions", "responses", "embeddings", "other")
ENDS: tuple[End, ...] = get_args(End)


# How answers end


@pytest.mark.parametrize(
    ("end", "missing"),
    [("clean", "truncated"), ("broken", "truncated"), ("aborted", "client_abort")],
)
def test_a_torso_is_missing_for_the_reason_it_ended(end: End, missing: Missing) -> None:
    """What was known by then is counted."""
    reading = read_stream("messages", ANTHROPIC_STREAM[:5], end)
    assert reading.missing == missing
    assert reading.tokens["input"] == 25
    assert reading.truncated == (end == "clean")


LAST_EVENTS = {
    "messages": (ANTHROPIC_STREAM, ANTHROPIC_TOKENS),
    "chat_completions": (CHAT_STREAM, CHAT_TOKENS),
    "responses": (RESPONSES_STREAM, RESPONSES_TOKENS),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("rest", [b"", b"\n", b"\r\n", b"\r", b"\n: bye"])
@pytest.mark.parametrize("operation", LAST_EVENTS)
def test_a_last_event_without_its_empty_line_is_an_event(
    operation: str, rest: bytes, end: End
) -> None:
    """Some servers do not write it."""
    pieces, tokens = LAST_EVENTS[operation]
    body = b"".join(pieces).removesuffix(b"\n\n") + rest
    for cuts in ([body], bytewise(body)):
        reading = read_stream(operation, cuts, end)
        assert (reading.tokens, reading.missing) == (tokens, None)
        assert (reading.ended, reading.truncated) == (True, False)


@pytest.mark.parametrize(
    ("operation", "rest"),
    [
        ("messages", b'event: message_stop\ndata: {"type":"message_st'),
        ("messages", b"event: message_stop\ndata:"),
        ("messages", b"event: message_stop"),
        ("chat_completions", b"data: [DONE"),
        ("responses", b'event: response.completed\ndata: {"type":"response.completed","respo'),
    ],
)
def test_a_torso_of_a_last_event_is_none(operation: str, rest: bytes) -> None:
    """Whatever its first words are."""
    first = [message_start()] if operation == "messages" else RESPONSES_STREAM[:3]
    for end in ENDS:
        reading = read_stream(operation, [*first, rest], end)
        assert (reading.ended, reading.truncated) == (False, end == "clean")
        assert reading.missing == ("client_abort" if end == "aborted" else "truncated")


def test_the_first_token_may_be_in_the_last_event() -> None:
    """It came when its bytes did."""
    meter = Meter("messages", 200, EVENT_STREAM)
    meter.feed(message_start(), 1.0)
    meter.feed(text_delta().rstrip(), 2.0)
    assert meter.finish("clean", 9.0).first_token_at == 2.0


def test_an_error_may_be_the_last_event() -> None:
    """Under a status of 200, and as an answer's body."""
    reading = read_stream("messages", [message_start(), OVERLOADED.rstrip()])
    assert (reading.stream_error, reading.error_type) == (True, "overloaded_error")
    reading = read(Meter("messages", 502, EVENT_STREAM), [OVERLOADED.rstrip()])
    assert (reading.error_type, reading.error_where) == ("overloaded_error", "http")


def test_totals_and_a_reason_are_as_good_as_the_end() -> None:
    """A clean end of the framing, and of the coding, says the rest."""
    whole = b"".join(ANTHROPIC_STREAM[:-1])
    reading = read_stream("messages", [whole])
    assert (reading.missing, reading.truncated, reading.ended) == (None, False, False)
    assert read_stream("messages", ANTHROPIC_STREAM[:-2]).truncated
    meter = Meter("messages", 200, EVENT_STREAM, b"gzip")
    coded = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    torso = coded.compress(whole) + coded.flush(zlib.Z_SYNC_FLUSH)
    assert read(meter, [torso]).truncated


# What they are, whatever the label


@pytest.mark.parametrize("label", [JSON, b"", b"text/plain", b"application/octet-stream"])
@pytest.mark.parametrize("operation", LAST_EVENTS)
@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf", b"\r\n", b": hello\n\n"])
def test_events_are_told_by_their_first_bytes(operation: str, label: bytes, before: bytes) -> None:
    """However they are cut, and coded too."""
    pieces, tokens = LAST_EVENTS[operation]
    body = before + b"".join(pieces)
    for name, coded in ((b"", body), (b"gzip", gzip.compress(body))):
        for cuts in ([coded], bytewise(coded)):
            reading = read(Meter(operation, 200, label, name), cuts)
            assert (reading.tokens, reading.missing, reading.ended) == (tokens, None, True)
            assert reading.max_gap == 0.0
            assert reading.first_token_at == 1.0


@pytest.mark.parametrize("label", [EVENT_STREAM, b"", b"text/plain"])
@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf", b" \r\n\t", b"\n" * 5000])
def test_json_is_told_by_its_first_bytes(label: bytes, before: bytes) -> None:
    """Some servers send blanks before it, so that the connection stays open."""
    body = before + compact(ANTHROPIC_JSON)
    for cuts in ([body], bytewise(body)):
        reading = read(Meter("messages", 200, label), cuts)
        assert (reading.tokens["output"], reading.missing) == (77, None)
        assert (reading.truncated, reading.unusable, reading.max_gap) == (False, False, None)


def test_json_for_a_stream_of_errors_and_the_other_way_round() -> None:
    """The type of a refusal is read either way."""
    body = compact({"error": {"type": "api_error"}})
    assert read(Meter("messages", 502, EVENT_STREAM), [body]).error_type == "api_error"
    assert read(Meter("messages", 529, JSON), [OVERLOADED]).error_type == "overloaded_error"


def test_what_the_first_bytes_do_not_tell_the_label_does() -> None:
    """A field that nobody knows, before those of an event."""
    pieces = [b"foo: bar\n", *ANTHROPIC_STREAM]
    assert read_stream("messages", pieces).tokens == ANTHROPIC_TOKENS
    assert read(Meter("messages", 200, JSON), pieces).missing == "parse"


# Whether they are answers at all


NO_ANSWERS = {
    "nothing": b"",
    "blanks": b"\r\n \t",
    "HTML": b"<!doctype html><title>Welcome</title>",
    "text": b"Service Unavailable",
    "a start of a field": b"dat",
    "a page of status": b'{"status":"ok"}',
    "an empty object": b"{}",
    "an error": b'{"type":"error","error":{"type":"api_error"}}',
    "an error beside content": b'{"content":[],"error":{"type":"api_error"}}',
    "an error that says nothing": b'{"error":"no"}',
    "no object": b"[]",
    "half an answer": compact(ANTHROPIC_JSON)[:-1],
}


@pytest.mark.parametrize("label", [JSON, EVENT_STREAM, b"text/html", b""])
@pytest.mark.parametrize("name", NO_ANSWERS)
def test_an_answer_that_is_none_is_unusable(name: str, label: bytes) -> None:
    """Of every endpoint, whatever it is labelled; if it came to a clean end."""
    body = NO_ANSWERS[name]
    for operation in (*OPERATIONS[:4], "count_tokens", "batches", "files"):
        reading = read(Meter(operation, 200, label), [body])
        assert (reading.unusable, reading.truncated, reading.stream_error) == (True, False, False)
        assert reading.error_type == ("api_error" if b"api_error" in body else "other")
        assert reading.error_where == "http"
        assert not read(Meter(operation, 200, label), [body], "broken").unusable
        assert not read(Meter(operation, 200, label), [body], "aborted").unusable
        below = read(Meter(operation, 200, label, is_endpoint=False), [body])
        assert (below.unusable, below.truncated) == (False, False)


@pytest.mark.parametrize(
    ("operation", "answer"),
    [
        ("messages", {"content": []}),
        ("messages", {"usage": {"input_tokens": 1}, "error": None}),
        ("chat_completions", {"choices": []}),
        ("responses", {"output": [], "error": None}),
        ("responses", {"id": "resp_1", "status": "queued", "usage": None}),
        ("embeddings", {"data": []}),
        ("count_tokens", {"input_tokens": 0}),
        ("batches", {"id": "msgbatch_1"}),
        ("files", {"id": "file_1"}),
    ],
)
def test_an_answer_of_the_api_is_usable(operation: str, answer: object) -> None:
    """One of its members is enough."""
    reading = read_json(operation, answer)
    assert (reading.unusable, reading.error_type, reading.error_where) == (False, None, None)


def test_what_nobody_could_read_is_not_judged() -> None:
    """It may be the best of answers."""
    assert not read(Meter("messages", 200, JSON, b"dcb"), [b"?"]).unusable
    assert not read(Meter("messages", 200, JSON, b"gzip"), [b"?????"]).unusable
    long = b'{"x":"%b"}' % (b"a" * WHOLE_LIMIT)
    assert not read_json("messages", long).unusable


def test_a_stream_is_judged_by_its_events() -> None:
    """Whatever is in it: it is no error of the kind that a page is."""
    for pieces in ([PING], [b": hello\n\n"], [message_start(), OVERLOADED]):
        assert not read_stream("messages", pieces).unusable


def test_usage_of_an_answer_that_failed_is_counted() -> None:
    """It was paid for."""
    answer = {**response("failed", RESPONSES_USAGE), "error": {"code": "server_error"}}
    reading = read_json("responses", answer)
    assert (reading.tokens, reading.missing) == (RESPONSES_TOKENS, None)
    assert (reading.unusable, reading.stop_reason) == (True, "failed")


@pytest.mark.parametrize("operation", OPERATIONS[:4])
def test_what_is_below_an_endpoint_counts(operation: str) -> None:
    """Where it states usage; where it does not, it is missing."""
    value = {"usage": {"input_tokens": 5, "prompt_tokens": 5}}
    meter = Meter(operation, 200, JSON, is_endpoint=False)
    reading = read(meter, [compact(value)])
    assert (reading.tokens, reading.missing) == ({"input": 5}, None)
    assert read(Meter(operation, 200, JSON, is_endpoint=False), [b"{}"]).missing == "absent"
    assert read(Meter("count_tokens", 200, JSON, is_endpoint=False), [b"{}"]).missing is None


@pytest.mark.parametrize("operation", ["count_tokens", "batches", "files"])
def test_what_is_below_an_endpoint_without_usage_is_not_read(operation: str) -> None:
    """A file's content, or a batch's results, may hold an error that is none of the call's."""
    body = compact({"error": {"type": "api_error", "message": "of a line in a batch"}})
    reading = read(Meter(operation, 200, JSON, is_endpoint=False), [body])
    assert (reading.error_type, reading.error_where, reading.error_message) == (None, None, "")
    refused = read(Meter(operation, 404, JSON, is_endpoint=False), [body])
    assert (refused.error_type, refused.error_where) == ("api_error", "http")


def test_an_agent_that_leaves_after_an_error_aborted_nothing() -> None:
    """SDKs close the connection at an error; the error was there first."""
    reading = read_stream("messages", [message_start(), OVERLOADED], "aborted")
    assert (reading.stream_error, reading.missing) == (True, "truncated")


def test_an_agent_that_leaves_after_the_end_aborted_nothing() -> None:
    """Some do not wait for the last chunk."""
    reading = read_stream("messages", ANTHROPIC_STREAM, "aborted")
    assert (reading.ended, reading.missing) == (True, None)
    reading = read_stream("chat_completions", [b"data: [DONE]\n\n"], "aborted")
    assert (reading.ended, reading.missing) == (True, "absent")


@pytest.mark.parametrize(("end", "missing"), [("broken", "truncated"), ("aborted", "client_abort")])
def test_half_a_json_answer_is_missing_for_the_reason_it_ended(end: End, missing: Missing) -> None:
    """Not because it cannot be parsed."""
    body = compact(ANTHROPIC_JSON)
    assert read_json("messages", body[:-1], end).missing == missing
    assert read_json("messages", body, end).missing is None


@pytest.mark.parametrize("end", ENDS)
def test_an_answer_without_a_body(end: End) -> None:
    """Neither raises nor counts."""
    for content_type in (JSON, EVENT_STREAM, b""):
        for operation in OPERATIONS:
            reading = read(Meter(operation, 200, content_type), [], end)
            assert (reading.tokens, reading.max_gap) == ({}, None)
    assert read_json("messages", b"").missing == "absent"


@pytest.mark.parametrize(
    ("body", "missing"),
    [
        (b"nonsense", "parse"),
        (b"[1]", "parse"),
        (b'"usage"', "parse"),
        (b"{}", "absent"),
        (b'{"usage":null}', "absent"),
        (b'{"usage":{}}', "absent"),
        (b'{"usage":[]}', "parse"),
        (b"\xef\xbb\xbf{}", "absent"),
        (b" \r\n\t{} \r\n\t", "absent"),
        (b"\xef\xbb\xbf\n{}", "absent"),
        (b"\x0b{}", "parse"),
        (b"{} x", "parse"),
        (b"{}{}", "parse"),
        (b'{"usage":', "parse"),
        (b"\xff", "parse"),
    ],
)
def test_json_without_usage_says_why(body: bytes, missing: Missing) -> None:
    """Whether there was none, or none that could be read."""
    for operation in OPERATIONS[:4]:
        assert read_json(operation, body).missing == missing


@pytest.mark.parametrize("status", [201, 299])
def test_any_success_is_read(status: int) -> None:
    """Of 2xx, all."""
    assert read_json("messages", ANTHROPIC_JSON, status=status).missing is None


@pytest.mark.parametrize("status", [304, 302, 199])
def test_what_is_neither_success_nor_error_says_nothing(status: int) -> None:
    """It has no usage to miss."""
    reading = read_json("messages", ANTHROPIC_JSON, status=status)
    assert (reading.tokens, reading.missing, reading.error_type) == ({}, None, None)


# Errors


ERRORS = {
    "Anthropic's": ({"type": "error", "error": {"type": "rate_limit_error"}}, "rate_limit_error"),
    "OpenAI's": ({"error": {"type": "invalid_request_error"}}, "invalid_request_error"),
    "Headroom's own": ({"detail": "Rate limited. Retry after 0.7s"}, "other"),
    "an unknown type": ({"error": {"type": "insufficient_quota"}}, "other"),
    "no type": ({"error": {"code": 5}}, "other"),
    "a type that is none": ({"error": {"type": ["api_error"]}}, "other"),
    "an error that is a text": ({"error": "api_error"}, "other"),
    "text": (b"Service Unavailable", "other"),
    "nothing": (b"", "other"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_the_type_of_an_error_is_in_its_body(name: str) -> None:
    """Of any operation; an error has no usage, whatever it holds."""
    value, error_type = ERRORS[name]
    for operation in (*OPERATIONS, "models"):
        reading = read_json(operation, value, status=429)
        assert (reading.error_type, reading.error_where) == (error_type, "http")
        assert (reading.missing, reading.stream_error, reading.model) == (None, False, None)


@pytest.mark.parametrize(
    ("error", "unpaid"),
    [
        ({"type": "billing_error"}, True),
        ({"type": "insufficient_quota", "code": "insufficient_quota"}, True),
        ({"type": None, "code": "billing_not_active"}, True),
        ({"message": "Your credit balance is too low to access the Anthropic API."}, True),
        ({"type": "rate_limit_error", "message": "This would exceed your rate limit"}, False),
        ({"type": ["billing_error"], "code": 402, "message": {"a": 1}}, False),
        ("billing_error", False),
        (None, False),
    ],
)
def test_an_error_for_want_of_payment_is_told(error: object, unpaid: bool) -> None:
    """By type, code or words, whatever the status; also in a stream, among others."""
    assert read_json("messages", {"error": error}, status=400).unpaid == unpaid
    stream = [message_start(), event("error", error=error), OVERLOADED]
    assert read_stream("messages", stream).unpaid == unpaid


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ({"message": "no route"}, "no route"),
        ({"message": "x" * 3000}, "x" * 2000),
        ({"message": ["no route"]}, ""),
        ({"message": None}, ""),
        ("no route", ""),
    ],
)
def test_an_errors_words_are_kept_up_to_a_limit(error: object, message: str) -> None:
    """Those of the first, where there are several."""
    assert read_json("models", {"error": error}, status=502).error_message == message
    stream = [event("error", error={"message": "first"}), OVERLOADED]
    assert read_stream("messages", stream).error_message == "first"


def test_coded_errors_are_decoded() -> None:
    """An error may be coded like any answer."""
    body = gzip.compress(compact({"error": {"type": "overloaded_error"}}))
    reading = read(Meter("models", 529, JSON, b"gzip"), bytewise(body))
    assert reading.error_type == "overloaded_error"
    reading = read(Meter("models", 529, JSON, b"unheard-of"), [body])
    assert (reading.error_type, reading.missing) == ("other", None)


def test_an_error_stream_is_read_up_to_its_error() -> None:
    """What else is in it does not matter."""
    pieces = [PING, data({"error": {"type": "api_error"}}), OVERLOADED]
    reading = read(Meter("messages", 502, EVENT_STREAM), pieces)
    assert (reading.error_type, reading.error_where) == ("api_error", "http")
    assert (reading.stream_error, reading.truncated, reading.max_gap) == (False, False, None)


def test_error_types_are_a_closed_set() -> None:
    """Each of them is itself, the rest is other."""
    for kind in ERROR_TYPES:
        assert read_json("other", {"error": {"type": kind}}, status=400).error_type == kind


# What cannot be read


@pytest.mark.parametrize("end", ENDS)
def test_an_unknown_coding_is_said(end: End) -> None:
    """And is no truncation: whether the end was there, nobody can say."""
    for content_type in (EVENT_STREAM, JSON):
        reading = read(Meter("messages", 200, content_type, b"dcb"), [b"???"], end)
        assert (reading.missing, reading.truncated) == ("encoding", False)


def test_a_coding_that_goes_wrong_on_the_way_is_said() -> None:
    """What was known by then is counted."""
    compressor = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    start = compressor.compress(message_start()) + compressor.flush(zlib.Z_SYNC_FLUSH)
    meter = Meter("messages", 200, EVENT_STREAM, b"gzip")
    reading = read(meter, [start, b"\xff" * 100, start])
    assert (reading.missing, reading.tokens["input"]) == ("encoding", 25)
    assert not reading.truncated


def test_a_coded_stream_is_decoded_whatever_it_looks_like() -> None:
    """Its bytes are not taken for events, not even once content is read no more."""
    compressor = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    content = b"".join(ANTHROPIC_STREAM[:4])
    start = compressor.compress(content) + compressor.flush(zlib.Z_SYNC_FLUSH)
    meter = Meter("messages", 200, EVENT_STREAM, b"gzip")
    assert read(meter, [start, text_delta()]).missing == "encoding"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [(EVENT_STREAM, b"".join(ANTHROPIC_STREAM[:5])), (JSON, compact(ANTHROPIC_JSON))],
)
def test_a_coding_that_ends_too_soon_is_truncated(content_type: bytes, body: bytes) -> None:
    """Although its framing ended well."""
    reading = read(Meter("messages", 200, content_type, b"gzip"), [gzip.compress(body)[:-20]])
    assert reading.missing == "truncated"


def test_a_bomb_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends the reading, not the call; what came before it is counted."""
    monkeypatch.setattr(coding, "FEED_LIMIT", 100_000)
    compressor = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    start = compressor.compress(message_start()) + compressor.flush(zlib.Z_SYNC_FLUSH)
    bomb = compressor.compress(bytes(300_000)) + compressor.flush()
    reading = read(Meter("messages", 200, EVENT_STREAM, b"gzip"), [start, bomb, b"more"])
    assert (reading.missing, reading.tokens["input"]) == ("too_large", 25)
    assert not reading.truncated


def test_json_in_small_pieces_takes_no_more_memory_than_it_has_bytes() -> None:
    """Each piece by itself would take twenty times its own size."""
    document = Document()
    tracemalloc.start()
    try:
        for _ in range(200_000):
            document.feed(b"{ ")
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 2 * 400_000


def test_an_event_over_the_limit_does_not_hide_the_usage() -> None:
    """An image may be that large; the totals come after it."""
    huge = event("content_block_delta", index=0, delta={"text": "a" * EVENT_LIMIT})
    pieces = [*ANTHROPIC_STREAM[:3], huge, *ANTHROPIC_STREAM[4:]]
    reading = read_stream("messages", pieces)
    assert (reading.tokens, reading.missing) == (ANTHROPIC_TOKENS, None)
    huge = data({"choices": [{"delta": {"content": "a" * EVENT_LIMIT}}]})
    reading = read_stream("chat_completions", [*CHAT_STREAM[:2], huge, *CHAT_STREAM[2:]])
    assert (reading.tokens, reading.missing) == (CHAT_TOKENS, None)


def test_usage_in_an_event_over_the_limit_is_too_large() -> None:
    """The end is known by the event's name."""
    huge = event("response.completed", response={"output": "a" * EVENT_LIMIT})
    reading = read_stream("responses", [*RESPONSES_STREAM[:-1], huge])
    assert (reading.ended, reading.missing, reading.truncated) == (True, "too_large", False)


def test_an_event_over_the_limit_may_have_been_the_end() -> None:
    """So that nobody can say that it was not there."""
    reading = read_stream("chat_completions", [b"data: " + bytes(EVENT_LIMIT) + b"\n\n"])
    assert (reading.missing, reading.truncated) == ("too_large", False)


def test_a_fault_of_a_row_ends_the_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is counted as what could not be parsed, and goes no further."""

    def raise_fault(_: object, tally: Tally) -> None:
        raise ZeroDivisionError(tally)

    monkeypatch.setattr(meter, "_ROWS", {"messages": Row(raise_fault, raise_fault)})
    for content_type, body in ((JSON, b"{}"), (EVENT_STREAM, message_start())):
        reading = read(Meter("messages", 200, content_type), [body])
        assert (reading.missing, reading.truncated) == ("parse", False)


# Times


def test_the_longest_gap_is_the_longest_silence_of_a_stream() -> None:
    """Pings end a silence; the last one counts until the end."""
    meter = Meter("messages", 200, EVENT_STREAM)
    for now in (10.0, 10.5, 13.5, 14.0):
        meter.feed(PING, now)
    assert meter.finish("clean", 15.0).max_gap == 3.0
    assert meter.finish("broken", 344.0).max_gap == 330.0


def test_while_nobody_reads_the_upstream_it_is_not_silent() -> None:
    """What it wrote meanwhile waits; only its own silence counts, before and after."""
    meter = Meter("messages", 200, EVENT_STREAM)
    meter.feed(PING, 10.0)
    meter.excuse(90.0)
    meter.feed(PING, 101.5)
    meter.feed(PING, 102.0)
    assert meter.finish("clean", 102.0).max_gap == 1.5
    meter = Meter("messages", 200, EVENT_STREAM)
    meter.excuse(5.0)  # before anything has come
    meter.feed(PING, 10.0)
    meter.excuse(60.0)
    assert meter.finish("broken", 70.25).max_gap == 0.25


def test_streams_of_every_operation_have_gaps_and_json_has_none() -> None:
    """They are about the wire, not about usage."""
    for operation in OPERATIONS:
        assert read_stream(operation, [PING, PING]).max_gap == 0.0
        assert read_json(operation, {}).max_gap is None
    coded = read(Meter("messages", 200, EVENT_STREAM, b"dcb"), [b"?"])
    assert coded.max_gap == 0.0


def test_the_pace_is_that_of_the_tokens_after_the_first() -> None:
    """411 tokens in 8.22 seconds."""
    meter = Meter("messages", 200, EVENT_STREAM)
    meter.feed(b"".join(ANTHROPIC_STREAM[:3]), 2.0)
    meter.feed(b"".join(ANTHROPIC_STREAM[3:]), 10.0)
    pace = meter.finish("clean", 10.22).seconds_per_output_token(10.22)
    assert pace is not None
    assert math.isclose(pace, 0.02)


@pytest.mark.parametrize(
    "pieces",
    [
        ANTHROPIC_STREAM[:5],
        [message_start(), message_delta({"output_tokens": 9}), MESSAGE_STOP],
        [message_start(), BLOCK_START, message_delta({"output_tokens": 1}), MESSAGE_STOP],
    ],
)
def test_there_is_no_pace_where_it_is_not_known(pieces: list[bytes]) -> None:
    """Not all output known, no first token, or nothing after it."""
    assert read_stream("messages", pieces).seconds_per_output_token(9.0) is None


def test_the_content_type_decides_whatever_its_parameters() -> None:
    """Media types are told without regard to case (RFC 9110 §8.3.1)."""
    for content_type in (b"text/event-stream", b"Text/Event-Stream ; charset=utf-8"):
        assert read(Meter("messages", 200, content_type), ANTHROPIC_STREAM).ended


# Hostile answers


DEEP = b"[" * 100_000 + b"]" * 100_000
ABSURD = [
    b"-1",
    b"1.5",
    b"1e30",
    b"true",
    b'"5"',
    b"[]",
    b"{}",
    b"NaN",
    b"Infinity",
    b"-Infinity",
    b"1000000001",
    b"9" * 400,
    b"9" * 5000,
    b'"\xff\xfe"',
    b'"\\ud800"',
    DEEP,
]
NAMES = (
    b"input_tokens",
    b"output_tokens",
    b"prompt_tokens",
    b"completion_tokens",
    b"cache_creation",
    b"prompt_tokens_details",
    b"input_tokens_details",
)


@pytest.mark.parametrize("index", range(len(ABSURD)))
def test_absurd_numbers_are_not_counted(index: int) -> None:
    """And that they were there is said."""
    usage = b"{%b}" % b",".join(b'"%b":%b' % (name, ABSURD[index]) for name in NAMES)
    for operation in OPERATIONS[:4]:
        reading = read_json(operation, b'{"usage":%b}' % usage)
        assert (reading.tokens, reading.missing) == ({}, "parse")
    bodies = {
        "messages": b'{"type":"message_start","message":{"usage":%b}}',
        "chat_completions": b'{"choices":[],"usage":%b}',
        "responses": b'{"type":"response.completed","response":{"usage":%b}}',
    }
    for operation, body in bodies.items():
        pieces = [b"data: %b\n\n" % (body % usage), MESSAGE_STOP, b"data: [DONE]\n\n"]
        reading = read_stream(operation, pieces)
        assert (reading.tokens, reading.missing) == ({}, "parse")
        assert reading.ended


@pytest.mark.parametrize("model", ["", "m" * 129, None, 5, ["m"], {"m": 1}])
def test_a_model_without_a_fair_name_has_none(model: object) -> None:
    """It would be a label."""
    assert read_json("messages", {"model": model}).model is None
    assert read_stream("messages", [message_start(model=model)]).model is None


def test_invalid_utf_8_does_not_hide_the_usage() -> None:
    """What is not UTF-8 is replaced, as the standard of event streams says."""
    broken = [piece.replace("é".encode(), b"\xff\xc3") for piece in ANTHROPIC_STREAM]
    assert read_stream("messages", broken).tokens == ANTHROPIC_TOKENS
    body = compact(ANTHROPIC_JSON).replace("é".encode(), b"\xff\xc3")
    assert read_json("messages", body).tokens["output"] == 77


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["error", "message_start", "api_error", "response.completed", "end_turn"]),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("type", "message", "usage", "delta", "error", "model", "choices", "status"),
                    *("stop_reason", "finish_reason", "response", "input_tokens", "prompt_tokens"),
                    *("output_tokens", "cache_creation", "ephemeral_5m_input_tokens"),
                    *("server_tool_use", "web_search_requests", "prompt_tokens_details"),
                ]
            ),
            children,
            max_size=5,
        )
    ),
    max_leaves=12,
)
KINDS = (
    *("message_start", "message_delta", "message_stop", "content_block_delta", "error", "ping"),
    *("response.created", "response.completed", "response.failed", "response.x.delta", "x", ""),
)


@given(
    operation=st.sampled_from(OPERATIONS),
    events=st.lists(st.tuples(st.sampled_from(KINDS), VALUES), max_size=5),
    positions=st.lists(st.integers(min_value=1, max_value=300), max_size=5),
    end=st.sampled_from(ENDS),
)
def test_wrong_types_anywhere_in_a_stream_break_nothing(
    operation: str, events: list[tuple[str, object]], positions: list[int], end: End
) -> None:
    """The reading is the same at every cut, and its sets stay closed."""
    stream = b"".join(
        b"event: %b\ndata: %b\n\n"
        % (kind.encode(), compact(value).decode("utf-8", "replace").encode())
        for kind, value in events
    )
    reading = read_stream(operation, cut(stream, positions), end)
    assert reading == read_stream(operation, [stream], end)
    assert set(reading.tokens) <= set(TOKEN_TYPES)
    assert set(reading.server_tool_requests) <= set(SERVER_TOOLS)
    assert reading.error_type in (*ERROR_TYPES, None)
    assert all(count > 0 for count in reading.tokens.values())


@given(st.sampled_from(OPERATIONS), st.sampled_from([200, 400]), VALUES, st.sampled_from(ENDS))
def test_wrong_types_anywhere_in_json_break_nothing(
    operation: str, status: int, value: object, end: End
) -> None:
    """Whatever is where something else should be."""
    reading = read_json(operation, value, end, status)
    assert reading.missing is None or (status == 200 and operation != "other")
    assert all(count > 0 for count in reading.tokens.values())


@given(
    st.sampled_from(OPERATIONS),
    st.sampled_from([EVENT_STREAM, JSON, b"\xff"]),
    st.sampled_from([b"", b"gzip", b"deflate", b"br", b"zstd", b"gzip, br", b"\xff"]),
    st.lists(st.binary(max_size=50), max_size=5),
)
def test_any_bytes_break_nothing(
    operation: str, content_type: bytes, content_encoding: bytes, pieces: list[bytes]
) -> None:
    """Nothing raises, and nothing is counted."""
    for status in (200, 500):
        reading = read(Meter(operation, status, content_type, content_encoding), pieces)
        assert reading.tokens == {}


def test_what_is_fed_after_the_end_breaks_nothing() -> None:
    """A piece may still be on its way when the call is given up."""
    meter = Meter("messages", 200, EVENT_STREAM)
    read(meter, ANTHROPIC_STREAM, "aborted")
    meter.feed(text_delta(), 2.0)
    assert meter.finish("aborted", 3.0).tokens == ANTHROPIC_TOKENS


def test_a_meter_goes_when_its_call_does() -> None:
    """What it gathered does not wait for the garbage collector."""
    meter = Meter("messages", 200, EVENT_STREAM, b"gzip")
    read(meter, [gzip.compress(message_start())])
    gone = weakref.ref(meter)
    del meter
    assert gone() is None
