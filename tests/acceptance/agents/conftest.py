"""A user with the real agents, whose shell is full of keys."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.acceptance.agents.programs import programs
from tests.acceptance.sdks.opencode import PLUGINS, REGISTRY
from tests.acceptance.sdks.provider import Provider, running_provider
from tests.harness.configuration import Config, both_relays
from tests.harness.secrets import KEY, OAUTH, OPENAI_KEY, TOKEN
from tests.harness.upstream import running_upstream
from tests.integration.test_run import Run

KEYS = {
    "ANTHROPIC_API_KEY": KEY,
    "ANTHROPIC_AUTH_TOKEN": KEY,
    "CLAUDE_CODE_OAUTH_TOKEN": OAUTH,
    "OPENAI_API_KEY": OPENAI_KEY,
    "MY_KEY": KEY,
    "MY_TOKEN": TOKEN,
}


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def shared_provider() -> AsyncIterator[Provider]:
    """Both APIs at the end of the line."""
    async with running_provider() as running:
        yield running


@pytest.fixture
def provider(shared_provider: Provider) -> Provider:
    """The APIs with an empty record."""
    shared_provider.forget()
    return shared_provider


@pytest.fixture
def configured(provider: Provider) -> Config:
    """What makes it a configuration with both APIs, and secrets from the user's variables."""
    both = both_relays(provider.upstream.port)
    grants = [{"name": "anthropic", "source": {"env": "MY_KEY"}}, both["grants"][1]]
    return both | {
        "grants": grants,
        "claude": {"base_url": provider.url},
        "clients": [{"name": "agent", "token": {"env": "MY_TOKEN"}}],
    }


@pytest_asyncio.fixture(loop_scope="session")
async def user(provider: Provider, tmp_path: Path) -> AsyncIterator[Run]:
    """A user's folder; at the end no agent has tried to reach anything but the relay.

    Each agent leaves a mark where it was started.
    """
    run = Run(tmp_path)
    async with running_upstream() as outside:
        outside.answer_with(b"HTTP/1.1 403 X\r\ncontent-length: 0\r\n\r\n")
        proxy = f"http://127.0.0.1:{outside.port}"
        run.environment = KEYS | REGISTRY
        run.environment |= {"HTTP_PROXY": proxy, "HTTPS_PROXY": proxy, "TERM": "xterm"}
        for name, program in programs().items():
            mark = tmp_path / "started"
            run.program(name, f"#!/bin/sh\n: > '{mark}'\nexec '{program}' \"$@\"\n")
        yield run
        assert {request.start for request in outside.requests} <= {PLUGINS}
    assert provider.faults == []
