"""Proxies on the way out that open no way: what the agent is told, and what the log says.

The agent sees a fixed message and nothing of the proxy's answer. Each case has words of its own in
the log, with what the proxy said, and without what it was told.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from relay.http.parser import HEAD_LIMIT
from relay.upstream import pool
from relay.upstream.tunnel import Tunnel
from tests.faults.test_unreachable import NoTls
from tests.harness.configuration import Config, configuration
from tests.harness.egress import API, AUTHORITY, Issued, issue
from tests.harness.expectations import check_error
from tests.harness.messages import OK, request
from tests.harness.proxy import OPENED, Proxy, running_proxy
from tests.harness.relay import LocalRelay, running_relay
from tests.harness.secrets import PROXY_CREDENTIAL, PROXY_PASSWORD, SECRETS
from tests.harness.upstream import Upstream, running_upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONNECT_SECONDS = 0.5


@dataclass(frozen=True)
class Case:
    """What a proxy answers, and what the log says of it behind its address."""

    answer: bytes
    words: str
    lasting: bool = False
    """Whether agents are told not to try again."""
    closes: bool = False


WANTS = b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: %b\r\n\r\n"
SQUID = b"HTTP/1.1 %b\r\nX-Squid-Error: %b 0\r\nContent-Length: 9\r\n\r\nthe page\n"
PAGE = b"<html>corp says no</html>"

CASES = {
    "no credential": Case(
        WANTS % b'Basic realm="corp"',
        r"refuses the credential from \S+/proxy: 407 'Proxy Authentication Required'; put another",
        lasting=True,
    ),
    "other schemes": Case(
        WANTS % b"Negotiate\r\nProxy-Authenticate: NTLM",
        "wants to be told who asks by Negotiate, NTLM: 407 .*; the relay says it by Basic alone",
        lasting=True,
    ),
    "one scheme of several": Case(
        WANTS % b"Negotiate\r\nProxy-Authenticate: bAsIc realm=x",
        r"refuses the credential from \S+/proxy: 407",
        lasting=True,
    ),
    "forbidden": Case(
        SQUID % (b"403 Forbidden", b"ERR_ACCESS_DENIED"),
        f"refuses a way to {AUTHORITY}: 403 'Forbidden, ERR_ACCESS_DENIED 0'; see to its rules",
        lasting=True,
    ),
    "too many": Case(b"HTTP/1.1 429 Wait\r\n\r\n", f"refuses a way to {AUTHORITY}: 429 'Wait'"),
    "a portal": Case(
        b"HTTP/1.1 302 Found\r\nLocation: http://login.corp/\r\n\r\n",
        f"refuses a way to {AUTHORITY}: 302 'Found'",
    ),
    "bad gateway": Case(
        b"HTTP/1.1 502 Bad Gateway\r\nProxy-Status: corp; error=dns_error\r\n\r\n",
        f"refuses a way to {AUTHORITY}: 502 'Bad Gateway, corp; error=dns_error'",
    ),
    "unavailable": Case(
        SQUID % (b"503 Service Unavailable", b"ERR_DNS_FAIL"),
        f"refuses a way to {AUTHORITY}: 503 'Service Unavailable, ERR_DNS_FAIL 0'",
    ),
    "with a body": Case(
        b"HTTP/1.1 504 \r\nContent-Length: %d\r\n\r\n%b" % (len(PAGE), PAGE),
        f"refuses a way to {AUTHORITY}: 504; see",
    ),
    "of HTTP/1.0": Case(b"HTTP/1.0 503 Busy\r\n\r\n", f"refuses a way to {AUTHORITY}: 503 'Busy'"),
    "what it was told": Case(
        b"HTTP/1.1 503 user %b, %b\r\n\r\n" % (PROXY_CREDENTIAL.encode(), SECRETS[-1].encode()),
        r"503 'user \[redacted\], \[redacted\]'",
    ),
    "the password alone": Case(
        b"HTTP/1.1 503 wrong: %b\r\n\r\n" % PROXY_PASSWORD.encode(), r"503 'wrong: \[redacted\]'"
    ),
    "no plain words": Case(
        b"HTTP/1.1 503 \xe9t\xe9 " + b"a" * 200 + b"\r\n\r\n", r"503 '\\xe9t\\xe9 a{116}\.\.\.'"
    ),
    "an end": Case(b"", "ends the connection at CONNECT; look at its log", closes=True),
    "half an answer": Case(OPENED[:20], "ends the connection at CONNECT", closes=True),
    "garbage": Case(b"SSH-2.0-OpenSSH_9.9\r\n", "answers CONNECT with what is not HTTP/1.1"),
    "a TLS alert": Case(b"\x15\x03\x03\x00\x02\x02\x46", "answers CONNECT with what is not HTTP"),
    "HTTP/2": Case(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00", "answers CONNECT with what is not"),
    "bare line feeds": Case(b"HTTP/1.1 200 OK\n\n", "answers CONNECT with what is not HTTP/1.1"),
    "a huge line": Case(
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 2 * HEAD_LIMIT, "answers CONNECT with what is not"
    ),
    "a huge head": Case(
        b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * 200 + b"\r\n", "answers CONNECT with what is not"
    ),
    "interim answers": Case(b"HTTP/1.1 100 Wait\r\n\r\n" * 20, "answers CONNECT with what is not"),
    "early data": Case(OPENED + b"\x16\x03\x03", "sends data of its own behind its answer"),
    "silence": Case(b"", f"does not answer CONNECT {AUTHORITY} within 0.5 s"),
    "half a line": Case(b"HTTP/1.1 2", f"does not answer CONNECT {AUTHORITY} within 0.5 s"),
}


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
    async with AsyncExitStack() as stack:
        found: Proxies = {}
        for name, case in CASES.items():
            running = running_proxy({AUTHORITY: upstream.port})
            proxy = found[name] = await stack.enter_async_context(running)
            proxy.answer, proxy.closes, proxy.leads = case.answer, case.closes, False
        yield found


def relay_by(issued: Issued, url: str, **egress: object) -> Config:
    """Return a relay that goes out through that proxy."""
    way_out = {"url": url, "credential": {"file": "proxy"}} | egress
    ca_file = str(issued.authority.file)
    return {"url": f"https://{API}", "grant": "anthropic", "ca_file": ca_file, "egress": way_out}


def named(name: str) -> str:
    """Return a case's relay."""
    return re.sub(r"\W", "-", name)


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


@pytest.fixture(scope="module")
def full_port() -> Iterator[int]:
    """A port whose listener accepts nobody, for its queue is full."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            yield port


ELSEWHERE = {
    "nowhere": "the name of the proxy http://proxy.corp.invalid has no address: \\w+",
    "refused": r"nothing answers at http://127\.0\.0\.1:\d+, the proxy on the way to https://",
    "full": r"the proxy \S+ takes no connection within 0.5 s",
    "silent-proxy-tls": r"the proxy \S+ does not answer a TLS hello within 0.5 s",
    "plain-proxy": r"TLS with the proxy \S+ fails: wrong version number",
    "strange-proxy": (
        r"TLS with the proxy \S+ fails, the certificate is not accepted: .*; "
        "if it is the company's own, name its CA in egress.ca_file"
    ),
    "silent-tls": rf"the proxy \S+ opens a way to {AUTHORITY}, and no TLS handshake ends within",
    "intercepted": (
        rf"TLS with {AUTHORITY} through the proxy \S+ fails, the certificate is not accepted: "
        "unable to get local issuer certificate; if the proxy is meant to read TLS, the "
        "credential too, name its CA in egress.ca_file"
    ),
    "another-protocol": rf"TLS with {AUTHORITY} through the proxy \S+ fails: wrong version",
    "cut": r"the proxy \S+ ends the connection during the TLS handshake that goes through it",
}


async def test_each_step_has_words_of_its_own(
    issued: Issued, full_port: int, tmp_path: Path
) -> None:
    """And the agent is told the same of each of them, within the one limit for all."""
    async with AsyncExitStack() as stack:
        silent, plain = NoTls(b""), NoTls(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        for each in (silent, plain):
            await each.start()
            stack.callback(each.stop)
        forging = await stack.enter_async_context(running_upstream(issued.forged.context()))
        strange = await stack.enter_async_context(running_proxy({}, issued.proxy.context()))
        leading = {
            "silent-tls": silent.port,
            "intercepted": forging.port,
            "another-protocol": plain.port,
        }
        urls = {
            "nowhere": "http://proxy.corp.invalid",
            "refused": f"http://127.0.0.1:{closed_port()}",
            "full": f"http://127.0.0.1:{full_port}",
            "silent-proxy-tls": f"https://127.0.0.1:{silent.port}",
            "plain-proxy": f"https://127.0.0.1:{plain.port}",
            "strange-proxy": strange.url,
        }
        for name, port in leading.items():
            running = running_proxy({AUTHORITY: port})
            urls[name] = (await stack.enter_async_context(running)).url
        cutting = await stack.enter_async_context(running_proxy({}))
        cutting.closes = True
        urls["cut"] = cutting.url
        relays = {name: relay_by(issued, url) for name, url in urls.items()}
        timeouts = {"connect": CONNECT_SECONDS}
        config = configuration(0, claude=None, relays=relays, timeouts=timeouts)
        relay = await stack.enter_async_context(running_relay(tmp_path, config))
        for answer in await asyncio.gather(*(relay.ask(call(name)) for name in ELSEWHERE)):
            check_error(answer, 502, "connect_error", "api_error")
        for name, words in ELSEWHERE.items():
            await relay.log.says(f"^upstream of relay {name}: .*{words}")
        assert strange.passages == []
        assert forging.requests == []


def closed_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port: int = closed.getsockname()[1]
    return port


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
            proxy.stop_listening()
            agent = await relay.agent()
            await agent.send(call("out"))
            await refused.wait()
            await proxy.start(port=proxy.port)
            assert (await agent.answer()).status == 200
