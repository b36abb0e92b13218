"""A relay's calls through stand-ins that send on as Headroom does, and as a hostile one might."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.harness import FUSE_SECONDS
from tests.harness.hop import (
    AIMLESS,
    StandInChain,
    credential_seen,
    running_api,
    running_stand_ins,
)
from tests.harness.raw_client import Response, ask, connected, event_names
from tests.harness.secrets import KEY, TOKEN
from tests.headroom import Headroom

MESSAGES = "/relay/anthropic/v1/messages"
PROMPT = b'{"model":"claude-test","messages":[{"role":"user","content":"a      b"}]}'
STREAM = PROMPT.replace(b"{", b'{"stream":true,', 1)
AGENT = {"x-api-key": TOKEN, "anthropic-version": "2023-06-01"}


@pytest.fixture
async def chain(tmp_path: Path) -> AsyncIterator[StandInChain]:
    """A relay with one hop."""
    async with running_stand_ins(tmp_path) as running:
        yield running


async def send(
    chain: StandInChain,
    arguments: str = "",
    *,
    mode: str = "forward",
    body: bytes = PROMPT,
    path: str = MESSAGES,
) -> Response:
    """Make a call, in which the hop does as it is told."""
    steering = {"x-standin-mode": mode, "x-standin-args": arguments}
    return await ask(chain.relay, path, AGENT | steering, body)


def statuses(hop: Headroom) -> list[int | None]:
    """Return the status of every leg of a hop's last call."""
    return [leg.status for leg in hop.record.exchanges[-1].legs]


@pytest.mark.parametrize("body", [PROMPT, STREAM])
async def test_api_alone_sees_the_credential(tmp_path: Path, body: bytes) -> None:
    """Two hops in order, each of which makes the prompt shorter; the answer is the API's."""
    settings = replace(AIMLESS, compresses=True)
    async with running_stand_ins(tmp_path, "first", "second", settings=settings) as chain:
        response = await ask(chain.relay, MESSAGES, AGENT, body)
        sizes = [each.record.exchanges[0].body.size for each in (*chain.hops.values(), chain.api)]
        assert response.status == 200
        assert response.complete
        assert response.body == (await ask(chain.api, "/v1/messages", {}, body)).body.replace(
            b"0002", b"0001"
        )
        assert credential_seen(chain.api)[0] == KEY
        assert sizes[0] > sizes[1] == sizes[2]


async def test_event_of_a_stream_is_passed_on_before_the_next(chain: StandInChain) -> None:
    """The agent has what the API has written so far."""
    chain.api.play_next("stall", after=4)
    async with connected(chain.relay) as agent:
        await agent.request(MESSAGES, AGENT, STREAM)
        async with asyncio.timeout(FUSE_SECONDS):
            assert (await agent.response_head()).status == 200
            for _ in range(4):
                assert b"event: " in await agent.reader.readuntil(b"\n\n\r\n")


async def test_tries_of_a_hop_are_the_calls(chain: StandInChain) -> None:
    """Three attempts after 529; the agent gets the last answer."""
    for _ in range(3):
        chain.api.play_next("529")
    response = await send(chain)
    assert response.status == 529
    assert credential_seen(chain.api) == [KEY] * 3


@pytest.mark.parametrize("arguments", ["times=4", "rounds=4"])
async def test_hop_may_come_back_more_than_once(chain: StandInChain, arguments: str) -> None:
    """At once or one after the other."""
    assert (await send(chain, arguments)).status == 200
    assert statuses(chain.hop) == [200] * 4
    assert credential_seen(chain.api) == [KEY] * 4


async def test_seventeenth_return_at_once_is_refused(chain: StandInChain) -> None:
    """Sixteen may be under way, and thirty-two in all."""
    for _ in range(16):
        chain.api.play_next("late", delay=0.3)
    await send(chain, "times=20")
    assert (statuses(chain.hop).count(403), len(chain.api.record.exchanges)) == (4, 16)
    chain.api.record.clear()
    await send(chain, "rounds=34")
    assert (statuses(chain.hop).count(403), len(chain.api.record.exchanges)) == (2, 32)


async def test_more_than_the_calls_own_is_refused(chain: StandInChain) -> None:
    """Batches within a count of tokens do not reach the API."""
    path = "/relay/anthropic/v1/messages/count_tokens"
    response = await send(chain, "also=POST%20/v1/messages/batches", path=path)
    assert response.status == 200
    assert statuses(chain.hop) == [403, 200]
    assert [each.target for each in chain.api.record.exchanges] == ["/v1/messages/count_tokens"]


async def test_pass_is_worth_nothing_once_the_call_is_over(chain: StandInChain) -> None:
    """A replay is refused, also by another way and with the id of another call."""
    await send(chain)
    leg = await chain.hop.replay()
    assert leg is not None
    assert leg.status == 401
    assert len(chain.api.record.exchanges) == 1


@pytest.mark.parametrize("wrong", ["/anthropic/other", "/other/headroom", "", "/anthropic"])
async def test_wrong_return_address_is_refused(chain: StandInChain, wrong: str) -> None:
    """Nothing comes of it but an error that says what the hop did."""
    to = f"http://127.0.0.1:{chain.relay.return_port}{wrong}"
    response = await send(chain, f"to={to}")
    assert response.status in (404, 502)
    assert statuses(chain.hop) in ([401], [404])
    assert chain.api.record.exchanges == []


async def test_id_of_the_call_is_wanted(chain: StandInChain) -> None:
    """A hop that drops it gets a 401, and the agent is told whose fault that is."""
    response = await send(chain, "drop=x-relay-call")
    assert (response.status, response.values("x-relay-error")) == (502, ["hop_bypass"])
    assert statuses(chain.hop) == [401]


async def test_pass_for_each_call_is_enough(tmp_path: Path) -> None:
    """With ``pass: call`` the id need not be carried on."""
    async with running_stand_ins(tmp_path, hop={"pass": "call"}) as chain:
        assert (await send(chain, "drop=x-relay-call")).status == 200
        assert credential_seen(chain.api) == [KEY]


async def test_hop_that_goes_past_with_its_own_key(chain: StandInChain) -> None:
    """It never had the relay's; readiness says what it does."""
    async with running_api() as elsewhere:
        assert (await send(chain, f"to={elsewhere.url}&key=own")).status == 200
        assert credential_seen(elsewhere) == ["own"]
    assert chain.api.record.exchanges == []
    await chain.relay.log.says("went past the relay")


@pytest.mark.parametrize(("mode", "status"), [("nameless", 200), ("guard", 403), ("401", 502)])
async def test_hop_answers_by_itself(chain: StandInChain, mode: str, status: int) -> None:
    """Its answer passes, but for a 401, which an agent would take for its own fault."""
    assert (await send(chain, mode=mode)).status == status
    assert chain.api.record.exchanges == []


async def test_remembered_answer_is_no_bypass(tmp_path: Path) -> None:
    """It bears an id that the API has given."""
    settings = replace(AIMLESS, caches=True)
    async with running_stand_ins(tmp_path, settings=settings) as chain:
        first, second = await send(chain), await send(chain)
        assert first.values("request-id") == second.values("request-id")
        assert len(chain.api.record.exchanges) == 1
        assert not [each for each in chain.relay.log.text if "went past" in each]


async def test_legs_end_with_the_agent(chain: StandInChain) -> None:
    """Also where the hop goes on reading."""
    chain.api.play_next("stall")
    async with connected(chain.relay) as agent:
        steering = {"x-standin-mode": "forward", "x-standin-args": "deaf=1"}
        await agent.request(MESSAGES, AGENT | steering, STREAM)
        async with asyncio.timeout(FUSE_SECONDS):
            await agent.response_head()
        agent.leave()
    async with asyncio.timeout(FUSE_SECONDS):
        await chain.hop.record.wait_for_legs("cut")
        await chain.api.record.wait_for("aborted")


async def test_stream_that_is_begun_early_is_passed_on(chain: StandInChain) -> None:
    """A head and pings before the hop comes back at all."""
    response = await send(chain, "pings=2", mode="forward_pings", body=STREAM)
    assert event_names(response)[:3] == ["ping", "ping", "message_start"]
    assert credential_seen(chain.api) == [KEY]


@pytest.mark.parametrize("mode", ["forward_truncated", "forward_reset"])
async def test_broken_answer_of_a_hop_is_not_made_whole(chain: StandInChain, mode: str) -> None:
    """The agent sees that it broke."""
    response = await send(chain, mode=mode, body=STREAM)
    assert response.status == 200
    assert not response.complete
