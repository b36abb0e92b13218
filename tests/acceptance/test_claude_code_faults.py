"""Claude Code where the API stumbles: it tries again, as it would without the relay."""

from __future__ import annotations

import pytest

from tests.acceptance.api import Api, Plan, breaking, fails, late, says, uses
from tests.acceptance.claude import MODEL, Claude
from tests.acceptance.container import ContainedRelay

pytestmark = pytest.mark.asyncio(loop_scope="session")

ANSWER = says("Here is all of it, at last.")
FIRST_BYTE_SECONDS = 3.5


@pytest.mark.parametrize("status", [500, 529])
async def test_a_failing_api_is_asked_again(
    relay: ContainedRelay, api: Api, claude: Claude, status: int
) -> None:
    """The status is the API's own, and the second call is counted apart from the first."""
    api.plan(fails(status), ANSWER)
    session = await claude.run(relay.url(), "Hello?")
    assert session.results == ["Here is all of it, at last."]
    assert [retry["error_status"] for retry in session.retries] == [status]
    assert await relay.outcomes(2) == {("upstream_error", str(status)): 1, ("ok", "200"): 1}


async def test_a_rate_limit_is_waited_for(relay: ContainedRelay, api: Api, claude: Claude) -> None:
    """For as long as `retry-after` says; by itself Claude Code waits half a second at first."""
    api.plan(fails(429, ("retry-after", "2")), ANSWER)
    session = await claude.run(relay.url(), "Hello?")
    assert session.results == ["Here is all of it, at last."]
    (retry,) = session.retries
    assert retry["error"] == "rate_limit"
    assert retry["retry_delay_ms"] >= 2000
    assert await relay.outcomes(2) == {("upstream_error", "429"): 1, ("ok", "200"): 1}
    assert await relay.samples("relay_upstream_errors_total", "error_type", "where") == {
        ("rate_limit_error", "http"): 1
    }


@pytest.mark.parametrize(
    "broken",
    [
        breaking(ANSWER, "reset", pieces=1),
        breaking(ANSWER, "reset"),
        breaking(ANSWER, "cut"),
        breaking(uses("Bash", {"command": "touch never-to-be-made"}), "reset"),
    ],
    ids=["reset-before-a-word", "reset", "cut", "reset-in-a-tool-call"],
)
async def test_a_stream_that_breaks_off_is_asked_for_again(
    relay: ContainedRelay, api: Api, claude: Claude, broken: Plan
) -> None:
    """Never taken for an answer, and a tool that was half asked for is not used."""
    api.plan(broken, ANSWER)
    session = await claude.run(relay.url(), "Hello?")
    assert session.results == ["Here is all of it, at last."]
    assert len(session.retries) == 1
    assert list(claude.project.iterdir()) == []
    assert await relay.outcomes(2) == {("truncated", "200"): 1, ("ok", "200"): 1}
    # The torso's input was paid for, and as much of its output as had been stated.
    assert await relay.samples("relay_tokens_total", "model", "type") == {
        (MODEL, "input"): 50,
        (MODEL, "output"): 12,
    }


async def test_a_slow_first_byte_is_waited_for(
    relay: ContainedRelay, api: Api, claude: Claude
) -> None:
    """Neither side gives up or asks again while the model thinks."""
    api.plan(late(ANSWER, FIRST_BYTE_SECONDS))
    session = await claude.run(relay.url(), "Hello?")
    assert session.results == ["Here is all of it, at last."]
    assert session.retries == []
    (line,) = await relay.log.calls()
    assert line["outcome"] == "ok"
    assert line["first_byte"] >= FIRST_BYTE_SECONDS
