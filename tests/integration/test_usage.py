"""Every call measured, on loopback: what it used, how it ended, and not a byte changed."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from relay.telemetry.metrics import Metrics, limits
from relay.telemetry.usage import Meter, meter
from relay.telemetry.usage.reader import AnswerReader
from tests.harness.configuration import configuration
from tests.harness.messages import CHAT, MESSAGES, chunk, request
from tests.harness.model_answers import (
    CHAT_DONE,
    CHAT_EVENTS,
    CHAT_JSON,
    CHAT_STREAM,
    CODERS,
    JSON,
    MESSAGE_JSON,
    MESSAGE_STREAM,
    MESSAGE_TOKENS,
    RESPONSE_COMPLETED,
    RESPONSE_CREATED,
    RESPONSE_DELTA,
    RESPONSES_JSON,
    STREAM,
    error_event,
    event,
    message_body,
    message_events,
)
from tests.harness.peer import Agent, Answer, Caller, Request
from tests.harness.recordings import RECORDINGS, RESPONSES, answer_head, document, recorded_answer
from tests.harness.relay import LocalRelay, Relay, running_relay
from tests.harness.upstream import Upstream

EMBEDDINGS = "/relay/openai/v1/embeddings"
BEGINNING = b"".join(message_events()[:4])
WHOLE = MESSAGE_STREAM.body


async def begin(relay: Relay, upstream: Upstream, target: str = MESSAGES) -> tuple[Agent, Caller]:
    """Begin a call, up to the request's arrival."""
    agent = await relay.agent()
    await agent.send(request(target))
    caller, _ = await upstream.called()
    return agent, caller


async def begin_stream(
    relay: Relay, upstream: Upstream, data: bytes
) -> tuple[Agent, Caller, Answer]:
    """Begin a call, up to an answer's first piece."""
    agent, caller = await begin(relay, upstream)
    await caller.send(answer_head(STREAM) + chunk(data))
    answer = await agent.head()
    assert await agent.piece(answer) == data
    return agent, caller, answer


async def tokens(relay: Relay) -> dict[str, float]:
    """Return all tokens by type."""
    found = await relay.samples("relay_tokens_total", "type")
    return {kind: count for (kind,), count in found.items()}


async def missing(relay: Relay) -> dict[str, float]:
    """Return what could not be metered, by reason."""
    found = await relay.samples("relay_usage_missing_total", "reason")
    return {reason: count for (reason,), count in found.items()}


async def metered(relay: Relay) -> tuple[dict[str, float], dict[str, float]]:
    """Return all tokens, and what is missing of them."""
    return await tokens(relay), await missing(relay)


async def check_counted_once(relay: Relay, outcome: str, code: str = "200") -> dict[str, Any]:
    """See that there was one call, that it ended so, and that nothing is in flight."""
    assert await relay.outcomes() == {(outcome, code): 1}
    durations = await relay.samples("relay_request_duration_seconds_count", "outcome_class")
    expected = "ok" if outcome in ("ok", "client_abort") else "error"
    assert durations == {(expected,): 1}
    assert await relay.in_flight() == 0
    assert sum((await missing(relay)).values()) <= 1
    (line,) = await relay.log.calls()
    assert line["outcome"] == outcome
    return line


# Tokens, exactly


@pytest.mark.parametrize("name", CODERS)
@pytest.mark.parametrize("kind", RECORDINGS)
async def test_usage_is_exact_and_the_bytes_are_the_upstreams(
    two_relays: LocalRelay, upstream: Upstream, kind: str, name: str
) -> None:
    """Of every kind of answer, in every coding."""
    target, recording = RECORDINGS[kind]
    upstream.answer_with(recorded_answer(recording, name))
    answer = await two_relays.ask(request(target))
    assert answer.complete
    coding, code = CODERS[name]
    assert answer.body == code(recording.body)
    assert answer.values("content-encoding") == ([coding.encode()] if name != "identity" else [])
    line = await check_counted_once(two_relays, "ok")
    assert await tokens(two_relays) == recording.tokens
    assert line["tokens"] == recording.tokens
    assert line["model"] == recording.model
    assert line["response_bytes"] == len(answer.body)
    models = await two_relays.samples("relay_tokens_total", "model", "client")
    assert models.keys() == {(recording.model, "agent")}
    reasoning = await two_relays.samples("relay_reasoning_tokens_total", "model")
    assert reasoning == {(recording.model,): recording.reasoning}
    reasons = await two_relays.samples("relay_stop_reasons_total", "reason")
    assert reasons == {(recording.stop_reason,): 1}
    assert await missing(two_relays) == {}
    assert ("first_token" in line) == (recording.content_type == STREAM)


async def test_usage_of_many_calls_adds_up(relay: LocalRelay, upstream: Upstream) -> None:
    """One after the other on kept connections."""
    upstream.answer_with(recorded_answer(MESSAGE_JSON))
    agent = await relay.agent()
    for _ in range(10):
        assert (await agent.ask(request(MESSAGES))).complete
    await relay.log.calls(10)
    assert await tokens(relay) == {k: 10 * n for k, n in MESSAGE_JSON.tokens.items()}
    assert await relay.outcomes(10) == {("ok", "200"): 10}
    bodies = await relay.samples("relay_response_bytes_total", "relay")
    assert bodies == {("anthropic",): 10 * len(MESSAGE_JSON.body)}
    sent = await relay.samples("relay_request_bytes_total", "relay")
    assert sent == {("anthropic",): 10 * len(b"{}")}


async def test_tools_of_the_api_are_counted(relay: LocalRelay, upstream: Upstream) -> None:
    """They cost extra."""
    upstream.answer_with(recorded_answer(MESSAGE_STREAM))
    await relay.ask(request())
    await relay.log.calls()
    tools = await relay.samples("relay_server_tool_requests_total", "tool")
    assert tools == {("web_search",): 2, ("web_fetch",): 1}


async def test_token_counting_is_not_usage(relay: LocalRelay, upstream: Upstream) -> None:
    """Nothing was used, and nothing is missing."""
    upstream.answer_with(document(b'{"input_tokens":25}'))
    await relay.ask(request(f"{MESSAGES}/count_tokens"))
    await check_counted_once(relay, "ok")
    assert await metered(relay) == ({}, {})


@pytest.mark.parametrize("rest", ["/resp_1", "/resp_1?stream=true"])
async def test_response_that_is_fetched_again_is_not_counted_again(
    two_relays: LocalRelay, upstream: Upstream, rest: str
) -> None:
    """Its usage was that of the call that made it."""
    upstream.answer_with(recorded_answer(RESPONSES_JSON))
    await two_relays.ask(request(RESPONSES))
    await two_relays.ask(request(RESPONSES + rest, method="GET", body=None))
    assert await two_relays.outcomes(2) == {("ok", "200"): 2}
    assert await metered(two_relays) == (RESPONSES_JSON.tokens, {})


# A meter that fails


@pytest.mark.parametrize("error", [RuntimeError, MemoryError, RecursionError, AssertionError])
@pytest.mark.parametrize("kind", ["message stream", "message"])
async def test_a_meter_that_raises_does_not_touch_the_stream(
    relay: LocalRelay,
    upstream: Upstream,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    error: type[Exception],
) -> None:
    """Its error is counted, and goes no further."""
    _, recording = RECORDINGS[kind]
    raised = []

    def fail(*_: object) -> None:
        raised.append(error)
        raise error

    rows = {"messages": AnswerReader(fail, fail)}
    monkeypatch.setattr(meter, "_READERS", rows)
    agent, caller = await begin(relay, upstream)
    await caller.send(answer_head(recording.content_type))
    answer = await agent.head()
    for piece in recording.pieces:
        await caller.send(chunk(piece))
        assert await agent.piece(answer) == piece
    await caller.send(chunk(b""))
    await agent.finish(answer)
    assert answer.complete
    await check_counted_once(relay, "ok")
    assert raised == [error]
    assert await metered(relay) == ({}, {"parse": 1})


async def test_the_agent_has_a_piece_before_it_is_metered(
    relay: LocalRelay, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written first, tapped after."""
    agent, caller = await begin(relay, upstream)
    (connection,) = (each for each in relay.app._agents.connections._open if each.busy)
    order: list[tuple[str, bytes]] = []
    write, feed = connection.transport.write, Meter.feed

    def note_write(data: bytes) -> None:
        order.append(("written", data))
        write(data)

    def note_feed(of: Meter, piece: bytes, now: float) -> None:
        order.append(("metered", piece))
        feed(of, piece, now)

    monkeypatch.setattr(connection.transport, "write", note_write)
    monkeypatch.setattr(Meter, "feed", note_feed)
    await caller.send(answer_head(STREAM))
    answer = await agent.head()
    for piece in MESSAGE_STREAM.pieces:
        await caller.send(chunk(piece))
        assert await agent.piece(answer) == piece
    await caller.send(chunk(b""))
    await agent.finish(answer)
    body = [(kind, data) for kind, data in order if data != chunk(b"")][1:]
    expected = [
        pair
        for piece in MESSAGE_STREAM.pieces
        for pair in (("written", chunk(piece)), ("metered", piece))
    ]
    assert body == expected


# Every end


async def test_a_stream_that_breaks_off_is_truncated(relay: LocalRelay, upstream: Upstream) -> None:
    """What was known by then is counted, and that it is not all."""
    agent, caller = await begin(relay, upstream)
    await caller.send(answer_head(STREAM) + chunk(BEGINNING))
    caller.leave()
    assert not (await agent.answer()).complete
    line = await check_counted_once(relay, "truncated")
    assert await tokens(relay) == MESSAGE_TOKENS | {"output": 1}
    assert line["tokens"] == MESSAGE_TOKENS | {"output": 1}
    assert await missing(relay) == {"truncated": 1}


async def test_a_stream_that_breaks_off_behind_its_usage_misses_none(
    relay: LocalRelay, upstream: Upstream
) -> None:
    """The last totals had come."""
    agent, caller = await begin(relay, upstream)
    await caller.send(answer_head(STREAM) + chunk(b"".join(message_events()[:-1])))
    caller.leave()
    assert not (await agent.answer()).complete
    await check_counted_once(relay, "truncated")
    assert await metered(relay) == (MESSAGE_TOKENS, {})


async def test_a_document_that_breaks_off_is_truncated(
    relay: LocalRelay, upstream: Upstream
) -> None:
    """Half of it says nothing."""
    agent, caller = await begin(relay, upstream)
    await caller.send(answer_head(JSON, length=5_000) + message_body())
    caller.leave()
    assert not (await agent.answer()).complete
    await check_counted_once(relay, "truncated")
    assert sum((await missing(relay)).values()) <= 1


async def test_a_stream_that_falls_silent_is_a_timeout(upstream: Upstream, tmp_path: Path) -> None:
    """The same, but for the name of its end."""
    config = configuration(upstream.port, timeouts={"idle": 0.2})
    async with running_relay(tmp_path, config) as relay:
        agent, caller = await begin(relay, upstream)
        await caller.send(answer_head(STREAM) + chunk(BEGINNING))
        assert not (await agent.answer()).complete
        line = await check_counted_once(relay, "timeout")
        assert await missing(relay) == {"truncated": 1}
        assert line["max_gap"] >= 0.15


@pytest.mark.parametrize("how", ["leave", "reset", "half_close"])
async def test_a_stream_that_the_agent_leaves_is_an_abort(
    relay: LocalRelay, upstream: Upstream, how: str
) -> None:
    """What it used until then is counted."""
    agent, caller, _ = await begin_stream(relay, upstream, BEGINNING)
    getattr(agent, how)()
    await caller.gone()
    await check_counted_once(relay, "client_abort")
    assert await metered(relay) == (MESSAGE_TOKENS | {"output": 1}, {"client_abort": 1})


async def test_a_call_that_the_agent_leaves_unanswered_misses_nothing(
    relay: LocalRelay, upstream: Upstream
) -> None:
    """There was no answer that could have been metered."""
    agent, caller = await begin(relay, upstream)
    agent.leave()
    await caller.gone()
    await check_counted_once(relay, "client_abort", "none")
    assert await metered(relay) == ({}, {})


async def test_an_agent_that_leaves_behind_the_end_has_a_good_call(
    relay: LocalRelay, upstream: Upstream
) -> None:
    """Behind message_stop there is nothing to wait for, though the body has not ended."""
    agent, caller, _ = await begin_stream(relay, upstream, WHOLE)
    agent.leave()
    await caller.gone()
    await check_counted_once(relay, "ok")
    assert await metered(relay) == (MESSAGE_TOKENS, {})


@pytest.mark.parametrize("leaves", [False, True])
async def test_an_error_within_a_good_answer_is_a_stream_error(
    relay: LocalRelay, upstream: Upstream, *, leaves: bool
) -> None:
    """Also when the agent leaves as soon as it has read of it, as the SDKs do."""
    data = BEGINNING + error_event("overloaded_error")
    agent, caller, answer = await begin_stream(relay, upstream, data)
    if leaves:
        agent.leave()
        await caller.gone()
    else:
        await caller.send(chunk(b""))
        await agent.finish(answer)
        assert answer.complete
    await check_counted_once(relay, "stream_error")
    errors = await relay.samples("relay_upstream_errors_total", "error_type", "where")
    assert errors == {("overloaded_error", "stream"): 1}
    assert await metered(relay) == (MESSAGE_TOKENS | {"output": 1}, {"truncated": 1})


async def test_a_stop_of_the_relay_is_its_own_error(upstream: Upstream, tmp_path: Path) -> None:
    """A call that is cut is counted like any other, once."""
    async with running_relay(tmp_path, configuration(upstream.port)) as relay:
        agent, _, answer = await begin_stream(relay, upstream, BEGINNING)
        relay.app.stop()
        relay.app.stop()
        await agent.finish(answer)
        assert not answer.complete
        await check_counted_once(relay, "internal_error")
        assert await tokens(relay) == MESSAGE_TOKENS | {"output": 1}
        assert await missing(relay) == {"truncated": 1}


STREAMS: dict[str, tuple[str, tuple[bytes, ...], str, str | None]] = {
    "no message_stop": (MESSAGES, message_events()[:-1], "ok", None),
    "no usage, nor message_stop": (MESSAGES, message_events()[:-2], "truncated", "truncated"),
    "only a start": (MESSAGES, message_events()[:1], "truncated", "truncated"),
    "nothing": (MESSAGES, (), "upstream_error", "truncated"),
    "no events": (MESSAGES, (b"Service Unavailable",), "upstream_error", "truncated"),
    "only comments": (MESSAGES, (b": ping\n\n",), "truncated", "truncated"),
    "no [DONE]": (CHAT, CHAT_STREAM.pieces[:-1], "ok", None),
    "neither usage nor [DONE]": (CHAT, CHAT_EVENTS, "truncated", "truncated"),
    "no empty line at the end": (CHAT, (*CHAT_EVENTS, CHAT_DONE.rstrip()), "ok", "absent"),
    "usage not asked for": (CHAT, (*CHAT_EVENTS, CHAT_DONE), "ok", "absent"),
    "no completion": (RESPONSES, (RESPONSE_CREATED, RESPONSE_DELTA), "truncated", "truncated"),
    "incomplete": (
        RESPONSES,
        (RESPONSE_CREATED, RESPONSE_COMPLETED.replace(b"completed", b"incomplete")),
        "ok",
        None,
    ),
    "failed": (
        RESPONSES,
        (RESPONSE_CREATED, event("response.failed", response={"error": {"code": "x"}})),
        "stream_error",
        "truncated",
    ),
    "an operation without streams": (EMBEDDINGS, (b"data: 1\n\n",), "upstream_error", "absent"),
    "a path that is no endpoint": (f"{MESSAGES}/x", (b"data: 1\n\n",), "ok", "absent"),
    "another operation": ("/relay/anthropic/v1/models", (b"data: 1\n\n",), "ok", None),
}


@pytest.mark.parametrize("kind", STREAMS)
async def test_a_stream_ends_with_its_own_end(
    two_relays: LocalRelay, upstream: Upstream, kind: str
) -> None:
    """However well its HTTP ended."""
    target, pieces, outcome, reason = STREAMS[kind]
    upstream.answer_with(answer_head(STREAM) + b"".join(map(chunk, pieces)) + chunk(b""))
    answer = await two_relays.ask(request(target))
    assert (answer.body, answer.complete) == (b"".join(pieces), True)
    await check_counted_once(two_relays, outcome)
    assert await missing(two_relays) == ({reason: 1} if reason else {})


@pytest.mark.parametrize("status", [400, 401, 429, 500, 529])
async def test_a_refusal_is_an_error_by_its_type(
    relay: LocalRelay, upstream: Upstream, status: int
) -> None:
    """And never one whose usage is missing; coded ones are read as well."""
    body = b'{"type":"error","error":{"type":"rate_limit_error","message":"x"}}'
    coded = CODERS["gzip"][1](body)
    start = answer_head(JSON, "gzip", length=len(coded)).replace(b"200 OK", b"%d No" % status)
    upstream.answer_with(start + coded)
    assert (await relay.ask(request())).body == coded
    await check_counted_once(relay, "upstream_error", str(status))
    errors = await relay.samples("relay_upstream_errors_total", "error_type", "where")
    assert errors == {("rate_limit_error", "http"): 1}
    assert (await missing(relay), await tokens(relay)) == ({}, {})


# What cannot be metered


FILLER = b"x" * (5 << 20)
BODIES: dict[str, tuple[str, bytes, str | None]] = {
    "no usage": ("identity", b'{"content":[]}', "absent"),
    "null usage": ("identity", b'{"usage":null}', "absent"),
    "unknown coding": ("compress", message_body(), "encoding"),
    "too many codings": (", ".join(["gzip"] * 6), message_body(), "encoding"),
    "not what its coding says": ("gzip", message_body(), "encoding"),
    "usage in a long middle": (
        "identity",
        message_body()[:-1] + b',"x":"%b"}' % FILLER,
        "too_large",
    ),
    "usage at a long end": ("identity", b'{"x":"%b",' % FILLER + message_body()[1:], None),
    "a bomb": ("gzip", CODERS["gzip"][1](bytes(40 << 20)), "too_large"),
}


@pytest.mark.parametrize("kind", BODIES)
async def test_what_could_not_be_metered_is_said(
    relay: LocalRelay, upstream: Upstream, kind: str
) -> None:
    """By its reason; the agent has every byte, and the call was a good one."""
    coding, body, reason = BODIES[kind]
    upstream.answer_with(document(body, coding))
    answer = await relay.ask(request())
    assert answer.complete
    assert answer.body == body
    await check_counted_once(relay, "ok")
    assert await metered(relay) == (({}, {reason: 1}) if reason else (MESSAGE_TOKENS, {}))


ERROR = b'{"type":"error","error":{"type":"overloaded_error","message":"x"}}'
UNUSABLE: dict[str, tuple[str, str, bytes, str, str]] = {
    "nothing": (MESSAGES, "identity", b"", "absent", "other"),
    "blanks": (MESSAGES, "identity", b" \r\n" * 500, "absent", "other"),
    "half of it": (MESSAGES, "identity", message_body()[:-1], "parse", "other"),
    "half of its coding": (
        MESSAGES, "gzip", CODERS["gzip"][1](message_body())[:-12], "truncated", "other",
    ),
    "no object": (MESSAGES, "identity", b"[1]", "parse", "other"),
    "HTML": (CHAT, "identity", b"<html><body>Welcome</body></html>", "parse", "other"),
    "a page of status": (MESSAGES, "identity", b'{"status":"ok"}', "absent", "other"),
    "an error": (MESSAGES, "identity", ERROR, "absent", "overloaded_error"),
    "an error of another shape": (
        CHAT, "gzip", CODERS["gzip"][1](b'{"error":{"code":503}}'), "absent", "other",
    ),
    "a response that failed": (
        RESPONSES, "identity",
        b'{"object":"response","status":"failed","error":{"code":"x"},"output":[]}',
        "absent", "other",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", UNUSABLE)
async def test_an_answer_that_is_none_is_an_error(
    two_relays: LocalRelay, upstream: Upstream, kind: str
) -> None:
    """Its status is 200; agents fail on it all the same, and so it is counted."""
    target, coding, body, reason, error_type = UNUSABLE[kind]
    upstream.answer_with(document(body, coding))
    answer = await two_relays.ask(request(target))
    assert (answer.status, answer.body, answer.complete) == (200, body, True)
    line = await check_counted_once(two_relays, "upstream_error")
    assert line["error_type"] == error_type
    errors = await two_relays.samples("relay_upstream_errors_total", "error_type", "where")
    assert errors == {(error_type, "http"): 1}
    assert await metered(two_relays) == ({}, {reason: 1})


@pytest.mark.parametrize(
    ("target", "body"),
    [
        (f"{MESSAGES}/count_tokens", b'{"status":"ok"}'),
        (f"{MESSAGES}/count_tokens", b""),
        (f"{MESSAGES}/batches", b"<html></html>"),
        ("/relay/anthropic/v1/files", b'{"error":{"type":"api_error"}}'),
    ],
)
async def test_calls_that_use_nothing_are_judged_too(
    relay: LocalRelay, upstream: Upstream, target: str, body: bytes
) -> None:
    """Nothing is missing of them."""
    upstream.answer_with(document(body))
    await relay.ask(request(target))
    await check_counted_once(relay, "upstream_error")
    assert await metered(relay) == ({}, {})


@pytest.mark.parametrize("target", [f"{MESSAGES}/x", "/relay/anthropic/v1/models"])
async def test_what_is_no_endpoint_may_answer_what_it_likes(
    relay: LocalRelay, upstream: Upstream, target: str
) -> None:
    """Nobody here knows what would be right."""
    upstream.answer_with(answer_head(JSON, length=2) + b"no")
    await relay.ask(request(target))
    await check_counted_once(relay, "ok")


@pytest.mark.parametrize("label", ["application/json", "text/plain", ""])
async def test_events_are_events_whatever_they_are_labelled(
    relay: LocalRelay, upstream: Upstream, label: str
) -> None:
    """They are passed on as they are, and metered as what they are."""
    upstream.answer_with(answer_head(label) + chunk(WHOLE) + chunk(b""))
    answer = await relay.ask(request())
    assert (answer.body, answer.values("content-type")) == (WHOLE, [label.encode()])
    line = await check_counted_once(relay, "ok")
    assert await metered(relay) == (MESSAGE_TOKENS, {})
    assert "first_token" in line


async def test_json_is_json_whatever_it_is_labelled(relay: LocalRelay, upstream: Upstream) -> None:
    """A proxy that always streams may label what it did not."""
    body = message_body()
    upstream.answer_with(answer_head(STREAM, length=len(body)) + body)
    await relay.ask(request())
    line = await check_counted_once(relay, "ok")
    assert await metered(relay) == (MESSAGE_TOKENS, {})
    assert "max_gap" not in line


async def test_compacting_is_billed(two_relays: LocalRelay, upstream: Upstream) -> None:
    """POST /v1/responses/compact uses a model, and says how much."""
    usage = b'{"input_tokens":30,"input_tokens_details":{"cached_tokens":10},"output_tokens":8}'
    body = b'{"object":"response.compaction","output":[],"usage":%b}' % usage
    upstream.answer_with(document(body))
    await two_relays.ask(request(f"{RESPONSES}/compact"))
    line = await check_counted_once(two_relays, "ok")
    assert line["operation"] == "responses"
    assert await metered(two_relays) == ({"input": 20, "cache_read": 10, "output": 8}, {})


@pytest.mark.parametrize(
    ("rest", "body", "reason"),
    [
        ("/compact", b'{"object":"response.compaction","output":[]}', "absent"),
        ("/resp_1/cancel", b'{"object":"response","usage":null}', "absent"),
        ("/input_tokens", b'{"object":"response.input_tokens","input_tokens":7}', None),
    ],
)
async def test_what_is_billed_and_does_not_say_so_is_missing(
    two_relays: LocalRelay, upstream: Upstream, rest: str, body: bytes, reason: str | None
) -> None:
    """Counting tokens is free, and misses nothing."""
    upstream.answer_with(document(body))
    await two_relays.ask(request(RESPONSES + rest))
    await check_counted_once(two_relays, "ok")
    assert await metered(two_relays) == ({}, {reason: 1} if reason else {})


async def test_a_completion_that_is_changed_is_not_counted_again(
    two_relays: LocalRelay, upstream: Upstream
) -> None:
    """Its metadata is what a POST to it changes; it was paid for when it was made."""
    upstream.answer_with(recorded_answer(CHAT_JSON))
    await two_relays.ask(request(CHAT))
    await two_relays.ask(request(f"{CHAT}/chatcmpl-1"))
    assert await two_relays.outcomes(2) == {("ok", "200"): 2}
    assert await metered(two_relays) == (CHAT_JSON.tokens, {})


@pytest.mark.parametrize("coding", ["compress", "gzip"])
async def test_a_stream_that_cannot_be_decoded_is_no_failure(
    relay: LocalRelay, upstream: Upstream, coding: str
) -> None:
    """Nobody here knows whether it came to its end."""
    upstream.answer_with(answer_head(STREAM, coding) + chunk(WHOLE) + chunk(b""))
    answer = await relay.ask(request())
    assert (answer.body, answer.complete) == (WHOLE, True)
    await check_counted_once(relay, "ok")
    assert await missing(relay) == {"encoding": 1}


async def test_embeddings_are_metered(two_relays: LocalRelay, upstream: Upstream) -> None:
    """They have input alone."""
    upstream.answer_with(
        document(b'{"data":[],"model":"embed-3","usage":{"prompt_tokens":12,"total_tokens":12}}')
    )
    await two_relays.ask(request(EMBEDDINGS))
    await check_counted_once(two_relays, "ok")
    assert await tokens(two_relays) == {"input": 12}


# Rate limits


@pytest.mark.parametrize("status", [200, 304, 400, 429, 529])
async def test_limits_are_shown_until_they_are_past(
    relay: LocalRelay, upstream: Upstream, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """Of an answer of any status; then they are gone from the scrape, not stale."""
    now = 1_800_000_000.0
    monkeypatch.setattr(limits, "time", SimpleNamespace(time=lambda: now))
    lines = (
        "anthropic-ratelimit-input-tokens-limit: 2000",
        "anthropic-ratelimit-input-tokens-remaining: 1500",
        "anthropic-ratelimit-input-tokens-reset: 2027-01-15T08:01:00Z",
        f"anthropic-ratelimit-unified-5h-utilization: {0.5}",
        f"anthropic-ratelimit-unified-5h-reset: {now + 60:.0f}",
        "anthropic-organization-id: 00000000-0000-4000-8000-000000000000",
    )
    framing = [] if status == 304 else ["content-length: 0"]
    head = "\r\n".join([f"HTTP/1.1 {status} X", *lines, *framing, "", ""])
    upstream.answer_with(head.encode())
    assert (await relay.ask(request())).status == status
    await relay.log.calls()
    expected = {
        "relay_ratelimit_limit": {("anthropic", "input_tokens"): 2000},
        "relay_ratelimit_remaining": {("anthropic", "input_tokens"): 1500},
        "relay_ratelimit_reset_timestamp_seconds": {("anthropic", "input_tokens"): now + 60},
        "relay_quota_utilization_ratio": {("anthropic", "5h"): 0.5},
        "relay_quota_reset_timestamp_seconds": {("anthropic", "5h"): now + 60},
    }
    for name, samples in expected.items():
        label = "kind" if "ratelimit" in name else "window"
        assert await relay.samples(name, "relay", label) == samples
    page = (await relay.page("/metrics")).body
    assert b"00000000-0000-4000" not in page
    now += 61
    for name in expected:
        assert await relay.samples(name) == {}
    page = (await relay.page("/metrics")).body
    assert b"relay_ratelimit_limit{" not in page
    assert b"relay_quota_utilization_ratio{" not in page


# How many series


def series(metrics: Metrics) -> set[tuple[str, frozenset[tuple[str, str]]]]:
    """Return the names and labels of all samples."""
    return {
        (sample.name, frozenset(sample.labels.items()))
        for family in metrics._registry.collect()
        for sample in family.samples
    }


async def test_models_paths_and_sessions_make_no_series(
    relay: LocalRelay, upstream: Upstream
) -> None:
    """Fifty metered models, a thousand paths and as many sessions, through the relay."""
    numbers = itertools.count()

    def answer(_: Request) -> bytes:
        number = next(numbers)
        body = message_body(f"model-{number % 100}")
        first = answer_head(JSON, length=len(body)).replace(b"req_1", b"req_%d" % number)
        return first + body

    upstream.answer_with(answer)
    agent = await relay.agent()
    shown: list[set[tuple[str, frozenset[tuple[str, str]]]]] = []
    for number in range(1000):
        if number in (0, 80):
            await relay.log.calls(number)
            shown.append(series(relay.app._metrics))
        line = f"X-Claude-Code-Session-Id: session-{number}"
        target = (
            f"{MESSAGES}/{number}" if number % 2 else f"/relay/anthropic/v1/messages?n={number}"
        )
        assert (await agent.ask(request(target, line))).status == 200
    await relay.log.calls(1000)
    shown.append(series(relay.app._metrics))
    start, early, late = shown
    assert late == early
    models = {value for _, labels in late - start for name, value in labels if name == "model"}
    assert models == {*(f"model-{number}" for number in range(32)), "other"}
    text = (await relay.page("/metrics")).body
    assert b"session-" not in text
    assert b"req_" not in text
    assert (await tokens(relay))["input"] == 1000 * MESSAGE_TOKENS["input"]
