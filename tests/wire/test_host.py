"""Host, Origin and Sec-Fetch-Site, with client tokens and without."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

import pytest
import pytest_asyncio

from tests.wire.case import Case, Seen, all_refused, relayed, request, specified
from tests.wire.ends import GOOD, Ends, running_ends
from tests.wire.playing import check

pytestmark = pytest.mark.asyncio(loop_scope="module")

LENGTH: Final = b"\r\nContent-Length: 2"

BAD_HOSTS: Final = all_refused(
    {
        "no Host": request(host=b""),
        "no Host on HTTP/1.0": request(
            host=b"", start=b"POST /relay/anthropic/v1/messages HTTP/1.0"
        ),
        "two equal Hosts": request(host=b"Host: relay.test\r\nHost: relay.test\r\n"),
        "two unequal Hosts": request(host=b"Host: relay.test\r\nHost: evil.test\r\n"),
        "two Hosts in two cases": request(host=b"Host: relay.test\r\nhost: relay.test\r\n"),
        "a Host and an empty one": request(host=b"Host: relay.test\r\nHost:\r\n"),
        **{
            f"the Host {value!r}": request(host=b"Host: " + value + b"\r\n")
            for value in (
                *(b"", b"   ", b"a b", b"a, b", b"a,b", b"a/b", b"a?b", b"a#b", b"a@b", b"user:pass@a"),
                *(b"http://a", b"//a", b"a\\b", b"a:b", b"a:80:80", b"a:-1", b"a:+80", b"a:123456", b":80"),
                *(b"[::1", b"::1", b"[::1]x", b"[::1]:x", b"[]", b"[a b]", b"[::1%25eth0]", b"[v1.x]"),
                *(b'"a"', b"<a>", b"a;b", b"\xc3\xa9.test", b"a\xff", b"a%00", b"a%2eb", b"*", b"a\tb"),
            )
        },
    },
    reason="host",
)  # fmt: skip

ORIGINS: Final = all_refused(
    {
        f"the Origin {value!r}": request(b"Origin: " + value + LENGTH)
        for value in (b"https://evil.test", b"null", b"", b"http://127.0.0.1:8484", b"http://localhost", b"file://", b"x", b"http://relay.test")
    }
    | {
        "an origin in upper case": request(b"ORIGIN: x" + LENGTH),
        "a preflight": request(
            b"Origin: https://evil.test\r\nAccess-Control-Request-Method: POST",
            b"",
            start=b"OPTIONS /relay/anthropic/v1/messages HTTP/1.1",
        ),
        "an Origin named by Connection": request(b"Origin: x\r\nConnection: origin" + LENGTH),
        "an Origin without a token": request(b"Origin: x" + LENGTH, token=b""),
        "an Origin to an unknown relay": request(
            b"Origin: x" + LENGTH, start=b"POST /relay/nobody/v1/messages HTTP/1.1"
        ),
        "an Origin on a probe": request(
            b"Origin: x", b"", start=b"GET /relay/anthropic/api/hello HTTP/1.1"
        ),
    },
    403,
    reason="origin",
)  # fmt: skip

WITH_TOKENS: Final = [
    relayed(f"the Host {host!r}", request(host=b"Host: " + host + b"\r\n"), Seen())
    for host in (b"relay.test", b"evil.test", b"RELAY.test:8484", b"10.84.84.1:8484", b"[fe80::1]:8484", b"localhost", b"host.docker.internal:8484", b"a_b", b"a:", b"relay")
] + [
    relayed(
        f"Sec-Fetch-Site: {site.decode()}",
        request(b"Sec-Fetch-Site: " + site + LENGTH),
        Seen(fields=(b"Sec-Fetch-Site: " + site,)),
    )
    for site in (b"none", b"same-origin", b"same-site", b"cross-site")
]  # fmt: skip

LOCAL: Final = b"Host: localhost\r\n"
FOREIGN: Final = all_refused(
    {
        f"the Host {host!r}": request(host=b"Host: " + host + b"\r\n", token=b"")
        for host in (
            *(b"evil.test", b"relay.test", b"localhost.evil.test", b"evil.localhost.test", b"127.0.0.1.evil.test"),
            *(b"10.84.84.1", b"192.168.1.1:8484", b"0.0.0.0", b"[::2]", b"[fe80::1]", b"128.0.0.1", b"localhost.", b"1"),
            *(b"xlocalhost", b"localhostx", b"127.1", b"0x7f.1", b"2130706433", b"127.0.0.1.", b"[::ffff:8.8.8.8]"),
        )
    },
    421,
)  # fmt: skip
FETCHED: Final = all_refused(
    {
        f"Sec-Fetch-Site: {site.decode()}": request(
            b"Sec-Fetch-Site: " + site + LENGTH, host=LOCAL, token=b""
        )
        for site in (b"cross-site", b"same-site", b"CROSS-SITE", b"", b"x", b"none, cross-site")
    }
    | {
        "two Sec-Fetch-Sites": request(
            b"Sec-Fetch-Site: none\r\nSec-Fetch-Site: cross-site" + LENGTH, host=LOCAL, token=b""
        ),
        "an Origin": request(b"Origin: http://localhost" + LENGTH, host=LOCAL, token=b""),
    },
    403,
    reason="origin",
)
WITHOUT_TOKENS: Final = [
    relayed(f"the Host {host!r}", request(host=b"Host: " + host + b"\r\n", token=b""), Seen())
    for host in (b"localhost", b"LOCALHOST:8484", b"127.0.0.1", b"127.0.0.1:8484", b"127.0.0.2", b"127.255.255.254", b"[::1]", b"[::1]:8484", b"[0:0:0:0:0:0:0:1]")
] + [
    relayed(
        f"Sec-Fetch-Site: {site.decode()}",
        request(b"Sec-Fetch-Site: " + site + LENGTH, host=LOCAL, token=b""),
        Seen(fields=(b"Sec-Fetch-Site: " + site,)),
    )
    for site in (b"none", b"same-origin", b"Same-Origin")
] + [
    relayed("a token that nobody asks for", request(host=LOCAL), Seen()),
    relayed("a wrong token that nobody asks for", request(host=LOCAL, token=b"x-api-key: x\r\n"), Seen()),
]  # fmt: skip


@specified(BAD_HOSTS, ORIGINS, WITH_TOKENS)
async def test_with_tokens_any_one_host_will_do(ends: Ends, case: Case) -> None:
    """The Host must be one and well-formed; web pages are refused all the same."""
    await check(ends, case)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def open_ends(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ends]:
    """A relay on loopback without clients."""
    async with running_ends(tmp_path_factory.mktemp("open"), {"clients": []}) as running:
        running.good = GOOD.replace(b"relay.test", b"localhost")
        yield running


@specified(BAD_HOSTS, FOREIGN, FETCHED, WITHOUT_TOKENS)
async def test_without_tokens_only_loopback_is_served(open_ends: Ends, case: Case) -> None:
    """A name that a page could have rebound is misdirected, and what a page fetches refused."""
    await check(open_ends, case)
