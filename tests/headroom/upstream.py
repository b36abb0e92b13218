"""Headroom's upstream: requests out, answers in, connections kept as httpx keeps them.

HTTP/1.1 without TLS. What comes is handed on as it arrives, without its framing; decoding
it is for others.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from .wire import Header

# httpx's default.
KEPT_SECONDS = 5.0
HEAD_LIMIT_BYTES = 256 * 1024
PIECE_BYTES = 64 * 1024


class UpstreamRefusedError(Exception):
    """There is nobody to connect to."""


class UpstreamCutError(Exception):
    """The connection ended before the answer did."""


@dataclass(frozen=True)
class Outgoing:
    """A request to send, whatever connection it takes."""

    url: str
    method: str
    headers: tuple[Header, ...]
    body: bytes

    @property
    def address(self) -> tuple[str, int]:
        """Return host and port."""
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or 80

    def as_bytes(self) -> bytes:
        """Return the request as it goes over the wire."""
        parts = urlsplit(self.url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        lines = [f"{self.method} {target} HTTP/1.1", *(f"{n}: {v}" for n, v in self.headers)]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + self.body


class UpstreamConnection:
    """One connection; `kept_since` says since when it has been idle."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take an open connection."""
        self.reader = reader
        self.writer = writer
        self.kept_since: float | None = None

    def usable(self) -> bool:
        """Tell whether a request can still be sent on it, as far as one knows."""
        old = self.kept_since is not None and time.monotonic() - self.kept_since > KEPT_SECONDS
        return not (old or self.reader.at_eof() or self.writer.is_closing())

    def close(self) -> None:
        """Close at once."""
        self.writer.close()


class UpstreamAnswer:
    """An answer whose head has come; close it unless its body was read to the end."""

    def __init__(
        self, upstream: "Upstream", request: Outgoing, connection: UpstreamConnection
    ) -> None:
        """Expect the answer to a request on a connection."""
        self.status = 0
        self.headers: tuple[Header, ...] = ()
        self.complete = False
        self._upstream = upstream
        self._request = request
        self._connection = connection

    def first(self, name: str) -> str | None:
        """Return the value of the first line of the (lower-case) header `name`."""
        return next((value for key, value in self.headers if key.lower() == name), None)

    async def read_head(self) -> None:
        """Read the head, past those that only announce one; UpstreamCutError."""
        with _cuts():
            while self.status < 200:
                head = (await self._connection.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                status_line, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
                self.status = int(status_line.split(" ")[1])
        fields = (line.split(":", 1) for line in lines)
        self.headers = tuple((name, value.strip()) for name, value in fields)

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield the body as it arrives; UpstreamCutError."""
        until_closed = False
        if self._request.method == "HEAD" or self.status in (204, 304):
            pass
        elif self.first("transfer-encoding"):
            async for piece in self._chunks():
                yield piece
        elif (length := self.first("content-length")) is not None:
            async for piece in self._counted(int(length)):
                yield piece
        else:
            until_closed = True
            while piece := await self._some(PIECE_BYTES):
                yield piece
        self.complete = True
        if until_closed or "close" in (self.first("connection") or "").lower():
            self._connection.close()
        else:
            self._upstream.keep(self._request.address, self._connection)

    async def _chunks(self) -> AsyncGenerator[bytes, None]:
        while size := int(await self._line(), 16):
            async for piece in self._counted(size):
                yield piece
            await self._line()
        while await self._line():
            pass

    async def _counted(self, count: int) -> AsyncGenerator[bytes, None]:
        while count > 0:
            piece = await self._some(min(count, PIECE_BYTES))
            if not piece:
                raise UpstreamCutError
            count -= len(piece)
            yield piece

    async def _line(self) -> bytes:
        with _cuts():
            return (await self._connection.reader.readuntil(b"\r\n"))[:-2]

    async def _some(self, limit: int) -> bytes:
        with _cuts():
            return await self._connection.reader.read(limit)

    def close(self) -> None:
        """Give the rest of the answer up, and the connection with it."""
        if not self.complete:
            self._connection.close()


class Upstream:
    """Where requests go, with the connections that are open."""

    def __init__(self) -> None:
        """Begin without connections."""
        self._kept: dict[tuple[str, int], list[UpstreamConnection]] = {}
        self._open: list[UpstreamConnection] = []

    async def ask(self, request: Outgoing) -> UpstreamAnswer:
        """Send a request; return its answer as soon as the head has come.

        UpstreamRefusedError where nobody listens, UpstreamCutError where no answer came.
        """
        kept = self._take_kept(request.address)
        connection = kept or await self._connect(request.address)
        answer = UpstreamAnswer(self, request, connection)
        try:
            # Without waiting until it has gone: a refusal may come before the body is read.
            connection.writer.write(request.as_bytes())
            await answer.read_head()
        except BaseException:
            connection.close()
            raise
        return answer

    async def _connect(self, address: tuple[str, int]) -> UpstreamConnection:
        try:
            streams = await asyncio.open_connection(*address, limit=HEAD_LIMIT_BYTES)
        except OSError as error:
            raise UpstreamRefusedError from error
        connection = UpstreamConnection(*streams)
        self._open = [each for each in self._open if not each.writer.is_closing()]
        self._open.append(connection)
        return connection

    def _take_kept(self, address: tuple[str, int]) -> UpstreamConnection | None:
        kept = self._kept.get(address, [])
        while kept:
            connection = kept.pop()
            if connection.usable():
                return connection
            connection.close()
        return None

    def keep(self, address: tuple[str, int], connection: UpstreamConnection) -> None:
        """Keep a connection for the next request."""
        connection.kept_since = time.monotonic()
        self._kept.setdefault(address, []).append(connection)

    async def close(self) -> None:
        """Drop every connection, and see each closed."""
        for connection in self._open:
            connection.writer.transport.abort()
        for connection in self._open:
            with suppress(OSError):
                await connection.writer.wait_closed()
        self._kept.clear()


@contextmanager
def _cuts() -> Iterator[None]:
    try:
        yield
    except (EOFError, OSError, ValueError, asyncio.LimitOverrunError) as error:
        raise UpstreamCutError from error
