"""What a hop passes on of its upstream's answer, and how it tells of an upstream that fails.

Observed on headroom-ai 0.42.0: a 502 of its own where nobody listens, an `error` event and a
clean end where a stream is cut in the middle.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from http import HTTPStatus

from .answers import (
    EVENT_STREAM,
    Answer,
    error_answer,
    headroom_headers,
    own_answer,
    uvicorn_headers,
)
from .anthropic import error_event
from .coding import UndecodableError, decoded_pieces
from .compression import Tokens
from .record import Exchange, Leg, Record
from .upstream import UpstreamAnswer, UpstreamCutError
from .wire import Header

UNREACHABLE = "Failed to connect to upstream API"
INTERRUPTED = error_event("api_error", "Upstream connection was interrupted")
# What the upstream said of itself and its connection, and of a coding that is gone.
_NOT_PASSED_ON = (
    *("server", "connection", "keep-alive", "transfer-encoding"),
    *("content-length", "content-encoding"),
)


class Received:
    """An answer of the upstream whose head has come, and the record of it."""

    def __init__(self, answer: UpstreamAnswer, leg: Leg, record: Record) -> None:
        """Take an answer."""
        self.status = answer.status
        self.headers = answer.headers
        self._answer = answer
        self._leg = leg
        self._record = record
        leg.status, leg.answer_headers = answer.status, list(answer.headers)
        record.move_leg(leg, "answering")

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield the body as it arrives, without its coding; UpstreamCutError."""
        coding = self._answer.first("content-encoding")
        try:
            async with aclosing(decoded_pieces(self._counted(), coding)) as pieces:
                async for piece in pieces:
                    yield piece
        except UndecodableError as error:
            raise UpstreamCutError from error

    async def _counted(self) -> AsyncGenerator[bytes, None]:
        try:
            async for piece in self._answer.pieces():
                self._leg.received_bytes += len(piece)
                yield piece
        except UpstreamCutError:
            self._record.move_leg(self._leg, "cut")
            raise
        self._record.move_leg(self._leg, "done")

    async def whole(self) -> bytes:
        """Return the body; UpstreamCutError."""
        try:
            async with aclosing(self.pieces()) as pieces:
                return b"".join([piece async for piece in pieces])
        finally:
            self.close()

    async def events(self) -> AsyncGenerator[bytes, None]:
        """Yield the events of a stream, each by itself, with one to tell of a cut."""
        rest = b""
        try:
            async with aclosing(self.pieces()) as pieces:
                async for piece in pieces:
                    *events, rest = (rest + piece).split(b"\n\n")
                    for event in events:
                        yield event + b"\n\n"
        except UpstreamCutError:
            yield INTERRUPTED
            return
        if rest:
            yield rest

    def close(self) -> None:
        """Cut it off where it has not come to its end."""
        self._record.move_leg(self._leg, "left")
        self._answer.close()


@dataclass(frozen=True)
class Passage:
    """What is passed on: an answer and, of a streamed one, the events as they come."""

    answer: Answer
    events: AsyncGenerator[bytes, None] | None = None
    received: Received | None = None
    others: tuple["asyncio.Task[None]", ...] = ()

    def close(self) -> None:
        """Give up what has not come yet."""
        if self.received is not None:
            self.received.close()
        for other in self.others:
            other.cancel()


def forwarded_answer(
    exchange: Exchange, status: int, headers: Iterable[Header], tokens: Tokens
) -> Answer:
    """Return the head of an upstream's answer as it is passed on, without its body."""
    kept = {name.lower(): value for name, value in headers if name.lower() not in _NOT_PASSED_ON}
    streamed = kept.get("content-type", "").startswith("text/event-stream")
    if streamed:
        kept["content-type"] = EVENT_STREAM
    kept |= dict(headroom_headers(exchange, tokens))
    return Answer(status, _reason(status), (*uvicorn_headers(), *kept.items()), (), streamed)


def _reason(status: int) -> str:
    """Return uvicorn's reason phrase: empty for a status that Python does not know."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def unreachable_answer(exchange: Exchange) -> Answer:
    """Return what a hop says of an upstream that cannot be reached."""
    if exchange.body.wants_stream:
        body = error_event("connection_error", UNREACHABLE)
        return own_answer(502, "Bad Gateway", EVENT_STREAM, body, streamed=True)
    return error_answer(exchange, 502, "Bad Gateway", "api_error", UNREACHABLE)
