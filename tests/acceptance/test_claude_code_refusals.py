"""What a user of Claude Code is shown where the relay itself has to say no, and how soon."""

from __future__ import annotations

import pytest

from relay.errors import CredentialMissing, PathRefused, TokenRefused, UpstreamUnreachable
from tests.acceptance.api import Api
from tests.acceptance.claude import Claude
from tests.acceptance.container import ContainedRelay
from tests.harness.secrets import OTHER_TOKEN, TOKEN

pytestmark = pytest.mark.asyncio(loop_scope="session")

# Ten retries, which is what it does where it may, take three minutes.
AT_ONCE_SECONDS = 30.0
ONE_RETRY = {"ANTHROPIC_AUTH_TOKEN": TOKEN, "CLAUDE_CODE_MAX_RETRIES": "1"}


@pytest.mark.parametrize("variable", ["ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY"])
async def test_a_wrong_token_fails_at_once(
    relay: ContainedRelay, api: Api, claude: Claude, variable: str
) -> None:
    """With the relay's own message, and without a word of logging in somewhere else."""
    session = await claude.run(relay.url(), "Hello?", environment={variable: OTHER_TOKEN})
    assert session.failed
    assert session.seconds < AT_ONCE_SECONDS
    assert session.retries == []
    (shown,) = session.results
    assert TokenRefused.message in shown
    assert "/login" not in shown
    assert await relay.outcomes() == {("rejected", "none"): 1}
    assert api.calls == []


async def test_a_missing_credential_fails_at_once(
    relay: ContainedRelay, api: Api, claude: Claude
) -> None:
    """The message says where it stands what is missing."""
    session = await claude.run(relay.url("unready"), "Hello?")
    assert session.failed
    assert session.seconds < AT_ONCE_SECONDS
    assert session.retries == []
    assert CredentialMissing.message in session.results[0]
    assert await relay.outcomes() == {("no_credential", "none"): 1}
    assert api.calls == []


async def test_an_upstream_that_is_away_is_tried_again_and_then_named(
    relay: ContainedRelay, api: Api, claude: Claude
) -> None:
    """It may come back: so the call may be made again; in the end the message says what to do."""
    session = await claude.run(relay.url("away"), "Hello?", environment=ONE_RETRY)
    assert session.failed
    assert [retry["error_status"] for retry in session.retries] == [502]
    assert UpstreamUnreachable.message in session.results[0]
    assert await relay.outcomes(2) == {("connect_error", "none"): 2}
    assert api.calls == []


async def test_a_relay_that_is_away(api: Api, claude: Claude, nowhere: str) -> None:
    """Nobody is there to say anything; Claude Code says that."""
    session = await claude.run(f"{nowhere}/relay/anthropic", "Hello?", environment=ONE_RETRY)
    assert session.failed
    assert len(session.retries) == 1
    assert "ECONNREFUSED" in session.results[0]
    assert api.calls == []


async def test_a_base_url_with_v1_too_much(relay: ContainedRelay, api: Api, claude: Claude) -> None:
    """What is right for OpenAI's clients is a path too much for Anthropic's."""
    session = await claude.run(f"{relay.url()}/v1", "Hello?")
    assert session.failed
    assert session.seconds < AT_ONCE_SECONDS
    assert PathRefused.message in session.results[0]
    assert await relay.outcomes() == {("rejected", "none"): 1}
    assert api.calls == []


async def test_a_relay_that_does_not_exist(relay: ContainedRelay, api: Api, claude: Claude) -> None:
    """Claude Code takes any 404 for a matter of the model; the log knows better."""
    session = await claude.run(relay.url("antropic"), "Hello?")
    assert session.failed
    assert session.seconds < AT_ONCE_SECONDS
    assert "issue with the selected model" in session.results[0]
    assert {line["status"] for line in await relay.log.calls()} == {404}
    assert (await relay.samples("relay_rejections_total", "reason")).keys() == {("relay",)}
    assert api.calls == []
