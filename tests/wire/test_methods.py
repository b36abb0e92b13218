"""Methods: all are relayed but those that would tunnel or show the credential; and probes."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest

from tests.wire.case import Case, Expected, Seen, all_refused, get, relayed, request, specified
from tests.wire.ends import Ends
from tests.wire.playing import check
from tests.wire.upstream import Script

pytestmark = pytest.mark.asyncio(loop_scope="module")

MODELS: Final = b"/relay/anthropic/v1/models"

RELAYED: Final = [
    relayed(
        method.decode(),
        get(MODELS, method=method),
        Seen(method=method, target=b"/v1/models", body=b"", sized=False),
    )
    for method in (b"GET", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"get", b"Post", b"PROPFIND", b"M-SEARCH", b"X", b"CONNECTX", b"TRACES", b"PRI")
] + [
    relayed(
        f"{method.decode()} with a body",
        request(start=method + b" " + MODELS + b" HTTP/1.1"),
        Seen(method=method, target=b"/v1/models"),
    )
    for method in (b"GET", b"PUT", b"PATCH", b"DELETE", b"OPTIONS")
]  # fmt: skip

REFUSED: Final = all_refused(
    {
        f"{method.decode()} {target.decode()}": request(b"", b"", start=b"%b %b HTTP/1.1" % (method, target))
        for method in (b"CONNECT", b"connect", b"Connect", b"TRACE", b"trace", b"TRACK", b"Track")
        for target in (b"relay.test:443", b"/relay/anthropic/v1/messages", b"*", b"http://relay.test/")
    }
    | {
        "CONNECT without a token": request(b"", b"", start=b"CONNECT a:443 HTTP/1.1", token=b""),
        "CONNECT without a Host": request(b"", b"", start=b"CONNECT a:443 HTTP/1.1", host=b""),
        "CONNECT on HTTP/1.0": request(b"", b"", start=b"CONNECT a:443 HTTP/1.0"),
        "TRACE with a body": request(start=b"TRACE /relay/anthropic/v1/messages HTTP/1.1"),
    },
    405,
)  # fmt: skip

NO_BODY: Final = Script(pieces=(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-a: b\r\n\r\n",))
HEADS: Final = [
    Case(
        name="HEAD",
        sent=(get(MODELS, method=b"HEAD"),),
        answers=(Expected(status=200, body=b""),),
        seen=(Seen(method=b"HEAD", target=b"/v1/models", body=b"", sized=False),),
        script=NO_BODY,
    ),
    *(
        replace(case, answers=tuple(replace(each, body=b"") for each in case.answers))
        for case in (
            *all_refused({"HEAD without a token": get(MODELS, method=b"HEAD").replace(b"x-api-key", b"x-nothing")}, 401),
            *all_refused({"HEAD of what is not allowed": get(b"/relay/anthropic/stats", method=b"HEAD")}, 403, reason="path"),
            *all_refused({"HEAD of nothing": get(b"/nothing", method=b"HEAD")}, 404),
            *all_refused({"HEAD with an Origin": get(MODELS, b"Origin: x", method=b"HEAD")}, 403, reason="origin"),
            *all_refused({"HEAD of a bad target": get(MODELS + b"/..", method=b"HEAD")}, reason="target"),
        )
    ),
]  # fmt: skip


def probe(name: str, sent: bytes, *, closes: bool = False) -> Case:
    """Return the case of a probe: answered by the relay, empty, and not logged as a call."""
    answer = Expected(status=200, body=b"", logged=False)
    return Case(name=name, sent=(sent,), answers=(answer,), closes=closes)


PROBES: Final = [
    probe("HEAD of the relay", get(b"/relay/anthropic", method=b"HEAD")),
    probe("HEAD of the relay with a slash", get(b"/relay/anthropic/", method=b"HEAD")),
    probe("HEAD of the relay with a query", get(b"/relay/anthropic?x", method=b"HEAD")),
    probe("GET hello", get(b"/relay/anthropic/api/hello")),
    probe("HEAD hello", get(b"/relay/anthropic/api/hello", method=b"HEAD")),
    probe("GET hello with a query", get(b"/relay/anthropic/api/hello?x=y")),
    probe("hello of another relay", get(b"/relay/openai/api/hello")),
    probe("hello without a token", request(b"", b"", start=b"GET /relay/anthropic/api/hello HTTP/1.1", token=b"")),
    probe("hello with a wrong token", request(b"", b"", start=b"GET /relay/anthropic/api/hello HTTP/1.1", token=b"x-api-key: wrong\r\n")),
    probe("hello with a body", request(start=b"GET /relay/anthropic/api/hello HTTP/1.1")),
    probe("hello with Upgrade", get(b"/relay/anthropic/api/hello", b"Connection: upgrade\r\nUpgrade: websocket")),
    probe("hello of a relay without a credential", get(b"/relay/keyless/api/hello")),
    probe("hello and close", get(b"/relay/anthropic/api/hello", b"Connection: close"), closes=True),
    probe("hello on HTTP/1.0", get(b"/relay/anthropic/api/hello", version=b"1.0"), closes=True),
]  # fmt: skip
NO_PROBES: Final = [
    *all_refused(
        {
            "GET of the relay": get(b"/relay/anthropic"),
            "POST of the relay": get(b"/relay/anthropic/", method=b"POST"),
            "POST hello": get(b"/relay/anthropic/api/hello", method=b"POST"),
            "get hello": get(b"/relay/anthropic/api/hello", method=b"get"),
            "hello with a slash": get(b"/relay/anthropic/api/hello/"),
            "Hello": get(b"/relay/anthropic/api/Hello"),
        },
        403,
        reason="path",
    ),
    *all_refused({"hello of no relay": get(b"/relay/nobody/api/hello")}, 404),
    *all_refused(
        {"hello from a page": get(b"/relay/anthropic/api/hello", b"Origin: x")},
        403,
        reason="origin",
    ),
    *all_refused({"hello of no one's": get(b"/relay/anthropic/api/../api/hello")}, reason="target"),
]

UPGRADES: Final = all_refused(
    {
        f"{line.decode()}": get(MODELS, b"Connection: upgrade\r\n" + line)
        for line in (
            *(b"Upgrade: websocket", b"Upgrade: WebSocket", b"upgrade: WEBSOCKET", b"Upgrade: h2c, websocket"),
            *(b"Upgrade: websocket, h2c", b"Upgrade: h2c\r\nUpgrade: websocket", b"Upgrade:websocket"),
        )
    }
    | {"a WebSocket without a token": get(MODELS, b"Upgrade: websocket").replace(b"x-api-key", b"x")},
    426,
) + [
    relayed(
        f"{line.decode()} is dropped",
        get(MODELS, b"Connection: upgrade\r\n" + line),
        Seen(method=b"GET", target=b"/v1/models", body=b"", sized=False),
    )
    for line in (b"Upgrade: h2c", b"Upgrade: TLS/1.3", b"Upgrade: websockets", b"Upgrade:", b"Upgrade: web socket")
]  # fmt: skip


@specified(RELAYED, REFUSED, HEADS)
async def test_methods_are_relayed_or_refused(ends: Ends, case: Case) -> None:
    """CONNECT would open a tunnel; TRACE would show the credential to the agent."""
    await check(ends, case)


@specified(PROBES, NO_PROBES)
async def test_probes_are_answered_without_a_token(ends: Ends, case: Case) -> None:
    """And without the upstream, nor a line in the log; nothing else is."""
    await check(ends, case)


@specified(UPGRADES)
async def test_websockets_are_refused_and_other_upgrades_dropped(ends: Ends, case: Case) -> None:
    """426 comes before the token is looked at: Codex falls back on it."""
    await check(ends, case)
