"""Proxies on the way out that open no way: what the agent is told, and what the log says.

The agent sees a fixed message and nothing of the proxy's answer. Each case has words of its own in
the log, with what the proxy said, and without what it was told.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from relay.upstream import pool
from relay.upstream.tunnel import Tunnel
from tests.harness.closed_ways import (
    CASES,
    CONNECT_SECONDS,
    ELSEWHERE,
    WANTS,
    failing_elsewhere,
    named,
    playing,
    relay_by,
)
from tests.harness.configuration import configuration
from tests.harness.egress import API, AUTHORITY, Issued, issue
from tests.harness.expectations import check_error
from tests.harness.messages import OK, request
from tests.harness.proxy import Proxy, running_proxy
from tests.harness.relay import LocalRelay, running_relay
from tests.harness.upstream import Upstream, running_upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory) -> Issued:
    """Certificates, made once."""
    return issue(tmp_path_factory.mktemp("tls"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def upstream(issued: Issued) -> AsyncIterator[Upstream]:
    """The API, which is there."""
    async with running_upstream(issued.api.context()) as running:
        running.answer_with(OK)
        yield running


Proxies = dict[str, Proxy]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def proxies(upstream: Upstream) -> AsyncIterator[Proxies]:
    """A proxy for each case."""
    async with playing(CASES, upstream.port) as found:
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def relay(
    issued: Issued, proxies: Proxies, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[LocalRelay]:
    """A relay for each of them."""
    relays = {named(name): relay_by(issued, proxy.url) for name, proxy in proxies.items()}
    timeouts = {"connect": CONNECT_SECONDS}
    config = configuration(0, claude=None, relays=relays, timeouts=timeouts)
    async with running_relay(tmp_path_factory.mktemp("relay"), config) as running:
        yield running


def call(name: str) -> bytes:
    """Return a request for a case's relay."""
    return request(f"/relay/{named(name)}/v1/messages")


@pytest.mark.parametrize("name", CASES)
async def test_a_proxy_that_opens_no_way(relay: LocalRelay, proxies: Proxies, name: str) -> None:
    """502, without a word of the proxy's; what the log will say has its words, and no secret."""
    case, proxy = CASES[name], proxies[name]
    answer = await relay.ask(call(name))
    check_error(answer, 502, "connect_error", "api_error")
    assert answer.values("x-should-retry") == ([b"false"] if case.lasting else [])
    assert "proxy" in answer.error["message"]
    found = relay.app.lifecycle.runtime.routes[named(name)].upstream.problem
    assert found.startswith(f"https://{API} cannot be reached: ")
    assert proxy.url in found
    assert re.search(case.words, found), found
    assert found.endswith("; calls fail until that is mended")
    # Asked once, and nothing was sent that would have been for the API.
    assert len(proxy.passages) == 1
    assert proxy.passages[0].up == b""


async def test_the_log_says_why(relay: LocalRelay, proxies: Proxies) -> None:
    """For each, and never what the proxy was told: that is looked for in every line at the end."""
    await asyncio.gather(*(relay.ask(call(name)) for name in CASES))
    for name, case in CASES.items():
        await relay.log.says(f"^upstream of relay {named(name)}: https://{API} .*{case.words}")
    assert {each["outcome"] for each in await relay.log.calls()} == {"connect_error"}


async def test_the_answer_goes_no_further(relay: LocalRelay, proxies: Proxies) -> None:
    """Neither its status nor its fields nor its page."""
    proxies["forbidden"].passages.clear()
    answer = await relay.ask(call("forbidden"))
    whole = repr(answer).lower()
    for word in ("squid", "forbidden", "403", "the page", "api.corp", "127.0.0.1"):
        assert word not in whole


# Before and behind CONNECT


async def test_each_step_has_words_of_its_own(
    issued: Issued, full_port: int, tmp_path: Path
) -> None:
    """And the agent is told the same of each of them, within the one limit for all."""
    timeouts = {"connect": CONNECT_SECONDS}
    async with failing_elsewhere(issued, full_port) as relays:
        config = configuration(0, claude=None, relays=relays, timeouts=timeouts)
        async with running_relay(tmp_path, config) as relay:
            for answer in await asyncio.gather(*(relay.ask(call(name)) for name in ELSEWHERE)):
                check_error(answer, 502, "connect_error", "api_error")
            for name, words in ELSEWHERE.items():
                await relay.log.says(f"^upstream of relay {name}: .*{words}")


async def test_a_proxy_that_reads_tls_does_so_by_its_ca_alone(
    issued: Issued, tmp_path: Path
) -> None:
    """Given where it belongs, its certificate in the API's place is accepted."""
    async with (
        running_upstream(issued.forged.context()) as forging,
        running_proxy({AUTHORITY: forging.port}) as proxy,
    ):
        forging.answer_with(OK)
        trusting = relay_by(issued, proxy.url, ca_file=str(issued.company.file))
        by_the_relays = relay_by(issued, proxy.url) | {"ca_file": str(issued.company.file)}
        relays = {"trusting": trusting, "own": by_the_relays, "wary": relay_by(issued, proxy.url)}
        config = configuration(0, claude=None, relays=relays)
        async with running_relay(tmp_path, config) as relay:
            for name, status in (("trusting", 200), ("own", 200), ("wary", 502)):
                assert (await relay.ask(call(name))).status == status


async def test_a_proxy_that_wants_a_credential_and_gets_none(
    issued: Issued, tmp_path: Path
) -> None:
    """The log names the key to set; one without a colon is said to be wrong."""
    async with running_proxy({}) as proxy:
        proxy.answer = WANTS % b"Basic"
        (tmp_path / "name").write_text("corp-relay")
        relays = {
            "bare": relay_by(issued, proxy.url, credential=None),
            "half": relay_by(issued, proxy.url, credential={"file": "name"}),
        }
        async with running_relay(tmp_path, configuration(0, claude=None, relays=relays)) as relay:
            for name in relays:
                assert (await relay.ask(call(name))).status == 502
            wants = f"the proxy {proxy.url} wants a credential: 407 .*; name a source of "
            await relay.log.says(f"relay bare: .*{wants}user:password in egress.credential")
            await relay.log.says("relay half: .*; it has no colon, and is to be user:password")


async def test_a_proxy_that_restarts_costs_no_call(
    issued: Issued, upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused now, there again a moment later: the call waits that moment."""
    refused = asyncio.Event()
    ask = Tunnel._ask

    async def ask_and_tell(tunnel: Tunnel) -> asyncio.Transport:
        try:
            return await ask(tunnel)
        except ConnectionRefusedError:
            refused.set()
            raise

    monkeypatch.setattr(Tunnel, "_ask", ask_and_tell)
    monkeypatch.setattr(pool, "RETRY_AFTER_SECONDS", 0.3)
    async with running_proxy({AUTHORITY: upstream.port}) as proxy:
        config = configuration(0, claude=None, relays={"out": relay_by(issued, proxy.url)})
        async with running_relay(tmp_path, config) as relay:
            await proxy.stop_listening()
            agent = await relay.agent()
            await agent.send(call("out"))
            await refused.wait()
            await proxy.start(port=proxy.port)
            assert (await agent.answer()).status == 200
