"""Usage of every kind of answer: the same at every cut, with and without every coding."""

import itertools
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.telemetry.usage import TOKEN_TYPES, Meter, Missing, Usage
from tests.unit.telemetry.usage.samples import (
    ANTHROPIC_JSON,
    ANTHROPIC_STREAM,
    ANTHROPIC_TOKENS,
    BLOCK_START,
    BLOCK_STOP,
    CHAT_STREAM,
    CHAT_TOKENS,
    CHAT_USAGE,
    CHUNK,
    CODERS,
    DONE,
    EVENT_STREAM,
    JSON,
    MESSAGE_STOP,
    OVERLOADED,
    PING,
    RESPONSES_OPENING,
    RESPONSES_STREAM,
    RESPONSES_TOKENS,
    RESPONSES_USAGE,
    bytewise,
    chunk,
    compact,
    cut,
    data,
    event,
    message_delta,
    message_start,
    read,
    read_stream,
    response,
    text_delta,
)


class Sample(NamedTuple):
    """An answer and what is to be read from it."""

    operation: str
    content_type: bytes
    body: bytes
    tokens: dict[str, int]
    model: str | None = None
    stop_reason: str | None = None
    missing: Missing | None = None
    error: tuple[str, str] | None = None
    """Type and where."""
    status: int = 200
    ended: bool = False
    has_tokens: bool = False
    """Whether there is a first token."""


def stream(operation: str, pieces: list[bytes], *rest: object, **others: object) -> Sample:
    """Return a sample that is an event stream."""
    return Sample(operation, EVENT_STREAM, b"".join(pieces), *rest, **others)  # type: ignore[arg-type]  # the fields in their order


def answer(operation: str, value: object, *rest: object, **others: object) -> Sample:
    """Return a sample that is JSON."""
    return Sample(operation, JSON, compact(value), *rest, **others)  # type: ignore[arg-type]  # the fields in their order


OPENING_TOKENS = {
    "input": 25,
    "cache_read": 3000,
    "cache_write_5m": 500,
    "cache_write_1h": 200,
    "output": 1,
}
FAILED = response("failed", None, error={"code": "server_error", "message": "no"})
ERROR = {"type": "error", "error": {"type": "authentication_error", "message": "no"}}
SAMPLES = {
    "an Anthropic stream": stream(
        "messages",
        ANTHROPIC_STREAM,
        ANTHROPIC_TOKENS,
        "claude-opus-4-1",
        "tool_use",
        ended=True,
        has_tokens=True,
    ),
    "an Anthropic stream with CRLF": stream(
        "messages",
        [piece.replace(b"\n", b"\r\n") for piece in ANTHROPIC_STREAM],
        ANTHROPIC_TOKENS,
        "claude-opus-4-1",
        "tool_use",
        ended=True,
        has_tokens=True,
    ),
    "an Anthropic stream cut off": stream(
        "messages",
        ANTHROPIC_STREAM[:6],
        OPENING_TOKENS,
        "claude-opus-4-1",
        missing="truncated",
        has_tokens=True,
    ),
    "an Anthropic stream with an error": stream(
        "messages",
        [*ANTHROPIC_STREAM[:4], OVERLOADED],
        OPENING_TOKENS,
        "claude-opus-4-1",
        missing="truncated",
        error=("overloaded_error", "stream"),
        has_tokens=True,
    ),
    "pings, then an error under 200": stream(
        "messages",
        [PING, PING, event("error", error={"type": "rate_limit_error"})],
        {},
        missing="truncated",
        error=("rate_limit_error", "stream"),
    ),
    "Anthropic JSON": answer(
        "messages",
        ANTHROPIC_JSON,
        {**OPENING_TOKENS, "output": 77},
        "claude-opus-4-1",
        "max_tokens",
    ),
    "a chat stream": stream(
        "chat_completions", CHAT_STREAM, CHAT_TOKENS, "gpt-4o", "stop", ended=True, has_tokens=True
    ),
    "a chat stream that was not asked for usage": stream(
        "chat_completions",
        [chunk({"content": "Hi"}), chunk({}, "length"), DONE],
        {},
        "gpt-4o",
        "length",
        missing="absent",
        ended=True,
        has_tokens=True,
    ),
    "a chat stream cut off": stream(
        "chat_completions",
        CHAT_STREAM[:3],
        {},
        "gpt-4o",
        missing="truncated",
        has_tokens=True,
    ),
    "chat JSON": answer(
        "chat_completions",
        {"model": "gpt-4o", "choices": [{"finish_reason": "tool_calls"}], "usage": CHAT_USAGE},
        CHAT_TOKENS,
        "gpt-4o",
        "tool_calls",
    ),
    "a Responses stream": stream(
        "responses",
        RESPONSES_STREAM,
        RESPONSES_TOKENS,
        "gpt-5",
        "completed",
        ended=True,
        has_tokens=True,
    ),
    "a Responses stream that is incomplete": stream(
        "responses",
        [
            *RESPONSES_STREAM[:-1],
            event("response.incomplete", response=response("incomplete", RESPONSES_USAGE)),
        ],
        RESPONSES_TOKENS,
        "gpt-5",
        "incomplete",
        ended=True,
        has_tokens=True,
    ),
    "a Responses stream that failed": stream(
        "responses",
        [*RESPONSES_OPENING, event("response.failed", response=FAILED)],
        {},
        "gpt-5",
        "failed",
        missing="truncated",
        error=("other", "stream"),
    ),
    "Responses JSON": answer(
        "responses", response("completed", RESPONSES_USAGE), RESPONSES_TOKENS, "gpt-5", "completed"
    ),
    "embeddings": answer(
        "embeddings",
        {"data": [{"embedding": [0.1]}], "model": "e", "usage": {"prompt_tokens": 8}},
        {"input": 8},
        "e",
    ),
    "an error": answer("messages", ERROR, {}, error=("authentication_error", "http"), status=401),
    "an error as an event stream": stream(
        "messages",
        [event("error", error={"type": "connection_error", "message": "gone"})],
        {},
        error=("connection_error", "http"),
        status=502,
    ),
    "what has no usage": answer("count_tokens", {"input_tokens": 5}, {}),
}
CUTS = st.lists(st.integers(min_value=1, max_value=2500), max_size=12)


def check(sample: Sample, reading: Usage) -> None:
    """Compare everything."""
    assert (reading.model, reading.tokens) == (sample.model, sample.tokens)
    assert (reading.stop_reason, reading.missing) == (sample.stop_reason, sample.missing)
    error = None if reading.error_type is None else (reading.error_type, reading.error_where)
    assert error == sample.error
    assert reading.ended == sample.ended
    assert reading.stream_error == (error is not None and sample.status == 200)
    assert (reading.first_token_at is not None) == sample.has_tokens


@pytest.mark.parametrize("coding", CODERS)
@pytest.mark.parametrize("name", SAMPLES)
def test_every_answer_reads_the_same_whole_and_byte_by_byte(name: str, coding: str) -> None:
    """With and without each coding."""
    sample = SAMPLES[name]
    content_encoding, code = CODERS[coding]
    body = code(sample.body)
    for pieces in ([body], bytewise(body)):
        meter = Meter(sample.operation, sample.status, sample.content_type, content_encoding)
        check(sample, read(meter, pieces))


@given(st.sampled_from(sorted(SAMPLES)), st.sampled_from(sorted(CODERS)), CUTS)
def test_every_answer_reads_the_same_at_any_cut(
    name: str, coding: str, positions: list[int]
) -> None:
    """With and without each coding."""
    sample = SAMPLES[name]
    content_encoding, code = CODERS[coding]
    meter = Meter(sample.operation, sample.status, sample.content_type, content_encoding)
    check(sample, read(meter, cut(code(sample.body), positions)))


COUNTS = st.integers(min_value=0, max_value=1_000_000)
TEXTS = st.lists(st.text(max_size=20), max_size=5)


def nonzero(**tokens: int) -> dict[str, int]:
    """Return the types of which there are any."""
    return {name: count for name, count in tokens.items() if count}


@given(
    numbers=st.tuples(*[COUNTS] * 6),
    totals=st.lists(COUNTS, min_size=1, max_size=4),
    texts=TEXTS,
    positions=CUTS,
    coding=st.sampled_from(sorted(CODERS)),
)
def test_generated_anthropic_streams_are_counted_exactly(
    numbers: tuple[int, ...],
    totals: list[int],
    texts: list[str],
    positions: list[int],
    coding: str,
) -> None:
    """The last total counts that is not zero, however many there are and whatever the text says."""
    fresh, cached, minutes, hour, unknown, first = numbers
    usage = {
        "input_tokens": fresh,
        "cache_read_input_tokens": cached,
        "cache_creation_input_tokens": minutes + hour,
        "cache_creation": {"ephemeral_5m_input_tokens": minutes, "ephemeral_1h_input_tokens": hour},
        "output_tokens": first,
    }
    written = minutes + hour + unknown
    deltas = [
        message_delta({"output_tokens": total, "cache_creation_input_tokens": written})
        for total in totals
    ]
    pieces = [message_start(usage), BLOCK_START, *map(text_delta, texts), BLOCK_STOP, *deltas]
    content_encoding, code = CODERS[coding]
    body = code(b"".join([*pieces, MESSAGE_STOP]))
    reading = read(Meter("messages", 200, EVENT_STREAM, content_encoding), cut(body, positions))
    assert reading.missing is None
    assert reading.tokens == nonzero(
        input=fresh,
        cache_read=cached,
        cache_write_5m=minutes,
        cache_write_1h=hour,
        cache_write_unknown=unknown,
        output=next(filter(None, reversed(totals)), first),
    )
    assert set(reading.tokens) <= set(TOKEN_TYPES)


@given(fresh=COUNTS, cached=COUNTS, output=COUNTS, texts=TEXTS, positions=CUTS)
def test_generated_chat_streams_are_counted_exactly(
    fresh: int, cached: int, output: int, texts: list[str], positions: list[int]
) -> None:
    """What was read from the cache is taken out of the input, once."""
    usage = {
        "prompt_tokens": fresh + cached,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens": output,
    }
    pieces = [*(chunk({"content": text}) for text in texts), chunk({}, "stop")]
    body = b"".join([*pieces, data({**CHUNK, "choices": [], "usage": usage}), DONE])
    reading = read_stream("chat_completions", cut(body, positions))
    assert reading.tokens == nonzero(input=fresh, cache_read=cached, output=output)
    assert reading.missing is None


@given(fresh=COUNTS, cached=COUNTS, output=COUNTS, texts=TEXTS, positions=CUTS)
def test_generated_responses_streams_are_counted_exactly(
    fresh: int, cached: int, output: int, texts: list[str], positions: list[int]
) -> None:
    """The last event states everything."""
    usage = {
        "input_tokens": fresh + cached,
        "input_tokens_details": {"cached_tokens": cached},
        "output_tokens": output,
    }
    deltas = [event("response.output_text.delta", delta=text) for text in texts]
    end = event("response.completed", response=response("completed", usage))
    reading = read_stream("responses", cut(b"".join([*deltas, end]), positions))
    assert reading.tokens == nonzero(input=fresh, cache_read=cached, output=output)
    assert reading.missing is None


@pytest.mark.parametrize(
    ("operation", "pieces", "tokens"),
    [
        ("messages", ANTHROPIC_STREAM, ANTHROPIC_TOKENS),
        ("chat_completions", CHAT_STREAM, CHAT_TOKENS),
        ("responses", RESPONSES_STREAM, RESPONSES_TOKENS),
    ],
)
def test_a_stream_that_breaks_anywhere_is_counted_or_said_to_be_missing(
    operation: str, pieces: list[bytes], tokens: dict[str, int]
) -> None:
    """There is no position at which numbers go missing in silence."""
    body = b"".join(pieces)
    for position in range(len(body) + 1):
        reading = read_stream(operation, [body[:position]], "broken")
        assert (reading.tokens == tokens) or reading.missing == "truncated"
        aborted = read_stream(operation, [body[:position]], "aborted")
        assert aborted.missing == ("client_abort" if reading.missing else None)
        ended = read_stream(operation, [body[:position]])
        assert (ended.truncated or ended.unusable) == (reading.missing is not None)
        assert ended.missing == reading.missing


def test_the_samples_are_of_every_operation() -> None:
    """A row without a sample would be a row without a test."""
    kinds = {(s.operation, s.content_type) for s in SAMPLES.values() if s.status == 200}
    streams = itertools.product(["messages", "chat_completions", "responses"], [EVENT_STREAM, JSON])
    assert kinds >= {*streams, ("embeddings", JSON)}
