"""A client that reads streams, counts bytes, and does nothing else.

It takes a round's parameters as a line of JSON on standard input, and answers with a line of
what it saw. Connections are kept from round to round. Where the upstream waits for it, it
writes the number of each stream that something came from to a pipe.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import time
from dataclasses import asdict, dataclass
from typing import Final

_BUFFER_SIZE: Final = 256 * 1024
_END: Final = b"\r\n0\r\n\r\n"
# The longest silence before the round is given up: a fuse.
_FUSE_SECONDS: Final = 20.0
# A reader that wakes up for every event would take more time than the relay: it lets some
# of them gather. The others have enough to do meanwhile.
_REST_SECONDS: Final = 0.0002


@dataclass(frozen=True, slots=True)
class Round:
    """What to ask for."""

    relay: str
    streams: int
    deltas: int
    per_write: int
    """How many events go into one write of the upstream."""
    awaited: bool
    """Whether the upstream waits for what it has written to be read."""
    coding: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """What came."""

    seconds: float
    size: int


class Reader:
    """The connections, by stream."""

    def __init__(self, port: int, pipe: int) -> None:
        self._port = port
        self._pipe = pipe
        self._handles: list[socket.socket] = []
        self._buffer = bytearray(_BUFFER_SIZE)

    def run(self, round_: Round) -> Seen:
        """Make the calls of one round, all at once, and read their answers."""
        while len(self._handles) < round_.streams:
            self._handles.append(socket.create_connection(("127.0.0.1", self._port)))
        handles = self._handles[: round_.streams]
        started = time.perf_counter()
        for number, handle in enumerate(handles):
            handle.sendall(_request(round_, number))
        size = self._read(handles, awaited=round_.awaited)
        return Seen(time.perf_counter() - started, size)

    def _read(self, handles: list[socket.socket], *, awaited: bool) -> int:
        poll = select.epoll()
        streams = {handle.fileno(): (n, handle) for n, handle in enumerate(handles)}
        ends = dict.fromkeys(streams, b"")
        for fileno in streams:
            poll.register(fileno, select.EPOLLIN)
        size = 0
        while streams:
            ready = poll.poll(_FUSE_SECONDS)
            if not ready:
                raise TimeoutError
            read = bytearray()
            for fileno, _ in ready:
                number, handle = streams[fileno]
                length = handle.recv_into(self._buffer)
                if not length:
                    raise ConnectionResetError
                size += length
                read.append(number)
                tail = self._buffer[max(0, length - len(_END)) : length]
                end = ends[fileno] = (ends[fileno] + tail)[-len(_END) :]
                if end == _END:
                    poll.unregister(fileno)
                    del streams[fileno]
            if awaited:
                os.write(self._pipe, read)
                time.sleep(_REST_SECONDS)
        poll.close()
        return size


def _request(round_: Round, number: int) -> bytes:
    target = (
        f"/relay/{round_.relay}/v1/messages?stream={number}"
        f"&deltas={round_.deltas}&per_write={round_.per_write}"
        f"&awaited={int(round_.awaited)}&coding={round_.coding}"
    )
    return (
        f"POST {target} HTTP/1.1\r\nHost: localhost\r\naccept-encoding: gzip\r\n"
        "content-type: application/json\r\ncontent-length: 1\r\n\r\n1"
    ).encode()


if __name__ == "__main__":
    reader = Reader(int(sys.argv[1]), int(sys.argv[2]))
    for line in sys.stdin:
        seen = reader.run(Round(**json.loads(line)))
        sys.stdout.write(json.dumps(asdict(seen)) + "\n")
        sys.stdout.flush()
