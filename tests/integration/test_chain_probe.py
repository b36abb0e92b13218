"""A chain that is only tried: the relay is both of its ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from relay.proxy.probe import HOPS
from tests.harness.chain import HOP, Chain, running_chain
from tests.harness.configuration import Config
from tests.harness.expectations import check_error
from tests.harness.messages import EVENTS, chunk, request
from tests.harness.peer import Agent, Answer

PROBE = "x-relay-probe: 1"
NO_KEY: Config = {"grants": [{"name": "anthropic", "source": {"file": "absent"}}]}


def told(answer: Answer) -> dict[str, bool]:
    """Return what an answer's text says of each hop: whether it streams."""
    lines = answer.body.decode().splitlines()
    events = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data:")]
    text = "".join(event["delta"].get("text", "") for event in events if "delta" in event)
    found = json.loads(text[text.index("{") :])
    return {hop["name"]: hop["streams"] for hop in found["hops"]}


async def pass_on(chain: Chain, back: Agent, *, at_once: bool) -> None:
    """Have the hop pass the relay's answer on, piece by piece or all at its end."""
    hop = chain.hops[0].callers[-1]
    through = await back.head()
    assert through.status == 200
    held = b""
    await hop.send(EVENTS)
    while piece := await back.piece(through):
        if at_once:
            await hop.send(chunk(piece))
        else:
            held += piece
    await hop.send((chunk(held) if held else b"") + chunk(b""))


@pytest.mark.parametrize("streams", [True, False])
async def test_a_probe_says_of_each_hop_whether_it_streams(tmp_path: Path, streams: bool) -> None:
    """It goes to the hop and comes back, needs no key, and the API hears nothing of it."""
    async with running_chain(tmp_path, changes=NO_KEY) as chain:
        agent, _, sent = await chain.begin(PROBE)
        assert sent.values("x-relay-probe") == []
        back = await chain.come_back(sent)
        await pass_on(chain, back, at_once=streams)
        answer = await agent.answer()
        assert (answer.status, answer.complete) == (200, True)
        assert answer.values(HOPS.decode()) == [f"{HOP}=passed".encode()]
        assert told(answer) == {HOP: streams}
        assert b"message_stop" in answer.body
        assert chain.api.callers == []


async def test_a_probe_is_in_no_metric_log_or_list(tmp_path: Path) -> None:
    """It is no call."""
    async with running_chain(tmp_path) as chain:
        agent, _, sent = await chain.begin(PROBE)
        back = await chain.come_back(sent)
        await pass_on(chain, back, at_once=True)
        await agent.answer()
        for name in ("relay_requests_total", "relay_hop_calls_total", "relay_hop_legs_total"):
            assert await chain.relay.samples(name, "relay") == {}
        page = await chain.relay.page("/calls")
        assert json.loads(page.body)["recent"] == json.loads(page.body)["in_flight"] == []
        assert [line for line in chain.relay.log.lines if line["event"] == "call"] == []


@pytest.mark.parametrize(
    ("target", "end"),
    [
        ("/v1/chat/completions", b"data: [DONE]"),
        ("/v1/responses", b"event: response.completed"),
    ],
)
async def test_a_probe_ends_in_its_operations_shape(
    tmp_path: Path, target: str, end: bytes
) -> None:
    """Hops read what they pass on."""
    relays = {"anthropic": {"allow": ["/v1"]}}
    async with running_chain(tmp_path, changes={"relays": relays}) as chain:
        agent = await chain.relay.agent()
        await agent.send(request(f"/relay/anthropic{target}", PROBE))
        _, sent = await chain.called()
        back = await chain.come_back(sent, target)
        await pass_on(chain, back, at_once=True)
        answer = await agent.answer()
        assert end in answer.body
        assert f'{HOP}\\"'.encode() in answer.body


async def test_a_probe_that_fails_says_how_far_it_came(tmp_path: Path) -> None:
    """In a header, beside the error."""
    async with running_chain(tmp_path, "first", "second") as chain:
        agent, first, sent = await chain.begin(PROBE)
        await chain.hops[1].stop_listening()
        back = await chain.come_back(sent, hop="first")
        check_error(await back.answer(), 502, "connect_error", "api_error")
        first.leave()
        answer = await agent.answer()
        assert answer.status == 502
        assert answer.values(HOPS.decode()) == [b"first=broken, second=unreachable"]


async def test_a_probe_needs_a_token(tmp_path: Path) -> None:
    """Nobody else makes the relay call its hops, nor tries tokens without a trace."""
    async with running_chain(tmp_path) as chain:
        answer = await chain.relay.ask(
            request("/relay/anthropic/v1/messages", PROBE, token="relay-wrong")  # none
        )
        check_error(answer, 401, "rejected", "authentication_error")
        assert chain.hops[0].callers == []
        assert await chain.relay.outcomes() == {("rejected", "none"): 1}
        assert await chain.relay.samples("relay_rejections_total", "reason") == {("token",): 1}
        assert await chain.relay.in_flight() == 0


async def test_a_probe_by_head_has_no_body(tmp_path: Path) -> None:
    """Bytes of one would be taken for the next answer on the hop's connection, or the agent's."""
    async with running_chain(tmp_path) as chain:
        agent = await chain.relay.agent()
        await agent.send(request("/relay/anthropic/v1/messages", PROBE, method="HEAD", body=None))
        hop, sent = await chain.called()
        back = await chain.come_back(sent)
        through = await back.head(bodiless=True)
        assert (through.status, through.values("transfer-encoding")) == (200, [])
        await hop.send(b"HTTP/1.1 200 OK\r\n\r\n")
        assert (await agent.head(bodiless=True)).values(HOPS.decode()) == [f"{HOP}=passed".encode()]
        for peer, status in ((back, 401), (agent, 404)):
            assert (await peer.ask(request("/relay/nobody/x"))).status == status
