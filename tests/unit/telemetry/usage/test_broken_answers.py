"""Answers that cannot be read, and those that try to break the meter."""

import gzip
import tracemalloc
import weakref
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.http import coding
from relay.http.sse import EVENT_LIMIT
from relay.telemetry.usage import ERROR_TYPES, SERVER_TOOLS, TOKEN_TYPES, End, Meter, meter
from relay.telemetry.usage.counts import Tally
from relay.telemetry.usage.json_body import JsonBody
from relay.telemetry.usage.reader import AnswerReader
from tests.unit.telemetry.usage.samples import (
    ANTHROPIC_JSON,
    ANTHROPIC_STREAM,
    ANTHROPIC_TOKENS,
    CHAT_STREAM,
    CHAT_TOKENS,
    ENDS,
    EVENT_STREAM,
    JSON,
    MESSAGE_STOP,
    OPERATIONS,
    RESPONSES_STREAM,
    compact,
    cut,
    data,
    event,
    message_start,
    read,
    read_json,
    read_stream,
    text_delta,
)

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
    document = JsonBody()
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

    monkeypatch.setattr(meter, "_READERS", {"messages": AnswerReader(raise_fault, raise_fault)})
    for content_type, body in ((JSON, b"{}"), (EVENT_STREAM, message_start())):
        reading = read(Meter("messages", 200, content_type), [body])
        assert (reading.missing, reading.truncated) == ("parse", False)


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
