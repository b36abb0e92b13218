"""OpenAI's SDKs must not notice that there is a relay, nor the API that they come through one.

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
from tests.acceptance.sdks import openai_api
from tests.acceptance.sdks.provider import Provider, credentials_in
from tests.acceptance.sdks.runs import Client, Pair, as_sent, part, side_by_side, through, told
from tests.harness.secrets import OPENAI_KEY, OTHER_TOKEN

pytestmark = pytest.mark.asyncio(loop_scope="session")

CLIENTS: Final = [
    Client(language, "openai", generation)
    for language in ("python", "typescript")
    for generation in ("current", "previous")
]
MODEL: Final = "gpt-5.5"
ANSWER: Final = "".join(openai_api.WORDS)

# What a 503 is to one SDK or the other.
UNAVAILABLE: Final = (("InternalServerError", 503), ("ServiceUnavailableError", 503))
# Case by case, what the relay's log says of its calls.
CALLS: Final[dict[str, list[tuple[str, int, str]]]] = {
    "chat": [("chat_completions", 200, "ok")],
    "chat_stream": [("chat_completions", 200, "ok")],
    "chat_stream_bare": [("chat_completions", 200, "ok")],
    "chat_tools": [("chat_completions", 200, "ok")] * 2,
    "response": [("responses", 200, "ok")],
    "response_stream": [("responses", 200, "ok")],
    "response_tools": [("responses", 200, "ok")] * 2,
    "models": [("models", 200, "ok")] * 2,
    "embeddings": [("embeddings", 200, "ok")],
    "files": [("files", 200, "ok")] * 4,
    "limited": [("responses", 429, "upstream_error"), ("responses", 200, "ok")],
    "invalid": [("responses", 400, "upstream_error")],
    "overloaded": [("chat_completions", 529, "upstream_error")],
    "chat_cut": [("chat_completions", 200, "truncated")],
    "response_cut": [("responses", 200, "truncated")],
    "reset": [("responses", 200, "truncated")],
    "leave": [("responses", 200, "client_abort")],
    "silence": [("responses", 0, "client_abort")],
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
    """One header with the real key."""
    for request in pair.relayed.requests:
        assert credentials_in(request) == [f"authorization: Bearer {OPENAI_KEY}"]
    assert pair.relayed.faults == []


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


async def test_a_stream_that_breaks_off_raises(pair: Pair) -> None:
    """Never a torso that looks like a success."""
    for case in ("chat_cut", "response_cut", "reset"):
        assert "returned" not in pair.relayed.facts[case]
        assert pair.relayed.facts[case]["raised"]


async def test_the_apis_errors_are_raised_as_such(pair: Pair) -> None:
    """With their status and the API's own words."""
    for case, status, text in (
        ("invalid", 400, "Invalid value for 'max_tokens'."),
        ("overloaded", 529, "The engine is currently overloaded."),
    ):
        facts = pair.relayed.facts[case]
        assert facts["status"] == status
        assert text in str(facts["message"])


async def test_whoever_leaves_ends_the_call(pair: Pair) -> None:
    """Hanging up within a stream and running out of patience both reach the API."""
    assert pair.relayed.facts["leave"] == {"first": "response.created"}
    assert "Timeout" in str(pair.relayed.facts["silence"]["raised"])
    assert len(pair.relayed.left) == len(pair.direct.left) == 2


async def test_the_relay_logs_each_call(pair: Pair) -> None:
    """Operation, status and outcome, a retry as a call of its own."""
    assert pair.calls == [call for calls in CALLS.values() for call in calls]


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
    facts = await client.start(environment, "-", "-", "chat")
    assert part(facts["chat"], "answer", "choices", 0, "message", "content") == ANSWER
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
    run = await through(relay, client, provider, ["retried"], name="openai-unready")
    facts = run.facts["retried"]
    assert (facts["raised"], facts["status"]) in UNAVAILABLE
    assert "no credential" in str(facts["message"])
    assert run.requests == []
    assert len(await relay.log.calls()) == 1


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


async def test_an_upstream_that_is_away_is_an_error_that_says_so(
    client: Client, provider: Provider, relay: ContainedRelay
) -> None:
    """A user reads what to look at."""
    run = await through(relay, client, provider, ["away"], name="openai-away")
    facts = run.facts["away"]
    assert (facts["raised"], facts["status"]) == ("InternalServerError", 502)
    assert "The relay cannot reach its upstream." in str(facts["message"])
