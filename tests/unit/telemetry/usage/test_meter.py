"""The meter: how answers end, what cannot be read, and what tries to break it."""

import gzip
import math
import zlib

import pytest

from relay.telemetry.usage import ERROR_TYPES, End, Meter, Missing
from relay.telemetry.usage.json_body import WHOLE_LIMIT
from tests.unit.telemetry.usage.samples import (
    ANTHROPIC_JSON,
    ANTHROPIC_STREAM,
    ANTHROPIC_TOKENS,
    BLOCK_START,
    CHAT_STREAM,
    CHAT_TOKENS,
    ENDS,
    EVENT_STREAM,
    JSON,
    MESSAGE_STOP,
    OPERATIONS,
    OVERLOADED,
    PING,
    RESPONSES_STREAM,
    RESPONSES_TOKENS,
    RESPONSES_USAGE,
    bytewise,
    compact,
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
