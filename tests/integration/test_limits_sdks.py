"""What the SDKs of Anthropic and OpenAI make of a limit that is reached: at once, and why."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anthropic
import openai
import pytest

from tests.harness.configuration import Config, both_relays, configuration
from tests.harness.messages import OK, request
from tests.harness.relay import LocalRelay, running_relay
from tests.harness.secrets import TOKEN
from tests.harness.upstream import Upstream

Ask = Callable[[LocalRelay], object]


def ask_anthropic(relay: LocalRelay) -> object:
    """Ask for a message; it tries again where it may."""
    url = f"http://127.0.0.1:{relay.port}/relay/anthropic"
    with anthropic.Anthropic(base_url=url, api_key=TOKEN, max_retries=2) as client:
        return client.messages.create(model="m", max_tokens=1, messages=[])


def ask_openai(relay: LocalRelay) -> object:
    """Ask for a completion, in the same way."""
    url = f"http://127.0.0.1:{relay.port}/relay/openai/v1"
    with openai.OpenAI(base_url=url, api_key=TOKEN, max_retries=2) as client:
        return client.chat.completions.create(model="m", messages=[])


def limited(upstream: Upstream, **limit: object) -> Config:
    """Return a configuration with a limit of all clients."""
    return configuration(upstream.port, limits=[limit], **both_relays(upstream.port))


@pytest.fixture
async def stopped(upstream: Upstream, tmp_path: Path) -> AsyncIterator[LocalRelay]:
    """A relay that lets nobody spend anything."""
    async with running_relay(tmp_path, limited(upstream, usd=0, per="day")) as relay:
        yield relay


@pytest.mark.parametrize(
    ("ask", "error", "status"),
    [(ask_anthropic, anthropic.APIStatusError, 402), (ask_openai, openai.BadRequestError, 400)],
)
async def test_a_limit_is_raised_at_once(
    stopped: LocalRelay, ask: Ask, error: type[Exception], status: int
) -> None:
    """With the relay's message, and without another try."""
    with pytest.raises(error, match=r"The limit of \$0\.00 per day for all clients") as raised:
        await asyncio.to_thread(ask, stopped)
    assert raised.value.status_code == status  # type: ignore[attr-defined]  # both have it
    assert await stopped.samples("relay_rejections_total", "reason") == {("limit",): 1}


@pytest.mark.parametrize("ask", [ask_anthropic, ask_openai])
async def test_a_place_is_waited_for(upstream: Upstream, tmp_path: Path, ask: Ask) -> None:
    """They try again, after the second that they are told."""
    async with running_relay(tmp_path, limited(upstream, at_once=1)) as relay:
        agent = await relay.agent()
        await agent.send(request())
        caller, _ = await upstream.called()
        asking = asyncio.create_task(asyncio.to_thread(ask, relay))
        while not await relay.samples("relay_rejections_total", "reason"):
            await relay.log.more()
        upstream.answer_with(OK)
        await caller.send(OK)
        await agent.answer()
        caller.leave()
        await asking
        assert await relay.samples("relay_rejections_total", "reason") == {("limit",): 1}
