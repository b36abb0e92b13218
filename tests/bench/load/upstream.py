"""The upstream's end: connections of a peer, and the calls that come on them."""

from __future__ import annotations

import contextlib
import re
import socket
import zlib
from collections.abc import Callable
from typing import Final

from tests.bench import calling
from tests.bench.load.events import answer
from tests.bench.load.loop import Loop, Problem

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_KEY: Final = re.compile(rb"\r\n(?:x-api-key|authorization): *(\S+)\r\n", re.IGNORECASE)
_NUMBER: Final = re.compile(rb"[?]stream=(\d+) ")
_READ_SIZE: Final = 64 * 1024
_DROP_SIZE: Final = 4 * 1024 * 1024


class Call:
    """A connection of a peer, with one call after the other."""

    def __init__(self, handle: socket.socket, upstream: Upstream) -> None:
        handle.settimeout(0)
        handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.handle = handle
        self.number = 0
        self.length = 0
        self.sum = 0
        """CRC-32 of the body, where the upstream sums up."""
        self._upstream = upstream
        self._unwritten = b""
        self._head = b""
        self._rest = 0

    def write(self, piece: bytes) -> bool:
        """Write a piece of the answer; return False where there is no room for it yet."""
        if self.handle.fileno() < 0:
            raise Problem("the peer has hung up in the middle of an answer")
        if not self.flushed():
            return False
        self._unwritten = piece
        self.flushed()
        return True

    def flushed(self) -> bool:
        """Write what is left, and return whether that is all written."""
        if self._unwritten:
            with contextlib.suppress(BlockingIOError):
                self._unwritten = self._unwritten[self.handle.send(self._unwritten) :]
        return not self._unwritten

    def receive(self, _: int) -> None:
        """Read what is there of the request."""
        try:
            ended = not (self._receive_body() if self._rest else self._receive_head())
        except ConnectionError:
            ended = True
        if ended:
            self._upstream.loop.close(self.handle)

    def _receive_head(self) -> bool:
        data = self.handle.recv(_READ_SIZE)
        self._head += data
        head, found, body = self._head.partition(b"\r\n\r\n")
        if found:
            self._head = b""
            self._begin(head + b"\r\n", body)
        return bool(data)

    def _begin(self, head: bytes, body: bytes) -> None:
        length, number = _LENGTH.search(head), _NUMBER.search(head)
        allowed = _KEY.findall(head) == [calling.KEY.encode()]
        if length is None or number is None or not allowed:
            self.handle.sendall(answer({}, "403 Forbidden"))
            return
        self.number, self.length = int(number[1]), int(length[1])
        self._rest = self.length - len(body)
        self.sum = zlib.crc32(body)
        if not self._rest:
            self._upstream.called(self)

    def _receive_body(self) -> bool:
        size = self._upstream.take(self)
        self._rest -= size
        if not self._rest:
            self._upstream.called(self)
        return bool(size)


class Upstream:
    """The listener."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.called: Callable[[Call], None] = lambda _: None
        """Called with each call that has come completely."""
        self.sums_up = False
        """Whether bodies are looked at, and not just counted."""
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
        self.port: int = self._listener.getsockname()[1]
        self._buffer = bytearray(_DROP_SIZE)
        loop.add(self._listener, self._accept)

    def _accept(self, _: int) -> None:
        call = Call(self._listener.accept()[0], self)
        self.loop.add(call.handle, call.receive)

    def take(self, call: Call) -> int:
        """Read a piece of a body, or have the kernel drop it without a copy (tcp(7))."""
        if not self.sums_up:
            return call.handle.recv_into(self._buffer, _DROP_SIZE, socket.MSG_TRUNC)
        size = call.handle.recv_into(self._buffer)
        call.sum = zlib.crc32(memoryview(self._buffer)[:size], call.sum)
        return size
