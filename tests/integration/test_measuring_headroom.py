"""The numbers of calls through the stand-in for Headroom, as a scrape of the process shows them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.harness.configuration import both_relays, configuration
from tests.harness.messages import CHAT, MESSAGES, request
from tests.harness.peer import Answer
from tests.harness.relay import RelayProcess, relay_process
from tests.headroom import Headroom, anthropic, openai, running_headroom
from tests.headroom.answers import WORDS

RESPONSES = "/relay/openai/v1/responses"
MESSAGE_TOKENS = {
    ("claude-test", "input"): anthropic.INPUT_TOKENS,
    ("claude-test", "cache_read"): anthropic.CACHE_READ_TOKENS,
    ("claude-test", "cache_write_unknown"): anthropic.CACHE_CREATION_TOKENS,
    ("claude-test", "output"): len(WORDS),
}
GPT_TOKENS = {
    ("gpt-test", "input"): openai.INPUT_TOKENS - openai.CACHED_TOKENS,
    ("gpt-test", "cache_read"): openai.CACHED_TOKENS,
    ("gpt-test", "output"): len(WORDS),
}


@dataclass
class Stage:
    """A relay in a process of its own before the stand-in."""

    relay: RelayProcess
    headroom: Headroom

    async def ask(self, target: str, *, stream: bool = False, **more: object) -> Answer:
        """Ask as an agent does."""
        model = "claude-test" if target == MESSAGES else "gpt-test"
        body = {"model": model, "stream": stream, "messages": [], "input": "Hi"} | more
        return await self.relay.ask(request(target, body=json.dumps(body).encode()))

    async def tokens(self) -> dict[tuple[str, ...], float]:
        """Return the tokens by model and type."""
        return await self.relay.samples("relay_tokens_total", "model", "type")

    async def missing(self) -> dict[tuple[str, ...], float]:
        """Return what could not be metered, by reason."""
        return await self.relay.samples("relay_usage_missing_total", "reason")


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """Relays for both APIs before one stand-in."""
    async with running_headroom() as headroom:
        config = configuration(headroom.port, **both_relays(headroom.port))
        async with relay_process(tmp_path, config) as relay:
            yield Stage(relay, headroom)


@pytest.mark.parametrize("mode", ["ok", "burst", "gzip"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("target", [MESSAGES, CHAT, RESPONSES])
async def test_tokens_of_the_stand_in_are_exact(
    stage: Stage, target: str, mode: str, *, stream: bool
) -> None:
    """Of every kind of answer: event by event, all at once, and coded."""
    stage.headroom.play_next(mode)
    answer = await stage.ask(target, stream=stream, stream_options={"include_usage": True})
    assert (answer.status, answer.complete) == (200, True)
    assert await stage.relay.outcomes() == {("ok", "200"): 1}
    assert await stage.tokens() == (MESSAGE_TOKENS if target == MESSAGES else GPT_TOKENS)
    assert await stage.missing() == {}
    assert await stage.relay.in_flight() == 0


async def test_usage_that_was_not_asked_for_is_absent(stage: Stage) -> None:
    """The relay does not ask for it in the agent's name."""
    answer = await stage.ask(CHAT, stream=True)
    assert b'"usage"' not in answer.body
    assert await stage.relay.outcomes() == {("ok", "200"): 1}
    assert await stage.missing() == {("absent",): 1}
    assert await stage.tokens() == {}
    (exchange,) = stage.headroom.record.exchanges
    assert not exchange.body.wants_usage


@pytest.mark.parametrize(
    ("mode", "end", "reason"),
    [
        ("error_midstream", ("stream_error", "200"), "truncated"),
        ("truncated", ("truncated", "200"), "truncated"),
        ("reset", ("truncated", "200"), "truncated"),
        ("429", ("upstream_error", "429"), None),
        ("529", ("upstream_error", "529"), None),
        ("502stream", ("upstream_error", "502"), None),
        ("local429", ("upstream_error", "429"), None),
    ],
)
async def test_faults_of_the_stand_in_are_told_apart(
    stage: Stage, mode: str, end: tuple[str, str], reason: str | None
) -> None:
    """Each is an outcome of its own, and says whether its usage is missing."""
    stage.headroom.play_next(mode)
    await stage.ask(MESSAGES, stream=True)
    assert await stage.relay.outcomes() == {end: 1}
    assert await stage.missing() == ({(reason,): 1} if reason else {})
    assert await stage.relay.in_flight() == 0
    begun = {key: count for key, count in MESSAGE_TOKENS.items() if key[1] != "output"}
    expected = begun | {("claude-test", "output"): 1} if reason else {}
    assert await stage.tokens() == expected


@pytest.mark.parametrize(
    ("mode", "kind", "where"),
    [
        ("error_midstream", "api_error", "stream"),
        ("401", "authentication_error", "http"),
        ("429", "rate_limit_error", "http"),
        ("529", "overloaded_error", "http"),
        ("413", "request_too_large", "http"),
        ("502stream", "connection_error", "http"),
        ("local429", "other", "http"),
        ("503text", "other", "http"),
    ],
)
async def test_errors_of_the_stand_in_have_their_type(
    stage: Stage, mode: str, kind: str, where: str
) -> None:
    """The API's own words, and other for Headroom's that have none."""
    stage.headroom.play_next(mode)
    await stage.ask(MESSAGES, stream=True)
    await stage.relay.log.calls()
    errors = await stage.relay.samples("relay_upstream_errors_total", "error_type", "where")
    assert errors == {(kind, where): 1}


async def test_limits_of_the_stand_in_are_shown(stage: Stage) -> None:
    """As its headers state them, by kind."""
    await stage.ask(MESSAGES)
    left = await stage.relay.samples("relay_ratelimit_remaining", "relay", "kind")
    assert left == {
        ("anthropic", "requests"): 3999,
        ("anthropic", "input_tokens"): 1_999_000,
        ("anthropic", "output_tokens"): 399_000,
    }
