"""The SDKs of Anthropic and OpenAI, which must not notice that there is a relay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import anthropic
import openai
import pytest
import pytest_asyncio

from tests.harness.relay import RelayProcess, relay_process
from tests.harness.secrets import KEY, OPENAI_KEY, TOKEN
from tests.headroom import Exchange, Headroom, running_headroom
from tests.headroom.answers import GREETING

Result = TypeVar("Result")

MODEL = "claude-test"
GPT = "gpt-test"
BIG = "a" * 300_000
LOOPBACK = {"RELAY_LISTEN": "127.0.0.1:0", "RELAY_ADMIN": "127.0.0.1:0", "RELAY_TOKEN": TOKEN}


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_headroom() -> AsyncIterator[Headroom]:
    """A stand-in for the Headroom proxy."""
    async with running_headroom() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_relay(
    shared_headroom: Headroom, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RelayProcess]:
    """A relay with the shortest configuration there is."""
    text = f"grants: [anthropic]\nclaude:\n  base_url: {shared_headroom.url}\n"
    environment = LOOPBACK | {"ANTHROPIC_API_KEY": KEY}
    async with relay_process(tmp_path_factory.mktemp("relay"), text, environment) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_openai_relay(
    shared_headroom: Headroom, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RelayProcess]:
    """A relay for OpenAI's API."""
    text = f"grants: [openai]\nrelays:\n  openai: {{url: {shared_headroom.url}}}\n"
    environment = LOOPBACK | {"OPENAI_API_KEY": OPENAI_KEY}
    async with relay_process(tmp_path_factory.mktemp("relay"), text, environment) as running:
        yield running


@pytest.fixture
def headroom(shared_headroom: Headroom) -> Headroom:
    """The stand-in, with an empty record."""
    shared_headroom.record.clear()
    return shared_headroom


@pytest_asyncio.fixture(loop_scope="module")
async def relay(shared_relay: RelayProcess) -> RelayProcess:
    """The relay, with an empty log."""
    await shared_relay.forget_calls()
    return shared_relay


@pytest_asyncio.fixture(loop_scope="module")
async def openai_relay(shared_openai_relay: RelayProcess) -> RelayProcess:
    """The relay for OpenAI's API, with an empty log."""
    await shared_openai_relay.forget_calls()
    return shared_openai_relay


async def in_thread(work: Callable[[], Result]) -> Result:
    """Run what blocks beside the event loop, on which the stand-in runs."""
    async with asyncio.timeout(20):
        return await asyncio.to_thread(work)


def claude(relay: RelayProcess, *, retries: int = 0) -> anthropic.Anthropic:
    """Return the SDK as an agent has it."""
    url = f"http://127.0.0.1:{relay.port}/relay/anthropic"
    return anthropic.Anthropic(base_url=url, api_key=TOKEN, max_retries=retries)


def gpt(relay: RelayProcess, *, retries: int = 0) -> openai.OpenAI:
    """Return the other SDK as an agent has it."""
    url = f"http://127.0.0.1:{relay.port}/relay/openai/v1"
    return openai.OpenAI(base_url=url, api_key=TOKEN, max_retries=retries)


def check_credential(exchange: Exchange, header: str, value: str) -> None:
    """See that the upstream got the credential, and never the token."""
    values = [text for name, text in exchange.headers if name.lower() == header]
    assert values == [value]
    assert TOKEN not in repr(exchange.headers)


async def test_anthropic_messages(relay: RelayProcess, headroom: Headroom) -> None:
    """A message comes back as the upstream wrote it."""

    def ask() -> str:
        with claude(relay) as client:
            message = client.messages.create(
                model=MODEL, max_tokens=100, messages=[{"role": "user", "content": BIG}]
            )
        (block,) = message.content
        assert block.type == "text"
        assert message.usage.output_tokens > 0
        return block.text

    assert (await in_thread(ask)).strip() == GREETING
    (exchange,) = headroom.record.exchanges
    check_credential(exchange, "x-api-key", KEY)
    assert exchange.routed_to == "anthropic"
    (line,) = await relay.log.calls()
    assert (line["outcome"], line["operation"], line["client"]) == ("ok", "messages", "agent")


async def test_anthropic_stream(relay: RelayProcess, headroom: Headroom) -> None:
    """A stream arrives event by event, and ends whole."""

    def ask() -> str:
        with claude(relay) as client:
            messages: list[anthropic.types.MessageParam] = [{"role": "user", "content": "Hello"}]
            with client.messages.stream(model=MODEL, max_tokens=100, messages=messages) as stream:
                text = "".join(stream.text_stream)
            assert stream.get_final_message().stop_reason == "end_turn"
        return text

    assert (await in_thread(ask)).strip() == GREETING
    check_credential(headroom.record.exchanges[0], "x-api-key", KEY)


async def test_anthropic_bearer(relay: RelayProcess, headroom: Headroom) -> None:
    """The token counts as ANTHROPIC_AUTH_TOKEN too, which goes as a bearer."""

    def ask() -> int:
        url = f"http://127.0.0.1:{relay.port}/relay/anthropic"
        with anthropic.Anthropic(base_url=url, auth_token=TOKEN, max_retries=0) as client:
            return client.messages.count_tokens(
                model=MODEL, messages=[{"role": "user", "content": "Hello"}]
            ).input_tokens

    assert await in_thread(ask) > 0
    (exchange,) = headroom.record.exchanges
    check_credential(exchange, "x-api-key", KEY)
    assert exchange.header("authorization") is None


async def test_anthropic_models(relay: RelayProcess, headroom: Headroom) -> None:
    """Lists work as well."""

    def ask() -> int:
        with claude(relay) as client:
            return len(list(client.models.list()))

    assert await in_thread(ask) > 0
    assert headroom.record.exchanges[0].routed_to == "anthropic"


async def test_anthropic_async(relay: RelayProcess, headroom: Headroom) -> None:
    """The asynchronous client streams the same."""
    url = f"http://127.0.0.1:{relay.port}/relay/anthropic"
    async with anthropic.AsyncAnthropic(base_url=url, api_key=TOKEN, max_retries=0) as client:
        calls: list[Awaitable[str]] = [_stream(client) for _ in range(5)]
        texts = await asyncio.gather(*calls)
    assert {text.strip() for text in texts} == {GREETING}


async def _stream(client: anthropic.AsyncAnthropic) -> str:
    messages: list[anthropic.types.MessageParam] = [{"role": "user", "content": "Hello"}]
    async with client.messages.stream(model=MODEL, max_tokens=100, messages=messages) as stream:
        return "".join([text async for text in stream.text_stream])


async def test_anthropic_raises_for_a_torso(relay: RelayProcess, headroom: Headroom) -> None:
    """A stream that breaks off is an error, never a short success."""
    headroom.play_next("truncated")

    def ask() -> None:
        messages: list[anthropic.types.MessageParam] = [{"role": "user", "content": "Hello"}]
        with (
            claude(relay) as client,
            client.messages.stream(model=MODEL, max_tokens=100, messages=messages) as stream,
        ):
            for _ in stream:
                pass

    with pytest.raises(Exception, match="incomplete chunked read"):
        await in_thread(ask)
    (line,) = await relay.log.calls()
    assert line["outcome"] == "truncated"


@pytest.mark.parametrize(
    ("mode", "error"),
    [
        ("401", anthropic.AuthenticationError),
        ("429", anthropic.RateLimitError),
        ("500", anthropic.InternalServerError),
        ("529", anthropic.InternalServerError),
        ("reset", anthropic.InternalServerError),
    ],
)
async def test_anthropic_raises_what_the_upstream_says(
    relay: RelayProcess, headroom: Headroom, mode: str, error: type[anthropic.APIStatusError]
) -> None:
    """Errors have their type, and the relay's own are among them."""
    arguments = {"before": "head"} if mode == "reset" else {}
    headroom.play_next(mode, **arguments)

    def ask() -> None:
        with claude(relay) as client:
            client.messages.create(
                model=MODEL, max_tokens=100, messages=[{"role": "user", "content": "Hello"}]
            )

    with pytest.raises(error) as caught:
        await in_thread(ask)
    assert caught.value.status_code == (502 if mode == "reset" else int(mode))
    assert len(headroom.record.exchanges) == 1


async def test_anthropic_does_not_retry_a_wrong_token(
    relay: RelayProcess, headroom: Headroom
) -> None:
    """The answer says that a retry mends nothing: one call, one error."""

    def ask() -> None:
        url = f"http://127.0.0.1:{relay.port}/relay/anthropic"
        with anthropic.Anthropic(base_url=url, api_key="relay-wrong", max_retries=5) as client:
            client.messages.create(
                model=MODEL, max_tokens=100, messages=[{"role": "user", "content": "Hello"}]
            )

    with pytest.raises(anthropic.AuthenticationError, match="relay env"):
        await in_thread(ask)
    assert headroom.record.exchanges == []
    assert len(await relay.log.calls()) == 1


async def test_anthropic_does_not_retry_a_missing_credential(
    headroom: Headroom, tmp_path: Path
) -> None:
    """The SDK retries a 503, unless the answer says not to."""
    text = f"grants: [anthropic]\nclaude:\n  base_url: {headroom.url}\n"
    async with relay_process(tmp_path, text, LOOPBACK) as without:

        def ask() -> None:
            with claude(without, retries=5) as client:
                client.messages.create(
                    model=MODEL, max_tokens=100, messages=[{"role": "user", "content": "Hello"}]
                )

        with pytest.raises(anthropic.InternalServerError, match="no credential") as caught:
            await in_thread(ask)
        assert caught.value.status_code == 503
        assert len(await without.log.calls()) == 1


async def test_anthropic_retries_by_itself(relay: RelayProcess, headroom: Headroom) -> None:
    """The relay does not retry a 529; the SDK does."""
    headroom.play_next("529")

    def ask() -> str:
        with claude(relay, retries=1) as client:
            message = client.messages.create(
                model=MODEL, max_tokens=100, messages=[{"role": "user", "content": "Hello"}]
            )
        return message.model

    assert await in_thread(ask) == MODEL
    assert len(headroom.record.exchanges) == 2
    lines = await relay.log.calls(2)
    assert [line["status"] for line in lines] == [529, 200]


async def test_openai_chat(openai_relay: RelayProcess, headroom: Headroom) -> None:
    """A completion comes back, whole and streamed."""

    def ask() -> tuple[str | None, str]:
        with gpt(openai_relay) as client:
            messages: list[openai.types.chat.ChatCompletionUserMessageParam] = [
                {"role": "user", "content": "Hello"}
            ]
            whole = client.chat.completions.create(model=GPT, messages=messages)
            with client.chat.completions.create(
                model=GPT, messages=messages, stream=True
            ) as stream:
                pieces = [c.choices[0].delta.content or "" for c in stream if c.choices]
        return whole.choices[0].message.content, "".join(pieces)

    whole, streamed = await in_thread(ask)
    assert whole is not None
    assert whole.strip() == streamed.strip() == GREETING
    for exchange in headroom.record.exchanges:
        check_credential(exchange, "authorization", f"Bearer {OPENAI_KEY}")
        assert exchange.routed_to == "openai"


async def test_openai_responses(openai_relay: RelayProcess, headroom: Headroom) -> None:
    """The newer API, whole and streamed."""

    def ask() -> tuple[str, str]:
        with gpt(openai_relay) as client:
            whole = client.responses.create(model=GPT, input="Hello")
            with client.responses.create(model=GPT, input="Hello", stream=True) as stream:
                pieces = [e.delta for e in stream if e.type == "response.output_text.delta"]
        return whole.output_text, "".join(pieces)

    whole, streamed = await in_thread(ask)
    assert whole.strip() == streamed.strip() == GREETING
    assert len(headroom.record.exchanges) == 2


async def test_openai_embeddings_and_models(openai_relay: RelayProcess, headroom: Headroom) -> None:
    """The rest of what the relay allows."""

    def ask() -> tuple[int, int]:
        with gpt(openai_relay) as client:
            embedding = client.embeddings.create(model=GPT, input="Hello", encoding_format="float")
            return len(embedding.data[0].embedding), len(list(client.models.list()))

    dimensions, models = await in_thread(ask)
    assert dimensions > 0
    assert models > 0


async def test_openai_async(openai_relay: RelayProcess, headroom: Headroom) -> None:
    """The asynchronous client streams the same."""
    url = f"http://127.0.0.1:{openai_relay.port}/relay/openai/v1"
    async with openai.AsyncOpenAI(base_url=url, api_key=TOKEN, max_retries=0) as client:
        stream = await client.chat.completions.create(
            model=GPT, messages=[{"role": "user", "content": "Hello"}], stream=True
        )
        pieces = [c.choices[0].delta.content or "" async for c in stream if c.choices]
    assert "".join(pieces).strip() == GREETING


async def test_openai_raises_for_the_relays_own_error(
    openai_relay: RelayProcess, headroom: Headroom
) -> None:
    """The relay's errors have the shape that the SDK reads, and are not retried in vain."""

    def ask() -> None:
        url = f"http://127.0.0.1:{openai_relay.port}/relay/openai/v1"
        with openai.OpenAI(base_url=url, api_key="relay-wrong", max_retries=5) as client:
            client.chat.completions.create(
                model=GPT, messages=[{"role": "user", "content": "Hello"}]
            )

    with pytest.raises(openai.AuthenticationError) as caught:
        await in_thread(ask)
    assert caught.value.type == "authentication_error"
    assert headroom.record.exchanges == []
    assert len(await openai_relay.log.calls()) == 1
