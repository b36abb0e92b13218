"""A call with a chain: the agent's side of it, and what the API said to each attempt."""

from __future__ import annotations

import weakref

import pytest

from relay.errors import UpstreamTimeout
from relay.telemetry.access_log import call_fields
from relay.telemetry.attempts import summed
from relay.telemetry.call import CallRecord
from relay.telemetry.recent_calls import RecentCalls
from tests.harness.model_answers import (
    MESSAGE_TOKENS,
    MODEL,
    error_event,
    message_body,
    message_events,
    message_start,
)
from tests.unit.telemetry.chains import (
    DOCUMENT,
    EVENT_STREAM,
    answer,
    attempt,
    chained,
    delivered,
)

OVERLOADED = b'{"type":"error","error":{"type":"overloaded_error","message":"busy"}}'
DOUBLE = {kind: 2 * count for kind, count in MESSAGE_TOKENS.items()}


def whole(model: str = MODEL, request_id: str = "req_1") -> CallRecord:
    """Return an attempt that the API answered wholly."""
    return attempt(message_events(model), EVENT_STREAM, ("request-id", request_id))


def refused(request_id: str = "req_0") -> CallRecord:
    """Return an attempt that the API was too busy for."""
    return attempt([OVERLOADED], DOCUMENT, ("request-id", request_id), status=529)


def counting() -> CallRecord:
    """Return an attempt that counts tokens."""
    return attempt([b'{"input_tokens":9}'], DOCUMENT, operation="count_tokens")


@pytest.mark.parametrize(
    ("attempts", "tokens", "model", "request_id", "error_type"),
    [
        ([whole()], MESSAGE_TOKENS, MODEL, "req_1", None),
        ([whole("older"), whole("newer", "req_2")], DOUBLE, "newer", "req_2", None),
        ([refused(), whole()], MESSAGE_TOKENS, MODEL, "req_1", "overloaded_error"),
        ([whole(), refused()], MESSAGE_TOKENS, MODEL, "req_0", "overloaded_error"),
        ([counting(), whole()], MESSAGE_TOKENS, MODEL, "req_1", None),
        ([whole(), counting()], MESSAGE_TOKENS, MODEL, "req_1", None),
    ],
)
def test_what_the_api_said_is_of_the_attempts(
    attempts: list[CallRecord],
    tokens: dict[str, int],
    model: str,
    request_id: str,
    error_type: str | None,
) -> None:
    """Summed, and of what can be said but once the last word: never what a hop made of it."""
    record = delivered(chained(*attempts), message_events("made up by a hop"))
    record.request_id = "hop_1"
    record.finish()
    assert record.usage is not None
    assert (record.outcome, record.usage.missing) == ("ok", None)
    assert (record.usage.tokens, record.usage.model) == (tokens, model)
    assert (record.request_id, record.usage.error_type) == (request_id, error_type)
    fields = call_fields(record)
    assert (fields["tokens"], fields["model"]) == (tokens, model)
    assert (fields["request_id"], fields.get("error_type")) == (request_id, error_type)


def test_attempt_on_another_operation_is_metered_as_that_one() -> None:
    """A count of tokens is no usage, and lacks none."""
    record = delivered(chained(counting()))
    record.finish()
    (said,) = record.attempts
    assert said.usage is not None
    assert (said.outcome, said.usage.tokens, said.usage.missing) == ("ok", {}, None)


@pytest.mark.parametrize(
    ("pieces", "status", "outcome"),
    [
        (message_events(), 200, "ok"),
        (message_events()[:4], 200, "truncated"),
        ([message_start(), error_event("overloaded_error")], 200, "stream_error"),
        ([OVERLOADED], 503, "upstream_error"),
    ],
)
def test_hop_that_answers_by_itself_says_nothing_for_the_api(
    pieces: list[bytes], status: int, outcome: str
) -> None:
    """It costs nothing and lacks nothing; how it went is what the agent felt."""
    record = answer(chained(), pieces, EVENT_STREAM, ("request-id", "old"), status=status)
    record.succeeded()
    record.finish()
    assert (record.outcome, record.code, record.request_id) == (outcome, status, "")
    assert record.usage is not None
    said = (record.usage.tokens, record.usage.missing, record.usage.model)
    assert said == ({}, None, None)
    assert (record.usage.error_type, record.usage.error_where) == (None, None)


@pytest.mark.parametrize(
    ("felt", "outcome"),
    [
        (message_events(), "ok"),
        (message_events()[:4], "truncated"),
        ([b"<html></html>"], "upstream_error"),
    ],
)
def test_outcome_is_what_came_out_of_the_chain(felt: list[bytes], outcome: str) -> None:
    """An answer that a hop spoiled is spoiled, and yet was paid for."""
    record = delivered(chained(whole()), felt)
    record.finish()
    assert record.usage is not None
    assert (record.outcome, record.usage.tokens) == (outcome, MESSAGE_TOKENS)


def test_times_are_those_that_the_agent_felt() -> None:
    """The first token and the longest silence, at the near end of the chain."""
    record = chained(whole())
    answer(record, [], EVENT_STREAM)
    assert record.meter is not None
    start, *rest = message_events()
    for piece, now in ((start, 103.0), (b"".join(rest[:3]), 105.0), (b"".join(rest[3:]), 108.5)):
        record.meter.feed(piece, now)
    record.finished = 108.5
    record.succeeded()
    record.finish()
    assert record.usage is not None
    assert (record.usage.first_token_at, record.usage.max_gap) == (105.0, 3.5)


@pytest.mark.parametrize("head", [True, False])
def test_agent_that_left_leaves_the_attempts_unmetered(head: bool) -> None:
    """What was cut is an abort for its meter, and as much is counted as it said."""
    cut = attempt(message_events()[:4], EVENT_STREAM, cut=True)
    record = chained(cut)
    if head:
        answer(record, message_events()[:4], EVENT_STREAM)
    record.finished = 107.0
    record.finish()
    assert (record.outcome, cut.outcome, cut.finished) == ("client_abort", "client_abort", 107.0)
    assert record.usage is not None
    assert record.usage.missing == "client_abort"
    assert record.usage.tokens == MESSAGE_TOKENS | {"output": 1}
    assert (record.usage.first_token_at is None) is not head


def test_failure_of_a_hop_keeps_what_the_attempts_used() -> None:
    """The agent got nothing, and it was paid for all the same."""
    record = chained(whole())
    record.failed(UpstreamTimeout())
    record.finish()
    assert record.usage is not None
    assert (record.outcome, record.usage.tokens) == ("timeout", MESSAGE_TOKENS)


def test_call_that_reached_nothing_has_no_usage() -> None:
    """As one without a chain."""
    record = chained()
    record.finish()
    assert (record.usage, record.request_id) == (None, "")
    assert summed(None, []) is None


def test_parts_begin_with_the_last_attempts() -> None:
    """The pace of the answer is told by the one that was passed on."""
    record = delivered(chained(whole("older"), refused(), whole("newer")))
    record.finish()
    assert record.usage is not None
    assert [part.model for part in record.usage.parts] == ["newer", "older"]


def test_counts_of_tools_and_reasoning_are_summed() -> None:
    """Each attempt's are billed."""
    once, twice = (
        delivered(chained(*(attempt([message_body()], DOCUMENT) for _ in range(count))))
        for count in (1, 2)
    )
    for record in (once, twice):
        record.finish()
    assert once.usage is not None
    assert twice.usage is not None
    requests = once.usage.server_tool_requests
    assert requests
    assert twice.usage.server_tool_requests == {tool: 2 * n for tool, n in requests.items()}
    assert once.usage.reasoning_tokens
    assert twice.usage.reasoning_tokens == 2 * once.usage.reasoning_tokens


def test_running_call_shows_what_its_attempts_have_said() -> None:
    """Model, tokens and identifier, long before the hop lets a byte through."""
    recent = RecentCalls()
    running = attempt([message_start("newer")], EVENT_STREAM, ("request-id", "req_2"), cut=True)
    record = chained(whole("older"), running)
    recent.begin(record)
    described = recent.describe()["in_flight"]
    assert isinstance(described, list)
    (fields,) = described
    assert (fields["model"], fields["request_id"], fields["legs"]) == ("newer", "req_2", 2)
    assert fields["tokens"] == DOUBLE | {"output": MESSAGE_TOKENS["output"] + 1}


def test_meters_are_not_kept_once_the_call_is_over() -> None:
    """Neither the call's nor an attempt's, which may each hold much of a body."""
    recent = RecentCalls()
    record = delivered(chained(whole()))
    meters = [weakref.ref(each.meter) for each in (record, *record.attempts) if each.meter]
    recent.begin(record)
    record.finish()
    recent.end(record)
    assert len(meters) == 2
    assert [meter() for meter in meters] == [None, None]
