"""A proxy on loopback that opens ways by CONNECT, or does what a test says instead.

It knows names that no resolver does, so that a relay under test can be sent to an API that is not
on loopback by its name. All that it sees is kept, for it is what a company's proxy would see.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from tests.harness import FUSE_SECONDS
from tests.harness.listener import Server

OPENED: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"


@dataclass
class Passage:
    """One connection to the proxy: what it asked for, and what went each way behind that."""

    writer: asyncio.StreamWriter
    head: bytes = b""
    up: bytearray = field(default_factory=bytearray)
    down: bytearray = field(default_factory=bytearray)
    inner: asyncio.StreamWriter | None = None
    over: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def lines(self) -> list[bytes]:
        """The lines of its head."""
        return self.head.removesuffix(b"\r\n\r\n").split(b"\r\n")

    def cut(self) -> None:
        """End it without a word, on both sides."""
        for writer in (self.writer, self.inner):
            if writer is not None:
                writer.transport.abort()

    async def ended(self) -> None:
        """Wait until both sides are closed."""
        async with asyncio.timeout(FUSE_SECONDS):
            await self.over.wait()


class Proxy(Server):
    """A proxy that leads to ports of loopback, by the hosts and ports that it is asked for."""

    def __init__(self, leads_to: Mapping[str, int]) -> None:
        super().__init__()
        self.leads_to = leads_to
        self.answer = OPENED
        self.leads = True
        """Whether it leads on behind its answer, whatever that was; else it only listens."""
        self.closes = False
        """Whether it closes behind its answer."""
        self.connections = 0
        """How many there were, with those that said nothing."""
        self.passages: list[Passage] = []
        """Those that asked for a way."""
        self._unseen: asyncio.Queue[Passage] = asyncio.Queue()
        self._scheme = "http"
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", port, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]
        self._scheme = "https" if tls else "http"

    @property
    def url(self) -> str:
        """Its address."""
        return f"{self._scheme}://127.0.0.1:{self.port}"

    async def asked(self) -> Passage:
        """Return the next connection that asks for a way, once there is one."""
        async with asyncio.timeout(FUSE_SECONDS):
            return await self._unseen.get()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        self._run(self._serve(reader, Passage(writer)))

    async def _serve(self, reader: asyncio.StreamReader, passage: Passage) -> None:
        try:
            with contextlib.suppress(OSError, EOFError):
                passage.head = await reader.readuntil(b"\r\n\r\n")
                self.passages.append(passage)
                self._unseen.put_nowait(passage)
                passage.writer.write(self.answer)
                if not self.closes:
                    await self._lead(reader, passage)
        finally:
            passage.writer.close()
            if passage.inner is not None:
                passage.inner.close()
            passage.over.set()

    async def _lead(self, reader: asyncio.StreamReader, passage: Passage) -> None:
        port = self.leads_to.get(passage.head.split(b" ")[1].decode())
        if port is None or not self.leads:
            while data := await reader.read(65_536):
                passage.up += data
            return
        back, passage.inner = await asyncio.open_connection("127.0.0.1", port)
        async with asyncio.TaskGroup() as group:
            group.create_task(_pass_on(reader, passage.inner, passage.up))
            group.create_task(_pass_on(back, passage.writer, passage.down))

    async def stop(self) -> None:
        """Drop everything."""
        await super().stop()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0)


async def _pass_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: bytearray
) -> None:
    """Pass on what comes, and its end, whatever that was."""
    try:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                seen += data
                writer.write(data)
                await writer.drain()
    finally:
        writer.close()


@asynccontextmanager
async def running_proxy(
    leads_to: Mapping[str, int], tls: ssl.SSLContext | None = None
) -> AsyncIterator[Proxy]:
    """Run a proxy for the length of the context."""
    proxy = Proxy(leads_to)
    await proxy.start(tls)
    try:
        yield proxy
    finally:
        await proxy.stop()
