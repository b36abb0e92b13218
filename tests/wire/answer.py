"""One row of what an upstream answers, and what the agent gets of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal, TypedDict, Unpack

import pytest

from tests.wire.case import request
from tests.wire.ends import Ends, check_answer
from tests.wire.strict import Response
from tests.wire.upstream import KEEP_OK, Script, Then

END: Final = b"\r\n\r\n"
OK_LINE: Final = b"HTTP/1.1 200 OK\r\n"
POST: Final = request()
HEAD: Final = request(b"", b"", start=b"HEAD /relay/anthropic/v1/models HTTP/1.1")
OLD: Final = request(start=b"POST /relay/anthropic/v1/messages HTTP/1.0")
_BYTEWISE_LIMIT: Final = 2000

Framing = Literal["sized", "chunked", "until close", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What the upstream answers, and what the agent gets of it."""

    name: str
    answer: tuple[bytes, ...]
    then: Then = "keep"
    sent: bytes = POST
    status: int = 200
    reason: bytes = b"OK"
    fields: tuple[bytes, ...] = ()
    """Beside framing and Connection."""
    body: bytes = b""
    framing: Framing = "sized"
    length: int | None = None
    """Where it is not the body's."""
    ending: Literal["", "end", "reset"] = ""
    """How the agent's connection ends, where only that tells a torso from the whole."""


class Parts(TypedDict, total=False):
    """What a row may have beside its name, its answer, and the body that arrives."""

    then: Then
    sent: bytes
    status: int
    reason: bytes
    fields: tuple[bytes, ...]
    framing: Framing
    length: int | None
    ending: Literal["", "end", "reset"]


def row(name: str, answer: bytes, body: bytes = b"ok", **parts: Unpack[Parts]) -> Row:
    """Return a row whose answer comes in one piece."""
    return Row(name=name, answer=(answer,), body=body, **parts)


def sized(*lines: bytes, body: bytes = b"ok", start: bytes = OK_LINE) -> bytes:
    """Return an answer with a length."""
    return start + b"\r\n".join([*lines, b"content-length: %d" % len(body)]) + END + body


def chunks(body: bytes, *lines: bytes) -> bytes:
    """Return an answer whose body is what stands here, chunk framing and all."""
    return OK_LINE + b"\r\n".join([*lines, b"transfer-encoding: chunked"]) + END + body


def _bytewise(row: Row) -> Row:
    whole = b"".join(row.answer)
    pieces = tuple(whole[i : i + 1] for i in range(len(whole)))
    return replace(row, name=f"{row.name}, byte by byte", answer=pieces)


def rows(*tables: list[Row]) -> pytest.MarkDecorator:
    """Return the parameters of a test: each row whole, and byte by byte where it is short."""
    plain = [row for table in tables for row in table]
    cut = [_bytewise(row) for row in plain if len(b"".join(row.answer)) < _BYTEWISE_LIMIT]
    return pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in plain + cut])


async def play(ends: Ends, row: Row) -> Response:
    """Have the upstream answer as the row says, and return what the agent got of it."""
    ends.begin()
    ends.upstream.script = Script(pieces=row.answer, then=row.then)
    agent = await ends.agent()
    method = row.sent.split(b" ")[0]
    await agent.send(row.sent)
    await agent.until(lambda: any(each.complete for each in agent.answers([method])))
    ends.upstream.script = KEEP_OK
    (answer,) = agent.answers([method])
    check_answer(answer)
    assert not row.ending or agent.ending == row.ending
    assert answer.end == len(agent.received)
    closes = b"close" in answer.items(b"connection") or not answer.complete
    await (agent.gone() if closes else ends.call_well(agent))
    await ends.call_well()
    await ends.logged(2)
    return answer


def check_framing(answer: Response, row: Row) -> None:
    """See that the body is framed for this agent, and the connection is kept where it can be."""
    length = row.length if row.length is not None else len(row.body)
    assert answer.values(b"content-length") == ([b"%d" % length] if row.framing == "sized" else [])
    assert answer.chunked is (row.framing == "chunked")
    closes = row.framing == "until close" or row.sent is OLD
    assert (b"close" in answer.items(b"connection")) is closes
