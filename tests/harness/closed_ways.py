"""Proxies on the way out that open none, each in a way of its own, and what the log says of each.

Those that answer CONNECT with something else, and those with which something fails before or behind
that.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from relay.http.parser import HEAD_LIMIT
from tests.harness.configuration import Config
from tests.harness.egress import API, AUTHORITY, Issued
from tests.harness.proxy import OPENED, Proxy, running_proxy
from tests.harness.secrets import PROXY_CREDENTIAL, PROXY_PASSWORD, SECRETS
from tests.harness.silence import NoTls, refusing
from tests.harness.upstream import running_upstream

CONNECT_SECONDS: Final = 0.5


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
    "schemes on one line": Case(
        WANTS % b'Negotiate, NTLM abc==, Digest realm="a, Basic b", nonce = "c"',
        "wants to be told who asks by Negotiate, NTLM, Digest: 407",
        lasting=True,
    ),
    "schemes without end": Case(
        WANTS % b", ".join(b"Scheme-%d" % number for number in range(1000)),
        r"wants to be told who asks by Scheme-0, [^:]{90,110}\.\.\.: 407 ",
        lasting=True,
    ),
    "a scheme that is the password": Case(
        WANTS % b"NTLM, %b" % PROXY_PASSWORD.encode(),
        r"wants to be told who asks by NTLM, \[redacted\]: 407 ",
        lasting=True,
    ),
    "quotes without end": Case(
        WANTS % (b'Negotiate realm="a, Basic ' + b'\\"' * 8000),
        "wants to be told who asks by Negotiate: 407",
        lasting=True,
    ),
    "the last on a line": Case(
        WANTS % b'Negotiate, Digest realm="corp", nonce="c", Basic realm="corp"',
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


def relay_by(issued: Issued, url: str, **egress: object) -> Config:
    """Return a relay that goes out through that proxy."""
    way_out = {"url": url, "credential": {"file": "proxy"}} | egress
    ca_file = str(issued.authority.file)
    return {"url": f"https://{API}", "grant": "anthropic", "ca_file": ca_file, "egress": way_out}


def named(name: str) -> str:
    """Return a case's relay."""
    return re.sub(r"\W", "-", name)


ELSEWHERE = {
    "nowhere": "the proxy http://proxy.corp.invalid: the name has no address: \\w+",
    "refused": r"nothing answers at http://127\.0\.0\.1:\d+, the proxy on the way to https://",
    "full": r"the proxy \S+: no connection in time; calls fail",
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


@asynccontextmanager
async def playing(cases: Mapping[str, Case], port: int = 0) -> AsyncIterator[dict[str, Proxy]]:
    """Run a proxy for each case, in front of an API that none of them leads to."""
    async with AsyncExitStack() as stack:
        found: dict[str, Proxy] = {}
        for name, case in cases.items():
            proxy = await stack.enter_async_context(running_proxy({AUTHORITY: port}))
            proxy.answer, proxy.closes, proxy.leads = case.answer, case.closes, False
            found[name] = proxy
        yield found


@asynccontextmanager
async def failing_elsewhere(issued: Issued, full_port: int) -> AsyncIterator[Config]:
    """Run what fails before CONNECT and behind it; return a relay for each, by their names."""
    async with AsyncExitStack() as stack:
        silent, plain = NoTls(b""), NoTls(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        for each in (silent, plain):
            await each.start()
            stack.push_async_callback(each.stop)
        forging = await stack.enter_async_context(running_upstream(issued.forged.context()))
        strange = await stack.enter_async_context(running_proxy({}, issued.proxy.context()))
        urls = {
            "nowhere": "http://proxy.corp.invalid",
            "refused": f"http://127.0.0.1:{stack.enter_context(refusing())}",
            "full": f"http://127.0.0.1:{full_port}",
            "silent-proxy-tls": f"https://127.0.0.1:{silent.port}",
            "plain-proxy": f"https://127.0.0.1:{plain.port}",
            "strange-proxy": strange.url,
        }
        leading = {
            "silent-tls": silent.port,
            "intercepted": forging.port,
            "another-protocol": plain.port,
        }
        for name, port in leading.items():
            running = running_proxy({AUTHORITY: port})
            urls[name] = (await stack.enter_async_context(running)).url
        cutting = await stack.enter_async_context(running_proxy({}))
        cutting.closes = True
        urls["cut"] = cutting.url
        yield {name: relay_by(issued, url) for name, url in urls.items()}
        assert strange.passages == []
        assert forging.requests == []
