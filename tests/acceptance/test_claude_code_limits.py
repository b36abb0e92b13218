"""What a user of Claude Code is shown where a limit is reached: at once, and why."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay.errors import TooManyAtOnce
from tests.acceptance.api import Api
from tests.acceptance.claude import Claude
from tests.harness.configuration import Config, configuration
from tests.harness.messages import request
from tests.harness.relay import running_relay
from tests.harness.secrets import TOKEN
from tests.harness.upstream import Upstream, running_upstream

pytestmark = pytest.mark.asyncio(loop_scope="session")

AT_ONCE_SECONDS = 30.0


def limited(port: int, limit: dict[str, object]) -> Config:
    """Return a configuration with a limit of all clients."""
    return configuration(port, limits=[limit])


@pytest.mark.parametrize(
    ("limit", "told"),
    [
        ({"usd": 0, "per": "day"}, "$0.00 per day for all clients together is reached. It ends at"),
        ({"usd": 0, "per": "session"}, "$0.00 per session is reached. It holds for this session"),
        ({"tokens": 0, "per": "hour"}, "0 tokens per hour for all clients together is reached. It"),
    ],
    ids=["usd-day", "usd-session", "tokens-hour"],
)
async def test_a_limit_that_is_reached_is_shown_at_once(
    upstream: Upstream,
    api: Api,
    claude: Claude,
    tmp_path: Path,
    limit: dict[str, object],
    told: str,
) -> None:
    """With its amount and its end, and without a retry."""
    async with running_relay(tmp_path, limited(upstream.port, limit)) as relay:
        url = f"http://127.0.0.1:{relay.port}/relay/anthropic"
        session = await claude.run(url, "Hello?")
        assert session.failed
        assert session.seconds < AT_ONCE_SECONDS
        assert session.retries == []
        (shown,) = session.results
        assert shown.startswith(f"API Error: 402 The limit of {told}")
        assert await relay.samples("relay_rejections_total", "reason") == {("limit",): 1}
    assert api.calls == []
    assert upstream.requests == []


async def test_a_place_among_the_calls_at_once_is_waited_for(
    api: Api, claude: Claude, tmp_path: Path
) -> None:
    """It tries again after the second that it is told, and names what is wrong in the end."""
    async with (
        running_upstream() as upstream,
        running_relay(tmp_path, limited(upstream.port, {"at_once": 1})) as relay,
    ):
        agent = await relay.agent()
        await agent.send(request())
        await upstream.called()
        environment = {"ANTHROPIC_AUTH_TOKEN": TOKEN, "CLAUDE_CODE_MAX_RETRIES": "1"}
        url = f"http://127.0.0.1:{relay.port}/relay/anthropic"
        session = await claude.run(url, "Hello?", environment=environment)
        assert session.failed
        assert [retry["error_status"] for retry in session.retries] == [429]
        assert TooManyAtOnce.message in session.results[0]
    assert api.calls == []
