"""The strict connection: one connection of an agent, read by the relay's own rules and no others.

Every byte goes through ``http.parser`` and ``http.chunked``. One request at a time is handed to a
handler, with its body as it arrives; what is pipelined behind it is kept as bytes, and read
when the answer is out. A refused request reaches the handler in its turn, as a refusal;
nothing behind it is read. A handler whose agent has gone is cancelled.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from relay.downstream.request_body import BodyBuffer
from relay.downstream.transport import AgentTransport
from relay.errors import MalformedRequest, RelayError, RequestStalled
from relay.http.chunked import ChunkReader
from relay.http.message import RequestHead
from relay.http.parser import RequestHeadReader

if TYPE_CHECKING:
    from relay.downstream.connections import Connections

log = logging.getLogger("relay")

# Apache allows 20 s for a head, nginx 60; an agent beside us sends it in one piece.
HEAD_SECONDS: Final = 10.0
# Longer than any client keeps its idle connections (undici 4 s, httpx 5 s, Bun 30 s), so
# that it is the client that ends them.
KEEP_ALIVE_SECONDS: Final = 75.0
# How long the rest of a body that nobody wants is awaited before the next request.
DISCARD_SECONDS: Final = 10.0
# Bytes that are read ahead of the answer to what was before them. Clients in use pipeline
# none; reading goes on all the same, for that is how an agent's leaving shows.
HELD_LIMIT: Final = 64 * 1024


@dataclass(slots=True)
class Request:
    """A request as the connection read it: its head and its body, or why it was refused."""

    body: BodyBuffer
    head: RequestHead | None = None
    """Until the answer has begun."""
    refusal: RelayError | None = None
    broken: bool = False
    """Whether its body turned out malformed; known once the body has ended."""

    def read(self) -> RequestHead:
        """Return the head of a request that may be handled; raise what is wrong with it."""
        if self.refusal is not None:
            raise self.refusal
        if self.head is None or self.broken:
            raise MalformedRequest
        return self.head

    @property
    def is_whole(self) -> bool:
        """Whether all of it has come and was read, and was good."""
        return self.refusal is None and not self.broken and self.body.read


class Handler(Protocol):
    """Who answers the requests."""

    def handle(
        self, connection: ServerConnection, request: Request, /
    ) -> Coroutine[None, None, bool]:
        """Answer a request; return whether another may follow on its connection."""


class ServerConnection(asyncio.Protocol):
    """One connection from an agent, read strictly and answered one request after another."""

    def __init__(self, handler: Handler, connections: Connections) -> None:
        self.transport = AgentTransport()
        """What answers are written to."""
        self._loop = asyncio.get_running_loop()
        self._handler = handler
        self._connections = connections
        self._reader = RequestHeadReader()
        self._take: Callable[[bytes], bytes] = self._take_head
        self._request: Request | None = None
        self._remaining = 0
        self._chunks: ChunkReader | None = None
        """What reads the body of a request that comes in chunks."""
        self._held: list[bytes] = []
        self._held_size = 0
        self._arrival: asyncio.Future[None] | None = None
        self.silent_since = self._loop.time()
        """Since when the agent has owed a head, or the rest of one."""
        self._serving: asyncio.Task[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether a request is being read or answered."""
        return self._request is not None

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # TCP or TLS: always a full transport
        self.transport.opened(transport)
        self._connections.opened(self)
        self._serving = self._loop.create_task(self._serve())

    def data_received(self, data: bytes) -> None:
        try:
            while data:
                data = self._take(data)
        except RelayError as error:
            self._refuse(error)

    def eof_received(self) -> None:
        self.transport.cut()  # who only sends no more cannot be told from who has left

    def connection_lost(self, _: Exception | None) -> None:
        self.transport.lost()
        self._connections.closed(self)
        if self._serving is not None:
            self._serving.cancel()

    def pause_writing(self) -> None:
        self.transport.set_writable(value=False)

    def resume_writing(self) -> None:
        self.transport.set_writable(value=True)

    # Reading

    def _take_head(self, data: bytes) -> bytes:
        if not self._reader.begun:
            self.silent_since = self._loop.time()
        if not self._reader.feed(data):
            return b""
        head, rest = self._reader.head(), self._reader.rest
        self._reader = RequestHeadReader()
        request = Request(BodyBuffer(self._pause_body), head)
        if head.chunked:
            self._take, self._chunks = self._take_chunks, ChunkReader(MalformedRequest)
        elif head.length:
            self._take, self._remaining = self._take_sized, head.length
        else:
            self._take = self._hold
            request.body.end()
        self._announce(request)
        return rest

    def _take_sized(self, data: bytes) -> bytes:
        assert self._request is not None
        body = self._request.body
        if len(data) < self._remaining:
            self._remaining -= len(data)
            body.put(data)
            return b""
        piece, rest = data[: self._remaining], data[self._remaining :]
        self._take = self._hold
        body.put(piece)
        body.end()
        return rest

    def _take_chunks(self, data: bytes) -> bytes:
        assert self._request is not None
        assert self._chunks is not None
        body, chunks = self._request.body, self._chunks
        piece = chunks.feed(data)
        if piece:
            body.put(piece)
            chunks.check()
        if not chunks.ended:
            return b""
        self._take, self._chunks = self._hold, None
        body.end()
        return chunks.rest

    def _hold(self, data: bytes) -> bytes:
        """Keep what follows a request until that is answered; not without end."""
        self._held.append(data)
        self._held_size += len(data)
        if self._held_size > HELD_LIMIT:
            self.transport.pause_reading()
        return b""

    def _pause_body(self, full: bool) -> None:  # noqa: FBT001  # it is the state itself
        if full:
            self.transport.pause_reading()
        elif self._held_size <= HELD_LIMIT:
            self.transport.resume_reading()

    def _refuse(self, error: RelayError) -> None:
        """Let a refusal take its turn, and read nothing more."""
        self._take = _discard
        if self._request is None:
            refused = Request(BodyBuffer(self._pause_body), refusal=error)
            refused.body.end()
            self._announce(refused)
        else:
            self._request.broken = True
            self._request.body.end()

    def _announce(self, request: Request) -> None:
        self._request = request
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    # One request after another

    async def _serve(self) -> None:
        try:
            while await self._answer(await self._next()):
                self._begin_next()
                if self._request is not None:
                    # Without this a flood of pipelined ones would have all the turns.
                    await asyncio.sleep(0)
        except Exception:
            log.exception("a fault of the relay")
            self.transport.abort()
        else:
            self.transport.close()

    async def _next(self) -> Request:
        while self._request is None:
            self._arrival = self._loop.create_future()
            await self._arrival
        return self._request

    async def _answer(self, request: Request) -> bool:
        """Have a request answered; return whether another may follow."""
        try:
            keep = await self._handler.handle(self, request)
            if keep:
                return request.is_whole or await self._discard_body(request)
            if self._held or not request.is_whole:
                await self._linger()
            return False
        finally:
            self._request = None
            self._connections.request_over()

    async def _discard_body(self, request: Request) -> bool:
        """Read the rest of a body that nobody wanted; return whether it came to a good end."""
        try:
            async with asyncio.timeout(DISCARD_SECONDS):
                await request.body.discard()
        except TimeoutError:
            return False
        return not request.broken

    def _begin_next(self) -> None:
        """Read what was held while the request before it was answered."""
        self.silent_since = self._loop.time()
        self._take = self._take_head
        if self._held:
            held = b"".join(self._held)
            self._held.clear()
            if self._held_size > HELD_LIMIT:
                self.transport.resume_reading()
            self._held_size = 0
            self.data_received(held)

    async def _linger(self) -> None:
        self._take = _discard
        await self.transport.linger()

    # From time to time

    def check_silence(self) -> None:
        """Refuse a head that does not end, and end a connection that nobody uses."""
        if self._request is not None or self._take == _discard:
            return
        silence = self._loop.time() - self.silent_since
        if self._reader.begun:
            if silence > HEAD_SECONDS:
                self._refuse(RequestStalled())
        elif silence > KEEP_ALIVE_SECONDS:
            self.transport.close()


def _discard(_: bytes) -> bytes:
    """Drop what follows the last request that is answered on a connection."""
    return b""
