"""The stand-in for Headroom as a hop: what it sends on, what it passes on, how it misbehaves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.harness import FUSE_SECONDS
from tests.harness.hop import AIMLESS, credential_seen, running_api, running_hop
from tests.harness.raw_client import Response, ask
from tests.headroom import Headroom, Leg, Settings

pytestmark = pytest.mark.asyncio_loop

PASS = "sk-ant-api03-a-pass"
CALL = {"anthropic-version": "2023-06-01", "x-api-key": PASS, "x-relay-call": "id-of-the-call"}
STREAM = b'{"model":"claude-test","stream": true}'
MESSAGE = b'{"model":"claude-test","messages":[]}'


@pytest.fixture
async def api() -> AsyncIterator[Headroom]:
    """Run the API at the end."""
    async with running_api() as running:
        yield running


@pytest.fixture
async def hop(api: Headroom) -> AsyncIterator[Headroom]:
    """Run a hop in front of the API, as if behind a relay's return address."""
    async with aimed_hop(api, "/anthropic/headroom") as running:
        yield running


@asynccontextmanager
async def aimed_hop(
    api: Headroom, path: str = "", settings: Settings = AIMLESS
) -> AsyncIterator[Headroom]:
    """Run a hop; its readiness check is over and forgotten."""
    async with running_hop(settings) as hop:
        hop.aim(api.url + path)
        await settled(hop, 1)
        hop.record.clear()
        api.record.clear()
        yield hop


async def settled(hop: Headroom, count: int) -> list[Leg]:
    """Wait until so many legs have ended; return all."""
    async with asyncio.timeout(FUSE_SECONDS):
        await hop.record.wait_until(
            lambda: sum(leg.ended is not None for leg in hop.record.legs) >= count
        )
    return hop.record.legs


async def send(
    hop: Headroom, body: bytes = MESSAGE, mode: str = "", arguments: str = ""
) -> Response:
    """Send a message to a hop."""
    steering = {"x-standin-mode": mode, "x-standin-args": arguments}
    headers = CALL | {name: value for name, value in steering.items() if value}
    return await ask(hop, "/v1/messages?beta=true", headers, body)


async def test_call_goes_on_with_its_path_headers_and_body() -> None:
    """Below the upstream's path, with credential and unknown headers, asking for three codings."""
    async with running_api() as api, aimed_hop(api) as hop:
        await ask(hop, "/v1/messages?beta=true", CALL | {"cookie": "a=b", "te": "x"}, MESSAGE)
        [got] = api.record.exchanges
        assert (got.method, got.target, got.body.text) == (
            *("POST", "/v1/messages?beta=true"),
            MESSAGE.decode(),
        )
        assert {name: got.header(name) for name in (*CALL, "cookie", "te", "host")} == {
            **CALL,
            "cookie": "a=b", "te": "x", "host": f"127.0.0.1:{api.port}",
        }
        assert got.header("accept-encoding") == "gzip, deflate, zstd"
        assert credential_seen(api) == [PASS]


async def test_path_of_the_upstream_comes_first(api: Headroom, hop: Headroom) -> None:
    """The address may have a path, as a relay's return address has."""
    await send(hop)
    assert [each.target for each in api.record.exchanges] == [
        "/anthropic/headroom/v1/messages?beta=true"
    ]
    [leg] = hop.record.exchanges[0].legs
    assert (leg.status, leg.state) == (404, "done")
