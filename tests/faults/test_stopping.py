"""The end of the relay: calls in flight finish, or are cut; never ended as if complete."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from tests.harness.configuration import configuration
from tests.harness.messages import CHUNKED, PIECE, STOP, chunk, chunked_request, request
from tests.harness.relay import Relay, RelayProcess, begin_stream, relay_process
from tests.harness.upstream import Upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def check_unserved(relay: Relay) -> None:
    """See that nobody listens for agents any more."""
    with pytest.raises(ConnectionRefusedError):
        await relay.agent()


async def test_what_needs_no_upstream_does_not_hold_a_stopping_relay(
    process: RelayProcess,
) -> None:
    """However many of its own answers somebody asks for, each of them is the last then."""
    probe = request("/relay/anthropic", method="HEAD", body=None, token=None)
    stubborn = await process.agent()
    stubborn.transport.write(probe * 2_000)
    await stubborn.wait()
    process.signal(signal.SIGTERM)
    while not stubborn.ending:
        stubborn.transport.write(probe * 100)
        await stubborn.wait()
    assert await process.exit_status() == 0
    assert not any("cutting" in line for line in process.log.text)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stopping_relay_finishes_its_calls(
    process: RelayProcess, upstream: Upstream, number: int
) -> None:
    """It listens no more, says so, ends the call cleanly, and exits with 0."""
    agent, caller = await begin_stream(process, upstream)
    idle = await process.agent()
    assert (await process.readiness())[0] == 200
    process.signal(number)
    await process.log.says("^stopping: 1 calls in flight have 30 s to finish")
    status, report = await process.readiness()
    assert (status, report["status"]) == (503, "draining")
    assert (await process.page("/healthz")).status == 200
    await check_unserved(process)
    assert await idle.gone() == "end"
    answer = await agent.head()
    assert await agent.piece(answer) == PIECE
    with pytest.raises(TimeoutError):  # nor is it hurried
        async with asyncio.timeout(0.5):
            await agent.piece(answer)
    await caller.send(chunk(STOP) + chunk(b""))
    await agent.finish(answer)
    assert (answer.body, answer.complete) == (PIECE + STOP, True)
    assert await agent.gone() == "end"
    assert await process.exit_status() == 0
    await process.log.says("^stopped$")
    (line,) = await process.log.calls()
    assert line["outcome"] == "ok"


async def test_an_idle_relay_stops_at_once(process: RelayProcess) -> None:
    """Nobody waits for nothing, and kept connections of agents are no calls."""
    agent = await process.agent()
    assert (await agent.ask(request("/relay/none"))).status == 404
    process.signal(signal.SIGTERM)
    assert await process.exit_status() == 0
    assert await agent.gone() == "end"
    assert process.stopping_seconds() < 1


@pytest.mark.parametrize("version", ["1.1", "1.0"])
async def test_a_call_that_outlives_the_drain_is_cut(
    upstream: Upstream, tmp_path: Path, version: str
) -> None:
    """When time is over the stream breaks off, never cleanly, and the relay exits with 0."""
    async with relay_process(tmp_path, configuration(upstream.port, drain=0.2)) as process:
        agent = await process.agent()
        await agent.send(request(version=version))
        caller, _ = await upstream.called()
        await caller.send(CHUNKED + chunk(PIECE))
        answer = await agent.head()
        assert await agent.piece(answer) == PIECE
        process.signal(signal.SIGTERM)
        await agent.finish(answer)
        assert not answer.complete
        assert answer.body == PIECE
        assert await agent.gone() == ("end" if version == "1.1" else "reset")
        assert await caller.gone()
        assert await process.exit_status() == 0
        (line,) = await process.log.calls()
        assert line["outcome"] == "internal_error"


async def test_a_call_without_an_answer_is_cut_too(upstream: Upstream, tmp_path: Path) -> None:
    """An agent that waits for a head gets none; its upload ends unfinished."""
    async with relay_process(tmp_path, configuration(upstream.port, drain=0.2)) as process:
        waiting = await process.agent()
        await waiting.send(request())
        await upstream.called()
        uploading = await process.agent()
        await uploading.send(chunked_request() + chunk(b"x"))
        caller = await upstream.accepted()
        got = await caller.head()
        process.signal(signal.SIGTERM)
        assert await waiting.rest() == b""
        assert await uploading.rest() == b""
        await caller.finish(got)
        assert not got.complete
        assert await process.exit_status() == 0
        lines = await process.log.calls(2)
        assert [line["outcome"] for line in lines] == ["internal_error"] * 2


async def test_a_second_signal_cuts_at_once(process: RelayProcess, upstream: Upstream) -> None:
    """Who asks twice does not want to wait."""
    agent, _ = await begin_stream(process, upstream)
    process.signal(signal.SIGTERM)
    await process.log.says("^stopping")
    process.signal(signal.SIGTERM)
    answer = await agent.answer()
    assert not answer.complete
    assert await process.exit_status() == 0
    assert process.stopping_seconds() < 1


@pytest.mark.parametrize("reads", [True, False])
async def test_open_pages_do_not_hold_a_stopping_relay(
    upstream: Upstream, tmp_path: Path, reads: bool
) -> None:
    """Their streams end as draining begins, also those that nobody reads."""
    async with relay_process(tmp_path, configuration(upstream.port)) as process:
        tabs = [await process.agent(port=process.admin_port, receive_buffer=2048) for _ in "ab"]
        for tab in tabs:
            await tab.send(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = await tab.head()
            assert answer.status == 200
            await tab.piece(answer)
            if not reads:
                tab.hold()
        process.signal(signal.SIGTERM)
        assert await process.exit_status() == 0
        # A handler that does not end is given a second.
        assert process.stopping_seconds() < 1
        assert not any("cutting" in line for line in process.log.text)
