"""Claude Code itself through the relay: sessions, tools, and every way to give it the token."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest

from tests.acceptance.api import Api, Call, Usage, says, uses
from tests.acceptance.claude import MODEL, Claude
from tests.acceptance.container import ContainedRelay
from tests.acceptance.sessions import watched
from tests.harness.secrets import KEY, TOKEN

pytestmark = pytest.mark.asyncio(loop_scope="session")

# Made up anew for each session and each message.
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# Of the connection, which is the relay's own: RFC 9110 §7.2 and §7.6.1.
_OF_A_CONNECTION = ("host", "connection")


async def test_a_session_of_several_turns_with_tools(
    relay: ContainedRelay, api: Api, claude: Claude
) -> None:
    """Tools do their work on disk, and every token is counted once."""
    note = claude.project / "note.txt"
    api.plan(
        uses("Write", {"file_path": str(note), "content": "from afar"}, Usage(input=100, output=7)),
        says("I wrote the note.", Usage(input=130, output=5, cache_read=40)),
        uses("Bash", {"command": f"tr a-z A-Z < {note} > {note}.loud"}, Usage(20, 9, 170, 30)),
        uses("mcp__own__weather", {"city": "Paris"}, Usage(20, 9, 200, 0, 11)),
        says("Said it louder.", Usage(input=21, output=4)),
    )
    session = await claude.run(relay.url(), "Write a note.", "Now louder, and the weather?")
    assert session.results == ["I wrote the note.", "Said it louder."]
    assert "".join(session.deltas) == "I wrote the note.Said it louder."
    assert note.read_text() == "from afar"
    assert note.with_name("note.txt.loud").read_text() == "FROM AFAR"
    assert "fair in Paris" in api.messages[-1].prompt
    assert await relay.outcomes(5) == {("ok", "200"): 5}
    assert await relay.samples("relay_tokens_total", "model", "type") == {
        (MODEL, "input"): 291,
        (MODEL, "output"): 34,
        (MODEL, "cache_read"): 410,
        (MODEL, "cache_write_5m"): 30,
        (MODEL, "cache_write_1h"): 11,
    }


async def test_one_query_reads_what_is_there(
    relay: ContainedRelay, api: Api, claude: Claude
) -> None:
    """The SDK's `query()`: a file's content goes up, and the call's session is in the log."""
    (claude.project / "plan.txt").write_text("buy seventeen lemons")
    api.plan(uses("Read", {"file_path": str(claude.project / "plan.txt")}), says("Lemons it is."))
    session = await claude.run(relay.url(), "What is the plan?", way="query")
    assert session.results == ["Lemons it is."]
    assert "buy seventeen lemons" in api.messages[-1].prompt
    ids = {line["session_id"] for line in await relay.log.calls(2)}
    assert ids == {session.of("ResultMessage")[0]["session_id"]}
    assert [call.values("x-claude-code-session-id") for call in api.calls] == [[*ids], [*ids]]


async def test_a_session_calls_nothing_but_the_messages(
    relay: ContainedRelay, api: Api, claude: Claude
) -> None:
    """With what `relay env` sets, that is one path; what it tries elsewhere fails the test."""
    api.plan(says("Hello."))
    await claude.run(relay.url(), "Hello?")
    assert [(call.method, call.target) for call in api.calls] == [
        ("POST", "/v1/messages?beta=true")
    ]


async def test_words_are_shown_while_the_answer_is_still_being_written(
    relay: ContainedRelay, api: Api, claude: Claude
) -> None:
    """The API says no more until the user has seen the first word."""
    await watched(claude, api, relay.url())


@pytest.mark.parametrize(
    ("environment", "settings"),
    [
        ({"ANTHROPIC_AUTH_TOKEN": TOKEN}, {}),
        ({"ANTHROPIC_API_KEY": TOKEN}, {}),
        ({}, {"apiKeyHelper": f"echo {TOKEN}"}),
    ],
    ids=["auth-token", "api-key", "api-key-helper"],
)
async def test_however_the_token_is_given_the_call_is_the_same(
    relay: ContainedRelay,
    api: Api,
    claude: Claude,
    environment: Mapping[str, str],
    settings: dict[str, object],
) -> None:
    """At the end of the line it is what Claude Code would have sent there itself, with the key."""
    api.plan(says("Hello."), says("Hello again."))
    await claude.run(api.url, "Hello?", environment={"ANTHROPIC_API_KEY": KEY})
    claude.settings |= settings
    session = await claude.run(relay.url(), "Hello?", environment=environment)
    assert session.results == ["Hello again."]
    directly, through_the_relay = api.calls
    assert as_sent(through_the_relay) == as_sent(directly)


async def test_a_subscription_is_used_with_its_token(
    relay: ContainedRelay, api: Api, claude: Claude
) -> None:
    """The OAuth beta joins those that Claude Code asks for, once."""
    api.by_oauth = True
    api.plan(says("Hello."))
    session = await claude.run(relay.url("subscription"), "Hello?")
    assert session.results == ["Hello."]
    (betas,) = api.calls[0].values("anthropic-beta")
    names = [name.strip() for name in betas.split(",")]
    assert names.count("oauth-2025-04-20") == 1
    assert "claude-code-20250219" in names


def as_sent(call: Call) -> tuple[str, list[tuple[str, str]], str]:
    """Return all of a call, without chance in it and without what is of one connection."""
    headers = [(name, _UUID.sub("UUID", text)) for name, text in call.headers]
    kept = sorted(pair for pair in headers if pair[0] not in _OF_A_CONNECTION)
    return f"{call.method} {call.target}", kept, _UUID.sub("UUID", call.request.body.decode())
