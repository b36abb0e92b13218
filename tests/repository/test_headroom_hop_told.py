"""The stand-in for Headroom as a hop that does as it is told: by itself, past, or broken."""

import asyncio
import json

import pytest

from tests.harness import FUSE_SECONDS
from tests.harness.hop import credential_seen, running_api
from tests.harness.raw_client import ask, connected, event_names
from tests.headroom import Headroom
from tests.repository.hop_calls import CALL, MESSAGE, PASS, STREAM, send

pytestmark = pytest.mark.asyncio_loop


@pytest.mark.parametrize(("mode", "status"), [("ok", 200), ("guard", 403), ("401", 401)])
async def test_answer_of_its_own_makes_no_call(
    api: Headroom, hop: Headroom, mode: str, status: int
) -> None:
    """A hop that answers by itself; an id that it bears is none that the API has given."""
    response = await send(hop, mode=mode)
    assert response.status == status
    assert not hop.record.legs
    assert not api.record.exchanges
    assert response.values("request-id") in ([], ["req_standin00000000900000001"])
    assert (await send(hop, mode="nameless")).values("request-id") == []


async def test_call_goes_past_with_another_key(api: Headroom, hop: Headroom) -> None:
    """To another address, with a key of its own in the header that the caller used."""
    async with running_api() as elsewhere:
        await send(hop, arguments=f"to={elsewhere.url}&key=own")
        headers = {"authorization": "Bearer p", "x-standin-args": f"to={elsewhere.url}&key=own"}
        await ask(hop, "/v1/messages", headers, MESSAGE)
        assert credential_seen(elsewhere) == ["own", "Bearer own"]
    assert api.record.exchanges == []


async def test_headers_are_dropped_and_added(api: Headroom, hop: Headroom) -> None:
    """As by a hop that drops what it does not know."""
    await send(hop, arguments="drop=x-relay-call,anthropic-version&add=X-Made-Up:%20v")
    [got] = api.record.exchanges
    assert got.header("x-relay-call") is got.header("anthropic-version") is None
    assert (got.header("x-made-up"), got.header("x-api-key")) == ("v", PASS)


async def test_other_page_is_asked_for(api: Headroom, hop: Headroom) -> None:
    """In place of the call's, or before it."""
    batches = "POST%20/v1/messages/batches"
    assert (await send(hop, arguments=f"path={batches}")).status == 404
    assert (await send(hop, arguments=f"also={batches}")).status == 200
    targets = [each.target for each in api.record.exchanges if each.method == "POST"]
    assert targets == ["/v1/messages/batches"] * 2 + ["/v1/messages?beta=true"]
    assert [leg.status for leg in hop.record.exchanges[1].legs] == [404, 200]
    assert (await send(hop, arguments="path=nonsense")).status == 400


@pytest.mark.parametrize("body", [MESSAGE, STREAM])
async def test_call_comes_back_at_once_and_one_after_the_other(
    api: Headroom, hop: Headroom, body: bytes
) -> None:
    """All answers are read to the end before the answer ends; one is passed on."""
    assert (await send(hop, body, arguments="times=3")).complete
    assert [leg.state for leg in hop.record.exchanges[0].legs] == ["done"] * 3
    assert len({each.connection for each in api.record.exchanges}) == 3
    api.record.clear()
    await send(hop, body, arguments="rounds=3")
    assert [leg.state for leg in hop.record.exchanges[1].legs] == ["done"] * 3
    assert len({each.connection for each in api.record.exchanges}) == 1


async def test_last_request_is_sent_once_more(api: Headroom, hop: Headroom) -> None:
    """When the call is over, from inside and by a page."""
    assert await hop.replay() is None
    assert (await ask(hop, "/standin/replay", body=b"")).status == 409
    await send(hop)
    leg = await hop.replay()
    assert leg is not None
    assert (leg.status, leg.header("x-relay-call")) == (200, "id-of-the-call")
    page = json.loads((await ask(hop, "/standin/replay", body=b"")).body)
    assert (page["status"], page["state"]) == (200, "done")
    assert credential_seen(api) == [PASS] * 3


async def test_answer_is_held_back(api: Headroom, hop: Headroom) -> None:
    """All of it in one piece, when it is there."""
    response = await send(hop, STREAM, "forward_burst")
    assert event_names(response)[-1] == "message_stop"
    assert len(hop.record.exchanges[0].events) == 1


async def test_early_head_and_pings_come_first(api: Headroom, hop: Headroom) -> None:
    """Committed to a 200 before it goes on, whatever the upstream then says."""
    response = await send(hop, STREAM, "forward_pings", "pings=2")
    assert event_names(response)[:3] == ["ping", "ping", "message_start"]
    for _ in range(3):
        api.play_next("429", retry_after=0)
    refused = await send(hop, STREAM, "forward_pings", "pings=1")
    assert (refused.status, event_names(refused)) == (200, ["ping", "error"])
    exchange = hop.record.exchanges[0]
    assert exchange.events[0] < exchange.legs[0].started


@pytest.mark.parametrize("body", [MESSAGE, STREAM])
@pytest.mark.parametrize("mode", ["forward_truncated", "forward_reset"])
async def test_answer_is_broken_where_it_is_passed_on(
    api: Headroom, hop: Headroom, mode: str, body: bytes
) -> None:
    """It came back and was answered; the client gets a part."""
    response = await send(hop, body, mode, "after=2")
    assert response.status == 200
    assert not response.complete
    assert hop.record.exchanges[0].legs[0].status == 200


async def test_reset_before_the_head(hop: Headroom) -> None:
    """The client gets nothing."""
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await send(hop, STREAM, "forward_reset", "before=head")


@pytest.mark.parametrize(("before", "received"), [("before=head", 0), ("after=2", 2)])
async def test_hop_falls_silent_once_it_came_back(
    hop: Headroom, before: str, received: int
) -> None:
    """Before the head or after some events, until the client goes."""
    headers = CALL | {"x-standin-mode": "forward_stall", "x-standin-args": before}
    async with connected(hop) as client:
        await client.request("/v1/messages", headers, STREAM)
        async with asyncio.timeout(FUSE_SECONDS):
            await hop.record.wait_until(
                lambda: (
                    bool(hop.record.exchanges and hop.record.exchanges[0].legs)
                    and hop.record.exchanges[0].legs[0].status == 200
                )
            )
            if received:
                await client.reader.readuntil(b"\r\n\r\n")
                for _ in range(received):
                    await client.reader.readuntil(b"\n\n\r\n")
        client.leave()
        async with asyncio.timeout(FUSE_SECONDS):
            await hop.record.wait_for("aborted")
    assert hop.record.exchanges[0].legs[0].ended is not None
