"""An upstream that streams events of the Messages API as fast as they are taken.

One process, one epoll loop, raw sockets: it must never be what others wait for. A call's
target says how many deltas to send, how many events to put into a write, and whether the next
write waits until the reader has got the last one (a byte on a pipe: the stream's number). If it
does, what is written together crosses the relay together and alone, as in a live stream,
however fast. Otherwise writes follow each other as the socket takes them, and pile up.
"""

from __future__ import annotations

import os
import re
import select
import socket
import sys
import zlib
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Final

from relay.http.chunked import LAST_CHUNK, chunk
from tests.headroom.anthropic import message_events

MODEL: Final = "claude-opus-4-5-20251101"
# Tokens are words or parts of them; a delta holds one or a few.
WORDS: Final = (
    *("The", " relay", " is a", " sidecar", " container", ": it", " holds the", " credential,"),
    *(" so that", " the agent", " need", " not", ".\n\n", "```python", "\nfor", " event in"),
    *(
        " stream:\n   ",
        " print",
        '(f"{event',
        '.name}")',
        "\n```",
        " Every",
        " call is",
        " measured",
    ),
)
_TARGET: Final = re.compile(
    rb"[?]stream=(\d+)&deltas=(\d+)&per_write=(\d+)&awaited=(\d)&coding=(\w*)"
)
_HEAD: Final = (
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    "request-id: req_011CSHoEeqs5C35K2UUqR7Fy\r\n{}transfer-encoding: chunked\r\n\r\n"
)
_READ_SIZE: Final = 64 * 1024
_MOST_STREAMS: Final = 256


def coded(events: Iterable[bytes], coding: str) -> Iterator[bytes]:
    """Yield the events, each flushed, so that it can be read when it comes."""
    if not coding:
        yield from events
        return
    compressor = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    for event in events:
        yield compressor.compress(event) + compressor.flush(zlib.Z_SYNC_FLUSH)
    yield compressor.flush()


@cache
def writes(deltas: int, per_write: int, coding: str) -> list[bytes]:
    """Return an answer as it goes to the socket: each event a chunk, so many to a write."""
    words = [WORDS[number % len(WORDS)] for number in range(deltas)]
    events = [chunk(piece) for piece in coded(message_events(words, MODEL, 1), coding)]
    pieces = [
        b"".join(events[start : start + per_write]) for start in range(0, len(events), per_write)
    ]
    pieces[0] = (
        _HEAD.format(f"content-encoding: {coding}\r\n" if coding else "").encode() + pieces[0]
    )
    pieces[-1] += LAST_CHUNK
    return pieces


class Stream:
    """One connection of the relay, and the answer that is on it."""

    def __init__(self, handle: socket.socket) -> None:
        handle.settimeout(0)
        handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.handle = handle
        self.number = 0
        self.awaited = False
        """Whether a write follows only when the last one has been read."""
        self._writes: list[bytes] = []
        self._position = 0
        self._rest = b""
        self._received = b""

    def receive(self) -> bool:
        """Read what came; return whether it completes a request (the body is one byte)."""
        data = self.handle.recv(_READ_SIZE)
        if not data:
            raise ConnectionResetError
        self._received += data
        head, _, body = self._received.partition(b"\r\n\r\n")
        if not body:
            return False
        asked = _TARGET.search(head)
        assert asked is not None, head
        self._received = b""
        self.number, self.awaited = int(asked[1]), asked[4] == b"1"
        self._writes = writes(int(asked[2]), int(asked[3]), asked[5].decode())
        self._position = 0
        return True

    @property
    def ended(self) -> bool:
        """Whether all of the answer has been written."""
        return not self._rest and self._position == len(self._writes)

    def send(self) -> None:
        """Write the next piece, as far as the socket takes it."""
        if not self._rest:
            if self.ended:
                return
            self._rest = self._writes[self._position]
            self._position += 1
        try:
            sent = self.handle.send(self._rest)
        except BlockingIOError:
            return
        self._rest = self._rest[sent:]


class Upstream:
    """The loop."""

    def __init__(self, listener: socket.socket, pipe: int) -> None:
        self._listener = listener
        self._pipe = pipe
        self._poll = select.epoll()
        self._streams: dict[int, Stream] = {}
        self._by_number: list[Stream | None] = [None] * _MOST_STREAMS
        for handle in (listener.fileno(), pipe):
            self._poll.register(handle, select.EPOLLIN)

    def run(self) -> None:
        """Serve until the reader is gone."""
        while True:
            for handle, _ in self._poll.poll():
                if handle == self._pipe:
                    if not self._send_awaited():
                        return
                elif handle == self._listener.fileno():
                    self._accept()
                else:
                    self._serve(handle)

    def _accept(self) -> None:
        stream = Stream(self._listener.accept()[0])
        self._streams[stream.handle.fileno()] = stream
        self._poll.register(stream.handle, select.EPOLLIN)

    def _send_awaited(self) -> bool:
        numbers = os.read(self._pipe, _READ_SIZE)
        for number in numbers:
            stream = self._by_number[number]
            if stream is not None:
                stream.send()
        return bool(numbers)

    def _serve(self, handle: int) -> None:
        stream = self._streams[handle]
        try:
            if not stream.ended and not stream.awaited:
                self._push(stream)
            elif stream.receive():
                self._begin(stream)
        except ConnectionError:
            self._poll.unregister(handle)
            self._streams.pop(handle).handle.close()

    def _begin(self, stream: Stream) -> None:
        if stream.awaited:
            self._by_number[stream.number] = stream
            stream.send()
        else:
            self._poll.modify(stream.handle, select.EPOLLOUT)

    def _push(self, stream: Stream) -> None:
        stream.send()
        if stream.ended:
            self._poll.modify(stream.handle, select.EPOLLIN)


if __name__ == "__main__":
    Upstream(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2])).run()
