"""Several requests on one connection: each answered in turn, and nothing behind a refusal."""

from __future__ import annotations

from typing import Final

import pytest

from tests.wire.case import Case, Expected, Seen, get, rejection, request, specified
from tests.wire.ends import Ends
from tests.wire.playing import check

pytestmark = pytest.mark.asyncio(loop_scope="module")

GOOD: Final = request()
CHUNKED: Final = request(b"Transfer-Encoding: chunked", b"2\r\n{}\r\n0\r\n\r\n")
MODELS: Final = get(b"/relay/anthropic/v1/models")
PROBE: Final = get(b"/relay/anthropic/api/hello")
OK: Final = Expected(status=200, body=b"ok")
PROBED: Final = Expected(status=200, body=b"", logged=False)
SEEN: Final = Seen()
SEEN_CHUNKED: Final = Seen(chunked=True)
SEEN_MODELS: Final = Seen(method=b"GET", target=b"/v1/models", body=b"", sized=False)
STOLEN: Final = get(b"/relay/anthropic/v1/models/stolen")


def row(
    name: str,
    sent: bytes,
    answers: list[Expected],
    *seen: Seen,
    closes: bool = False,
    may_cut: bool = False,
) -> Case:
    """Return a case of several requests in one piece."""
    return Case(
        name=name,
        sent=(sent,),
        answers=tuple(answers),
        seen=seen,
        closes=closes,
        may_cut=may_cut,
    )


def carrying(body: bytes, target: bytes = b"/v1/messages", **parts: bytes) -> bytes:
    """Return a request that carries another as its body."""
    start = b"POST /relay/anthropic%b HTTP/1.1" % target
    return request(b"Content-Length: %d" % len(body), body, start=start, **parts)


ANSWERED: Final = [
    row("two", GOOD + GOOD, [OK, OK], SEEN, SEEN),
    row("three of different kinds", GOOD + CHUNKED + MODELS, [OK] * 3, SEEN, SEEN_CHUNKED, SEEN_MODELS),
    row("chunks, then a length", CHUNKED + GOOD, [OK, OK], SEEN_CHUNKED, SEEN),
    row("no body, then chunks", MODELS + CHUNKED, [OK, OK], SEEN_MODELS, SEEN_CHUNKED),
    row("forty", MODELS * 40, [OK] * 40, *[SEEN_MODELS] * 40),
    row("forty with bodies", GOOD * 40, [OK] * 40, *[SEEN] * 40),
    row("an empty line between", GOOD + b"\r\n" + GOOD, [OK, OK], SEEN, SEEN),
    row("a probe between", GOOD + PROBE + GOOD, [OK, PROBED, OK], SEEN, SEEN),
    row("a trailer between", request(b"Transfer-Encoding: chunked", b"2\r\n{}\r\n0\r\nX-A: b\r\n\r\n") + GOOD, [OK, OK], SEEN_CHUNKED, SEEN),
    row("a 404 between", GOOD + get(b"/nothing") + GOOD, [OK, rejection(404), OK], SEEN, SEEN),
    row("a 401 between", GOOD + MODELS.replace(b"x-api-key", b"x") + GOOD, [OK, rejection(401), OK], SEEN, SEEN),
    row("a 403 between", GOOD + get(b"/relay/anthropic/stats") + GOOD, [OK, rejection(403, "path"), OK], SEEN, SEEN),
    row("a 426 between", GOOD + get(b"/relay/anthropic/v1/models", b"Upgrade: websocket") + GOOD, [OK, rejection(426), OK], SEEN, SEEN),
    row("refused with a body", request(start=b"POST /nothing HTTP/1.1") + GOOD, [rejection(404), OK], SEEN),
    row("refused with chunks", CHUNKED.replace(b"x-api-key", b"x") + GOOD, [rejection(401), OK], SEEN),
]  # fmt: skip

SMUGGLED: Final = [
    row("a request within a body", carrying(STOLEN) + GOOD, [OK, OK], Seen(body=STOLEN), SEEN),
    row("a request within a 404's body", request(b"Content-Length: %d" % len(STOLEN), STOLEN, start=b"POST /nothing HTTP/1.1") + GOOD, [rejection(404), OK], SEEN),
    row("a request within a 401's body", carrying(STOLEN, token=b"") + GOOD, [rejection(401), OK], SEEN),
    row("a request within a 403's body", carrying(STOLEN, b"/stats") + GOOD, [rejection(403, "path"), OK], SEEN),
    row("a request within a GET's body", request(b"Content-Length: %d" % len(STOLEN), STOLEN, start=b"GET /relay/anthropic/v1/models HTTP/1.1") + GOOD, [OK, OK], Seen(method=b"GET", target=b"/v1/models", body=STOLEN), SEEN),
    row("a request within a probe's body", request(b"Content-Length: %d" % len(STOLEN), STOLEN, start=b"GET /relay/anthropic/api/hello HTTP/1.1") + GOOD, [PROBED, OK], SEEN),
    row("a request within a chunk", request(b"Transfer-Encoding: chunked", b"%x\r\n%b\r\n0\r\n\r\n" % (len(STOLEN), STOLEN)), [OK], Seen(chunked=True, body=STOLEN)),
    row("a request within trailers is malformed", request(b"Transfer-Encoding: chunked", b"0\r\n" + STOLEN), [rejection(400)], closes=True, may_cut=True),
]  # fmt: skip

ENDED: Final = [
    row("two, then a malformed one", GOOD + GOOD + b"GET / HTTP/1.1\nX", [OK, OK, rejection(400)], SEEN, SEEN, closes=True),
    row("two lengths in the second", GOOD + request(b"Content-Length: 2\r\nContent-Length: 2"), [OK, rejection(400)], SEEN, closes=True),
    row("dot segments in the second", GOOD + get(b"/relay/anthropic/v1/../stats"), [OK, rejection(400, "target")], SEEN, closes=True),
    row("no Host in the second", GOOD + request(host=b""), [OK, rejection(400, "host")], SEEN, closes=True),
    row("CONNECT second", GOOD + request(b"", b"", start=b"CONNECT a:1 HTTP/1.1"), [OK, rejection(405)], SEEN, closes=True),
    row("another version second", GOOD + request(start=b"POST /relay/anthropic/v1/messages HTTP/2.0"), [OK, rejection(505)], SEEN, closes=True),
    row("a line too long second", GOOD + b"GET /" + b"x" * 17000, [OK, rejection(414)], SEEN, closes=True),
    row("a wrong chunk second", GOOD + request(b"Transfer-Encoding: chunked", b"x\r\n"), [OK, rejection(400)], SEEN, closes=True, may_cut=True),
    row("TLS second", GOOD + b"\x16\x03\x01", [OK, rejection(400)], SEEN, closes=True),
    row("a body longer than its length", request(b"Content-Length: 2", b"{}\x00\x00"), [OK, rejection(400)], SEEN, closes=True),
    row("a body longer than its length by a word", request(b"Content-Length: 2", b'{}"x"}'), [OK, rejection(400)], SEEN, closes=True),
    row("close", request(b"Connection: close\r\nContent-Length: 2"), [OK], SEEN, closes=True),
    row("Close among others", request(b"Connection: x, Close\r\nContent-Length: 2"), [OK], SEEN, closes=True),
    row("close in the second", GOOD + request(b"Connection: close\r\nContent-Length: 2"), [OK, OK], SEEN, SEEN, closes=True),
    row("a refusal and close", get(b"/nothing", b"Connection: close"), [rejection(404)], closes=True),
    row("HTTP/1.0", get(b"/relay/anthropic/v1/models", version=b"1.0"), [OK], SEEN_MODELS, closes=True),
    row("HTTP/1.0 that would keep alive", get(b"/relay/anthropic/v1/models", b"Connection: keep-alive", version=b"1.0"), [OK], SEEN_MODELS, closes=True),
    row("a refusal of HTTP/1.0", get(b"/nothing", version=b"1.0"), [rejection(404)], closes=True),
]  # fmt: skip


@specified(ANSWERED, SMUGGLED)
async def test_each_request_is_answered_in_turn(ends: Ends, case: Case) -> None:
    """And what is within a body is never taken for a request."""
    await check(ends, case)


@specified(ENDED)
async def test_nothing_behind_the_last_request_is_answered(ends: Ends, case: Case) -> None:
    """Neither behind a refusal that closes, nor behind what the agent itself called the last."""
    await check(ends, case)
