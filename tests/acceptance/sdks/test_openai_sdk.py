"""What OpenAI's SDKs hear through the relay, and what it counts of their calls."""

from __future__ import annotations

from typing import Final

import pytest

from tests.acceptance.container import ContainedRelay
from tests.acceptance.sdks import openai_api
from tests.acceptance.sdks.provider import Provider
from tests.acceptance.sdks.runs import (
    SDKS,
    Client,
    Pair,
    part,
    through,
)

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.parametrize(
        "client", [sdk for sdk in SDKS.values() if sdk.api == "openai"], ids=str
    ),
]

MODEL: Final = "gpt-5.5"
ANSWER: Final = "".join(openai_api.WORDS)


async def test_chat_completions_are_whole(pair: Pair) -> None:
    """As JSON and as a stream, with the usage where it was asked for."""
    facts = pair.relayed.facts
    assert part(facts["chat"], "answer", "choices", 0, "message", "content") == ANSWER
    assert facts["chat"]["request_id"] == dict([openai_api.REQUEST_ID])["x-request-id"]
    for case, has_usage in (("chat_stream", True), ("chat_stream_bare", False)):
        chunks = part(facts[case], "chunks")
        assert isinstance(chunks, list)
        choices = [chunk["choices"] for chunk in chunks]
        assert "".join(each[0]["delta"].get("content") or "" for each in choices if each) == ANSWER
        assert (choices[-1] == []) is has_usage


async def test_responses_are_whole(pair: Pair) -> None:
    """As JSON and as a stream, to its last event."""
    facts = pair.relayed.facts
    assert facts["response"]["text"] == facts["limited"]["text"] == ANSWER
    events = part(facts["response_stream"], "events")
    assert isinstance(events, list)
    assert events.count("response.output_text.delta") == len(openai_api.WORDS)
    assert (events[0], events[-1]) == ("response.created", "response.completed")


async def test_its_tools_take_both_turns(pair: Pair) -> None:
    """The arguments come together from their pieces, and the result reaches the model."""
    chat = pair.relayed.facts["chat_tools"]
    function = {"name": "weather", "arguments": openai_api.CITY}
    assert part(chat, "use", "tool_calls", 0, "function") == function
    assert part(chat, "answer", "choices", 0, "message", "content") == ANSWER
    assert pair.relayed.facts["response_tools"] == function | {"text": ANSWER}


async def test_the_rest_of_the_api_works(pair: Pair) -> None:
    """Models, embeddings and files."""
    facts = pair.relayed.facts
    assert facts["models"] == {"list": ["gpt-5"], "one": "gpt-5"}
    assert facts["embeddings"]["embedding"] == [0.25, -0.5, 0.125]
    file = {"id": openai_api.FILE_ID, "listed": [openai_api.FILE_ID], "same": True}
    assert facts["files"] == file | {"deleted": True}


async def test_tokens_are_counted_exactly(pair: Pair) -> None:
    """What the API reported of all calls together: cached input apart from the rest."""
    # Not reported, so not counted: two chat streams that were not asked for their usage, and
    # streams of either kind that broke off before their last event.
    chats, responses = 3, 5
    assert pair.tokens == {
        (MODEL, "input"): (25 - 7) * (chats + responses),
        (MODEL, "cache_read"): 7 * (chats + responses),
        (MODEL, "output"): 4 * chats + 4 * (responses - 1),  # the call of a tool counts none
        ("text-embedding-3-small", "input"): 25,
    }


async def test_batches_want_a_line_in_the_configuration(
    client: Client, provider: Provider, relay: ContainedRelay
) -> None:
    """They are refused by default, and work where `allow` names them; and no upstream says so."""
    run = await through(relay, client, provider, ["batches"])
    refused = run.facts["batches"]
    assert (refused["raised"], refused["status"]) == ("PermissionDeniedError", 403)
    assert "This path is not allowed for this relay." in str(refused["message"])
    assert run.requests == []
    allowed = await through(relay, client, provider, ["batches"], name="openai-batches")
    states = ["validating", "completed", "cancelling"]
    assert allowed.facts["batches"] == {"returned": {"states": states}}
