"""Has aiohttp answer one request of an admin connection.

The connection is the relay's own (``downstream.server_connection``): it parses strictly, sets the
time limits, and takes one request after another. aiohttp is given a minimal head, made here from
the method and the target alone, and writes to a transport that leads back to the connection. So its
own error pages, which echo the request and name aiohttp's version, cannot occur. Handlers find the
agent's real head in the `Bridge`.
"""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web

from relay.downstream.transport import AgentTransport, WriteLimit
from relay.http.message import RequestHead

# aiohttp's parser refuses methods that it has not heard of; POST is refused as well, by `access`.
_METHODS: Final = frozenset({b"GET", b"HEAD", b"OPTIONS"})
_OTHER_METHOD: Final = b"POST"


class Bridge(asyncio.Transport):
    """The transport that aiohttp writes one answer to."""

    def __init__(self, agent: AgentTransport, head: RequestHead) -> None:
        super().__init__()
        self.head = head
        """The request as it was read."""
        self.local_address = agent.local_address
        self._agent = agent
        self._closed = asyncio.get_running_loop().create_future()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Queue bytes for the one who asked."""
        self._agent.write(bytes(data))

    @property
    def untaken(self) -> int:
        """Bytes that the one who asked has not taken yet."""
        return self._agent.untaken

    def abort(self) -> None:
        """Cut the connection: whoever asked takes nothing, or nothing more is to be said."""
        self._agent.abort()

    def close(self) -> None:
        """Note that the answer is out."""
        if not self._closed.done():
            self._closed.set_result(None)

    def is_closing(self) -> bool:
        """Whether the answer is out."""
        return self._closed.done()

    async def wait_closed(self) -> None:
        """Wait until the answer is out."""
        await self._closed


def bridge_of(request: web.Request) -> Bridge:
    """Return the bridge that a request has come over."""
    bridge = request.transport
    assert isinstance(bridge, Bridge)
    return bridge


async def answer(
    server: web.Server,
    agent: AgentTransport,
    head: RequestHead,
    *,
    write_seconds: float,
    close: bool,
) -> None:
    """Have aiohttp answer a request; ``close`` says that nothing follows on the connection."""
    bridge = Bridge(agent, head)
    limit = WriteLimit(agent, write_seconds)
    protocol = server()
    protocol.connection_made(bridge)

    def follow(writable: bool) -> None:  # noqa: FBT001  # it is the state itself
        if writable:
            limit.stop()
            protocol.resume_writing()
        else:
            limit.start()
            protocol.pause_writing()

    agent.watch(follow)
    try:
        protocol.data_received(_bare_head(head, close=close))
        protocol.close()  # after this answer
        await bridge.wait_closed()
    finally:
        agent.watch(None)
        limit.stop()
        protocol.connection_lost(None)


def _bare_head(head: RequestHead, *, close: bool) -> bytes:
    method = head.method if head.method in _METHODS else _OTHER_METHOD
    connection = b"close" if close else b"keep-alive"
    line = b"%b %b HTTP/1.%d" % (method, head.target, head.minor)
    return b"%b\r\nHost: admin\r\nConnection: %b\r\n\r\n" % (line, connection)
