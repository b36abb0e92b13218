"""The relay on loopback, between agents and upstreams that do nothing by themselves.

A test holds both ends: it writes the bytes of either side, waits for what comes out at the
other, and ends connections in any way there is. Nothing here sleeps; time limits are fuses.
Every relay that ran is asked at its end whether a secret is in its log.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
import socket
import ssl
import struct
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from relay.app import App
from relay.config import load
from relay.http.message import ResponseHead
from relay.http.parser import ResponseHeadReader
from relay.telemetry.access_log import CallHandler, JsonFormatter, call_fields
from relay.telemetry.call import CallRecord

FUSE_SECONDS: Final = 10.0
ROOT: Final = Path(__file__).parents[2]

KEY: Final = "sk-ant-api03-u8Qm2Lx7Vt0RcY5dWk1Zp9Hs3Nf6Bj4Gg-eA7oQw"
OAUTH: Final = "sk-ant-oat01-Kp4Wz8Jr1Td6Xn0Lb5Vc9Mh2Sf7Qg3Ya-uE8iRt"
OPENAI_KEY: Final = "sk-proj-Tn5Bv9Ck2Mz7Xj4Lh8Gf1Dp6Sq3Wr0Ye-aU2oPs"
CUSTOM_KEY: Final = "gw_live_9fK2mV7xQ4tB8nR1cZ6yH3wL5dJ0pS"
TOKEN: Final = "relay-V3b8Yt1Nq6Lk9Xw4Rz7Cj2Hm5Pf0Sd"
OTHER_TOKEN: Final = "relay-Q7n2Gx5Ja0Wb8Kd3Te6Mu1Fv9Zr4Lc"
QUERY_SECRET: Final = "q-5Rk8Zw2Xn7"
BODY_SECRET: Final = "b-9Tm3Vc6Yh1"
CREDENTIALS: Final = (KEY, OAUTH, OPENAI_KEY, CUSTOM_KEY)
SECRETS: Final = (*CREDENTIALS, TOKEN, OTHER_TOKEN, QUERY_SECRET, BODY_SECRET)
FILES: Final = {
    "key": KEY,
    "oauth": OAUTH,
    "openai_key": OPENAI_KEY,
    "custom_key": CUSTOM_KEY,
    "token": TOKEN,
    "other_token": OTHER_TOKEN,
}

MESSAGES: Final = "/relay/anthropic/v1/messages"
CHAT: Final = "/relay/openai/v1/chat/completions"
OK_BODY: Final = b'{"id":"ok","input_tokens":0,"usage":null}'
"""What any operation may answer: one that is whole, and says nothing of what it used."""
OK: Final = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(OK_BODY), OK_BODY)
# Not an event stream of an API: those have an end of their own, which is another matter.
CHUNKED: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n"
)
EVENTS: Final = CHUNKED.replace(b"text/plain", b"text/event-stream")
STOP: Final = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'

PIECE: Final = b"data: one\n\n"

Ending = Literal["", "end", "reset"]
Config = dict[str, Any]


class Ended(Exception):
    """The other side ended before what was waited for had come."""


@dataclass
class Message:
    """A request or a response as far as it came; ``complete`` says what its framing said."""

    start: bytes
    fields: list[tuple[bytes, bytes]]
    pieces: list[bytes] = field(default_factory=list)
    complete: bool = False

    @property
    def body(self) -> bytes:
        """The body without its framing."""
        return b"".join(self.pieces)

    def values(self, name: str) -> list[bytes]:
        """Return the values of the fields of that name, in any case."""
        return [value for key, value in self.fields if key.lower() == name.encode().lower()]

    @property
    def names(self) -> list[bytes]:
        """The names of the fields in lower case, in order."""
        return [key.lower() for key, _ in self.fields]


@dataclass
class Answer(Message):
    """What an agent got."""

    @property
    def status(self) -> int:
        """The status code."""
        return int(self.start.split(b" ")[1])

    @property
    def outcome(self) -> str:
        """The ``x-relay-error`` header, or empty."""
        return b"".join(self.values("x-relay-error")).decode()

    @property
    def error(self) -> dict[str, Any]:
        """The error in the body, in the shape of either API."""
        return dict(json.loads(self.body)["error"])


@dataclass
class Request(Message):
    """What an upstream got."""

    @property
    def method(self) -> bytes:
        """The method."""
        return self.start.split(b" ")[0]

    @property
    def target(self) -> bytes:
        """The request target."""
        return self.start.split(b" ")[1]


class Peer(asyncio.Protocol):
    """One end of a connection: keeps what came, however the connection ended."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.ending: Ending = ""
        self._changed = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self.lost = asyncio.Event()
        self.transport: asyncio.Transport

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # TCP or TLS: always a full transport
        """Begin."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Keep what came."""
        self.received += data
        self._changed.set()

    def eof_received(self) -> bool:
        """Note that nothing more will come; stay open for writing where that can be."""
        self._end("end")
        return not self.transport.get_extra_info("sslcontext")

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end, and whether it was a reset."""
        self._end("reset" if exc else "end")
        self._writable.set()
        self.lost.set()

    def pause_writing(self) -> None:
        """Note that nobody takes what is written."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Note that it is taken again."""
        self._writable.set()

    def _end(self, ending: Ending) -> None:
        self.ending = self.ending or ending
        self._changed.set()

    # Bytes

    async def send(self, data: bytes) -> None:
        """Write bytes, and wait until the transport wants more."""
        self.transport.write(data)
        async with asyncio.timeout(FUSE_SECONDS):
            await self._writable.wait()

    async def dribble(self, data: bytes) -> None:
        """Write bytes one at a time, each in a turn of the event loop of its own."""
        for byte in data:
            if self.ending:
                return
            await self.send(bytes([byte]))
            await asyncio.sleep(0)

    async def push(self, data: bytes, total: int, quiet_seconds: float = 0.25) -> int:
        """Write data over and over up to a total; return how much until nobody took more."""
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < total and not self.ending:
                self.transport.write(data)
                sent += len(data)
                async with asyncio.timeout(quiet_seconds):
                    await self._writable.wait()
        return sent

    async def wait(self) -> None:
        """Wait for something to come, or the end, for however long."""
        self._changed.clear()
        await self._changed.wait()

    async def _more(self) -> None:
        if self.ending:
            raise Ended
        async with asyncio.timeout(FUSE_SECONDS):
            await self.wait()

    def _take(self, count: int) -> bytes:
        taken = bytes(self.received[:count])
        del self.received[:count]
        return taken

    async def some(self, limit: int = 1 << 30) -> bytes:
        """Return what is there, at least a byte; raise Ended at the end."""
        while not self.received:
            await self._more()
        return self._take(limit)

    async def exactly(self, count: int) -> bytes:
        """Return so many bytes; raise Ended if they do not come."""
        while len(self.received) < count:
            await self._more()
        return self._take(count)

    async def line(self, end: bytes = b"\r\n") -> bytes:
        """Return bytes up to an end, without it; raise Ended if it does not come."""
        while (position := self.received.find(end)) < 0:
            await self._more()
        line = self._take(position)
        self._take(len(end))
        return line

    async def rest(self) -> bytes:
        """Return everything up to the connection's end, whatever the end was."""
        await self.gone()
        return self._take(len(self.received))

    async def gone(self) -> Ending:
        """Wait for the other side to end the connection, and return how."""
        with contextlib.suppress(Ended):
            while True:
                await self._more()
        return self.ending

    # Ways to end

    def leave(self) -> None:
        """Close the connection."""
        self.transport.close()

    def half_close(self) -> None:
        """Say that nothing more will be sent."""
        self.transport.write_eof()

    def reset(self) -> None:
        """Reset the connection."""
        handle = self.transport.get_extra_info("socket")
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def hold(self) -> None:
        """Read no more for now."""
        self.transport.pause_reading()

    def read_on(self) -> None:
        """Read again."""
        self.transport.resume_reading()

    # Messages

    async def _head(self) -> tuple[bytes, list[tuple[bytes, bytes]]]:
        start, *lines = (await self.line(b"\r\n\r\n")).split(b"\r\n")
        pairs = [line.split(b":", 1) for line in lines]
        return start, [(name, value.strip(b" \t")) for name, value in pairs]

    async def piece(self, message: Message) -> bytes:
        """Return a body's next chunk, or what is there of it; empty at its end."""
        if message.complete:
            return b""
        if message.values("transfer-encoding") == [b"chunked"]:
            piece = await self.exactly(int(await self.line(), 16))
            assert await self.line() == b""
        elif lengths := message.values("content-length"):
            missing = int(lengths[0]) - len(message.body)
            piece = await self.some(missing) if missing else b""
        elif isinstance(message, Request):
            piece = b""
        else:
            piece = await self._piece_until_close()
        message.complete = not piece
        message.pieces += [piece] if piece else []
        return piece

    async def _piece_until_close(self) -> bytes:
        try:
            return await self.some()
        except Ended:
            if self.ending == "reset":
                raise
            return b""

    async def finish(self, message: Message) -> None:
        """Read a body as far as it comes."""
        with contextlib.suppress(Ended):
            while await self.piece(message):
                pass


class Agent(Peer):
    """An agent's connection to the relay."""

    async def head(self, *, bodiless: bool = False) -> Answer:
        """Read a response's head; 204, 304 and those to HEAD have no body."""
        start, fields = await self._head()
        answer = Answer(start, fields)
        answer.complete = bodiless or answer.status in (100, 204, 304)
        return answer

    async def answer(self, *, bodiless: bool = False) -> Answer:
        """Read a response, as far as it comes, and see that it gives no credential away."""
        answer = await self.head(bodiless=bodiless)
        await self.finish(answer)
        whole = repr(answer)
        assert not any(credential in whole for credential in CREDENTIALS)
        return answer

    async def ask(self, data: bytes) -> Answer:
        """Send a request and read its answer."""
        await self.send(data)
        return await self.answer(bodiless=data.startswith(b"HEAD "))


class Caller(Peer):
    """The relay's connection to an upstream."""

    def __init__(
        self, on_open: Callable[[Caller], None], on_call: Callable[[Caller], None]
    ) -> None:
        super().__init__()
        self._on_open = on_open
        self._on_call = on_call
        self._silent = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as above
        """Begin."""
        super().connection_made(transport)
        self._on_open(self)

    def data_received(self, data: bytes) -> None:
        """Keep what came."""
        super().data_received(data)
        if self._silent:
            self._silent = False
            self._on_call(self)

    async def head(self) -> Request:
        """Read a request's head."""
        return Request(*await self._head())

    async def request(self) -> Request:
        """Read a request, as far as it comes."""
        request = await self.head()
        await self.finish(request)
        return request


def request(
    target: str = MESSAGES,
    *lines: str,
    method: str = "POST",
    body: bytes | None = b"{}",
    token: str | None = TOKEN,
    version: str = "1.1",
) -> bytes:
    """Return a request's bytes; further header lines stand before the length."""
    head = [f"{method} {target} HTTP/{version}", "Host: relay.test"]
    head += [f"x-api-key: {token}"] if token is not None else []
    head += lines
    head += [f"Content-Length: {len(body)}"] if body is not None else []
    return "\r\n".join([*head, "", ""]).encode("latin-1") + (body or b"")


def response_head(status: int = 200, *fields: tuple[str, str]) -> ResponseHead:
    """Return a response's head as the relay reads it."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
    reader = ResponseHeadReader()
    assert reader.feed(f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode("latin-1"))
    return reader.head()


def chunked_request(*lines: str, target: str = MESSAGES, version: str = "1.1") -> bytes:
    """Return the head of a request whose body comes in chunks."""
    return request(target, *lines, "Transfer-Encoding: chunked", body=None, version=version)


def chunk(data: bytes) -> bytes:
    """Return a chunk, or the last one."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class Upstream:
    """A listener whose connections a test plays itself, or has played by a function.

    The relay looks whether anybody listens by connecting without a word: connections count
    from their first byte.
    """

    def __init__(self) -> None:
        self.port = 0
        self.callers: list[Caller] = []
        self.requests: list[Request] = []
        self._connections: list[Caller] = []
        self._unplayed: asyncio.Queue[Caller] = asyncio.Queue()
        self._play: Callable[[Request], bytes] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server

    async def start(
        self, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        """Listen."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, host, port, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]

    def _accept(self) -> Caller:
        return Caller(self._connections.append, self._take)

    def _take(self, caller: Caller) -> None:
        self.callers.append(caller)
        if self._play is None:
            self._unplayed.put_nowait(caller)
        else:
            self._run(self._serve(caller, self._play))

    def _run(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, caller: Caller, play: Callable[[Request], bytes]) -> None:
        with contextlib.suppress(Ended, TimeoutError):
            while True:
                request = await caller.request()
                self.requests.append(request)
                caller.transport.write(play(request))

    def answer_with(self, answer: bytes | Callable[[Request], bytes]) -> None:
        """Answer every request on connections to come with these bytes."""
        self._play = answer if callable(answer) else lambda _: answer

    async def accepted(self) -> Caller:
        """Return the next connection, once there is one."""
        async with asyncio.timeout(FUSE_SECONDS):
            return await self._unplayed.get()

    async def called(self) -> tuple[Caller, Request]:
        """Return the next connection and the whole request that came on it."""
        caller = await self.accepted()
        return caller, await caller.request()

    def forget(self) -> None:
        """Drop the connections there are, and play those to come by hand again."""
        self._play = None
        for caller in self._connections:
            caller.transport.abort()
        while not self._unplayed.empty():
            self._unplayed.get_nowait()

    def stop_listening(self) -> None:
        """Refuse connections from now on."""
        self._server.close()

    async def stop(self) -> None:
        """Drop everything."""
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        for caller in self._connections:
            caller.transport.abort()
        for caller in self._connections:
            await caller.lost.wait()


@asynccontextmanager
async def running_upstream(tls: ssl.SSLContext | None = None) -> AsyncIterator[Upstream]:
    """Run an upstream for the length of the context."""
    upstream = Upstream()
    await upstream.start(tls)
    try:
        yield upstream
    finally:
        await upstream.stop()


class Log(CallHandler):
    """The relay's log as the JSON lines it writes."""

    def __init__(self) -> None:
        super().__init__()
        self._json = JsonFormatter()
        self.setFormatter(self._json)
        self.text: list[str] = []
        self._changed = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record."""
        self.prepare()
        self.take(self.format(record))

    def take_calls(self, exchanges: Iterable[CallRecord]) -> None:
        """Take calls that are over."""
        for each in exchanges:
            self.take(self._json.format_call(call_fields(each), time.time_ns()))

    def take(self, line: str) -> None:
        """Take a line."""
        self.text.append(line)
        self._changed.set()

    @property
    def lines(self) -> list[dict[str, Any]]:
        """All lines so far."""
        return [json.loads(line) for line in self.text]

    async def calls(self, count: int = 1) -> list[dict[str, Any]]:
        """Return the lines of calls, once there are so many."""
        while len(found := [each for each in self.lines if each["event"] == "call"]) < count:
            await self.more()
        return found

    async def says(self, pattern: str, count: int = 1) -> re.Match[str]:
        """Return the count-th message that a pattern is found in, once there is one."""
        while True:
            matches = [re.search(pattern, str(each.get("message"))) for each in self.lines]
            found = [match for match in matches if match]
            if len(found) >= count:
                return found[count - 1]
            await self.more()

    async def more(self) -> None:
        """Wait for another line."""
        self._changed.clear()
        async with asyncio.timeout(FUSE_SECONDS):
            await self._changed.wait()


Sample = tuple[str, ...]


class Relay:
    """A relay that runs, in this process or in one of its own."""

    def __init__(self, path: Path, log: Log) -> None:
        self.path = path
        self.folder = path.parent
        self.log = log
        self.port = 0
        self.admin_port = 0
        self._agents: list[Agent] = []

    async def find_ports(self) -> None:
        """Learn from the log where it listens."""
        self.admin_port = int((await self.log.says(r"^admin pages on .*:(\d+)$"))[1])
        self.port = int((await self.log.says(r"^relays on .*:(\d+)$"))[1])

    async def agent(self, *, receive_buffer: int | None = None, port: int = 0) -> Agent:
        """Connect an agent."""
        handle = socket.socket()
        if receive_buffer is not None:
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        handle.setblocking(False)  # noqa: FBT003  # the name says what it is
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_connect(handle, ("127.0.0.1", port or self.port))
        except OSError:
            handle.close()
            raise
        _, agent = await loop.create_connection(Agent, sock=handle)
        self._agents.append(agent)
        return agent

    async def ask(self, data: bytes) -> Answer:
        """Send a request on a connection of its own and read its answer."""
        agent = await self.agent()
        answer = await agent.ask(data)
        agent.leave()
        return answer

    async def page(self, path: str, *lines: str, method: str = "GET") -> Answer:
        """Ask for an admin page."""
        agent = await self.agent(port=self.admin_port)
        head = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{self.admin_port}", *lines]
        answer = await agent.ask("\r\n".join([*head, "", ""]).encode())
        agent.leave()
        return answer

    async def readiness(self) -> tuple[int, dict[str, Any]]:
        """Return the status and the report of /readyz."""
        page = await self.page("/readyz")
        return page.status, json.loads(page.body)

    async def samples(self, name: str, *labels: str, **where: str) -> dict[Sample, float]:
        """Return a metric's samples that are not 0, by the values of these labels."""
        found: dict[Sample, float] = {}
        for family in await self._families(name):
            for each in family.samples:
                fits = all(each.labels.get(key) == value for key, value in where.items())
                if each.name == name and fits and each.value:
                    key = tuple(each.labels[label] for label in labels)
                    found[key] = found.get(key, 0) + each.value
        return found

    async def _families(self, name: str) -> Iterable[Metric]:
        text = (await self.page("/metrics")).body.decode()
        assert name in text
        assert not any(secret in text for secret in SECRETS)
        # The parser takes longer than all else: it gets the lines that were asked for.
        return families_of("".join(line for line in text.splitlines(keepends=True) if name in line))

    async def outcomes(self, count: int = 1) -> dict[Sample, float]:
        """Return ``relay_requests_total`` by outcome and code, once so many calls are over."""
        await self.log.calls(count)
        return await self.samples("relay_requests_total", "outcome", "code")

    async def in_flight(self) -> float:
        """Return ``relay_requests_in_flight`` of all relays together."""
        return sum((await self.samples("relay_requests_in_flight", "relay")).values())

    async def forget_calls(self) -> None:
        """Empty the log, once all calls so far are in it."""
        while await self.in_flight():
            pass
        # Lines come in order: behind this one there is none of the calls before it.
        await self.ask(request("/relay/nobody/last"))
        while not any(line.get("path") == "/relay/nobody/last" for line in self.log.lines):
            await self.log.more()
        self.check_log()
        self.log.text.clear()

    async def close_agents(self) -> None:
        """Drop the agents that are still there."""
        for agent in self._agents:
            agent.transport.abort()
        for agent in self._agents:
            await agent.lost.wait()

    def check_log(self) -> None:
        """See that no secret is in the log, and no traceback."""
        for line in self.log.text:
            assert not any(secret in line for secret in SECRETS), line
            assert "Traceback" not in line, line


class LocalRelay(Relay):
    """A relay in this process."""

    app: App

    async def all_closed(self) -> None:
        """Wait until there is no agent's connection any more."""
        gates = self.app._connections
        while len(gates):
            gates._changed.clear()
            await gates._changed.wait()

    async def _families(self, name: str) -> Iterable[Metric]:
        # What a scrape would show, without the writing and parsing of a thousand lines.
        self.app._recorder.settle()
        metrics = self.app._metrics
        metrics.show(self.app.runtime.states())
        return metrics._registry.restricted_registry([name]).collect()


class RelayProcess(Relay):
    """A relay in a process of its own."""

    process: asyncio.subprocess.Process

    def signal(self, number: int) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    async def exit_status(self) -> int:
        """Wait for its end."""
        async with asyncio.timeout(FUSE_SECONDS):
            return await self.process.wait()


def families_of(text: str) -> list[Metric]:
    """Return the metrics in Prometheus' text format."""
    return list(text_string_to_metric_families(text))


def configuration(port: int, **changes: object) -> Config:
    """Return a configuration with the relay ``anthropic`` to that port, and a client."""
    base: Config = {
        "grants": [{"name": "anthropic", "source": {"file": "key"}}],
        "claude": {"base_url": f"http://127.0.0.1:{port}"},
        "listen": ["127.0.0.1:0"],
        "admin": "127.0.0.1:0",
        "clients": [{"name": "agent", "token": {"file": "token"}}],
    }
    return base | changes


def both_relays(port: int) -> Config:
    """Return what makes it a configuration with the relay ``openai`` as well."""
    return {
        "grants": [
            {"name": "anthropic", "source": {"file": "key"}},
            {"name": "openai", "source": {"file": "openai_key"}},
        ],
        "relays": {"openai": {"url": f"http://127.0.0.1:{port}"}},
    }


def write_configuration(folder: Path, config: Config | str) -> Path:
    """Write agent.yaml, as it is or as JSON, and beside it the files that hold the secrets."""
    for name, secret in FILES.items():
        if not (folder / name).exists():
            (folder / name).write_text(secret + "\n")
    path = folder / "agent.yaml"
    path.write_text(config if isinstance(config, str) else json.dumps(config))  # JSON is YAML
    return path


def update_configuration(relay: Relay, config: Config) -> None:
    """Put another configuration in the file's place, as editors do."""
    new = relay.folder / "new.yaml"
    new.write_text(json.dumps(config))
    new.replace(relay.path)


@asynccontextmanager
async def running_relay(folder: Path, config: Config) -> AsyncIterator[LocalRelay]:
    """Run a relay in this process for the length of the context."""
    log = Log()
    logger = logging.getLogger("relay")
    logger.addHandler(log)
    level = logger.level
    logger.setLevel(logging.INFO)
    relay = LocalRelay(write_configuration(folder, config), log)
    relay.app = App(load(relay.path))
    running = asyncio.create_task(relay.app.run())
    try:
        await relay.find_ports()
        yield relay
    finally:
        await relay.close_agents()
        relay.app.stop()
        relay.app.stop()
        async with asyncio.timeout(FUSE_SECONDS):
            await running
        logger.removeHandler(log)
        logger.setLevel(level)
    relay.check_log()


@asynccontextmanager
async def relay_process(
    folder: Path,
    config: Config | str,
    environment: Mapping[str, str] | None = None,
    *prefix: str,
) -> AsyncIterator[RelayProcess]:
    """Run ``python -m relay serve`` for the length of the context."""
    relay = RelayProcess(write_configuration(folder, config), Log())
    given = {
        key: os.environ[key] for key in ("PATH", "COVERAGE_PROCESS_START") if key in os.environ
    }
    relay.process = await asyncio.create_subprocess_exec(
        *(*prefix, sys.executable, "-m", "relay", "serve", "--config", str(relay.path)),
        cwd=ROOT,
        env=given | {"RELAY_LOG": "json", "RELAY_SECRETS": str(folder)} | dict(environment or {}),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    reading = asyncio.create_task(_read_log(relay.process, relay.log))
    try:
        await relay.find_ports()
        yield relay
    finally:
        await relay.close_agents()
        if relay.process.returncode is None:
            relay.process.kill()
        await relay.process.wait()
        await reading
    relay.check_log()


async def _read_log(process: asyncio.subprocess.Process, log: Log) -> None:
    assert process.stderr is not None
    async for line in process.stderr:
        log.take(line.decode())


async def begin_stream(relay: Relay, upstream: Upstream) -> tuple[Agent, Caller]:
    """Begin a call whose answer has begun and not ended."""
    agent = await relay.agent()
    await agent.send(request())
    caller, _ = await upstream.called()
    await caller.send(CHUNKED + chunk(PIECE))
    return agent, caller
