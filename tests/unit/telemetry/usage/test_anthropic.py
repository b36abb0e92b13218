"""Usage in answers of Anthropic's Messages API, where it is not as simple as it looks."""

import json

import pytest

from relay.telemetry.usage import Meter
from relay.telemetry.usage.json_body import PART_SIZE, WHOLE_LIMIT
from tests.unit.telemetry.usage.samples import (
    ANTHROPIC_JSON,
    ANTHROPIC_STREAM,
    ANTHROPIC_TOKENS,
    BLOCK_START,
    EVENT_STREAM,
    JSON,
    MESSAGE_STOP,
    OPENING_USAGE,
    OVERLOADED,
    PING,
    bytewise,
    compact,
    data,
    event,
    message_delta,
    message_start,
    read,
    read_json,
    read_stream,
    text_delta,
)


def test_final_usage_in_the_opening_is_not_doubled() -> None:
    """Headroom's synthesised streams state it twice."""
    usage = {"input_tokens": 10, "output_tokens": 50}
    pieces = [message_start(usage), BLOCK_START, message_delta(usage), MESSAGE_STOP]
    reading = read_stream("messages", pieces)
    assert reading.tokens == {"input": 10, "output": 50}
    assert reading.missing is None


@pytest.mark.parametrize("nothing", [0, None, 0.0])
def test_a_total_does_not_fall_to_nothing(nothing: object) -> None:
    """Some servers fill in what they do not know with zeros."""
    opening = {
        "input_tokens": 100,
        "cache_read_input_tokens": 5000,
        "cache_creation_input_tokens": 30,
        "server_tool_use": {"web_search_requests": 2},
        "output_tokens": 1,
    }
    closing = dict.fromkeys(opening, nothing) | {"server_tool_use": None, "output_tokens": 42}
    pieces = [message_start(opening), message_delta(closing), MESSAGE_STOP]
    reading = read_stream("messages", pieces)
    assert reading.tokens == {
        "input": 100,
        "cache_read": 5000,
        "cache_write_unknown": 30,
        "output": 42,
    }
    assert (reading.server_tool_requests, reading.missing) == ({"web_search": 2}, None)


def test_nothing_is_a_total_too() -> None:
    """Where none was stated before: all of a prompt may have been in the cache."""
    reading = read_stream("messages", [message_start({"input_tokens": 0}), MESSAGE_STOP])
    assert (reading.tokens, reading.missing) == ({}, None)


def test_counts_may_come_as_floats() -> None:
    """JavaScript and others make no difference; a part of a token is none."""
    usage = {"input_tokens": 10.0, "output_tokens": 1e3, "cache_read_input_tokens": 5}
    assert read_json("messages", {"usage": usage}).tokens == {
        "input": 10,
        "cache_read": 5,
        "output": 1000,
    }
    pieces = [message_start({"input_tokens": 10.5}), message_delta({"output_tokens": 4})]
    assert read_stream("messages", [*pieces, MESSAGE_STOP]).missing == "parse"


# What is billed beside the totals


COMPACTION = {"type": "compaction", "input_tokens": 180_000, "output_tokens": 3_500}
MESSAGE = {"type": "message", "input_tokens": 23_000, "output_tokens": 1_000}
ADVICE = {
    "type": "advisor_message",
    "model": "claude-opus-4-8",
    "input_tokens": 40,
    "cache_creation_input_tokens": 7,
    "cache_creation": {"ephemeral_5m_input_tokens": 7},
    "output_tokens": 600,
}
TOTALS = {"input_tokens": 23_000, "output_tokens": 1_000}


def compacted(*iterations: object) -> dict[str, object]:
    """Return usage that tells what each step took."""
    return {**TOTALS, "iterations": list(iterations)}


def test_compactions_are_billed_beside_the_totals() -> None:
    """In streams and in JSON, each for itself: 203,000 tokens of prompts, and no long one."""
    usage = compacted(COMPACTION, MESSAGE, COMPACTION)
    stream = [message_start(TOTALS), message_delta(usage), MESSAGE_STOP]
    for reading in (
        read_stream("messages", stream),
        read_json("messages", {**ANTHROPIC_JSON, "usage": usage}),
    ):
        assert reading.tokens == {"input": 383_000, "output": 8_000}
        assert [(part.model, sum(part.tokens.values())) for part in reading.parts] == [
            ("claude-opus-4-1", 24_000),
            ("claude-opus-4-1", 183_500),
            ("claude-opus-4-1", 183_500),
        ]
        assert reading.missing is None


def test_advice_is_billed_as_the_model_that_gave_it() -> None:
    """What the relay calls a model's tokens are that model's."""
    usage = compacted(MESSAGE, ADVICE, {**ADVICE, "model": 5})
    answer, advice, unnamed = read_json("messages", {**ANTHROPIC_JSON, "usage": usage}).parts
    assert (answer.model, answer.tokens) == (
        "claude-opus-4-1",
        {"input": 23_000, "output": 1_000},
    )
    assert advice.model == "claude-opus-4-8"
    assert advice.tokens == {"input": 40, "cache_write_5m": 7, "output": 600}
    assert (unnamed.model, unnamed.tokens) == (None, advice.tokens)


def test_steps_of_the_answer_are_in_the_totals() -> None:
    """Also those of a model that stood in for another, and of kinds that nobody knows."""
    usage = compacted(MESSAGE, {**MESSAGE, "type": "fallback_message"}, {**MESSAGE, "type": "x"})
    assert read_json("messages", {"usage": usage}).tokens == {"input": 23_000, "output": 1_000}


@pytest.mark.parametrize("iterations", [None, [], {}, "x", [None, 5, {"type": ["compaction"]}]])
def test_iterations_that_say_nothing_change_nothing(iterations: object) -> None:
    """Whatever stands where they should be."""
    usage = {**TOTALS, "iterations": iterations}
    reading = read_json("messages", {"usage": usage})
    assert (reading.tokens, reading.missing) == ({"input": 23_000, "output": 1_000}, None)


def test_later_iterations_overwrite_and_absent_ones_keep() -> None:
    """They are cumulative like the totals."""
    pieces = [
        message_start(TOTALS),
        message_delta(compacted(COMPACTION), None),
        message_delta(compacted(COMPACTION, COMPACTION), None),
        message_delta(compacted({**COMPACTION, "input_tokens": 0, "output_tokens": 0}), None),
        message_delta(TOTALS),
        MESSAGE_STOP,
    ]
    assert read_stream("messages", pieces).tokens == {"input": 383_000, "output": 8_000}


def test_a_compaction_that_cannot_be_read_is_missing() -> None:
    """The totals are counted, and are not all."""
    usage = compacted({**COMPACTION, "input_tokens": -1})
    for reading in (
        read_stream("messages", [message_start(TOTALS), message_delta(usage), MESSAGE_STOP]),
        read_json("messages", {**ANTHROPIC_JSON, "usage": usage}),
    ):
        assert (reading.tokens["input"], reading.missing) == (23_000, "parse")


def test_the_pace_is_that_of_the_answer() -> None:
    """A summary was written before it, and is no part of what the user waited for."""
    meter = Meter("messages", 200, EVENT_STREAM)
    meter.feed(message_start(TOTALS) + BLOCK_START, 1.0)
    meter.feed(message_delta(compacted(COMPACTION)) + MESSAGE_STOP, 2.0)
    pace = meter.finish("clean", 10.99).seconds_per_output_token(10.99)
    assert pace == pytest.approx(0.01)


# The service


@pytest.mark.parametrize(
    ("usage", "tier"),
    [
        ({"service_tier": "standard"}, None),
        ({"service_tier": None, "speed": None}, None),
        ({"service_tier": "priority"}, "priority"),
        ({"speed": "fast", "service_tier": "standard"}, "fast"),
        ({"speed": "standard", "inference_geo": "not_available"}, None),
        ({"speed": "fast", "service_tier": "batch", "inference_geo": "us"}, "fast+batch+us"),
        ({"service_tier": 5, "speed": ["fast"]}, None),
        ({"service_tier": "a b", "speed": ""}, "unnamed"),
    ],
)
def test_the_tier_is_what_is_not_standard(usage: dict[str, object], tier: str | None) -> None:
    """In streams and in JSON."""
    usage = {**OPENING_USAGE, "service_tier": None, **usage}
    pieces = [message_start(usage), message_delta({"output_tokens": 4}), MESSAGE_STOP]
    assert read_stream("messages", pieces).tier == tier
    assert read_json("messages", {"usage": usage}).tier == tier


def test_a_later_total_overwrites_and_an_absent_or_null_one_keeps() -> None:
    """Each message_delta states totals, some of them."""
    pieces = [
        message_start({"input_tokens": 10, "cache_read_input_tokens": 5, "output_tokens": 1}),
        message_delta({"output_tokens": 40, "cache_read_input_tokens": None}, None),
        message_delta({"input_tokens": 12, "output_tokens": 60}),
        MESSAGE_STOP,
    ]
    assert read_stream("messages", pieces).tokens == {"input": 12, "cache_read": 5, "output": 60}


@pytest.mark.parametrize(
    ("total", "split", "expected"),
    [
        (700, {"ephemeral_5m_input_tokens": 700}, {"cache_write_5m": 700}),
        (
            700,
            {"ephemeral_1h_input_tokens": 200},
            {"cache_write_1h": 200, "cache_write_unknown": 500},
        ),
        (700, None, {"cache_write_unknown": 700}),
        (100, {"ephemeral_5m_input_tokens": 300}, {"cache_write_5m": 300}),
        (None, {"ephemeral_5m_input_tokens": 300}, {"cache_write_5m": 300}),
    ],
)
def test_what_was_written_to_the_cache_is_split_as_far_as_stated(
    total: int | None, split: object, expected: dict[str, int]
) -> None:
    """The rest is of unknown lifetime, and never below nothing."""
    usage = {"input_tokens": 1, "cache_creation_input_tokens": total, "cache_creation": split}
    assert read_json("messages", {"usage": usage}).tokens == {"input": 1, **expected}


def test_a_total_that_grows_later_is_of_unknown_lifetime() -> None:
    """message_delta has no split."""
    delta = message_delta({"cache_creation_input_tokens": 1000, "output_tokens": 9})
    tokens = read_stream("messages", [message_start(), delta, MESSAGE_STOP]).tokens
    assert tokens["cache_write_5m"] == 500
    assert tokens["cache_write_1h"] == 200
    assert tokens["cache_write_unknown"] == 300


def test_reasoning_and_server_tools_are_counted_beside_the_tokens() -> None:
    """Thinking is part of the output; tools that were not used are left out."""
    reading = read_stream("messages", ANTHROPIC_STREAM)
    assert reading.reasoning_tokens == 99
    assert reading.server_tool_requests == {"web_search": 2}
    assert reading.tokens["output"] == 412


@pytest.mark.parametrize("first", [BLOCK_START, text_delta()])
def test_the_first_token_is_the_first_content_block(first: bytes) -> None:
    """Not the opening, and no ping."""
    meter = Meter("messages", 200, EVENT_STREAM)
    for now, piece in enumerate([message_start(), PING, first, text_delta()]):
        meter.feed(piece, float(now))
    assert meter.finish("clean", 9.0).first_token_at == 2.0


def test_a_late_commit_is_a_stream_like_any_other() -> None:
    """Headroom sends pings until it has the answer, and then all of it at once."""
    meter = Meter("messages", 200, EVENT_STREAM)
    for now in range(20):
        meter.feed(PING, now / 4)
    meter.feed(b"".join(ANTHROPIC_STREAM), 5.0)
    reading = meter.finish("clean", 5.0)
    assert (reading.first_token_at, reading.tokens) == (5.0, ANTHROPIC_TOKENS)


def test_an_error_that_headroom_appends_is_a_stream_error() -> None:
    """Its upstream was cut in mid-stream, and it ends cleanly."""
    appended = event("error", error={"type": "api_error", "message": "cut"})
    reading = read_stream("messages", [*ANTHROPIC_STREAM[:5], appended])
    assert reading.stream_error
    assert not reading.truncated
    assert (reading.error_type, reading.error_where) == ("api_error", "stream")
    assert reading.missing == "truncated"


@pytest.mark.parametrize(
    "piece",
    [
        data({"type": "error", "error": {"type": "overloaded_error"}}),
        b'event: error\ndata: {"error": {"type": "overloaded_error"}}\n\n',
        b'event: error\ndata: {"error": {"type": "overloaded_error"}, "type": "error"}\n\n',
        b'event: oops\ndata: {"type":"error","error":{"type":"overloaded_error"}}\n\n',
    ],
)
def test_an_error_is_told_by_its_type_or_its_name(piece: bytes) -> None:
    """The JSON's type decides; without one, the event: line does."""
    reading = read_stream("messages", [message_start(), piece])
    assert (reading.stream_error, reading.error_type) == (True, "overloaded_error")


@pytest.mark.parametrize(
    "text", [b"no JSON", b'"text"', b"{}", b'{"type":"overloaded_error"}', b'{"error":"x"}', b"[1]"]
)
def test_an_error_that_says_nothing_known_is_of_another_type(text: bytes) -> None:
    """It is an error all the same."""
    reading = read_stream("messages", [b"event: error\ndata: %b\n\n" % text])
    assert (reading.stream_error, reading.error_type) == (True, "other")


def test_only_the_first_error_counts() -> None:
    """There is one call, and it failed once."""
    second = event("error", error={"type": "api_error"})
    assert read_stream("messages", [OVERLOADED, second]).error_type == "overloaded_error"


def test_the_type_decides_where_it_stands_last_and_without_names() -> None:
    """Other serialisers sort the members, space them, or leave the event: line out."""
    values = [json.loads(piece.split(b"data: ")[1]) for piece in ANTHROPIC_STREAM]
    for separators in ((",", ":"), (", ", ": "), ("\n,", " : ")):
        lines = [json.dumps(dict(sorted(v.items())), separators=separators) for v in values]
        pieces = [b"data: %b\n\n" % b"\ndata: ".join(t.encode().split(b"\n")) for t in lines]
        reading = read_stream("messages", pieces)
        assert (reading.tokens, reading.ended) == (ANTHROPIC_TOKENS, True)
        assert reading.first_token_at is not None


def test_the_name_decides_where_there_is_no_type() -> None:
    """And where the type is one that nobody knows."""
    for extra in ({}, {"type": "message_delta_v2"}, {"type": 5}, {"type": "é"}):
        delta = compact(
            {**extra, "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}}
        )
        pieces = [message_start(), BLOCK_START, b"event: message_delta\ndata: %b\n\n" % delta]
        reading = read_stream("messages", [*pieces, b"event: message_stop\ndata: {}\n\n"])
        assert (reading.tokens["output"], reading.ended) == (7, True)


def test_a_name_does_not_decide_against_the_type() -> None:
    """An event of content stays one, whatever it is called."""
    for members in ({"type": "ping", "index": 0}, {"index": 0, "type": "ping"}):
        piece = b"event: message_stop\ndata: %b\n\n" % compact(members)
        assert not read_stream("messages", [message_start(), piece]).ended


def test_the_end_needs_no_json() -> None:
    """What ends a stream is that it is there."""
    pieces = [*ANTHROPIC_STREAM[:-1], b"event: message_stop\ndata: nonsense\n\n"]
    reading = read_stream("messages", pieces)
    assert (reading.ended, reading.missing) == (True, None)


@pytest.mark.parametrize("reason", ["end_turn", "pause_turn", "refusal", "compaction"])
def test_stop_reasons_are_the_apis_own(reason: str) -> None:
    """In streams and in JSON."""
    pieces = [message_start(), message_delta({"output_tokens": 5}, reason), MESSAGE_STOP]
    assert read_stream("messages", pieces).stop_reason == reason
    assert read_json("messages", {**ANTHROPIC_JSON, "stop_reason": reason}).stop_reason == reason


def test_other_stop_reasons_are_one() -> None:
    """So that their number stays what it is."""
    assert read_json("messages", {"stop_reason": "bored"}).stop_reason == "other"
    assert read_json("messages", {"stop_reason": None}).stop_reason is None
    assert read_json("messages", {"stop_reason": 5}).stop_reason is None
    assert read_json("messages", {"stop_reason": ""}).stop_reason is None


def test_an_empty_stop_reason_is_none() -> None:
    """And does not make the totals the last ones."""
    pieces = [message_start(), message_delta({"output_tokens": 40}, "")]
    reading = read_stream("messages", pieces)
    assert (reading.stop_reason, reading.missing, reading.truncated) == (None, "truncated", True)


@pytest.mark.parametrize("end", ["broken", "aborted"])
def test_usage_is_whole_once_the_last_totals_are_stated(end: str) -> None:
    """Only the stream's end is missing then."""
    reading = read_stream(
        "messages", ANTHROPIC_STREAM[:-1], "broken" if end == "broken" else "aborted"
    )
    assert (reading.tokens, reading.missing, reading.ended) == (ANTHROPIC_TOKENS, None, False)


def test_totals_on_the_way_are_not_the_last() -> None:
    """A delta without a reason for stopping is followed by another."""
    pieces = [message_start(), message_delta({"output_tokens": 40}, None)]
    reading = read_stream("messages", pieces, "broken")
    assert (reading.tokens["output"], reading.missing) == (40, "truncated")


def test_input_that_was_never_stated_is_missing() -> None:
    """Output alone is half a truth."""
    pieces = [message_start(usage=None), message_delta({"output_tokens": 40}), MESSAGE_STOP]
    reading = read_stream("messages", pieces)
    assert (reading.tokens, reading.missing) == ({"output": 40}, "absent")


def test_an_opening_that_cannot_be_read_is_missing() -> None:
    """The later totals do not make up for it."""
    opening = b'event: message_start\ndata: {"type":"message_start","message":{"usa\n\n'
    reading = read_stream("messages", [opening, message_delta({"output_tokens": 4}), MESSAGE_STOP])
    assert (reading.tokens, reading.missing) == ({"output": 4}, "parse")


@pytest.mark.parametrize("operation", ["count_tokens", "batches", "models", "files", "other"])
def test_other_operations_have_no_usage(operation: str) -> None:
    """Not even where their answers look like it."""
    for reading in (
        read_json(operation, ANTHROPIC_JSON),
        read_stream(operation, ANTHROPIC_STREAM),
    ):
        assert (reading.tokens, reading.model, reading.missing) == ({}, None, None)
        assert not reading.truncated


def long_answer(text: bytes) -> list[bytes]:
    """Return a JSON answer with that text, in pieces."""
    body = compact({**ANTHROPIC_JSON, "content": [{"type": "text", "text": "TEXT"}]})
    body = body.replace(b"TEXT", text)
    return [body[i : i + 100_000] for i in range(0, len(body), 100_000)]


@pytest.mark.parametrize("size", [WHOLE_LIMIT, WHOLE_LIMIT + PART_SIZE, 3 * WHOLE_LIMIT])
def test_a_long_answer_is_read_from_its_head_and_tail(size: int) -> None:
    """The text in it may hold anything; the last usage counts."""
    text = rb"a \"usage\": {\"input_tokens\": 9}, \"stop_reason\":\"refusal\" "
    reading = read(Meter("messages", 200, JSON), long_answer(text * (size // len(text) + 1)))
    assert reading.model == "claude-opus-4-1"
    assert reading.tokens["output"] == 77
    assert (reading.stop_reason, reading.missing) == ("max_tokens", None)


def test_a_long_answer_without_usage_in_its_tail_is_too_large() -> None:
    """It may have been in the middle, which was not kept."""
    body = b'{"usage":{"input_tokens":1},"content":"%b"}' % (b"a" * WHOLE_LIMIT)
    assert read_json("messages", body).missing == "too_large"


@pytest.mark.parametrize(
    ("tail", "missing"),
    [(b'"usage":{"inp', "parse"), (b'"usage":null}', "absent"), (b'"usage" : [1]}', "parse")],
)
def test_a_long_answer_with_a_strange_tail_is_not_trusted(tail: bytes, missing: str) -> None:
    """Only an object with numbers is usage."""
    body = b'{"model":"m","content":"%b",' % (b"a" * WHOLE_LIMIT) + tail
    assert read_json("messages", body).missing == missing


def test_numbers_are_known_while_the_answer_comes() -> None:
    """For those who look on."""
    meter = Meter("messages", 200, EVENT_STREAM)
    assert (meter.model, meter.tokens) == (None, {})
    for byte in bytewise(message_start()):
        meter.feed(byte, 1.0)
    assert meter.model == "claude-opus-4-1"
    assert meter.tokens["input"] == OPENING_USAGE["input_tokens"]
