"""SDKs must not notice that there is a relay, nor the API that they come through one.

Each version makes the same calls straight to an imitation of its API and through the relay's
image; what it hears and what is heard of it are compared.
"""

from __future__ import annotations

from io import StringIO
from typing import Final

import pytest
from dotenv import dotenv_values

from tests.acceptance.container import ContainedRelay
from tests.acceptance.sdks import openai_api
from tests.acceptance.sdks.provider import Provider, credentials_in
from tests.acceptance.sdks.runs import CASES, SDKS, Client, Pair, as_sent, part, through, told
from tests.harness.secrets import KEY, OPENAI_KEY, OTHER_TOKEN

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.parametrize("client", SDKS.values(), ids=SDKS),
]

CREDENTIALS: Final = {
    "anthropic": f"x-api-key: {KEY}",
    "openai": f"authorization: Bearer {OPENAI_KEY}",
}
ERRORS: Final = {
    "anthropic": ("max_tokens: must be at least 1", "Overloaded"),
    "openai": ("Invalid value for 'max_tokens'.", "The engine is currently overloaded."),
}
FIRST: Final = {"anthropic": "message_start", "openai": "response.created"}
ANSWERS: Final = {
    "anthropic": ("message", ("content", 0, "text"), "The answer is 42."),
    "openai": ("chat", ("choices", 0, "message", "content"), "".join(openai_api.WORDS)),
}
"""A case, and where in its answer is what."""
# What a 503 is to one SDK or the other.
UNAVAILABLE: Final = (("InternalServerError", 503), ("ServiceUnavailableError", 503))


def named(client: Client, name: str) -> str:
    """Return what the relay for its API is called that serves less than others."""
    return name if client.api == "anthropic" else f"{client.api}-{name}"


async def test_it_hears_what_it_would_hear_without_a_relay(pair: Pair) -> None:
    """Answers, errors and their messages are the same; only a reset becomes a plain end."""
    direct, relayed = dict(pair.direct.facts), dict(pair.relayed.facts)
    assert set(direct) == {"version", *CASES[pair.client.api]}
    direct.pop("reset")
    relayed.pop("reset")
    assert relayed == direct


async def test_the_api_hears_what_it_would_hear_without_a_relay(pair: Pair) -> None:
    """Every byte of the bodies and every header is the same, but for the credential's."""
    assert len(pair.direct.requests) == sum(map(len, CASES[pair.client.api].values()))
    relayed = [as_sent(request) for request in pair.relayed.requests]
    assert relayed == [as_sent(request) for request in pair.direct.requests]


async def test_the_api_gets_the_credential_and_never_the_token(pair: Pair) -> None:
    """One header with the real key, whichever way the SDK sent the token."""
    for request in pair.relayed.requests:
        assert credentials_in(request) == [CREDENTIALS[pair.client.api]]
    assert pair.relayed.faults == []


async def test_a_stream_that_breaks_off_raises(pair: Pair) -> None:
    """Never a torso that looks like a success."""
    torn = [name for name, log in CASES[pair.client.api].items() if log[0][2] == "truncated"]
    assert "reset" in torn
    for case in torn:
        assert "returned" not in pair.relayed.facts[case]
        assert pair.relayed.facts[case]["raised"]


async def test_the_apis_errors_are_raised_as_such(pair: Pair) -> None:
    """With their status and the API's own words."""
    cases = (("invalid", 400), ("overloaded", 529))
    for (case, status), text in zip(cases, ERRORS[pair.client.api], strict=True):
        facts = pair.relayed.facts[case]
        assert facts["status"] == status
        assert text in str(facts["message"])


async def test_whoever_leaves_ends_the_call(pair: Pair) -> None:
    """Hanging up within a stream and running out of patience both reach the API."""
    assert pair.relayed.facts["leave"] == {"first": FIRST[pair.client.api]}
    assert "Timeout" in str(pair.relayed.facts["silence"]["raised"])
    assert len(pair.relayed.left) == len(pair.direct.left) == 2


async def test_the_relay_logs_each_call(pair: Pair) -> None:
    """Operation, status and outcome, a retry as a call of its own."""
    assert pair.calls == [call for calls in CASES[pair.client.api].values() for call in calls]


async def test_what_relay_env_prints_is_all_that_it_needs(
    client: Client, relay: ContainedRelay, provider: Provider
) -> None:
    """With these variables and no argument it comes through the relay."""
    variables = dotenv_values(stream=StringIO(await told(relay, client.api, client.api)))
    environment = {name: value for name, value in variables.items() if value}
    case, where, text = ANSWERS[client.api]
    provider.forget()
    facts = await client.start(environment, "-", "-", case)
    assert part(facts[case], "answer", *where) == text
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
    run = await through(relay, client, provider, ["retried"], name=named(client, "unready"))
    facts = run.facts["retried"]
    assert (facts["raised"], facts["status"]) in UNAVAILABLE
    assert "no credential" in str(facts["message"])
    assert run.requests == []
    assert len(await relay.log.calls()) == 1


async def test_an_upstream_that_is_away_is_an_error_that_says_so(
    client: Client, provider: Provider, relay: ContainedRelay
) -> None:
    """A user reads what to look at."""
    run = await through(relay, client, provider, ["away"], name=named(client, "away"))
    facts = run.facts["away"]
    assert (facts["raised"], facts["status"]) == ("InternalServerError", 502)
    assert "The relay cannot reach its upstream." in str(facts["message"])
