"""A raw upstream that keeps every byte it gets, reads it strictly, and says what it is told.

It answers each whole request with a script's bytes, cut where the script says. A request
that is not strict HTTP, or that never became whole, is kept as what it is.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from tests.headroom.connection import stop_accepting
from tests.wire.strict import Partial, Request, Wrong, read_request

OK: Final = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"

_SLACK: Final = 4096
"""How far a head may be over an agent's limits: a credential is longer than a token."""

Then = Literal["keep", "end", "reset"]


@dataclass(frozen=True, slots=True)
class Script:
    """What is answered to a request, in pieces, and what then becomes of the connection."""

    pieces: tuple[bytes, ...] = (OK,)
    then: Then = "keep"


KEEP_OK: Final = Script()


class Connection(asyncio.Protocol):
    """One connection from the relay."""

    def __init__(self, upstream: RawUpstream) -> None:
        self.received = bytearray()
        self.position = 0
        self.refused = False
        """Whether something came that is no strict HTTP."""
        self.lost = False
        self.transport: asyncio.Transport
        self._upstream = upstream
        self._pieces: list[bytes] = []

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # TCP: always a full transport
        """Begin."""
        self.transport = transport
        self._upstream.connections.append(self)

    def data_received(self, data: bytes) -> None:
        """Keep the bytes, and answer each request that is whole."""
        self.received += data
        try:
            while self.unread:
                request = read_request(bytes(self.received), self.position, slack=_SLACK)
                if not request.complete:
                    self.refused = self.refused or request.broken
                    break
                self.position = request.end
                self._upstream.requests.append(request)
                self._answer(request)
        except Wrong:
            self.refused = True
        except Partial:
            pass
        self._upstream.changed()

    def connection_lost(self, _: Exception | None) -> None:
        """Note the end; of a connection without a word nothing need be kept."""
        self.lost = True
        if not self.unread:
            self._upstream.connections.remove(self)
        self._upstream.changed()

    @property
    def unread(self) -> int:
        """How many bytes are no part of a whole request."""
        return len(self.received) - self.position

    def _answer(self, request: Request) -> None:
        script = self._upstream.script_for(request)
        self._pieces = list(script.pieces)
        self._then = script.then
        self._write()

    def _write(self) -> None:
        """Write a piece; the next one in the loop's next turn but one, so that it comes alone."""
        if self.lost:
            return
        if self._pieces:
            self.transport.write(self._pieces.pop(0))
        if self._pieces:
            loop = asyncio.get_running_loop()
            loop.call_soon(loop.call_soon, self._write)
        elif self._then == "end":
            self.transport.close()
        elif self._then == "reset":
            self.reset()

    def reset(self) -> None:
        """Reset the connection."""
        handle = self.transport.get_extra_info("socket")
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


class RawUpstream:
    """A listener, its connections, and the requests that came whole, in their order."""

    def __init__(self) -> None:
        self.port = 0
        self.script = KEEP_OK
        self.connections: list[Connection] = []
        self.requests: list[Request] = []
        self.on_change: Callable[[], None] = lambda: None
        self._server: asyncio.Server

    async def start(self) -> None:
        """Listen."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self), "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Drop everything."""
        await stop_accepting(self._server)
        for connection in list(self.connections):
            connection.transport.abort()
        await self._server.wait_closed()

    def script_for(self, _: Request) -> Script:
        """Return what is answered to a request."""
        return self.script

    def changed(self) -> None:
        """Tell who waits that something came or ended."""
        self.on_change()

    def forget(self) -> None:
        """Forget what came; connections stay."""
        self.requests.clear()
        self.connections[:] = [each for each in self.connections if not each.lost]
        for each in self.connections:
            del each.received[: each.position]
            each.position = 0

    @property
    def cut(self) -> list[bytes]:
        """What came of requests that never became whole, on connections that ended."""
        return [bytes(each.received[each.position :]) for each in self.connections if each.lost]

    @property
    def pending(self) -> bool:
        """Whether a request is still on its way."""
        return any(each.unread and not each.lost for each in self.connections)

    @property
    def refused(self) -> bool:
        """Whether anything came that a strict server does not take."""
        return any(each.refused for each in self.connections)
