"""What Anthropic's SDKs hear through the relay, and what it counts of their calls."""

from __future__ import annotations

from typing import Final

import pytest

from tests.acceptance.container import ContainedRelay
from tests.acceptance.sdks import anthropic_api
from tests.acceptance.sdks.provider import Provider, credentials_in
from tests.acceptance.sdks.runs import (
    SDKS,
    Client,
    Facts,
    Pair,
    directly,
    part,
    through,
)
from tests.harness.secrets import KEY

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.parametrize(
        "client", [sdk for sdk in SDKS.values() if sdk.api == "anthropic"], ids=str
    ),
]

MODEL: Final = anthropic_api.MODEL


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
