"""``Expect: 100-continue`` is answered by the relay, once the token was accepted."""

from __future__ import annotations

from typing import Final

import pytest

from tests.wire.case import Case, Seen, all_refused, relayed, request, specified
from tests.wire.ends import Ends
from tests.wire.playing import check, check_seen

pytestmark = pytest.mark.asyncio(loop_scope="module")

EXPECT: Final = b"Expect: 100-continue\r\nContent-Length: 2"
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

REFUSED: Final = (
    all_refused(
        {
            "no token": request(EXPECT, b"", token=b""),
            "a wrong token": request(EXPECT, b"", token=b"x-api-key: wrong\r\n"),
        },
        401,
        closes=False,
    )
    + all_refused(
        {"a path": request(EXPECT, b"", start=b"POST /relay/anthropic/stats HTTP/1.1")},
        403,
        reason="path",
    )
    + all_refused({"no relay": request(EXPECT, b"", start=b"POST /nothing HTTP/1.1")}, 404)
    + all_refused({"an Origin": request(b"Origin: x\r\n" + EXPECT, b"")}, 403, reason="origin")
    + all_refused({"no Host": request(EXPECT, b"", host=b"")}, reason="host")
    + all_refused({"two lengths": request(EXPECT + b"\r\nContent-Length: 2", b"")})
)
OTHERS: Final = [
    relayed(name, request(lines), Seen(), closes=closes)
    for name, lines, closes in (
        ("another expectation", b"Expect: 200-maybe\r\nContent-Length: 2", False),
        ("an empty expectation", b"Expect:\r\nContent-Length: 2", False),
    )
] + [
    relayed(
        "HTTP/1.0 gets no 100",
        request(EXPECT, start=b"POST /relay/anthropic/v1/messages HTTP/1.0"),
        Seen(),
        closes=True,
    )
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
async def test_what_is_refused_gets_no_100(ends: Ends, case: Case) -> None:
    """The agent sends no body, and none is waited for before the answer."""
    ends.begin()
    agent = await ends.agent()
    await agent.send_apart(*case.sent)
    await agent.until(lambda: bool(agent.answers([]) and agent.answers([])[0].complete))
    (answer,) = agent.answers([])
    assert (answer.status, answer.interim) == (case.answers[0].status, [])
    assert not ends.upstream.requests
    ends.rejections[case.answers[0].reason or ""] += 1


@pytest.mark.parametrize("expectation", [b"100-continue", b"100-Continue", b"100-CONTINUE"])
async def test_a_body_that_waits_is_asked_for(ends: Ends, expectation: bytes) -> None:
    """Exactly one 100, before anything of the body was sent, and none of it goes upstream."""
    ends.begin()
    agent = await ends.agent()
    await agent.send(request(b"Expect: %b\r\nContent-Length: 2" % expectation, b""))
    await agent.until(lambda: len(agent.received) >= len(CONTINUE))
    assert agent.received == CONTINUE
    await agent.send(b"{}")
    await agent.until(lambda: agent.received.endswith(b"ok"))
    (answer,) = agent.answers([])
    assert (answer.status, answer.interim) == (200, [100])
    check_seen(ends.upstream.requests[0], Seen(), ends.upstream.port)
    await ends.call_well(agent)


@specified(OTHERS)
async def test_other_expectations_are_nothing_to_the_upstream(ends: Ends, case: Case) -> None:
    """They are dropped, and the call goes on."""
    await check(ends, case)
