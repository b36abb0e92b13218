"""The relay's own errors, in the order in which it looks, and in the shape of the API."""

from __future__ import annotations

import asyncio
import json
from typing import Final

import pytest

from tests.wire.case import Case, Expected, all_refused, get, refused, request, specified
from tests.wire.ends import Ends, check_answer
from tests.wire.playing import check
from tests.wire.strict import Response
from tests.wire.upstream import KEEP_OK, Script

pytestmark = pytest.mark.asyncio(loop_scope="module")

BAD_LENGTH: Final = b"Content-Length: x"
ORIGIN: Final = b"Origin: https://evil.test"
NO_TOKEN: Final = b"x-api-key: wrong\r\n"
NO_HOST: Final = b"Host: a/b\r\n"
WEBSOCKET: Final = b"Upgrade: websocket"

# Each request has every fault from its own on: the first one in the order decides.
IN_ORDER: Final = [
    refused("framing first", request(b"\r\n".join([BAD_LENGTH, ORIGIN, WEBSOCKET]), start=b"POST /relay/nobody/.. HTTP/1.1", host=NO_HOST, token=NO_TOKEN)),
    refused("then the target", request(b"\r\n".join([ORIGIN, WEBSOCKET]), b"", start=b"POST /relay/nobody/.. HTTP/1.1", host=NO_HOST, token=NO_TOKEN), reason="target"),
    refused("then Host", request(b"\r\n".join([ORIGIN, WEBSOCKET]), b"", start=b"POST /relay/nobody/stats HTTP/1.1", host=NO_HOST, token=NO_TOKEN), reason="host"),
    refused("then Origin", request(b"\r\n".join([ORIGIN, WEBSOCKET]), b"", start=b"POST /relay/nobody/stats HTTP/1.1", token=NO_TOKEN), 403, reason="origin"),
    refused("then the relay", request(WEBSOCKET, b"", start=b"POST /relay/nobody/stats HTTP/1.1", token=NO_TOKEN), 404),
    refused("then an upgrade", request(WEBSOCKET, b"", start=b"POST /relay/keyless/stats HTTP/1.1", token=NO_TOKEN), 426),
    refused("then the token", request(b"", b"", start=b"POST /relay/keyless/stats HTTP/1.1", token=NO_TOKEN), 401),
    refused("then the path", request(b"", b"", start=b"POST /relay/keyless/stats HTTP/1.1"), 403, reason="path"),
    Case(name="then the credential", sent=(request(b"", b"", start=b"POST /relay/keyless/v1/messages HTTP/1.1"),), answers=(Expected(status=503, outcome="no_credential"),)),
]  # fmt: skip

FAILED: Final = [
    Case(name=f"no credential, {name}", sent=(sent,), answers=(Expected(status=503, outcome="no_credential"),))
    for name, sent in {
        "a body": request(start=b"POST /relay/keyless/v1/messages HTTP/1.1"),
        "no body": get(b"/relay/keyless/v1/models"),
        "chunks": request(b"Transfer-Encoding: chunked", b"2\r\n{}\r\n0\r\n\r\n", start=b"POST /relay/keyless/v1/messages HTTP/1.1"),
    }.items()
] + [
    Case(name="nobody is there", sent=(get(b"/relay/away/v1/models"),), answers=(Expected(status=502, outcome="connect_error"),)),
]  # fmt: skip


@specified(IN_ORDER, FAILED)
async def test_the_first_fault_in_the_order_decides(ends: Ends, case: Case) -> None:
    """Framing, target, Host, Origin, relay, upgrade, token, path, credential."""
    await check(ends, case)


@specified(
    all_refused(
        {
            "a path": request(b"", b"", start=b"GET /relay/openai/v1/messages HTTP/1.1"),
        },
        403,
        reason="path",
    )
    + all_refused(
        {
            "a token": request(
                b"", b"", start=b"GET /relay/openai/v1/models HTTP/1.1", token=NO_TOKEN
            ),
        },
        401,
    )
)
async def test_openai_errors_have_openais_shape(ends: Ends, case: Case) -> None:
    """``error`` alone, with ``param`` and ``code``."""
    await check(ends, case)
    answer = await _ask(ends, case.whole)
    assert set(json.loads(answer.body)) == {"error"}
    assert set(json.loads(answer.body)["error"]) == {"type", "message", "param", "code"}
    ends.rejections[case.answers[0].reason or ""] += 1


async def _ask(ends: Ends, *pieces: bytes, seconds: float = 30) -> Response:
    """Return the one answer to what is sent, once it and the connection's end are there."""
    agent = await ends.agent()
    await agent.send_apart(*pieces)
    await agent.until(lambda: bool(agent.answers([]) and agent.answers([])[0].complete), seconds)
    (answer,) = agent.answers([])
    check_answer(answer)
    return answer


STALLED_BODIES: Final = {
    "nothing of a body": request(b"Content-Length: 5", b""),
    "half a body": request(b"Content-Length: 5", b"{}"),
    "no chunk": request(b"Transfer-Encoding: chunked", b""),
    "half a size": request(b"Transfer-Encoding: chunked", b"2"),
    "half a chunk": request(b"Transfer-Encoding: chunked", b"5\r\n{}"),
    "a chunk without its end": request(b"Transfer-Encoding: chunked", b"2\r\n{}"),
    "no last chunk": request(b"Transfer-Encoding: chunked", b"2\r\n{}\r\n"),
    "half a trailer": request(b"Transfer-Encoding: chunked", b"2\r\n{}\r\n0\r\nX-A"),
    "no last line": request(b"Transfer-Encoding: chunked", b"2\r\n{}\r\n0\r\n"),
    "a body that waits for 100, and does not come": request(
        b"Content-Length: 5\r\nExpect: 100-continue", b""
    ),
}
STALLED_HEADS: Final = {
    "a method": b"POST",
    "a request line": b"POST /relay/anthropic/v1/messages HTTP/1.1\r\n",
    "half a header": b"POST /relay/anthropic/v1/messages HTTP/1.1\r\nHost: a",
    "all but the last line": request(b"", b"").removesuffix(b"\r\n"),
    "all but the last byte": request(b"", b"")[:-1],
    "an empty line": b"\r\n",
    "a CR": b"\r",
}


async def test_what_stalls_is_408_and_closed(ends: Ends) -> None:
    """A body after its limit, a head after ten seconds; upstream nothing is ever completed."""
    ends.begin()
    sent = [*STALLED_BODIES.values(), *STALLED_HEADS.values()]
    for answer in await asyncio.gather(*(_ask(ends, each) for each in sent)):
        assert (answer.status, answer.outcome) == (408, "rejected")
        assert json.loads(answer.body)["error"]["type"] == "timeout_error"
        assert b"close" in answer.items(b"connection")
    await ends.quiet()
    assert not ends.upstream.requests
    assert not ends.upstream.refused
    ends.rejections["framing"] += len(sent)
    await ends.call_well()
    await ends.logged(len(sent) + 1)


async def test_an_upstream_that_says_nothing_is_504(ends: Ends) -> None:
    """Once the limit for the response's head has passed; not a word of it, or half a head."""
    for pieces in ((), (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-",)):
        ends.begin()
        ends.upstream.script = Script(pieces=pieces)
        answer = await _ask(ends, request())
        assert (answer.status, answer.outcome) == (504, "timeout")
        assert json.loads(answer.body)["error"]["type"] == "timeout_error"
        ends.upstream.script = KEEP_OK
        await ends.call_well()
        await ends.logged(2)
