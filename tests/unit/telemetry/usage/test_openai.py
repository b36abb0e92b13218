"""Usage in answers of OpenAI's APIs, where it is not as simple as it looks."""

import json

import pytest

from relay.telemetry.usage import Meter
from relay.telemetry.usage.json_body import WHOLE_LIMIT
from tests.unit.telemetry.usage.samples import (
    CHAT_STREAM,
    CHAT_TOKENS,
    CHAT_USAGE,
    CHUNK,
    DONE,
    EVENT_STREAM,
    RESPONSES_CONTENT,
    RESPONSES_OPENING,
    RESPONSES_STREAM,
    RESPONSES_TOKENS,
    RESPONSES_USAGE,
    chunk,
    compact,
    data,
    event,
    read_json,
    read_stream,
    response,
)

USAGE_CHUNK = data({**CHUNK, "choices": [], "usage": CHAT_USAGE})


def first_token_at(operation: str, pieces: list[bytes]) -> float | None:
    """Return the number of the piece that brought the first token."""
    meter = Meter(operation, 200, EVENT_STREAM)
    for now, piece in enumerate(pieces):
        meter.feed(piece, float(now))
    return meter.finish("clean", 9.0).first_token_at


# Chat Completions


def test_reasoning_is_counted_beside_the_output_it_is_part_of() -> None:
    """In chat streams, in Responses streams and in JSON."""
    assert read_stream("chat_completions", CHAT_STREAM).reasoning_tokens == 40
    assert read_json("chat_completions", {"usage": CHAT_USAGE}).reasoning_tokens == 40
    assert read_stream("responses", RESPONSES_STREAM).reasoning_tokens == 64


@pytest.mark.parametrize(
    "delta",
    [
        {"content": "a"},
        {"role": "assistant", "content": "a"},
        {"reasoning_content": "hm"},
        {"tool_calls": [{"index": 0}]},
        {"refusal": "no"},
    ],
)
def test_the_first_token_is_the_first_delta_with_anything_in_it(delta: object) -> None:
    """The one that names the role is not."""
    role = chunk({"role": "assistant", "content": "", "refusal": None})
    filtered = data({"choices": [], "prompt_filter_results": []})
    assert first_token_at("chat_completions", [filtered, role, chunk(delta), DONE]) == 2.0


def test_usage_that_is_counted_along_is_whole_at_the_end_only() -> None:
    """Some servers state it in every chunk."""
    pieces = [chunk({"content": "a"}, usage={"prompt_tokens": 5, "completion_tokens": 1})]
    assert read_stream("chat_completions", pieces, "broken").missing == "truncated"
    last = chunk({}, "stop", usage={"prompt_tokens": 5, "completion_tokens": 2})
    reading = read_stream("chat_completions", [*pieces, last], "broken")
    assert (reading.tokens, reading.missing) == ({"input": 5, "output": 2}, None)
    reading = read_stream("chat_completions", [*pieces, DONE])
    assert (reading.tokens, reading.missing) == ({"input": 5, "output": 1}, None)


def test_usage_and_a_reason_are_as_good_as_the_end_of_the_stream() -> None:
    """Some servers leave [DONE] out; one of the two alone says nothing of the other."""
    reading = read_stream("chat_completions", CHAT_STREAM[:-1])
    assert (reading.tokens, reading.missing, reading.truncated) == (CHAT_TOKENS, None, False)
    for pieces in (CHAT_STREAM[:-2], [*CHAT_STREAM[:3], CHAT_STREAM[4]]):
        assert read_stream("chat_completions", pieces).truncated


@pytest.mark.parametrize("nothing", [0, None])
def test_a_last_chunk_of_zeros_takes_nothing_away(nothing: object) -> None:
    """Some servers append one."""
    zeros = {
        "prompt_tokens": nothing,
        "completion_tokens": nothing,
        "prompt_tokens_details": {"cached_tokens": nothing},
        "completion_tokens_details": {"reasoning_tokens": nothing},
    }
    pieces = [*CHAT_STREAM[:-1], data({**CHUNK, "choices": [], "usage": zeros}), DONE]
    reading = read_stream("chat_completions", pieces)
    assert (reading.tokens, reading.missing) == (CHAT_TOKENS, None)
    assert reading.reasoning_tokens == 40


def test_an_empty_finish_reason_is_none() -> None:
    """Some servers send one with every chunk."""
    pieces = [chunk({"content": "a"}, ""), chunk({"content": "b"}, "")]
    assert read_stream("chat_completions", pieces).stop_reason is None
    last = chunk({}, "length")
    assert read_stream("chat_completions", [*pieces, last, DONE]).stop_reason == "length"


@pytest.mark.parametrize(
    ("stated", "tier"),
    [("default", None), ("auto", None), (None, None), ("priority", "priority"), ("flex", "flex")],
)
def test_the_tier_is_what_served_the_call(stated: str | None, tier: str | None) -> None:
    """It stands beside the usage; the last one counts, for the first is what was asked for."""
    pieces = [chunk({"content": "a"}, service_tier="scale"), chunk({}, "stop", service_tier=stated)]
    reading = read_stream("chat_completions", [*pieces, DONE])
    assert reading.tier == (tier if stated else "scale")
    assert read_json("chat_completions", {"choices": [], "service_tier": stated}).tier == tier
    completed = response("completed", RESPONSES_USAGE, service_tier=stated)
    events = [*RESPONSES_OPENING, event("response.completed", response=completed)]
    assert read_stream("responses", events).tier == tier


@pytest.mark.parametrize(
    "piece",
    [
        data({"error": {"type": "api_error", "message": "no"}}),
        b'event: error\ndata: {"error":{"type":"api_error"}}\n\n',
        chunk({"content": ""}, "error", error={"type": "api_error"}),
    ],
)
def test_an_error_within_a_chat_stream_is_one(piece: bytes) -> None:
    """Named or not, before the first token or after it."""
    for before in ([], CHAT_STREAM[:3]):
        reading = read_stream("chat_completions", [*before, piece])
        assert (reading.stream_error, reading.error_type) == (True, "api_error")
        assert (reading.truncated, reading.missing) == (False, "truncated")


def test_an_error_that_is_null_is_none() -> None:
    """Some servers send the member always."""
    pieces = [chunk({"content": "a"}, error=None)] * 2
    assert not read_stream("chat_completions", [*pieces, USAGE_CHUNK, DONE]).stream_error


def test_chunks_are_read_as_other_serialisers_write_them() -> None:
    """Spaced, sorted, or cut into several data lines."""
    values = [json.loads(piece.removeprefix(b"data: ")) for piece in CHAT_STREAM[:-1]]
    for separators in ((", ", ": "), ("\n,", " :\t")):
        texts = [json.dumps(dict(sorted(v.items())), separators=separators) for v in values]
        pieces = [b"data: %b\n\n" % t.replace("\n", "\ndata: ").encode() for t in texts]
        reading = read_stream("chat_completions", [*pieces, DONE])
        assert (reading.tokens, reading.stop_reason) == (CHAT_TOKENS, "stop")
        assert reading.missing is None


def test_one_of_several_choices_states_the_reason() -> None:
    """Also in one chunk with another choice that goes on."""
    choices = [
        {"index": 0, "delta": {"content": "a"}, "finish_reason": None},
        {"index": 1, "delta": {}, "finish_reason": "length"},
    ]
    pieces = [chunk({"content": "a"}), data({**CHUNK, "choices": choices}), chunk({}, "stop")]
    assert read_stream("chat_completions", pieces).stop_reason == "length"


def test_a_chunk_without_a_reason_is_looked_at_closely() -> None:
    """Some servers leave the member out, or state usage beside content."""
    usage = {"prompt_tokens": 5, "completion_tokens": 2}
    bare = data({**CHUNK, "choices": [{"delta": {"content": "a"}}]})
    pieces = [bare, bare, chunk({"content": "a"}, usage=usage), DONE]
    reading = read_stream("chat_completions", pieces)
    assert (reading.tokens, reading.missing) == ({"input": 5, "output": 2}, None)


def test_an_unknown_finish_reason_is_other() -> None:
    """So that their number stays what it is."""
    assert read_stream("chat_completions", [chunk({}, "bored")]).stop_reason == "other"


def test_more_cached_than_there_was_is_not_believed() -> None:
    """The parts never make more than the whole."""
    usage = {"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 50}}
    assert read_json("chat_completions", {"usage": usage}).tokens == {"cache_read": 10}


def test_a_long_completion_is_read_from_its_head_and_tail() -> None:
    """Audio comes in JSON."""
    choice = {"message": {"audio": {"data": "A" * WHOLE_LIMIT}}, "finish_reason": "stop"}
    answer = {"model": "gpt-audio", "choices": [choice], "usage": CHAT_USAGE}
    reading = read_json("chat_completions", answer)
    assert (reading.model, reading.stop_reason) == ("gpt-audio", "stop")
    assert (reading.tokens, reading.missing) == (CHAT_TOKENS, None)


# Responses


@pytest.mark.parametrize(
    ("piece", "expected"),
    [
        (RESPONSES_CONTENT[0], 2.0),
        (event("response.output_text.delta", delta="a"), 2.0),
        (event("response.function_call_arguments.delta", delta="{"), 2.0),
        (event("response.output_text.delta", delta=""), None),
        (event("response.content_part.added", part={}), None),
        (b'data: {"delta":"a","type":"response.output_text.delta"}\n\n', 2.0),
    ],
)
def test_the_first_token_is_the_first_output_item_or_delta(
    piece: bytes, expected: float | None
) -> None:
    """Not what tells of the response itself."""
    assert first_token_at("responses", [*RESPONSES_OPENING, piece]) == expected


def test_the_model_is_known_from_the_opening() -> None:
    """Calls that break off have one too."""
    reading = read_stream("responses", [*RESPONSES_OPENING, *RESPONSES_CONTENT], "aborted")
    assert (reading.model, reading.missing) == ("gpt-5", "client_abort")


def test_a_failed_response_with_usage_is_counted() -> None:
    """It was paid for."""
    error = {"code": "rate_limit_exceeded", "message": "no"}
    failed = response("failed", RESPONSES_USAGE, error=error)
    reading = read_stream("responses", [event("response.failed", response=failed)])
    assert (reading.tokens, reading.missing) == (RESPONSES_TOKENS, None)
    assert (reading.stream_error, reading.ended, reading.truncated) == (True, False, False)
    assert (reading.error_type, reading.stop_reason) == ("other", "failed")


@pytest.mark.parametrize("error_type", ["api_error", None])
def test_an_error_event_is_a_stream_error(error_type: str | None) -> None:
    """OpenAI's has a code, Headroom's an error."""
    members = {"error": {"type": error_type}} if error_type else {"code": "server_error"}
    reading = read_stream("responses", [*RESPONSES_STREAM[:4], event("error", **members)])
    assert (reading.stream_error, reading.error_type) == (True, error_type or "other")


def test_parts_that_complete_do_not_end_the_response() -> None:
    """A web search does, and goes on."""
    pieces = [event("response.web_search_call.completed"), event("response.mcp_call.failed")]
    for opening in ([], RESPONSES_CONTENT):
        reading = read_stream("responses", [*opening, *pieces])
        assert (reading.ended, reading.stream_error) == (False, False)


def test_a_response_that_cannot_be_read_has_still_ended() -> None:
    """Its usage is missing for its own reason."""
    for text in (b"nonsense", b'{"type":"response.completed","response":5}'):
        piece = b"event: response.completed\ndata: %b\n\n" % text
        reading = read_stream("responses", [*RESPONSES_OPENING, piece])
        assert reading.ended
    assert read_stream("responses", [b"event: response.completed\ndata: x\n\n"]).missing == "parse"
    empty = event("response.completed", response={})
    assert read_stream("responses", [empty]).missing == "absent"
    failed = event("response.failed", response=[])
    assert read_stream("responses", [failed]).error_type == "other"


def test_a_long_response_is_read_from_its_head_and_tail() -> None:
    """Images come in the last event too."""
    output = [{"type": "image_generation_call", "result": "A" * WHOLE_LIMIT}]
    value = {
        "type": "response.completed",
        "response": {
            "model": "gpt-5",
            "status": "completed",
            "output": output,
            "usage": RESPONSES_USAGE,
        },
    }
    for piece in (data(value), b"event: response.completed\ndata: %b\n\n" % compact(value)):
        reading = read_stream("responses", [*RESPONSES_OPENING, piece])
        assert (reading.tokens, reading.missing) == (RESPONSES_TOKENS, None)
        assert (reading.model, reading.stop_reason) == ("gpt-5", "completed")


def test_a_response_that_runs_in_the_background_states_no_usage_yet() -> None:
    """It is queued, and its usage absent."""
    reading = read_json("responses", response("queued"))
    assert (reading.stop_reason, reading.missing) == ("queued", "absent")


# Embeddings


def test_many_embeddings_have_their_usage_in_the_tail() -> None:
    """So has the model its name."""
    numbers = {"embedding": [0.0123456789] * (WHOLE_LIMIT // 12)}
    usage = {"prompt_tokens": 8, "total_tokens": 8}
    answer = {"object": "list", "data": [numbers], "model": "text-embedding-3", "usage": usage}
    reading = read_json("embeddings", answer)
    assert (reading.model, reading.tokens) == ("text-embedding-3", {"input": 8})


def test_embeddings_do_not_stream() -> None:
    """What claims to is not read, and not truncated either."""
    reading = read_stream("embeddings", CHAT_STREAM)
    assert (reading.tokens, reading.missing, reading.truncated) == ({}, "absent", False)
