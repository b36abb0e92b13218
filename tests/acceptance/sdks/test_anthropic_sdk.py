"""Anthropic's SDKs must not notice that there is a relay, nor the API that they come through one.

Each version makes the same calls straight to an imitation of the API and through the relay's
image; what it hears and what is heard of it are compared, and the cases' own facts checked.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from io import StringIO
from typing import Final

import pytest
import pytest_asyncio
from dotenv import dotenv_values

from tests.acceptance.container import ContainedRelay
from tests.acceptance.sdks import anthropic_api
from tests.acceptance.sdks.provider import Provider, credentials_in
from tests.acceptance.sdks.runs import (
    Client,
    Facts,
    Pair,
    as_sent,
    directly,
    part,
    side_by_side,
    through,
    told,
)
from tests.harness.secrets import KEY, OTHER_TOKEN

pytestmark = pytest.mark.asyncio(loop_scope="session")

CLIENTS: Final = [
    Client(language, "anthropic", generation)
    for language in ("python", "typescript")
    for generation in ("current", "previous")
]
MODEL: Final = anthropic_api.MODEL

# What a 503 is to one SDK or the other.
UNAVAILABLE: Final = (("InternalServerError", 503), ("ServiceUnavailableError", 503))
# Case by case, what the relay's log says of its calls.
CALLS: Final[dict[str, list[tuple[str, int, str]]]] = {
    "message": [("messages", 200, "ok")],
    "bearer": [("messages", 200, "ok")],
    "stream": [("messages", 200, "ok")],
    "tools": [("messages", 200, "ok")] * 2,
    "count": [("count_tokens", 200, "ok")],
    "models": [("models", 200, "ok")] * 2,
    "batches": [("batches", 200, "ok")] * 3,
    "results_by_path": [("batches", 200, "ok")],
    "files": [("files", 200, "ok")] * 4,
    "limited": [("messages", 429, "upstream_error"), ("messages", 200, "ok")],
    "invalid": [("messages", 400, "upstream_error")],
    "overloaded": [("messages", 529, "upstream_error")],
    "cut": [("messages", 200, "truncated")],
    "reset": [("messages", 200, "truncated")],
    "leave": [("messages", 200, "client_abort")],
    "silence": [("messages", 0, "client_abort")],
}


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=CLIENTS, ids=str)
async def pair(
    request: pytest.FixtureRequest, provider: Provider, relay: ContainedRelay
) -> AsyncIterator[Pair]:
    """All cases of one version of the SDK, with and without the relay."""
    yield await side_by_side(request.param, provider, relay, list(CALLS))


async def test_it_hears_what_it_would_hear_without_a_relay(pair: Pair) -> None:
    """Answers, errors and their messages are the same; only a reset becomes a plain end."""
    direct, relayed = dict(pair.direct.facts), dict(pair.relayed.facts)
    assert set(direct) == {"version", *CALLS}
    direct.pop("reset")
    relayed.pop("reset")
    assert relayed == direct


async def test_the_api_hears_what_it_would_hear_without_a_relay(pair: Pair) -> None:
    """Every byte of the bodies and every header is the same, but for the credential's."""
    assert len(pair.direct.requests) == sum(len(calls) for calls in CALLS.values())
    relayed = [as_sent(request) for request in pair.relayed.requests]
    assert relayed == [as_sent(request) for request in pair.direct.requests]


async def test_the_api_gets_the_credential_and_never_the_token(pair: Pair) -> None:
    """One header with the real key, whichever way the SDK sent the token."""
    for request in pair.relayed.requests:
        assert credentials_in(request) == [f"x-api-key: {KEY}"]
    assert pair.relayed.faults == []


async def test_its_messages_and_streams_are_whole(pair: Pair) -> None:
    """The text, its usage, the request id, and every event in its order."""
    facts = pair.relayed.facts
    for case in ("message", "bearer", "stream", "limited"):
        assert part(facts[case], "answer", "content", 0, "text") == "The answer is 42."
        assert part(facts[case], "answer", "usage", "output_tokens") == 4
    assert facts["message"]["request_id"] == dict([anthropic_api.REQUEST_ID])["request-id"]
    events = part(facts["stream"], "events")
    assert isinstance(events, list)
    assert events[0] == "message_start"
    assert events[-1] == "message_stop"
    assert events.count("content_block_delta") == len(anthropic_api.WORDS)


async def test_its_tools_take_both_turns(pair: Pair) -> None:
    """The input comes together from its pieces, and the result reaches the model."""
    facts = pair.relayed.facts["tools"]
    assert part(facts, "use", "stop_reason") == "tool_use"
    assert part(facts, "use", "content", 0, "input") == {"city": "Paris"}
    assert part(facts, "answer", "content", 0, "text") == anthropic_api.RESULT


async def test_the_rest_of_the_api_works(pair: Pair) -> None:
    """Token counts, models, batches and files."""
    facts = pair.relayed.facts
    assert facts["count"]["input_tokens"] == 25
    assert facts["models"]["one"] == MODEL
    assert facts["batches"]["states"] == ["in_progress", "ended", "canceling"]
    assert facts["results_by_path"]["results"] == ["ask-1", "ask-2"]
    file = {"id": anthropic_api.FILE_ID, "listed": [anthropic_api.FILE_ID], "same": True}
    assert facts["files"] == file | {"deleted": anthropic_api.FILE_ID}


async def test_a_stream_that_breaks_off_raises(pair: Pair) -> None:
    """Never a torso that looks like a success."""
    for case in ("cut", "reset"):
        assert "returned" not in pair.relayed.facts[case]
        assert pair.relayed.facts[case]["raised"]


async def test_the_apis_errors_are_raised_as_such(pair: Pair) -> None:
    """With their status and the API's own words."""
    for case, status, text in (
        ("invalid", 400, "max_tokens: must be at least 1"),
        ("overloaded", 529, "Overloaded"),
    ):
        facts = pair.relayed.facts[case]
        assert facts["status"] == status
        assert text in str(facts["message"])


async def test_whoever_leaves_ends_the_call(pair: Pair) -> None:
    """Hanging up within a stream and running out of patience both reach the API."""
    assert pair.relayed.facts["leave"] == {"first": "message_start"}
    assert "Timeout" in str(pair.relayed.facts["silence"]["raised"])
    assert len(pair.relayed.left) == len(pair.direct.left) == 2


async def test_the_relay_logs_each_call(pair: Pair) -> None:
    """Operation, status and outcome, a retry as a call of its own."""
    assert pair.calls == [call for calls in CALLS.values() for call in calls]


async def test_tokens_are_counted_exactly(pair: Pair) -> None:
    """What the API reported of all calls together, also of those that broke off."""
    # Six answers with all of it; two that broke off and one that was left, with what they began
    # with: 1 token of output. Asked twice, refused once: that costs nothing.
    whole, torn = 6, 3
    assert pair.tokens == {
        (MODEL, "input"): 25 * (whole + torn),
        (MODEL, "cache_read"): 7 * (whole + torn),
        (MODEL, "cache_write_unknown"): 3 * (whole + torn),
        (MODEL, "output"): 4 * 4 + 9 + 1 + 1 * torn,
    }


@pytest.fixture(params=CLIENTS, ids=str)
def client(request: pytest.FixtureRequest) -> Client:
    """One version of the SDK."""
    assert isinstance(request.param, Client)
    return request.param


async def test_what_relay_env_prints_is_all_that_it_needs(
    client: Client, relay: ContainedRelay, provider: Provider
) -> None:
    """With these variables and no argument it comes through the relay."""
    variables = dotenv_values(stream=StringIO(await told(relay, client.api, client.api)))
    environment = {name: value for name, value in variables.items() if value}
    provider.forget()
    facts = await client.start(environment, "-", "-", "message")
    assert part(facts["message"], "answer", "content", 0, "text") == "The answer is 42."
    assert len(provider.requests) == 1


async def test_a_wrong_token_is_an_error_at_once(
    client: Client, provider: Provider, relay: ContainedRelay
) -> None:
    """It says what to do, and is tried once."""
    await relay.forget_calls()
    run = await through(relay, client, provider, ["retried"], token=OTHER_TOKEN)
    facts = run.facts["retried"]
    assert (facts["raised"], facts["status"]) == ("AuthenticationError", 401)
    assert "Give the agent the token that `relay env` shows." in str(facts["message"])
    assert run.requests == []
    (line,) = await relay.log.calls()
    assert (line["status"], line["outcome"], line["reason"]) == (401, "rejected", "token")


async def test_a_credential_that_is_not_there_is_an_error_at_once(
    client: Client, provider: Provider, relay: ContainedRelay
) -> None:
    """The five retries that the client would make of a 503 are not made: they mend nothing."""
    await relay.forget_calls()
    run = await through(relay, client, provider, ["retried"], name="unready")
    facts = run.facts["retried"]
    assert (facts["raised"], facts["status"]) in UNAVAILABLE
    assert "no credential" in str(facts["message"])
    assert run.requests == []
    assert len(await relay.log.calls()) == 1


async def test_an_upstream_that_is_away_is_an_error_that_says_so(
    client: Client, provider: Provider, relay: ContainedRelay
) -> None:
    """A user reads what to look at."""
    run = await through(relay, client, provider, ["away"], name="away")
    facts = run.facts["away"]
    assert (facts["raised"], facts["status"]) == ("InternalServerError", 502)
    assert "The relay cannot reach its upstream." in str(facts["message"])


async def test_batch_results_are_asked_for_past_the_relay(
    client: Client, provider: Provider, relay: ContainedRelay
) -> None:
    """A known limit: the SDK goes to the absolute address that a batch names, with its token.

    By their path they come through the relay, as ``results_by_path`` above shows.
    """
    assert (await directly(client, provider, ["results"])).facts["results"]["returned"]
    run = await through(relay, client, provider, ["results"])
    facts: Facts = run.facts["results"]
    assert (facts["raised"], facts["status"]) == ("AuthenticationError", 401)
    batch, results = run.requests
    assert credentials_in(batch) == [f"x-api-key: {KEY}"]
    assert results.target.endswith(b"/results")
    assert KEY not in str(credentials_in(results))
