"""The listener: requests read, recorded, answered by the mode of each, connections kept.

The way of a request: read its head, record it, choose the mode, read the body, wait,
play. A client that goes away cancels all that, wherever it is, and the exchange is
recorded as aborted.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

from .access import access_refusal, check_host, is_refused
from .answering import Answering
from .answers import WORDS, Answer, malformed, own_answer, too_large, usual_answer, words_of
from .arguments import ArgumentError, Arguments, parse_arguments
from .connection import Connection, stop_accepting
from .control import PREFIX, Control, Script
from .forwarder import Forwarder
from .misrouting import effective_beta, kind_of, routed_to
from .modes import MODES
from .record import Exchange, Leg, Record
from .settings import Settings
from .steering import steered_answer
from .wire import MalformedRequestError, RequestHead, read_body, read_head

# Of a hop, so that what it answers by itself bears a request id that no API has given.
FIRST_ID_OF_HOPS = 900_000_001
# Recorded for bytes that are no request; what was read of them becomes the body.
NO_HEAD = RequestHead(method="", target="", version="", headers=())


class BodyTooLargeError(Exception):
    """The request body is over the limit."""


class Headroom:
    """One stand-in: a listener and its record."""

    def __init__(self, settings: Settings) -> None:
        """Be a hop if there is an upstream, else the API behind one."""
        self.record = Record(FIRST_ID_OF_HOPS if settings.is_hop else 1)
        self.url = ""
        self.port = 0
        self._settings = settings
        self._default = Script(settings.mode, Arguments(settings.default_arguments))
        self._forwarder = Forwarder(self.record, settings) if settings.is_hop else None
        self._scripts: deque[Script] = deque()
        self._control = Control(self.record, self._scripts, self._forwarder)
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None

    async def aim(self, upstream: str) -> None:
        """Send on to another address from now on, once it was asked whether it is there."""
        assert self._forwarder is not None
        self._settings = replace(self._settings, upstream=upstream)
        self._forwarder.settings = self._settings
        await self._forwarder.check_upstreams()

    async def replay(self) -> Leg | None:
        """Send the last request of a hop on once more; return what came of it."""
        return await self._forwarder.replay() if self._forwarder else None

    def play_next(self, mode: str, **arguments: object) -> None:
        """Play a mode for the next request that names none itself."""
        given = {name: str(value) for name, value in arguments.items()}
        self._scripts.append(Script(mode, Arguments(given)))

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; `port` and `url` say where. NoTokenError where Headroom refuses to."""
        check_host(host, self._settings)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self._serve), host, port)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self.port}"
        if self._forwarder is not None:
            self._forwarder.begin()

    async def stop(self) -> None:
        """Close the listener and drop every connection."""
        if self._server is not None:
            await stop_accepting(self._server)
        if self._forwarder is not None:
            await self._forwarder.close()
        for connection in list(self._connections):
            await connection.shut()
        await asyncio.sleep(0)  # for the transports to close

    async def _serve(self, connection: Connection) -> None:
        self._connections.add(connection)
        try:
            while await self._serve_one(connection) and await self._hear_more(connection):
                pass
        finally:
            self._connections.discard(connection)
            connection.close()

    async def _hear_more(self, connection: Connection) -> bool:
        """Wait for another request; as with uvicorn, its first byte ends the idle limit."""
        try:
            async with asyncio.timeout(self._settings.idle_limit_seconds):
                await connection.wait_for_input()
        except TimeoutError:
            return False
        return True

    async def _serve_one(self, connection: Connection) -> bool:
        """Serve one request; tell whether the connection can be kept."""
        try:
            head = await read_head(connection)
        except MalformedRequestError as error:
            exchange = self.record.add(connection.number, NO_HEAD, kind="malformed")
            exchange.body.feed(error.received)
            self.record.move(exchange, "done")
            await _refuse(connection, malformed())
            return False
        if head.target.startswith(PREFIX):
            return await self._serve_control(connection, head)
        return await self._serve_recorded(connection, head)

    async def _serve_control(self, connection: Connection, head: RequestHead) -> bool:
        try:
            body = b"".join([piece async for piece in read_body(connection, head, [])])
        except MalformedRequestError:
            await _refuse(connection, malformed())
            return False
        answer = await self._control.answer(head, body)
        await connection.write(answer.as_bytes(close=head.closes()))
        return not head.closes()

    async def _serve_recorded(self, connection: Connection, head: RequestHead) -> bool:
        exchange = self.record.add(
            connection.number,
            head,
            kind=kind_of(head.target),
            routed_to=routed_to(head),
            beta_effective=effective_beta(head),
        )
        try:
            keep = await self._answer(connection, head, exchange)
        except BaseException:
            self.record.move(exchange, "aborted")
            raise
        unread = head.has_body() and exchange.state == "receiving"
        self.record.move(exchange, "done")
        if unread:
            await connection.linger()
        return keep and not unread

    async def _answer(self, connection: Connection, head: RequestHead, exchange: Exchange) -> bool:
        """Answer a recorded request; tell whether the connection can be kept."""
        try:
            async with aclosing(self._receive(connection, head, exchange)) as body:
                return await self._play(connection, head, exchange, body)
        except ArgumentError as error:
            text = f"stand-in: {error}".encode()
            refusal = own_answer(400, "Bad Request", "text/plain", text)
        except MalformedRequestError:
            exchange.kind = "malformed"
            refusal = malformed()
        except BodyTooLargeError:
            refusal = too_large(exchange)
        self.record.move(exchange, "done")
        await _refuse(connection, refusal)
        return False

    async def _receive(
        self, connection: Connection, head: RequestHead, exchange: Exchange
    ) -> AsyncGenerator[bytes, None]:
        """Yield the request body, recorded on its way; BodyTooLargeError beyond the limit."""
        if head.length() > self._settings.body_limit_bytes:
            raise BodyTooLargeError
        async with aclosing(read_body(connection, head, exchange.trailers)) as pieces:
            async for piece in pieces:
                exchange.body.feed(piece)
                if exchange.body.size > self._settings.body_limit_bytes:
                    raise BodyTooLargeError
                yield piece
        self.record.move(exchange, "answering")

    async def _play(
        self,
        connection: Connection,
        head: RequestHead,
        exchange: Exchange,
        body: AsyncIterator[bytes],
    ) -> bool:
        if refusal := access_refusal(head, connection.peer, self._settings):
            await _refuse(connection, refusal)
            return False
        script = self._script(head, exchange)
        mode, arguments = MODES[script.mode], script.arguments
        exchange.mode = script.mode
        if mode.reads_body:
            async for _ in body:
                pass
        words = words_of(arguments.count("events", len(WORDS)))
        answering = Answering(
            connection=connection,
            head=head,
            exchange=exchange,
            usual=steered_answer(exchange, self._settings.allowed_base_urls)
            or usual_answer(exchange, words),
            arguments=arguments,
            body=body,
            gap_seconds=arguments.number("gap", mode.gap_seconds),
            forwarder=self._forwarder,
        )
        await asyncio.sleep(arguments.number("delay", mode.delay_seconds))
        await mode.play(answering)
        return answering.keep

    def _script(self, head: RequestHead, exchange: Exchange) -> Script:
        """Choose what to play: what the request asks for, what was queued, or the default.

        Headroom's own pages are left alone, except by name: they queue for nothing.
        """
        mode, arguments = head.first("x-standin-mode"), head.first("x-standin-args")
        if mode or arguments:
            return Script(mode or self._default.mode, parse_arguments(arguments or ""))
        if exchange.kind in ("admin", "health"):
            return Script("ok")
        if is_refused(head, self._settings):
            return Script("401")
        return self._scripts.popleft() if self._scripts else self._default


async def _refuse(connection: Connection, answer: Answer) -> None:
    """Answer a request that was not wholly read, and close so that the answer arrives."""
    await connection.write(answer.as_bytes(close=True))
    await connection.linger()


ANSWERING = Settings()


@asynccontextmanager
async def running_headroom(
    settings: Settings = ANSWERING, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[Headroom]:
    """Run a stand-in for the length of the context; port 0 takes a free one."""
    headroom = Headroom(settings)
    await headroom.start(host, port)
    try:
        yield headroom
    finally:
        await headroom.stop()
