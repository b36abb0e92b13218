"""A client of the stand-ins that reads and writes what it is told, byte by byte.

It takes an answer as far as it comes, and says how far that was.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from tests.harness.chain import Listening

# A fuse, never a measure.
FUSE_SECONDS = 5.0


@dataclass
class Response:
    """A response as far as it came; `complete` tells whether its framing said so."""

    status_line: str
    headers: list[tuple[str, str]]
    pieces: list[bytes] = field(default_factory=list)
    complete: bool = False

    @property
    def status(self) -> int:
        """Return the status code."""
        return int(self.status_line.split(" ")[1])

    @property
    def body(self) -> bytes:
        """Return the body without its framing."""
        return b"".join(self.pieces)

    def values(self, name: str) -> list[str]:
        """Return the values of the header `name`."""
        return [value for header, value in self.headers if header == name]


class Client:
    """One connection of a client that reads and writes what it is told."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take an open connection."""
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        """Write bytes."""
        self.writer.write(data)
        await self.writer.drain()

    async def request(
        self, target: str, headers: dict[str, str] | None = None, body: bytes | None = None
    ) -> None:
        """Send a request: a POST if there is a body."""
        fields = {"host": "headroom", **(headers or {})}
        if body is not None:
            fields["content-length"] = str(len(body))
        method = "GET" if body is None else "POST"
        lines = [f"{method} {target} HTTP/1.1", *(f"{key}: {fields[key]}" for key in fields)]
        await self.send("\r\n".join([*lines, "", ""]).encode() + (body or b""))

    async def response(self) -> Response:
        """Read one response, as far as it comes."""
        async with asyncio.timeout(FUSE_SECONDS):
            response = await self.response_head()
            try:
                await self._read_body(response)
            except (asyncio.IncompleteReadError, ConnectionResetError) as error:
                response.pieces.append(getattr(error, "partial", b""))
            else:
                response.complete = True
        return response

    async def response_head(self) -> Response:
        """Read the head of a response."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status_line, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
        pairs = (line.split(": ", 1) for line in lines)
        return Response(status_line, [(name, value) for name, value in pairs])

    async def _read_body(self, response: Response) -> None:
        if not response.values("transfer-encoding"):
            await self._read_counted(response, int(response.values("content-length")[0]))
            return
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            response.pieces.append(await self.reader.readexactly(size))
            await self.reader.readexactly(2)
        await self.reader.readexactly(2)

    async def _read_counted(self, response: Response, length: int) -> None:
        # Piece by piece: a reader that waits for all of it forgets what it has on a reset.
        while missing := length - len(response.body):
            piece = await self.reader.read(missing)
            if not piece:
                raise asyncio.IncompleteReadError(b"", missing)
            response.pieces.append(piece)

    async def rest(self) -> bytes:
        """Read until the other side closes."""
        async with asyncio.timeout(FUSE_SECONDS):
            return await self.reader.read()

    def leave(self) -> None:
        """Close without a word."""
        self.writer.close()

    def reset(self) -> None:
        """Reset the connection."""
        held = self.writer.get_extra_info("socket")
        held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@asynccontextmanager
async def connected(server: Listening) -> AsyncIterator[Client]:
    """Connect to a server on loopback."""
    client = Client(*await asyncio.open_connection("127.0.0.1", server.port))
    try:
        yield client
    finally:
        client.leave()
        with suppress(OSError):
            await client.writer.wait_closed()


async def ask(
    server: Listening,
    target: str = "/v1/messages",
    headers: dict[str, str] | None = None,
    body: bytes | None = None,
) -> Response:
    """Send one request on a connection of its own and read the answer."""
    async with connected(server) as client:
        await client.request(target, headers, body)
        return await client.response()


def event_names(response: Response) -> list[str]:
    """Return the names of the events of a stream."""
    lines = response.body.decode().splitlines()
    return [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
