"""Upstreams that cannot be reached: no name, no listener, no TLS that may be trusted.

The agent sees a fixed message. The log says what is wrong, so that whoever runs the relay
need not guess; and no byte of the request, the credential least of all, has gone anywhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from tests.faults.counting import CountedRelay, counted_relay
from tests.harness.certificates import Authority, Certificates
from tests.harness.configuration import Config, configuration
from tests.harness.expectations import check_error
from tests.harness.messages import OK, request
from tests.harness.relay import relay_process
from tests.harness.secrets import KEY
from tests.harness.silence import NoTls
from tests.harness.upstream import Upstream, running_upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONNECT_SECONDS = 0.5
REASONS = {
    "nowhere": r"nowhere\.invalid.* cannot be reached: the name has no address: \w+",
    "refused": r"nothing answers at http://127\.0\.0\.1:\d+; calls get 502",
    "full": "cannot be reached: no connection in time",
    "wrong_name": "TLS failed, .*certificate is not valid for '127.0.0.1'",
    "expired": "TLS failed, .*certificate has expired",
    "stranger": "TLS failed, .*unable to get local issuer certificate",
    "untrusted": "TLS failed, .*unable to get local issuer certificate",
    "plain": "TLS failed: wrong version number",
    "silent": "cannot be reached: no connection in time",
}
"""What the log says of each relay's upstream."""
LATE = ("full", "silent")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """A private CA and what it issued, well and badly, made once."""
    folder = tmp_path_factory.mktemp("tls")
    authority = Authority(folder)
    return Certificates(
        authority,
        authority.issue("good", "IP:127.0.0.1"),
        authority.issue("wrong", "DNS:headroom.internal,IP:127.0.0.2"),
        authority.issue("expired", "IP:127.0.0.1", expired=True),
        Authority(folder, "other").issue("stranger", "IP:127.0.0.1"),
    )


Upstreams = dict[str, Upstream]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def no_tls() -> AsyncIterator[dict[str, NoTls]]:
    """Listeners that take part in no handshake."""
    found = {
        "plain": NoTls(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"),
        "silent": NoTls(b""),
    }
    for each in found.values():
        await each.start()
    yield found
    for each in found.values():
        await each.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def upstreams(certificates: Certificates) -> AsyncIterator[Upstreams]:
    """Those that listen, each as good or as bad as its name says."""
    async with AsyncExitStack() as stack:
        found: Upstreams = {}
        for name in ("good", "untrusted", "wrong_name", "expired", "stranger"):
            certificate = getattr(certificates, name, certificates.good)
            running = running_upstream(certificate.context())
            found[name] = await stack.enter_async_context(running)
            found[name].answer_with(OK)
        found["abrupt"] = await stack.enter_async_context(running_upstream())
        yield found


@pytest.fixture(scope="module")
def config(
    upstreams: Upstreams,
    no_tls: dict[str, NoTls],
    certificates: Certificates,
    closed_port: int,
    full_port: int,
) -> Config:
    """A relay in front of each."""
    ports = {name: each.port for name, each in upstreams.items()}
    ports |= {name: each.port for name, each in no_tls.items()}
    urls = {name: f"https://127.0.0.1:{port}" for name, port in ports.items()}
    urls |= {
        "nowhere": "http://nowhere.invalid",
        "refused": f"http://127.0.0.1:{closed_port}",
        "full": f"http://127.0.0.1:{full_port}",
    }
    trust = {"ca_file": str(certificates.authority.file)}
    relays = {
        name: {"url": url, "grant": "anthropic"} | (trust if name != "untrusted" else {})
        for name, url in urls.items()
    }
    timeouts = {"connect": CONNECT_SECONDS}
    return configuration(0, claude=None, relays=relays, timeouts=timeouts)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def process(
    config: Config, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[CountedRelay]:
    """A process with all of them."""
    async with counted_relay(tmp_path_factory.mktemp("relay"), config) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def relay(process: CountedRelay) -> CountedRelay:
    """The same, counting this test's calls."""
    await process.forget()
    return process


def call(name: str) -> bytes:
    """Return a request for that relay."""
    return request(f"/relay/{name}/v1/messages")


@pytest.mark.parametrize("name", REASONS)
async def test_an_upstream_that_cannot_be_reached(
    relay: CountedRelay, upstreams: Upstreams, no_tls: dict[str, NoTls], name: str
) -> None:
    """502, or 504 after the connect limit; the message is the same whatever the reason."""
    answer = await relay.ask(call(name))
    if name in LATE:
        check_error(answer, 504, "timeout", "timeout_error")
    else:
        check_error(answer, 502, "connect_error", "api_error")
    assert await relay.outcomes() == {(answer.outcome, "none"): 1}
    if name in upstreams:
        assert upstreams[name].callers == []
    if name in no_tls:
        assert no_tls[name].heard[0] == 0x16  # a handshake, and nothing else
        assert b"messages" not in no_tls[name].heard
        assert KEY.encode() not in no_tls[name].heard


async def test_the_log_says_why(config: Config, tmp_path: Path) -> None:
    """For each upstream in words of its own; secrets are looked for in every line at the end."""
    async with relay_process(tmp_path, config) as relay:
        await asyncio.gather(*(relay.ask(call(name)) for name in REASONS))
        for name, reason in REASONS.items():
            await relay.log.says(f"^upstream of relay {name}: .*{reason}")
        assert await relay.samples("relay_upstream_up", "relay", relay="expired") == {}


async def test_tls_with_a_private_ca(relay: CountedRelay, upstreams: Upstreams) -> None:
    """A certificate of the configured CA is accepted, and its connection kept."""
    agent = await relay.agent()
    for _ in range(2):
        assert (await agent.ask(call("good"))).status == 200
    assert len(upstreams["good"].callers) == 1
    assert [each.complete for each in upstreams["good"].requests] == [True, True]


async def test_a_handshake_that_is_hung_up_on(relay: CountedRelay, upstreams: Upstreams) -> None:
    """Tried once more, as a listener that restarts would want it; then 502."""
    agent = await relay.agent()
    await agent.send(call("abrupt"))
    for _ in range(2):
        caller = await upstreams["abrupt"].accepted()
        assert (await caller.some())[0] == 0x16
        caller.leave()
    check_error(await agent.answer(), 502, "connect_error", "api_error")
    assert len(upstreams["abrupt"].callers) == 2
