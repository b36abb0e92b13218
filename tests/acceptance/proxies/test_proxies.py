"""The way out through proxies that companies run: what they say, and what they see of calls."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from relay.commands.doctor import StreamOptions
from tests.acceptance.container import docker
from tests.acceptance.proxies.mitmproxy import ca_of, running_mitmproxy
from tests.acceptance.proxies.squid import FORBIDDEN, running_squid
from tests.harness.configuration import Config, configuration
from tests.harness.egress import API, Issued, issue
from tests.harness.messages import CHUNKED, OK, chunk, request
from tests.harness.ports import free_ports
from tests.harness.relay import LocalRelay, running_relay
from tests.harness.secrets import KEY, SECRETS
from tests.harness.upstream import Upstream, running_upstream
from tests.integration.diagnosis import answer, api, diagnosed

pytestmark = pytest.mark.asyncio(loop_scope="session")

SIZE = 2_000_000


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory) -> Issued:
    """Certificates, made once."""
    return issue(tmp_path_factory.mktemp("tls"))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def upstream(issued: Issued) -> AsyncIterator[Upstream]:
    """The API."""
    async with running_upstream(issued.api.context()) as running:
        yield running


def through(url: str, issued: Issued, port: int, **egress: object) -> Config:
    """Return a relay that goes out through a proxy."""
    way_out = {"url": url, "credential": {"file": "proxy"}} | egress
    ca_file = str(issued.authority.file)
    api_url = f"https://{API}:{port}"
    return {"url": api_url, "grant": "anthropic", "ca_file": ca_file, "egress": way_out}


@asynccontextmanager
async def relaying(folder: Path, relays: Mapping[str, Config]) -> AsyncIterator[LocalRelay]:
    """Run a relay for each of these ways."""
    (folder / "wrong").write_text("corp-relay:not-this-one")
    config = configuration(0, claude=None, relays=relays)
    async with running_relay(folder, config) as running:
        yield running


def call(name: str, body: bytes = b"{}") -> bytes:
    """Return a request for that relay."""
    return request(f"/relay/{name}/v1/messages", body=body)


async def fails(relay: LocalRelay, name: str) -> str:
    """Have a call fail on its way out; return what the log will say."""
    answered = await relay.ask(call(name))
    assert (answered.status, answered.outcome) == (502, "connect_error")
    return relay.app.lifecycle.runtime.routes[name].upstream.problem


async def stream(relay: LocalRelay, upstream: Upstream, name: str) -> None:
    """See that not a byte is changed, either way, and that pieces come as they are sent."""
    body = random.Random(3).randbytes(SIZE)  # bytes like any others
    upstream.forget()
    agent = await relay.agent()
    await agent.send(call(name, body))
    caller, got = await upstream.called()
    assert got.body == body
    await caller.send(CHUNKED)
    answered = await agent.head()
    for start in range(0, SIZE, 300_007):
        await caller.send(chunk(body[start : start + 300_007]))
        received = len(answered.body)
        while len(answered.body) - received < len(body[start : start + 300_007]):
            answered.pieces.append(await agent.piece(answered))
    await caller.send(chunk(b""))
    await agent.finish(answered)
    assert answered.complete


async def test_squid(issued: Issued, upstream: Upstream, tmp_path: Path) -> None:
    """It opens a way for who may have one, says why not for others, and sees nothing of a call."""
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    good = through(url, issued, upstream.port)
    forbidden = f"https://{FORBIDDEN}:{upstream.port}"
    relays = {
        "good": good,
        "wrong": through(url, issued, upstream.port, credential={"file": "wrong"}),
        "bare": through(url, issued, upstream.port, credential=None),
        "forbidden": good | {"url": forbidden},
        "closed": through(url, issued, 1),
    }
    folder = tmp_path / "squid"
    folder.mkdir()
    async with running_squid(folder, port, API) as container, relaying(tmp_path, relays) as relay:
        upstream.answer_with(OK)
        for _ in range(3):
            assert (await relay.ask(call("good"))).status == 200
        assert len(upstream.callers) == 1
        assert "refuses the credential from" in await fails(relay, "wrong")
        assert "wants a credential: 407" in await fails(relay, "bare")
        assert "403 'Forbidden, ERR_ACCESS_DENIED 0'" in await fails(relay, "forbidden")
        assert "503 'Service Unavailable, ERR_CONNECT_FAIL 111'" in await fails(relay, "closed")
        await stream(relay, upstream, "good")
        seen = await docker("logs", container)
        assert f"CONNECT {API}:{upstream.port} corp-relay" in seen
        assert not any(secret in seen for secret in SECRETS)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_mitmproxy(issued: Issued, upstream: Upstream, tmp_path: Path, scheme: str) -> None:
    """Without its CA no call goes through; with it, it reads the credential, and doctor warns."""
    (port,) = free_ports(1)
    url = f"{scheme}://127.0.0.1:{port}"
    own = tmp_path / "own"
    own.mkdir()
    async with AsyncExitStack() as stack:
        running = running_mitmproxy(own, port, upstream.port, issued.authority.file)
        seen = await stack.enter_async_context(running)
        trust = {"ca_file": ca_of(own)}
        relays = {
            "wary": through(url, issued, 443),
            "trusting": through(url, issued, 443, **trust),
            "wrong": through(url, issued, 443, credential={"file": "wrong"}, **trust),
        }
        relay = await stack.enter_async_context(relaying(tmp_path, relays))
        upstream.answer_with(OK)
        wary = await fails(relay, "wary")
        assert "the certificate is not accepted" in wary
        assert wary.endswith("name its CA in egress.ca_file; calls fail until that is mended")
        assert seen.read_text() == ""
        assert "refuses the credential from" in await fails(relay, "wrong")
        for _ in range(2):
            assert (await relay.ask(call("trusting"))).status == 200
        assert seen.read_text() == f"/v1/messages {KEY}\n" * 2
        upstream.answer_with(api(models=answer()))
        config = configuration(0, claude=None, clients=[], admin="127.0.0.1:2")
        config |= {"relays": {"trusting": relays["trusting"]}}
        diagnosis = await diagnosed(tmp_path, config, stream=StreamOptions())
        assert "the proxy reads what goes to" in diagnosis.of("tls")[-1].text


async def test_mitmproxy_that_lets_it_through(
    issued: Issued, upstream: Upstream, tmp_path: Path
) -> None:
    """With an exception for the API's host it reads nothing.

    Not by an ``https`` URL: mitmproxy 11 opens a way then and passes nothing on, for curl neither.
    """
    (port,) = free_ports(1)
    own = tmp_path / "own"
    own.mkdir()
    async with AsyncExitStack() as stack:
        excepted = ("--ignore-hosts", API)
        running = running_mitmproxy(own, port, upstream.port, issued.authority.file, *excepted)
        seen = await stack.enter_async_context(running)
        way = through(f"http://127.0.0.1:{port}", issued, 443)
        relay = await stack.enter_async_context(relaying(tmp_path, {"good": way}))
        upstream.answer_with(OK)
        for _ in range(3):
            assert (await relay.ask(call("good"))).status == 200
        await stream(relay, upstream, "good")
        assert seen.read_text() == ""
